"""Compiled kernels of the distance to the carved cavity: the least over all sweeps, kept in a narrow band.

One number per voxel, uint16: `levels` per metre, 0 = farther than the band, growing towards the inside of the cavity.
The least distance of several sweeps is the greatest number, so the order of the sweeps does not matter.
"""

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, fastmath={'nnan', 'ninf', 'nsz', 'arcp', 'contract', 'reassoc'})
def _stamp_row(
    row: Any, z0: Any, hz: Any, px: Any, py: Any, vx: Any, vy: Any, vz: Any, along: Any, inverse2: Any, reach: Any,
    levels: Any, top: Any, inner: Any, outer: Any,
) -> Any:  # fmt: skip
    """Raise one row of the field; all arithmetic in float32, relative to the start of the sweep.

    Returns:
        The first and last voxel that rose and was, or now is, in the wall between the levels outer and inner.
    """
    low, high = np.int32(1 << 30), np.int32(-1)
    zero, one = np.float32(0.0), np.float32(1.0)
    for k in range(len(row)):
        z = z0 + np.float32(k) * hz
        t = min(max((along + z * vz) * inverse2, zero), one)
        x, y, w = px - t * vx, py - t * vy, z - t * vz
        near = (reach - np.sqrt(x * x + y * y + w * w)) * levels
        value = np.int32(min(max(near, zero), top))
        old = np.int32(row[k])
        change = value > old and old < inner and value > outer
        low = min(low, np.int32(k)) if change else low
        high = max(high, np.int32(k)) if change else high
        row[k] = np.uint16(max(value, old))
    return low, high


@njit(cache=True)
def stamp_ball(
    field: Any, spacing: Any, start: Any, end: Any, radius: float, band: float, levels: float, dirty: Any, shift: int,
    skin: float,
) -> None:  # fmt: skip
    """Bring the field up to date with the sweep of a ball from start to end.

    Args:
        field: uint16, shape (ni, nj, nk); changed in place.
        spacing: Voxel size [m], shape (3,).
        start: Burr's centre before, scaled index coordinates [m], shape (3,).
        end: Burr's centre after [m], shape (3,).
        radius: Burr's radius [m].
        band: Distance [m] up to which the field knows.
        levels: Steps of the field per metre.
        dirty: One byte per brick; set to 1 where the field has risen near the cavity's wall.
        shift: A brick has 2**shift voxels along each axis.
        skin: How near to the wall [m] a change concerns the surface.
    """
    reach = radius + band
    top = np.float32(2.0 * band * levels)
    vx, vy, vz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    length2 = vx * vx + vy * vy + vz * vz
    inverse2 = 1.0 / length2 if length2 > 0.0 else 0.0
    flat2 = vx * vx + vy * vy
    ni, nj, nk = field.shape
    hx, hy, hz = spacing[0], spacing[1], spacing[2]
    first_i = max(0, math.ceil((min(start[0], end[0]) - reach) / hx))
    last_i = min(ni - 1, math.floor((max(start[0], end[0]) + reach) / hx))
    first_j = max(0, math.ceil((min(start[1], end[1]) - reach) / hy))
    last_j = min(nj - 1, math.floor((max(start[1], end[1]) + reach) / hy))
    lowest, highest = min(start[2], end[2]), max(start[2], end[2])
    inner, outer = np.int32((band + skin) * levels), np.int32((band - skin) * levels)
    for i in range(first_i, last_i + 1):
        px = i * hx - start[0]
        for j in range(first_j, last_j + 1):
            py = j * hy - start[1]
            along = px * vx + py * vy
            t = min(max(along / flat2, 0.0), 1.0) if flat2 > 0.0 else 0.0
            beside2 = (px - t * vx) ** 2 + (py - t * vy) ** 2
            if beside2 > reach * reach:
                continue
            half = math.sqrt(reach * reach - beside2)
            first = max(0, math.ceil((lowest - half) / hz))
            last = min(nk - 1, math.floor((highest + half) / hz))
            if first > last:
                continue
            one, other = _stamp_row(
                field[i, j, first : last + 1], np.float32(first * hz - start[2]), np.float32(hz), np.float32(px),
                np.float32(py), np.float32(vx), np.float32(vy), np.float32(vz), np.float32(along),
                np.float32(inverse2), np.float32(reach), np.float32(levels), top, inner, outer,
            )  # fmt: skip
            if one <= other:
                _mark(dirty, shift, i, j, first + one, first + other, field.shape)


@njit(cache=True)
def _mark(dirty: Any, shift: int, i: int, j: int, low: int, high: int, shape: Any) -> None:
    """Mark the bricks whose surface a change of the row (i, j, low … high) may touch: those a voxel around it."""
    first, last = max(0, low - 1) >> shift, min(shape[2] - 1, high + 1) >> shift
    for bi in range(max(0, i - 1) >> shift, (min(shape[0] - 1, i + 1) >> shift) + 1):
        for bj in range(max(0, j - 1) >> shift, (min(shape[1] - 1, j + 1) >> shift) + 1):
            for bk in range(first, last + 1):
                dirty[bi, bj, bk] = 1


@njit(cache=True)
def stamp_rod(
    field: Any, spacing: Any, base: Any, axis: Any, length: float, radius: float, band: float, levels: float,
    dirty: Any, shift: int, skin: float,
) -> None:  # fmt: skip
    """Bring the field up to date with a cylinder at rest.

    Args:
        field: As in `stamp_ball`, as are spacing, band, levels, dirty, shift and skin.
        spacing: Voxel size [m], shape (3,).
        base: Centre of the front face, scaled index coordinates [m], shape (3,).
        axis: Unit vector from the front face to the back, shape (3,).
        length: Length [m].
        radius: Radius [m].
        band: Distance [m] up to which the field knows.
        levels: Steps of the field per metre.
        dirty: One byte per brick.
        shift: Brick size, as a power of 2.
        skin: How near to the wall [m] a change concerns the surface.
    """
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for a in range(3):
        width = radius + band
        other = base[a] + length * axis[a]
        low[a] = max(0, math.ceil((min(base[a], other) - width) / spacing[a]))
        high[a] = min(field.shape[a] - 1, math.floor((max(base[a], other) + width) / spacing[a]))
    for i in range(low[0], high[0] + 1):
        px = i * spacing[0] - base[0]
        for j in range(low[1], high[1] + 1):
            py = j * spacing[1] - base[1]
            for k in range(low[2], high[2] + 1):
                pz = k * spacing[2] - base[2]
                along = px * axis[0] + py * axis[1] + pz * axis[2]
                beside = math.sqrt(max(0.0, px * px + py * py + pz * pz - along * along)) - radius
                end = max(-along, along - length)
                distance = max(beside, end)
                if beside > 0.0 and end > 0.0:
                    distance = math.sqrt(beside * beside + end * end)
                if distance >= band:
                    continue
                value = int((band - max(distance, -band)) * levels)
                old = field[i, j, k]
                if value > old:
                    field[i, j, k] = value
                    if old < (band + skin) * levels and distance < skin:
                        _mark(dirty, shift, i, j, k, k, field.shape)
