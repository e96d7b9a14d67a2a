"""Compiled kernels of the tree of boxes of a surface that moves.

The tree is balanced: node i has the children 2i + 1 and 2i + 2, and its 2^levels leaves hold even runs of the
triangles, which stand in the order of the tree. So a refit needs no sorting. A motion brings only the upper part of the
tree up to date, down to its blocks of some hundred triangles; the inside of a block follows when a search first comes
there, which near a tool are few of them.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

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
