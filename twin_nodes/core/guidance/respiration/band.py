"""The band of a prediction: as wide as its own misses ask for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from twin_nodes.core.geometry.se3 import Array

SHARE = 0.95
REGION = float(chi2.ppf(SHARE, 3))  # squared Mahalanobis distance that holds 95 % of a normal distribution
_NORMAL = 1.959964  # half width in standard deviations that holds 95 %
_RATE = 0.05  # how fast the scales follow hits and misses, in logarithm a sample
_START = 1.2  # the first breaths say too little of the next ones
_FIRST = 20  # errors before the scales follow
_FLOOR = 1e-5  # least standard deviation per axis [m]: no tracker is better
_SCALES = (0.2, 20.0)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A 95 % band: covariance [m²], shape (3, 3), and the half width for each axis alone [m], shape (3,)."""

    covariance: Array
    half_widths: Array

    def misses(self, error: Array) -> tuple[bool, NDArray[np.bool_]]:
        """Whether an error [m], shape (3,), lies outside the region, and outside the width of each axis."""
        distance = float(error @ np.linalg.solve(self.covariance, error))
        return distance > REGION, np.abs(error) > self.half_widths


class ErrorBand:
    """Covariance of recent errors, scaled so that its 95 % region holds 95 % of them.

    Args:
        memory: Errors over which the covariance is taken.
    """

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._moments = np.zeros((3, 3))
        self._count = 0
        self._region = _START
        self._axes = np.full(3, _START)

    @property
    def band(self) -> Band:
        """The band of a prediction that is made now."""
        floored = self._moments + _FLOOR**2 * np.eye(3)
        return Band(self._region**2 * floored, _NORMAL * self._axes * np.sqrt(np.diag(floored)))

    def learn(self, error: Array, given: Band) -> None:
        """Take in the error of a prediction.

        Args:
            error: True position less the predicted one [m], shape (3,).
            given: The band that the prediction had when it was made.
        """
        if self._count > _FIRST:
            missed, outside = given.misses(error)
            self._region = float(np.clip(self._region * _step(missed), *_SCALES))
            self._axes = np.clip(self._axes * _step(outside), *_SCALES)
        self._count += 1
        weight = max(1.0 / self._memory, 1.0 / self._count)
        self._moments += weight * (np.outer(error, error) - self._moments)


def _step(missed: NDArray[np.bool_] | bool) -> Array:
    """Factor on a scale: up on a miss, down on a hit, so that it rests where 5 % are missed."""
    factor: Array = np.exp(_RATE * (np.asarray(missed, dtype=float) - (1.0 - SHARE)) / SHARE)
    return factor
