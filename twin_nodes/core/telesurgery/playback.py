"""The path of the commands in the leader's time, and the clock on which it is played.

What is played is a path: between two commands the position is interpolated, so that a change of the play rate changes
when the robot is somewhere and never where. Losses that were not mended leave a longer chord, nothing else.
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command, Quaternion, Vector, mix, mix_quat
from twin_nodes.core.telesurgery.compensation_config import PlaybackConfig

_TRIM = 512


class CommandPath:
    """Commands by stamp; those before the playhead are dropped, those after it wait.

    Args:
        keep: Commands of this long are kept behind the newest [s]; older ones that wait make it overflow.
    """

    def __init__(self, keep: float) -> None:
        self._keep_ns = round(keep * NANOSECONDS)
        self._stamps: list[int] = []
        self._commands: list[Command] = []
        self._at = self._whole = 0
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._stamps) - self._at

    @property
    def newest(self) -> Command | None:
        """The command with the newest stamp."""
        return self._commands[-1] if self._commands else None

    @property
    def reached(self) -> int:
        """Number of the last command at or before the playhead, 0 for none: what lies before it is never played."""
        return self._commands[self._at].sequence if self._commands else 0

    def clear(self) -> None:
        """Forget all commands."""
        self._stamps.clear()
        self._commands.clear()
        self._at = self._whole = 0
        self.overflowed = False

    def add(self, command: Command) -> None:
        """Put a command in its place; one that is there already, or lies before the playhead, changes nothing."""
        stamps = self._stamps
        stamp = command.stamp_ns
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
            self._commands.append(command)
            if stamp - stamps[self._at] > self._keep_ns:
                self.overflowed = True
                self._at = bisect_left(stamps, stamp - self._keep_ns)
                self._forget()  # nobody seeks while nothing was ever played
            return
        index = bisect_left(stamps, stamp)
        if stamps[index] != stamp and index > self._at:
            stamps.insert(index, stamp)
            self._commands.insert(index, command)

    def seek(self, playhead_ns: int) -> None:
        """Move the playhead on; it never goes back."""
        stamps, at = self._stamps, self._at
        while at + 1 < len(stamps) and stamps[at + 1] <= playhead_ns:
            at += 1
        self._at = at
        self._forget()

    def _forget(self) -> None:
        """Let go of what is done with, in parts."""
        if self._at > _TRIM:
            keep_from = self._at - 16
            del self._stamps[:keep_from], self._commands[:keep_from]
            self._at -= keep_from
            self._whole = max(self._whole - keep_from, 0)

    def at(self, playhead_ns: int) -> tuple[Vector, Quaternion, Command]:
        """Return position [m], orientation and the last command at a playhead not before the one last set."""
        stamps, index = self._stamps, self._at
        while index + 1 < len(stamps) and stamps[index + 1] <= playhead_ns:
            index += 1
        first = self._commands[index]
        if index + 1 >= len(stamps) or playhead_ns <= first.stamp_ns:
            return first.position, first.quat_xyzw, first
        second = self._commands[index + 1]
        share = (playhead_ns - first.stamp_ns) / (second.stamp_ns - first.stamp_ns)
        position = mix(first.position, second.position, share)
        if first.quat_xyzw == second.quat_xyzw:
            return position, first.quat_xyzw, first
        return position, mix_quat(first.quat_xyzw, second.quat_xyzw, share), first

    def widest(self, stamp_ns: int) -> int:
        """Return the longest time between two commands from the one at this stamp on, or from the playhead [ns]."""
        start = max(bisect_right(self._stamps, stamp_ns) - 1, self._at)
        return max((after - before for before, after in pairwise(self._stamps[start:])), default=0)

    def whole_until(self, widest_ns: int) -> int:
        """Return the stamp of the last command before a hole that may yet be filled, or of the newest [ns].

        Args:
            widest_ns: A longer time between two commands is a hole, where numbers between theirs are missing.
        """
        index = max(self._whole, self._at)
        while index + 1 < len(self._stamps):
            first, second = self._commands[index], self._commands[index + 1]
            if second.stamp_ns - first.stamp_ns > widest_ns and second.sequence > first.sequence + 1:
                break
            index += 1
        self._whole = index
        return self._stamps[index]

    def give_up_hole(self) -> None:
        """Take the hole that `whole_until` met for one that nobody fills: it is played across."""
        self._whole = min(self._whole + 1, len(self._stamps) - 1)

    def velocity_at_end(self, span_ns: int) -> Vector:
        """Return the mean velocity of the last span of the path [m/s], zero when there is none."""
        if len(self._stamps) < 2:
            return 0.0, 0.0, 0.0
        start = max(bisect_left(self._stamps, self._stamps[-1] - span_ns), 0)
        start = min(start, len(self._stamps) - 2)
        seconds = (self._stamps[-1] - self._stamps[start]) / NANOSECONDS
        a, b = self._commands[start].position, self._commands[-1].position
        return (b[0] - a[0]) / seconds, (b[1] - a[1]) / seconds, (b[2] - a[2]) / seconds


class PlayoutClock:
    """The lag with which commands are played: the least transit, and what the late ones of the last time needed.

    Both are leaky extremes of (arrival - stamp), so that a changed delay and a skew of the clocks are followed.

    Args:
        config: Margin, largest buffer, window.
    """

    def __init__(self, config: PlaybackConfig) -> None:
        self._margin_ns = round(config.margin * NANOSECONDS)
        self._max_ns = round(config.max_buffer * NANOSECONDS)
        self._leak = 0.05 / config.window * 4.0
        self._floor: float | None = None
        self._peak = 0.0
        self._seen_ns = 0

    def reset(self) -> None:
        """Forget what was measured."""
        self._floor = None

    @property
    def known(self) -> bool:
        """Whether a command has come."""
        return self._floor is not None

    @property
    def floor_ns(self) -> int:
        """Least transit of the last time, clock offset in it [ns]."""
        return round(self._floor or 0.0)

    def add(self, stamp_ns: int, now_ns: int) -> None:
        """Take in the arrival of a command."""
        transit = float(now_ns - stamp_ns)
        if self._floor is None:
            self._floor = self._peak = transit
        else:
            elapsed = now_ns - self._seen_ns
            self._floor = min(transit, self._floor + self._leak * elapsed)
            self._peak = max(min(transit, self._floor + self._max_ns), self._peak - self._leak * elapsed, self._floor)
        self._seen_ns = now_ns

    @property
    def lag_ns(self) -> int:
        """What lies between the leader's stamp and the time of playing [ns]."""
        return round(min(self._peak, (self._floor or 0.0) + self._max_ns)) + self._margin_ns
