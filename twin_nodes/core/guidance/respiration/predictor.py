"""Predicts where a breathing marker will be, with a band that holds the truth 95 % of the time.

Several regressions and hold-last are run side by side for each horizon and weighed by their recent errors, so that an
irregular breath falls back on the simplest. The band follows its own hits and misses (Gibbs and Candès 2021, adaptive
conformal inference), so that it holds without an assumption on the distribution of the errors.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.band import Band, ErrorBand
from twin_nodes.core.guidance.respiration.config import BreathingConfig
from twin_nodes.core.guidance.respiration.lag_regression import LagRegression
from twin_nodes.core.stamps import NANOSECONDS

_SHARPNESS = 4.0  # how fast a regression loses its say when its squared error grows over that of the best

_BAND_MEMORY = 3.0  # a band needs more errors than a weight


@dataclass(frozen=True, eq=False)
class Forecast:
    """Where a marker will be.

    Args:
        stamp_ns: Stamp of the sample that it starts from.
        start: Position of that sample [m], shape (3,).
        horizons: Times ahead [s], shape (h,).
        positions: Predicted positions [m], shape (h, 3).
        covariances: Covariances scaled so that their 95 % region held 95 % of the past predictions [m²], (h, 3, 3).
        bands: Half widths of the 95 % band of each axis [m], shape (h, 3).
    """

    stamp_ns: int
    start: Array
    horizons: Array
    positions: Array
    covariances: Array
    bands: Array


@dataclass(frozen=True, eq=False)
class _Pending:
    """A prediction that waits for its truth."""

    stamp_ns: int
    start: Array
    regressors: tuple[Array, ...]
    changes: Array
    mixed: Array
    band: Band


class BreathingPredictor:
    """Learns the motion of one marker while it runs, and continues it.

    Args:
        config: Horizons, lags and memory.
    """

    def __init__(self, config: BreathingConfig) -> None:
        self._config = config
        self._experts = [_Expert(config, joint, spread) for spread in (1, 2) for joint in (False, True)]
        count = len(config.horizons)
        self._losses = np.zeros((count, len(self._experts) + 1))
        self._bands = [ErrorBand(_BAND_MEMORY * config.memory / config.step) for _ in config.horizons]
        self._pending: list[deque[_Pending]] = [deque() for _ in config.horizons]
        self._seen = 0.0
        self._judged = np.zeros(count, dtype=int)
        self._restart()

    def add(self, stamp_ns: int, position: Array) -> Forecast | None:
        """Take in a sample and predict from it.

        Args:
            stamp_ns: Stamp of the measurement.
            position: Position of the marker in a fixed frame [m], shape (3,).

        Returns:
            The forecast, or None while the motion is still being learned.

        Raises:
            InputError: for a position that is not finite, or a stamp that does not follow the one before.
        """
        position = np.asarray(position, dtype=float)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise InputError(f'position of shape {position.shape} must be three finite numbers [m]')
        if self._stamps and stamp_ns <= self._stamps[-1]:
            raise InputError(f'stamp {stamp_ns} ns does not follow {self._stamps[-1]} ns: samples must be in order')
        if self._stamps and stamp_ns - self._stamps[-1] > self._config.max_gap * NANOSECONDS:
            self._restart()
        self._remember(stamp_ns, position)
        self._settle(stamp_ns)
        return self._predict(stamp_ns, position)

    @property
    def learning(self) -> float:
        """Share of the learning time that has passed, 0 to 1."""
        return min(self._seen / self._config.learning_time, 1.0)

    def position_at(self, stamp_ns: int) -> Array | None:
        """Position that was measured at an instant [m], shape (3,), or None where the history does not reach."""
        if not self._stamps or not self._stamps[0] <= stamp_ns <= self._stamps[-1]:
            return None
        position: Array = self._at(np.array([0.0]), stamp_ns)[0]
        return position

    def _restart(self) -> None:
        """Forget the positions, not what was learned of the motion."""
        self._stamps: deque[int] = deque()
        self._positions: deque[Array] = deque()
        self._trained_ns = -(2**62)
        for queue in self._pending:
            queue.clear()

    def _remember(self, stamp_ns: int, position: Array) -> None:
        if self._stamps:
            self._seen += (stamp_ns - self._stamps[-1]) / NANOSECONDS
        self._stamps.append(stamp_ns)
        self._positions.append(position)
        kept_ns = int((self._config.span + self._config.horizons[-1] + 1.0) * NANOSECONDS)
        while stamp_ns - self._stamps[0] > kept_ns:
            self._stamps.popleft()
            self._positions.popleft()

    def _at(self, instants: Array, stamp_ns: int) -> Array:
        """Positions at instants relative to a stamp [s], shape (n, 3); the oldest where the history ends."""
        times = (np.fromiter(self._stamps, dtype=np.int64) - stamp_ns) / NANOSECONDS
        positions = np.array(self._positions)
        return np.stack([np.interp(instants, times, positions[:, axis]) for axis in range(3)], axis=1)

    def _settle(self, now_ns: int) -> None:
        """Judge and learn from the predictions whose instant has come."""
        for index, (horizon, queue) in enumerate(zip(self._config.horizons, self._pending, strict=True)):
            ahead_ns = round(horizon * NANOSECONDS)
            while queue and queue[0].stamp_ns + ahead_ns <= now_ns:
                waiting = queue.popleft()
                truth = self._at(np.array([0.0]), waiting.stamp_ns + ahead_ns)[0]
                change = truth - waiting.start
                self._judge(index, waiting, change)
                for expert, regressors in zip(self._experts, waiting.regressors, strict=True):
                    expert.learn(index, regressors, change)

    def _judge(self, index: int, waiting: _Pending, change: Array) -> None:
        fade = self._config.step / self._config.memory
        errors = np.sum((waiting.changes - change) ** 2, axis=1)
        weight = max(fade, 1.0 / (self._judged[index] + 1.0))
        self._losses[index] += weight * (errors - self._losses[index])
        self._judged[index] += 1
        self._bands[index].learn(change - waiting.mixed, waiting.band)

    def _predict(self, stamp_ns: int, position: Array) -> Forecast | None:
        regressors = tuple((position - self._at(expert.instants, stamp_ns)) for expert in self._experts)
        ready = self._seen >= self._config.learning_time
        train = stamp_ns - self._trained_ns >= 0.9 * self._config.step * NANOSECONDS
        mixed = np.empty((len(self._config.horizons), 3))
        bands = [band.band for band in self._bands]
        for index, queue in enumerate(self._pending):
            own = [expert.change(index, lags) for expert, lags in zip(self._experts, regressors, strict=True)]
            changes = np.array([*own, np.zeros(3)])
            mixed[index] = _weights(self._losses[index]) @ changes
            if train:
                queue.append(_Pending(stamp_ns, position, regressors, changes, mixed[index], bands[index]))
        if train:
            self._trained_ns = stamp_ns
        if not ready:
            return None
        return Forecast(
            stamp_ns,
            position,
            np.array(self._config.horizons),
            position + mixed,
            np.array([band.covariance for band in bands]),
            np.array([band.half_widths for band in bands]),
        )


class _Expert:
    """One kind of regression, for all horizons: each axis from its own past, or all axes from all."""

    def __init__(self, config: BreathingConfig, joint: bool, spread: int) -> None:
        lags = config.short_lags if spread == 1 else config.long_lags
        self.instants = -config.step * spread * np.arange(1.0, lags + 1.0)
        self._joint = joint
        if joint:
            shape, copies, prior = (3 * lags, 3), 1, config.prior_joint
        else:
            shape, copies, prior = (lags, 1), 3, config.prior_axis
        self._fits = [
            [LagRegression(*shape, prior=prior, forgetting=config.forgetting) for _ in range(copies)]
            for _ in config.horizons
        ]

    def learn(self, index: int, regressors: Array, change: Array) -> None:
        if self._joint:
            self._fits[index][0].learn(regressors.ravel(), change)
            return
        for axis, fit in enumerate(self._fits[index]):
            fit.learn(regressors[:, axis], change[axis : axis + 1])

    def change(self, index: int, regressors: Array) -> Array:
        if self._joint:
            return self._fits[index][0].change(regressors.ravel())
        return np.concatenate([fit.change(regressors[:, axis]) for axis, fit in enumerate(self._fits[index])])


def _weights(losses: Array) -> Array:
    """Say of each regression, from its mean squared error: shape (n,), sums to 1."""
    least = float(losses.min())
    if least <= 0.0:
        return np.full(len(losses), 1.0 / len(losses))
    raw = np.exp(-_SHARPNESS * (losses / least - 1.0))
    shares: Array = raw / raw.sum()
    return shares
