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
    dx, dy, dz = way[3] - way[0], way[4] - way[1], way[5] - way[2]
    curvature = way[9]
    if curvature == 0.0:
        return way[0] + share * dx, way[1] + share * dy, way[2] + share * dz
    chord = math.sqrt(dx * dx + dy * dy + dz * dz)
    radius = 1.0 / curvature
    half = math.asin(min(0.5 * chord * curvature, 1.0))
    angle = (2.0 * share - 1.0) * half
    along = 0.5 + radius * math.sin(angle) / chord
    aside = radius * (math.cos(angle) - math.cos(half))
    return (
        way[0] + along * dx + aside * way[6],
        way[1] + along * dy + aside * way[7],
        way[2] + along * dz + aside * way[8],
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
    sigmas: float, floor: float, margins: Any,
) -> None:  # fmt: skip
    """Lower the margin of each way to that of one structure, in place.

    The margin is the least of distance − radius − sigmas·σ over the way. From a place where it exceeds the least so
    far by m, none below the least can come within m, so the march steps that far. It starts with the end, which all
    ways share and which often is the narrowest; a way below the floor is not looked at further.
    """
    for index in range(len(ways)):
        way = ways[index]
        length = length_of(way)
        distance, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, way[3], way[4], way[5])
        sigma = math.sqrt(_variance(covariance, way[3], way[4], way[5], gx, gy, gz) + grid_variance)
        least = min(margins[index], distance - radius - sigmas * sigma)
        at = 0.0
        while at < length and least >= floor:
            px, py, pz = point_on(way, at / length)
            distance, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, px, py, pz)
            sigma = math.sqrt(_variance(covariance, px, py, pz, gx, gy, gz) + grid_variance)
            margin = distance - radius - sigmas * sigma
            least = min(least, margin)
            at += max((margin - least) / _SLOPE, _LEAST_STEP * spacing)
        margins[index] = least


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
