"""Where a tool will be that a robot moves: its controller is told before the tool is there.

A robot follows its set point (CRTK setpoint_cp) some milliseconds late. What the set point did since then lies still
ahead of the tool, and only the rest of the horizon has to be predicted, from the motion of the set point itself. The
lag is the one at which the changes of the set point were most like those of the tool. It is one model of the mixture:
it counts as much as it was right, and the tool's own motion decides where set points are absent, stale or not obeyed.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS
from twin_nodes.core.guidance.prediction.predictor import PosePredictor, PredictedPose
from twin_nodes.core.stamps import NANOSECONDS

STEP, TRIED, ACROSS = 0.01, 21, 10
LAGS = STEP * np.arange(TRIED)  # s, that are tried
WINDOW = STEP * ACROSS  # s, over which changes are compared
MOVED = 3e-4  # m over the window; less says nothing of the lag
LEAST = 25  # such samples, before a lag is believed
MEMORY = 400.0  # samples over which it is learned
FRESH = 0.05  # s; an older set point is none
LIKE = 0.5  # share of the squared changes that the best lag may leave unexplained; beyond, the tool does not obey


class LagEstimate:
    """How late a tool follows its set point."""

    def __init__(self) -> None:
        self._errors = np.zeros(len(LAGS))
        self._size = 0.0
        self._count = 0

    def add(self, change: Array, told: Array) -> None:
        """Take in a change of the tool over `WINDOW` [m], shape (3,), and of the set point at `LAGS`, (lags, 3)."""
        size = float(change @ change)
        if max(size, float(np.einsum('ni,ni->n', told, told).max())) < MOVED**2:
            return
        self._count += 1
        weight = max(1.0 / MEMORY, 1.0 / self._count)
        self._errors += weight * (np.sum((told - change) ** 2, axis=1) - self._errors)
        self._size += weight * (size - self._size)

    @property
    def seconds(self) -> float | None:
        """The lag, from the parabola through the best one tried and its neighbours; None before it is known."""
        best = int(np.argmin(self._errors))
        if self._count < LEAST or self._errors[best] > LIKE * self._size:
            return None
        if not 0 < best < len(LAGS) - 1:
            return float(LAGS[best])
        before, here, after = self._errors[best - 1 : best + 2]
        bend = before - 2.0 * here + after
        shift = 0.5 * (before - after) / bend if bend > 0.0 else 0.0
        return float(LAGS[best] + shift * (LAGS[1] - LAGS[0]))


class SteeredPredictor:
    """A `PosePredictor` that uses the set points of the robot which moves the tool, where these come.

    Args:
        config: Settings.
    """

    def __init__(self, config: PredictionConfig) -> None:
        self._config = config
        self._tool = PosePredictor(config)
        self._wanted: PosePredictor | None = None
        self._lag = LagEstimate()

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest pose of the tool, or None."""
        return self._tool.stamp_ns

    @property
    def velocity(self) -> Array:
        """Filtered linear [m/s] and angular [rad/s] velocity of the tool in the axes of the frame, shape (6,)."""
        return self._tool.velocity

    @property
    def lag(self) -> float | None:
        """How late the tool follows its set point [s]; None while that is not known."""
        return self._lag.seconds

    def reset(self) -> None:
        """Forget the motion, as after a jump of the clock; what was learned stays."""
        self._tool.reset()
        if self._wanted is not None:
            self._wanted.reset()

    def steer(self, stamp_ns: int, pose: Array) -> None:
        """Take in where the tool is told to be, in the frame of its poses, shape (4, 4), newer than the last.

        A constant offset between set point and tool does no harm: only changes are used.

        Raises:
            InputError: As `PosePredictor.add`.
        """
        if self._wanted is None:
            self._wanted = PosePredictor(self._config)
        self._wanted.add(stamp_ns, pose)

    def add(self, stamp_ns: int, pose: Array) -> None:
        """Take in a measured pose (4, 4), newer than the last.

        Raises:
            InputError: As `PosePredictor.add`.
        """
        self._learn_lag(stamp_ns, pose)
        self._tool.add(stamp_ns, pose, self._moves(stamp_ns))

    def predict(self, *seconds: float) -> tuple[PredictedPose, ...]:
        """Predict the pose at times after the newest sample; see `PosePredictor.predict`."""
        return self._tool.predict(*seconds)

    def _learn_lag(self, stamp_ns: int, pose: Array) -> None:
        wanted, newest = self._wanted, self._tool.stamp_ns
        if wanted is None or wanted.stamp_ns is None or newest is None or stamp_ns <= newest:
            return
        earlier = self._tool.pose_before(WINDOW - (stamp_ns - newest) / NANOSECONDS)
        since = (wanted.stamp_ns - stamp_ns) / NANOSECONDS
        if earlier is None or since < 0.0:
            return
        told = wanted.positions_before(np.asarray(since + STEP * np.arange(TRIED + ACROSS), float))
        if told is not None:
            self._lag.add(pose[:3, 3] - earlier[:3, 3], told[:TRIED] - told[ACROSS:])

    def _moves(self, stamp_ns: int) -> Array | None:
        """Return how the set point moves from where the tool is in it now until each of `HORIZONS`, (h, 4, 4)."""
        wanted, lag = self._wanted, self.lag
        if wanted is None or wanted.stamp_ns is None or lag is None:
            return None
        since = (wanted.stamp_ns - stamp_ns) / NANOSECONDS  # the set point may be newer than the pose of the tool
        start = wanted.pose_before(since + lag)
        if since < -FRESH or start is None:
            return None
        found = np.full((len(HORIZONS), 4, 4), np.nan)
        after = HORIZONS - lag - since
        known = after <= HORIZONS[-1]
        ahead = wanted.predict(*(float(time) for time in np.clip(after[known], 0.0, None)))
        for index, time, one in zip(np.flatnonzero(known), after[known], ahead, strict=True):
            pose = one.pose if time >= 0.0 else wanted.pose_before(-time)
            if pose is not None:
                turn = pose[:3, :3] @ inverse(start)[:3, :3]
                found[index] = make_transform(turn, pose[:3, 3] - start[:3, 3])
        return found
