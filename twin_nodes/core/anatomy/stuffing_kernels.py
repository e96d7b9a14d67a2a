"""Compiled kernels of isosurface stuffing (Labelle and Shewchuk 2007) on a body-centred cubic lattice.

A node of the lattice is a corner of a cube or its centre. Each tetrahedron has two long edges (length a, along the
axes), one between two centres and one between two corners, and four short ones (√3/2 a) between a centre and a corner.
Codes name the nodes of the result: a code below `count` is a node of the lattice, one above it is the point where the
surface cuts the edge (p, q), p < q, as count + p·count + q.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.distance_kernels import look_up

ALPHA_LONG = 0.24999  # Labelle and Shewchuk 2007, table 1: the pair with the best bound of the smallest angle
ALPHA_SHORT = 0.41189
_CUT_STEPS = 12


@njit(cache=True)
def node_id(x: int, y: int, z: int, nx: int, ny: int, nz: int) -> int:
    """Return the number of the node at (x, y, z) half cubes: all even for a corner, all odd for a centre."""
    if x & 1:
        return (nx + 1) * (ny + 1) * (nz + 1) + ((x >> 1) * ny + (y >> 1)) * nz + (z >> 1)
    return ((x >> 1) * (ny + 1) + (y >> 1)) * (nz + 1) + (z >> 1)


@njit(cache=True)
def lattice_nodes(low: Any, size: float, nx: int, ny: int, nz: int) -> Any:
    """Return the positions [m] of all corners, then of all centres, shape (n, 3)."""
    positions = np.empty(((nx + 1) * (ny + 1) * (nz + 1) + nx * ny * nz, 3))
    for odd in range(2):
        for i in range(nx + 1 - odd):
            for j in range(ny + 1 - odd):
                for k in range(nz + 1 - odd):
                    x, y, z = 2 * i + odd, 2 * j + odd, 2 * k + odd
                    node = node_id(x, y, z, nx, ny, nz)
                    positions[node, 0] = low[0] + 0.5 * size * x
                    positions[node, 1] = low[1] + 0.5 * size * y
                    positions[node, 2] = low[2] + 0.5 * size * z
    return positions


@njit(cache=True)
def depths(positions: Any, values: Any, origin: Any, spacing: float) -> Any:
    """Return the depth below the surface [m] (n,), positive inside."""
    depth = np.empty(len(positions))
    for n in range(len(positions)):
        depth[n] = -look_up(
            values, origin[0], origin[1], origin[2], spacing, positions[n, 0], positions[n, 1], positions[n, 2]
        )[0]
    return depth


@njit(cache=True)
def cut_fraction(p: Any, q: Any, depth_p: float, depth_q: float, values: Any, origin: Any, spacing: float) -> float:
    """Return where between p (0) and q (1) the surface cuts, by the Illinois form of regula falsi."""
    low, high, at_low, at_high = 0.0, 1.0, depth_p, depth_q
    side = 0
    middle = 0.5
    for _ in range(_CUT_STEPS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at = -look_up(
            values,
            origin[0],
            origin[1],
            origin[2],
            spacing,
            p[0] + middle * (q[0] - p[0]),
            p[1] + middle * (q[1] - p[1]),
            p[2] + middle * (q[2] - p[2]),
        )[0]
        if abs(at) < 1e-7 * spacing:
            break
        if (at > 0.0) == (at_low > 0.0):
            low, at_low = middle, at
            if side == 1:
                at_high *= 0.5
            side = 1
        else:
            high, at_high = middle, at
            if side == -1:
                at_low *= 0.5
            side = -1
    return min(max(middle, 0.0), 1.0)


@njit(cache=True)
def warp(
    positions: Any, depth: Any, size: float, nx: int, ny: int, nz: int, values: Any, origin: Any, spacing: float
) -> int:
    """Move each node that lies too near to a cut onto the nearest one, and set its depth to 0; return how many.

    Nodes are taken in their order. A moved node has no cut edge any more, which is why the order cannot spoil a later
    one (section 3 of the paper).
    """
    moved = 0
    for odd in range(2):
        for i in range(nx + 1 - odd):
            for j in range(ny + 1 - odd):
                for k in range(nz + 1 - odd):
                    x, y, z = 2 * i + odd, 2 * j + odd, 2 * k + odd
                    node = node_id(x, y, z, nx, ny, nz)
                    if depth[node] == 0.0 or abs(depth[node]) > size:
                        continue
                    best, target = np.inf, -1
                    part = 0.0
                    for m in range(14):
                        if m < 6:
                            step = 2 if m & 1 else -2
                            dx = step if m >> 1 == 0 else 0
                            dy = step if m >> 1 == 1 else 0
                            dz = step if m >> 1 == 2 else 0
                            alpha, length = ALPHA_LONG, size
                        else:
                            dx = 1 if (m - 6) & 1 else -1
                            dy = 1 if (m - 6) & 2 else -1
                            dz = 1 if (m - 6) & 4 else -1
                            alpha, length = ALPHA_SHORT, size * math.sqrt(0.75)
                        u, v, w = x + dx, y + dy, z + dz
                        least = u & 1
                        if min(u, v, w) < least or u > 2 * nx - least or v > 2 * ny - least or w > 2 * nz - least:
                            continue
                        other = node_id(u, v, w, nx, ny, nz)
                        if depth[other] * depth[node] >= 0.0:
                            continue
                        t = cut_fraction(
                            positions[node], positions[other], depth[node], depth[other], values, origin, spacing
                        )
                        if t < alpha and t * length < best:
                            best, target, part = t * length, other, t
                    if target >= 0:
                        for c in range(3):
                            positions[node, c] += part * (positions[target, c] - positions[node, c])
                        depth[node] = 0.0
                        moved += 1
    return moved


@njit(cache=True)
def _point(code: int, count: int, positions: Any, depth: Any, values: Any, origin: Any, spacing: float) -> Any:
    if code < count:
        return positions[code, 0], positions[code, 1], positions[code, 2]
    p, q = (code - count) // count, (code - count) % count
    t = cut_fraction(positions[p], positions[q], depth[p], depth[q], values, origin, spacing)
    return (
        positions[p, 0] + t * (positions[q, 0] - positions[p, 0]),
        positions[p, 1] + t * (positions[q, 1] - positions[p, 1]),
        positions[p, 2] + t * (positions[q, 2] - positions[p, 2]),
    )


@njit(cache=True)
def points_of(codes: Any, positions: Any, depth: Any, values: Any, origin: Any, spacing: float) -> Any:
    """Return the positions [m] (n, 3) of codes (n,)."""
    points = np.empty((len(codes), 3))
    for n in range(len(codes)):
        points[n] = _point(codes[n], len(positions), positions, depth, values, origin, spacing)
    return points


@njit(cache=True)
def _cut(p: int, q: int, count: int) -> int:
    return count + min(p, q) * count + max(p, q)


@njit(cache=True)
def _even(p: Any, q: Any) -> bool:
    """Whether an even number of the coordinates of p are above those of q."""
    above = int(p[0] > q[0]) + int(p[1] > q[1]) + int(p[2] > q[2])
    return above % 2 == 0


@njit(cache=True)
def _runs_from(p: int, q: int, r: int, long_p: bool, long_q: bool, positions: Any) -> bool:
    """Whether the diagonal of the quad that the surface leaves of the face p q r starts at p and not at q.

    p and q lie inside, r outside. Both elements at the face must choose alike, and the choices around an edge must
    suit each other: the diagonal ends at the cut of the long edge, or follows the parity rule (section 3.2).

    Args:
        p: Node inside.
        q: Node inside.
        r: Node outside.
        long_p: Whether the edge p r is a long one.
        long_q: Whether the edge q r is a long one.
        positions: Of the nodes [m].
    """
    if long_p != long_q:
        return long_q
    return _even(positions[p], positions[r])


@njit(cache=True)
def _emit(out: Any, n: int, a: int, b: int, c: int, d: int, codes: Any, points: Any) -> int:
    """Write one tetrahedron of local corners with positive volume; return the new count."""
    volume = 0.0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        volume += (points[d, axis] - points[a, axis]) * (
            (points[b, u] - points[a, u]) * (points[c, v] - points[a, v])
            - (points[b, v] - points[a, v]) * (points[c, u] - points[a, u])
        )
    out[n, 0] = codes[a]
    out[n, 1] = codes[b] if volume > 0.0 else codes[c]
    out[n, 2] = codes[c] if volume > 0.0 else codes[b]
    out[n, 3] = codes[d]
    return n + 1


@njit(cache=True)
def _emit_prism(out: Any, n: int, first: Any, free: int, codes: Any, points: Any) -> int:
    """Cut the prism of local corners 0 1 2 (inside) and 3 4 5 (on the surface, or its second end) into three.

    first[q] says for the quad of the columns q and q+1 whether its diagonal runs from corner q to corner 3+(q+1): then
    column q+1 is raised before column q. Three equal answers fit no cut (Schönhardt): then the free quad turns.
    """
    if first[0] == first[1] and first[1] == first[2]:
        first[free] = not first[free]
    rank = np.zeros(3, np.int64)
    for q in range(3):
        rank[q if first[q] else (q + 1) % 3] += 1
    order = np.empty(3, np.int64)
    for q in range(3):
        order[rank[q]] = q
    r0, r1, r2 = order[0], order[1], order[2]
    n = _emit(out, n, r0, r1, r2, r0 + 3, codes, points)
    n = _emit(out, n, r0 + 3, r1, r2, r1 + 3, codes, points)
    return _emit(out, n, r0 + 3, r1 + 3, r2, r2 + 3, codes, points)


@njit(cache=True)
def _stuff_one(out: Any, n: int, tet: Any, positions: Any, depth: Any, values: Any, origin: Any, spacing: float) -> int:
    """Write what is inside of one tetrahedron of the lattice; corners 0 1 are centres, 2 3 are corners of cubes."""
    count = len(positions)
    inside, border, outside = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
    ni, nb, no = 0, 0, 0
    for c in range(4):
        if depth[tet[c]] > 0.0:
            inside[ni] = c
            ni += 1
        elif depth[tet[c]] == 0.0:
            border[nb] = c
            nb += 1
        else:
            outside[no] = c
            no += 1
    if ni == 0:
        return n
    codes = np.empty(6, np.int64)
    points = np.empty((6, 3))
    kinds = np.zeros(6, np.bool_)
    if no == 0 or ni == 1:  # whole, or its one corner with three points on the surface
        for c in range(4):
            codes[c] = tet[c] if depth[tet[c]] >= 0.0 else _cut(tet[inside[0]], tet[c], count)
        for c in range(4):
            points[c] = _point(codes[c], count, positions, depth, values, origin, spacing)
        return _emit(out, n, 0, 1, 2, 3, codes, points)
    if ni == 3:
        for c in range(3):
            codes[c] = tet[inside[c]]
            codes[c + 3] = _cut(tet[inside[c]], tet[outside[0]], count)
            kinds[c] = (inside[c] < 2) == (outside[0] < 2)
    elif no == 2:
        codes[0], codes[3] = tet[inside[0]], tet[inside[1]]
        for c in range(2):
            codes[1 + c] = _cut(tet[inside[0]], tet[outside[c]], count)
            codes[4 + c] = _cut(tet[inside[1]], tet[outside[c]], count)
    else:  # two inside, one on the surface, one outside: a pyramid over the quad 0 1 4 3
        for c in range(2):
            codes[c] = tet[inside[c]]
            codes[c + 3] = _cut(tet[inside[c]], tet[outside[0]], count)
            kinds[c] = (inside[c] < 2) == (outside[0] < 2)
        codes[2] = tet[border[0]]
        codes[5] = codes[2]
    for c in range(6):
        points[c] = _point(codes[c], count, positions, depth, values, origin, spacing)
    first = np.empty(3, np.bool_)
    if ni == 3:
        for q in range(3):
            r = (q + 1) % 3
            first[q] = _runs_from(codes[q], codes[r], tet[outside[0]], kinds[q], kinds[r], positions)
        return _emit_prism(out, n, first, 1, codes, points)
    if no == 1:
        if _runs_from(codes[0], codes[1], tet[outside[0]], kinds[0], kinds[1], positions):
            n = _emit(out, n, 0, 1, 4, 2, codes, points)
            return _emit(out, n, 0, 4, 3, 2, codes, points)
        n = _emit(out, n, 0, 1, 3, 2, codes, points)
        return _emit(out, n, 1, 4, 3, 2, codes, points)
    # columns: inside pair (0, 3), cuts with the first outside (1, 4), with the second (2, 5)
    for c in range(2):
        long_0 = (inside[0] < 2) == (outside[c] < 2)
        long_1 = (inside[1] < 2) == (outside[c] < 2)
        from_low = _runs_from(codes[0], codes[3], tet[outside[c]], long_0, long_1, positions)
        if c == 0:
            first[0] = from_low
        else:
            first[2] = not from_low
    first[1] = False
    return _emit_prism(out, n, first, 1, codes, points)


@njit(cache=True)
def stuff(positions: Any, depth: Any, nx: int, ny: int, nz: int, values: Any, origin: Any, spacing: float) -> Any:
    """Return the tetrahedra inside, as codes, shape (m, 4)."""
    room = 1024
    out = np.empty((room, 4), np.int64)
    n = 0
    tet = np.empty(4, np.int64)
    ring = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                for axis in range(3):
                    if (axis == 0 and i == nx - 1) or (axis == 1 and j == ny - 1) or (axis == 2 and k == nz - 1):
                        continue
                    x, y, z = 2 * i + 1, 2 * j + 1, 2 * k + 1
                    fx, fy, fz = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                    tet[0] = node_id(x, y, z, nx, ny, nz)
                    tet[1] = node_id(2 * fx - x, 2 * fy - y, 2 * fz - z, nx, ny, nz)
                    for m in range(4):
                        for e in range(2):
                            u, v = ring[m + e, 0], ring[m + e, 1]
                            if axis == 0:
                                tet[2 + e] = node_id(fx, fy + u, fz + v, nx, ny, nz)
                            elif axis == 1:
                                tet[2 + e] = node_id(fx + v, fy, fz + u, nx, ny, nz)
                            else:
                                tet[2 + e] = node_id(fx + u, fy + v, fz, nx, ny, nz)
                        if n + 3 > room:
                            grown = np.empty((2 * room, 4), np.int64)
                            grown[:n] = out[:n]
                            out, room = grown, 2 * room
                        n = _stuff_one(out, n, tet, positions, depth, values, origin, spacing)
    return out[:n]
