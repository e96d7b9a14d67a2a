"""A gate that is open while a moving target is where it was planned, and when it will open or close next."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.config import GateConfig

_POINTS = 10  # logarithm to base 2 of the points of the integral


@dataclass(frozen=True, eq=False)
class GateState:
    """What the gate does.

    Args:
        open: Whether it is open now.
        probability: Probability that the target is within the tolerance now, 0 to 1.
        probabilities: The same for each horizon, shape (h,).
        change_in: Time until it is expected to change [s], or None where no change is seen ahead.
    """

    open: bool
    probability: float
    probabilities: Array
    change_in: float | None


class Gate:
    """Opens and closes with hysteresis.

    Args:
        config: Tolerance and probabilities.
        planned: Planned position of the target [m], shape (3,).
    """

    def __init__(self, config: GateConfig, planned: Array) -> None:
        self._config = config
        self._planned = np.asarray(planned, dtype=float)
        self._open = False
        if self._planned.shape != (3,) or not np.isfinite(self._planned).all():
            raise InputError(f'planned position of shape {self._planned.shape} must be three finite numbers [m]')

    def update(self, instants: Array, positions: Array, covariances: Array) -> GateState:
        """Judge the target now and ahead.

        Args:
            instants: Times ahead [s], ascending, the first for now, shape (h,).
            positions: Positions of the target [m], shape (h, 3).
            covariances: Their covariances [m²], shape (h, 3, 3).
        """
        inside = np.array([
            probability_within(position - self._planned, covariance, self._config.tolerance)
            for position, covariance in zip(positions, covariances, strict=True)
        ])  # fmt: skip
        self._open = bool(inside[0] >= self._limit())
        return GateState(self._open, float(inside[0]), inside, self._change(instants, inside))

    def _limit(self) -> float:
        return self._config.probability - (self._config.hysteresis if self._open else 0.0)

    def _change(self, instants: Array, inside: Array) -> float | None:
        """Instant of the first crossing, linear between the horizons [s]."""
        margin = inside - self._limit()
        crossed = np.flatnonzero((margin >= 0.0) != self._open)
        if not len(crossed):
            return None
        after = int(crossed[0])
        share = margin[after - 1] / (margin[after - 1] - margin[after])
        return float(instants[after - 1] + share * (instants[after] - instants[after - 1]))


def probability_within(offset: Array, covariance: Array, radius: float) -> float:
    """Probability that a normally distributed point lies within a ball about the origin.

    Args:
        offset: Mean of the point [m], shape (3,).
        covariance: Its covariance [m²], shape (3, 3).
        radius: Radius of the ball [m].

    Returns:
        The probability by quasi Monte-Carlo over 1024 fixed points, 0 to 1.
    """
    values, vectors = np.linalg.eigh(covariance)
    points = offset + (_normal_points() * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return float(np.mean(np.sum(points**2, axis=1) <= radius**2))


@lru_cache(maxsize=1)
def _normal_points() -> Array:
    """Points of the standard normal distribution that fill it evenly, the same in each run, shape (1024, 3)."""
    from scipy.stats import norm, qmc

    points: Array = norm.ppf(qmc.Sobol(3, scramble=True, rng=0).random_base2(_POINTS))
    return points
