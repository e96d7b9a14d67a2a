"""The surface that clouds are registered to: its distance grid and the triangles next to each node."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid, feature_normals
from twin_nodes.core.anatomy.distance_kernels import fill_band
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.se3 import Array

SPACING = 0.001
MARGIN = 0.03
_BAND_CELLS = 4.0


@dataclass(frozen=True, eq=False)
class SurfaceTarget:
    """What is computed once per anatomy, so that a registration takes milliseconds.

    Args:
        surface: The surface in the anatomy frame.
        grid: Signed distances to it.
        nearest: Nearest triangle of each node of the grid within 4 cells of the surface, -1 elsewhere.
        corners: Triangles [m], shape (m, 3, 3).
        normals: Pseudo-normals as of `feature_normals`, shape (m, 7, 3).
        across: Triangle beyond each edge ab bc ca, shape (m, 3).
        facet_bulge: Mean of (a² + b² + c²)/24 over the triangles' edges [m²]: times the mean curvature, the height of a
            smooth surface above its triangles.
    """

    surface: Surface
    grid: DistanceGrid
    nearest: NDArray[np.int32]
    corners: Array
    normals: Array
    across: NDArray[np.int32]
    facet_bulge: float

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
        normals = np.ascontiguousarray(feature_normals(surface))
        edges = corners - np.roll(corners, 1, axis=1)
        bulge = float(np.mean(np.sum(edges**2, axis=(1, 2))) / 24.0)
        return cls(surface, grid, nearest, corners, normals, _across(surface.triangles), bulge)


def _across(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangle beyond each edge of a closed surface, shape (m, 3)."""
    start, end = triangles.ravel().astype(np.int64), np.roll(triangles, -1, axis=1).ravel().astype(np.int64)
    count = int(triangles.max()) + 1
    order = np.argsort(start * count + end)
    twin = order[np.searchsorted((start * count + end)[order], end * count + start)]
    return np.ascontiguousarray((twin // 3).reshape(-1, 3), dtype=np.int32)
