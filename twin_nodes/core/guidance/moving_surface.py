"""A surface that deforms, with exact signed distances at once after each motion: a tree of boxes follows."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.cut_kernels import ears
from twin_nodes.core.anatomy.cut_surface import CutSurface, cut_surface
from twin_nodes.core.anatomy.distance_grid import DistanceSamples
from twin_nodes.core.anatomy.refusal import MAX_DIAGONAL
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance import moving_kernels, moving_tree_kernels
from twin_nodes.core.guidance.cavity import MovingCavity, no_cavity
from twin_nodes.core.guidance.moving_tree_kernels import Tree

_LEAF = 3.0  # triangles of a leaf, at most
_BLOCK = 6  # levels of the tree inside a block
_UNCHECKED = 0.2  # of volume over area
_AWAY = 10.0  # m
_CORNER = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
_TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)


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
        self.name, self._whole = surface.name, surface
        self._cut: CutSurface | None = None
        self._beyond: Array | None = None
        self._carved: tuple[NDArray[np.uint8], Array, Array, Array] | None = None
        self._plant(surface)
        self.move(surface.vertices)
        ears(_CORNER)  # the kernel is loaded here and not at the first cut

    @property
    def is_gone(self) -> bool:
        """Whether a cut took all of it: distances are then those to something `_AWAY` from where it was, or more."""
        return self._cut is not None and self._cut.is_gone

    def _plant(self, surface: Surface) -> None:
        """Begin the tree of a surface at rest; `move` is due after it."""
        self._rest = surface
        count, number = len(surface.triangles), len(surface.vertices)
        levels = max(0, int(np.ceil(np.log2(count / _LEAF))))
        top = max(0, levels - _BLOCK)
        centres = surface.vertices[surface.triangles].mean(axis=1)
        order = moving_tree_kernels.order_triangles(centres, levels)
        triangles = np.ascontiguousarray(surface.triangles[order], np.int32)
        self.tree = Tree(
            np.zeros((number, 3)), np.zeros(number), triangles, *_neighbours(triangles, number), levels, top,
            np.ones(1 << top, np.uint8), np.empty((count, 3, 3)),
            np.empty(((2 << levels) - 1, 6), np.float32), no_cavity(),
        )  # fmt: skip
        self._blocks = _blocks(triangles, number, top)
        self.seeds = np.zeros(2, np.int64)  # triangles near the ends of the tool when it was last looked at
        self._cavity: MovingCavity | None = None
        self._told = self.tree.vertices, self.tree.sigma  # where it was said to be, with what is gone
        self._checked = np.zeros((number, 3))  # where it was when the volume was last looked at
        self._may_move = -1.0  # m, from there, before it is looked at again

    def move(
        self, vertices_anatomy: ArrayLike, sigma: ArrayLike | None = None, *, beyond: ArrayLike | None = None
    ) -> None:
        """Take where the vertices are now, and what of it was cut off.

        What is cut off is measured to no more; in its place the cut face is, see `core.anatomy.cut_surface`.

        Args:
            vertices_anatomy: In the order of the surface [m], shape (n, 3).
            sigma: Standard deviation of the place of each along any one axis [m], shape (n,); none when not given.
            beyond: How far each lay beyond what was cut off, negative where it is left [m], shape (n,); None: whole.

        Raises:
            InputError: another number of vertices; NOT_FINITE; ANATOMY_REFUSED for a surface that is inside out or
                larger than any anatomy. Nothing is changed then.
        """
        vertices = np.ascontiguousarray(vertices_anatomy, np.float64)
        whole = self._whole.vertices.shape
        if vertices.shape != whole:
            raise InputError(f'{self.name}: expected vertices of shape {whole}, got {vertices.shape}')
        spread = np.zeros(len(vertices)) if sigma is None else np.ascontiguousarray(sigma, np.float64)
        if spread.shape != whole[:1]:
            raise InputError(f'{self.name}: expected sigma of shape {whole[:1]}, got {spread.shape}')
        before = dict(vars(self))
        try:
            self._leave(vertices, None if beyond is None else np.array(beyond, np.float64))
            self._follow(vertices, spread)
        except InputError:
            vars(self).update(before)
            raise
        if self._cavity is None and self._carved is not None and not self.is_gone:
            self.carve(*self._carved)

    def _leave(self, vertices: Array, beyond: Array | None) -> None:
        """Go on with what another cut leaves, in a tree of its own."""
        known = self._beyond
        if beyond is known or (beyond is not None and known is not None and np.array_equal(beyond, known)):
            return
        if not np.isfinite(vertices).all():
            raise InputError(f'{self.name}: NaN or Inf in where it is', code='NOT_FINITE')
        whole, self._beyond, self._cavity = self._whole, beyond, None
        self._cut = cut = None if beyond is None else cut_surface(vertices, whole.triangles, beyond)
        if cut is None:
            self._plant(whole)
        elif cut.is_gone:
            corners = vertices.mean(axis=0) + _AWAY + np.concatenate([np.zeros((1, 3)), 1e-3 * np.eye(3)])
            self._plant(Surface(self.name, corners, _TETRAHEDRON, whole.report))
        else:
            self._plant(Surface(self.name, cut.between(whole.vertices), cut.triangles, whole.report))

    def _follow(self, vertices: Array, spread: Array) -> None:
        if self.is_gone:
            vertices, spread = self._rest.vertices, np.zeros(len(self._rest.vertices))
        elif self._cut is not None:
            vertices, spread = self._cut.between(vertices), self._cut.between(spread)
        moved, diagonal = moving_tree_kernels.motion(vertices, spread, self._checked)
        if not math.isfinite(moved):
            raise InputError(f'{self.name}: NaN, Inf or a negative sigma in where it is', code='NOT_FINITE')
        if diagonal > MAX_DIAGONAL:
            raise InputError(
                f'{self.name}: a diagonal of {diagonal:.3g} m, above {MAX_DIAGONAL:g} m, cannot be; the surface '
                'stays where it was',
                code='ANATOMY_REFUSED',
            )
        if moved > self._may_move:
            self._may_move, self._checked = self._checked_motion(vertices), vertices.copy()
        if self._cavity is not None:
            self._told = vertices.copy(), spread.copy()
        self._place(vertices, spread)

    def carve(self, voxels: NDArray[np.uint8], anatomy_T_index: Array, low: Array, high: Array) -> None:
        """Leave out what is gone: inside it the distance is that to the wall of the cavity, or less.

        Args:
            voxels: Not 0 where a voxel is gone in the scan, shape (ni, nj, nk).
            anatomy_T_index: Maps voxel indices to the scan, shape (4, 4).
            low: Least index of the voxels that went, shape (3,).
            high: Greatest index of them, shape (3,).
        """
        known = (low, high) if self._carved is None else self._carved[2:]
        self._carved = voxels, anatomy_T_index, np.minimum(low, known[0]), np.maximum(high, known[1])
        if self.is_gone:
            return
        if self._cavity is None:
            rest = MovingSurface(self._rest)
            self._cavity = MovingCavity(self._rest.vertices, lambda points: rest.query(points).distances)
            self._told = self.tree.vertices.copy(), self.tree.sigma.copy()
        self._cavity.update(voxels, anatomy_T_index, low, high)
        self._place(*self._told)

    def restore(self) -> None:
        """Bring everything back that was left out."""
        self._carved = None
        if self._cavity is not None:
            self._cavity = None
            self._place(*self._told)

    def _place(self, vertices: Array, sigma: Array) -> None:
        cavity = self._cavity
        if cavity is not None:
            vertices, sigma = cavity.move(vertices, sigma)
        self.tree = self.tree._replace(cavity=no_cavity() if cavity is None else cavity.cavity)
        moving_tree_kernels.place(vertices, sigma, self.tree, *self._blocks)

    def at_rest(self) -> 'MovingSurface':
        """Return another one, as the surface was at the beginning."""
        return MovingSurface(self._whole)

    def _checked_motion(self, vertices: Array) -> float:
        """Return by how much the vertices may move before the volume is looked at again [m]; refuse one inside out.

        A motion by s changes the volume by no more than s times the area, so that a share of volume over area is safe.
        """
        volume, area = moving_tree_kernels.extent(vertices, self.tree.triangles)
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


class CarvedMoving:
    """A surface that deforms and follows a drill, as `CarvedGrid` does for one that keeps its shape.

    Args:
        surface: Begun with the structure as in the scan.
    """

    def __init__(self, surface: MovingSurface) -> None:
        self._surface = surface

    def reset(self) -> MovingSurface:
        """Bring everything back, and return the surface."""
        self._surface.restore()
        return self._surface

    def update(self, voxels: NDArray[np.uint8], anatomy_T_index: Array, low: Array, high: Array) -> MovingSurface:
        """Leave out what is gone, see `MovingSurface.carve`, and return the surface."""
        self._surface.carve(voxels, anatomy_T_index, low, high)
        return self._surface


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
