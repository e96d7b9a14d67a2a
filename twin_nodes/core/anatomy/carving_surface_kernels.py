"""Compiled kernel: the surface of what is left of one label within one brick of voxels, by surface nets.

Gibson (1998), without its relaxation: a cell of eight voxel centres that the surface passes has one vertex, the mean of
the points where its edges are crossed; each crossed edge between voxels gives two triangles. Beside the cavity the
crossing is read from the cavity's distance, elsewhere it is halfway. Vertices depend on nothing but their cell, so
neighbouring bricks fit without a seam.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin_nodes.core.anatomy.carving_kernels import REMOVED

_LEFT, _GONE = 1, 2
_CLEAR = np.float32(0.05)


def _crossed_edges() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """For each pattern of eight corners: how many edges are crossed, and which (corner, axis), shape (256, 12, 4).

    Corner n of a cell is at (n >> 2, n >> 1 & 1, n & 1); an edge is its lower corner's three bits and its axis.
    """
    counts, edges = np.zeros(256, np.int8), np.zeros((256, 12, 4), np.int8)
    for pattern in range(256):
        for corner in range(8):
            for axis, bit in enumerate((4, 2, 1)):
                if not corner & bit and (pattern >> corner ^ pattern >> (corner | bit)) & 1:
                    edges[pattern, counts[pattern]] = corner >> 2, corner >> 1 & 1, corner & 1, axis
                    counts[pattern] += 1
    return counts, edges


_COUNTS, _EDGES = _crossed_edges()


@njit(cache=True)
def _gather(voxels: Any, label: int, low: Any, state: Any) -> tuple[int, int]:
    """Copy the brick with its rim: what each voxel is, of the label and left, gone, or neither.

    Returns:
        Voxels of the label that are left, and those that are gone.
    """
    wide = state.shape[0]
    first, last = max(0, -low[2]), min(wide, voxels.shape[2] - low[2])
    left, gone = 0, 0
    for a in range(wide):
        i = a + low[0]
        for b in range(wide):
            j = b + low[1]
            to_state = state[a, b]
            to_state[:] = 0
            if i < 0 or j < 0 or i >= voxels.shape[0] or j >= voxels.shape[1]:
                continue
            row = voxels[i, j, first + low[2] : last + low[2]]
            to_state = to_state[first:last]
            for c in range(len(row)):
                one = row[c] == label
                to_state[c] = one + (row[c] >> 7 << 1)
                left += one
                gone += row[c] == label + REMOVED
    return left, gone


@njit(cache=True, inline='always')
def _cut(depth_one: Any, depth_other: Any) -> Any:
    """Where the cavity's wall crosses an edge between two voxels, 0 … 1 from the first."""
    if depth_one == depth_other:
        return np.float32(0.5)
    t = np.float32(depth_one) / np.float32(depth_one - depth_other)
    return min(max(t, _CLEAR), np.float32(1.0) - _CLEAR)


