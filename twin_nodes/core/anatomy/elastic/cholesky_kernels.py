"""Compiled kernels of a multifrontal Cholesky factorisation whose solves are dense products alone.

A group of columns is kept in chunks, each as W = [L₁₁⁻¹; -L₂₁ L₁₁⁻¹] without gaps, column by column. Then the forward
step of a chunk is b ← (W₁ b₁, b₂ + W₂ b₁) and the backward one b₁ ← Wᵀ b: one BLAS product each, no substitution.
"""

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.elastic import blas
from twin_nodes.core.anatomy.elastic.pattern import CHUNK

_ONE, _ZERO, _MINUS = blas.ONE, blas.ZERO, blas.MINUS_ONE
_CHUNK = CHUNK


@njit(cache=True, nogil=True)
def factor(
    blocks: Any, first: Any, row_start: Any, local: Any, parent: Any, entry_start: Any, entries: Any,
    panel_start: Any, at: Any, letters: Any, scale: Any, front: Any, stack: Any, values: Any,
) -> int:  # fmt: skip
    """Factor a matrix of 3 by 3 blocks.

    Args:
        blocks: The matrix, shape (b, 3, 3).
        first: Of the layout, as the six that follow.
        row_start: See `FactorLayout`.
        local: See `FactorLayout`.
        parent: See `FactorLayout`.
        entry_start: See `FactorLayout`.
        entries: See `FactorLayout`.
        panel_start: See `FactorLayout`.
        at: Addresses of the BLAS.
        letters: Its letters.
        scale: 1, -1 and 0 in the type of the factor.
        front: Room for the largest front.
        stack: Room for updates.
        values: Receives the factor.

    Returns:
        0, or the number of the first group, from 1, where the matrix is not positive definite.
    """
    whole = np.zeros(6, np.int32)
    size = values.itemsize
    top = 0
    groups = len(parent)
    waiting = np.zeros(groups, np.int64)  # number of children that wait, newest on top of the stack
    kids = np.empty(groups, np.int64)
    depth = 0
    for g in range(groups):
        own, below = 3 * (first[g + 1] - first[g]), 3 * (row_start[g + 1] - row_start[g])
        height = own + below
        dense = front[: height * height].reshape((height, height))  # [column, row], rows below the diagonal hold
        dense[:, :] = 0.0
        for e in range(entry_start[g], entry_start[g + 1]):
            block, row, column = entries[e, 0], 3 * entries[e, 1], 3 * entries[e, 2]
            for j in range(3):
                for i in range(3):
                    dense[column + j, row + i] += blocks[block, i, j]
        for _ in range(waiting[g]):
            depth -= 1
            child = kids[depth]
            top -= _extend(child, row_start, local, dense, stack, top)
        base = dense.ctypes.data
        if blas.potrf(at, letters, base, height, own, whole) != 0:
            return g + 1
        if below > 0:
            blas.triangle_right(
                at[blas.TRSM], letters, True, below, own, scale, _ONE, base, height, base + own * size, height, whole
            )
            corner = base + (own * height + own) * size
            blas.syrk(at, letters, below, own, scale, base + own * size, height, corner, height, whole)
            update = stack[top : top + below * below].reshape((below, below))
            for j in range(below):
                for i in range(j, below):
                    update[j, i] = dense[own + j, own + i]
            top += below * below
        if parent[g] >= 0:
            kids[depth] = g
            depth += 1
            waiting[parent[g]] += 1
        if not _keep(dense, own, height, values, panel_start[g], at, letters, scale, whole):
            return g + 1  # NaN passes through LAPACK unseen
    return 0


@njit(cache=True, nogil=True)
def _extend(child: int, row_start: Any, local: Any, dense: Any, stack: Any, top: int) -> Any:
    """Add the update of a child to the front of its parent; return its size."""
    low, high = row_start[child], row_start[child + 1]
    below = 3 * (high - low)
    if below == 0:
        return 0
    update = stack[top - below * below : top].reshape((below, below))
    for q in range(high - low):
        column = 3 * local[low + q]
        for j in range(3):
            line = update[3 * q + j]
            target = dense[column + j]
            for p in range(q, high - low):
                row = 3 * local[low + p]
                for i in range(3):
                    if 3 * p + i >= 3 * q + j:
                        target[row + i] += line[3 * p + i]
    return below * below


@njit(cache=True, nogil=True)
def _keep(
    dense: Any, own: int, height: int, values: Any, start: int, at: Any, letters: Any, scale: Any, whole: Any
) -> bool:
    """Turn the columns of a front into chunks W and keep them; return whether they are finite."""
    size = values.itemsize
    for low in range(0, own, _CHUNK):
        width = min(_CHUNK, own - low)
        rest = height - low
        chunk = values[start : start + width * rest].reshape((width, rest))
        for j in range(width):
            for i in range(j):
                chunk[j, i] = 0.0
            for i in range(j, rest):
                chunk[j, i] = dense[low + j, low + i]
        base = chunk.ctypes.data
        blas.trtri(at, letters, base, rest, width, whole)
        if rest > width:
            blas.triangle_right(
                at[blas.TRMM], letters, False, rest - width, width, scale, blas.MINUS_ONE, base, rest,
                base + width * size, rest, whole,
            )  # fmt: skip
        for j in range(width):
            if not np.isfinite(chunk[j, j]):
                return False
        start += width * rest
    return True


