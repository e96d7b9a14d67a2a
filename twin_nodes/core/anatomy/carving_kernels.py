"""Compiled kernels: which voxels a moving round burr has covered, and taking them away.

Points are in index coordinates scaled to metres: voxel (i, j, k) has its centre at (i·hx, j·hy, k·hz). A voxel is one
byte: its label 0 … 127, with `REMOVED` added once it is gone.
"""

import math
from typing import Any

import numpy as np
from numba import njit, uint64

REMOVED = 128
DOUBT = 1e-12  # a distance squared this near to the limit (relative) could be decided otherwise by rounding


@njit(cache=True)
def voxel_hash(index: int) -> Any:
    """Return 64 well mixed bits of a voxel's linear index (SplitMix64, Steele et al. 2014)."""
    z = uint64(index) + uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


@njit(cache=True)
def take(voxels: Any, i: int, j: int, first: int, last: int, found: Any, counts: Any, tally: Any) -> None:
    """Remove the voxels first … last of a row; what was there goes to `found`, `counts` and `tally`.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk); changed in place.
        i: Row.
        j: Row.
        first: First voxel, inside the volume.
        last: Last voxel, inside the volume.
        found: Receives the linear indices of the voxels removed, int64.
        counts: Number removed of each label, int64, shape (128,); added to.
        tally: [number found, sum of hashes mod 2⁶⁴, doubtful voxels, low corner (3), high corner (3)], uint64 or int64.
    """
    nj, nk = voxels.shape[1], voxels.shape[2]
    for k in range(first, last + 1):
        label = voxels[i, j, k]
        if label == 0 or label >= REMOVED:
            continue
        voxels[i, j, k] = label + REMOVED
        counts[label] += 1
        index = (i * nj + j) * nk + k
        found[tally[0]] = index
        tally[0] += 1
        tally[1] += np.int64(voxel_hash(index))
        tally[3], tally[6] = min(tally[3], i), max(tally[6], i)
        tally[4], tally[7] = min(tally[4], j), max(tally[7], j)
        tally[5], tally[8] = min(tally[5], k), max(tally[8], k)


@njit(cache=True, inline='always')
def _squared(px: float, py: float, pz: float, vx: float, vy: float, vz: float, length2: float) -> float:
    """Squared distance of p, taken from the start of the segment 0 → v, to the segment."""
    t = 0.0
    if length2 > 0.0:
        t = min(max((px * vx + py * vy + pz * vz) / length2, 0.0), 1.0)
    x, y, z = px - t * vx, py - t * vy, pz - t * vz
    return x * x + y * y + z * z


@njit(cache=True)
def _row_reach(
    wx: float, wy: float, vx: float, vy: float, vz: float, length2: float, radius2: float
) -> tuple[float, float]:
    """Least and greatest z (from the start of the segment) of a row inside the capsule, up to rounding; empty: 1, 0."""
    low, high = np.inf, -np.inf
    slack = 1e-9 * radius2
    gap = radius2 - wx * wx - wy * wy
    if gap > -slack:
        half = math.sqrt(max(gap, 0.0))
        low, high = -half, half
    ex, ey = wx - vx, wy - vy
    gap = radius2 - ex * ex - ey * ey
    if gap > -slack:
        half = math.sqrt(max(gap, 0.0))
        low, high = min(low, vz - half), max(high, vz + half)
    flat = vx * vx + vy * vy
    if length2 > 0.0 and flat > 1e-12 * length2:
        along = wx * vx + wy * vy
        a = flat / length2
        b = along * vz / length2
        gap = b * b - a * (wx * wx + wy * wy - along * along / length2 - radius2)
        if gap > -slack * a:
            half = math.sqrt(max(gap, 0.0)) / a
            begin, end = b / a - half, b / a + half
            if vz * vz > 1e-24 * length2:
                one, other = -along / vz, (length2 - along) / vz
                begin, end = max(begin, min(one, other)), min(end, max(one, other))
            elif not 0.0 <= along <= length2:
                begin, end = 1.0, 0.0
            if begin <= end:
                low, high = min(low, begin), max(high, end)
    if low > high:
        return 1.0, 0.0
    return low, high


