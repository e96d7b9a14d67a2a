"""Compiled solves with a factor that is kept in tiles of 16-bit values (`tiles`), half of what has to be read.

The chunks of `cholesky_kernels` are cut in tiles of LANES rows, of the columns that are not zero there; the last one is
filled up with zeros.
"""

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.elastic import tiles
from twin_nodes.core.anatomy.elastic.pattern import CHUNK
from twin_nodes.core.anatomy.elastic.tiles import FOLD, LANES

_CHUNK, _LANES, _FOLD = CHUNK, LANES, FOLD


@njit(cache=True, nogil=True)
def chunk_size(width: int, rest: int) -> int:
    """Return the values of a chunk of so many columns and rows."""
    columns = width * ((rest + _LANES - 1) // _LANES)
    for seen in range(_LANES, width, _LANES):
        columns -= width - seen
    return columns * _LANES


@njit(cache=True, nogil=True)
def tile_starts(first: Any, row_start: Any, start: Any) -> None:
    """Write the start of each group's tiles, and their end, shape (g + 1,)."""
    at = 0
    for g in range(len(first) - 1):
        start[g] = at
        own = 3 * (first[g + 1] - first[g])
        height = own + 3 * (row_start[g + 1] - row_start[g])
        for c in range(0, own, _CHUNK):
            at += chunk_size(min(_CHUNK, own - c), height - c)
    start[len(first) - 1] = at


@njit(cache=True, nogil=True)
def pack(values: Any, first: Any, row_start: Any, panel_start: Any, start: Any, kept: Any) -> None:
    """Round a factor (`CholeskyFactor.values`, float32) into tiles."""
    last = np.zeros(_LANES, values.dtype)
    source, target = values.ctypes.data, kept.ctypes.data
    for g in range(len(first) - 1):
        own = 3 * (first[g + 1] - first[g])
        height = own + 3 * (row_start[g + 1] - row_start[g])
        at, low = start[g], panel_start[g]
        for c in range(0, own, _CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            for top in range(0, rest, _LANES):
                many = min(_LANES, rest - top)
                last[many:] = 0.0
                for j in range(min(width, top + _LANES)):
                    line = low + j * rest + top
                    if many == _LANES:
                        tiles.narrow(source + line * values.itemsize, target + at * kept.itemsize)
                    else:
                        for i in range(many):
                            last[i] = values[line + i]
                        tiles.narrow(last.ctypes.data, target + at * kept.itemsize)
                    at += _LANES
            low += width * rest


@njit(cache=True, nogil=True)
def forward(kept: Any, first: Any, row_start: Any, rows: Any, start: Any, x: Any, room: Any) -> None:
    """Apply L⁻¹ to x (k, 3 f), one or three right sides in the order of elimination, in place.

    Groups that hold zeros alone cost nothing.

    Args:
        kept: The tiles.
        first: Of the layout, as the two that follow.
        row_start: See `FactorLayout`.
        rows: See `FactorLayout`.
        start: Of each group's tiles, shape (g + 1,).
        x: Right sides.
        room: Room (k, largest front + CHUNK + LANES).
    """
    k, beyond = len(x), room.shape[1] - _CHUNK  # in front of `beyond` the front, behind it a chunk of it
    step, tile = room.strides[0], kept.ctypes.data
    front = room.ctypes.data
    part = front + beyond * room.itemsize
    for g in range(len(first) - 1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        if not np.any(x[:, low : low + own]):
            continue
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        room[:, :own] = x[:, low : low + own]
        room[:, own:height] = 0.0
        at = tile + start[g] * kept.itemsize
        for c in range(0, own, _CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            room[:, beyond : beyond + width] = room[:, c : c + width]
            room[:, c : c + width] = 0.0
            for top in range(0, rest, _LANES):
                columns, y = min(width, top + _LANES), front + (c + top) * room.itemsize
                if k == 1:
                    tiles.add_one(at, columns, part, step, y, step)
                else:
                    tiles.add_three(at, columns, part, step, y, step)
                at += columns * _LANES * kept.itemsize
        x[:, low : low + own] = room[:, :own]
        for s in range(k):
            for p in range(count):
                row, i = 3 * rows[row_start[g] + p], own + 3 * p
                x[s, row] += room[s, i]
                x[s, row + 1] += room[s, i + 1]
                x[s, row + 2] += room[s, i + 2]


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def backward(kept: Any, first: Any, row_start: Any, rows: Any, start: Any, x: Any, front: Any, sums: Any) -> None:
    """Apply L⁻ᵀ to x (3 f,), in the order of elimination, in place.

    Args:
        kept: The tiles.
        first: Of the layout, as the two that follow.
        row_start: See `FactorLayout`.
        rows: See `FactorLayout`.
        start: Of each group's tiles, shape (g + 1,).
        x: The right side.
        front: Room (largest front + LANES,).
        sums: Room (CHUNK, FOLD).
    """
    tile, base, total = kept.ctypes.data, front.ctypes.data, sums.ctypes.data
    for g in range(len(first) - 2, -1, -1):
        low, own = 3 * first[g], 3 * (first[g + 1] - first[g])
        count = row_start[g + 1] - row_start[g]
        height = own + 3 * count
        front[:own] = x[low : low + own]
        for p in range(count):
            row, i = 3 * rows[row_start[g] + p], own + 3 * p
            front[i], front[i + 1], front[i + 2] = x[row], x[row + 1], x[row + 2]
        front[height : height + _LANES] = 0.0
        end = start[g + 1]
        for c in range(((own - 1) // _CHUNK) * _CHUNK, -1, -_CHUNK):
            width, rest = min(_CHUNK, own - c), height - c
            end -= chunk_size(width, rest)
            at = tile + end * kept.itemsize
            sums[:width] = 0.0
            for top in range(0, rest, _LANES):
                columns = min(width, top + _LANES)
                tiles.dot(at, columns, base + (c + top) * front.itemsize, total)
                at += columns * _LANES * kept.itemsize
            for j in range(width):
                found = sums[j, 0]
                for lane in range(1, _FOLD):
                    found += sums[j, lane]
                front[c + j] = found
        x[low : low + own] = front[:own]
