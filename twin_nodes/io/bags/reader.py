"""Reads rosbag2 bags in the order of log time, whole or cut: MCAP and sqlite3, split, compressed with zstd."""

import heapq
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags import packed
from twin_nodes.io.bags.mcap_part import McapPart, merged
from twin_nodes.io.bags.metadata import Topic, read_metadata, topics_of
from twin_nodes.io.bags.part import BagLoss, BagMessage, BagPart
from twin_nodes.io.bags.sqlite_part import MAGIC as SQLITE
from twin_nodes.io.bags.sqlite_part import SqlitePart

BAG_FILES = ('.mcap', '.db3', '.bag', *(f'{kind}{end}' for kind in ('.mcap', '.db3') for end in packed.ENDINGS))
_OF_FOLDERS = tuple(ending for ending in BAG_FILES if ending != '.bag')


def is_bag(path: Path) -> bool:
    """Whether a path is a bag by its name: a file of one (also of ROS 1, which is refused), or a folder of such."""
    return bool(files_of(path)) if path.is_dir() else path.name.lower().endswith(BAG_FILES)


def files_of(path: Path) -> list[Path]:
    """Return the files of a bag, in the order of their names; itself for a file."""
    if not path.is_dir():
        return [path]
    return sorted((file for file in path.iterdir() if file.name.lower().endswith(_OF_FOLDERS)), key=_split_order)


class BagReader:
    """A bag, opened and checked once from end to end.

    Args:
        path: A rosbag2 directory (with or without a usable metadata.yaml), or an MCAP or sqlite3 file.
        unguarded: Whether to take what is left of a chunk that was cut, which no checksum guards.

    Raises:
        InputError: There is no bag, or it is stored in a form that is not read here.
    """

    def __init__(self, path: Path | str, *, unguarded: bool = False) -> None:
        self._unguarded = unguarded
        self.path = Path(path)
        entries = read_metadata(self.path) if self.path.is_dir() else None
        known = topics_of(entries)
        self.topics: dict[str, Topic] = {}
        self.definitions: dict[str, tuple[str, str]] = {}  # by type: encoding, text
        self.counts: dict[str, int] = {}
        self._parts: list[BagPart] = []
        self._unpacked: list[Any] = []
        self.files, absent = _files(self.path, entries)
        try:
            for file in self.files:
                self._parts.append(self._opened(file, known))
                self._gather(self._parts[-1])
        except BaseException:
            self.close()
            raise
        promised = (entries or {}).get('message_count')
        self._absent = max(0, promised - self.message_count) if absent and isinstance(promised, int) else 0

    @property
    def message_count(self) -> int:
        """Messages that can be read."""
        return sum(self.counts.values())

    @property
    def start_ns(self) -> int:
        """The first log time [ns]; 0 for an empty bag."""
        return min((part.start_ns for part in self._parts if part.start_ns is not None), default=0)

    @property
    def end_ns(self) -> int:
        """The last log time [ns]; 0 for an empty bag."""
        return max((part.end_ns for part in self._parts if part.end_ns is not None), default=0)

    @property
    def unguarded(self) -> int:
        """Messages from chunks that were cut; 0 unless asked for."""
        return sum(part.unguarded for part in self._parts if isinstance(part, McapPart))

    @property
    def loss(self) -> BagLoss:
        """What could not be read, over all files."""
        losses = [part.loss for part in self._parts]
        return BagLoss(
            bytes=sum(loss.bytes for loss in losses),
            bad_chunks=sum(loss.bad_chunks for loss in losses),
            nameless_messages=sum(loss.nameless_messages for loss in losses),
            missing_messages=sum(loss.missing_messages for loss in losses) + self._absent,
            open_end=any(loss.open_end for loss in losses),
        )

    def messages(
        self, topics: Collection[str] | None = None, *, since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> Iterator[BagMessage]:
        """Yield messages in the order of log time; equal times in the order in which they were written.

        Args:
            topics: Full names of the topics to read; all when None.
            since_ns: First log time to yield; what lies outside is not read.
            until_ns: Last log time to yield.

        Raises:
            InputError: A message that was compressed by itself and is damaged.
        """
        streams = [
            part.messages(topics, since_ns, until_ns)
            for part in self._parts
            if part.start_ns is not None and part.start_ns <= until_ns and (part.end_ns or 0) >= since_ns
        ]
        rows = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda message: message.log_time_ns)
        for message in rows:
            if message.data.startswith(packed.MAGIC):
                yield message._replace(data=packed.message_of(message.data, message.topic))
            else:
                yield message

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
        for resource in (*self._parts, *self._unpacked):
            resource.close()
        self._parts, self._unpacked = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, path: Path, known: dict[str, Topic]) -> BagPart:
        with path.open('rb') as stream:
            start = stream.read(len(SQLITE))
        file = path
        if start.startswith(packed.MAGIC):
            self._unpacked.append(packed.unpacked(path))
            file = Path(self._unpacked[-1].name)
            with file.open('rb') as stream:
                start = stream.read(len(SQLITE))
        try:
            return SqlitePart(file, known) if start == SQLITE else McapPart(file, known, unguarded=self._unguarded)
        except InputError as error:
            raise InputError(str(error).replace(file.name, path.name)) from None

    def _gather(self, part: BagPart) -> None:
        for name, topic in part.topics.items():
            before = self.topics.get(name)
            self.topics[name] = topic if before is None else merged(before, topic)
            self.counts[name] = self.counts.get(name, 0) + part.counts.get(name, 0)
        for kind, definition in part.definitions.items():
            self.definitions.setdefault(kind, definition)


def _files(path: Path, entries: dict[str, Any] | None) -> tuple[list[Path], bool]:
    """Return the files of a bag, and whether one that metadata.yaml names is not there."""
    if not path.exists():
        raise InputError(f"there is no bag at '{path}': name a folder with metadata.yaml, or an .mcap or .db3 file")
    listed = [path / Path(name).name for name in (entries or {}).get('relative_file_paths') or []]
    absent = [file for file in listed if not file.is_file()]
    files = files_of(path) if absent or not listed else listed
    if not files:
        told = f', though metadata.yaml names {absent[0].name}' if absent else ': it is not a bag that is read here'
        raise InputError(f"'{path}' holds no .mcap and no .db3 file{told}")
    return files, bool(absent)


def _split_order(path: Path) -> list[tuple[int, str]]:
    """Order `bag_10.mcap` behind `bag_9.mcap`."""
    return [(int(word), '') if word.isdigit() else (-1, word) for word in re.split(r'(\d+)', path.name)]
