"""The correction of poses from an electromagnetic tracker that metal distorts.

A field over the place that was measured says what to add to the position and by what to turn the rotation.
It holds inside the volume in which it was measured, and nowhere else: outside it refuses.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin_nodes.core.calibration.distortion_basis import TensorBasis
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp

OUTSIDE = 'OUTSIDE_CALIBRATION'


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedPose:
    """A corrected pose.

    Args:
        pose: tracker_T_sensor, shape (4, 4).
        covariance: What the correction adds, (6, 6), in the convention of `core.geometry.covariance`.
    """

    pose: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class DistortionField:
    """A correction over a volume.

    Args:
        basis: Functions that it is made of.
        low: Lower corner of the box that the functions fill [m], shape (3,).
        high: Upper corner [m], shape (3,).
        shift: Coefficients of what is added to the position [m], shape (k, 3).
        turn: Coefficients of the rotation vector in tracker axes that is put before the rotation [rad], shape (k, 3);
            None when rotations were not measured: they then stay as they are.
        hull: Planes (n, 4) around the volume: n · p + d ≤ 0 within.
        covariance: Of what the correction leaves, from held-out poses, shape (6, 6) in m² and rad².
        spread: Inverse information of the coefficients over the noise, shape (k, k); symmetric.
        mean_leverage: Mean of φᵀ spread φ over the poses of the fit.
        samples: Places at which it was measured, thinned [m], shape (m, 3).
        reach: Farther than this from all of them it is not known [m], even within the hull.
        margin: How far outside the hull it may be used [m].
    """

    basis: TensorBasis
    low: Array
    high: Array
    shift: Array
    turn: Array | None
    hull: Array
    covariance: Array
    spread: Array
    mean_leverage: float
    samples: Array
    reach: float
    margin: float

    @cached_property
    def _coefficients(self) -> Array:
        return self.shift if self.turn is None else np.hstack([self.shift, self.turn])

    def at(self, points_tracker: Array) -> Array:
        """Return what is to be added (n, 3) or (n, 6) to positions and rotations measured at points [m], shape (n, 3).

        Outside the volume the numbers mean nothing; `correct` refuses there.
        """
        return np.asarray(self.basis.values(self._unit(points_tracker)) @ self._coefficients)

    def inside(self, points_tracker: Array) -> np.ndarray:
        """Return for points [m] (n, 3) whether the field is known there, shape (n,)."""
        outside = (points_tracker @ self.hull[:, :3].T + self.hull[:, 3]).max(axis=1)
        return np.asarray((outside <= self.margin) & (self._gaps(points_tracker) <= self.reach))

    def correct(self, tracker_T_sensor: Array) -> CorrectedPose:
        """Correct one pose (4, 4) [m].

        Raises:
            InputError: OUTSIDE_CALIBRATION where the field is not known.
        """
        point = tracker_T_sensor[:3, 3]
        outside = float((self.hull[:, :3] @ point + self.hull[:, 3]).max())
        if not outside <= self.margin:
            raise InputError(
                f'{outside * 1e3:.0f} mm outside the volume in which the distortion was measured, limit '
                f'{self.margin * 1e3:.0f} mm: move back, or measure it there too',
                code=OUTSIDE,
            )
        gap = float(self._gaps(point[None])[0])
        if gap > self.reach:
            raise InputError(
                f'{gap * 1e3:.0f} mm away from where the distortion was measured, limit {self.reach * 1e3:.0f} mm: '
                'measure it there too',
                code=OUTSIDE,
            )
        values = self.basis.values(self._unit(point[None]))
        leverage = float(self._leverage(values)[0])
        change = (values @ self._coefficients)[0]
        rotation = tracker_T_sensor[:3, :3]
        if self.turn is not None:
            rotation = rotation_exp(change[3:]) @ rotation
        growth = (1.0 + leverage) / (1.0 + self.mean_leverage)
        return CorrectedPose(make_transform(rotation, point + change[:3]), growth * self.covariance)

    def _unit(self, points: Array) -> Array:
        return np.asarray((points - self.low) / (self.high - self.low))

    def _gaps(self, points: Array) -> Array:
        apart = points[:, None] - self.samples
        return np.asarray(np.sqrt((apart * apart).sum(axis=2).min(axis=1)))

    def _leverage(self, values: Array) -> Array:
        return np.asarray(np.einsum('nk,nk->n', values @ self.spread, values))
