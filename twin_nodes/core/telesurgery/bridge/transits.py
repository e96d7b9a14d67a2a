"""The transits of a sliding window, in flat arrays.

As tuples in a deque they would be thousands of small objects that live for ten seconds among others of milliseconds:
the memory of the process is shredded, and grows.
"""

from array import array
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

_SLACK = 1024  # entries that are done with and still there


class Transits:
    """Arrivals and transits [ns] in order of arrival."""

    def __init__(self) -> None:
        self._arrived = array('q')
        self._transit = array('q')
        self._start = 0  # those before are done with

    def __len__(self) -> int:
        return len(self._arrived) - self._start

    @property
    def held(self) -> int:
        """Entries in memory, those included that are done with."""
        return len(self._arrived)

    def add(self, now_ns: int, transit_ns: int) -> None:
        """Take one in; arrivals do not fall."""
        self._arrived.append(now_ns)
        self._transit.append(transit_ns)

    def drop_before(self, time_ns: int) -> None:
        """Forget what arrived before a time; the newest stays in any case."""
        newest = len(self._arrived) - 1
        self._start = max(min(bisect_left(self._arrived, time_ns, self._start), newest), 0)
        if self._start > _SLACK and 2 * self._start > len(self._arrived):
            del self._arrived[: self._start], self._transit[: self._start]
            self._start = 0

    def least(self) -> int:
        """Return the shortest transit [ns]; there must be one."""
        return int(self._window().min())

    def rank(self, index: int) -> int:
        """Return the transit that would stand at an index if they were sorted [ns]; there must be so many."""
        return int(np.partition(self._window(), index)[index])

    def _window(self) -> NDArray[np.int64]:
        """A view; the arrays cannot grow while one is held."""
        return np.frombuffer(self._transit, dtype=np.int64)[self._start :]
