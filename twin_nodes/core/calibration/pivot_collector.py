"""Collecting poses while a tool pivots live, saying what is missing, until the tip is known."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.pivot import PivotConfig, PivotResult, Verdict, solve_pivot
from twin_nodes.core.calibration.pivot_coverage import PivotCoverage, measure_coverage
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, check_transform, quat_from_rotation

_EMPTY = PivotCoverage(0.0, 0.0, 0.0, 0.0, False)


@dataclass(frozen=True)
class PivotCollectorConfig:
    """Which poses are kept, and when they suffice."""

    pivot: PivotConfig = group(PivotConfig)
    novelty: float = setting('a pose is kept when it turned so far from all others', 0.026, unit='rad', minimum=0.0)
    max_poses: int = setting('poses kept; the oldest leave first', 400, minimum=20, maximum=5000)
    ready_poses: int = setting('poses needed for a live result', 60, minimum=12, maximum=5000)
    window_s: float = setting('poses older than this are forgotten', 60.0, unit='s', minimum=1.0, maximum=3600.0)
    assess_s: float = setting('the tip is solved for once in this time', 0.5, unit='s', minimum=0.0, maximum=10.0)
    still_s: float = setting('a tool that did not turn for so long is called still', 2.0, unit='s', minimum=0.1)

    def __post_init__(self) -> None:
        if self.ready_poses > self.max_poses:
            raise ConfigError(f'ready_poses={self.ready_poses} must not be above max_poses={self.max_poses}')


@dataclass(frozen=True)
class PivotProgress:
    """Where a live pivot calibration stands.

    Args:
        message: What is missing, for a person.
        ready: Whether `result` may be used.
        poses: Number of poses kept.
        coverage: How far the tool was turned.
        result: The calibration, only when ready.
    """

    message: str
    ready: bool
    poses: int
    coverage: PivotCoverage
    result: PivotResult | None = None


@dataclass(frozen=True)
class _Kept:
    stamp_ns: int
    tracker_T_tool: Array


class PivotCollector:
    """Keeps a bounded set of poses that differ in rotation and solves for the tip when they suffice.

    Time comes from the stamps alone. A stamp that repeats is ignored; one that runs back starts anew.
    """

    def __init__(self, config: PivotCollectorConfig | None = None) -> None:
        self.config = config or PivotCollectorConfig()
        self.reset()

    def reset(self) -> None:
        """Forget all poses."""
        self._kept: deque[_Kept] = deque()
        self._last_ns: int | None = None
        self._novel_ns: int | None = None
        self._still_quat: Array | None = None
        self._assessed_ns: int | None = None
        self._changed = False
        self._quats = np.empty((0, 4))
        self._progress = PivotProgress('put the tip into a dimple and tilt the tool about it', False, 0, _EMPTY)

    @property
    def progress(self) -> PivotProgress:
        """Where the calibration stands after the last pose."""
        return self._progress

    def poses(self) -> tuple[tuple[int, ...], Array]:
        """Return the stamps [ns] and poses (n, 4, 4) that are kept."""
        return tuple(k.stamp_ns for k in self._kept), np.array([k.tracker_T_tool for k in self._kept]).reshape(-1, 4, 4)

    def add(self, stamp_ns: int, tracker_T_tool: Array) -> PivotProgress:
        """Take one pose [m], shape (4, 4), and say where the calibration stands.

        Raises:
            InputError: The pose is no rigid transform.
        """
        tracker_T_tool = check_transform(tracker_T_tool, name='pose of the pivoting tool')
        if self._last_ns is not None and stamp_ns == self._last_ns:
            return self._progress
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self.reset()
        self._last_ns = stamp_ns
        self._forget(stamp_ns)
        quat_xyzw = quat_from_rotation(tracker_T_tool[:3, :3])
        self._notice_turn(stamp_ns, quat_xyzw)
        if self._is_novel(quat_xyzw):
            self._kept.append(_Kept(stamp_ns, tracker_T_tool))
            self._quats = np.vstack([self._quats, quat_xyzw])
            if len(self._kept) > self.config.max_poses:
                self._drop_oldest()
            self._changed = True
        if self._changed and self._is_due(stamp_ns):
            self._progress, self._assessed_ns, self._changed = self._assess(), stamp_ns, False
        return self._say_still(stamp_ns)

    def _forget(self, stamp_ns: int) -> None:
        horizon_ns = stamp_ns - int(self.config.window_s * 1e9)
        while self._kept and self._kept[0].stamp_ns < horizon_ns:
            self._drop_oldest()
            self._changed = True

    def _drop_oldest(self) -> None:
        self._kept.popleft()
        self._quats = self._quats[1:]

    def _is_due(self, stamp_ns: int) -> bool:
        few = len(self._kept) < self.config.pivot.min_poses
        return few or self._assessed_ns is None or stamp_ns - self._assessed_ns >= self.config.assess_s * 1e9

    def _is_novel(self, quat_xyzw: Array) -> bool:
        if not self._kept:
            return True
        return bool(np.abs(self._quats @ quat_xyzw).max() < np.cos(0.5 * self.config.novelty))

    def _notice_turn(self, stamp_ns: int, quat_xyzw: Array) -> None:
        turned = self._still_quat is None or abs(float(self._still_quat @ quat_xyzw)) < np.cos(
            0.5 * self.config.pivot.still
        )
        if turned:
            self._still_quat, self._novel_ns = quat_xyzw, stamp_ns

    def _say_still(self, stamp_ns: int) -> PivotProgress:
        since_ns = stamp_ns - (self._novel_ns if self._novel_ns is not None else stamp_ns)
        if self._progress.ready or since_ns < self.config.still_s * 1e9:
            return self._progress
        message = f'the tool does not move: tilt it about its tip ({self._progress.message})'
        return PivotProgress(message, False, self._progress.poses, self._progress.coverage)

    def _assess(self) -> PivotProgress:
        count, wanted = len(self._kept), self.config.pivot
        poses = np.array([k.tracker_T_tool for k in self._kept]).reshape(-1, 4, 4)
        if count < wanted.min_poses:
            return PivotProgress(
                f'{count} of {wanted.min_poses} poses: tilt the tool about its tip', False, count, _EMPTY
            )
        try:
            plain = solve_pivot(poses, wanted)
        except DegenerateGeometryError as error:
            coverage = measure_coverage(poses[:, :3, :3], None)
            lacking = coverage.span < wanted.good_tilt  # said with what is wanted in the end, not with the least
            return PivotProgress(coverage.advice(wanted.good_tilt) if lacking else str(error), False, count, coverage)
        coverage = plain.coverage
        if coverage.span < wanted.good_tilt:
            return PivotProgress(coverage.advice(wanted.good_tilt), False, count, coverage)
        if count < self.config.ready_poses:
            return PivotProgress(f'{count} of {self.config.ready_poses} poses: go on', False, count, coverage)
        return self._finish(poses, plain)

    def _finish(self, poses: Array, plain: PivotResult) -> PivotProgress:
        try:
            result = solve_pivot(poses, self.config.pivot, robust=True)
        except (DegenerateGeometryError, InputError) as error:
            return PivotProgress(str(error), False, len(poses), plain.coverage)
        if result.verdict is Verdict.ACCEPT:
            message = f'tip known to {result.tip_sigma * 1e3:.2f} mm, RMS residual {result.rms * 1e3:.2f} mm'
            return PivotProgress(message, True, len(poses), result.coverage, result)
        return PivotProgress('; '.join(result.reasons), False, len(poses), result.coverage)
