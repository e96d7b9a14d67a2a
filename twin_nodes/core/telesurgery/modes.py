"""The machine of modes of the follower: connected, degraded, outage, hold, catch-up; told the time, dwelling in each.

    connected → degraded   no valid command for `slow_after`, or commands come late
    degraded → connected   none of this for `good_after`
    connected, degraded → outage   no valid command for `outage_after`
    connected, degraded → hold     what is left to play is old (`old_after`), or a stop, or twin and reality part
    outage → hold          commands have come for `back_after`
    hold → outage          they stop again
    hold → catch-up        the operator asks for replay, or to discard, and twin and reality agree
    catch-up → degraded    caught up
    catch-up → outage      no valid command for `outage_after`
    catch-up → hold        a stop, or twin and reality part

While the operator's `follow` stands (his resume given ahead for short silences: `standing_resume`), what waits is
whole, and twin and reality agree:

    outage, hold → catch-up        a command has come
    connected, degraded → catch-up what is left to play is old

There is no other way from outage or hold to motion: it takes the operator's request, new or standing.
"""

from dataclasses import dataclass
from enum import StrEnum

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.compensation_config import OutageConfig, PlaybackConfig


class Mode(StrEnum):
    """What the follower does."""

    CONNECTED = 'connected'
    DEGRADED = 'degraded'
    OUTAGE = 'outage'
    HOLD = 'hold'
    CATCH_UP = 'catch-up'


@dataclass(frozen=True)
class Signs:
    """What the machine looks at.

    Args:
        gap_ns: Time since the last valid command [ns].
        flow_ns: How long valid commands have come without a gap [ns].
        late_ns: How much later than usual the playhead is [ns].
        caught_up: Whether the playhead has come to its usual lag, or the robot to the operator.
        request: '', 'replay', 'follow', 'discard' or 'stop', new in this step.
        agrees: Whether twin and reality are one.
        allowed: Whether the request can be served (a replay of a buffer that is whole).
        standing: Whether a `follow` of before still stands and can be served.
    """

    gap_ns: int
    flow_ns: int
    late_ns: int
    caught_up: bool
    request: str
    agrees: bool
    allowed: bool
    standing: bool = False


class ModeMachine:
    """Holds the mode and when it began.

    Args:
        playback: Times of the watch on the commands.
        outage: Dwell times.
    """

    def __init__(self, playback: PlaybackConfig, outage: OutageConfig) -> None:
        self._slow_ns = round(playback.slow_after * NANOSECONDS)
        self._outage_ns = round(outage.outage_after * NANOSECONDS)
        self._back_ns = round(outage.back_after * NANOSECONDS)
        self._good_ns = round(outage.good_after * NANOSECONDS)
        self._old_ns = round(outage.old_after * NANOSECONDS)
        self.mode = Mode.HOLD
        self.since_ns = 0
        self._fault_ns = 0
        self.changes = 0

    def step(self, now_ns: int, signs: Signs) -> Mode:
        """Return the mode from now on."""
        wanted = self._wanted(now_ns, signs)
        if wanted != self.mode:
            self.mode, self.since_ns = wanted, now_ns
            self.changes += 1
        return self.mode

    def _wanted(self, now_ns: int, signs: Signs) -> Mode:
        if self.mode in (Mode.CONNECTED, Mode.DEGRADED):
            return self._moving(now_ns, signs)
        follows = signs.standing and signs.agrees and signs.gap_ns < self._slow_ns and signs.request != 'stop'
        if self.mode is Mode.OUTAGE:
            back = signs.gap_ns < self._slow_ns and signs.flow_ns >= self._back_ns
            return Mode.CATCH_UP if follows else Mode.HOLD if back else Mode.OUTAGE
        if signs.gap_ns >= self._outage_ns:
            return Mode.OUTAGE
        if self.mode is Mode.HOLD:
            asked = signs.request in ('replay', 'follow', 'discard') and signs.allowed
            goes = asked and (signs.agrees or signs.request == 'discard')
            return Mode.CATCH_UP if goes or follows else Mode.HOLD
        if signs.request == 'stop' or not signs.agrees:
            return Mode.HOLD
        if signs.caught_up:
            self._fault_ns = now_ns
            return Mode.DEGRADED
        return Mode.CATCH_UP

    def _moving(self, now_ns: int, signs: Signs) -> Mode:
        if signs.gap_ns >= self._outage_ns:
            return Mode.OUTAGE
        if signs.request == 'stop' or not signs.agrees:
            return Mode.HOLD
        if signs.late_ns >= self._old_ns:
            return Mode.CATCH_UP if signs.standing else Mode.HOLD
        if signs.gap_ns >= self._slow_ns:
            self._fault_ns = now_ns
            return Mode.DEGRADED
        if self.mode is Mode.DEGRADED and now_ns - self._fault_ns < self._good_ns:
            return Mode.DEGRADED
        return Mode.CONNECTED
