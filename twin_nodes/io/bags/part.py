"""What every storage form of a bag gives: one file of it, opened and checked once from end to end."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twin_nodes.io.bags.metadata import Topic


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


class BagPart(Protocol):
    """One file of a bag.

    Attributes: its topics and the number of messages of each by name, definitions by type (encoding, text), first and
    last log time [ns] (None where it has no message), what of it could not be read.
    """

    topics: dict[str, Topic]
    counts: dict[str, int]
    definitions: dict[str, tuple[str, str]]
    start_ns: int | None
    end_ns: int | None
    loss: BagLoss

    def messages(self, wanted: Collection[str] | None, since_ns: int, until_ns: int) -> Iterator[BagMessage]:
        """Yield messages in the order of log time; equal times in the order in which they were written.

        Args:
            wanted: Names of topics; all when None.
            since_ns: First log time to yield.
            until_ns: Last log time to yield.
        """

    def close(self) -> None:
        """Let go of the file."""
