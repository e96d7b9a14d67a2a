"""A trial of the prediction of breathing: a trace is followed sample by sample, with simpler predictors beside it.

The peers are the last position held, linear extrapolation, and normalised least mean squares on the same lags (its step
size the best of three). A prediction uses nothing after its own stamp.
"""

from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.band import REGION
from twin_nodes.core.guidance.respiration.config import BreathingConfig
from twin_nodes.core.guidance.respiration.predictor import BreathingPredictor
from twin_nodes.core.stamps import NANOSECONDS

_LMS_STEPS = (0.01, 0.03, 0.1)


@dataclass
class Errors:
    """Squared errors of one horizon [m²], of each predictor, and hits of the band."""

    squared: dict[str, list[float]] = field(default_factory=dict)
    hits: list[bool] = field(default_factory=list)
    axis_hits: list[float] = field(default_factory=list)

    def add(self, name: str, error: Array) -> None:
        """Take an error of a predictor [m], shape (3,)."""
        self.squared.setdefault(name, []).append(float(error @ error))

    def rmse(self, name: str) -> float:
        """Return the root mean square of the errors of a predictor [m]."""
        return float(np.sqrt(np.mean(self.squared[name])))

    @property
    def least_mean_squares(self) -> float:
        """That of the best of its step sizes [m]."""
        return min(self.rmse(f'lms {step}') for step in _LMS_STEPS)


def follow(config: BreathingConfig, times: Array, positions: Array, errors: list[Errors]) -> None:
    """Predict a trace sample by sample beside the peers, and add the errors of each horizon."""
    predictor = BreathingPredictor(config)
    peers = [[_LeastMeanSquares(config.short_lags, step) for step in _LMS_STEPS] for _ in config.horizons]
    for index, (time, position) in enumerate(zip(times, positions, strict=True)):
        forecast = predictor.add(round(time * NANOSECONDS), position)
        velocity = (position - positions[index - 1]) / (time - times[index - 1]) if index else np.zeros(3)
        past = _lags(times, positions, index, config)
        for at, horizon in enumerate(config.horizons):
            after = int(np.searchsorted(times, time + horizon))
            if after == len(times) or float(np.diff(times[index : after + 1]).max(initial=0.0)) > config.max_gap:
                continue
            change = position_at(times, positions, time + horizon) - position
            for peer in peers[at]:
                guess = peer.follow(time, time + horizon, past, change)
                if forecast is not None:
                    errors[at].add(f'lms {peer.step}', change - guess)
            if forecast is None:
                continue
            miss = position + change - forecast.positions[at]
            errors[at].add('own', miss)
            errors[at].add('hold-last', change)
            errors[at].add('linear', change - velocity * horizon)
            errors[at].hits.append(bool(miss @ np.linalg.solve(forecast.covariances[at], miss) <= REGION))
            errors[at].axis_hits.append(float(np.mean(np.abs(miss) <= forecast.bands[at])))


def position_at(times: Array, positions: Array, instant: float) -> Array:
    """Return the position at an instant (3,), linear between the samples."""
    return np.array([np.interp(instant, times, positions[:, axis]) for axis in range(3)])


def _lags(times: Array, positions: Array, index: int, config: BreathingConfig) -> Array:
    instants = times[index] - config.step * np.arange(1.0, config.short_lags + 1.0)
    known = slice(0, index + 1)
    past = np.stack([np.interp(instants, times[known], positions[known, axis]) for axis in range(3)], axis=1)
    return np.asarray((positions[index] - past) * 1e3)


class _LeastMeanSquares:
    """Normalised least mean squares per axis on the changes since earlier instants (Haykin 2002, chapter 6)."""

    def __init__(self, lags: int, step: float) -> None:
        self.step = step
        self._weights = np.zeros((lags, 3))
        self._waiting: list[tuple[float, Array, Array]] = []

    def follow(self, now: float, due: float, past: Array, change: Array) -> Array:
        """Learn from what is due by now, then predict; `change` is kept until it is due."""
        while self._waiting and self._waiting[0][0] <= now:
            _, lags, seen = self._waiting.pop(0)
            error = 1e3 * seen - np.sum(lags * self._weights, axis=0)
            self._weights += self.step * lags * error / (1.0 + np.sum(lags**2, axis=0))
        self._waiting.append((due, past, change))
        guess: Array = 1e-3 * np.sum(past * self._weights, axis=0)
        return guess
