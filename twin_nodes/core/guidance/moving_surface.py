"""A surface that deforms, with exact signed distances at once after each motion: a tree of boxes is refitted."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceSamples
from twin_nodes.core.anatomy.surface import MAX_DIAGONAL, Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance import moving_kernels

_LEAF = 3.0  # triangles of a leaf, at most


class MovingSurface:
    """Distances to a watertight surface whose vertices move while its triangles stay.

    Distances are those to the triangles themselves, so there is no error of a grid; what is uncertain is where the
    vertices are. A distance grid of 100,000 triangles takes seconds to make, a refit a millisecond or two.

    Args:
        surface: As it is at rest.

    Raises:
        InputError: ANATOMY_REFUSED when it has holes.
    """

    def __init__(self, surface: Surface) -> None:
        if not surface.is_watertight:
            raise InputError(
                f'surface {surface.name!r} is not closed: {surface.report.open_edges} edges are open and '
                f'{surface.report.bad_edges} inconsistent; inside cannot be told from outside. Repair it',
                code='ANATOMY_REFUSED',
            )
        self.name = surface.name
        count = len(surface.triangles)
        self.levels = max(0, int(np.ceil(np.log2(count / _LEAF))))
        centres = surface.vertices[surface.triangles].mean(axis=1)
        order = moving_kernels.order_triangles(centres, self.levels)
        self.triangles = np.ascontiguousarray(surface.triangles[order], np.int32)
        self.across, self.starts, self.ring = _neighbours(self.triangles, len(surface.vertices))
        self.corners = np.empty((count, 3, 3))
        self.boxes = np.empty(((2 << self.levels) - 1, 6), np.float32)
        self.sigma = np.zeros(len(surface.vertices))
        self.seeds = np.zeros(2, np.int64)  # triangles near the ends of the tool when it was last looked at
        self.vertices = np.empty_like(surface.vertices)
        self.move(surface.vertices)

    def move(self, vertices_anatomy: ArrayLike, sigma: ArrayLike | None = None) -> None:
        """Take where the vertices are now.

        Args:
            vertices_anatomy: In the order of the surface [m], shape (n, 3).
            sigma: Standard deviation of the place of each along any one axis [m], shape (n,); none when not given.

        Raises:
            InputError: another number of vertices; NOT_FINITE; ANATOMY_REFUSED for a surface that is inside out or
                larger than any anatomy. Nothing is changed then.
        """
        vertices = np.ascontiguousarray(vertices_anatomy, np.float64)
        if vertices.shape != self.vertices.shape:
            raise InputError(f'{self.name}: expected vertices of shape {self.vertices.shape}, got {vertices.shape}')
        spread = np.zeros(len(vertices)) if sigma is None else np.ascontiguousarray(sigma, np.float64)
        if spread.shape != self.sigma.shape:
            raise InputError(f'{self.name}: expected sigma of shape {self.sigma.shape}, got {spread.shape}')
        if not (np.isfinite(vertices).all() and np.isfinite(spread).all() and (spread >= 0.0).all()):
            raise InputError(f'{self.name}: NaN, Inf or a negative sigma in where it is', code='NOT_FINITE')
        diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
        volume = moving_kernels.enclosed_volume(vertices - vertices[0], self.triangles)
        if volume <= 0.0 or diagonal > MAX_DIAGONAL:
            raise InputError(
                f'{self.name}: a volume of {1e6 * volume:.3g} cm³ and a diagonal of {diagonal:.3g} m cannot be; the '
                'surface stays where it was',
                code='ANATOMY_REFUSED',
            )
        self.vertices, self.sigma = vertices, spread
        moving_kernels.refit(vertices, self.triangles, self.levels, self.corners, self.boxes)

    def query(self, points_anatomy: ArrayLike) -> DistanceSamples:
        """Return distances, exact up to `moving_kernels.FAR`, lower bounds (`outside`) beyond, and unit gradients.

        Args:
            points_anatomy: Points in the anatomy frame [m], shape (n, 3).

        Raises:
            InputError: NOT_FINITE, or another shape.
        """
        points = np.ascontiguousarray(points_anatomy, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f'points: expected shape (n, 3), got {points.shape}')
        if not np.isfinite(points).all():
            raise InputError('points have NaN or Inf', code='NOT_FINITE')
        distances, gradients = np.empty(len(points)), np.empty((len(points), 3))
        moving_kernels.signed_many(
            points, self.corners, self.boxes, self.levels, self.across, self.starts, self.ring, self.triangles,
            distances, gradients,
        )  # fmt: skip
        return DistanceSamples(distances, gradients, distances > moving_kernels.FAR)


def _neighbours(triangles: NDArray[np.int32], count: int) -> tuple[Array, Array, Array]:
    """Return the triangle beyond each edge (m, 3), and the corners around each vertex as starts (n + 1,) and ring."""
    start = triangles.astype(np.int64).ravel()
    end = np.roll(triangles, -1, axis=1).astype(np.int64).ravel()
    order = np.argsort(start * count + end)
    twin = order[np.searchsorted((start * count + end)[order], end * count + start)]
    around = np.argsort(start, kind='stable')
    starts = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=count))])
    return (twin // 3).reshape(-1, 3).astype(np.int32), starts.astype(np.int64), around.astype(np.int64)
