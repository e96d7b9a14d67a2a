"""One vector that moves, a position or a rotation times a lever: its history, its levels, and what is foretold."""

from collections.abc import Callable

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.history import History
from twin_nodes.core.guidance.prediction.mixture import MotionMixture
from twin_nodes.core.guidance.prediction.smoothing import LEVELS, Smoothing

_FLOOR = 2e-5  # m, least standard deviation of a prediction on each axis


class Motion:
    """Learns how a vector moves while it does, and continues it.

    Args:
        config: Settings.
    """

    def __init__(self, config: PredictionConfig) -> None:
        self.history = History()
        self._smoothing = Smoothing()
        self._mixture = MotionMixture(config, _FLOOR)
        self._velocities = np.zeros((LEVELS, 3))
        self._steered: Array | None = None
        self._found: Array | None = None

    def begin(self) -> None:
        """Forget the motion, not what was learned of it."""
        self.history.clear()
        self.drop()

    def drop(self) -> None:
        """Judge nothing that is under way."""
        self._mixture.reset()

    def add(self, stamp_ns: int, seconds: float, value: Array, velocity: Array) -> None:
        """Take in a value (3,) some seconds after the last one, and its filtered velocity (3,) at the raw level."""
        if self.history.count:
            self._smoothing.add(seconds, value)
        else:
            self._smoothing.begin(value)
        self.history.add(stamp_ns, value, self._smoothing.positions)
        self._velocities[0], self._velocities[1:] = velocity, self._smoothing.velocities
        self._found, self._steered = None, None

    def learn(self, stamp_ns: int, steered: Array | None, train: bool) -> None:
        """Judge what has come, take what set points foretell (h, 3), and keep what is foretold now, if `train`."""
        self._mixture.settle(stamp_ns, self.history)
        self._steered = steered
        if train:
            past = self._mixture.changes(self.history)
            self._found = self._predicted(past)
            self._mixture.train(stamp_ns, self.history.newest, past, self._velocities[0], self._found)

    def predict(self) -> tuple[Array, Array]:
        """Return the changes over all horizons (h, 3), and their covariances (h, 3, 3)."""
        if self._found is None:
            self._found = self._predicted(self._mixture.changes(self.history))
        return self._found[:, -1], self._mixture.covariances(self._velocities[0], self._steered)

    def shift(self, step: Array) -> None:
        """Take a jump (3,) out of the motion: all that was seen is moved along."""
        self.history.known[:] += step
        self._smoothing.positions += step
        self._mixture.shift(step)

    def rewrite(self, turn: Callable[[Array], Array]) -> None:
        """Go on in other coordinates, into which `turn` maps values (n, 3); nothing that is under way is judged."""
        known = self.history.known
        known[:] = turn(known.reshape(-1, 3)).reshape(known.shape)
        self._smoothing.rewrite(turn)
        self.drop()

    def _predicted(self, past: Array) -> Array:
        offsets = self.history.known[:, -1] - self.history.newest
        return self._mixture.predict(past, offsets, self._velocities, self._steered)
