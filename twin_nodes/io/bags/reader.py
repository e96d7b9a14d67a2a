"""Reads rosbag2 directories and lone MCAP files in the order of log time, whole or cut."""

import heapq
import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.mcap_records import MAGIC, Channel, MessageRecord
from twin_nodes.io.bags.metadata import Topic, converted, read_metadata, topics_of
from twin_nodes.io.bags.qos import parse_qos
from twin_nodes.io.bags.scan import Block, Scan, messages_of, scan


class BagMessage(NamedTuple):
    """One recorded message; times in nanoseconds, data as CDR bytes."""

    topic: str
    type_name: str
    log_time_ns: int
    publish_time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagLoss:
    """What of a bag could not be read.

    Args:
        bytes: Bytes in no whole record.
        bad_chunks: Chunks with a wrong checksum or content.
        nameless_messages: Messages whose topic or type is not in the file any more.
        missing_messages: Messages that the file says it holds, but that are in no whole chunk.
        open_end: Whether the file has no proper end: what was in memory when it was cut is not known.
    """

    bytes: int = 0
    bad_chunks: int = 0
    nameless_messages: int = 0
    missing_messages: int = 0
    open_end: bool = False

    def __bool__(self) -> bool:
        return bool(self.bad_chunks or self.nameless_messages or self.missing_messages or self.open_end or self.bytes)


@dataclass
class _Part:
    """One MCAP file of the bag."""

    view: memoryview
    found: Scan
    topics: dict[int, Topic]
    keep_alive: list[Any] = field(default_factory=list)


