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
from twin_nodes.core.guidance.prediction.jumps import JumpDetector
from twin_nodes.core.guidance.prediction.motion import Motion
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS
from twin_nodes.core.stamps import NANOSECONDS

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
        self._motions = (Motion(config), Motion(config))
        self._train_ns = round(config.train_every * NANOSECONDS)
        self._gap_ns = round(config.max_gap * NANOSECONDS)
        self._jumps = (JumpDetector(), JumpDetector())
        self._load_kernels()
        self.reset()

    def _load_kernels(self) -> None:
        """Load the compiled kernels here and not at the first poses: a short motion, some of it judged."""
        motion = Motion(self._config)
        for index in range(12):
            stamp_ns = index * NANOSECONDS // 10
            motion.add(stamp_ns, 0.1, np.full(3, 0.01 * index), np.full(3, 0.1))
            motion.learn(stamp_ns, None, train=True)
        motion.predict()

    def reset(self) -> None:
        """Forget the motion, as after a jump of the clock; what was learned of the operator stays."""
        self._stamp_ns: int | None = None
        self._trained_ns = 0
        self._begin()

    def _begin(self) -> None:
        self._velocity.reset()
        for motion, jumps in zip(self._motions, self._jumps, strict=True):
            motion.begin()
            jumps.reset()
        self._start = np.eye(3)

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
        if self._stamp_ns is None or stamp_ns - self._stamp_ns > self._gap_ns:
            self._begin()
            self._start, seconds = pose[:3, :3].copy(), 0.0
        else:
            seconds = (stamp_ns - self._stamp_ns) / NANOSECONDS
            self._take_jumps_out(seconds, pose)
        turned = log_of(pose[:3, :3] @ self._start.T)
        if float(turned @ turned) > _TURNED**2:
            self._turn(np.eye(3), pose[:3, :3])
            turned = np.zeros(3)
        self._stamp_ns = stamp_ns
        self._velocity.add(seconds, pose[:3, 3], pose[:3, :3])
        values = (pose[:3, 3], self._config.lever * turned)
        for motion, value, velocity in zip(self._motions, values, self._velocities(), strict=True):
            motion.add(stamp_ns, seconds, value, velocity)
        self._pose = pose
        self._learn(stamp_ns, moves)

    def _take_jumps_out(self, seconds: float, pose: Array) -> None:
        """Move all that was seen along with a jump that no hand can make: a new registration, a clutch, an outlier."""
        step, turn = self._velocity.surprise(seconds, pose[:3, 3], pose[:3, :3])
        if self._jumps[0].judge(seconds, step):
            self._motions[0].shift(step)
            self._velocity.position = self._velocity.position + step
        if self._jumps[1].judge(seconds, self._config.lever * log_of(turn)):
            self._turn(turn, self._start)
            self._velocity.rotation = turn @ self._velocity.rotation

    def _turn(self, turn: Array, start: Array) -> None:
        """Turn all rotations that were seen, and take their vectors from a new start."""
        lever, old = self._config.lever, self._start
        self._motions[1].rewrite(
            lambda values: lever * rotation_log(turn @ rotation_exp(values / lever) @ old @ start.T)
        )
        self._start = start.copy()

    def _turns(self, turns: Array) -> Array:
        """Change of the rotation vector times the lever by each of some turns, NaN where they are, shape (h, 3)."""
        known = np.isfinite(turns[:, 0, 0])
        found = np.full((len(turns), 3), np.nan)
        ahead = rotation_log(turns[known] @ (self._pose[:3, :3] @ self._start.T))
        found[known] = self._config.lever * ahead - self._motions[1].history.newest
        return found

    def pose_before(self, seconds: float) -> Array | None:
        """Return the pose at a time before the newest sample, shape (4, 4); None where that was not seen."""
        if self._stamp_ns is None:
            return None
        position, vector = (
            motion.history.at(self._stamp_ns - round(seconds * NANOSECONDS)) for motion in self._motions
        )
        if position is None or vector is None:
            return None
        return make_transform(exp_of(vector / self._config.lever) @ self._start, position)

    def positions_before(self, seconds: Array) -> Array | None:
        """Return positions at ascending times before the newest sample [m], (n, 3); None where one was not seen."""
        history = self._motions[0].history
        if self._stamp_ns is None or history.stamps[0] > self._stamp_ns - round(float(seconds[-1]) * NANOSECONDS):
            return None
        found = np.empty((len(seconds), 3))
        motion_kernels.lagged(history.stamps, history.values[0], history.count, self._stamp_ns, seconds, found)
        return found

    def _velocities(self) -> tuple[Array, Array]:
        return self._velocity.velocity, self._config.lever * self._velocity.angular_velocity

    def _learn(self, stamp_ns: int, moves: Array | None) -> None:
        train = stamp_ns - self._trained_ns >= self._train_ns
        steered = (None, None) if moves is None else (moves[:, :3, 3].copy(), self._turns(moves[:, :3, :3]))
        for motion, told in zip(self._motions, steered, strict=True):
            motion.learn(stamp_ns, told, train)
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
        found = [motion.predict() for motion in self._motions]
        changes, spreads = [part[0] for part in found], [part[1] for part in found]
        return tuple(self._at(time, changes, spreads) for time in seconds)

    def _at(self, time: float, changes: list[Array], spreads: list[Array]) -> PredictedPose:
        moved, turned = (_between(time, change) for change in changes)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = _spread_at(time, spreads[0])
        covariance[3:, 3:] = _spread_at(time, spreads[1]) / self._config.lever**2
        vector = (self._motions[1].history.newest + turned) / self._config.lever
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
