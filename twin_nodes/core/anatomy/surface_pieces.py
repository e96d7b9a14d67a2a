"""Pieces of a surface that do not hang together: which lie in which, and which of them is inside out."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.geometry.se3 import Array

_ROUNDING = 4.0 * 2.0**-23  # of a coordinate; a few steps of float32, in which most meshes are written
_MAX_PIECES = 2000  # more are a sponge or noise; which of them lie in which is not asked


def orient_pieces(surface: Surface) -> Surface:
    """Turn the closed pieces that are inside out; a hollow, which lies inside another piece, stays turned inwards.

    Args:
        surface: Any; one that is not watertight is returned as it is.
    """
    if not surface.is_watertight:
        return surface
    count, piece = _pieces(surface)
    if not 1 < count <= _MAX_PIECES:
        return surface
    volumes = _volumes(surface, piece, count)
    inverted = [int(n) for n in np.flatnonzero(volumes < 0.0) if not _is_hollow(surface, piece, int(n), count)]
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


def _is_hollow(surface: Surface, piece: NDArray[np.int32], number: int, count: int) -> bool:
    """Whether a piece lies inside an odd number of others."""
    point = surface.vertices[surface.triangles[piece == number][0, 0]]
    corners = surface.vertices[surface.triangles] - point
    lengths = np.linalg.norm(corners, axis=2)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    la, lb, lc = lengths.T
    triple = np.sum(a * np.cross(b, c), axis=1)
    below = la * lb * lc + np.sum(a * b, axis=1) * lc + np.sum(b * c, axis=1) * la + np.sum(c * a, axis=1) * lb
    angle = 2.0 * np.arctan2(triple, below)  # solid angle of each triangle (Van Oosterom and Strackee 1983)
    around = np.abs(np.bincount(piece, weights=angle, minlength=count)) > 2.0 * np.pi
    around[number] = False
    return bool(np.count_nonzero(around) % 2)
