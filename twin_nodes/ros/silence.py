"""Whether the streams of a replay have ended, told from a machine that stands still."""

from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from twin_nodes.core.stamps import ALL_NS, NANOSECONDS
from twin_nodes.ros.progress import follow_progress

_ENDED_NS = 2 * NANOSECONDS  # below the pause of `twin play --loop` before it sets the clock back
_LONG_NS = 10 * NANOSECONDS


class ReplaySilence:
    """Counts for how long nothing was heard while this node could hear.

    A tick that comes late counts as two: what came in the meantime has not been read yet. While /clock goes on, nodes
    before this one may only be late, and a far longer silence is needed than where it stands still, as after the end.
    The same holds while the maker of a stream has not said that it has come to the end of its own.

    Args:
        node: The node, whose clock is that of the replay.
        period: Time between two ticks [s].
    """

    def __init__(self, node: Node, period: float) -> None:
        self._clock, self._steady = node.get_clock(), Clock(clock_type=ClockType.STEADY_TIME)
        self._step_ns = round(2.0 * period * NANOSECONDS)
        self._ticked_ns = int(self._steady.now().nanoseconds)
        self._told_ns = 0
        self._silent_ns = self._still_ns = 0
        self._node, self._working = node, set[str]()

    def follow(self, *streams: str) -> None:
        """Take the word of the makers of streams, where they give one, for whether more of them may come."""
        for stream in streams:
            follow_progress(self._node, stream, partial(self._note, stream))

    def _note(self, stream: str, done_ns: int, _newest_ns: int) -> None:
        if done_ns == ALL_NS:
            self._working.discard(stream)
        else:
            self._working.add(stream)
            self.hear()

    def hear(self) -> None:
        """Note that a stream has said something."""
        self._silent_ns = 0

    def tick(self) -> int:
        """Look at the clocks; called by a timer of the steady clock. Return what counts since the last look [ns]."""
        now_ns, told_ns = int(self._steady.now().nanoseconds), int(self._clock.now().nanoseconds)
        step_ns = min(now_ns - self._ticked_ns, self._step_ns)
        self._still_ns = self._still_ns + step_ns if told_ns == self._told_ns else 0
        self._silent_ns += step_ns
        self._ticked_ns, self._told_ns = now_ns, told_ns
        return step_ns

    @property
    def is_long(self) -> bool:
        """Whether nothing was heard for so long that it is no stall of the machine."""
        return self._silent_ns > _LONG_NS

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is on its way."""
        return self.is_long or (not self._working and min(self._silent_ns, self._still_ns) > _ENDED_NS)
