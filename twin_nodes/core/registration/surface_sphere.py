"""A sphere fitted to digitised points, such as the surface of a fiducial in CT or a ball that was swabbed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import TO_SIGMA
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'REGISTRATION_REFUSED'
_TUNING = 4.0
_STEPS = 50
_TRIALS = 100
_MAX_DILUTION = 50.0


@dataclass(frozen=True, eq=False)
class SphereFit:
    """A sphere and how well it is known.

    Args:
        centre: In the frame of the points [m], shape (3,).
        radius: Radius [m].
        covariance: Of centre and radius [m²], for independent errors of the points, shape (4, 4).
        sigma: Robust spread of the residuals [m].
        inliers: Which points lie on it, shape (n,).
    """

    centre: Array
    radius: float
    covariance: Array
    sigma: float
    inliers: NDArray[np.bool_]


def fit_sphere(points: Array, *, radius: float | None = None) -> SphereFit:
    """Fit a sphere to points on it or on a part of it: algebraic start, then robust geometric distances.

    Args:
        points: Points [m], shape (n, 3).
        radius: Known radius [m]; fitted when not given.

    Raises:
        InputError: Wrong shape, NaN, or a radius that is not above 0.
        DegenerateGeometryError: Fewer than four points, or points in a plane or on too small a cap.
    """
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f'points of a sphere: expected shape (n, 3), got {array.shape}')
    if not np.isfinite(array).all():
        raise InputError('points of a sphere have NaN or Inf', code='NOT_FINITE')
    if radius is not None and not (np.isfinite(radius) and radius > 0.0):
        raise InputError(f'radius={radius} m must be above 0')
    if len(array) < 4:
        raise DegenerateGeometryError(f'{len(array)} points: a sphere needs at least 4', code=REFUSED)
    origin = array.mean(axis=0)
    centred = array - origin
    solution = _algebraic(centred)
    if radius is not None:
        solution[3] = radius
    solution, sigma = _geometric(centred, solution, fixed=radius is not None)
    residuals, rows = _residuals(centred, solution)
    weights = _weights(residuals, sigma)
    unknowns = 3 if radius is not None else 4
    information = (rows * weights[:, None]).T @ rows
    inverse = np.zeros((4, 4))
    inverse[:unknowns, :unknowns] = np.linalg.pinv(information[:unknowns, :unknowns])
    dilution = float(np.sqrt(np.trace(inverse[:3, :3]) * weights.sum()))
    if dilution > _MAX_DILUTION:
        raise DegenerateGeometryError(
            f'the points cover too small a part of the sphere: an error of one point is {dilution:.0f} times as large '
            f'at the centre, limit {_MAX_DILUTION:g}; take points all around, or give the radius',
            code=REFUSED,
        )
    variance = float(weights @ residuals**2) / max(float(weights.sum()) - unknowns, 1.0)
    inliers = np.abs(residuals) <= _TUNING * max(sigma, 1e-12)
    return SphereFit(origin + solution[:3], float(solution[3]), inverse * variance, sigma, inliers)


def _algebraic(points: Array) -> Array:
    """Return centre and radius (4,) of least squared |p|² − 2 p·c − k, from the half of the points that agree best."""
    chosen = _agreeing(points)
    for _ in range(5):
        rows = np.column_stack([2.0 * points[chosen], np.ones(int(chosen.sum()))])
        sizes = np.linalg.svd(points[chosen] - points[chosen].mean(axis=0), compute_uv=False)
        if len(sizes) < 3 or sizes[2] < 1e-4 * sizes[0]:
            raise DegenerateGeometryError('the points lie in a plane: no sphere is told by them', code=REFUSED)
        answer = np.linalg.lstsq(rows, (points[chosen] ** 2).sum(axis=1), rcond=None)[0]
        centre = answer[:3]
        distance = np.linalg.norm(points - centre, axis=1)
        radius = float(np.median(distance))
        misses = np.abs(distance - radius)
        chosen = misses <= max(3.0 * TO_SIGMA * float(np.median(misses)), 1e-12)
        if chosen.sum() < 4:
            break
    return np.append(centre, radius)


def _agreeing(points: Array) -> NDArray[np.bool_]:
    """Return which points lie on the sphere through four of them that most points are near (Rousseeuw 1984)."""
    rng = np.random.default_rng(0)
    fours = points[rng.integers(len(points), size=(_TRIALS, 4))]
    rows = np.concatenate([2.0 * fours, np.ones((_TRIALS, 4, 1))], axis=2)
    flat = np.abs(np.linalg.det(rows)) < 1e-9 * np.abs(rows).max() ** 3
    rows[flat] = np.eye(4)
    centres = np.linalg.solve(rows, (fours**2).sum(axis=2)[..., None])[:, :3, 0]
    some = points[:: max(1, len(points) // 300)]
    distance = np.linalg.norm(some[None] - centres[:, None], axis=2)
    radii = np.median(distance, axis=1)
    spread = np.where(flat, np.inf, np.median(np.abs(distance - radii[:, None]), axis=1))
    best = int(np.argmin(spread))
    misses = np.abs(np.linalg.norm(points - centres[best], axis=1) - radii[best])
    chosen = np.asarray(misses <= max(4.0 * TO_SIGMA * float(spread[best]), 1e-12))
    return chosen if np.isfinite(spread[best]) and chosen.sum() >= 4 else np.ones(len(points), bool)


def _geometric(points: Array, solution: Array, *, fixed: bool) -> tuple[Array, float]:
    unknowns = 3 if fixed else 4
    for _ in range(_STEPS):
        residuals, rows = _residuals(points, solution)
        sigma = TO_SIGMA * float(np.median(np.abs(residuals)))
        root = np.sqrt(_weights(residuals, sigma))
        step = np.linalg.lstsq(rows[:, :unknowns] * root[:, None], -root * residuals, rcond=None)[0]
        solution = solution.copy()
        solution[:unknowns] += step
        if float(np.abs(step).max()) < 1e-12:
            break
    return solution, sigma


def _residuals(points: Array, solution: Array) -> tuple[Array, Array]:
    away = points - solution[:3]
    distance = np.linalg.norm(away, axis=1)
    rows = np.column_stack([-away / np.maximum(distance, 1e-12)[:, None], -np.ones(len(points))])
    return distance - solution[3], rows


def _weights(residuals: Array, sigma: float) -> Array:
    scaled = (residuals / (_TUNING * max(sigma, 1e-12))) ** 4
    return np.asarray(1.0 / (1.0 + scaled) ** 2)
