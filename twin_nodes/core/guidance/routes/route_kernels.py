"""Clearance along straight and bent ways, by marching as far as the distance allows."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.distance_kernels import look_up

# the trilinear distance may change a little faster than one metre a metre, the σ of a turned anatomy as well
_SLOPE = 1.1
_LEAST_STEP = 0.5  # of the spacing of the grid: a smooth least between two steps is missed by its second order


@njit(cache=True)
def point_on(way: Any, share: float) -> Any:
    """Point at a share of a way: start (3), end (3), unit bulge (3), curvature."""
    return _point(way, share, *_arc(way))


@njit(cache=True)
def _arc(way: Any) -> Any:
    """Chord [m], half the angle and its cosine of a way; 0, 0, 1 for a straight one."""
    if way[9] == 0.0:
        return 0.0, 0.0, 1.0
    chord = math.sqrt((way[3] - way[0]) ** 2 + (way[4] - way[1]) ** 2 + (way[5] - way[2]) ** 2)
    half = math.asin(min(0.5 * chord * way[9], 1.0))
    return chord, half, math.cos(half)


@njit(cache=True)
def _point(way: Any, share: float, chord: float, half: float, cosine: float) -> Any:
    along, aside = share, 0.0
    if chord > 0.0:
        angle = (2.0 * share - 1.0) * half
        along = 0.5 + math.sin(angle) / (way[9] * chord)
        aside = (math.cos(angle) - cosine) / way[9]
    return (
        way[0] + along * (way[3] - way[0]) + aside * way[6],
        way[1] + along * (way[4] - way[1]) + aside * way[7],
        way[2] + along * (way[5] - way[2]) + aside * way[8],
    )


@njit(cache=True)
def length_of(way: Any) -> Any:
    """Length of a way [m]."""
    chord = math.sqrt((way[3] - way[0]) ** 2 + (way[4] - way[1]) ** 2 + (way[5] - way[2]) ** 2)
    if way[9] == 0.0:
        return chord
    return 2.0 * math.asin(min(0.5 * chord * way[9], 1.0)) / way[9]


@njit(cache=True)
def lengths_of(ways: Any) -> Any:
    """Lengths of ways [m], shape (m,)."""
    lengths = np.empty(len(ways))
    for index in range(len(ways)):
        lengths[index] = length_of(ways[index])
    return lengths


@njit(cache=True)
def lower_margins(
    values: Any, origin: Any, spacing: float, ways: Any, radius: float, covariance: Any, grid_variance: float,
    sigmas: float, floors: Any, margins: Any,
) -> None:  # fmt: skip
    """Lower the margin of each way to that of one structure, in place.

    The margin is the least of distance − radius − sigmas·σ over the way. From a place where it exceeds the least so
    far by m, none below the least can come within m, so the march steps that far. It starts with the end, which all
    ways share and which often is the narrowest; a way below its floor is not looked at further. Far from the structure
    the greatest σ of the way stands for σ.
    """
    spread = math.sqrt(covariance[0, 0] + covariance[1, 1] + covariance[2, 2] + grid_variance)
    turning = math.sqrt(covariance[3, 3] + covariance[4, 4] + covariance[5, 5])
    for index in range(len(ways)):
        way = ways[index]
        length = length_of(way)
        distance, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, way[3], way[4], way[5])
        sigma = math.sqrt(_variance(covariance, way[3], way[4], way[5], gx, gy, gz) + grid_variance)
        least = min(margins[index], distance - radius - sigmas * sigma)
        taken = radius + sigmas * (spread + turning * _farthest(way))
        chord, half, cosine = _arc(way)
        at = 0.0
        while at < length and least >= floors[index]:
            px, py, pz = _point(way, at / length, chord, half, cosine)
            sure = _distance(values, origin[0], origin[1], origin[2], spacing, px, py, pz) - taken
            if sure <= least:
                distance, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, px, py, pz)
                sigma = math.sqrt(_variance(covariance, px, py, pz, gx, gy, gz) + grid_variance)
                sure = distance - radius - sigmas * sigma
                least = min(least, sure)
            at += max((sure - least) / _SLOPE, _LEAST_STEP * spacing)
        margins[index] = least


@njit(cache=True)
def _farthest(way: Any) -> float:
    """A bound of the distance of the points of a way from the origin [m]."""
    start = math.sqrt(way[0] ** 2 + way[1] ** 2 + way[2] ** 2)
    end = math.sqrt(way[3] ** 2 + way[4] ** 2 + way[5] ** 2)
    return max(start, end) + (0.0 if way[9] == 0.0 else 0.5 * length_of(way))


@njit(cache=True)
def _distance(values: Any, ox: float, oy: float, oz: float, spacing: float, px: float, py: float, pz: float) -> float:
    """Look up the distance alone, as `look_up` does."""
    inverse = 1.0 / spacing
    fx, fy, fz = (px - ox) * inverse, (py - oy) * inverse, (pz - oz) * inverse
    cx = min(max(fx, 0.0), values.shape[0] - 1.0)
    cy = min(max(fy, 0.0), values.shape[1] - 1.0)
    cz = min(max(fz, 0.0), values.shape[2] - 1.0)
    i, j, k = min(int(cx), values.shape[0] - 2), min(int(cy), values.shape[1] - 2), min(int(cz), values.shape[2] - 2)
    u, v, w = cx - i, cy - j, cz - k
    a00 = values[i, j, k] + w * (values[i, j, k + 1] - values[i, j, k])
    a01 = values[i, j + 1, k] + w * (values[i, j + 1, k + 1] - values[i, j + 1, k])
    a10 = values[i + 1, j, k] + w * (values[i + 1, j, k + 1] - values[i + 1, j, k])
    a11 = values[i + 1, j + 1, k] + w * (values[i + 1, j + 1, k + 1] - values[i + 1, j + 1, k])
    b0, b1 = a00 + v * (a01 - a00), a10 + v * (a11 - a10)
    found = b0 + u * (b1 - b0)
    ex, ey, ez = (fx - cx) * spacing, (fy - cy) * spacing, (fz - cz) * spacing
    beyond = ex * ex + ey * ey + ez * ez
    return float(math.sqrt(beyond + found * found) if beyond > 0.0 else found)


@njit(cache=True)
def survey(
    values: Any, origin: Any, spacing: float, way: Any, radius: float, covariance: Any, grid_variance: float
) -> Any:
    """Look at one way in full: least clearance, σ there, largest breach probability, length inside, share there."""
    length = length_of(way)
    steps = max(math.ceil(length / (0.5 * spacing)), 1)
    least, sigma_there, breach, inside, share_there = 1e300, 0.0, 0.0, 0.0, 0.0
    for step in range(steps + 1):
        px, py, pz = point_on(way, step / steps)
        distance, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, px, py, pz)
        sigma = math.sqrt(_variance(covariance, px, py, pz, gx, gy, gz) + grid_variance)
        clearance = distance - radius
        breach = max(breach, 0.5 * math.erfc(clearance / (sigma * math.sqrt(2.0))))
        if clearance < least:
            least, sigma_there, share_there = clearance, sigma, step / steps
        if distance < 0.0:
            inside += length / (steps + 1)
    return least, sigma_there, breach, inside, share_there


@njit(cache=True)
def _variance(covariance: Any, px: float, py: float, pz: float, gx: float, gy: float, gz: float) -> float:
    """Variance along a unit direction at a point, of an error (δp, δφ) about the origin: row [g, p × g]."""
    row = (gx, gy, gz, py * gz - pz * gy, pz * gx - px * gz, px * gy - py * gx)
    total = 0.0
    for i in range(6):
        for j in range(6):
            total += row[i] * covariance[i, j] * row[j]
    return max(total, 0.0)