@njit(cache=True, nogil=True)
def forward(
    values: Any, first: Any, row_start: Any, rows: Any, panel_start: Any, at: Any, letters: Any, scale: Any, x: Any,
    room: Any,
) -> None:  # fmt: skip
    """Apply L⁻¹ to x in place, in the order of elimination, shape (3 f,); `room` holds two of the largest front."""
    whole = np.zeros(6, np.int32)
    size = values.itemsize
    front, part = room[0], room[1]
    for g in range(len(first) - 1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        front[:own] = x[low : low + own]
        front[own:height] = 0.0
        start = panel_start[g]
        for c in range(0, own, _CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            part[:width] = front[c : c + width]
            front[c : c + width] = 0.0
            blas.gemv(
                at, letters, False, rest, width, scale, values.ctypes.data + start * size, part.ctypes.data, _ONE,
                front.ctypes.data + c * size, whole,
            )  # fmt: skip
            start += width * rest
        x[low : low + own] = front[:own]
        for p in range(count):
            row, i = 3 * rows[row_start[g] + p], own + 3 * p
            x[row] += front[i]
            x[row + 1] += front[i + 1]
            x[row + 2] += front[i + 2]


@njit(cache=True, nogil=True)
def backward(
    values: Any, first: Any, row_start: Any, rows: Any, panel_start: Any, at: Any, letters: Any, scale: Any, x: Any,
    room: Any,
) -> None:  # fmt: skip
    """Apply L⁻ᵀ to x in place, in the order of elimination, shape (3 f,); `room` holds two of the largest front."""
    whole = np.zeros(6, np.int32)
    size = values.itemsize
    front, part = room[0], room[1]
    for g in range(len(first) - 2, -1, -1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        front[:own] = x[low : low + own]
        for p in range(count):
            row, i = 3 * rows[row_start[g] + p], own + 3 * p
            front[i], front[i + 1], front[i + 2] = x[row], x[row + 1], x[row + 2]
        end = panel_start[g + 1]
        for c in range(((own - 1) // _CHUNK) * _CHUNK, -1, -_CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            end -= width * rest
            blas.gemv(
                at, letters, True, rest, width, scale, values.ctypes.data + end * size,
                front.ctypes.data + c * size, _ZERO, part.ctypes.data, whole,
            )  # fmt: skip
            front[c : c + width] = part[:width]
        x[low : low + own] = front[:own]


@njit(cache=True, nogil=True)
def forward_many(
    values: Any, first: Any, row_start: Any, rows: Any, panel_start: Any, at: Any, letters: Any, scale: Any, x: Any,
    front: Any, part: Any,
) -> None:  # fmt: skip
    """Apply L⁻¹ to each row of x (k, 3 f) in place; groups that hold zeros alone cost nothing.

    Args:
        values: The factor.
        first: Of the layout, as the three that follow.
        row_start: See `FactorLayout`.
        rows: See `FactorLayout`.
        panel_start: See `FactorLayout`.
        at: Addresses of the BLAS.
        letters: Its letters.
        scale: 1, -1 and 0.
        x: Right sides, in the order of elimination.
        front: Room (k, largest).
        part: Room (k, CHUNK).
    """
    whole = np.zeros(6, np.int32)
    size = values.itemsize
    k, room_height = len(x), front.shape[1]
    for g in range(len(first) - 1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        if not np.any(x[:, low : low + own]):
            continue
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        front[:, :own] = x[:, low : low + own]
        front[:, own:height] = 0.0
        start = panel_start[g]
        for c in range(0, own, _CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            part[:, :width] = front[:, c : c + width]
            front[:, c : c + width] = 0.0
            blas.gemm(
                at, letters, False, rest, k, width, scale, values.ctypes.data + start * size, rest, part.ctypes.data,
                _CHUNK, _ONE, front.ctypes.data + c * size, room_height, whole,
            )  # fmt: skip
            start += width * rest
        x[:, low : low + own] = front[:, :own]
        for s in range(k):
            for p in range(count):
                row, i = 3 * rows[row_start[g] + p], own + 3 * p
                x[s, row] += front[s, i]
                x[s, row + 1] += front[s, i + 1]
                x[s, row + 2] += front[s, i + 2]


@njit(cache=True, nogil=True)
def backward_many(
    values: Any, first: Any, row_start: Any, rows: Any, panel_start: Any, at: Any, letters: Any, scale: Any, x: Any,
    front: Any, part: Any,
) -> None:  # fmt: skip
    """Apply L⁻ᵀ to each row of x (k, 3 f) in place; the arguments are those of `forward_many`."""
    whole = np.zeros(6, np.int32)
    size = values.itemsize
    k, room_height = len(x), front.shape[1]
    for g in range(len(first) - 2, -1, -1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        front[:, :own] = x[:, low : low + own]
        for s in range(k):
            for p in range(count):
                row, i = 3 * rows[row_start[g] + p], own + 3 * p
                front[s, i], front[s, i + 1], front[s, i + 2] = x[s, row], x[s, row + 1], x[s, row + 2]
        end = panel_start[g + 1]
        for c in range(((own - 1) // _CHUNK) * _CHUNK, -1, -_CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            end -= width * rest
            blas.gemm(
                at, letters, True, width, k, rest, scale, values.ctypes.data + end * size, rest,
                front.ctypes.data + c * size, room_height, _ZERO, part.ctypes.data, _CHUNK, whole,
            )  # fmt: skip
            front[:, c : c + width] = part[:, :width]
        x[:, low : low + own] = front[:, :own]


@njit(cache=True, nogil=True)
def log_determinant(values: Any, first: Any, row_start: Any, panel_start: Any) -> float:
    """Return ln det of the factored matrix: the diagonals of the chunks are those of L⁻¹."""
    total = 0.0
    for g in range(len(first) - 1):
        own = 3 * (first[g + 1] - first[g])
        height = own + 3 * (row_start[g + 1] - row_start[g])
        start = panel_start[g]
        for c in range(0, own, _CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            for j in range(width):
                total -= 2.0 * np.log(values[start + j * rest + j])
            start += width * rest
    return total
