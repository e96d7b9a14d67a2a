"""A closed surface of which a cut took a part: what is left, closed by the cut face.

How far each vertex lay beyond the cut is all that is needed: an edge from what is left to what is gone is cut where
that is linearly 0, and the rims are closed by triangles. Each new vertex lies on an old edge, so the surface goes along
with the old vertices wherever they move. The cut face is spanned between its rims.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy import cut_kernels
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_LEAST = 1e-7  # m; a vertex nearer to the cut than this is left, so that no triangle is without an area


@dataclass(frozen=True, eq=False)
class CutSurface:
    """What is left of a surface.

    Args:
        ends: The vertices of the whole surface that each vertex lies between, shape (n, 2).
        share: How far it is from the first to the second, 0 … 1, shape (n,).
        triangles: Closed and outward, shape (m, 3).
    """

    ends: NDArray[np.int64]
    share: Array
    triangles: NDArray[np.int32]

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left."""
        return len(self.triangles) == 0

    def between(self, values: Array) -> Array:
        """Return values of the whole surface (k, …) at the vertices of this one (n, …)."""
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray((1.0 - share) * values[self.ends[:, 0]] + share * values[self.ends[:, 1]])


def cut_surface(vertices: Array, triangles: NDArray[np.integer], beyond: ArrayLike) -> CutSurface:
    """Return what is left.

    Args:
        vertices: Of a closed surface, about as they lay when it was cut [m], shape (k, 3).
        triangles: Outward, shape (t, 3).
        beyond: How far each vertex lay beyond the cut, negative on the side that is left [m], shape (k,).

    Raises:
        InputError: another shape; NOT_FINITE.
    """
    height = np.array(beyond, np.float64)
    if height.shape != (len(vertices),):
        raise InputError(f'beyond: expected shape ({len(vertices)},), got {height.shape}')
    if not np.isfinite(height).all():
        raise InputError('beyond has NaN or Inf', code='NOT_FINITE')
    height[np.abs(height) < _LEAST] = -_LEAST
    gone = height > 0.0
    count = gone[triangles].sum(axis=1)
    one, two = _led_by(triangles, gone, 1), _led_by(triangles, gone, 2)
    pairs = np.concatenate([one[:, [1, 0]], one[:, [2, 0]], two[:, [0, 1]], two[:, [0, 2]]])  # left, gone
    edges, place = np.unique(pairs, axis=0, return_inverse=True)
    new = place.ravel() + len(vertices)
    near, far, first, last = np.split(new, np.cumsum([len(one), len(one), len(two)]))
    parts = [
        triangles[count == 0],
        np.stack([one[:, 1], one[:, 2], far], axis=1),
        np.stack([one[:, 1], far, near], axis=1),
        np.stack([two[:, 0], first, last], axis=1),
    ]
    rim = np.concatenate([np.stack([far, near], axis=1), np.stack([first, last], axis=1)])
    ends = np.concatenate([np.repeat(np.arange(len(vertices))[:, None], 2, axis=1), edges])
    share = np.zeros(len(ends))
    low, high = height[edges[:, 0]], height[edges[:, 1]]
    share[len(vertices) :] = low / (low - high)
    whole = CutSurface(ends, share, np.empty((0, 3), np.int32))
    towards = vertices[edges[:, 1]] - vertices[edges[:, 0]]
    parts.append(_faces(rim, whole.between(vertices), towards, len(vertices)))
    found = np.concatenate(parts)
    used, index = np.unique(found, return_inverse=True)
    return CutSurface(ends[used], share[used], index.reshape(-1, 3).astype(np.int32))


