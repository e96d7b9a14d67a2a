"""Refinement of a surface registration: a coarse subset on the grid, then all points on the triangles themselves.

Robust Gauss–Newton with a flat-topped weight of Geman and McClure, whose scale follows the residuals' spread; the
normal equations come from signed distances (Fitzgibbon 2003), so that no correspondences are searched.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.registration import surface_cloud_kernels as cloud_kernels
from twin_nodes.core.registration import surface_exact_kernels as exact_kernels
from twin_nodes.core.registration import surface_kernels as kernels
from twin_nodes.core.registration.surface_target import SurfaceTarget

_CELLS = 24
_CORRECTION_HOLDS = 10.0  # tolerances; after a shorter step the grid's rounding is about the same as before it


@dataclass(frozen=True)
class RefineConfig:
    """How a cloud is brought onto a surface."""

    coarse_points: int = setting('points of the coarse descent', 400, minimum=20)
    middle_points: int = setting('points of the step between coarse and all', 1500, minimum=20)
    exact_points: int = setting('points whose distances to the triangles correct the grid', 800, minimum=20)
    smooth: bool = setting('the true surface is round between the vertices and passes through them', False)
    max_iterations: int = setting('steps of the coarse descent, at most', 40, minimum=1)
    max_polish: int = setting('steps with all points, at most', 6, minimum=1)
    tuning: float = setting('scale of the robust weight over the spread of the residuals', 4.0, minimum=1.0)
    floor: float = setting('smallest spread of the residuals', 1e-6, unit='m', minimum=1e-12)
    tolerance: float = setting('the last step with all points is at most so long', 5e-5, unit='m', minimum=1e-12)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Digitised points relative to their centroid, in the axes of the patient.

    Args:
        points: Points minus centroid [m], shape (n, 3).
        centroid: In the patient frame [m], shape (3,).
        length: Root mean square distance from the centroid [m]; scales rotations. NaN when a point is not finite.
        order: Index of each point in what was given, shape (n,): neighbours stand next to each other here.
    """

    points: Array
    centroid: Array
    length: float
    order: NDArray[np.int64]

    @classmethod
    def from_points(cls, points_patient: Array) -> 'Cloud':
        """Centre and sort points [m], shape (n, 3) with n ≥ 1, C-contiguous."""
        centroid, points = np.empty(3), np.empty(points_patient.shape)
        order = np.empty(len(points), np.int64)
        length = float(cloud_kernels.centre_and_sort(points_patient, _CELLS, centroid, points, order))
        return cls(points, centroid, length, order)

    def part(self, count: int) -> Array:
        """Return about so many points, evenly spread; all when there are fewer."""
        stride = max(1, len(self.points) // count)
        return np.ascontiguousarray(self.points[::stride]) if stride > 1 else self.points


@dataclass(eq=False)
class Fit:
    """A pose and the normal equations there.

    Args:
        turn: anatomy_R_patient, shape (3, 3).
        offset: Centroid of the cloud in the anatomy [m], shape (3,).
        sigma: Spread of the residuals' core [m].
        iterations: Steps made, coarse ones and those with all points together.
        step: Size of the last step [m], rotations scaled by the cloud's length.
        normal: Σ w a aᵀ, rotations scaled by the cloud's length, shape (6, 6).
        sums: Σ w, Σ w r², Σ (w r)², Σ d(w r)/dr, shape (4,).
        residuals: Signed distances [m] before the last step, shape (n,).
    """

    turn: Array
    offset: Array
    sigma: float = np.inf
    iterations: int = 0
    step: float = np.inf
    normal: Array | None = None
    sums: Array | None = None
    residuals: Array | None = None

    def pose(self, cloud: Cloud) -> Array:
        """Return patient_T_anatomy, shape (4, 4)."""
        patient_R_anatomy = self.turn.T
        return make_transform(patient_R_anatomy, cloud.centroid - patient_R_anatomy @ self.offset)


def start_at(patient_T_anatomy: Array, cloud: Cloud) -> Fit:
    """Return the unrefined fit at a pose."""
    turn = np.ascontiguousarray(patient_T_anatomy[:3, :3].T, float)
    return Fit(turn, turn @ (cloud.centroid - patient_T_anatomy[:3, 3]))


def descend_coarsely(fit: Fit, points: Array, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    """Return the fit after the descent of some points over the grid."""
    grid = target.grid
    turn, offset = fit.turn.copy(), fit.offset.copy()
    steps, sigma, size = kernels.descend(
        grid.values, grid.origin, grid.spacing, points, turn, offset, cloud.length, config.tuning,
        config.floor, config.max_iterations, max(config.tolerance, 1e-4 * cloud.length * 0.1),
    )  # fmt: skip
    return Fit(turn, offset, sigma, fit.iterations + steps, size)


def polish(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    """Return the fit after steps with all points, corrected by exact distances, until they are short."""
    points, grid = cloud.points, target.grid
    turn, offset, sigma = fit.turn.copy(), fit.offset.copy(), fit.sigma
    normal, right, sums, step, error = np.empty((6, 6)), np.empty(6), np.empty(4), np.empty(6), np.empty(6)
    residuals = np.empty(len(points))
    stride = max(1, len(points) // config.exact_points)
    steps, size = 0, np.inf
    while steps < config.max_polish and size > min(config.tolerance, 0.1 * sigma):
        cut = config.tuning * float(np.hypot(sigma, grid.near_sigma))
        kernels.grid_pass(
            grid.values, grid.origin, grid.spacing, points, turn, offset, cloud.length, cut, normal, right, sums,
            residuals,
        )  # fmt: skip
        bulge = sigma * sigma + (target.facet_bulge if config.smooth else 0.0)
        if stride == 1 or size > _CORRECTION_HOLDS * config.tolerance:
            exact_kernels.grid_error(
                grid.values, target.nearest, grid.origin, grid.spacing, target.corners, target.normals, target.across,
                points, turn, offset, cloud.length, cut, stride, bulge, residuals, error,
            )  # fmt: skip
        kernels.solve(normal, right + error, step)
        size = kernels.move(turn, offset, step, cloud.length)
        sigma = max(_spread(residuals), config.floor)
        steps += 1
    normal = np.tril(normal) + np.tril(normal, -1).T
    return Fit(turn, offset, sigma, fit.iterations + steps, float(size), normal, sums, residuals)


def refine(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    """Refine from a start: coarse descent, one step with more points, then the polish."""
    fit = descend_coarsely(fit, cloud.part(config.coarse_points), cloud, target, config)
    if len(cloud.points) > 2 * config.middle_points:
        fit = _middle(fit, cloud.part(config.middle_points), cloud, target, config)
    return polish(fit, cloud, target, config)


def _middle(fit: Fit, points: Array, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    grid = target.grid
    turn, offset = fit.turn.copy(), fit.offset.copy()
    normal, right, sums, step = np.empty((6, 6)), np.empty(6), np.empty(4), np.empty(6)
    kernels.grid_pass(
        grid.values, grid.origin, grid.spacing, points, turn, offset, cloud.length, config.tuning * fit.sigma,
        normal, right, sums, np.empty(len(points)),
    )  # fmt: skip
    kernels.solve(normal, right, step)
    size = kernels.move(turn, offset, step, cloud.length)
    return Fit(turn, offset, fit.sigma, fit.iterations + 1, float(size))


def _spread(residuals: Array) -> float:
    """Return the robust σ [m] of some thousand residuals: enough for a scale."""
    return float(kernels.robust_scale(np.ascontiguousarray(residuals[:: max(1, len(residuals) // 1000)])))
