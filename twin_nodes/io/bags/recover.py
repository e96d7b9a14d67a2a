"""Makes a whole bag of what is left of one that was cut, killed or damaged."""

from dataclasses import dataclass, field
from pathlib import Path

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.definitions import definition_text
from twin_nodes.io.bags.part import BagLoss
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter

ALL, NOTHING, LOSSY = 0, 1, 3


@dataclass(frozen=True)
class RecoverReport:
    """What was recovered and what was not.

    Args:
        messages: Messages in the new bag.
        loss: What of the old bag could not be read.
        counts: Messages in the new bag, by topic.
        start_ns: First log time [ns], 0 when nothing was recovered.
        end_ns: Last log time [ns], 0 when nothing was recovered.
        unguarded: Messages in the new bag that stem from a chunk that was cut: no checksum guards them.
    """

    messages: int
    loss: BagLoss
    counts: dict[str, int] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0
    unguarded: int = 0

    @property
    def bytes_lost(self) -> int:
        """Bytes of the old bag in no whole record."""
        return self.loss.bytes

    @property
    def exit_status(self) -> int:
        """0 when everything was recovered, 3 when something was lost, 1 when nothing was there."""
        if not self.messages:
            return NOTHING
        return LOSSY if self.loss else ALL


def recover(path: Path | str, output: Path | str, *, compression: str = 'zstd') -> RecoverReport:
    """Write every message that can still be read into a new bag, in the order of log time.

    Args:
        path: The old bag: a directory with or without metadata.yaml, or an MCAP or sqlite3 file. It is not changed.
        output: The new bag's directory; made here, and only when there is something to put into it.
        compression: Of the new bag: '' for none, 'zstd' or 'lz4'.

    Raises:
        InputError: There is no bag at the path.
        ConfigError: The output exists already.
        BagWriteError: The disk took no more.
    """
    with BagReader(path, unguarded=True) as reader:
        report = RecoverReport(
            reader.message_count, reader.loss, dict(reader.counts), reader.start_ns, reader.end_ns, reader.unguarded
        )
        if report.messages:
            _copy(reader, Path(output), compression)
        return report


def _copy(reader: BagReader, output: Path, compression: str) -> None:
    with BagWriter(output, compression=compression, chunk_bytes=256 * 1024, sync_period_s=0.0) as writer:
        handles = {
            topic.name: writer.add_topic(
                topic.name,
                topic.type_name,
                qos=topic.qos,
                hash_text=topic.type_hash,
                definition=_definition(reader, topic.type_name),
            )
            for topic in reader.topics.values()
        }
        for message in reader.messages():
            writer.wait_for_room()
            writer.write(
                handles[message.topic], message.log_time_ns, message.data, publish_time_ns=message.publish_time_ns
            )


def _definition(reader: BagReader, type_name: str) -> tuple[str, str]:
    """Return the definition that the old bag carries, else the installed one, else an empty one."""
    if type_name in reader.definitions:
        return reader.definitions[type_name]
    try:
        return 'ros2msg', definition_text(type_name)
    except InputError:
        return '', ''
