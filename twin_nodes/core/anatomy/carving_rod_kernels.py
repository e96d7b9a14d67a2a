"""Compiled kernels: which voxels a cylinder has covered that moves straight and turns evenly, and which are near it.

Points are in index coordinates scaled to metres, as in `carving_kernels`. The decision does not depend on how a motion
is cut into pieces: for each voxel the interval of the motion is halved until derivatives prove it in or out, down to
`LEAST` of the motion; what is left then is counted as doubtful and taken away.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.carving_kernels import REMOVED, take

LEAST = 2.0**-22
MOST_HALVINGS = 20_000


@njit(cache=True)
def _covered(
    px: float, py: float, pz: float, motion: Any, angle: float, length: float, radius2: float, edge: float, stack: Any
) -> int:
    """Return 1 when the point is covered at some instant, 0 when at none, 2 when rounding would decide.

    With w(s) from the front face's centre to the point and a(s) the axis, the point is inside where A = w·a lies in
    0 … length and ρ² = w·w − A² is at most r². Taylor's theorem bounds both over each interval.

    Args:
        px: Point relative to the start of the front face [m].
        py: Point [m].
        pz: Point [m].
        motion: Rows: shift of the front face [m]; the axis' parts along the rotation axis, across it, and their cross
            product, shape (4, 3).
        angle: Angle of the rotation [rad].
        length: Length of the cylinder [m].
        radius2: Square of its radius [m²].
        edge: How far [m] beyond the faces a point still counts.
        stack: Room for intervals, shape (64, 2).
    """
    speed = math.sqrt(motion[0, 0] ** 2 + motion[0, 1] ** 2 + motion[0, 2] ** 2)
    far = math.sqrt(px * px + py * py + pz * pz) + speed
    slope = speed + far * angle
    bend = 2.0 * speed * angle + far * angle * angle
    bend_square = 2.0 * speed * speed + 2.0 * slope * slope + 2.0 * far * bend
    if angle == 0.0:
        bend_square = 2.0 * speed * speed
    stack[0, 0], stack[0, 1] = 0.5, 0.5
    depth, doubtful = 1, False
    for _ in range(MOST_HALVINGS):
        if depth == 0:
            return 2 if doubtful else 0
        depth -= 1
        s, half = stack[depth, 0], stack[depth, 1]
        sine, cosine = math.sin(s * angle), math.cos(s * angle)
        a_dot_w, turn, shift, w2, w_shift = 0.0, 0.0, 0.0, 0.0, 0.0
        for axis in range(3):
            w = (px if axis == 0 else py if axis == 1 else pz) - s * motion[0, axis]
            a = motion[1, axis] + cosine * motion[2, axis] + sine * motion[3, axis]
            a_dot_w += w * a
            turn += w * angle * (cosine * motion[3, axis] - sine * motion[2, axis])
            shift += motion[0, axis] * a
            w2 += w * w
            w_shift += w * motion[0, axis]
        beside = w2 - a_dot_w * a_dot_w - radius2
        if beside <= 0.0 and -edge <= a_dot_w <= length + edge:
            return 1
        slope_a = turn - shift
        slope_beside = -2.0 * w_shift - 2.0 * a_dot_w * slope_a
        spread_a = abs(slope_a) * half + 0.5 * bend * half * half
        spread_beside = abs(slope_beside) * half + 0.5 * bend_square * half * half
        if beside > spread_beside or a_dot_w - spread_a > length + edge or a_dot_w + spread_a < -edge:
            continue
        if half < LEAST:
            doubtful = True
            continue
        stack[depth, 0], stack[depth, 1] = s - 0.5 * half, 0.5 * half
        stack[depth + 1, 0], stack[depth + 1, 1] = s + 0.5 * half, 0.5 * half
        depth += 2
    return 2


@njit(cache=True)
def sweep_rod(
    voxels: Any, spacing: Any, base: Any, motion: Any, angle: float, length: float, radius: float, edge: float,
    found: Any, counts: Any, tally: Any,
) -> None:  # fmt: skip
    """Remove the voxels whose centre a moving cylinder has covered.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk); changed in place.
        spacing: Voxel size [m], shape (3,).
        base: Centre of the front face at the start, scaled index coordinates [m], shape (3,).
        motion: As in `_covered`.
        angle: Angle of the rotation [rad].
        length: Length of the cylinder [m].
        radius: Radius [m].
        edge: How far [m] beyond the faces a voxel still counts.
        found: As in `carving_kernels.take`, as are `counts` and `tally`.
        counts: As in `take`.
        tally: As in `take`.
    """
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        low, high = np.inf, -np.inf
        for s in (0.0, 1.0):
            a = motion[1, axis] + math.cos(s * angle) * motion[2, axis] + math.sin(s * angle) * motion[3, axis]
            face = base[axis] + s * motion[0, axis]
            low = min(low, min(face, face + length * a))
            high = max(high, max(face, face + length * a))
        margin = radius + edge + length * angle * angle / 8.0
        first[axis] = max(0, math.ceil((low - margin) / spacing[axis]))
        last[axis] = min(voxels.shape[axis] - 1, math.floor((high + margin) / spacing[axis]))
    stack = np.empty((64, 2))
    for i in range(first[0], last[0] + 1):
        for j in range(first[1], last[1] + 1):
            for k in range(first[2], last[2] + 1):
                if voxels[i, j, k] == 0 or voxels[i, j, k] >= REMOVED:
                    continue
                px, py, pz = i * spacing[0] - base[0], j * spacing[1] - base[1], k * spacing[2] - base[2]
                state = _covered(px, py, pz, motion, angle, length, radius * radius, edge, stack)
                if state == 2:
                    tally[2] += 1
                if state > 0:
                    take(voxels, i, j, k, k, found, counts, tally)


@njit(cache=True)
def nearest_to_rod(
    voxels: Any, spacing: Any, tip: Any, back: Any, length: float, radius: float, reach: float, nearest: Any
) -> None:
    """Find, for each label, the least distance of a remaining voxel's centre to a cylinder at rest.

    Args:
        voxels: Labels, uint8, shape (ni, nj, nk).
        spacing: Voxel size [m], shape (3,).
        tip: Centre of the front face, scaled index coordinates [m], shape (3,).
        back: Unit vector from the front face to the back, shape (3,).
        length: Of the cylinder [m].
        radius: Of the cylinder [m].
        reach: How far from it is looked [m].
        nearest: Least signed distances [m], negative inside, shape (128,), filled with inf; changed in place.
    """
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        end = tip[axis] + length * back[axis]
        first[axis] = max(0, math.ceil((min(tip[axis], end) - radius - reach) / spacing[axis]))
        last[axis] = min(voxels.shape[axis] - 1, math.floor((max(tip[axis], end) + radius + reach) / spacing[axis]))
    for i in range(first[0], last[0] + 1):
        for j in range(first[1], last[1] + 1):
            for k in range(first[2], last[2] + 1):
                label = voxels[i, j, k]
                if label == 0 or label >= REMOVED:
                    continue
                px, py, pz = i * spacing[0] - tip[0], j * spacing[1] - tip[1], k * spacing[2] - tip[2]
                along = px * back[0] + py * back[1] + pz * back[2]
                aside = math.sqrt(max(px * px + py * py + pz * pz - along * along, 0.0)) - radius
                beyond = max(-along, along - length)
                if aside <= 0.0 or beyond <= 0.0:
                    nearest[label] = min(nearest[label], max(aside, beyond))
                else:
                    nearest[label] = min(nearest[label], math.sqrt(aside * aside + beyond * beyond))
