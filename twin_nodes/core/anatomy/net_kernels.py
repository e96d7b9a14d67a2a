"""Compiled kernels of surface nets (Gibson 1998): the faces between voxels inside and outside.

A vertex is a corner that eight voxels share. Voxel b of a corner (bit b of its pattern) lies one step down along axis
0, 1, 2 where the bits 4, 2, 1 of b are 0.
"""

from typing import Any

import numpy as np
from numba import njit


def _pieces_of_patterns() -> tuple[Any, Any]:
    """Number the voxels inside of each of the 256 patterns by which of them hang together by faces."""
    piece = np.zeros((256, 8), np.int8)
    count = np.zeros(256, np.int8)
    for pattern in range(256):
        left = {bit for bit in range(8) if pattern >> bit & 1}
        while left:
            group = [min(left)]
            left.discard(group[0])
            for bit in group:
                for near in (bit ^ 1, bit ^ 2, bit ^ 4):
                    if near in left:
                        left.discard(near)
                        group.append(near)
            piece[pattern, group] = count[pattern]
            count[pattern] += 1
    return piece, count


PIECE, PIECES = _pieces_of_patterns()
APART = 0.02  # voxels; vertices at one corner begin apart, each on the side of its own voxels


@njit(cache=True)
def survey(labels: Any, counts: Any, boxes: Any) -> None:
    """Count the voxels of each label and find its box, run by run.

    Args:
        labels: Label of each voxel, shape (ni, nj, nk).
        counts: Voxels of each label, shape (highest + 1,); written.
        boxes: First and last index along each axis, shape (highest + 1, 3, 2); written.
    """
    ni, nj, nk = labels.shape
    for label in range(len(counts)):
        counts[label] = 0
        for axis in range(3):
            boxes[label, axis, 0], boxes[label, axis, 1] = 2**31 - 1, -1
    for i in range(ni):
        for j in range(nj):
            start = 0
            while start < nk:
                label = labels[i, j, start]
                end = start + 1
                while end < nk and labels[i, j, end] == label:
                    end += 1
                counts[label] += end - start
                box = boxes[label]
                box[0, 0], box[0, 1] = min(box[0, 0], i), max(box[0, 1], i)
                box[1, 0], box[1, 1] = min(box[1, 0], j), max(box[1, 1], j)
                box[2, 0], box[2, 1] = min(box[2, 0], start), max(box[2, 1], end - 1)
                start = end


@njit(cache=True)
def cut_out(labels: Any, wanted: Any, low: Any, high: Any) -> Any:
    """Return where the labels of a box [low, high] are wanted, with one voxel of nothing around it, uint8.

    Args:
        labels: Label of each voxel.
        wanted: Whether each label is, shape (highest + 1,).
        low: First voxel of the box.
        high: Last voxel of the box.
    """
    inside = np.zeros((high[0] - low[0] + 3, high[1] - low[1] + 3, high[2] - low[2] + 3), np.uint8)
    for i in range(low[0], high[0] + 1):
        for j in range(low[1], high[1] + 1):
            for k in range(low[2], high[2] + 1):
                if wanted[labels[i, j, k]]:
                    inside[i - low[0] + 1, j - low[1] + 1, k - low[2] + 1] = 1
    return inside


@njit(cache=True)
def patterns_of_slice(inside: Any, i: int, patterns: Any) -> None:
    """Write the patterns of the corners between the slices i-1 and i of the voxels, shape (nj + 1, nk + 1)."""
    nj, nk = inside.shape[1], inside.shape[2]
    for j in range(1, nj):
        below, above = inside[i - 1], inside[i]
        pattern = 0
        for k in range(1, nk):
            pattern = (
                (pattern >> 1) & 0b01010101
                | below[j - 1, k] << 1
                | below[j, k] << 3
                | above[j - 1, k] << 5
                | above[j, k] << 7
            )
            patterns[j, k] = pattern


@njit(cache=True)
def double_edges(inside: Any, piece: Any) -> Any:
    """Return voxels to fill so that no edge is shared by four faces, each with its neighbours; shape (n, 3).

    An edge between two voxels that touch along it alone is no fault where the surface passes it twice with vertices of
    its own; it is one where both ends have the two voxels in one piece.
    """
    ni, nj, nk = inside.shape
    found = np.empty((64, 3), np.int64)
    n = 0
    before, after = np.zeros((nj + 1, nk + 1), np.uint8), np.zeros((nj + 1, nk + 1), np.uint8)
    patterns_of_slice(inside, 1, after)
    for i in range(1, ni):
        before, after = after, before
        if i + 1 < ni:
            patterns_of_slice(inside, i + 1, after)
        for j in range(1, nj):
            for k in range(1, nk):
                pattern = before[j, k]
                if pattern == 0 or pattern == 255:
                    continue
                for axis in range(3):
                    if axis == 0:
                        other = after[j, k] if i + 1 < ni else 0
                    elif axis == 1:
                        other = before[j + 1, k]
                    else:
                        other = before[j, k + 1]
                    step = 4 >> axis
                    u = 2 if axis == 0 else 4
                    v = 2 if axis == 2 else 1
                    four = (
                        pattern >> step & 1,
                        pattern >> (step | u) & 1,
                        pattern >> (step | v) & 1,
                        pattern >> (step | u | v) & 1,
                    )
                    if four[0] != four[3] or four[1] != four[2] or four[0] == four[1]:
                        continue
                    p, q = (step, step | u | v) if four[0] else (step | u, step | v)
                    if piece[pattern, p] != piece[pattern, q] or piece[other, p ^ step] != piece[other, q ^ step]:
                        continue
                    hole = step | u if four[0] else step
                    if n == len(found):
                        grown = np.empty((2 * n, 3), np.int64)
                        grown[:n] = found
                        found = grown
                    found[n, 0] = i - 1 + (hole >> 2 & 1)
                    found[n, 1] = j - 1 + (hole >> 1 & 1)
                    found[n, 2] = k - 1 + (hole & 1)
                    n += 1
    return found[:n]


