"""The jitter buffer: commands that come early, late, twice or in any order are played in order, each at its time.

A command is played at (its stamp on the sender's clock) + D. D is measured, so that no clocks need to agree: the median
transit (arrival − stamp) of the last moments, plus what the percentile of the transits over a longer window needs, plus
the span of the copies that mend losses, and never more than `max_added` above the median. D rises at once and falls
slowly.
"""

import heapq
import math
from dataclasses import dataclass

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import PlayoutConfig
from twin_nodes.core.telesurgery.bridge.records import Command
from twin_nodes.core.telesurgery.bridge.replay_window import ReplayWindow
from twin_nodes.core.telesurgery.bridge.transits import Transits

_PLAN_NS = 50_000_000
_LEAST_RISE = 0.002  # seconds a second, above any skew
_FLOOR_RISE = 0.5  # seconds a second
_CATCH_UP = 0.5  # after a queue has drained: half again as fast as it was given
_MAX_WAIT_NS = 5 * NANOSECONDS  # a command due later than this is from the future


@dataclass(frozen=True, slots=True)
class Played:
    """A command whose time has come.

    Args:
        command: The command.
        due_ns: When it was due, on our clock.
        arrived_ns: When its first copy came.
        late: Whether it came after it was due.
    """

    command: Command
    due_ns: int
    arrived_ns: int
    late: bool


