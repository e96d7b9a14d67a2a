"""Compiled kernels of a surface that moves: a tree of boxes that is refitted, and exact signed distances from it.

The tree is balanced: node i has the children 2i + 1 and 2i + 2, and its 2^levels leaves hold even runs of the
triangles, which stand in the order of the tree. So a refit needs no sorting. A motion brings only the upper part of the
tree up to date, down to its blocks of some hundred triangles; the inside of a block follows when a search first comes
there, which near a tool are few of them.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle
from twin_nodes.core.guidance.cavity_kernels import in_cavity

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


class Tree(NamedTuple):
    """A surface and its tree; all arrays are written in place.

    Args:
        vertices: Where they are now [m], shape (n, 3).
        sigma: Standard deviation of the place of each along any one axis [m], shape (n,).
        triangles: Vertex indices in the order of the tree, int32, shape (m, 3).
        across: Triangle beyond each edge ab bc ca, int32, shape (m, 3).
        starts: Where the triangles around each vertex begin in `ring`, shape (n + 1,).
        ring: Three times a triangle plus its corner, for each triangle around each vertex, shape (3 m,).
        levels: The tree has 2^levels leaves.
        top: There are 2^top blocks: the nodes of this level.
        stale: Not 0 for a block whose inside is of an earlier motion, uint8, shape (2^top,).
        corners: Triangles of the blocks that are not stale [m], shape (m, 3, 3).
        boxes: Least and greatest corner of each node [m], float32, shape (2^(levels + 1) - 1, 6).
        cavity: What is gone of it, see `cavity.Cavity`.
    """

    vertices: Any
    sigma: Any
    triangles: Any
    across: Any
    starts: Any
    ring: Any
    levels: int
    top: int
    stale: Any
    corners: Any
    boxes: Any
    cavity: Any


@njit(cache=True)
def motion(vertices: Any, sigma: Any, known: Any) -> tuple[float, float]:
    """Return how far vertices are at most from known places, and the diagonal of the box around them [m].

    The first is NaN when a vertex, also one that no triangle has, or a sigma is not finite, or a sigma is negative.

    Args:
        vertices: [m], shape (n, 3).
        sigma: [m], shape (n,).
        known: [m], shape (n, 3).
    """
    none, most, least = 0.0, 0.0, 0.0
    lx = ly = lz = math.inf
    hx = hy = hz = -math.inf
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        none += (x - x) + (y - y) + (z - z) + (sigma[v] - sigma[v])  # NaN for NaN and Inf
        least = min(least, sigma[v])
        most = max(most, (x - known[v, 0]) ** 2 + (y - known[v, 1]) ** 2 + (z - known[v, 2]) ** 2)
        lx, ly, lz = min(lx, x), min(ly, y), min(lz, z)
        hx, hy, hz = max(hx, x), max(hy, y), max(hz, z)
    if least < 0.0:
        none = math.nan
    return math.sqrt(most) + none, math.sqrt((hx - lx) ** 2 + (hy - ly) ** 2 + (hz - lz) ** 2)


@njit(cache=True)
def extent(vertices: Any, triangles: Any) -> tuple[float, float]:
    """Return the volume inside [m³] by the divergence theorem, and the area [m²].

    Args:
        vertices: [m], shape (n, 3).
        triangles: Vertex indices, shape (m, 3).
    """
    ox, oy, oz = vertices[0, 0], vertices[0, 1], vertices[0, 2]
    volume = area = 0.0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        wx, wy, wz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        volume += (ax - ox) * nx + (ay - oy) * ny + (az - oz) * nz
        area += math.sqrt(nx * nx + ny * ny + nz * nz)
    return volume / 6.0, 0.5 * area


@njit(cache=True)
def place(vertices: Any, sigma: Any, tree: Any, starts: Any, members: Any) -> None:
    """Take where the vertices are: the tree is exact down to its blocks, whose inside is stale from now on.

    Args:
        vertices: [m], shape (n, 3).
        sigma: [m], shape (n,).
        tree: Written.
        starts: Where the vertices of each block begin in `members`, shape (2^top + 1,).
        members: The vertices of the triangles of each block, each once, int32.
    """
    own, boxes = tree.vertices, tree.boxes
    own[:], tree.sigma[:] = vertices, sigma
    tree.stale[:] = 1
    first = (1 << tree.top) - 1
    for block in range(len(tree.stale)):
        lx = ly = lz = math.inf
        hx = hy = hz = -math.inf
        for at in range(starts[block], starts[block + 1]):
            v = members[at]
            x, y, z = own[v, 0], own[v, 1], own[v, 2]
            lx, ly, lz = min(lx, x), min(ly, y), min(lz, z)
            hx, hy, hz = max(hx, x), max(hy, y), max(hz, z)
        _enclose(boxes, first + block, lx, ly, lz, hx, hy, hz)
    for node in range(first - 1, -1, -1):
        _join(boxes, node)


@njit(cache=True)
def refit(block: int, tree: Any) -> None:
    """Bring the corners and boxes inside a block to where the vertices are."""
    own, triangles, corners, boxes, levels = tree.vertices, tree.triangles, tree.corners, tree.boxes, tree.levels
    m, below = len(triangles), levels - tree.top
    for leaf in range(block << below, (block + 1) << below):
        lx = ly = lz = math.inf
        hx = hy = hz = -math.inf
        for t in range((leaf * m) >> levels, ((leaf + 1) * m) >> levels):
            for corner in range(3):
                v = triangles[t, corner]
                x, y, z = own[v, 0], own[v, 1], own[v, 2]
                corners[t, corner, 0], corners[t, corner, 1], corners[t, corner, 2] = x, y, z
                lx, ly, lz = min(lx, x), min(ly, y), min(lz, z)
                hx, hy, hz = max(hx, x), max(hy, y), max(hz, z)
        _enclose(boxes, (1 << levels) - 1 + leaf, lx, ly, lz, hx, hy, hz)
    for depth in range(below - 1, -1, -1):
        start = (1 << (tree.top + depth)) - 1 + (block << depth)
        for node in range(start, start + (1 << depth)):
            _join(boxes, node)
    tree.stale[block] = 0


@njit(cache=True)
def _enclose(
    boxes: Any, node: int, lx: float, ly: float, lz: float, hx: float, hy: float, hz: float
) -> None:  # fmt: skip
    """Write a box, a little larger, for its numbers are float32."""
    boxes[node, 0], boxes[node, 1], boxes[node, 2] = _below(lx), _below(ly), _below(lz)
    boxes[node, 3], boxes[node, 4], boxes[node, 5] = -_below(-hx), -_below(-hy), -_below(-hz)


@njit(cache=True)
def _join(boxes: Any, node: int) -> None:
    """Make a box of those of the two children."""
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
    px: float, py: float, pz: float, seed: int, tree: Any, nodes: Any, gaps: Any
) -> tuple[float, int, int, float, float, float]:
    """Find the triangle that is nearest to a point: exactly up to `FAR`, beyond it one that is farther by `slack`.

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        seed: A triangle that may be near, such as the last one found: the nearer, the less is looked at.
        tree: The surface; the blocks that are looked into are brought up to date.
        nodes: Room for the nodes that wait, int64, shape (STACK,).
        gaps: Room for their squared distances, shape (STACK,).

    Returns:
        Squared distance [m²], triangle, feature as in `triangle_kernels`, and the nearest point [m].
    """
    corners, boxes, stale, levels = tree.corners, tree.boxes, tree.stale, tree.levels
    m, first, blocks = len(corners), (1 << levels) - 1, (1 << tree.top) - 1
    block = (((seed + 1) << tree.top) - 1) // m
    if stale[block]:
        refit(block, tree)
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
        if blocks <= node <= 2 * blocks and stale[node - blocks]:
            refit(node - blocks, tree)
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
def _unit_normal(vertices: Any, triangles: Any, t: int) -> tuple[float, float, float]:
    """Return the unit normal of a triangle; zeros where it has no area."""
    a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    length = math.sqrt(x * x + y * y + z * z)
    if length == 0.0:
        return 0.0, 0.0, 0.0
    return x / length, y / length, z / length


@njit(cache=True)
def pseudo_normal(t: int, feature: int, tree: Any) -> Any:
    """Return a normal of a feature whose side tells inside from outside (Bærentzen and Aanæs 2005), not of length 1.

    It is made from the vertices: a neighbour may lie in a stale block.

    Args:
        t: Triangle.
        feature: Its face, vertex or edge, as in `triangle_kernels`.
        tree: The surface.
    """
    vertices, triangles, starts = tree.vertices, tree.triangles, tree.starts
    x, y, z = _unit_normal(vertices, triangles, t)
    if feature >= 4:
        ox, oy, oz = _unit_normal(vertices, triangles, tree.across[t, feature - 4])
        return x + ox, y + oy, z + oz
    if feature == 0:
        return x, y, z
    vertex = triangles[t, feature - 1]
    x = y = z = 0.0
    for at in range(starts[vertex], starts[vertex + 1]):
        other, corner = tree.ring[at] // 3, tree.ring[at] % 3
        p = vertices[vertex]
        q, r = vertices[triangles[other, (corner + 1) % 3]], vertices[triangles[other, (corner + 2) % 3]]
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
    px: float, py: float, pz: float, seed: int, tree: Any, nodes: Any, gaps: Any
) -> tuple[float, float, float, float, int]:
    """Return the signed distance [m], its gradient (three numbers, of length 1) and the nearest triangle.

    Beyond `FAR` the distance is the least that it can be; inside, the greatest depth. Where something is gone it is the
    greater of that and the distance to the wall of the cavity; the triangle is then of the surface as it was.
    """
    distance, gx, gy, gz, t = _signed_whole(px, py, pz, seed, tree, nodes, gaps)
    if tree.cavity.values.size > 0 and distance < FAR:
        free, hx, hy, hz = in_cavity(px, py, pz, tree.cavity)
        if free > distance:
            return free, hx, hy, hz, t
    return distance, gx, gy, gz, t


@njit(cache=True)
def _signed_whole(
    px: float, py: float, pz: float, seed: int, tree: Any, nodes: Any, gaps: Any
) -> tuple[float, float, float, float, int]:
    """Return what `signed` does for a surface that is whole."""
    squared, t, feature, qx, qy, qz = nearest(px, py, pz, seed, tree, nodes, gaps)
    nx, ny, nz = pseudo_normal(t, feature, tree)
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
def signed_many(points: Any, tree: Any, distances: Any, gradients: Any) -> None:
    """Write distances (k,) and gradients (k, 3) of points (k, 3), each begun at the triangle of the one before."""
    nodes, gaps = np.empty(STACK, np.int64), np.empty(STACK)
    seed = 0
    for k in range(len(points)):
        distances[k], gradients[k, 0], gradients[k, 1], gradients[k, 2], seed = signed(
            points[k, 0], points[k, 1], points[k, 2], seed, tree, nodes, gaps
        )
