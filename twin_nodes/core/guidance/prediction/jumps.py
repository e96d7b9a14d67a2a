"""Tells a jump of the measured pose from a motion: no hand accelerates so."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array

_LEAST = 2e-3  # m; smaller jumps do no harm
_IMPACT = 10.0  # m/s², more than a hand does with a tool
_TIMES = 8.0  # of the usual surprise
_START = 5e-3  # m, usual surprise before the first sample
_MEMORY, _FIRST = 100.0, 3.0  # samples
_RISE = 3.0  # times the usual that one sample counts for at most: outliers are not usual
_AGAIN = 0.5  # share of a jump by which the next one differs at least


class JumpDetector:
    """Compares how far a vector is from where it was expected with how far it mostly is.

    What is off twice alike did not jump but moves otherwise than before; an outlier jumps there and back.
    """

    def __init__(self) -> None:
        self._usual = _START
        self._count = 0
        self._last = np.zeros(3)

    def reset(self) -> None:
        """Forget the last jump."""
        self._last = np.zeros(3)

    def judge(self, seconds: float, step: Array) -> bool:
        """Return whether what is off by a step (3,) [m] after some seconds jumped."""
        off = float(np.sqrt(step @ step))
        limit = _LEAST + _IMPACT * seconds**2 + _TIMES * self._usual
        self._count += 1
        weight = max(1.0 / _MEMORY, 1.0 / (self._count + _FIRST))
        self._usual += weight * (min(off, _RISE * self._usual) - self._usual)
        again = step - self._last
        jumped = off > limit and float(again @ again) > _AGAIN**2 * float(self._last @ self._last)
        self._last = step if jumped else np.zeros(3)
        return jumped
