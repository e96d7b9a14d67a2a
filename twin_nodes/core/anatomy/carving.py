"""The drill that carves: which poses may, which path lies between them, what was hit and what is left in front.

The path between two poses is straight and turns evenly, so a path sampled at 10, 30 or 100 Hz takes away the same
voxels. A pose that is missing is never bridged: after a gap a new path begins where the drill is seen again.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy import carving_kernels, carving_rod_kernels
from twin_nodes.core.anatomy.carving_config import BALL, CarvingConfig
from twin_nodes.core.anatomy.carving_volume import CarvedVolume, Removal
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_transform
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True, eq=False)
class CarveStep:
    """What one pose did.

    Args:
        stamp_ns: Time of the pose.
        removal: What went.
        code: 'OK', or why a new path began here: CARVE_PATH_BROKEN.
        reason: The same in words; '' when the path went on.
    """

    stamp_ns: int
    removal: Removal
    code: str = 'OK'
    reason: str = ''


@dataclass(frozen=True)
class Depth:
    """How much is left before a structure.

    Args:
        label: Its label.
        ahead: From the burr's front along its axis to the structure [m]; NaN when it is not met within reach.
        nearest: From the burr's surface to the nearest voxel centre of the structure [m], negative inside the burr;
            NaN when none is within reach.
    """

    label: int
    ahead: float
    nearest: float


class Carver:
    """Follows one drill through one volume.

    Args:
        config: The burr and the limits.
        volume: What is carved.
    """

    def __init__(self, config: CarvingConfig, volume: CarvedVolume) -> None:
        self.config, self.volume = config, volume
        axis = np.array(config.burr.axis, float)
        self._axis = axis / np.linalg.norm(axis)
        self._last: tuple[int, Array] | None = None
        self._broken = ''

    def stop(self, reason: str = '') -> None:
        """End the path: the drill was switched off or is not seen; the next pose begins a new one.

        Args:
            reason: Why, when that is worth saying with the next pose.
        """
        if self._last is not None:
            self._broken = reason
        self._last = None

    def reset(self) -> None:
        """Bring the volume back as it was, and end the path."""
        self.stop()
        self._broken = ''
        self.volume.reset()

    def add(self, stamp_ns: int, anatomy_T_tip: ArrayLike, covariance: ArrayLike) -> CarveStep:
        """Carve with the drill that is on, from its last pose to this one.

        Args:
            stamp_ns: Time of the pose.
            anatomy_T_tip: Pose of the tip, shape (4, 4).
            covariance: Of (δp, δφ) in anatomy axes, shape (6, 6).

        Raises:
            InputError: NOT_FINITE, NOT_A_ROTATION, STAMP_BACKWARD, STAMP_DUPLICATE or CARVE_UNSURE; nothing is carved.
        """
        pose = check_transform(anatomy_T_tip, name='anatomy_T_tip')
        self._check_sigma(np.asarray(covariance, float))
        if self._last is not None and stamp_ns <= self._last[0]:
            code = 'STAMP_DUPLICATE' if stamp_ns == self._last[0] else 'STAMP_BACKWARD'
            raise InputError(f'stamp {stamp_ns} ns does not come after {self._last[0]} ns', code=code)
        reason = self._gap(stamp_ns, pose) or self._broken
        start = pose if self._last is None or reason else self._last[1]
        burr = self.config.burr
        if burr.shape == BALL:
            removal = self.volume.ball(start[:3, 3], pose[:3, 3], burr.radius)
        else:
            removal = self.volume.rod(start, pose, burr.radius, burr.length, self._axis)
        self._last, self._broken = (stamp_ns, pose), ''
        return CarveStep(stamp_ns, removal, 'CARVE_PATH_BROKEN' if reason else 'OK', reason)

    def depths(self, anatomy_T_tip: ArrayLike) -> list[Depth]:
        """Return how much is left before each structure that is near, by rising label.

        Both are measured to the voxels that are left: ahead to the border of a voxel, nearest to a voxel's centre.

        Args:
            anatomy_T_tip: Pose of the tip, shape (4, 4).
        """
        pose = check_transform(anatomy_T_tip, name='anatomy_T_tip')
        burr, volume, reach = self.config.burr, self.volume, self.config.depth_reach
        tip = volume.local(pose[:3, 3])
        back = volume.local(pose[:3, 3] + pose[:3, :3] @ self._axis) - tip
        ahead, nearest = np.full(128, np.inf), np.full(128, np.inf)
        offset = burr.radius if burr.shape == BALL else 0.0
        carving_kernels.first_along(volume.voxels, volume.spacing, tip - offset * back, -back, reach, ahead)
        if burr.shape == BALL:
            carving_kernels.nearest_of_labels(volume.voxels, volume.spacing, tip, reach + burr.radius, nearest)
            nearest = np.sqrt(nearest) - burr.radius
        else:
            carving_rod_kernels.nearest_to_rod(
                volume.voxels, volume.spacing, tip, back, burr.length, burr.radius, reach, nearest
            )
        found = [label for label in range(1, 128) if ahead[label] <= reach or nearest[label] <= reach]
        return [Depth(label, _within(ahead[label], reach), _within(nearest[label], reach)) for label in found]

    def _check_sigma(self, covariance: Array) -> None:
        if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
            raise InputError(f'covariance {covariance.shape} has NaN or Inf, or is not (6, 6)', code='NOT_FINITE')
        variance = float(np.trace(covariance[:3, :3]))
        if variance < 0.0 or variance > self.config.max_sigma**2:
            raise InputError(
                f'σ of the tip is {math.sqrt(abs(variance)) * 1e3:.2f} mm, above carving.max_sigma='
                f'{self.config.max_sigma * 1e3:g} mm: nothing is carved',
                code='CARVE_UNSURE',
            )

    def _gap(self, stamp_ns: int, pose: Array) -> str:
        if self._last is None:
            return ''
        seconds = (stamp_ns - self._last[0]) / NANOSECONDS
        if seconds > self.config.max_gap:
            return f'no pose for {seconds:.2f} s, limit {self.config.max_gap:g} s'
        step = float(np.linalg.norm(pose[:3, 3] - self._last[1][:3, 3]))
        if step > self.config.max_step:
            return f'the tip jumped {step * 1e3:.1f} mm, limit {self.config.max_step * 1e3:g} mm'
        return ''


def _within(value: float, reach: float) -> float:
    return float(value) if value <= reach else math.nan
