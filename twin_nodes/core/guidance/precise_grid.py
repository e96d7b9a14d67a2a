"""Distances to a structure that keeps its shape: from a grid far away, to its triangles where they matter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.anatomy.distance_grid import DistanceGrid, DistanceSamples
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.guidance.moving_surface import MovingSurface

# m, on either side; where the grid says less, the triangles are asked, which are exact up to `moving_kernels.FAR`.
# Nothing thin is deeper, and there the search would be long.
NEAR = 0.009


@dataclass(frozen=True, eq=False)
class PreciseGrid(DistanceGrid):
    """A distance grid that asks the triangles near the surface.

    Between its nodes a grid knows no detail: with nodes 1 mm apart it is 0.5 mm off at the edge of a plate, and the
    inside of a nerve of 1 mm may lie between them.

    Args:
        triangles: The surface itself.
    """

    triangles: MovingSurface | None = None

    def query(self, points_anatomy: ArrayLike) -> DistanceSamples:
        """Look up distances and gradients; those nearer than `NEAR` are exact."""
        points = np.ascontiguousarray(points_anatomy, dtype=np.float64)
        samples = super().query(points)
        near = np.abs(samples.distances) < NEAR
        if self.triangles is not None and near.any():
            exact = self.triangles.query(points[near])
            samples.distances[near], samples.gradients[near] = exact.distances, exact.gradients
            samples.outside[near] = exact.outside
        return samples


def precise_grid(grid: DistanceGrid, surface: Surface) -> PreciseGrid:
    """Let a grid ask the surface that it was made of.

    Raises:
        InputError: ANATOMY_REFUSED when the surface has holes.
    """
    triangles = MovingSurface(surface)
    triangles.query(surface.vertices[:1])  # the kernel is loaded here and not when a tool comes near
    return PreciseGrid(**vars(grid), triangles=triangles)
