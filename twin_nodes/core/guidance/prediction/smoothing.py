"""A position smoothed at several levels at once: what is noise and what is motion only the prediction can tell.

Each level is a constant-velocity Kalman filter (Bar-Shalom, Li and Kirubarajan 2001, section 6.2.2) whose process is so
quick against its noise that it follows motions up to a frequency, whatever the rate of the samples: with noise of
density r = σ²·dt and acceleration of density q, the frequency is (q/r)^¼. The first level is the raw position.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.geometry.se3 import Array

FREQUENCIES = np.array([25.0, 10.0, 4.0])  # rad/s, of the levels after the raw one
LEVELS = 1 + len(FREQUENCIES)
_INSTANT = 1e-3  # s, over which velocities are turned
_START = 60.0  # noise density of 1 over a sixtieth of a second: variance of the first position


@njit(cache=True)
def _follow(seconds: float, value: Any, frequencies: Any, positions: Any, velocities: Any, spreads: Any) -> None:
    """Take in a value (3,) that follows by some seconds; positions and velocities (n, 3) and spreads (n, 3) change."""
    for n in range(len(frequencies)):
        a, b, c = spreads[n]
        q, noise = frequencies[n] ** 4, 1.0 / seconds
        a, b = a + 2.0 * seconds * b + seconds * seconds * c + q * seconds**3 / 3.0, b + seconds * c
        b, c = b + 0.5 * q * seconds * seconds, c + q * seconds
        near, slope = a / (a + noise), b / (a + noise)
        spreads[n, 0], spreads[n, 1], spreads[n, 2] = (1.0 - near) * a, (1.0 - near) * b, c - slope * b
        for axis in range(3):
            ahead = positions[n, axis] + seconds * velocities[n, axis]
            miss = value[axis] - ahead
            positions[n, axis] = ahead + near * miss
            velocities[n, axis] += slope * miss


class Smoothing:
    """The levels of one vector.

    Attributes:
        positions: Smoothed values, shape (levels - 1, 3).
        velocities: Of them, per second, shape (levels - 1, 3).
    """

    def __init__(self) -> None:
        self.positions, self.velocities = np.zeros((2, len(FREQUENCIES), 3))
        self._spreads = np.zeros((len(FREQUENCIES), 3))

    def begin(self, value: Array) -> None:
        """Begin at rest at a value (3,)."""
        self.positions[:], self.velocities[:] = value, 0.0
        self._spreads[:, 0], self._spreads[:, 1] = _START, 0.0
        self._spreads[:, 2] = _START * FREQUENCIES**2

    def add(self, seconds: float, value: Array) -> None:
        """Take in a value (3,) that follows the last one by some seconds, more than none."""
        _follow(seconds, value, FREQUENCIES, self.positions, self.velocities, self._spreads)

    def rewrite(self, turn: Callable[[Array], Array]) -> None:
        """Go on in other coordinates, into which `turn` maps values (n, 3)."""
        after = turn(self.positions + _INSTANT * self.velocities)
        self.positions[:] = turn(self.positions)
        self.velocities[:] = (after - self.positions) / _INSTANT
