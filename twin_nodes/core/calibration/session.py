"""A pivot calibration while it happens: it finishes by itself when the tip is known and has left the dimple."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.pivot import PivotResult
from twin_nodes.core.calibration.pivot_collector import PivotCollector, PivotCollectorConfig
from twin_nodes.core.config import group, setting
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True)
class PivotSessionConfig:
    """Settings of a live pivot calibration."""

    collector: PivotCollectorConfig = group(PivotCollectorConfig)
    leave_distance: float = setting(
        'The tip has left the dimple when it is farther away than this.', 0.003, unit='m', minimum=1e-4, maximum=0.1
    )
    improve: float = setting(
        'How long a usable result is improved by further poses.', 3.0, unit='s', minimum=0.0, maximum=60.0
    )


@dataclass(frozen=True, eq=False)
class PivotUpdate:
    """How a live calibration stands.

    Args:
        stamp_ns: Stamp of the pose that brought it here.
        message: What is missing, or how good the result is.
        tilt: Tilt covered so far [rad].
        poses: Poses kept.
        result: The calibration when it may be used.
        done: Whether no further pose is needed.
    """

    stamp_ns: int
    message: str
    tilt: float
    poses: int
    result: PivotResult | None
    done: bool


class PivotSession:
    """Feeds a collector until its result is good, goes on while it gets better, and then stops.

    Args:
        config: Limits.
    """

    def __init__(self, config: PivotSessionConfig) -> None:
        self._config = config
        self._improve_ns = round(config.improve * 1e9)
        self._collector = PivotCollector(config.collector)
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self._collector.reset()
        self._result: PivotResult | None = None
        self._ready_ns: int | None = None
        self.done = False

    def poses(self) -> Array:
        """Return the poses (n, 4, 4) that the result rests on."""
        return self._collector.poses()[1]

    def add(self, stamp_ns: int, reference_T_tool: Array) -> PivotUpdate:
        """Take one pose of the tool [m], shape (4, 4), in the frame in which the dimple rests.

        Raises:
            InputError: The pose is no rigid transform.
        """
        if self._result is not None and (self._has_left(reference_T_tool) or self._is_late(stamp_ns)):
            self.done = True
        if self.done:
            return self._update(stamp_ns, self._collector.progress.message)
        progress = self._collector.add(stamp_ns, reference_T_tool)
        if progress.ready and progress.result is not None:
            self._result = progress.result
            if self._ready_ns is None:
                self._ready_ns = stamp_ns
        return self._update(stamp_ns, progress.message)

    def _has_left(self, reference_T_tool: Array) -> bool:
        assert self._result is not None
        tip = reference_T_tool[:3, :3] @ self._result.tip_tool + reference_T_tool[:3, 3]
        return bool(np.linalg.norm(tip - self._result.pivot_tracker) > self._config.leave_distance)

    def _is_late(self, stamp_ns: int) -> bool:
        return self._ready_ns is not None and stamp_ns - self._ready_ns > self._improve_ns

    def _update(self, stamp_ns: int, message: str) -> PivotUpdate:
        progress = self._collector.progress
        return PivotUpdate(stamp_ns, message, progress.coverage.span, progress.poses, self._result, self.done)