def _led_by(triangles: NDArray[np.integer], gone: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return the triangles with so many corners gone, turned so that the corner that differs comes first."""
    some = triangles[gone[triangles].sum(axis=1) == count].astype(np.int64)
    odd = np.argmax(gone[some] == (count == 1), axis=1)
    return np.asarray(some[np.arange(len(some))[:, None], (odd[:, None] + np.arange(3)) % 3])


def _faces(rim: NDArray[np.int64], places: Array, towards: Array, first: int) -> NDArray[np.int64]:
    """Return the triangles that close the rims, shape (f, 3).

    Args:
        rim: Edges of what is left where it is open, shape (e, 2).
        places: All vertices [m], shape (n, 3).
        towards: From what is left to what is gone at each vertex of the rims [m], shape (n - first, 3).
        first: The first vertex of a rim.
    """
    outer: list[tuple[NDArray[np.int64], Array]] = []
    holes: list[tuple[NDArray[np.int64], Array]] = []
    for loop in _loops(rim):
        ring = places[loop]
        area = 0.5 * np.cross(ring - ring[0], np.roll(ring, -1, axis=0) - ring[0]).sum(axis=0)
        (outer if area @ towards[loop - first].sum(axis=0) >= 0.0 else holes).append((loop, area))
    outer.sort(key=lambda one: float(np.linalg.norm(one[1])))
    rings = [_flat(places, area) for _, area in outer]
    within: list[list[NDArray[np.int64]]] = [[] for _ in outer]
    lone = []
    for loop, area in holes:
        owners = [at for at, (ring, _) in enumerate(outer) if _holds(rings[at], ring, loop)]
        if owners:  # the nearest face, of those the smallest
            within[min(owners, key=lambda at: round(_off(places, loop, *outer[at]), 3))].append(loop)
        else:
            lone.append((loop, _flat(places, area)))
    found = [np.empty((0, 3), np.int64)]
    for (loop, _), flat, inside in zip(outer, rings, within, strict=True):
        joined = _joined(flat, loop, inside)
        found.append(joined[cut_kernels.ears(np.ascontiguousarray(flat[joined]))])
    found += [loop[cut_kernels.ears(np.ascontiguousarray(flat[loop]))] for loop, flat in lone]
    return np.concatenate(found)


def _loops(rim: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the loops, turned so that the face inside fits to what is left: against the rim."""
    before = dict(rim[:, ::-1].tolist())
    loops = []
    while before:
        start, at = next(iter(before.items()))
        loop = [start]
        del before[start]
        while at != start:
            loop.append(at)
            at = before.pop(at)
        loops.append(np.array(loop, np.int64))
    return loops


def _flat(places: Array, normal: Array) -> Array:
    """Return places seen against a normal, shape (n, 2)."""
    z = normal / max(float(np.linalg.norm(normal)), 1e-300)
    x = np.cross(z, np.eye(3)[int(np.argmin(np.abs(z)))])
    x /= max(float(np.linalg.norm(x)), 1e-300)
    return np.asarray(places @ np.stack([x, np.cross(z, x)], axis=1))


def _holds(flat: Array, ring: NDArray[np.int64], loop: NDArray[np.int64]) -> bool:
    """Whether the first vertex of a loop lies within a ring: a ray crosses it an odd number of times."""
    (x, y), a, b = flat[loop[0]], flat[ring], flat[np.roll(ring, -1)]
    over = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(over, b[:, 1] - a[:, 1], 1.0)
    return bool((over & (x < a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise)).sum() % 2)


def _off(places: Array, loop: NDArray[np.int64], ring: NDArray[np.int64], area: Array) -> float:
    """Return how far a loop lies off the plane of a ring [m]."""
    return abs(float((places[loop].mean(axis=0) - places[ring].mean(axis=0)) @ area)) / float(np.linalg.norm(area))


def _joined(flat: Array, ring: NDArray[np.int64], holes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return a ring and the holes in it as one, joined by doubled edges that cross nothing (Eberly 2002)."""
    for hole in sorted(holes, key=lambda one: -float(flat[one, 0].max())):
        at = int(np.argmax(flat[hole, 0]))
        place = flat[hole[at]]
        order = np.argsort(np.linalg.norm(flat[ring] - place, axis=1), kind='stable')
        walls = np.concatenate([_sides(ring), *map(_sides, holes)])
        clear = (one for one in order if not _crosses(flat, int(ring[one]), int(hole[at]), walls))
        to = int(next(clear, order[0]))
        ring = np.concatenate([ring[: to + 1], np.roll(hole, -at), hole[at : at + 1], ring[to:]])
    return ring


def _sides(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([ring, np.roll(ring, -1)], axis=1)


def _crosses(flat: Array, start: int, end: int, walls: NDArray[np.int64]) -> bool:
    """Whether the way from one vertex to another crosses a wall (w, 2) that has neither at an end."""
    others = walls[~((walls == start) | (walls == end)).any(axis=1)]
    p, q, a, b = flat[start], flat[end], flat[others[:, 0]], flat[others[:, 1]]

    def side(u: Array, v: Array, w: Array) -> Array:
        return np.asarray((v[..., 0] - u[..., 0]) * (w[..., 1] - u[..., 1])
                          - (v[..., 1] - u[..., 1]) * (w[..., 0] - u[..., 0]))  # fmt: skip

    return bool(((side(p, q, a) * side(p, q, b) <= 0.0) & (side(a, b, p) * side(a, b, q) <= 0.0)).any())
