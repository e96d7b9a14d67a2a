"""What a new swab says of a registration that is already there: how far the cloud lies off, in which directions."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import TO_SIGMA
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.registration.motion_of_cloud import CloudMotion
from twin_nodes.core.registration.surface_target import SurfaceTarget

MIN_POINTS = 20
_STEPS = 5
_TUNING = 2.5
_LOOSE = 0.005
_FLOOR = 1e-6
_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class SwabObservation:
    """The motions of the cloud that its surface holds, as measured [m].

    Args:
        gap: Measured motion along each held axis, shape (m,), m ≤ 6.
        jacobian: How an error of the pose makes such a motion, shape (m, 6).
        noise: Covariance of the gap [m²], shape (m, m).
        tip: How one sigma of each part of the tip's error makes one, shape (m, k).
    """

    gap: Array
    jacobian: Array
    noise: Array
    tip: Array


def observe_swab(
    points_patient: Array,
    target: SurfaceTarget,
    patient_T_anatomy: Array,
    tip_errors: Array | None,
    *,
    reach: float,
    surface_sigma: float,
) -> SwabObservation:
    """Measure how a swab lies to its surface, linearised about the registration; robust against points off it.

    Args:
        points_patient: The swab [m], shape (n, 3).
        target: The surface.
        patient_T_anatomy: The registration, shape (4, 4).
        tip_errors: One sigma of each part of the tip's error at each point [m], shape (n, 3, k); None for exact.
        reach: Points farther off are left out [m].
        surface_sigma: Error that the whole swab shares with the model [m].

    Raises:
        InputError: NaN or another shape.
        DegenerateGeometryError: Fewer than 20 points, or less than 60 % of them, lie within reach.
    """
    points = np.asarray(points_patient, float)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f'a swab needs finite points of shape (n, 3), got {points.shape}', code='NOT_FINITE')
    samples = target.grid.query(transform_points(inverse(patient_T_anatomy), points))
    length = np.linalg.norm(samples.gradients, axis=1)
    near = (np.abs(samples.distances) < reach) & (length > 0.5)
    if near.sum() < MIN_POINTS or near.mean() < _SHARE:
        raise DegenerateGeometryError(
            f'{int(near.sum())} of {len(points)} swabbed points lie within {1e3 * reach:g} mm of '
            f'{target.surface.name!r}: a check needs {MIN_POINTS} and {100 * _SHARE:.0f} %',
            code='REGISTRATION_SUSPECT',
        )
    points, distances = points[near], np.asarray(samples.distances[near], float)
    normals = samples.gradients[near] / length[near, None] @ patient_T_anatomy[:3, :3].T
    motion = CloudMotion.at(points, patient_T_anatomy)
    rows = motion.rows(normals, points)
    weights, sigma = _robust(rows, distances)
    normal = (rows * weights[:, None]).T @ rows
    values, axes = np.linalg.eigh(normal)
    held = sigma**2 / np.maximum(values, 1e-300) < _LOOSE**2
    kept = axes[:, held]
    inverse_kept = kept / values[held] @ kept.T @ (rows * weights[:, None]).T  # (6, n), within the held span
    noise = np.diag(sigma**2 / values[held] + surface_sigma**2)
    errors = np.zeros((len(points), 3, 1)) if tip_errors is None else np.asarray(tip_errors, float)[near]
    tip = kept.T @ inverse_kept @ np.einsum('ni,nik->nk', normals, errors)
    return SwabObservation(kept.T @ inverse_kept @ distances, kept.T @ motion.jacobian, noise, tip)


def _robust(rows: Array, distances: Array) -> tuple[Array, float]:
    """Return weights (n,) of 0 or 1 and σ [m] of the residuals left by the best small motion."""
    weights, sigma = np.ones(len(distances)), _FLOOR
    for _ in range(_STEPS):
        motion = np.linalg.lstsq(rows * weights[:, None], distances * weights, rcond=1e-6)[0]
        residuals = distances - rows @ motion
        sigma = max(TO_SIGMA * float(np.median(np.abs(residuals))), _FLOOR)
        weights = (np.abs(residuals) < _TUNING * sigma).astype(float)
    return weights, sigma
