"""Predicts the pose of a tool a short time ahead, with a covariance that was checked against what came."""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, rotation_log
from twin_nodes.core.geometry.se3_scalars import exp_of, log_of
from twin_nodes.core.guidance.prediction import motion_kernels
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.constant_velocity import ConstantVelocity
from twin_nodes.core.guidance.prediction.history import History
from twin_nodes.core.guidance.prediction.mixture import MotionMixture
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS
from twin_nodes.core.stamps import NANOSECONDS

_FLOOR = 2e-5  # m, least standard deviation of a prediction on each axis
_TURNED = 1.0  # rad, after which rotation vectors are taken from a new start


@dataclass(frozen=True, slots=True, eq=False)
class PredictedPose:
    """Where a tool will be.

    Args:
        stamp_ns: The instant that it is predicted for.
        pose: Predicted pose in the frame of the samples, shape (4, 4).
        covariance: Of the error (δp, δφ) of the prediction alone, in the axes of that frame, shape (6, 6).
    """

    stamp_ns: int
    pose: Array
    covariance: Array


class PosePredictor:
    """Learns the motion of one tool while it runs, and continues it.

    Position and rotation are predicted apart: the position of the tip, and its rotation as a vector times a lever.

    Args:
        config: Settings.
    """

    def __init__(self, config: PredictionConfig) -> None:
        self._config = config
        self._velocity = ConstantVelocity(config)
        self._histories = (History(), History())
        self._mixtures = (MotionMixture(config, _FLOOR), MotionMixture(config, _FLOOR))
        self._train_ns = round(config.train_every * NANOSECONDS)
        self._gap_ns = round(config.max_gap * NANOSECONDS)
        self._begin()
        self._load_kernels()
        self.reset()

    def _load_kernels(self) -> None:
        """Load the compiled kernels here and not at the first poses: two still samples, one of them settled."""
        history, mixture = History(), MotionMixture(self._config, _FLOOR)
        for stamp_ns in (0, NANOSECONDS):
            history.add(stamp_ns, np.zeros(3))
            mixture.settle(stamp_ns, history)
            mixture.train(stamp_ns, np.zeros(3), mixture.changes(history), np.zeros(3))
        mixture.covariances(np.zeros(3))

    def reset(self) -> None:
        """Forget the motion, as after a jump of the clock; what was learned of the operator stays."""
        self._stamp_ns: int | None = None
        self._trained_ns = 0
        self._begin()

    def _begin(self) -> None:
        self._velocity.reset()
        for history, mixture in zip(self._histories, self._mixtures, strict=True):
            history.clear()
            mixture.reset()
        self._start = np.eye(3)
        self._steered: tuple[Array, Array] | tuple[None, None] = (None, None)

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest sample, or None."""
        return self._stamp_ns

    @property
    def velocity(self) -> Array:
        """Filtered linear [m/s] and angular [rad/s] velocity in the axes of the frame, shape (6,)."""
        return np.concatenate([self._velocity.velocity, self._velocity.angular_velocity])

    def add(self, stamp_ns: int, pose: Array, moves: Array | None = None) -> None:
        """Take in a measured pose (4, 4), newer than the last.

        Args:
            stamp_ns: Its stamp.
            pose: In a frame that stays the same, shape (4, 4).
            moves: What is known from elsewhere of the motion until each of `HORIZONS`: change of the position [m] and
                turn in the axes of the frame, shape (h, 4, 4), NaN where it is not; None for nothing.

        Raises:
            InputError: STAMP_BACKWARD; NOT_FINITE. Nothing is changed.
        """
        if not math.isfinite(float(pose.sum())):
            raise InputError('pose has NaN or Inf', code='NOT_FINITE')
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            raise InputError(f'stamp {stamp_ns} ns does not follow {self._stamp_ns} ns', code='STAMP_BACKWARD')
        seconds = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NANOSECONDS
        turned = log_of(pose[:3, :3] @ self._start.T)
        if self._stamp_ns is None or stamp_ns - self._stamp_ns > self._gap_ns:
            self._begin()
            self._start, turned = pose[:3, :3].copy(), np.zeros(3)
        elif float(turned @ turned) > _TURNED**2:
            self._turn(pose[:3, :3])
            turned = np.zeros(3)
        self._stamp_ns = stamp_ns
        self._velocity.add(seconds, pose[:3, 3], pose[:3, :3])
        for history, value in zip(self._histories, (pose[:3, 3], self._config.lever * turned), strict=True):
            history.add(stamp_ns, value)
        self._pose = pose
        self._steered = (None, None) if moves is None else (moves[:, :3, 3].copy(), self._turns(moves[:, :3, :3]))
        self._learn(stamp_ns)

    def _turn(self, rotation: Array) -> None:
        """Take the rotation vectors of the history from a new start, so that they stay small."""
        history, lever = self._histories[1], self._config.lever
        old = rotation_exp(history.values[: history.count] / lever) @ self._start
        history.values[: history.count] = lever * rotation_log(old @ rotation.T)
        self._mixtures[1].reset()
        self._start = rotation.copy()

    def _turns(self, turns: Array) -> Array:
        """Change of the rotation vector times the lever by each of some turns, NaN where they are, shape (h, 3)."""
        known = np.isfinite(turns[:, 0, 0])
        found = np.full((len(turns), 3), np.nan)
        ahead = rotation_log(turns[known] @ (self._pose[:3, :3] @ self._start.T))
        found[known] = self._config.lever * ahead - self._histories[1].newest
        return found

    def pose_before(self, seconds: float) -> Array | None:
        """Return the pose at a time before the newest sample, shape (4, 4); None where that was not seen."""
        if self._stamp_ns is None:
            return None
        position, vector = (history.at(self._stamp_ns - round(seconds * NANOSECONDS)) for history in self._histories)
        if position is None or vector is None:
            return None
        return make_transform(exp_of(vector / self._config.lever) @ self._start, position)

    def positions_before(self, seconds: Array) -> Array | None:
        """Return positions at ascending times before the newest sample [m], (n, 3); None where one was not seen."""
        history = self._histories[0]
        if self._stamp_ns is None or history.stamps[0] > self._stamp_ns - round(float(seconds[-1]) * NANOSECONDS):
            return None
        found = np.empty((len(seconds), 3))
        motion_kernels.lagged(history.stamps, history.values, history.count, self._stamp_ns, seconds, found)
        return found

    def _velocities(self) -> tuple[Array, Array]:
        return self._velocity.velocity, self._config.lever * self._velocity.angular_velocity

    def _learn(self, stamp_ns: int) -> None:
        train = stamp_ns - self._trained_ns >= self._train_ns
        parts = zip(self._histories, self._mixtures, self._velocities(), self._steered, strict=True)
        for history, mixture, velocity, steered in parts:
            mixture.settle(stamp_ns, history)
            if train:
                mixture.train(stamp_ns, history.newest, mixture.changes(history), velocity, steered)
        if train:
            self._trained_ns = stamp_ns

    def predict(self, *seconds: float) -> tuple[PredictedPose, ...]:
        """Predict the pose at times after the newest sample.

        Args:
            seconds: Times ahead, each from 0 to the longest of `HORIZONS`.

        Raises:
            InputError: no sample yet, or a time outside that range.
        """
        if self._stamp_ns is None:
            raise InputError('no pose has been seen: nothing can be predicted')
        for time in seconds:
            if not 0.0 <= time <= HORIZONS[-1]:
                raise InputError(f'{time} s ahead: must be from 0 to {HORIZONS[-1]} s')
        changes, spreads = [], []
        parts = zip(self._histories, self._mixtures, self._velocities(), self._steered, strict=True)
        for history, mixture, velocity, steered in parts:
            changes.append(mixture.predict(mixture.changes(history), velocity, steered)[:, -1])
            spreads.append(mixture.covariances(velocity, steered))
        return tuple(self._at(time, changes, spreads) for time in seconds)

    def _at(self, time: float, changes: list[Array], spreads: list[Array]) -> PredictedPose:
        moved, turned = (_between(time, change) for change in changes)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = _spread_at(time, spreads[0])
        covariance[3:, 3:] = _spread_at(time, spreads[1]) / self._config.lever**2
        vector = (self._histories[1].newest + turned) / self._config.lever
        rotation = exp_of(vector) @ self._start
        assert self._stamp_ns is not None
        stamp_ns = self._stamp_ns + round(time * NANOSECONDS)
        return PredictedPose(stamp_ns, make_transform(rotation, self._pose[:3, 3] + moved), covariance)


def _between(time: float, changes: Array) -> Array:
    """Change at a time ahead, shape (n,), from those at `HORIZONS`: the mean speed is linear between two."""
    speeds = changes / HORIZONS[:, None]
    if time <= HORIZONS[0]:
        slope = (speeds[1] - speeds[0]) / (HORIZONS[1] - HORIZONS[0])
        found: Array = time * (speeds[0] + (time - HORIZONS[0]) * slope)
        return found
    index = min(int(np.searchsorted(HORIZONS, time)), len(HORIZONS) - 1)
    share = (time - HORIZONS[index - 1]) / (HORIZONS[index] - HORIZONS[index - 1])
    found = time * (speeds[index - 1] + share * (speeds[index] - speeds[index - 1]))
    return found


def _spread_at(time: float, spreads: Array) -> Array:
    """Covariance at a time ahead: from none at once, linear between the standard deviations at `HORIZONS`."""
    if time <= HORIZONS[0]:
        found: Array = spreads[0] * (time / HORIZONS[0]) ** 2
        return found
    index = min(int(np.searchsorted(HORIZONS, time)), len(HORIZONS) - 1)
    share = (time - HORIZONS[index - 1]) / (HORIZONS[index] - HORIZONS[index - 1])
    found = (1.0 - share) * spreads[index - 1] + share * spreads[index]
    return found