@njit(cache=True)
def _vertex(first: Any, patterns: Any, piece: Any, j: int, k: int, bit: int) -> int:
    return int(first[j, k] + piece[patterns[j, k], bit])


@njit(cache=True)
def count_net(inside: Any, pieces: Any) -> tuple[int, int]:
    """Count the vertices and the quads of the net."""
    ni, nj, nk = inside.shape
    patterns = np.zeros((nj + 1, nk + 1), np.uint8)
    vertices, quads = 0, 0
    for i in range(1, ni):
        patterns_of_slice(inside, i, patterns)
        for j in range(1, nj):
            for k in range(1, nk):
                pattern = patterns[j, k]
                if pattern == 0 or pattern == 255:
                    continue
                vertices += pieces[pattern]
                own = pattern >> 7 & 1
                quads += (pattern >> 3 & 1) != own
                quads += (pattern >> 5 & 1) != own
                quads += (pattern >> 6 & 1) != own
    return vertices, quads


@njit(cache=True)
def build_net(inside: Any, piece: Any, pieces: Any, vertices: int, faces: int) -> Any:
    """Return the corners (vertices, 3) in index coordinates and the quads (faces, 4), outward for right-handed axes."""
    ni, nj, nk = inside.shape
    corners = np.empty((vertices, 3), np.float32)
    quads = np.empty((faces, 4), np.int32)
    old, new = np.zeros((nj + 1, nk + 1), np.uint8), np.zeros((nj + 1, nk + 1), np.uint8)
    old_first, first = np.zeros((nj + 1, nk + 1), np.int32), np.zeros((nj + 1, nk + 1), np.int32)
    n, m = 0, 0
    for i in range(1, ni):
        old, new = new, old
        old_first, first = first, old_first
        patterns_of_slice(inside, i, new)
        for j in range(1, nj):
            for k in range(1, nk):
                pattern = new[j, k]
                if pattern != 0 and pattern != 255:
                    first[j, k] = n
                    for number in range(pieces[pattern]):
                        corners[n, 0], corners[n, 1], corners[n, 2] = i - 0.5, j - 0.5, k - 0.5
                        if pieces[pattern] > 1:
                            for bit in range(8):
                                if pattern >> bit & 1 and piece[pattern, bit] == number:
                                    corners[n, 0] += APART if bit & 4 else -APART
                                    corners[n, 1] += APART if bit & 2 else -APART
                                    corners[n, 2] += APART if bit & 1 else -APART
                        n += 1
        for j in range(1, nj):
            for k in range(1, nk):
                pattern = new[j, k]
                if pattern == 0 or pattern == 255:
                    continue
                own = pattern >> 7 & 1
                if (pattern >> 3 & 1) != own:  # the face between voxels (i-1, j, k) and (i, j, k)
                    s = 4 if own else 0
                    a = _vertex(first, new, piece, j, k, s | 3)
                    b = _vertex(first, new, piece, j + 1, k, s | 1)
                    c = _vertex(first, new, piece, j + 1, k + 1, s)
                    d = _vertex(first, new, piece, j, k + 1, s | 2)
                    quads[m, 0], quads[m, 2] = a, c
                    quads[m, 1], quads[m, 3] = (d, b) if own else (b, d)
                    m += 1
                low = pattern >> 3 & 1  # voxel (i-1, j, k), whose faces end in this slice of corners
                if (pattern >> 1 & 1) != low:  # to voxel (i-1, j-1, k)
                    s = 2 if low else 0
                    a = _vertex(old_first, old, piece, j, k, s | 5)
                    b = _vertex(old_first, old, piece, j, k + 1, s | 4)
                    c = _vertex(first, new, piece, j, k + 1, s)
                    d = _vertex(first, new, piece, j, k, s | 1)
                    quads[m, 0], quads[m, 2] = a, c
                    quads[m, 1], quads[m, 3] = (d, b) if low else (b, d)
                    m += 1
                if (pattern >> 2 & 1) != low:  # to voxel (i-1, j, k-1)
                    s = 1 if low else 0
                    a = _vertex(old_first, old, piece, j, k, s | 6)
                    b = _vertex(first, new, piece, j, k, s | 2)
                    c = _vertex(first, new, piece, j + 1, k, s)
                    d = _vertex(old_first, old, piece, j + 1, k, s | 4)
                    quads[m, 0], quads[m, 2] = a, c
                    quads[m, 1], quads[m, 3] = (d, b) if low else (b, d)
                    m += 1
    return corners, quads[:m]
