"""The recent positions of a tool, at any instant, whatever the stamps."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array

_CAPACITY = 2048


class History:
    """Positions (or rotation vectors) of the last second, in the order of their stamps."""

    def __init__(self) -> None:
        self.stamps: NDArray[np.int64] = np.zeros(2 * _CAPACITY, np.int64)
        self.values = np.zeros((2 * _CAPACITY, 3))
        self.count = 0

    def clear(self) -> None:
        """Forget all."""
        self.count = 0

    @property
    def newest(self) -> Array:
        """The newest value, shape (3,)."""
        value: Array = self.values[self.count - 1]
        return value

    def add(self, stamp_ns: int, value: Array) -> None:
        """Take in a value (3,) that is newer than all."""
        if self.count == len(self.stamps):
            self.stamps[:_CAPACITY] = self.stamps[_CAPACITY:]
            self.values[:_CAPACITY] = self.values[_CAPACITY:]
            self.count = _CAPACITY
        self.stamps[self.count] = stamp_ns
        self.values[self.count] = value
        self.count += 1

    def at(self, stamp_ns: int) -> Array | None:
        """Return the value at an instant (3,), linear between two; None before the oldest and after the newest."""
        stamps = self.stamps[: self.count]
        right = int(np.searchsorted(stamps, stamp_ns))
        if right >= self.count or (right == 0 and stamps[0] != stamp_ns):
            return None
        if stamps[right] == stamp_ns:
            exact: Array = self.values[right]
            return exact
        share = (stamp_ns - stamps[right - 1]) / (stamps[right] - stamps[right - 1])
        between: Array = self.values[right - 1] + share * (self.values[right] - self.values[right - 1])
        return between