class JitterBuffer:
    """Commands of one channel.

    Args:
        config: Settings.
    """

    def __init__(self, config: PlayoutConfig) -> None:
        self._config = config
        self.counts = dict.fromkeys(('played', 'recovered', 'late', 'superseded', 'stale', 'future', 'never'), 0)
        self.reset()

    def reset(self) -> None:
        """Forget everything but the counts, for a peer that began anew."""
        self._waiting: dict[int, tuple[Command, int]] = {}
        self._order: list[int] = []  # heap of the sequences that wait
        self._played = 0
        self._highest = 0
        self._newest_stamp_ns = 0
        self._seen = ReplayWindow(self._config.capacity)
        self._added_ns = 0
        self._floor_ns = 0
        self._planned_ns: int | None = None
        self._spread_ns = 0
        self._fresh = Transits()  # of the newest in each datagram
        self._first = Transits()  # of the first copy of each
        self._jitter_ns = 0.0
        self._least_ns = 0
        self._period_s = 0.005
        self._last_transit: int | None = None

    @property
    def played(self) -> int:
        """Sequence of the last command played, 0 for none."""
        return self._played

    @property
    def backlog(self) -> int:
        """Commands that wait."""
        return len(self._waiting)

    @property
    def added_s(self) -> float:
        """What is waited now beyond the median transit [s]."""
        return self._added_ns / NANOSECONDS

    @property
    def queue_s(self) -> float:
        """Standing queue [s]: the least transit of the last moments above the least that was seen."""
        if not self._fresh or not self._first:
            return 0.0
        return (self._fresh.least() - self._least_ns) / NANOSECONDS

    @property
    def period_s(self) -> float:
        """Time between two commands as they were given [s]."""
        return self._period_s

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter of RFC 3550, section 6.4.1 [s]."""
        return self._jitter_ns / NANOSECONDS

    @property
    def next_due_ns(self) -> int | None:
        """When the next command is due, or None."""
        return self._due_ns(self._waiting[self._order[0]][0]) if self._order else None

    def push(self, commands: tuple[Command, ...], now_ns: int, mend_ns: int | None = None) -> int:
        """Take the commands of a datagram, newest first, and return how many of them were new.

        Args:
            commands: As decoded.
            now_ns: Our monotonic clock.
            mend_ns: How long copies are waited for, as the losses ask; None for all copies that came.
        """
        self._measure(commands[0], now_ns)
        first = [command for command in commands if self._seen.take(command.sequence)]
        for command in first:
            self._first.add(now_ns, now_ns - command.stamp_ns)
        span_ns = commands[0].stamp_ns - commands[-1].stamp_ns
        self._plan(now_ns, span_ns if mend_ns is None else min(mend_ns, span_ns))
        new = [command for command in first if command.sequence > self._played]
        taken = 0
        for command in new:
            taken += self._take(command, now_ns, recovered=command is not commands[0])
        return taken

    def _take(self, command: Command, now_ns: int, *, recovered: bool) -> bool:
        due_ns = self._due_ns(command)
        if now_ns - due_ns > self._config.late_limit * NANOSECONDS:
            self.counts['stale'] += 1
            return False
        if due_ns - now_ns > _MAX_WAIT_NS or len(self._waiting) >= self._config.capacity:
            self.counts['future'] += 1
            return False
        self.counts['recovered'] += recovered
        self._waiting[command.sequence] = (command, now_ns)
        heapq.heappush(self._order, command.sequence)
        return True

    def _due_ns(self, command: Command) -> int:
        return command.stamp_ns + self._floor_ns + self._added_ns

    def _measure(self, newest: Command, now_ns: int) -> None:
        if newest.sequence <= self._highest:  # overtaken or doubled: its copies may be new, its transit is not typical
            return
        if self._highest and newest.stamp_ns > self._newest_stamp_ns:
            gap_s = (newest.stamp_ns - self._newest_stamp_ns) / NANOSECONDS / (newest.sequence - self._highest)
            self._period_s += 0.05 * (min(gap_s, 1.0) - self._period_s)
        self._highest, self._newest_stamp_ns = newest.sequence, newest.stamp_ns
        transit = now_ns - newest.stamp_ns
        if self._last_transit is not None:
            self._jitter_ns += (abs(transit - self._last_transit) - self._jitter_ns) / 16.0
        self._last_transit = transit
        self._fresh.add(now_ns, transit)

    def _plan(self, now_ns: int, span_ns: int) -> None:
        """Set the wait anew, at most every 50 ms: rising at once, falling slowly."""
        if self._planned_ns is not None and now_ns - self._planned_ns < _PLAN_NS:
            return
        config = self._config
        self._fresh.drop_before(now_ns - round(config.floor_window * NANOSECONDS))
        self._first.drop_before(now_ns - round(config.window * NANOSECONDS))
        if not self._fresh:
            return
        before_ns = self._floor_ns + self._added_ns
        floor_ns = self._fresh.rank((len(self._fresh) - 1) // 2)  # the lower of the two medians
        if self._planned_ns is not None:
            # slowly up: what a network held back in an outage and lets go at once is old motion, not a longer path
            elapsed_ns = min(now_ns - self._planned_ns, 2 * _PLAN_NS)
            floor_ns = min(floor_ns, self._floor_ns + round(_FLOOR_RISE * elapsed_ns))
        if self._first:
            # risen slowly: a queue that never empties must not pass for the path itself, nor an old path for the new
            risen_ns = self._least_ns + round(_LEAST_RISE * (now_ns - (self._planned_ns or now_ns)))
            least_ns, count = self._first.least(), len(self._first)
            self._least_ns = least_ns if self._planned_ns is None else min(least_ns, risen_ns)
            self._spread_ns = self._first.rank(min(math.ceil(config.percentile * count), count) - 1)
        added_ns = max(self._spread_ns - floor_ns, span_ns, 0)
        wait_ns = floor_ns + min(added_ns, round(config.max_added * NANOSECONDS))
        if self._planned_ns is not None:
            too_long = before_ns > floor_ns + config.max_added * NANOSECONDS
            slew = max(config.slew, _CATCH_UP) if too_long else config.slew
            wait_ns = max(wait_ns, before_ns - round(slew * (now_ns - self._planned_ns)))
        self._floor_ns, self._added_ns = floor_ns, wait_ns - floor_ns
        self._planned_ns = now_ns

    def pop(self, now_ns: int) -> list[Played]:
        """Return the commands that are due, in order; of those that came late the newest, or all, as configured."""
        due: list[Played] = []
        while self._order:
            command, arrived_ns = self._waiting[self._order[0]]
            due_ns = self._due_ns(command)
            if due_ns > now_ns:
                break
            heapq.heappop(self._order)
            del self._waiting[command.sequence]
            self._count_missing(command.sequence)
            late = arrived_ns > due_ns
            if late and due and due[-1].late and self._config.late == 'newest':
                due.pop()
                self.counts['superseded'] += 1
                self.counts['late'] -= 1
                self.counts['played'] -= 1
            self.counts['late'] += late
            self.counts['played'] += 1
            due.append(Played(command, due_ns, arrived_ns, late))
        return due

    def _count_missing(self, sequence: int) -> None:
        if self._played:
            self.counts['never'] += sequence - self._played - 1
        self._played = sequence
