"""Several models of one motion, weighed by how well each did, so that none can be worse than holding still for long.

Hold-last, constant velocity, damped constant velocity, the operator model, a regression on the operator's own past,
which begins with what is best for simulated operators, run side by side; weights fall with the squared error over that
of the best (exponential weights with forgetting: Herbster and Warmuth 1998), and the mean of good models is better than
each. What a robot's set points foretell is weighed against that mean in the same way.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.prediction import motion_kernels, spread
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.history import History
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS, LAGS, SCALE, linear_weights, shipped_layers

MODELS = ('hold', 'constant velocity', 'damped velocity', 'operator model', 'regression', 'set point', 'mean')
_START = (1.0, 0.4, 0.35, 0.2, 0.22, 0.15, 0.2)  # squared errors of the models over that of hold-last, before the first
_SPEED = 0.02  # m/s, of the motion that these stand for
_WAITING = 1024


class MotionMixture:
    """Predicts the change of one vector, a position or a rotation times a lever, over all `HORIZONS`.

    Args:
        config: Settings.
        floor: Least standard deviation of a prediction on each axis [m].
    """

    def __init__(self, config: PredictionConfig, floor: float) -> None:
        count, lags = len(HORIZONS), len(LAGS)
        self._layers = shipped_layers()
        weights = linear_weights().copy()
        losses = np.array(_START) * (_SPEED * HORIZONS[:, None]) ** 2
        covariances = np.stack([np.eye(lags) / config.prior] * count)
        self._learned = (losses, np.zeros(count), weights, covariances, np.stack([spread.new_spreads(count)] * 2))
        memory = config.memory / config.train_every
        self._settings = (1.0 / memory, config.forgetting ** (1.0 / 3.0), config.prior, floor, memory)
        self._unsteered = np.full((count, 3), np.nan)
        self._made, self._done = np.zeros(1, np.int64), np.zeros(count, np.int64)
        self._kept = (
            np.zeros(_WAITING, np.int64), np.zeros((_WAITING, 3)), np.zeros((_WAITING, lags, 3)),
            np.zeros((_WAITING, 3)), np.zeros((_WAITING, count, len(MODELS) + 1, 3)), self._made, self._done,
        )  # fmt: skip

    def reset(self) -> None:
        """Forget what is under way, not what was learned."""
        self._done[:] = self._made[0]

    def predict(self, past: Array, velocity: Array, steered: Array | None = None) -> Array:
        """Return the changes of all `MODELS` and, last, the best known [m], shape (h, models + 1, 3).

        Args:
            past: Changes since `LAGS` [m], shape (lags, 3).
            velocity: Filtered [m/s], shape (3,).
            steered: What the set points of the robot foretell [m], shape (h, 3), NaN where unknown; None for nothing.
        """
        found = np.empty((len(HORIZONS), len(MODELS) + 1, 3))
        losses, _, weights, _, _ = self._learned
        known = self._unsteered if steered is None else steered
        motion_kernels.forecast(past, velocity, known, self._layers, SCALE, weights, losses, LAGS, HORIZONS, found)
        return found

    def covariances(self, velocity: Array, steered: Array | None = None) -> Array:
        """Covariances of the mean [m²], shape (h, 3, 3); arguments as of `predict`."""
        found = np.empty((len(HORIZONS), 3, 3))
        known = np.zeros(len(HORIZONS), int) if steered is None else np.isfinite(steered[:, 0]).astype(int)
        for index, horizon in enumerate(HORIZONS):
            spread.covariance(self._learned[4][known[index], index], velocity, horizon, self._settings[3], found[index])
        return found

    def train(self, stamp_ns: int, start: Array, past: Array, velocity: Array, steered: Array | None = None) -> None:
        """Keep a prediction until its truth comes; arguments as of `predict`."""
        slot = int(self._made[0]) % _WAITING
        stamps, starts, pasts, velocities, changes, _, _ = self._kept
        stamps[slot], starts[slot], pasts[slot], velocities[slot] = stamp_ns, start, past, velocity
        changes[slot] = self.predict(past, velocity, steered)
        self._made[0] += 1

    def settle(self, now_ns: int, history: History) -> None:
        """Judge, and learn from, the predictions whose instant has come."""
        seen = (history.stamps, history.values, history.count)
        for index in range(len(HORIZONS)):
            motion_kernels.settle(now_ns, index, seen, self._kept, self._learned, HORIZONS, self._settings)

    def changes(self, history: History) -> Array:
        """Changes since each of `LAGS` up to the newest value, shape (lags, 3); since the oldest where it ends."""
        found = np.empty((len(LAGS), 3))
        now_ns = history.stamps[history.count - 1]
        motion_kernels.lagged(history.stamps, history.values, history.count, now_ns, LAGS, found)
        changes: Array = history.newest - found
        return changes
