"""What is seen of a deforming organ at one instant."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


def _no_points() -> MaterialPoints:
    return MaterialPoints(np.zeros((0, 4), np.int64), np.zeros((0, 4)))


@dataclass(frozen=True, eq=False)
class Tracked:
    """Points of the tissue whose places are measured: grasped or touched by a tracked tool, implants, EM sensors.

    Args:
        points: Which points of the tissue, p of them.
        places_patient: Where they are measured [m], shape (p, 3).
        covariances: Of that [m²], shape (p, 3, 3).
    """

    points: MaterialPoints = field(default_factory=_no_points)
    places_patient: Array = field(default_factory=lambda: np.zeros((0, 3)))
    covariances: Array = field(default_factory=lambda: np.zeros((0, 3, 3)))

    def __len__(self) -> int:
        return len(self.points)


def make_tracked(points: MaterialPoints, places_patient: ArrayLike, sigma: ArrayLike) -> Tracked:
    """Check tracked points.

    Args:
        points: Which points of the tissue, p of them.
        places_patient: Where they are measured [m], shape (p, 3).
        sigma: Standard deviation [m] for all or each (p,), or covariances [m²], shape (p, 3, 3).

    Raises:
        InputError: for shapes that do not fit, NaN, or no valid covariance.
    """
    places, spread = np.asarray(places_patient, np.float64), np.asarray(sigma, np.float64)
    count = len(points)
    if places.shape != (count, 3):
        raise InputError(f'tracked points: {count} points of the tissue, but places of shape {places.shape}')
    if spread.ndim < 2:
        spread = np.broadcast_to(spread, count)[:, None, None] ** 2 * np.eye(3)
    if spread.shape != (count, 3, 3):
        raise InputError(f'tracked points: sigma of shape {np.shape(sigma)} is none of (), ({count},), ({count}, 3, 3)')
    if not (np.isfinite(places).all() and np.isfinite(spread).all()):
        raise InputError('tracked points: NaN or Inf', code='NOT_FINITE')
    if count and not np.linalg.eigvalsh(spread).min() > 0.0:
        raise InputError('tracked points: a covariance is not positive definite: give each measured axis its sigma')
    return Tracked(points, places, np.array(spread))


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points seen anywhere on the surface, in no order and without correspondence.

    Args:
        points_patient: In the patient frame [m], shape (n, 3).
        sigma: Standard deviation of each coordinate [m], shape (n,).
        normals_patient: Outward normals where they were measured, else None, shape (n, 3).
    """

    points_patient: Array
    sigma: Array
    normals_patient: Array | None = None

    def __len__(self) -> int:
        return len(self.points_patient)


def make_surface_points(
    points_patient: ArrayLike, sigma: ArrayLike, *, normals_patient: ArrayLike | None = None
) -> SurfacePoints:
    """Check points seen on the surface.

    Args:
        points_patient: In the patient frame [m], shape (n, 3).
        sigma: Standard deviation of a coordinate [m], for all or each (n,).
        normals_patient: Outward normals where they were measured, shape (n, 3).

    Raises:
        InputError: for wrong shapes, NaN, or a sigma that is not above 0.
    """
    points = np.ascontiguousarray(points_patient, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'surface points: expected shape (n, 3), got {points.shape}')
    broken = int(np.sum(~np.isfinite(points).all(axis=1)))
    if broken:
        raise InputError(f'{broken} of {len(points)} surface points have NaN or Inf', code='NOT_FINITE')
    spread = np.broadcast_to(np.asarray(sigma, np.float64), len(points)).copy()
    if not (np.isfinite(spread).all() and (spread > 0.0).all()):
        raise InputError('surface points: sigma must be finite and above 0 m')
    return SurfacePoints(points, spread, _normals(normals_patient, len(points)))


def _normals(normals: ArrayLike | None, count: int) -> Array | None:
    if normals is None:
        return None
    ways = np.ascontiguousarray(normals, np.float64)
    if ways.shape != (count, 3) or not np.isfinite(ways).all():
        raise InputError(f'normals: expected {count} finite normals, got shape {ways.shape}')
    size = np.linalg.norm(ways, axis=1, keepdims=True)
    if count and not (np.abs(size - 1.0) < 0.1).all():
        raise InputError('normals: their lengths are not 1')
    return np.asarray(ways / size)
