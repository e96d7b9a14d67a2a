"""Compiled kernels of a surface that moves: a tree of boxes that is refitted, and exact signed distances from it.

The tree is balanced: node i has the children 2i + 1 and 2i + 2, and its 2^levels leaves hold even runs of the
triangles, which stand in the order of the tree. So a refit is one pass over vertices and boxes, without any sorting.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

STACK = 64
FAR = 0.01  # m; beyond it a distance is only a lower bound, by the share below of what is beyond
_SLACK = 0.02
_ROUNDING = 2e-7  # relative; boxes are float32 and must hold their triangles all the same


@njit(cache=True)
def order_triangles(centres: Any, levels: int) -> Any:
    """Sort triangles into the runs of a balanced tree: split at the median along the longest side of each box.

    Args:
        centres: Centre of each triangle [m], shape (m, 3).
        levels: The tree has 2^levels leaves.

    Returns:
        Indices of the triangles in the order of the tree, shape (m,).
    """
    m = len(centres)
    order = np.arange(m)
    for level in range(levels):
        for node in range(1 << level):
            start, stop = (node * m) >> level, ((node + 1) * m) >> level
            middle = ((2 * node + 1) * m) >> (level + 1)
            axis, widest = 0, -1.0
            for candidate in range(3):
                low, high = math.inf, -math.inf
                for at in range(start, stop):
                    value = centres[order[at], candidate]
                    low, high = min(low, value), max(high, value)
                if high - low > widest:
                    axis, widest = candidate, high - low
            _select(order, centres, axis, start, stop - 1, middle)
    return order


@njit(cache=True)
def _select(order: Any, centres: Any, axis: int, left: int, right: int, wanted: int) -> None:
    """Bring the entry that belongs at `wanted` there, smaller ones before it (quickselect: Hoare 1961)."""
    while right > left:
        pivot = centres[order[(left + right) // 2], axis]
        i, j = left, right
        while i <= j:
            while centres[order[i], axis] < pivot:
                i += 1
            while centres[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            return


@njit(cache=True)
def enclosed_volume(vertices: Any, triangles: Any) -> float:
    """Return the volume inside [m³] by the divergence theorem; NaN when a vertex is."""
    total = 0.0
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        total += a[0] * (b[1] * c[2] - b[2] * c[1])
        total += a[1] * (b[2] * c[0] - b[0] * c[2])
        total += a[2] * (b[0] * c[1] - b[1] * c[0])
    return total / 6.0


@njit(cache=True)
def refit(vertices: Any, triangles: Any, levels: int, corners: Any, boxes: Any) -> None:
    """Bring corners and boxes to where the vertices are.

    Args:
        vertices: [m], shape (n, 3).
        triangles: Vertex indices in the order of the tree, shape (m, 3).
        levels: The tree has 2^levels leaves.
        corners: Written: [m], shape (m, 3, 3).
        boxes: Written: least and greatest corner of each node, float32, shape (2^(levels + 1) - 1, 6).
    """
    m, leaves = len(triangles), 1 << levels
    for leaf in range(leaves):
        node = leaves - 1 + leaf
        lx = ly = lz = math.inf
        hx = hy = hz = -math.inf
        for t in range((leaf * m) >> levels, ((leaf + 1) * m) >> levels):
            for corner in range(3):
                v = triangles[t, corner]
                x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
                corners[t, corner, 0], corners[t, corner, 1], corners[t, corner, 2] = x, y, z
                lx, ly, lz = min(lx, x), min(ly, y), min(lz, z)
                hx, hy, hz = max(hx, x), max(hy, y), max(hz, z)
        boxes[node, 0], boxes[node, 1], boxes[node, 2] = _below(lx), _below(ly), _below(lz)
        boxes[node, 3], boxes[node, 4], boxes[node, 5] = -_below(-hx), -_below(-hy), -_below(-hz)
    for node in range(leaves - 2, -1, -1):
        left, right = 2 * node + 1, 2 * node + 2
        for side in range(3):
            boxes[node, side] = min(boxes[left, side], boxes[right, side])
            boxes[node, side + 3] = max(boxes[left, side + 3], boxes[right, side + 3])


@njit(cache=True)
def _below(value: float) -> float:
    return value - abs(value) * _ROUNDING - 1e-12


@njit(cache=True)
def _gap(px: float, py: float, pz: float, boxes: Any, node: int) -> float:
    """Squared distance from a point to a box."""
    x = max(boxes[node, 0] - px, px - boxes[node, 3], 0.0)
    y = max(boxes[node, 1] - py, py - boxes[node, 4], 0.0)
    z = max(boxes[node, 2] - pz, pz - boxes[node, 5], 0.0)
    return float(x * x + y * y + z * z)


@njit(cache=True)
def slack(distance: float) -> float:
    """Return by how much a distance may be found too far [m]."""
    return max(_SLACK * (distance - FAR), 0.0)


@njit(cache=True)
def _within(best: float) -> float:
    """Return the squared distance within which a nearer triangle is still sought, when `best` is found."""
    if best <= FAR * FAR:
        return best
    distance = math.sqrt(best)
    return float((distance - slack(distance)) ** 2)


@njit(cache=True)
def nearest(
    px: float, py: float, pz: float, seed: int, corners: Any, boxes: Any, levels: int, nodes: Any, gaps: Any
) -> tuple[float, int, int, float, float, float]:
    """Find the triangle that is nearest to a point: exactly up to `FAR`, beyond it one that is farther by `slack`.

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        seed: A triangle that may be near, such as the last one found: the nearer, the less is looked at.
        corners: Triangles in the order of the tree [m], shape (m, 3, 3).
        boxes: As `refit` wrote them.
        levels: The tree has 2^levels leaves.
        nodes: Room for the nodes that wait, int64, shape (STACK,).
        gaps: Room for their squared distances, shape (STACK,).

    Returns:
        Squared distance [m²], triangle, feature as in `triangle_kernels`, and the nearest point [m].
    """
    m, first = len(corners), (1 << levels) - 1
    found = seed
    best, feature, qx, qy, qz = closest_on_triangle(px, py, pz, corners[seed])
    limit = _within(best)
    nodes[0], gaps[0] = 0, 0.0
    depth = 1
    while depth > 0:
        depth -= 1
        if gaps[depth] >= limit:
            continue
        node = nodes[depth]
        if node >= first:
            leaf = node - first
            for t in range((leaf * m) >> levels, ((leaf + 1) * m) >> levels):
                if t == seed:
                    continue
                squared, kind, x, y, z = closest_on_triangle(px, py, pz, corners[t])
                if squared < best:
                    best, found, feature, qx, qy, qz = squared, t, kind, x, y, z
                    limit = _within(best)
            continue
        left, right = 2 * node + 1, 2 * node + 2
        near, far = _gap(px, py, pz, boxes, left), _gap(px, py, pz, boxes, right)
        if near > far:
            left, right, near, far = right, left, far, near
        if far < limit:
            nodes[depth], gaps[depth] = right, far
            depth += 1
        if near < limit:
            nodes[depth], gaps[depth] = left, near
            depth += 1
    return best, found, feature, qx, qy, qz


@njit(cache=True)
def _unit_normal(corners: Any, t: int) -> tuple[float, float, float]:
    """Return the unit normal of a triangle; zeros where it has no area."""
    c = corners[t]
    ux, uy, uz = c[1, 0] - c[0, 0], c[1, 1] - c[0, 1], c[1, 2] - c[0, 2]
    wx, wy, wz = c[2, 0] - c[0, 0], c[2, 1] - c[0, 1], c[2, 2] - c[0, 2]
    x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    length = math.sqrt(x * x + y * y + z * z)
    if length == 0.0:
        return 0.0, 0.0, 0.0
    return x / length, y / length, z / length


@njit(cache=True)
def pseudo_normal(t: int, feature: int, corners: Any, across: Any, starts: Any, ring: Any, triangles: Any) -> Any:
    """Return a normal of a feature whose side tells inside from outside (Bærentzen and Aanæs 2005), not of length 1.

    Args:
        t: Triangle.
        feature: Its face, vertex or edge, as in `triangle_kernels`.
        corners: Triangles [m], shape (m, 3, 3).
        across: Triangle beyond each edge ab bc ca, shape (m, 3).
        starts: Where the triangles around each vertex begin in `ring`, shape (n + 1,).
        ring: Three times a triangle plus its corner, for each triangle around each vertex, shape (3 m,).
        triangles: Vertex indices, shape (m, 3).
    """
    x, y, z = _unit_normal(corners, t)
    if feature >= 4:
        ox, oy, oz = _unit_normal(corners, across[t, feature - 4])
        return x + ox, y + oy, z + oz
    if feature == 0:
        return x, y, z
    vertex = triangles[t, feature - 1]
    x = y = z = 0.0
    for at in range(starts[vertex], starts[vertex + 1]):
        other, corner = ring[at] // 3, ring[at] % 3
        c = corners[other]
        p, q, r = c[corner], c[(corner + 1) % 3], c[(corner + 2) % 3]
        ux, uy, uz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
        wx, wy, wz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        area = math.sqrt(nx * nx + ny * ny + nz * nz)
        if area > 0.0:
            angle = math.atan2(area, ux * wx + uy * wy + uz * wz) / area
            x, y, z = x + angle * nx, y + angle * ny, z + angle * nz
    return x, y, z


@njit(cache=True)
def signed(
    px: float, py: float, pz: float, seed: int, corners: Any, boxes: Any, levels: int, across: Any, starts: Any,
    ring: Any, triangles: Any, nodes: Any, gaps: Any,
) -> tuple[float, float, float, float, int]:  # fmt: skip
    """Return the signed distance [m], its gradient (three numbers, of length 1) and the nearest triangle.

    Beyond `FAR` the distance is the least that it can be; inside, the greatest depth.
    """
    squared, t, feature, qx, qy, qz = nearest(px, py, pz, seed, corners, boxes, levels, nodes, gaps)
    nx, ny, nz = pseudo_normal(t, feature, corners, across, starts, ring, triangles)
    gx, gy, gz = px - qx, py - qy, pz - qz
    distance = math.sqrt(squared)
    if distance > 1e-9:
        sign = -1.0 if gx * nx + gy * ny + gz * nz < 0.0 else 1.0
        scale = sign / distance
        least = distance - slack(distance) if sign > 0.0 else -distance
        return least, scale * gx, scale * gy, scale * gz, t
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    scale = 1.0 / length if length > 0.0 else 0.0
    return 0.0, scale * nx, scale * ny, scale * nz, t


@njit(cache=True)
def signed_many(
    points: Any, corners: Any, boxes: Any, levels: int, across: Any, starts: Any, ring: Any, triangles: Any,
    distances: Any, gradients: Any,
) -> None:  # fmt: skip
    """Write distances (k,) and gradients (k, 3) of points (k, 3), each begun at the triangle of the one before."""
    nodes, gaps = np.empty(STACK, np.int64), np.empty(STACK)
    seed = 0
    for k in range(len(points)):
        distances[k], gradients[k, 0], gradients[k, 1], gradients[k, 2], seed = signed(
            points[k, 0], points[k, 1], points[k, 2], seed, corners, boxes, levels, across, starts, ring, triangles,
            nodes, gaps,
        )  # fmt: skip
