"""A spin calibration while it happens: it keeps poses until the axis is known, saying what is missing.

The tool was tilted to all sides just before, for the pivot: poses that are older than a window are forgotten, so that a
spin is found as soon as the shaft has been still for long enough.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.spin import SpinConfig, SpinResult, solve_spin
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, check_transform
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True)
class SpinSessionConfig:
    """Settings of a live spin calibration."""

    spin: SpinConfig = group(SpinConfig)
    novelty: float = setting(
        'A pose is kept when it turned so far from the last one kept.', 0.02, unit='rad', minimum=0.0
    )
    ready_poses: int = setting('Poses needed for a live result.', 60, minimum=12, maximum=5000)
    window: float = setting('Poses older than this are forgotten.', 12.0, unit='s', minimum=1.0, maximum=600.0)
    assess: float = setting('The axis is solved for once in this time.', 0.5, unit='s', minimum=0.0, maximum=10.0)
    improve: float = setting('How long a usable result is improved.', 2.0, unit='s', minimum=0.0, maximum=60.0)
    max_poses: int = setting('Poses kept; the oldest leave first.', 1000, minimum=20, maximum=5000)

    def __post_init__(self) -> None:
        if self.ready_poses > self.max_poses:
            raise ConfigError(f'ready_poses={self.ready_poses} must not be above max_poses={self.max_poses}')


@dataclass(frozen=True, eq=False)
class SpinUpdate:
    """How a live spin calibration stands.

    Args:
        message: What is missing, or how good the result is.
        spin: Part of a turn covered so far [rad].
        poses: Poses kept.
        result: The calibration when it may be used.
        done: Whether no further pose is needed.
    """

    message: str
    spin: float
    poses: int
    result: SpinResult | None
    done: bool


_FIRST = 'now turn the tool about its shaft, without tilting it'


class SpinSession:
    """Keeps poses that differ in rotation and solves for the axis until it is known well.

    Args:
        config: Limits.
        tip_tool: The tip in the marker [m], shape (3,), from the pivot before.
    """

    def __init__(self, config: SpinSessionConfig, tip_tool: Array) -> None:
        self._config = config
        self._tip = np.asarray(tip_tool, float)
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self._kept: deque[tuple[int, Array]] = deque()
        self._last_ns: int | None = None
        self._assessed_ns: int | None = None
        self._ready_ns: int | None = None
        self._update = SpinUpdate(_FIRST, 0.0, 0, None, False)

    def poses(self) -> Array:
        """Return the poses (n, 4, 4) that are kept."""
        return np.array([pose for _, pose in self._kept]).reshape(-1, 4, 4)

    def add(self, stamp_ns: int, tracker_T_tool: Array) -> SpinUpdate:
        """Take one pose of the tool [m], shape (4, 4), in a frame in which the shaft is held still.

        Raises:
            InputError: The pose is no rigid transform.
        """
        pose = check_transform(tracker_T_tool, name='pose of the spinning tool')
        if self._update.done or (self._last_ns is not None and stamp_ns == self._last_ns):
            return self._update
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self.reset()
        self._last_ns = stamp_ns
        horizon_ns = stamp_ns - round(self._config.window * NANOSECONDS)
        while self._kept and self._kept[0][0] < horizon_ns:
            self._kept.popleft()
        if not self._kept or _turn(self._kept[-1][1], pose) >= self._config.novelty:
            self._kept.append((stamp_ns, pose))
            if len(self._kept) > self._config.max_poses:
                self._kept.popleft()
        if self._is_due(stamp_ns):
            self._assessed_ns = stamp_ns
            self._update = self._assess(stamp_ns)
        return self._update

    def _is_due(self, stamp_ns: int) -> bool:
        return self._assessed_ns is None or stamp_ns - self._assessed_ns >= self._config.assess * NANOSECONDS

    def _assess(self, stamp_ns: int) -> SpinUpdate:
        count, before = len(self._kept), self._update.result
        if count < self._config.spin.min_poses:
            return self._say(_FIRST, 0.0, count, before, stamp_ns)
        try:
            result = solve_spin(self.poses(), self._config.spin, tip_tool=self._tip)
        except DegenerateGeometryError as error:
            return self._say(str(error), 0.0, count, before, stamp_ns)
        if result.verdict is not Verdict.ACCEPT:
            return self._say('; '.join(result.reasons), result.spin, count, before, stamp_ns)
        if count < self._config.ready_poses:
            message = f'{count} of {self._config.ready_poses} poses: go on turning'
            return self._say(message, result.spin, count, before, stamp_ns)
        if before is None or result.axis_sigma < before.axis_sigma:
            before = result
        message = f'axis known to {np.degrees(before.axis_sigma):.2f}°, {np.degrees(before.spin):.0f}° turned'
        return self._say(message, before.spin, count, before, stamp_ns)

    def _say(self, message: str, spin: float, count: int, result: SpinResult | None, stamp_ns: int) -> SpinUpdate:
        if result is None:
            return SpinUpdate(message, spin, count, None, False)
        if self._ready_ns is None:
            self._ready_ns = stamp_ns
        done = stamp_ns - self._ready_ns >= self._config.improve * NANOSECONDS
        return SpinUpdate(message, spin, count, result, done)


def _turn(first: Array, second: Array) -> float:
    cosine = 0.5 * (float((first[:3, :3] * second[:3, :3]).sum()) - 1.0)
    return float(np.arccos(min(max(cosine, -1.0), 1.0)))
