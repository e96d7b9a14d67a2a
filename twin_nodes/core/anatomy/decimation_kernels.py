"""Compiled kernels of decimation: collapse of edges by quadric error (Garland and Heckbert 1997) under a limit."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.corner_kernels import corners_at
from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

_LEAST_COSINE = 0.3  # between the old and the new normal of a triangle
_LEAST_SHAPE = 0.04  # twice the area over the longest edge squared, unless it was worse before
_MAX_RING = 64


@njit(cache=True)
def plane_quadrics(points: Any, triangles: Any) -> Any:
    """Return for each vertex the sum of the squared distances to the planes of its triangles, shape (n, 10)."""
    quadrics = np.zeros((len(points), 10))
    for t in range(len(triangles)):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        nx, ny, nz = _normal(a, b, c)
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        if length == 0.0:
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        d = -(nx * a[0] + ny * a[1] + nz * a[2])
        for corner in range(3):
            q = quadrics[triangles[t, corner]]
            q[0] += nx * nx
            q[1] += nx * ny
            q[2] += nx * nz
            q[3] += nx * d
            q[4] += ny * ny
            q[5] += ny * nz
            q[6] += ny * d
            q[7] += nz * nz
            q[8] += nz * d
            q[9] += d * d
    return quadrics


@njit(cache=True)
def _normal(a: Any, b: Any, c: Any) -> tuple[float, float, float]:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@njit(cache=True)
def _error(q: Any, p: Any) -> float:
    x, y, z = p[0], p[1], p[2]
    return float(
        q[0] * x * x
        + 2.0 * q[1] * x * y
        + 2.0 * q[2] * x * z
        + 2.0 * q[3] * x
        + q[4] * y * y
        + 2.0 * q[5] * y * z
        + 2.0 * q[6] * y
        + q[7] * z * z
        + 2.0 * q[8] * z
        + q[9]
    )


@njit(cache=True)
def _best_place(q: Any, a: Any, b: Any, place: Any) -> float:
    """Write the place of least error near the edge a b and return its error; the middle where no place is best."""
    for axis in range(3):
        place[axis] = 0.5 * (a[axis] + b[axis])
    error = _error(q, place)
    c00, c01, c02 = q[4] * q[7] - q[5] * q[5], q[2] * q[5] - q[1] * q[7], q[1] * q[5] - q[2] * q[4]
    determinant = q[0] * c00 + q[1] * c01 + q[2] * c02
    trace = q[0] + q[4] + q[7]
    if determinant > 1e-4 * trace * trace * trace:
        c11, c12, c22 = q[0] * q[7] - q[2] * q[2], q[1] * q[2] - q[0] * q[5], q[0] * q[4] - q[1] * q[1]
        x = -(c00 * q[3] + c01 * q[6] + c02 * q[8]) / determinant
        y = -(c01 * q[3] + c11 * q[6] + c12 * q[8]) / determinant
        z = -(c02 * q[3] + c12 * q[6] + c22 * q[8]) / determinant
        length2 = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
        if (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2 <= length2:
            place[0], place[1], place[2] = x, y, z
            return _error(q, place)
    for end in (a, b):
        other = _error(q, end)
        if other < error:
            error = other
            place[0], place[1], place[2] = end[0], end[1], end[2]
    return error


@njit(cache=True)
def _ring_of(v: int, triangles: Any, starts: Any, owners: Any, ring: Any) -> int:
    """Write the neighbours of a vertex on a closed surface and return how many; -1 when there are too many."""
    n = 0
    for e in range(starts[v], starts[v + 1]):
        t = owners[e]
        for corner in range(3):
            if triangles[t, corner] == v:
                if n == _MAX_RING:
                    return -1
                ring[n] = triangles[t, (corner + 1) % 3]
                n += 1
    return n


@njit(cache=True)
def _keeps_shape(v: int, w: int, place: Any, points: Any, triangles: Any, starts: Any, owners: Any) -> bool:
    """Whether no triangle of v without w turns over or becomes a sliver when v moves."""
    for e in range(starts[v], starts[v + 1]):
        t = owners[e]
        corner = 0
        for c in range(3):
            if triangles[t, c] == v:
                corner = c
        i, j = triangles[t, (corner + 1) % 3], triangles[t, (corner + 2) % 3]
        if i == w or j == w:
            continue
        p, q = points[i], points[j]
        ox, oy, oz = _normal(points[v], p, q)
        nx, ny, nz = _normal(place, p, q)
        old, new = math.sqrt(ox * ox + oy * oy + oz * oz), math.sqrt(nx * nx + ny * ny + nz * nz)
        if ox * nx + oy * ny + oz * nz < _LEAST_COSINE * old * new or new == 0.0:
            return False
        side = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2
        before, after = side, side
        for end in (p, q):
            own = points[v]
            before = max(before, (own[0] - end[0]) ** 2 + (own[1] - end[1]) ** 2 + (own[2] - end[2]) ** 2)
            after = max(after, (place[0] - end[0]) ** 2 + (place[1] - end[1]) ** 2 + (place[2] - end[2]) ** 2)
        if new < _LEAST_SHAPE * after and new / after < old / before:
            return False
    return True


@njit(cache=True)
def collapse(points: Any, quadrics: Any, triangles: Any, limits: Any, share: float) -> tuple[int, Any]:
    """Collapse edges once over whose error is below a share of the limit; what one touches is left until the next call.

    Each collapse keeps the surface a closed manifold (the two ends share two neighbours: the link condition) and turns
    no triangle over.

    Args:
        points: Vertices [m], shape (n, 3); changed.
        quadrics: Of the vertices, shape (n, 10); changed.
        triangles: Outward triangles of a closed surface, shape (m, 3); changed.
        limits: Largest distance to the planes of the vertices [m], shape (n,).
        share: Of the limits.

    Returns:
        The number of collapses, and the triangles left.
    """
    starts, corners = corners_at(triangles, len(points))
    owners = corners // 3
    locked = np.zeros(len(points), np.bool_)
    dead = np.zeros(len(triangles), np.bool_)
    ring, other = np.empty(_MAX_RING, np.int32), np.empty(_MAX_RING, np.int32)
    place, q = np.empty(3), np.empty(10)
    done = 0
    for t in range(len(triangles)):
        if dead[t]:
            continue
        for corner in range(3):
            v, w = triangles[t, corner], triangles[t, (corner + 1) % 3]
            if v > w or locked[v] or locked[w]:
                continue
            for term in range(10):
                q[term] = quadrics[v, term] + quadrics[w, term]
            limit = share * min(limits[v], limits[w])
            if _best_place(q, points[v], points[w], place) > limit * limit:
                continue
            n, m = _ring_of(v, triangles, starts, owners, ring), _ring_of(w, triangles, starts, owners, other)
            if n < 0 or m < 0 or n + m < 8:
                continue
            common = 0
            for a in range(n):
                for b in range(m):
                    common += ring[a] == other[b]
            if common != 2:
                continue
            if not _keeps_shape(v, w, place, points, triangles, starts, owners):
                continue
            if not _keeps_shape(w, v, place, points, triangles, starts, owners):
                continue
            for e in range(starts[w], starts[w + 1]):
                s = owners[e]
                for c in range(3):
                    if triangles[s, c] == v:
                        dead[s] = True
                for c in range(3):
                    if triangles[s, c] == w:
                        triangles[s, c] = v
            points[v] = place
            quadrics[v] = q
            limits[v] = min(limits[v], limits[w])
            for a in range(n):
                locked[ring[a]] = True
            for b in range(m):
                locked[other[b]] = True
            locked[v] = locked[w] = True
            done += 1
            break
    return done, triangles[~dead]


@njit(cache=True)
def gaps(points: Any, corners: Any, reach: float) -> Any:
    """Return the distance [m] of each point (k, 3) to the nearest of the triangles (m, 3, 3), inf beyond the reach."""
    low = np.empty(3)
    counts = np.empty(3, np.int64)
    cell = 2.0 * reach
    for axis in range(3):
        low[axis] = points[:, axis].min() - reach
        counts[axis] = int((points[:, axis].max() - low[axis]) / cell) + 1
    while counts[0] * counts[1] * counts[2] > 16 * len(points) + 4096:
        cell *= 1.26
        for axis in range(3):
            counts[axis] = int((points[:, axis].max() - low[axis]) / cell) + 1
    cells = counts[0] * counts[1] * counts[2]
    starts = np.zeros(cells + 1, np.int64)
    home = np.empty(len(points), np.int64)
    for n in range(len(points)):
        home[n] = (int((points[n, 0] - low[0]) / cell) * counts[1] + int((points[n, 1] - low[1]) / cell)) * counts[
            2
        ] + int((points[n, 2] - low[2]) / cell)
        starts[home[n] + 1] += 1
    for c in range(cells):
        starts[c + 1] += starts[c]
    order, place = np.empty(len(points), np.int64), starts[:-1].copy()
    for n in range(len(points)):
        order[place[home[n]]] = n
        place[home[n]] += 1
    squared = np.full(len(points), np.inf)
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for t in range(len(corners)):
        tri = corners[t]
        for axis in range(3):
            least = min(tri[0, axis], tri[1, axis], tri[2, axis]) - reach
            most = max(tri[0, axis], tri[1, axis], tri[2, axis]) + reach
            first[axis] = max(0, math.floor((least - low[axis]) / cell))
            last[axis] = min(counts[axis] - 1, math.floor((most - low[axis]) / cell))
        for i in range(first[0], last[0] + 1):
            for j in range(first[1], last[1] + 1):
                row = (i * counts[1] + j) * counts[2]
                if first[2] > last[2]:
                    continue
                for e in range(starts[row + first[2]], starts[row + last[2] + 1]):
                    n = order[e]
                    squared[n] = min(squared[n], closest_on_triangle(points[n, 0], points[n, 1], points[n, 2], tri)[0])
    for n in range(len(points)):
        squared[n] = math.sqrt(squared[n]) if squared[n] <= reach * reach else np.inf
    return squared
