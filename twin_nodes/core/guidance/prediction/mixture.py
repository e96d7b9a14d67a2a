"""Several models of one motion, weighed by how well each did, so that none can be worse than holding still for long.

At each level of smoothing, still, constant velocity, damped velocity, the operator model, and a regression on the
operator's own past, which begins with what is best for simulated operators, run side by side; at the raw level also a
model of hands that move freely. A hand without noise is best told from its raw positions, one with a millimetre of
noise from smoothed ones: which, the errors tell. What a robot's set points foretell is weighed against the mean of all
(`mixing_kernels`).
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.prediction import mixing_kernels, motion_kernels, spread
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.history import History
from twin_nodes.core.guidance.prediction.mixing_kernels import COLUMNS, LEARNERS, STEERED
from twin_nodes.core.guidance.prediction.operator_model import (
    HORIZONS,
    LAGS,
    PACES,
    SCALE,
    free_hand_layers,
    linear_weights,
    shipped_layers,
)
from twin_nodes.core.guidance.prediction.smoothing import LEVELS

_START = (1.0, 0.4, 0.35, 0.2, 0.22)  # squared errors of the models over that of hold-last, before the first
_FREE = 0.2  # that of the model of free hands
_LATER = 0.05  # more of them for each level
_MEANS = (0.2, 0.2, 0.2, 0.15)  # those of the means and of the set point
_SPEED = 0.02  # m/s, of the motion that these stand for
_STILL = 1e-4  # m, of a hand that rests
_WAITING = 512
_CLASSES = 2  # a hand that rests, and one that moves


class MotionMixture:
    """Predicts the change of one vector, a position or a rotation times a lever, over all `HORIZONS`.

    Args:
        config: Settings.
        floor: Least standard deviation of a prediction on each axis [m].
    """

    def __init__(self, config: PredictionConfig, floor: float) -> None:
        count, lags = len(HORIZONS), len(LAGS)
        self._layers, self._free = shipped_layers(), free_hand_layers()
        self._weights = linear_weights().copy()
        self._corrections = np.zeros((count, LEARNERS))
        smoothed = [part + _LATER * level for level in range(1, LEVELS) for part in _START]
        losses = np.array([*_START, _FREE, *smoothed, *_MEANS]) * (_SPEED * HORIZONS[:, None]) ** 2
        self._losses = np.stack([losses] * _CLASSES, axis=1)
        self._losses[:, 0] = 2.0 * _STILL**2
        self._losses[:, 0, 0] = _STILL**2  # a hand that rests is held still until it tells otherwise
        self._spreads = np.stack([spread.new_spreads(count)] * 2)
        stacks = (
            np.zeros((count, LEARNERS, LEARNERS)), np.zeros((count, LEARNERS)), self._corrections, np.zeros(count),
        )  # fmt: skip
        covariances = np.tile(np.eye(lags) / config.prior, (count, LEVELS, 1, 1))
        self._learned = (
            self._losses, np.zeros((count, _CLASSES)), self._weights, covariances, stacks, self._spreads,
        )  # fmt: skip
        memory = config.memory / config.train_every
        self._settings = (1.0 / memory, config.forgetting ** (1.0 / 3.0), config.prior, floor, memory)
        self._made, self._done = np.zeros(1, np.int64), np.zeros(count, np.int64)
        self._kept = (
            np.zeros(_WAITING, np.int64), np.zeros((_WAITING, 3)), np.zeros((_WAITING, LEVELS, lags, 3)),
            np.zeros((_WAITING, 3)), np.zeros((_WAITING, count, COLUMNS, 3)), self._made, self._done,
        )  # fmt: skip

    def reset(self) -> None:
        """Forget what is under way, not what was learned."""
        self._done[:] = self._made[0]

    def shift(self, step: Array) -> None:
        """Move what is under way along with a jump (3,) of the positions, which is no motion."""
        self._kept[1][:] += step

    def predict(self, past: Array, offsets: Array, velocities: Array, steered: Array | None = None) -> Array:
        """Return the changes of all models and, last, the best known [m], shape (h, `COLUMNS`, 3).

        Args:
            past: Changes since `LAGS` at each level [m], shape (levels, lags, 3).
            offsets: Smoothed less measured positions [m], shape (levels, 3), the first zero.
            velocities: Filtered, at each level [m/s], shape (levels, 3).
            steered: What the set points of the robot foretell [m], shape (h, 3), NaN where unknown; None for nothing.
        """
        found = np.empty((len(HORIZONS), COLUMNS, 3))
        found[:, STEERED] = np.nan if steered is None else steered
        mixing_kernels.foretell(
            past, offsets, velocities, PACES, self._layers, self._free, SCALE, self._weights, LAGS, HORIZONS,
            self._losses, self._corrections, found,
        )  # fmt: skip
        return found

    def covariances(self, velocity: Array, steered: Array | None = None) -> Array:
        """Covariances of the best prediction [m²], shape (h, 3, 3), at the filtered velocity [m/s], shape (3,)."""
        found = np.empty((len(HORIZONS), 3, 3))
        known = np.zeros(len(HORIZONS), int) if steered is None else np.isfinite(steered[:, 0]).astype(int)
        for index, horizon in enumerate(HORIZONS):
            spread.covariance(self._spreads[known[index], index], velocity, horizon, self._settings[3], found[index])
        return found

    def train(self, stamp_ns: int, start: Array, past: Array, velocity: Array, changes: Array) -> None:
        """Keep a prediction, made from a start (3,) at the filtered velocity (3,), until its truth comes."""
        slot = int(self._made[0]) % _WAITING
        stamps, starts, pasts, velocities, kept, _, _ = self._kept
        stamps[slot], starts[slot], pasts[slot], velocities[slot], kept[slot] = stamp_ns, start, past, velocity, changes
        self._made[0] += 1

    def settle(self, now_ns: int, history: History) -> None:
        """Judge, and learn from, the predictions whose instant has come."""
        seen = (history.stamps, history.values[0], history.count)
        mixing_kernels.settle(now_ns, seen, self._kept, self._learned, HORIZONS, self._settings)

    def changes(self, history: History) -> Array:
        """Changes since each of `LAGS` up to the newest value of each level, (levels, lags, 3); since the oldest."""
        found = np.empty((LEVELS, len(LAGS), 3))
        motion_kernels.changes(history.stamps, history.values, history.count, LAGS, found)
        return found