@njit(cache=True)
def sweep_ball(
    voxels: Any, spacing: Any, start: Any, end: Any, radius: float, found: Any, counts: Any, tally: Any
) -> None:
    """Remove the voxels whose centre is within `radius` of the segment start → end.

    The capsule is convex, so each row of voxels meets it in one interval; its ends are found by formula and settled by
    the distance itself, so that no voxel is decided by the formula's rounding.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk); changed in place.
        spacing: Voxel size [m], shape (3,).
        start: Burr's centre before, scaled index coordinates [m], shape (3,).
        end: Burr's centre after [m], shape (3,).
        radius: Burr's radius [m].
        found: As in `take`, as are `counts` and `tally`.
        counts: As in `take`.
        tally: As in `take`.
    """
    ni, nj, nk = voxels.shape
    hx, hy, hz = spacing[0], spacing[1], spacing[2]
    vx, vy, vz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    length2 = vx * vx + vy * vy + vz * vz
    radius2 = radius * radius
    doubt = DOUBT * radius2
    first_i = max(0, math.ceil((min(start[0], end[0]) - radius) / hx))
    last_i = min(ni - 1, math.floor((max(start[0], end[0]) + radius) / hx))
    first_j = max(0, math.ceil((min(start[1], end[1]) - radius) / hy))
    last_j = min(nj - 1, math.floor((max(start[1], end[1]) + radius) / hy))
    for i in range(first_i, last_i + 1):
        wx = i * hx - start[0]
        for j in range(first_j, last_j + 1):
            wy = j * hy - start[1]
            low, high = _row_reach(wx, wy, vx, vy, vz, length2, radius2)
            if low > high:
                continue
            first = math.ceil((start[2] + low) / hz)
            last = math.floor((start[2] + high) / hz)
            if first > last + 1:  # rounding only
                last = first - 1
            while _squared(wx, wy, (first - 1) * hz - start[2], vx, vy, vz, length2) <= radius2:
                first -= 1
            while first <= last and _squared(wx, wy, first * hz - start[2], vx, vy, vz, length2) > radius2:
                first += 1
            last = max(last, first - 1)
            while _squared(wx, wy, (last + 1) * hz - start[2], vx, vy, vz, length2) <= radius2:
                last += 1
            while first <= last and _squared(wx, wy, last * hz - start[2], vx, vy, vz, length2) > radius2:
                last -= 1
            for k in (first - 1, first, last, last + 1):
                if abs(_squared(wx, wy, k * hz - start[2], vx, vy, vz, length2) - radius2) <= doubt:
                    tally[2] += 1
            take(voxels, i, j, max(first, 0), min(last, nk - 1), found, counts, tally)


@njit(cache=True)
def nearest_of_labels(voxels: Any, spacing: Any, centre: Any, reach: float, squared: Any) -> None:
    """Find, for each label, the least squared distance of a remaining voxel's centre to a point.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk).
        spacing: Voxel size [m], shape (3,).
        centre: The point, scaled index coordinates [m], shape (3,).
        reach: How far is looked [m].
        squared: Least squared distances [m²], shape (128,), filled with inf by the caller; changed in place.
    """
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        first[axis] = max(0, math.ceil((centre[axis] - reach) / spacing[axis]))
        last[axis] = min(voxels.shape[axis] - 1, math.floor((centre[axis] + reach) / spacing[axis]))
    for i in range(first[0], last[0] + 1):
        for j in range(first[1], last[1] + 1):
            for k in range(first[2], last[2] + 1):
                label = voxels[i, j, k]
                if label == 0 or label >= REMOVED:
                    continue
                px, py, pz = i * spacing[0] - centre[0], j * spacing[1] - centre[1], k * spacing[2] - centre[2]
                squared[label] = min(squared[label], px * px + py * py + pz * pz)


@njit(cache=True)
def first_along(voxels: Any, spacing: Any, start: Any, direction: Any, reach: float, depths: Any) -> None:
    """March a ray from voxel to voxel and note where it first enters a remaining voxel of each label.

    Amanatides and Woo (1987).

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk).
        spacing: Voxel size [m], shape (3,).
        start: Scaled index coordinates [m], shape (3,).
        direction: Unit vector, shape (3,).
        reach: Length of the ray [m].
        depths: Distance along the ray [m], shape (128,), filled with inf by the caller; changed in place.
    """
    cell = np.empty(3, np.int64)
    following, stride = np.empty(3), np.empty(3)
    for axis in range(3):
        cell[axis] = math.floor(start[axis] / spacing[axis] + 0.5)
        d = direction[axis]
        border = (cell[axis] + (0.5 if d > 0.0 else -0.5)) * spacing[axis]
        following[axis] = (border - start[axis]) / d if d != 0.0 else np.inf
        stride[axis] = spacing[axis] / abs(d) if d != 0.0 else np.inf
    along = 0.0
    while along <= reach:
        i, j, k = cell[0], cell[1], cell[2]
        if 0 <= i < voxels.shape[0] and 0 <= j < voxels.shape[1] and 0 <= k < voxels.shape[2]:
            label = voxels[i, j, k]
            if 0 < label < REMOVED:
                depths[label] = min(depths[label], along)
        axis = 0
        if following[1] < following[axis]:
            axis = 1
        if following[2] < following[axis]:
            axis = 2
        along = following[axis]
        following[axis] += stride[axis]
        cell[axis] += 1 if direction[axis] > 0.0 else -1


@njit(cache=True)
def restore(voxels: Any) -> None:
    """Bring all removed voxels back."""
    flat = voxels.ravel()
    for index in range(len(flat)):
        flat[index] &= 127


@njit(cache=True)
def take_runs(voxels: Any, starts: Any, lengths: Any, tally: Any) -> None:
    """Mark runs of voxels as removed, as a receiver does; those marked already are left.

    Args:
        voxels: uint8, shape (ni, nj, nk), 0 or `REMOVED` (or labels, kept); changed in place.
        starts: Linear index of the first voxel of each run, int64.
        lengths: Number of voxels of each run, int64.
        tally: [voxels newly marked, sum of their hashes], int64; added to.
    """
    flat = voxels.reshape(-1)
    for run in range(len(starts)):
        for index in range(starts[run], starts[run] + lengths[run]):
            if flat[index] < REMOVED:
                flat[index] += REMOVED
                tally[0] += 1
                tally[1] += np.int64(voxel_hash(index))
