"""Compiled kernel: the smallest distance between a tool and one structure, with its uncertainty."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.distance_kernels import look_up

SHORT_GRADIENT = 0.8
# Errors of a prediction are mostly far smaller than their standard deviation, and now and then far larger: a mixture of
# two normal distributions, weights and widths fitted to what came of work at a surface by simulated operators.
CALM, CALM_WIDTH, WILD_WIDTH = 0.84, 0.3, 1.6
SAFE = 8.0  # σ: Φ(-8) is 6e-16
_STACK = 64


@njit(cache=True)
def deviation(gx: float, gy: float, gz: float, rx: float, ry: float, rz: float, covariance: Any) -> float:
    """Standard deviation [m] of the distance of a point at the lever r from the pose's origin.

    The point moves by δp + δφ × r, so the distance changes by g·δp + (r × g)·δφ. Where the gradient is short, two
    sides are about equally near and its direction means little: the trace of the point's covariance bounds all.
    """
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    rounds = 1
    if length < SHORT_GRADIENT:
        rounds = 3
    total = 0.0
    for axis in range(rounds):
        if rounds == 1:
            x, y, z = gx / length, gy / length, gz / length
        else:
            x, y, z = 1.0 if axis == 0 else 0.0, 1.0 if axis == 1 else 0.0, 1.0 if axis == 2 else 0.0
        w = (x, y, z, ry * z - rz * y, rz * x - rx * z, rx * y - ry * x)
        for i in range(6):
            for j in range(6):
                total += w[i] * covariance[i, j] * w[j]
    return math.sqrt(max(total, 0.0))


@njit(cache=True)
def _widest(covariance: Any, reach: float) -> float:
    """Return what the deviation of no point within reach of the pose's origin exceeds [m].

    It is at most the root of E|δp + δφ × r|², and that at most √E|δp|² + |r|·√E|δφ|².
    """
    shift = covariance[0, 0] + covariance[1, 1] + covariance[2, 2]
    turn = covariance[3, 3] + covariance[4, 4] + covariance[5, 5]
    return math.sqrt(max(shift, 0.0)) + reach * math.sqrt(max(turn, 0.0))


@njit(cache=True)
def safe_distance(covariance: Any, ahead: Any, reach: float, own: float) -> float:
    """Return the distance [m] from which on a breach is less likely than 1e-15, at any point within reach.

    Args:
        covariance: As in `least_clearance`.
        ahead: Likewise.
        reach: Length of the shaft [m].
        own: Standard deviation of where the structure is, at most [m].
    """
    sigma = math.sqrt(_widest(covariance, reach) ** 2 + own**2 + (WILD_WIDTH * _widest(ahead, reach)) ** 2)
    return SAFE * sigma


@njit(cache=True)
def breach_probability(distance: float, sigma: float) -> float:
    """Φ(-d/σ): probability that a normally distributed distance is below zero."""
    if sigma > 0.0:
        return 0.5 * math.erfc(distance / (sigma * math.sqrt(2.0)))
    return 1.0 if distance < 0.0 else 0.0


@njit(cache=True)
def breach_ahead(distance: float, own: float, ahead: float) -> float:
    """Probability that a distance which was predicted is below zero.

    Args:
        distance: Predicted [m].
        own: Standard deviation of what is normally distributed: the chain, the grid, the place of the surface [m].
        ahead: Standard deviation of the prediction [m].
    """
    if ahead <= 0.0:
        return breach_probability(distance, own)
    calm = breach_probability(distance, math.hypot(own, CALM_WIDTH * ahead))
    return CALM * calm + (1.0 - CALM) * breach_probability(distance, math.hypot(own, WILD_WIDTH * ahead))


@njit(cache=True)
def least_clearance(
    values: Any,
    origin: Any,
    spacing: float,
    errors: Any,
    pose: Any,
    covariance: Any,
    ahead: Any,
    direction: Any,
    shape: Any,
    samples: int,
    result: Any,
) -> None:
    """Find the least distance between the tool and a structure, at the tip and along the shaft.

    The distance is 1-Lipschitz along the shaft: between two points ds apart with distances d1 and d2 it cannot fall
    below (d1 + d2 - ds) / 2. Intervals where that could undercut the minimum are halved until they are shorter than a
    cell (Piyavskii 1972), so that no spike passes between two samples.

    Args:
        values: Grid values [m], float32, shape (nx, ny, nz).
        origin: Position of node (0, 0, 0) [m], shape (3,).
        spacing: Distance between nodes [m].
        errors: Standard deviation of the grid's values near the surface and elsewhere, limit between them [m], (3,).
        pose: anatomy_T_tip, shape (4, 4).
        covariance: Of (δp, δφ) in anatomy axes without the prediction, shape (6, 6).
        ahead: Of the prediction alone, likewise; zeros where the pose was measured.
        direction: From the tip along the shaft, unit, in the tip frame, shape (3,).
        shape: tip_radius, shaft_length, shaft_radius [m], shape (3,).
        samples: Number of intervals that the shaft is cut into at first.
        result: Written: distance, σ, probability, gradient (3), position along the shaft, outside (0 or 1), raw
            distance of the axis, largest probability of all points; shape (10,).
    """
    tx, ty, tz = pose[0, 3], pose[1, 3], pose[2, 3]
    sx = pose[0, 0] * direction[0] + pose[0, 1] * direction[1] + pose[0, 2] * direction[2]
    sy = pose[1, 0] * direction[0] + pose[1, 1] * direction[1] + pose[1, 2] * direction[2]
    sz = pose[2, 0] * direction[0] + pose[2, 1] * direction[1] + pose[2, 2] * direction[2]
    tip_radius, length, shaft_radius = shape[0], shape[1], shape[2]
    result[0] = np.inf
    result[9] = 0.0
    safe = safe_distance(covariance, ahead, length, max(errors[0], errors[1]))
    start = _consider(
        values, origin, spacing, errors, tx, ty, tz, 0.0, sx, sy, sz, covariance, ahead, tip_radius, safe, result
    )
    if shaft_radius > tip_radius and length > 0.0:
        start = _consider(
            values, origin, spacing, errors, tx, ty, tz, 0.0, sx, sy, sz, covariance, ahead, shaft_radius, safe, result
        )
    if length > 0.0:
        _along_shaft(
            values, origin, spacing, errors, tx, ty, tz, sx, sy, sz, covariance, ahead, shape, samples, start, safe,
            result,
        )  # fmt: skip
    _describe(values, origin, spacing, errors, tx, ty, tz, sx, sy, sz, covariance, ahead, result)


@njit(cache=True)
def _along_shaft(
    values: Any, origin: Any, spacing: float, errors: Any, tx: float, ty: float, tz: float, sx: float, sy: float,
    sz: float, covariance: Any, ahead: Any, shape: Any, samples: int, start: float, safe: float, result: Any,
) -> None:  # fmt: skip
    """Look along the shaft from the tip, whose axis is `start` away, where anything nearer can be."""
    length, shaft_radius = shape[1], shape[2]
    stack = np.empty((_STACK, 4))
    step = length / samples
    left = start
    for n in range(samples):
        right = _consider(
            values,
            origin,
            spacing,
            errors,
            tx,
            ty,
            tz,
            step * (n + 1),
            sx,
            sy,
            sz,
            covariance,
            ahead,
            shaft_radius,
            safe,
            result,
        )
        stack[0] = step * n, step * (n + 1), left, right
        left = right
        depth = 1
        while depth > 0:
            depth -= 1
            a, b, da, db = stack[depth]
            if b - a <= spacing or 0.5 * (da + db - (b - a)) - shaft_radius >= result[0] or depth + 2 > _STACK:
                continue
            m = 0.5 * (a + b)
            dm = _consider(
                values, origin, spacing, errors, tx, ty, tz, m, sx, sy, sz, covariance, ahead, shaft_radius, safe,
                result,
            )  # fmt: skip
            stack[depth] = a, m, da, dm
            stack[depth + 1] = m, b, dm, db
            depth += 2


@njit(cache=True)
def _consider(
    values: Any,
    origin: Any,
    spacing: float,
    errors: Any,
    tx: float,
    ty: float,
    tz: float,
    along: float,
    sx: float,
    sy: float,
    sz: float,
    covariance: Any,
    ahead: Any,
    radius: float,
    safe: float,
    result: Any,
) -> float:
    """Look at one point of the tool's axis, keep it in `result` if it is the nearest yet; return its axis distance.

    From the distance `safe` on its probability is none; σ is made for the nearest alone, in `_describe`.
    """
    rx, ry, rz = along * sx, along * sy, along * sz
    axis, gx, gy, gz, outside = look_up(values, origin[0], origin[1], origin[2], spacing, tx + rx, ty + ry, tz + rz)
    distance = axis - radius
    if distance < safe:
        grid = errors[0] if abs(axis) <= errors[2] else errors[1]
        own = math.hypot(deviation(gx, gy, gz, rx, ry, rz, covariance), grid)
        result[9] = max(result[9], breach_ahead(distance, own, deviation(gx, gy, gz, rx, ry, rz, ahead)))
    if distance < result[0]:
        result[0], result[6], result[7], result[8] = distance, along, 1.0 if outside else 0.0, axis
    return float(axis)


@njit(cache=True)
def _describe(
    values: Any, origin: Any, spacing: float, errors: Any, tx: float, ty: float, tz: float, sx: float, sy: float,
    sz: float, covariance: Any, ahead: Any, result: Any,
) -> None:  # fmt: skip
    """Write σ, probability and gradient of the nearest point."""
    along = result[6]
    rx, ry, rz = along * sx, along * sy, along * sz
    axis, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, tx + rx, ty + ry, tz + rz)
    grid = errors[0] if abs(axis) <= errors[2] else errors[1]
    own = math.hypot(deviation(gx, gy, gz, rx, ry, rz, covariance), grid)
    predicted = deviation(gx, gy, gz, rx, ry, rz, ahead)
    result[1], result[2] = math.hypot(own, predicted), breach_ahead(result[0], own, predicted)
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    scale = 1.0 / length if length > 0.0 else 0.0
    result[3], result[4], result[5] = gx * scale, gy * scale, gz * scale
