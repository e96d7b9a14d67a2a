"""An MCAP file that is whole after every chunk, also when the disk refuses one."""

import tempfile
from collections.abc import Callable, Iterable
from typing import Protocol

from twin_nodes.core.errors import TwinError
from twin_nodes.io.bags import mcap_records as records
from twin_nodes.io.bags.mcap_records import Channel, MessageRecord, Schema, Tally

LIBRARY = 'twin_nodes'
INDEX_BYTES = 1 << 20


class BagWriteError(TwinError):
    """The disk took no more: recording has ended, what was written before is whole."""


class RawFile(Protocol):
    """What is needed of an unbuffered file."""

    def write(self, data: bytes, /) -> int | None:
        """Take bytes; return how many were taken."""

    def truncate(self, size: int, /) -> int:
        """Cut the file to a size [bytes]."""

    def seek(self, offset: int, /) -> int:
        """Go to a place [bytes]."""


class McapFile:
    """Writes schemas, channels and chunks one after another to an unbuffered file.

    Schemas and channels are written when they become known, and once more inside the first chunk that uses them, as
    readers of either habit expect; so no single damage takes the meaning of all messages.

    Args:
        raw: The file, opened for writing without a buffer, empty.
        compress: Compresses the content of a chunk.
        compression: Its name in the file.
    """

    def __init__(self, raw: RawFile, *, compress: Callable[[bytes], bytes] = bytes, compression: str = '') -> None:
        self._raw = raw
        self._compress = compress
        self._compression = compression
        self._position = 0
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._fresh: set[int] = set()
        self._chunk_indexes = tempfile.SpooledTemporaryFile(max_size=INDEX_BYTES)  # noqa: SIM115 - lives as long as self
        self._indexed = True
        self._metadata_indexes: list[bytes] = []
        self.tally = Tally()
        self._append(records.MAGIC + records.header_record('ros2', LIBRARY))

    @property
    def position(self) -> int:
        """The size of what is whole [bytes]."""
        return self._position

    def add_schema(self, name: str, encoding: str, text: str) -> int:
        """Write a message type and return its id."""
        schema = Schema(len(self._schemas) + 1, name, encoding, text)
        self._append(records.schema_record(schema))
        self._schemas.append(schema)
        return schema.id

    def add_channel(self, schema_id: int, topic: str, metadata: dict[str, str]) -> int:
        """Write a topic and return its id."""
        channel = Channel(len(self._channels) + 1, schema_id, topic, 'cdr', metadata)
        self._append(records.channel_record(channel))
        self._channels.append(channel)
        self._fresh.add(channel.id)
        return channel.id

    def add_metadata(self, name: str, pairs: dict[str, str]) -> None:
        """Write a named map of text."""
        encoded = records.metadata_record(name, pairs)
        place = self._position
        self._append(encoded)
        self._metadata_indexes.append(records.metadata_index_record(place, len(encoded), name))

    def write_chunk(self, messages: Iterable[MessageRecord]) -> None:
        """Write messages as one chunk with its indexes, in one piece.

        Raises:
            BagWriteError: The disk refused; the file ends after the chunk before.
        """
        messages = list(messages)
        if not messages:
            return
        content, entries = self._chunk_content(messages)
        start_ns = min(message.log_time_ns for message in messages)
        end_ns = max(message.log_time_ns for message in messages)
        payload = self._compress(content)
        chunk = records.chunk_record(
            content, start_ns=start_ns, end_ns=end_ns, compression=self._compression, payload=payload
        )
        indexes, offsets = b'', {}
        for channel_id, places in entries.items():
            offsets[channel_id] = self._position + len(chunk) + len(indexes)
            indexes += records.message_index_record(channel_id, places)
        place = self._position
        self._append(chunk + indexes)
        self._remember(
            records.chunk_index_record(
                times_ns=(start_ns, end_ns),
                offset=place,
                length=len(chunk),
                index_offsets=offsets,
                index_length=len(indexes),
                compression=self._compression,
                sizes=(len(payload), len(content)),
            )
        )
        self._fresh -= offsets.keys()
        self.tally.chunks += 1
        for message in messages:
            self.tally.add(message.channel_id, message.log_time_ns)

    def finish(self, *, summary: bool = True) -> None:
        """Write the end of the file: with the summary, or without where there is no room for it."""
        groups = self._summary() if summary and self._indexed else []
        self._append(records.file_end(groups, position=self._position))

    def _chunk_content(self, messages: list[MessageRecord]) -> tuple[bytes, dict[int, list[tuple[int, int]]]]:
        parts: list[bytes] = []
        for channel_id in sorted({message.channel_id for message in messages} & self._fresh):
            channel = self._channels[channel_id - 1]
            parts.append(records.schema_record(self._schemas[channel.schema_id - 1]))
            parts.append(records.channel_record(channel))
        at = sum(map(len, parts))
        entries: dict[int, list[tuple[int, int]]] = {}
        for message in messages:
            encoded = records.message_record(message)
            entries.setdefault(message.channel_id, []).append((message.log_time_ns, at))
            parts.append(encoded)
            at += len(encoded)
        return b''.join(parts), entries

    def _summary(self) -> list[tuple[int, bytes]]:
        statistics = records.statistics_record(
            self.tally, schemas=len(self._schemas), channels=len(self._channels), metadata=len(self._metadata_indexes)
        )
        return [
            (records.SCHEMA, b''.join(map(records.schema_record, self._schemas))),
            (records.CHANNEL, b''.join(map(records.channel_record, self._channels))),
            (records.STATISTICS, statistics),
            (records.CHUNK_INDEX, self._remembered()),
            (records.METADATA_INDEX, b''.join(self._metadata_indexes)),
        ]

    def _remember(self, chunk_index: bytes) -> None:
        """Keep a chunk index for the summary: hours of small chunks have more of them than belong in memory."""
        try:
            self._chunk_indexes.write(chunk_index)
        except OSError:  # no room for it: the file will end without a summary, which readers cope with
            self._indexed = False

    def _remembered(self) -> bytes:
        self._chunk_indexes.seek(0)
        with self._chunk_indexes as spool:
            return spool.read()

    def _append(self, data: bytes) -> None:
        """Write all of it or nothing."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._raw.write(rest) or 0 :]
        except OSError as error:
            self._cut_back()
            raise BagWriteError(
                f'the bag cannot grow beyond {self._position} bytes: {error.strerror or error}. Recording has stopped; '
                'what was written is whole. Free some disk space',
                code='DISK_FULL',
            ) from error
        self._position += len(data)

    def _cut_back(self) -> None:
        try:
            self._raw.truncate(self._position)
            self._raw.seek(self._position)
        except OSError:  # the file is gone altogether; the reader copes with a cut record
            return
