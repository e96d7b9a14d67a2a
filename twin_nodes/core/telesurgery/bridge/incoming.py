"""A topic that comes from the other site: its jitter buffer, what it holds, and when it was last heard."""

from collections.abc import Iterator
from dataclasses import dataclass

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.jitter_buffer import JitterBuffer, Played
from twin_nodes.core.telesurgery.bridge.link_state import ChannelState
from twin_nodes.core.telesurgery.bridge.loss_meter import LossEstimate, copies_needed
from twin_nodes.core.telesurgery.bridge.outgoing import Schema
from twin_nodes.core.telesurgery.bridge.records import CommandFrame, channel_id


@dataclass(frozen=True, slots=True)
class Due:
    """A command to publish.

    Args:
        topic: Where.
        kind: POSE or JOINTS.
        counts: Numbers of positions, velocities and efforts.
        label: frame_id, or joint names parted by newlines.
        played: The command, with its times.
        stamp_ns: When it was measured, on our monotonic clock, as far as the offset is known; else its arrival.
    """

    topic: str
    kind: int
    counts: tuple[int, int, int]
    label: str
    played: Played
    stamp_ns: int


class IncomingChannel:
    """Takes frames of a topic in and gives its commands out on the clock of the jitter buffer.

    Args:
        config: Settings of the bridge.
        topic: The topic.
    """

    def __init__(self, config: BridgeConfig, topic: str) -> None:
        self._config = config
        self.topic = topic
        self.number = channel_id(topic)
        self.buffer = JitterBuffer(config.playout)
        self.played_ns: int | None = None
        self._arrived_ns: int | None = None
        self._age_s: float | None = None
        self._schemas: dict[int, Schema] = {}

    def reset(self) -> None:
        """Forget what waits: it is of an old process."""
        self.buffer.reset()
        self._schemas.clear()

    def take(self, frame: CommandFrame, lost: LossEstimate, now_ns: int) -> None:
        """Take in a frame.

        Args:
            frame: The frame.
            lost: What we lose of theirs; copies are waited for by that.
            now_ns: Our monotonic clock.
        """
        if not self.buffer.push(frame.commands, now_ns, self._mend_ns(lost)):
            return
        self._arrived_ns = now_ns
        for command in frame.commands:
            self._schemas.setdefault(command.sequence, (frame.kind, frame.counts, frame.label))
        while len(self._schemas) > 2 * self._config.playout.capacity:
            self._schemas.pop(next(iter(self._schemas)))

    def _mend_ns(self, lost: LossEstimate) -> int | None:
        """How long copies are worth waiting for; None for all of them: losses that are large, or not known yet."""
        redundancy = self._config.redundancy
        if not lost.known or lost.loss > redundancy.full_loss:
            return None
        period_s = self.buffer.period_s
        copies = copies_needed(
            lost.loss, lost.burst_s, period_s=period_s, rate_hz=lost.rate_hz, target=redundancy.target
        )
        return round((copies - 1) * period_s * NANOSECONDS)

    def due(self, offset_ns: int | None, now_ns: int) -> Iterator[Due]:
        """Give out what is to be published now, in order.

        Args:
            offset_ns: Their clock less ours, None while it is not known.
            now_ns: Our monotonic clock.
        """
        for played in self.buffer.pop(now_ns):
            stamp_ns = played.arrived_ns
            if offset_ns is not None:
                stamp_ns = min(played.command.stamp_ns - offset_ns, now_ns)
            self.played_ns = now_ns
            self._age_s = (now_ns - stamp_ns) / NANOSECONDS
            kind, counts, label = self._schemas[played.command.sequence]
            yield Due(self.topic, kind, counts, label, played, stamp_ns)
        self._forget_schemas()

    def _forget_schemas(self) -> None:
        """Sequences up to the last one played are done with; they were put in roughly in order."""
        while self._schemas and next(iter(self._schemas)) <= self.buffer.played:
            self._schemas.pop(next(iter(self._schemas)))

    def state(self, now_ns: int) -> ChannelState:
        """Return how the channel stands."""

        def since(time_ns: int | None) -> float | None:
            return None if time_ns is None else (now_ns - time_ns) / NANOSECONDS

        played, buffer = since(self.played_ns), self.buffer
        return ChannelState(
            self.topic, since(self._arrived_ns), self._age_s, buffer.added_s, buffer.jitter_s, buffer.backlog,
            dict(buffer.counts), played is None or played > self._config.hold_after,
        )  # fmt: skip
