"""Triangle surfaces of anatomical structures: cleaned once, checked once, then believed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.refusal import check_extent, check_mesh, refusal
from twin_nodes.core.geometry.se3 import Array

Triangles = NDArray[np.int32]


@dataclass(frozen=True)
class SurfaceReport:
    """What was found and mended while a surface was taken in.

    Args:
        merged_vertices: Vertices that had the same coordinates as another one.
        dropped_triangles: Triangles of exactly zero area.
        unused_vertices: Vertices that no triangle uses.
        flipped: Whether all triangles were turned, because they enclosed a negative volume.
        open_edges: Edges that only one triangle uses.
        bad_edges: Edges that more than two triangles use, or two in the same direction.
        turned_pieces: Closed pieces that were inside out and were turned, see `orient_pieces`.
    """

    merged_vertices: int = 0
    dropped_triangles: int = 0
    unused_vertices: int = 0
    flipped: bool = False
    open_edges: int = 0
    bad_edges: int = 0
    turned_pieces: int = 0


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle surface in the anatomy frame; `make_surface` builds one from untrusted arrays.

    Args:
        name: Name of the structure.
        vertices: Vertices in the anatomy frame [m], shape (n, 3).
        triangles: Vertex indices, counter-clockwise seen from outside, shape (m, 3).
        report: What was mended and what is still open.
    """

    name: str
    vertices: Array
    triangles: Triangles
    report: SurfaceReport = SurfaceReport()

    @property
    def is_watertight(self) -> bool:
        """Whether each edge is used exactly twice, in opposite directions: then inside and outside are defined."""
        return self.report.open_edges == 0 and self.report.bad_edges == 0

    @cached_property
    def bounds(self) -> Array:
        """Lower and upper corner [m], shape (2, 3)."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @property
    def diagonal(self) -> float:
        """Diagonal of the bounding box [m]."""
        return float(np.linalg.norm(self.bounds[1] - self.bounds[0]))

    @cached_property
    def area_vectors(self) -> Array:
        """Normals scaled by twice the area [m²], shape (m, 3)."""
        return _area_vectors(self.vertices, self.triangles)

    @property
    def face_normals(self) -> Array:
        """Unit normals of the triangles, outward, shape (m, 3)."""
        return np.asarray(self.area_vectors / np.linalg.norm(self.area_vectors, axis=1, keepdims=True))

    @cached_property
    def vertex_normals(self) -> Array:
        """Angle-weighted unit normals of the vertices, shape (n, 3) (Thürmer and Wüthrich 1998)."""
        normals = np.zeros_like(self.vertices)
        corners = self.vertices[self.triangles]
        for corner in range(3):
            to_next = corners[:, (corner + 1) % 3] - corners[:, corner]
            to_last = corners[:, (corner + 2) % 3] - corners[:, corner]
            angle = np.arctan2(np.linalg.norm(self.area_vectors, axis=1), np.sum(to_next * to_last, axis=1))
            np.add.at(normals, self.triangles[:, corner], angle[:, None] * self.face_normals)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.asarray(normals / np.where(length > 0.0, length, 1.0))

    @property
    def area(self) -> float:
        """Area [m²]."""
        return float(0.5 * np.linalg.norm(self.area_vectors, axis=1).sum())

    @property
    def volume(self) -> float:
        """Enclosed volume [m³] by the divergence theorem; it has a meaning only when watertight."""
        return _volume(self.vertices, self.triangles)


def make_surface(name: str, vertices: ArrayLike, triangles: ArrayLike) -> Surface:
    """Check and clean untrusted arrays: merge equal vertices, drop triangles of no area, turn an inside-out surface.

    Args:
        name: Name of the structure.
        vertices: Vertices in the anatomy frame [m], shape (n, 3).
        triangles: Vertex indices, shape (m, 3).

    Raises:
        InputError: ANATOMY_REFUSED for wrong shapes, NaN or Inf, indices out of range, nothing left, or a size that
            no anatomy has (diagonal outside 1 mm … 5 m); the message carries the counts.
    """
    points = np.asarray(vertices, dtype=np.float64)
    indices = np.asarray(triangles)
    where = f'surface {name!r}'
    check_mesh(where, points, indices, words=('vertices', 'triangles'), corners=3)
    points, indices, merged, unused = _merge(points, indices.astype(np.int64))
    squared_area = np.sum(_area_vectors(points, indices) ** 2, axis=1)
    kept = indices[squared_area > 0.0]
    dropped = len(indices) - len(kept)
    if len(kept) == 0:
        raise refusal(where, f'all {len(indices)} triangles have no area')
    check_extent(where, points[kept])
    open_edges, bad_edges = count_edge_faults(kept)
    flipped = open_edges == 0 and bad_edges == 0 and _volume(points, kept) < 0.0
    if flipped:
        kept = kept[:, ::-1]
    report = SurfaceReport(merged, dropped, unused, flipped, open_edges, bad_edges)
    return Surface(name, points, np.ascontiguousarray(kept, dtype=np.int32), report)


def count_edge_faults(triangles: NDArray[np.integer]) -> tuple[int, int]:
    """Count the edges used once, and those used more than twice or twice in the same direction."""
    start = triangles.astype(np.int64).ravel()
    end = np.roll(triangles, -1, axis=1).astype(np.int64).ravel()
    key = np.minimum(start, end) * (int(start.max()) + 1) + np.maximum(start, end)
    direction = np.where(start < end, 1, -1)
    order = np.argsort(key, kind='stable')
    heads = np.flatnonzero(np.diff(key[order], prepend=-1))
    uses = np.diff(heads, append=len(key))
    balance = np.add.reduceat(direction[order], heads)
    return int(np.sum(uses == 1)), int(np.sum((uses > 2) | ((uses == 2) & (balance != 0))))


def _merge(vertices: Array, triangles: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64], int, int]:
    """Give equal points one index, in order of first use, and drop the points that are not used."""
    used, compact = np.unique(triangles, return_inverse=True)
    points = vertices[used] + 0.0  # -0.0 and 0.0 are one point
    order = np.lexsort(points.T)
    new = np.append(True, (np.diff(points[order], axis=0) != 0.0).any(axis=1))
    group = np.empty(len(points), np.int64)
    group[order] = np.cumsum(new) - 1
    first = np.full(int(new.sum()), len(points), np.int64)
    np.minimum.at(first, group, np.arange(len(points)))
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    merged = np.ascontiguousarray(points[np.sort(first)])
    indices = rank[group[compact.reshape(triangles.shape)]]
    return merged, indices, len(points) - len(merged), len(vertices) - len(used)


def _area_vectors(vertices: Array, triangles: NDArray[np.integer]) -> Array:
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return np.asarray(np.cross(b - a, c - a))


def _volume(vertices: Array, triangles: NDArray[np.integer]) -> float:
    centred = vertices - vertices.mean(axis=0)
    return float(np.sum(centred[triangles[:, 0]] * _area_vectors(centred, triangles)) / 6.0)
