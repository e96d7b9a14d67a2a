"""Pieces of a surface that do not hang together: which lie in which, and which of them is inside out.

Which lie in which is asked by rays: how often one leaves a closed piece more than it enters it says how often the piece
goes round the ray's start.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_ROUNDING = 4.0 * 2.0**-23  # of a coordinate; a few steps of float32, in which most meshes are written
_MAX_PIECES = 2000  # more are a sponge or noise; which of them lie in which is not asked
_LOOKED_AT = 8  # vertices of a piece, by which it is told from one that only reaches into another
_ANY_WAY = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])  # a turn: rays along no lattice


def orient_pieces(surface: Surface) -> Surface:
    """Turn the closed pieces that are inside out; a hollow, which lies inside another piece, stays turned inwards.

    Args:
        surface: Any; one that is not watertight is returned as it is.

    Raises:
        InputError: ANATOMY_REFUSED for a piece that lies in another one and is turned outwards as that is: inside and
            outside would be told wrongly about it, and its volume counted twice.
    """
    if not surface.is_watertight:
        return surface
    count, piece = _pieces(surface)
    if not 1 < count <= _MAX_PIECES:
        return surface
    nesting = _Nesting(surface, piece, count)
    volumes = _volumes(surface, piece, count)
    inverted = [int(n) for n in np.flatnonzero(volumes < 0.0) if not nesting.is_within(int(n))]
    twice = [int(n) for n in np.flatnonzero(volumes > 0.0) if nesting.is_within(int(n), whole=True)]
    if twice:
        size = 1e6 * float(volumes[twice].sum())
        raise InputError(
            f'surface {surface.name!r}: {len(twice)} of {count} closed pieces lie inside another one and are turned '
            f'outwards like it ({size:.3g} ml would count twice): turn a hollow inwards, keep what is a structure of '
            'its own in a file of its own',
            code='ANATOMY_REFUSED',
        )
    if not inverted:
        return surface
    triangles = surface.triangles.copy()
    turned = np.isin(piece, inverted)
    triangles[turned] = triangles[turned][:, ::-1]
    report = replace(surface.report, turned_pieces=len(inverted))
    return Surface(surface.name, surface.vertices, np.ascontiguousarray(triangles), report)


def weld(surface: Surface) -> Surface:
    """Merge vertices that differ by rounding only, where that closes the surface; else return it as it is.

    Some writers of STL round each corner of a triangle on its own, so that equal points differ in the last digit.
    """
    if surface.report.open_edges == 0:
        return surface
    tolerance = _ROUNDING * float(np.abs(surface.vertices).max())
    pairs = cKDTree(surface.vertices).query_pairs(tolerance, output_type='ndarray')
    if len(pairs) == 0:
        return surface
    count = len(surface.vertices)
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, group = connected_components(links, directed=False)
    _, first = np.unique(group, return_index=True)
    merged = make_surface(surface.name, surface.vertices, first[group][surface.triangles])
    if not merged.is_watertight:
        return surface
    vertices = surface.report.merged_vertices + count - len(merged.vertices)
    return replace(merged, report=replace(merged.report, merged_vertices=vertices))


def _pieces(surface: Surface) -> tuple[int, NDArray[np.int32]]:
    """Return the number of pieces and the piece of each triangle, by the vertices that they share."""
    a, b, c = surface.triangles.T
    count = len(surface.vertices)
    ones = np.ones(2 * len(a), np.int8)
    links = coo_array((ones, (np.concatenate([a, b]), np.concatenate([b, c]))), shape=(count, count))
    pieces, of_vertex = connected_components(links, directed=False)
    return int(pieces), of_vertex[a]


def _volumes(surface: Surface, piece: NDArray[np.int32], count: int) -> Array:
    """Signed volume of each piece [m³]."""
    centred = surface.vertices - surface.vertices.mean(axis=0)
    parts = np.sum(centred[surface.triangles[:, 0]] * surface.area_vectors, axis=1) / 6.0
    return np.asarray(np.bincount(piece, weights=parts, minlength=count))


class _Nesting:
    """Which pieces lie in which.

    Args:
        surface: Watertight.
        piece: Piece of each triangle, shape (m,).
        count: Number of pieces.
    """

    def __init__(self, surface: Surface, piece: NDArray[np.int32], count: int) -> None:
        self._piece, self._count = piece, count
        self._corners = (surface.vertices @ _ANY_WAY.T)[surface.triangles]
        self._low, self._high = self._corners.min(axis=1), self._corners.max(axis=1)
        self._boxes = np.full((2, count, 3), np.inf)
        np.minimum.at(self._boxes[0], piece, self._low)
        np.minimum.at(self._boxes[1], piece, -self._high)

    def is_within(self, number: int, *, whole: bool = False) -> bool:
        """Whether a piece lies inside an odd number of others; `whole`: with all of its vertices, as far as asked."""
        own = np.asarray((self._boxes[:, [number]] >= self._boxes).all(axis=(0, 2)))
        own[number] = False
        if not own.any():
            return False  # its box lies in no other one
        vertices = np.unique(self._corners[self._piece == number].reshape(-1, 3), axis=0)
        asked = vertices[:: max(1, len(vertices) // _LOOKED_AT)] if whole else vertices[:1]
        first = self._around(asked[0], number)
        if np.count_nonzero(first) % 2 == 0:
            return False
        return all(np.array_equal(self._around(point, number), first) for point in asked[1:])

    def _around(self, point: Array, number: int) -> NDArray[np.bool_]:
        """Return which pieces but one go round a point, by what a ray from it upward leaves and enters, shape (k,)."""
        met = (self._low[:, :2] <= point[:2]).all(axis=1) & (self._high[:, :2] >= point[:2]).all(axis=1)
        met &= (self._high[:, 2] >= point[2]) & (self._piece != number)
        found = np.flatnonzero(met)
        a, b, c = (self._corners[found, k] - point for k in range(3))
        shares = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)])
        leaves = (shares >= 0.0).all(axis=0).astype(int) - (shares <= 0.0).all(axis=0)
        total = shares.sum(axis=0)
        height = (shares * np.stack([a[:, 2], b[:, 2], c[:, 2]])).sum(axis=0)
        above = height * np.sign(total) > 0.0
        turns = np.bincount(self._piece[found], weights=leaves * above, minlength=self._count)
        return np.asarray(turns != 0.0)


def _cross(a: Array, b: Array) -> Array:
    """Return twice the area that two vectors span seen from above [m²], shape (k,)."""
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
