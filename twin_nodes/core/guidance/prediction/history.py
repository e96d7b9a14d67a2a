"""The recent positions of a tool, measured and smoothed, at any instant, whatever the stamps."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.prediction.smoothing import LEVELS

_CAPACITY = 2048


class History:
    """Positions (or rotation vectors) of the last second, in the order of their stamps; the first level is measured."""

    def __init__(self) -> None:
        self.stamps: NDArray[np.int64] = np.zeros(2 * _CAPACITY, np.int64)
        self.values = np.zeros((LEVELS, 2 * _CAPACITY, 3))
        self.count = 0

    def clear(self) -> None:
        """Forget all."""
        self.count = 0

    @property
    def newest(self) -> Array:
        """The newest measured value, shape (3,)."""
        value: Array = self.values[0, self.count - 1]
        return value

    @property
    def known(self) -> Array:
        """All values, of each level, that may be changed in place, shape (levels, count, 3)."""
        values: Array = self.values[:, : self.count]
        return values

    def add(self, stamp_ns: int, value: Array, smoothed: Array) -> None:
        """Take in a value (3,) that is newer than all, and what it is at the other levels, (levels - 1, 3)."""
        if self.count == len(self.stamps):
            self.stamps[:_CAPACITY] = self.stamps[_CAPACITY:]
            self.values[:, :_CAPACITY] = self.values[:, _CAPACITY:]
            self.count = _CAPACITY
        self.stamps[self.count] = stamp_ns
        self.values[0, self.count] = value
        self.values[1:, self.count] = smoothed
        self.count += 1

    def at(self, stamp_ns: int) -> Array | None:
        """Return the measured value at an instant (3,), linear between two; None outside of the oldest and newest."""
        stamps, values = self.stamps[: self.count], self.values[0]
        right = int(np.searchsorted(stamps, stamp_ns))
        if right >= self.count or (right == 0 and stamps[0] != stamp_ns):
            return None
        if stamps[right] == stamp_ns:
            exact: Array = values[right]
            return exact
        share = (stamp_ns - stamps[right - 1]) / (stamps[right] - stamps[right - 1])
        between: Array = values[right - 1] + share * (values[right] - values[right - 1])
        return between