class BagReader:
    """A bag, opened and checked once from end to end.

    Args:
        path: A rosbag2 directory (with or without a usable metadata.yaml) or an MCAP file.

    Raises:
        InputError: There is no bag, or it is stored in a form that is not read here.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        entries = read_metadata(self.path) if self.path.is_dir() else None
        known = topics_of(entries)
        self._parts = [_open_part(file, known) for file in _files(self.path, entries)]
        self.topics: dict[str, Topic] = {}
        self.definitions: dict[str, tuple[str, str]] = {}  # by type: encoding, text
        self.counts: dict[str, int] = {}
        for part in self._parts:
            self._gather(part)

    @property
    def message_count(self) -> int:
        """Messages that can be read."""
        return sum(self.counts.values())

    @property
    def start_ns(self) -> int:
        """The first log time [ns]; 0 for an empty bag."""
        return min((block.start_ns for part in self._parts for block in part.found.blocks if block.count), default=0)

    @property
    def end_ns(self) -> int:
        """The last log time [ns]; 0 for an empty bag."""
        return max((block.end_ns for part in self._parts for block in part.found.blocks if block.count), default=0)

    @property
    def loss(self) -> BagLoss:
        """What could not be read, over all files."""
        scans = [part.found for part in self._parts]
        return BagLoss(
            bytes=sum(found.lost_bytes for found in scans),
            bad_chunks=sum(found.bad_chunks for found in scans),
            nameless_messages=sum(found.messages for found in scans) - self.message_count,
            missing_messages=sum(max(0, (found.promised or 0) - found.messages) for found in scans),
            open_end=not all(found.ended for found in scans),
        )

    def messages(
        self, topics: Collection[str] | None = None, *, since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> Iterator[BagMessage]:
        """Yield messages in the order of log time; equal times in the order in which they were written.

        Args:
            topics: Full names of the topics to read; all when None.
            since_ns: First log time to yield; chunks that end before are not read.
            until_ns: Last log time to yield.
        """
        blocks = sorted(
            ((block.start_ns, index, order, block) for index, part in enumerate(self._parts)
             for order, block in enumerate(part.found.blocks)
             if block.count and block.end_ns >= since_ns and block.start_ns <= until_ns),
            key=lambda entry: entry[:3],
        )  # fmt: skip
        waiting: list[tuple[int, int, int, int, BagMessage]] = []
        for start_ns, index, order, block in blocks:
            while waiting and waiting[0][0] < start_ns:
                yield heapq.heappop(waiting)[-1]
            for place, message in enumerate(self._of_block(self._parts[index], block, topics)):
                if since_ns <= message.log_time_ns <= until_ns:
                    heapq.heappush(waiting, (message.log_time_ns, index, order, place, message))
        while waiting:
            yield heapq.heappop(waiting)[-1]

    def decode(self, message: BagMessage) -> Any:
        """Decode a message with the installed class, or from the definition in the bag.

        Raises:
            InputError: The bytes do not fit the type.
        """
        from twin_nodes.io.bags.fields import decode

        encoding, text = self.definitions.get(message.type_name, ('', ''))
        return decode(message.type_name, message.data, definition=text if encoding == 'ros2msg' else '')

    def close(self) -> None:
        """Let go of the files."""
        for part in self._parts:
            part.view.release()
            for resource in part.keep_alive:
                resource.close()
        self._parts = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gather(self, part: _Part) -> None:
        for channel_id, topic in part.topics.items():
            before = self.topics.get(topic.name)
            if before is not None and before.type_name != topic.type_name:
                raise InputError(f'{topic.name} has two types in one bag: {before.type_name} and {topic.type_name}')
            merged = topic if before is None else replace(before, qos=tuple(dict.fromkeys(before.qos + topic.qos)))
            self.topics[topic.name] = merged
            self.counts[topic.name] = self.counts.get(topic.name, 0) + part.found.counts.get(channel_id, 0)
            schema = part.found.schemas.get(part.found.channels[channel_id].schema_id)
            if schema is not None and schema.text:
                self.definitions.setdefault(topic.type_name, (schema.encoding, schema.text))

    @staticmethod
    def _of_block(part: _Part, block: Block, wanted: Collection[str] | None) -> Iterator[BagMessage]:
        message: MessageRecord
        for message in messages_of(part.view, block):
            topic = part.topics.get(message.channel_id)
            if topic is not None and (wanted is None or topic.name in wanted):
                yield BagMessage(
                    topic.name, topic.type_name, message.log_time_ns, message.publish_time_ns, message.data
                )


def _files(path: Path, entries: dict[str, Any] | None) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no bag at '{path}': name a folder with metadata.yaml, or an .mcap file")
    listed = [path / Path(name).name for name in (entries or {}).get('relative_file_paths') or []]
    files = [file for file in listed if file.is_file()] or sorted(path.glob('*.mcap'))
    if not files:
        raise InputError(f"'{path}' holds no .mcap file: it is not a bag, or not one that is read here")
    return files


def _open_part(path: Path, known: dict[str, Topic]) -> _Part:
    file = path.open('rb')
    if path.stat().st_size == 0:
        return _Part(memoryview(b''), Scan(), {}, [file])
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapped)
    head = bytes(view[: len(MAGIC)])
    found = scan(view)
    if head != MAGIC[: len(head)] and not found.blocks:
        view.release()
        mapped.close()
        file.close()
        with path.open('rb') as stream:
            start = stream.read(16)
        if start.startswith(b'#ROSBAG'):
            raise InputError(f"'{path.name}' is a bag of ROS 1: {converted(path)}")
        if start.startswith(b'SQLite'):
            raise InputError(f"'{path.name}' is stored as sqlite3, not mcap: {converted(path.parent)}")
        raise InputError(f"'{path.name}' does not begin like an MCAP file and no chunk was found in it")
    topics = {
        channel_id: topic for channel_id, channel in found.channels.items() if (topic := _topic(channel, found, known))
    }
    return _Part(view, found, topics, [mapped, file])


def _topic(channel: Channel, found: Scan, known: dict[str, Topic]) -> Topic | None:
    """Put together what file and metadata.yaml know of a topic; None when its type is known to neither."""
    schema = found.schemas.get(channel.schema_id)
    told = known.get(channel.topic)
    if channel.encoding != 'cdr' or (schema is None and told is None):
        return None
    qos = parse_qos(channel.metadata.get('offered_qos_profiles'))
    hash_text = channel.metadata.get('topic_type_hash', '')
    return Topic(
        channel.topic,
        schema.name if schema is not None else told.type_name,
        hash_text or (told.type_hash if told else ''),
        qos or (told.qos if told else ()),
    )
