"""Refinement of a surface registration: a coarse subset on the grid, then all points on the triangles themselves.

Robust Gauss–Newton with a flat-topped weight of Geman and McClure, whose scale follows the residuals' spread; the
normal equations come from signed distances (Fitzgibbon 2003), so that no correspondences are searched.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, check_transform, make_transform
from twin_nodes.core.registration import surface_cloud_kernels as cloud_kernels
from twin_nodes.core.registration import surface_descent_kernels as kernels
from twin_nodes.core.registration.surface_target import SurfaceTarget

_CELLS = 24
_COARSE_STEP = 5e-3  # of the length of a cloud: a step that ends the coarse descent


@dataclass(frozen=True)
class RefineConfig:
    """How a cloud is brought onto a surface."""

    coarse_points: int = setting('points of the coarse descent', 400, minimum=20)
    middle_points: int = setting('points of the step between coarse and all', 1500, minimum=20)
    exact_points: int = setting('points whose distances to the triangles correct the grid, at least', 200, minimum=20)
    smooth: bool = setting('the true surface is round between the vertices and passes through them; else it may', False)
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

    def stride(self, count: int) -> int:
        """Return k so that every k-th point makes about so many, evenly spread; 1 when there are fewer."""
        return max(1, len(self.points) // count)


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
        facets: Σ w a e with the error e of the triangles' height at each point [m], shape (6,).
    """

    turn: Array
    offset: Array
    sigma: float = np.inf
    iterations: int = 0
    step: float = np.inf
    normal: Array | None = None
    sums: Array | None = None
    residuals: Array | None = None
    facets: Array | None = None

    def pose(self, cloud: Cloud) -> Array:
        """Return patient_T_anatomy, shape (4, 4)."""
        patient_R_anatomy = self.turn.T
        return make_transform(patient_R_anatomy, cloud.centroid - patient_R_anatomy @ self.offset)


def start_at(patient_T_anatomy: Array, cloud: Cloud) -> Fit:
    """Return the unrefined fit at a pose; raises as `check_transform` for what is none."""
    turn, offset = np.empty((3, 3)), np.empty(3)
    start = np.asarray(patient_T_anatomy, float)
    if start.shape != (4, 4) or not cloud_kernels.pose_at(start, cloud.centroid, turn, offset):
        cloud_kernels.pose_at(check_transform(start, name='start'), cloud.centroid, turn, offset)
    return Fit(turn, offset)


def descend_coarsely(
    fit: Fit, count: int, cloud: Cloud, target: SurfaceTarget, config: RefineConfig, *, fine: bool = False
) -> Fit:
    """Return the fit after the descent of about so many points over the coarse grid, or over the fine one."""
    grid = target.grid
    values, spacing = (grid.values, grid.spacing) if fine else (target.coarse, target.coarse_spacing)
    turn, offset = fit.turn.copy(), fit.offset.copy()
    tolerance = max(config.tolerance, (1e-5 if fine else _COARSE_STEP) * cloud.length)
    steps, sigma, size = kernels.descend(
        values, grid.origin, spacing, cloud.points, cloud.stride(count), turn, offset, cloud.length, config.tuning,
        config.floor, config.max_iterations, tolerance,
    )  # fmt: skip
    return Fit(turn, offset, sigma, fit.iterations + steps, size)


def polish(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    """Return the fit after steps with all points, corrected by exact distances, until they are short."""
    grid = target.grid
    turn, offset = fit.turn.copy(), fit.offset.copy()
    normal, sums, residuals = np.empty((6, 6)), np.empty(4), np.empty(len(cloud.points))
    facets = np.empty(6)
    steps, sigma, size = kernels.polish(
        target.bricks, target.cells, target.cells.view(np.int32), target.misfit, grid.values, grid.origin, grid.spacing,
        target.corners, target.normals, target.across, cloud.points, turn, offset, cloud.length,
        min(fit.sigma, cloud.length), target.facet_height, config.smooth, config.middle_points, config.exact_points,
        config.tuning, config.floor, config.max_polish, config.tolerance, normal, sums, residuals, facets,
    )  # fmt: skip
    return Fit(turn, offset, sigma, fit.iterations + steps, size, normal, sums, residuals, facets)


def refine(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> Fit:
    """Refine from a start: coarse descent with few points, then the polish."""
    return polish(descend_coarsely(fit, config.coarse_points, cloud, target, config), cloud, target, config)
