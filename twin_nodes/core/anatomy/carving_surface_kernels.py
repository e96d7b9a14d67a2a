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
            outside = i < 0 or j < 0 or i >= voxels.shape[0] or j >= voxels.shape[1]
            if outside or not whole:
                state[a, b, :] = 0
            if outside:
                continue
            row, to_state = voxels[i, j, first + low[2] : last + low[2]], state[a, b, first:last]
            for c in range(len(row)):
                one = np.uint8(row[c] == mine)
                to_state[c] = one | (row[c] >> 7 << 1)
                left |= one
                gone |= np.uint8(row[c] == mine_gone)
    return left > 0, gone > 0


@njit(cache=True)
def _unlike(state: Any, start: int, sa: int, sb: int, cells: Any) -> None:
    """Tell which cells of a plane of the brick hold unlike corners; those across the end of a row mean nothing.

    Slices from 0 on, so that the compiler needs no test for negative indices and takes many cells at once.
    """
    count = len(cells)
    one, two = state[start : start + count + 1], state[start + sb : start + sb + count + 1]
    other = start + sa
    three, four = state[other : other + count + 1], state[other + sb : other + sb + count + 1]
    for c in range(count):
        every = one[c] & one[c + 1] & two[c] & two[c + 1] & three[c] & three[c + 1] & four[c] & four[c + 1]
        some = one[c] | one[c + 1] | two[c] | two[c + 1] | three[c] | three[c + 1] | four[c] | four[c + 1]
        cells[c] = (every ^ some) & 1


@njit(cache=True)
def _find_cells(state: Any, low: Any, size: int, found: Any) -> int:
    """Write where the cells lie that the surface passes, as places in `state`, in order. Return how many there are."""
    sb = size + 4
    sa = sb * sb
    cells = np.empty((size + 2) * sb, np.uint8)
    eights = cells.view(np.uint64)
    first_b, first_c = 0 if low[1] < 0 else 1, 0 if low[2] < 0 else 1
    n = 0
    for a in range(0 if low[0] < 0 else 1, size + 2):
        _unlike(state, a * sa, sa, sb, cells)
        for word in range(len(eights)):
            if eights[word] == 0:
                continue
            for at in range(8 * word, 8 * word + 8):
                if cells[at] and at // sb >= first_b and first_c <= at % sb < size + 2:
                    found[n] = a * sa + at
                    n += 1
    return n


@njit(cache=True)
def _place_vertices(
    state: Any, field: Any, level: int, known: Any, low: Any, size: int, spacing: Any, found: Any, n: int,
    vertices: Any,
) -> None:  # fmt: skip
    """Write the vertex of each cell that the surface passes; its number goes to `known`."""
    sb = size + 4
    sa = sb * sb
    flat, wide_b, wide_c = field.reshape(-1), field.shape[1], field.shape[2]
    inverse_x, inverse_y = np.float32(1.0 / spacing[0]), np.float32(1.0 / spacing[1])
    inverse_z = np.float32(1.0 / spacing[2])
    for number in range(n):
        at = found[number]
        a, b, c = at // sa, at % sa // sb, at % sb
        s0, s1, s2, s3 = state[at], state[at + 1], state[at + sb], state[at + sb + 1]
        at_a = at + sa
        s4, s5, s6, s7 = state[at_a], state[at_a + 1], state[at_a + sb], state[at_a + sb + 1]
        pattern = (s0 & 1) | (s1 & 1) << 1 | (s2 & 1) << 2 | (s3 & 1) << 3
        pattern |= (s4 & 1) << 4 | (s5 & 1) << 5 | (s6 & 1) << 6 | (s7 & 1) << 7
        x, y, z = _MEANS[pattern, 0], _MEANS[pattern, 1], _MEANS[pattern, 2]
        if s0 and s1 and s2 and s3 and s4 and s5 and s6 and s7:
            i = ((a + low[0]) * wide_b + b + low[1]) * wide_c + c + low[2]
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
        vertices[number, 0] = np.float32((np.float32(a + low[0]) + x) * spacing[0])
        vertices[number, 1] = np.float32((np.float32(b + low[1]) + y) * spacing[1])
        vertices[number, 2] = np.float32((np.float32(c + low[2]) + z) * spacing[2])
        known[at] = number


@njit(cache=True)
def mesh_brick(
    voxels: Any, field: Any, label: int, brick: Any, shift: int, level: int, spacing: Any, state: Any, known: Any,
    found: Any, vertices: Any, triangles: Any,
) -> tuple[int, int]:  # fmt: skip
    """Mesh one label in one brick, if any of it was cut in it or beside it.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk); removed ones have `REMOVED` added.
        field: The cavity's distance as levels, uint16, same shape.
        label: The label whose remaining voxels are meshed.
        brick: Index of the brick, three integers.
        shift: A brick has 2**shift voxels along each axis, a multiple of 4.
        level: Value of the field at the cavity's wall.
        spacing: Voxel size [m], shape (3,).
        state: Work space, uint8, (2**shift + 4) along each axis.
        known: Work space, int32, the same shape.
        found: Work space, int32, as many numbers as state has.
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
    n = _find_cells(flat, low, size, found)
    _place_vertices(flat, field, level, seen, low, size, spacing, found, n, vertices)
    sb = size + 4
    sa = sb * sb
    m = 0
    least_a, least_b, least_c = 1 if low[0] < 0 else 2, 1 if low[1] < 0 else 2, 1 if low[2] < 0 else 2
    for number in range(n):
        at = found[number]
        if at // sa < least_a or at % sa // sb < least_b or at % sb < least_c:
            continue
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