@njit(cache=True)
def _place_vertices(
    state: Any, field: Any, level: int, known: Any, low: Any, size: int, spacing: Any, vertices: Any
) -> int:
    """Write the vertex of each cell that the surface passes; its number goes to `known`. Return how many there are."""
    sb = size + 4
    sa = sb * sb
    n = 0
    steps = (sa, sb, 1)
    begin = 0 if low[2] < 0 else 1
    for a in range(0 if low[0] < 0 else 1, size + 2):
        for b in range(0 if low[1] < 0 else 1, size + 2):
            start = a * sa + b * sb + begin
            unlike = 0
            for at in range(start, start + size + 2 - begin):
                here = state[at]
                unlike |= (here ^ state[at + 1]) | (here ^ state[at + sa]) | (here ^ state[at + sb])
                unlike |= here ^ state[at + sa + sb]
            last = start + size + 2 - begin
            unlike |= (state[last] ^ state[last + sa]) | (state[last] ^ state[last + sb])
            unlike |= state[last] ^ state[last + sa + sb]
            if not unlike & 1:
                continue
            edge = (state[start] & 1) | (state[start + sb] & 1) << 2
            edge |= (state[start + sa] & 1) << 4 | (state[start + sa + sb] & 1) << 6
            for c in range(begin, size + 2):
                at = start + c - begin
                following = (state[at + 1] & 1) | (state[at + sb + 1] & 1) << 2
                following |= (state[at + sa + 1] & 1) << 4 | (state[at + sa + sb + 1] & 1) << 6
                pattern = edge | following << 1
                edge = following
                if pattern == 0 or pattern == 255:
                    continue
                x, y, z = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                count = _COUNTS[pattern]
                for e in range(count):
                    p, q, r = _EDGES[pattern, e, 0], _EDGES[pattern, e, 1], _EDGES[pattern, e, 2]
                    axis = _EDGES[pattern, e, 3]
                    i = at + p * sa + q * sb + r
                    other = i + steps[axis]
                    t = np.float32(0.5)
                    if state[i] + state[other] == _LEFT + _GONE:
                        u, v, w = a + p + low[0], b + q + low[1], c + r + low[2]
                        beyond = field[u + (axis == 0), v + (axis == 1), w + (axis == 2)]
                        t = _cut(level - np.int64(field[u, v, w]), level - np.int64(beyond))
                    x += t if axis == 0 else np.float32(p)
                    y += t if axis == 1 else np.float32(q)
                    z += t if axis == 2 else np.float32(r)
                share = np.float32(1.0) / np.float32(count)
                vertices[n, 0] = np.float32((np.float32(a + low[0]) + x * share) * spacing[0])
                vertices[n, 1] = np.float32((np.float32(b + low[1]) + y * share) * spacing[1])
                vertices[n, 2] = np.float32((np.float32(c + low[2]) + z * share) * spacing[2])
                known[at] = n
                n += 1
    return n


@njit(cache=True)
def mesh_brick(
    voxels: Any, field: Any, label: int, brick: Any, shift: int, level: int, spacing: Any, state: Any, known: Any,
    vertices: Any, triangles: Any,
) -> tuple[int, int]:  # fmt: skip
    """Mesh one label in one brick, if any of it was cut in it or beside it.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk); removed ones have `REMOVED` added.
        field: The cavity's distance as levels, uint16, same shape.
        label: The label whose remaining voxels are meshed.
        brick: Index of the brick, three integers.
        shift: A brick has 2**shift voxels along each axis.
        level: Value of the field at the cavity's wall.
        spacing: Voxel size [m], shape (3,).
        state: Work space, uint8, (2**shift + 4) along each axis.
        known: Work space, int32, the same shape.
        vertices: Receives the vertices, scaled index coordinates [m], float32, shape (many, 3).
        triangles: Receives the corners, outward in index coordinates, int32, shape (many, 3).

    Returns:
        The numbers of vertices and triangles written.
    """
    size = 1 << shift
    low = (brick[0] * size - 2, brick[1] * size - 2, brick[2] * size - 2)
    left, gone = _gather(voxels, label, low, state)
    if left == 0 or gone == 0:
        return 0, 0
    flat, seen = state.ravel(), known.ravel()
    n = _place_vertices(flat, field, level, seen, low, size, spacing, vertices)
    sb = size + 4
    sa = sb * sb
    m = 0
    begin, end = 1 if low[2] < 0 else 2, size + 2
    for a in range(1 if low[0] < 0 else 2, end):
        for b in range(1 if low[1] < 0 else 2, end):
            start = a * sa + b * sb
            unlike = 0
            for at in range(start + begin, start + end):
                here = flat[at]
                unlike |= (here ^ flat[at + 1]) | (here ^ flat[at + sa]) | (here ^ flat[at + sb])
            if not unlike & 1:
                continue
            for at in range(start + begin, start + end):
                here = flat[at]
                for axis in range(3):
                    step = sa if axis == 0 else sb if axis == 1 else 1
                    if not (here ^ flat[at + step]) & 1:
                        continue
                    one = sb if axis == 0 else 1 if axis == 1 else sa
                    other = 1 if axis == 0 else sa if axis == 1 else sb
                    if not here & 1:  # the inside is beyond the edge: the other way round
                        one, other = other, one
                    first, second, third, fourth = seen[at - one - other], seen[at - other], seen[at], seen[at - one]
                    triangles[m, 0], triangles[m, 1], triangles[m, 2] = first, second, third
                    triangles[m + 1, 0], triangles[m + 1, 1], triangles[m + 1, 2] = first, third, fourth
                    m += 2
    return n, m
