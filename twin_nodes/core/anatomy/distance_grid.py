"""Signed distance to a surface, precomputed on a regular grid and looked up with value and gradient."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy import distance_kernels, triangle_kernels
from twin_nodes.core.anatomy.distance_signs import are_inside, settle_signs
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array

BAND_CELLS = 3.0
NEAR_CELLS = 2.0
MAX_NODES = 200_000_000
_SWEEP_ROUNDS = 4
_ERROR_SAMPLES = 512


@dataclass(frozen=True)
class DistanceSamples:
    """What a grid says of n points.

    Args:
        distances: Signed distances [m], negative inside, shape (n,). Outside the grid: a lower bound.
        gradients: Derivatives of the distance in the anatomy frame, shape (n, 3); of norm 1 where the surface has one
            nearest point, shorter on ridges halfway between two.
        outside: Whether the point lies outside the grid, so that its distance is only a lower bound, shape (n,).
    """

    distances: Array
    gradients: Array
    outside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DistanceGrid:
    """Signed distance to one surface on a regular grid along the axes of the anatomy frame.

    Args:
        name: Name of the structure.
        origin: Position of node (0, 0, 0) in the anatomy frame [m], shape (3,).
        spacing: Distance between nodes [m].
        values: Signed distance [m] at the nodes, float32, shape (nx, ny, nz).
        near_error: Largest difference [m] to exact distances seen near the surface (2 cells along each axis).
        far_error: The same, over the whole grid.
        near_sigma: Root mean square of the same differences near the surface [m].
        far_sigma: The same, over the whole grid.
        signed: Whether inside is told from outside; False only for a surface with holes that was allowed.
    """

    name: str
    origin: Array
    spacing: float
    values: NDArray[np.float32]
    near_error: float
    far_error: float
    near_sigma: float
    far_sigma: float
    signed: bool = True

    @classmethod
    def from_surface(
        cls, surface: Surface, spacing: float, margin: float, *, allow_unsigned: bool = False
    ) -> 'DistanceGrid':
        """Compute the grid: exact near the surface, by sweeping of the nearest triangle farther away.

        Args:
            surface: The surface in the anatomy frame.
            spacing: Distance between nodes [m]. Details smaller than this are rounded off.
            margin: How far the grid reaches beyond the surface [m]; at least two cells are added.
            allow_unsigned: Take a surface with holes, with distances that are never negative.

        Raises:
            ConfigError: spacing or margin without sense, or too many nodes.
            InputError: ANATOMY_REFUSED when the surface has holes and `allow_unsigned` is False.
        """
        signed = surface.is_watertight
        if not signed and not allow_unsigned:
            raise InputError(
                f'surface {surface.name!r} is not closed: {surface.report.open_edges} edges are open and '
                f'{surface.report.bad_edges} inconsistent of {3 * len(surface.triangles) // 2}; inside cannot be told '
                'from outside. Repair it, or allow unsigned distances',
                code='ANATOMY_REFUSED',
            )
        origin, shape = _layout(surface, spacing, margin)
        corners = surface.vertices[surface.triangles]
        normals = feature_normals(surface) if signed else np.empty((0, 7, 3))
        squared = np.full(shape, np.inf)
        nearest = np.full(shape, -1, np.int32)
        band = BAND_CELLS * spacing
        distance_kernels.fill_band(squared, nearest, origin, spacing, corners, band)
        _sweep_out(squared, nearest, origin, spacing, corners)
        values = distance_kernels.signed_values(squared, nearest, origin, spacing, corners, normals, band)
        crossed = signed and settle_signs(values, origin, spacing, corners)
        errors = _measure_errors(origin, spacing, values, corners, normals, crossed)
        return cls(surface.name, origin, spacing, values, *errors, signed)

    @property
    def bounds(self) -> Array:
        """Lower and upper corner of the grid [m], shape (2, 3)."""
        return np.stack([self.origin, self.origin + self.spacing * (np.array(self.values.shape) - 1.0)])

    def query(self, points_anatomy: ArrayLike) -> DistanceSamples:
        """Look up distances and gradients.

        Args:
            points_anatomy: Points in the anatomy frame [m], shape (n, 3).

        Raises:
            InputError: NOT_FINITE, or another shape.
        """
        points = np.ascontiguousarray(points_anatomy, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f'points: expected shape (n, 3), got {points.shape}')
        if not math.isfinite(points.sum()) and not np.isfinite(points).all():
            raise InputError('points have NaN or Inf', code='NOT_FINITE')
        return DistanceSamples(*distance_kernels.look_up_many(self.values, self.origin, self.spacing, points))

    def closest_points(self, points_anatomy: ArrayLike) -> Array:
        """Estimate the nearest surface points [m] (n, 3) as p - d·∇d/|∇d|; rough where the gradient is short."""
        points = np.asarray(points_anatomy, float)
        samples = self.query(points)
        length = np.linalg.norm(samples.gradients, axis=1, keepdims=True)
        direction = samples.gradients / np.where(length > 0.0, length, 1.0)
        return np.asarray(points - samples.distances[:, None] * direction)


def exact_distances(surface: Surface, points_anatomy: ArrayLike) -> Array:
    """Compute exact distances [m] (k,) to the triangles, signed where the surface is watertight; slow."""
    normals = feature_normals(surface) if surface.is_watertight else np.empty((0, 7, 3))
    return _exact(np.ascontiguousarray(points_anatomy, float), surface.vertices[surface.triangles], normals)


def feature_normals(surface: Surface) -> Array:
    """Return pseudo-normals of a watertight surface, shape (m, 7, 3): face, vertices a b c, edges ab bc ca."""
    faces = surface.face_normals
    triangles = surface.triangles.astype(np.int64)
    normals = np.empty((len(triangles), 7, 3))
    normals[:, 0] = faces
    normals[:, 1:4] = surface.vertex_normals[triangles]
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    count = len(surface.vertices)
    order = np.argsort(start * count + end)
    twin = order[np.searchsorted((start * count + end)[order], end * count + start)]
    normals[:, 4:7] = faces[:, None] + faces[twin // 3].reshape(-1, 3, 3)
    return normals


def _layout(surface: Surface, spacing: float, margin: float) -> tuple[Array, tuple[int, int, int]]:
    if not (math.isfinite(spacing) and spacing > 0.0 and math.isfinite(margin) and margin >= 0.0):
        raise ConfigError(f'spacing={spacing} m must be above 0 and margin={margin} m at least 0')
    reach = margin + (BAND_CELLS + 0.5) * spacing
    low, high = surface.bounds[0] - reach, surface.bounds[1] + reach
    counts = np.ceil((high - low) / spacing) + 1.0
    if np.prod(counts) > MAX_NODES:
        least = spacing * (float(np.prod(counts)) / MAX_NODES) ** (1.0 / 3.0)
        raise ConfigError(
            f'a grid of {surface.name!r} with spacing={spacing} m would have {np.prod(counts):.3g} nodes, limit '
            f'{MAX_NODES:.3g}: take a spacing of {least:.2g} m or more, or a smaller margin'
        )
    nx, ny, nz = (int(count) for count in counts)
    return np.ascontiguousarray(low), (nx, ny, nz)


def _sweep_out(squared: Array, nearest: NDArray[np.int32], origin: Array, spacing: float, corners: Array) -> None:
    changed = np.where(nearest >= 0, np.int8(distance_kernels.EXACT), np.int8(-1))
    spheres = _spheres(corners)
    for sweep in range(0, 8 * _SWEEP_ROUNDS, 8):
        if distance_kernels.sweep(squared, nearest, changed, sweep, origin, spacing, corners, spheres) == 0:
            break


def _spheres(corners: Array) -> Array:
    """Return a sphere around each triangle, centre and radius [m], shape (m, 4)."""
    centres = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)
    return np.column_stack([centres, radii])


def _exact(points: Array, corners: Array, normals: Array) -> Array:
    return np.asarray(triangle_kernels.exact_distances(points, corners, _spheres(corners), normals))


def _measure_errors(
    origin: Array, spacing: float, values: NDArray[np.float32], corners: Array, normals: Array, crossed: bool
) -> tuple[float, float, float, float]:
    """Compare interpolated with exact distances at seeded points near the surface and anywhere in the grid."""
    rng = np.random.default_rng(0)
    chosen = corners[rng.integers(len(corners), size=_ERROR_SAMPLES)]
    weights = rng.dirichlet((1.0, 1.0, 1.0), size=_ERROR_SAMPLES)
    reach = NEAR_CELLS * spacing
    near = np.einsum('ni,nij->nj', weights, chosen) + rng.uniform(-reach, reach, (_ERROR_SAMPLES, 3))
    extent = spacing * (np.array(values.shape) - 1.0)
    anywhere = origin + rng.uniform(0.0, 1.0, (_ERROR_SAMPLES, 3)) * extent
    points = np.clip(np.vstack([near, anywhere]), origin, origin + extent)
    looked_up = distance_kernels.look_up_many(values, origin, spacing, points)[0]
    exact = _exact(points, corners, normals)
    doubted = np.flatnonzero((looked_up < 0.0) != (exact < 0.0)) if crossed else np.empty(0, np.int64)
    exact[doubted] = np.abs(exact[doubted]) * np.where(are_inside(points[doubted], corners), -1.0, 1.0)
    errors = np.abs(looked_up - exact)
    near_errors = errors[:_ERROR_SAMPLES]
    near_sigma, far_sigma = (math.sqrt(float(np.mean(part**2))) for part in (near_errors, errors))
    return float(near_errors.max()), float(errors.max()), near_sigma, far_sigma
