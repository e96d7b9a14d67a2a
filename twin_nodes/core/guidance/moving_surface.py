"""A surface that deforms, with exact signed distances at once after each motion: a tree of boxes follows."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.distance_grid import DistanceSamples
from twin_nodes.core.anatomy.surface import MAX_DIAGONAL, Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance import moving_kernels
from twin_nodes.core.guidance.moving_kernels import Tree

_LEAF = 3.0  # triangles of a leaf, at most
_BLOCK = 6  # levels of the tree inside a block
_UNCHECKED = 0.2  # of volume over area


class MovingSurface:
    """Distances to a watertight surface whose vertices move while its triangles stay.

    Distances are those to the triangles themselves, so there is no error of a grid; what is uncertain is where the
    vertices are. A distance grid of 100,000 triangles takes seconds to make, a motion half a millisecond; what it
    leaves to do is done where a distance is asked for.

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
        self.name, self._rest = surface.name, surface
        count, number = len(surface.triangles), len(surface.vertices)
        levels = max(0, int(np.ceil(np.log2(count / _LEAF))))
        top = max(0, levels - _BLOCK)
        centres = surface.vertices[surface.triangles].mean(axis=1)
        order = moving_kernels.order_triangles(centres, levels)
        triangles = np.ascontiguousarray(surface.triangles[order], np.int32)
        self.tree = Tree(
            np.zeros((number, 3)), np.zeros(number), triangles, *_neighbours(triangles, number), levels, top,
            np.ones(1 << top, np.uint8), np.empty((count, 3, 3)),
            np.empty(((2 << levels) - 1, 6), np.float32),
        )  # fmt: skip
        self._blocks = _blocks(triangles, number, top)
        self.seeds = np.zeros(2, np.int64)  # triangles near the ends of the tool when it was last looked at
        self._may_move = -1.0  # m, before the volume is looked at
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
        tree = self.tree
        vertices = np.ascontiguousarray(vertices_anatomy, np.float64)
        if vertices.shape != tree.vertices.shape:
            raise InputError(f'{self.name}: expected vertices of shape {tree.vertices.shape}, got {vertices.shape}')
        spread = np.zeros(len(vertices)) if sigma is None else np.ascontiguousarray(sigma, np.float64)
        if spread.shape != tree.sigma.shape:
            raise InputError(f'{self.name}: expected sigma of shape {tree.sigma.shape}, got {spread.shape}')
        moved, diagonal = moving_kernels.motion(vertices, tree)
        if not (math.isfinite(moved) and np.isfinite(spread).all() and (spread >= 0.0).all()):
            raise InputError(f'{self.name}: NaN, Inf or a negative sigma in where it is', code='NOT_FINITE')
        if diagonal > MAX_DIAGONAL:
            raise InputError(
                f'{self.name}: a diagonal of {diagonal:.3g} m, above {MAX_DIAGONAL:g} m, cannot be; the surface '
                'stays where it was',
                code='ANATOMY_REFUSED',
            )
        self._may_move = self._checked_motion(vertices) if moved > self._may_move else self._may_move - moved
        moving_kernels.place(vertices, spread, tree, *self._blocks)

    def at_rest(self) -> 'MovingSurface':
        """Return another one, as the surface was at the beginning."""
        return MovingSurface(self._rest)

    def _checked_motion(self, vertices: Array) -> float:
        """Return by how much the vertices may move before the volume is looked at again [m]; refuse one inside out.

        A motion by s changes the volume by no more than s times the area, so that a share of volume over area is safe.
        """
        volume, area = moving_kernels.extent(vertices, self.tree.triangles)
        if volume <= 0.0:
            raise InputError(
                f'{self.name}: a volume of {1e6 * volume:.3g} cm³ cannot be; the surface stays where it was',
                code='ANATOMY_REFUSED',
            )
        return _UNCHECKED * volume / area

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
        moving_kernels.signed_many(points, self.tree, distances, gradients)
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


def _blocks(triangles: NDArray[np.int32], count: int, top: int) -> tuple[Array, Array]:
    """Return the vertices of the triangles of each block, each once: where they begin (2^top + 1,), and which."""
    edges = (np.arange((1 << top) + 1) * len(triangles)) >> top
    block = np.repeat(np.arange(1 << top), np.diff(edges))
    keys = np.unique(np.repeat(block, 3) * count + triangles.ravel())
    starts = np.searchsorted(keys, np.arange((1 << top) + 1) * count)
    return starts.astype(np.int64), (keys % count).astype(np.int32)
