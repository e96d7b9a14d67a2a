"""Writes rosbag2 directories without ever holding up the one who hands over the messages.

Messages go to a bounded queue; a thread gathers them into chunks and gives each to the operating system at once, so
that a killed process loses no more than the flush period and what was still in the queue.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.compression import compressor
from twin_nodes.io.bags.definitions import definition_text, type_hash
from twin_nodes.io.bags.mcap_file import BagWriteError, McapFile, RawFile
from twin_nodes.io.bags.message_queue import MessageQueue
from twin_nodes.io.bags.metadata import Extent, Topic, describe, inner_text, write_metadata
from twin_nodes.io.bags.qos import OfferedQos, qos_text

RESERVE_NAME = '.reserve'
RESERVE_BYTES = 64 * 1024


def _open_raw(path: Path) -> RawFile:
    return path.open('xb', buffering=0)


class BagWriter:
    """A rosbag2 directory being written: metadata.yaml from the start, one MCAP file in small flushed chunks.

    Args:
        directory: Made by the writer; must not exist yet, or be empty.
        compression: '' for none, 'zstd' or 'lz4'.
        chunk_bytes: Size at which a chunk is closed [bytes].
        flush_period_s: Longest time that a message waits for its chunk [s].
        queue_bytes: What the queue may hold while the disk is slow; beyond, messages are dropped and counted [bytes].
        sync_period_s: How often the data are forced onto the disk, against loss of power [s]; 0 for never.
        open_raw: Opens the MCAP file without a buffer.

    Raises:
        ConfigError: The directory holds something already, or a setting is out of range.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        compression: str = 'zstd',
        chunk_bytes: int = 32 * 1024,
        flush_period_s: float = 0.025,
        queue_bytes: int = 64 * 1024 * 1024,
        sync_period_s: float = 1.0,
        open_raw: Callable[[Path], RawFile] = _open_raw,
    ) -> None:
        if not 0.0 < flush_period_s <= 0.05:
            raise ConfigError(f'flush_period_s={flush_period_s} s must lie in (0, 0.05]: a kill would lose more')
        if chunk_bytes < 1024 or queue_bytes < chunk_bytes:
            raise ConfigError(f'chunk_bytes={chunk_bytes} must be at least 1024 and at most queue_bytes={queue_bytes}')
        self.directory = Path(directory)
        self._flush_period_s, self._sync_period_s = flush_period_s, sync_period_s
        compress = compressor(compression)
        self._make_directory()
        self.path = self.directory / f'{self.directory.resolve().name}_0.mcap'
        self._topics: dict[int, Topic] = {}
        self._schemas: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._queue = MessageQueue(largest_bytes=queue_bytes, chunk_bytes=chunk_bytes)
        self._raw = open_raw(self.path)
        self._file = McapFile(self._raw, compress=compress, compression=compression)
        self._disk = threading.Lock()
        self._account = threading.Lock()
        self._untidy = threading.Event()
        self._closing = False
        self._closed = False
        self._error: BagWriteError | None = None
        self._error_told = False
        self._write_metadata()
        self._threads = [
            threading.Thread(target=target, name=f'bag_{name}', daemon=True)
            for name, target in (('writer', self._run), ('keeper', self._keep))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def error(self) -> BagWriteError | None:
        """Why the disk takes no more, or None."""
        return self._error

    @property
    def counts(self) -> dict[str, int]:
        """Messages written, by topic."""
        by_channel = dict(self._file.tally.by_channel)
        return {topic.name: by_channel.get(channel_id, 0) for channel_id, topic in dict(self._topics).items()}

    @property
    def dropped(self) -> dict[str, int]:
        """Messages dropped because the disk was slow or full, by topic."""
        return dict(self._dropped)

    @property
    def size_bytes(self) -> int:
        """What is in the file [bytes]."""
        return self._file.position

    def add_topic(
        self,
        name: str,
        type_name: str,
        *,
        qos: tuple[OfferedQos, ...] = (),
        hash_text: str = '',
        definition: tuple[str, str] | None = None,
    ) -> int:
        """Announce a topic and return the handle for `write`.

        Args:
            name: Full name, such as /tf.
            type_name: 'pkg/msg/Type'.
            qos: What its publishers offer.
            hash_text: The type's hash as the publisher told it; found from the type when empty.
            definition: Its encoding ('ros2msg') and its text with all it contains; found from the type when None.

        Raises:
            InputError: The type is not known here, or the topic was announced before.
            BagWriteError: The disk takes no more.
        """
        if any(topic.name == name for topic in list(self._topics.values())):
            raise InputError(f'{name} was announced to the bag before: one topic, one type')
        encoding, text = definition or ('ros2msg', definition_text(type_name))
        known_hash = hash_text or ('' if definition else type_hash(type_name))
        topic = Topic(name, type_name, known_hash, tuple(qos))
        pairs = {'offered_qos_profiles': qos_text(topic.qos), 'topic_type_hash': topic.type_hash}
        with self._disk:
            self._tell_error()
            try:
                if type_name not in self._schemas:
                    self._schemas[type_name] = self._file.add_schema(type_name, encoding, text)
                handle = self._file.add_channel(self._schemas[type_name], name, pairs)
            except BagWriteError as error:
                self._error, self._error_told = error, True
                raise
            self._topics[handle] = topic
        self._untidy.set()
        return handle

    def write(self, handle: int, log_time_ns: int, data: bytes, *, publish_time_ns: int | None = None) -> bool:
        """Hand over one message; returns at once.

        Args:
            handle: From `add_topic`.
            log_time_ns: When it was received [ns].
            data: Its CDR bytes, stored as they are.
            publish_time_ns: When it was sent [ns]; the log time when not known.

        Returns:
            False when it was dropped: the disk is too slow, or full.

        Raises:
            BagWriteError: The disk takes no more. Raised once; later messages are dropped and counted.
        """
        if self._error is not None:
            self._drop(handle)
            self._tell_error()
            return False
        sent_ns = log_time_ns if publish_time_ns is None else publish_time_ns
        taken = self._queue.put(handle, log_time_ns, sent_ns, data)
        if not taken:
            self._drop(handle)
        return taken

    def wait_for_room(self) -> None:
        """Wait until the queue is half empty: for copies, which must not drop and may be slow."""
        while self._error is None and not self._queue.wait_for_room(self._flush_period_s):
            continue

    def close(self) -> None:
        """Write what is queued, the summary and metadata.yaml.

        Raises:
            BagWriteError: The disk took no more; raised here only when `write` did not tell before.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.close()  # before the thread is told, so that its last look finds everything that was taken
        self._closing = True
        self._untidy.set()
        for thread in self._threads:
            thread.join()
        (self.directory / RESERVE_NAME).unlink(missing_ok=True)
        self._finish()
        self._tell_error()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_directory(self) -> None:
        if self.directory.exists() and (not self.directory.is_dir() or any(self.directory.iterdir())):
            raise ConfigError(f"output='{self.directory}' exists already and is not overwritten: name a new folder")
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / RESERVE_NAME).open('wb') as reserve:  # room to end the file properly on a full disk
            os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)

    def _run(self) -> None:
        while not self._closing:
            self._queue.wait_until_due(self._flush_period_s)
            self._flush()
        self._flush()

    def _keep(self) -> None:
        """Keep metadata.yaml up to date and force data onto the disk: slow things that chunks must not wait for."""
        while not self._closing:
            changed = self._untidy.wait(self._sync_period_s or None)
            self._untidy.clear()
            if changed and not self._closing:
                self._write_metadata()
            if self._sync_period_s and not self._closing:
                self._sync()

    def _flush(self) -> None:
        for chunk in self._queue.chunks():
            if self._error is None:
                try:
                    with self._disk:
                        self._file.write_chunk(chunk)
                    continue
                except BagWriteError as error:
                    self._error = error
            for message in chunk:
                self._drop(message.channel_id)

    def _finish(self) -> None:
        try:
            self._file.add_metadata('rosbag2', {'serialized_metadata': inner_text(self._describe())})
            self._file.finish()
        except BagWriteError as error:
            self._error = self._error or error
            self._finish_without_summary()
        self._sync()
        getattr(self._raw, 'close', lambda: None)()
        self._write_metadata()

    def _finish_without_summary(self) -> None:
        try:
            self._file.finish(summary=False)
        except BagWriteError:  # not even 50 bytes: `recover` adds the end, every chunk is whole
            return

    def _sync(self) -> None:
        fileno = getattr(self._raw, 'fileno', None)
        if fileno is None:
            return
        try:
            os.fdatasync(fileno())
        except OSError as error:
            self._error = self._error or BagWriteError(f'the disk failed: {error.strerror}', code='DISK_FULL')

    def _describe(self) -> dict[str, object]:
        tally = self._file.tally
        return describe(self.path.name, list(self._topics.values()), Extent(self.counts, tally.start_ns, tally.end_ns))

    def _write_metadata(self) -> None:
        try:
            write_metadata(self.directory, self._describe())
        except OSError as error:
            self._error = self._error or BagWriteError(
                f'metadata.yaml cannot be written: {error.strerror}. Free some disk space', code='DISK_FULL'
            )

    def _drop(self, handle: int) -> None:
        name = self._topics[handle].name
        with self._account:
            self._dropped[name] = self._dropped.get(name, 0) + 1

    def _tell_error(self) -> None:
        if self._error is not None and not self._error_told:
            self._error_told = True
            raise self._error
