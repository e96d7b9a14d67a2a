"""Compiled kernels of surface registration: residuals, their normal equations in one pass, and the descent.

A point x, taken relative to the centroid of the cloud, maps to q = A x + o in the anatomy; its residual is the signed
distance d(q). A small motion (ν, ψ) of the cloud in the axes of the anatomy, about the cloud's centroid, changes it by
∇d·ν + (A x × ∇d)·ψ. Rotations are scaled by a length L, so that all six unknowns are metres.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.distance_kernels import look_up

TO_SIGMA = 1.4826  # of a normal distribution over the median of its absolute values
DAMPING = 1e-9
_MAX_TURN = 0.6


@njit(cache=True)
def add_row(normal: Any, right: Any, sums: Any, g: Any, y: Any, length: float, r: float, cut: float) -> None:
    """Add one point to the normal equations with the weight 1/(1 + (r/cut)⁴)².

    That is the weight of Geman and McClure (1987) with a flatter top: it wastes 1 % of normal residuals' information at
    a cut of 4 σ, where theirs wastes 3 %.

    Args:
        normal: Σ w a aᵀ, lower triangle, shape (6, 6).
        right: −Σ w a r, shape (6,).
        sums: Σ w, Σ w r², Σ (w r)², Σ d(w r)/dr, shape (4,).
        g: Gradient of the distance, 3 numbers.
        y: The point relative to the centroid, in the axes of the anatomy [m], 3 numbers.
        length: L [m].
        r: Residual [m].
        cut: Scale of the weight [m].
    """
    u = (r / cut) ** 2
    u = 1.0 / (1.0 + u * u)
    w = u * u
    a0, a1, a2 = g
    inverse = 1.0 / length
    a3, a4, a5 = (y[1] * a2 - y[2] * a1) * inverse, (y[2] * a0 - y[0] * a2) * inverse, (y[0] * a1 - y[1] * a0) * inverse
    w0, w1, w2, w3, w4, w5 = w * a0, w * a1, w * a2, w * a3, w * a4, w * a5
    normal[0, 0] += w0 * a0
    normal[1, 0] += w1 * a0
    normal[1, 1] += w1 * a1
    normal[2, 0] += w2 * a0
    normal[2, 1] += w2 * a1
    normal[2, 2] += w2 * a2
    normal[3, 0] += w3 * a0
    normal[3, 1] += w3 * a1
    normal[3, 2] += w3 * a2
    normal[3, 3] += w3 * a3
    normal[4, 0] += w4 * a0
    normal[4, 1] += w4 * a1
    normal[4, 2] += w4 * a2
    normal[4, 3] += w4 * a3
    normal[4, 4] += w4 * a4
    normal[5, 0] += w5 * a0
    normal[5, 1] += w5 * a1
    normal[5, 2] += w5 * a2
    normal[5, 3] += w5 * a3
    normal[5, 4] += w5 * a4
    normal[5, 5] += w5 * a5
    right[0] -= w0 * r
    right[1] -= w1 * r
    right[2] -= w2 * r
    right[3] -= w3 * r
    right[4] -= w4 * r
    right[5] -= w5 * r
    sums[0] += w
    sums[1] += w * r * r
    sums[2] += w * w * r * r
    sums[3] += w * (8.0 * u - 7.0)


@njit(cache=True)
def grid_pass(
    values: Any, origin: Any, spacing: float, points: Any, turn: Any, offset: Any, length: float, cut: float,
    normal: Any, right: Any, sums: Any, residuals: Any,
) -> None:  # fmt: skip
    """Sum the normal equations of all points over the distance grid; all outputs are overwritten.

    Args:
        values: The grid [m], shape (nx, ny, nz).
        origin: Position of node (0, 0, 0) [m], shape (3,).
        spacing: Distance between nodes [m].
        points: The cloud relative to its centroid, patient axes [m], shape (n, 3).
        turn: anatomy_R_patient, shape (3, 3).
        offset: Centroid in the anatomy [m], shape (3,).
        length: L [m].
        cut: Scale of the weight [m].
        normal: As in `add_row`.
        right: As in `add_row`.
        sums: As in `add_row`.
        residuals: Gets d(q) [m], shape (n,).
    """
    normal[:] = 0.0
    right[:] = 0.0
    sums[:] = 0.0
    ox, oy, oz = origin[0], origin[1], origin[2]
    for m in range(len(points)):
        x0, x1, x2 = points[m, 0], points[m, 1], points[m, 2]
        y0 = turn[0, 0] * x0 + turn[0, 1] * x1 + turn[0, 2] * x2
        y1 = turn[1, 0] * x0 + turn[1, 1] * x1 + turn[1, 2] * x2
        y2 = turn[2, 0] * x0 + turn[2, 1] * x1 + turn[2, 2] * x2
        r, gx, gy, gz, _ = look_up(values, ox, oy, oz, spacing, y0 + offset[0], y1 + offset[1], y2 + offset[2])
        residuals[m] = r
        add_row(normal, right, sums, (gx, gy, gz), (y0, y1, y2), length, r, cut)


@njit(cache=True)
def solve(normal: Any, right: Any, step: Any) -> None:
    """Solve the normal equations by Cholesky, slightly damped, so that unobservable directions stay where they are."""
    trace = 0.0
    for i in range(6):
        trace += normal[i, i]
    damping = DAMPING * trace + 1e-300
    low = np.zeros((6, 6))
    for i in range(6):
        for j in range(i + 1):
            value = normal[i, j] + (damping if i == j else 0.0)
            for k in range(j):
                value -= low[i, k] * low[j, k]
            if i == j:
                low[i, i] = math.sqrt(max(value, damping))
            else:
                low[i, j] = value / low[j, j]
    for i in range(6):
        value = right[i]
        for k in range(i):
            value -= low[i, k] * step[k]
        step[i] = value / low[i, i]
    for i in range(5, -1, -1):
        value = step[i]
        for k in range(i + 1, 6):
            value -= low[k, i] * step[k]
        step[i] = value / low[i, i]


@njit(cache=True)
def move(turn: Any, offset: Any, step: Any, length: float) -> float:
    """Apply a step (6,) [m] to the pose in place; a turn above 0.6 rad is shortened. Return the step's size [m]."""
    size = math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2 + step[3] ** 2 + step[4] ** 2 + step[5] ** 2)
    angle = math.sqrt(step[3] ** 2 + step[4] ** 2 + step[5] ** 2) / length
    share = min(1.0, _MAX_TURN / angle) if angle > 0.0 else 1.0
    for axis in range(3):
        offset[axis] += share * step[axis]
    rx, ry, rz = share * step[3] / length, share * step[4] / length, share * step[5] / length
    angle *= share
    half = 0.5 * angle
    sine = math.sin(half) / angle if angle > 1e-12 else 0.5
    x, y, z, w = rx * sine, ry * sine, rz * sine, math.cos(half)
    for column in range(3):
        a, b, c = turn[0, column], turn[1, column], turn[2, column]
        tx, ty, tz = 2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a)
        turn[0, column] = a + w * tx + (y * tz - z * ty)
        turn[1, column] = b + w * ty + (z * tx - x * tz)
        turn[2, column] = c + w * tz + (x * ty - y * tx)
    return size


