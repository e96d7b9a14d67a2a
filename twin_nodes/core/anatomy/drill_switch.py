"""A drill's switch by its stamps: each pose learns whether the drill was on then, whichever is heard first."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from typing import Generic, TypeVar

T = TypeVar('T')


class DrillSwitch(Generic[T]):
    """Holds poses back until the word of the switch at their stamp must be there.

    Args:
        wait_ns: How far later poses must be past a pose before it counts; a word that comes later than that is late.
    """

    def __init__(self, wait_ns: int) -> None:
        self._wait_ns = wait_ns
        self.reset()

    def reset(self) -> None:
        """Forget all, as after a jump of the clock: the drill is off."""
        self._words: list[tuple[int, bool]] = []
        self._held: deque[tuple[int, T]] = deque()
        self._done_ns = -1

    def say(self, stamp_ns: int, *, on: bool) -> bool:
        """Hear that the drill was switched on or off; False where poses of then or later have counted already."""
        insort(self._words, (stamp_ns, on))
        return stamp_ns > self._done_ns

    def add(self, stamp_ns: int, pose: T) -> list[tuple[T, bool]]:
        """Take a pose, with rising stamps; return those that count now, each with whether the drill was on."""
        self._held.append((stamp_ns, pose))
        return self._leave(stamp_ns - self._wait_ns)

    def flush(self) -> list[tuple[T, bool]]:
        """Return all poses that are held back, as when no more will come."""
        return self._leave(self._held[-1][0]) if self._held else []

    def _leave(self, until_ns: int) -> list[tuple[T, bool]]:
        found = []
        while self._held and self._held[0][0] <= until_ns:
            self._done_ns, pose = self._held.popleft()
            found.append((pose, self._at(self._done_ns)))
        return found

    def _at(self, stamp_ns: int) -> bool:
        """Return what was last said up to a stamp, and forget what is older."""
        last = bisect_right(self._words, (stamp_ns, True))
        if last > 1:
            del self._words[: last - 1]
            last = 1
        return bool(last) and self._words[0][1]
