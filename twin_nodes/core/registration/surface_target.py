"""The surface that clouds are registered to: its distance grid, fine and coarse, and the planes near it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid, feature_normals
from twin_nodes.core.anatomy.distance_kernels import fill_band, look_up_many
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.surface_cell_kernels import BRICK, fill_cells, number_bricks

SPACING = 0.001
MARGIN = 0.03
_BAND_CELLS = 4.0
_PLANE_CELLS = 3.0
_CREASE = np.cos(np.radians(30.0))
_COARSE_NODES = 100_000  # half a megabyte: stays in the cache of a core


@dataclass(frozen=True, eq=False)
class SurfaceTarget:
    """What is computed once per anatomy, so that a registration takes milliseconds.

    Args:
        surface: The surface in the anatomy frame.
        grid: Signed distances to it.
        coarse: The same distances [m] at far fewer nodes, float32, shape (a, b, c).
        coarse_spacing: Distance between these [m].
        bricks: Number of each brick of 8 × 8 × 8 cells near the surface, -1 elsewhere.
        cells: Of each cell of each brick the distance in its middle [m], the gradient, NaN for none, and the sum of
            both curvatures there [1/m]; as int32 at 5 a triangle next to it, -1 for none; at 6 how high a smooth
            surface through the vertices stands above that [m]; shape (m, 512, 8).
        misfit: Root mean square error of the planes at the surface [m].
        corners: Triangles [m], shape (m, 3, 3).
        normals: Pseudo-normals as of `feature_normals`, shape (m, 7, 3).
        across: Triangle beyond each edge ab bc ca, shape (m, 3).
        facet_height: Root mean square height of a smooth surface through the vertices above the triangles [m].
    """

    surface: Surface
    grid: DistanceGrid
    coarse: NDArray[np.float32]
    coarse_spacing: float
    bricks: NDArray[np.int32]
    cells: NDArray[np.float32]
    misfit: float
    corners: Array
    normals: Array
    across: NDArray[np.int32]
    facet_height: float

    @classmethod
    def from_surface(cls, surface: Surface, *, spacing: float = SPACING, margin: float = MARGIN) -> 'SurfaceTarget':
        """Prepare a closed surface.

        Args:
            surface: The surface in the anatomy frame.
            spacing: Of the grid [m].
            margin: How far the grid reaches beyond the surface [m].

        Raises:
            ConfigError: spacing or margin without sense.
            InputError: ANATOMY_REFUSED when the surface has holes.
        """
        return cls.from_grid(surface, DistanceGrid.from_surface(surface, spacing, margin))

    @classmethod
    def from_grid(cls, surface: Surface, grid: DistanceGrid) -> 'SurfaceTarget':
        """Prepare a closed surface whose grid has been computed already."""
        corners = np.ascontiguousarray(surface.vertices[surface.triangles])
        squared = np.full(grid.values.shape, np.inf)
        nearest = np.full(grid.values.shape, -1, np.int32)
        fill_band(squared, nearest, grid.origin, grid.spacing, corners, _BAND_CELLS * grid.spacing)
        band = _PLANE_CELLS * grid.spacing
        bricks, count = number_bricks(grid.values, band)
        cells = np.empty((count, BRICK**3, 8), np.float32)
        normals, across = np.ascontiguousarray(feature_normals(surface)), _across(surface.triangles)
        heights = _facet_heights(corners, normals, across)
        misfit = fill_cells(
            grid.values, nearest, grid.origin, grid.spacing, corners, normals, across, heights, band, bricks, cells,
            cells.view(np.int32),
        )  # fmt: skip
        return cls(
            surface, grid, *_thinned(grid), bricks, cells, misfit, corners, normals, across,
            float(np.sqrt(np.mean(heights**2))),
        )  # fmt: skip


def _thinned(grid: DistanceGrid) -> tuple[NDArray[np.float32], float]:
    """Return the distances at fewer nodes [m] and the distance between these [m]."""
    factor = max(1, round((grid.values.size / _COARSE_NODES) ** (1.0 / 3.0)))
    spacing = factor * grid.spacing
    places = [
        grid.origin[axis] + spacing * np.arange((n - 2) // factor + 2) for axis, n in enumerate(grid.values.shape)
    ]
    nodes = np.stack(np.meshgrid(*places, indexing='ij'), axis=-1)
    distances = look_up_many(grid.values, grid.origin, grid.spacing, nodes.reshape(-1, 3))[0]
    return np.ascontiguousarray(distances.reshape(nodes.shape[:3]), dtype=np.float32), spacing


def _facet_heights(corners: Array, normals: Array, across: NDArray[np.int32]) -> Array:
    """Return how high a smooth surface through the vertices stands above each triangle on average [m], shape (m,).

    A quadratic stands Σ κ e²/24 above, with the curvature κ along each edge e, which the normals at its ends tell.
    Triangles at a crease get 0: that edge is meant.
    """
    ends = normals[:, 1:4] / np.linalg.norm(normals[:, 1:4], axis=2, keepdims=True)
    turned = np.roll(ends, -1, axis=1) - ends
    heights = np.sum(turned * (np.roll(corners, -1, axis=1) - corners), axis=(1, 2)) / 24.0
    cosines = np.einsum('mk,mek->me', normals[:, 0], normals[across, 0])
    return np.where(cosines.min(axis=1) > _CREASE, heights, 0.0)


def _across(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangle beyond each edge of a closed surface, shape (m, 3)."""
    start, end = triangles.ravel().astype(np.int64), np.roll(triangles, -1, axis=1).ravel().astype(np.int64)
    count = int(triangles.max()) + 1
    order = np.argsort(start * count + end)
    twin = order[np.searchsorted((start * count + end)[order], end * count + start)]
    return np.ascontiguousarray((twin // 3).reshape(-1, 3), dtype=np.int32)