@njit(cache=True)
def robust_scale(residuals: Any) -> float:
    """Return σ [m] of the residuals' core: from the median, then from the median of those below 2.5 σ."""
    magnitudes = np.abs(residuals)
    scale = TO_SIGMA * np.median(magnitudes)
    kept = magnitudes[magnitudes <= 2.5 * scale]
    return float(TO_SIGMA * np.median(kept) if len(kept) else scale)


@njit(cache=True)
def descend(
    values: Any, origin: Any, spacing: float, points: Any, turn: Any, offset: Any, length: float, tuning: float,
    floor: float, iterations: int, tolerance: float,
) -> tuple[int, float, float]:  # fmt: skip
    """Gauss–Newton on the grid with the weight's scale following the residuals; the pose is changed in place.

    Args:
        values: As in `grid_pass`, and so on down to length.
        origin: Of the grid.
        spacing: Of the grid.
        points: The cloud or a part of it.
        turn: Changed in place.
        offset: Changed in place.
        length: L [m].
        tuning: Scale of the weight over σ of the residuals.
        floor: Least σ [m].
        iterations: Most steps.
        tolerance: Ends below this step [m].

    Returns:
        Steps made, σ of the residuals [m] and size of the last step [m].
    """
    normal, right, sums, step = np.empty((6, 6)), np.empty(6), np.empty(4), np.empty(6)
    residuals = np.empty(len(points))
    scale, size, cut = np.inf, np.inf, 1e3
    for number in range(iterations):
        grid_pass(values, origin, spacing, points, turn, offset, length, cut, normal, right, sums, residuals)
        scale = max(robust_scale(residuals), floor)
        cut = tuning * scale
        solve(normal, right, step)
        size = move(turn, offset, step, length)
        if size < tolerance:
            return number + 1, scale, size
    return iterations, scale, size
