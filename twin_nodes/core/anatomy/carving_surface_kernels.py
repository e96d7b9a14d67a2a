"""Compiled kernel: the surface of what is left of one label within one brick of voxels, by surface nets.

Gibson (1998), without its relaxation: a cell of eight voxel centres that the surface passes has one vertex, and each
edge between two unlike voxels gives two triangles. Where the cell holds nothing but what is left and what the burr has
taken, its centre is drawn onto the wall by one Newton step along the gradient of the cavity's distance; elsewhere the
vertex is the mean of the midpoints of the crossed edges. Vertices depend on nothing but their cell, so neighbouring
bricks fit without a seam.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin_nodes.core.anatomy.carving_kernels import REMOVED


def _midpoint_means() -> NDArray[np.float32]:
    """Return the mean of the midpoints of the crossed edges for each pattern of eight corners, shape (256, 3).

    Corner n of a cell is at (n >> 2, n >> 1 & 1, n & 1).
    """
    means = np.zeros((256, 3), np.float32)
    for pattern in range(1, 255):
        edges = [
            (corner, corner | bit)
            for corner in range(8)
            for bit in (4, 2, 1)
            if not corner & bit and (pattern >> corner ^ pattern >> (corner | bit)) & 1
        ]
        ends = np.array(edges).ravel()
        means[pattern] = np.stack([ends >> 2, ends >> 1 & 1, ends & 1], axis=1).mean(axis=0)
    return means


_MEANS = _midpoint_means()
_CLEAR, _FAR = np.float32(0.05), np.float32(0.95)


@njit(cache=True)
def _gather(voxels: Any, label: int, low: Any, state: Any) -> Any:
    """Copy the brick with its rim: what each voxel is, of the label and left, gone, or neither.

    Returns:
        Whether any voxel of the label is left, and whether any is gone.
    """
    wide = state.shape[0]
    first, last = max(1, -low[2]), min(wide - 1, voxels.shape[2] - low[2])
    mine, mine_gone = np.uint8(label), np.uint8(label + REMOVED)
    left, gone = np.uint8(0), np.uint8(0)
    whole = first == 1 and last == wide - 1
    for a in range(0 if low[0] < 0 else 1, wide - 1):
        i = a + low[0]
        for b in range(0 if low[1] < 0 else 1, wide - 1):
            j = b + low[1]
            to_state = state[a, b]
            if not whole or i < 0 or j < 0 or i >= voxels.shape[0] or j >= voxels.shape[1]:
                to_state[:] = 0
            if i < 0 or j < 0 or i >= voxels.shape[0] or j >= voxels.shape[1]:
                continue
            row = voxels[i, j, first + low[2] : last + low[2]]
            to_state = to_state[first:last]
            for c in range(len(row)):
                one = np.uint8(row[c] == mine)
                to_state[c] = one | (row[c] >> 7 << 1)
                left |= one
                gone |= np.uint8(row[c] == mine_gone)
    return left > 0, gone > 0


@njit(cache=True)
def _unlike(state: Any, start: int, sa: int, sb: int, count: int, row: Any) -> Any:
    """Tell which cells of a row hold unlike corners, in `row`, and whether any does.

    Slices from 0 on, so that the compiler needs no test for negative indices and takes many cells at once.
    """
    one, two = state[start : start + count + 1], state[start + sb : start + sb + count + 1]
    other = start + sa
    three, four = state[other : other + count + 1], state[other + sb : other + sb + count + 1]
    found = np.uint8(0)
    for c in range(count):
        every = one[c] & one[c + 1] & two[c] & two[c + 1] & three[c] & three[c + 1] & four[c] & four[c + 1]
        some = one[c] | one[c + 1] | two[c] | two[c + 1] | three[c] | three[c + 1] | four[c] | four[c + 1]
        row[c] = (every ^ some) & 1
        found |= row[c]
    return found > 0


@njit(cache=True)
def _place_vertices(
    state: Any, field: Any, level: int, known: Any, low: Any, size: int, spacing: Any, vertices: Any
) -> int:
    """Write the vertex of each cell that the surface passes; its number goes to `known`. Return how many there are."""
    sb = size + 4
    sa = sb * sb
    n = 0
    flat, wide_b, wide_c = field.reshape(-1), field.shape[1], field.shape[2]
    inverse_x, inverse_y = np.float32(1.0 / spacing[0]), np.float32(1.0 / spacing[1])
    inverse_z = np.float32(1.0 / spacing[2])
    begin = 0 if low[2] < 0 else 1
    row = np.empty(size + 2 - begin, np.uint8)
    for a in range(0 if low[0] < 0 else 1, size + 2):
        for b in range(0 if low[1] < 0 else 1, size + 2):
            start = a * sa + b * sb + begin
            if not _unlike(state, start, sa, sb, len(row), row):
                continue
            for c in range(len(row)):
                if not row[c]:
                    continue
                at = start + c
                pattern = (state[at] & 1) | (state[at + 1] & 1) << 1 | (state[at + sb] & 1) << 2
                pattern |= (state[at + sb + 1] & 1) << 3 | (state[at + sa] & 1) << 4 | (state[at + sa + 1] & 1) << 5
                pattern |= (state[at + sa + sb] & 1) << 6 | (state[at + sa + sb + 1] & 1) << 7
                x, y, z = _MEANS[pattern, 0], _MEANS[pattern, 1], _MEANS[pattern, 2]
                least = min(min(state[at], state[at + 1]), min(state[at + sb], state[at + sb + 1]))
                at_a = at + sa
                least = min(least, min(state[at_a], state[at_a + 1]))
                if min(least, min(state[at_a + sb], state[at_a + sb + 1])) > 0:
                    i = ((a + low[0]) * wide_b + b + low[1]) * wide_c + c + begin + low[2]
                    f0, f1 = np.int64(flat[i]), np.int64(flat[i + 1])
                    f2, f3 = np.int64(flat[i + wide_c]), np.int64(flat[i + wide_c + 1])
                    i += wide_b * wide_c
                    f4, f5 = np.int64(flat[i]), np.int64(flat[i + 1])
                    f6, f7 = np.int64(flat[i + wide_c]), np.int64(flat[i + wide_c + 1])
                    gx = np.float32(f4 + f5 + f6 + f7 - f0 - f1 - f2 - f3) * inverse_x
                    gy = np.float32(f2 + f3 + f6 + f7 - f0 - f1 - f4 - f5) * inverse_y
                    gz = np.float32(f1 + f3 + f5 + f7 - f0 - f2 - f4 - f6) * inverse_z
                    above = np.float32(f0 + f1 + f2 + f3 + f4 + f5 + f6 + f7 - 8 * level)
                    square = gx * gx + gy * gy + gz * gz
                    if square > 0.0:
                        step = np.float32(0.5) * above / square
                        x = min(max(np.float32(0.5) - step * gx * inverse_x, _CLEAR), _FAR)
                        y = min(max(np.float32(0.5) - step * gy * inverse_y, _CLEAR), _FAR)
                        z = min(max(np.float32(0.5) - step * gz * inverse_z, _CLEAR), _FAR)
                vertices[n, 0] = np.float32((np.float32(a + low[0]) + x) * spacing[0])
                vertices[n, 1] = np.float32((np.float32(b + low[1]) + y) * spacing[1])
                vertices[n, 2] = np.float32((np.float32(c + begin + low[2]) + z) * spacing[2])
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
    if not left or not gone:
        return 0, 0
    flat, seen = state.ravel(), known.ravel()
    n = _place_vertices(flat, field, level, seen, low, size, spacing, vertices)
    sb = size + 4
    sa = sb * sb
    m = 0
    begin, end = 1 if low[2] < 0 else 2, size + 2
    row = np.empty(end - begin, np.uint8)
    for a in range(1 if low[0] < 0 else 2, end):
        for b in range(1 if low[1] < 0 else 2, end):
            start = a * sa + b * sb + begin
            if not _unlike(flat, start, sa, sb, len(row), row):
                continue
            for c in range(len(row)):
                if not row[c]:
                    continue
                at = start + c
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
