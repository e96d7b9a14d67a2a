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
from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

TO_SIGMA = 1.4826  # of a normal distribution over the median of its absolute values
DAMPING = 1e-9
_MAX_TURN = 0.6
_WALK = 8


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
def exact_residual(
    px: float, py: float, pz: float, nearest: Any, origin: Any, spacing: float, corners: Any, normals: Any, across: Any
) -> tuple[float, bool]:
    """Return the signed distance [m] to the surface, and whether triangles near the point are known.

    From the triangles nearest to the eight nodes around the point, and from there over edges while that is nearer.

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        nearest: Nearest triangle of each node, -1 for none, shape (nx, ny, nz).
        origin: Position of node (0, 0, 0) [m].
        spacing: Distance between nodes [m].
        corners: Triangles [m], shape (m, 3, 3).
        normals: Pseudo-normals of the triangles' features, shape (m, 7, 3).
        across: Triangle beyond each edge ab bc ca, shape (m, 3).
    """
    i, j, k = int((px - origin[0]) / spacing), int((py - origin[1]) / spacing), int((pz - origin[2]) / spacing)
    nx, ny, nz = nearest.shape
    if px < origin[0] or py < origin[1] or pz < origin[2] or i > nx - 2 or j > ny - 2 or k > nz - 2:
        return 0.0, False
    best, side, chosen, kind = np.inf, 0.0, -1, 0
    t1 = t2 = t3 = -1
    for node in range(8):
        t = nearest[i + (node >> 2), j + ((node >> 1) & 1), k + (node & 1)]
        if t < 0:
            return 0.0, False
        if t in (t1, t2, t3):
            continue
        t1, t2, t3 = t, t1, t2
        squared, feature, qx, qy, qz = closest_on_triangle(px, py, pz, corners[t])
        if squared < best:
            best, chosen, kind = squared, t, feature
            u = normals[t, feature]
            side = (px - qx) * u[0] + (py - qy) * u[1] + (pz - qz) * u[2]
    for _ in range(_WALK):
        if kind == 0:
            break
        start = chosen
        for edge in range(3):
            # An edge feature 4 + e lies on edge e; a vertex feature 1 + v on edges v and v - 1.
            if kind != 4 + edge and kind != 1 + edge and kind != 1 + (edge + 1) % 3:
                continue
            t = across[start, edge]
            squared, feature, qx, qy, qz = closest_on_triangle(px, py, pz, corners[t])
            if squared < best:
                best, chosen, kind = squared, t, feature
                u = normals[t, feature]
                side = (px - qx) * u[0] + (py - qy) * u[1] + (pz - qz) * u[2]
        if chosen == start:
            break
    return math.sqrt(best) if side >= 0.0 else -math.sqrt(best), True


@njit(cache=True)
def grid_error(
    values: Any, nearest: Any, origin: Any, spacing: float, corners: Any, feature_normals: Any, across: Any, points: Any,
    turn: Any, offset: Any, length: float, cut: float, stride: int, residuals: Any, error: Any,
) -> None:  # fmt: skip
    """Estimate what the grid's rounding of the surface does to the right side of `grid_pass`.

    Exact distances to the triangles are taken for every stride-th point only; the sum of the differences times stride
    (a control variate) is precise, because these are far smaller than the noise of the points.

    Args:
        values: As in `grid_pass`.
        nearest: As in `exact_residual`.
        origin: As in `grid_pass`.
        spacing: As in `grid_pass`.
        corners: As in `exact_residual`.
        feature_normals: As in `exact_residual`.
        across: As in `exact_residual`.
        points: As in `grid_pass`.
        turn: As in `grid_pass`.
        offset: As in `grid_pass`.
        length: As in `grid_pass`.
        cut: As in `grid_pass`.
        stride: 1 for all points.
        residuals: The exact ones are written over those of the grid [m], shape (n,).
        error: Gets the sum to be added to the right side, shape (6,).
    """
    error[:] = 0.0
    for m in range(0, len(points), stride):
        x0, x1, x2 = points[m, 0], points[m, 1], points[m, 2]
        y0 = turn[0, 0] * x0 + turn[0, 1] * x1 + turn[0, 2] * x2
        y1 = turn[1, 0] * x0 + turn[1, 1] * x1 + turn[1, 2] * x2
        y2 = turn[2, 0] * x0 + turn[2, 1] * x1 + turn[2, 2] * x2
        px, py, pz = y0 + offset[0], y1 + offset[1], y2 + offset[2]
        e, near = exact_residual(px, py, pz, nearest, origin, spacing, corners, feature_normals, across)
        if not near:
            continue
        r, gx, gy, gz, _ = look_up(values, origin[0], origin[1], origin[2], spacing, px, py, pz)
        u = (r / cut) ** 2
        w = 1.0 / (1.0 + u * u)
        w *= w * stride * (e - r)
        fx, fy, fz = w * gx, w * gy, w * gz
        error[0] -= fx
        error[1] -= fy
        error[2] -= fz
        error[3] -= (y1 * fz - y2 * fy) / length
        error[4] -= (y2 * fx - y0 * fz) / length
        error[5] -= (y0 * fy - y1 * fx) / length
        residuals[m] = e


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
def centre_and_sort(points: Any, cells: int, centroid: Any, centred: Any, order: Any) -> float:
    """Take points relative to their centroid, neighbours next to each other; NaN in, NaN out.

    Neighbours share the grid's cache lines, and every k-th point is then an even sample of the whole patch.

    Args:
        points: Points in the patient frame [m], shape (n, 3).
        cells: Number of cells along the longest side of the cloud.
        centroid: Gets the centroid [m], shape (3,).
        centred: Gets the points, sorted [m], shape (n, 3).
        order: Gets the index of each sorted point in points, shape (n,).

    Returns:
        Root mean square distance from the centroid [m].
    """
    n = len(points)
    low, high, total = np.full(3, np.inf), np.full(3, -np.inf), 0.0
    for axis in range(3):
        total = 0.0
        for m in range(n):
            value = points[m, axis]
            total += value
            low[axis] = min(low[axis], value)
            high[axis] = max(high[axis], value)
        centroid[axis] = total / n
    if not math.isfinite(centroid[0] + centroid[1] + centroid[2]):
        return math.nan
    side = max(high[0] - low[0], high[1] - low[1], high[2] - low[2]) / cells
    if side == 0.0:
        side = 1.0
    ny, nz = int((high[1] - low[1]) / side) + 1, int((high[2] - low[2]) / side) + 1
    heads = np.zeros((int((high[0] - low[0]) / side) + 1) * ny * nz + 1, np.int64)
    keys = np.empty(n, np.int64)
    for m in range(n):
        i, j = int((points[m, 0] - low[0]) / side), int((points[m, 1] - low[1]) / side)
        keys[m] = (i * ny + j) * nz + int((points[m, 2] - low[2]) / side)
        heads[keys[m] + 1] += 1
    for key in range(len(heads) - 1):
        heads[key + 1] += heads[key]
    total = 0.0
    for m in range(n):
        place = heads[keys[m]]
        heads[keys[m]] += 1
        order[place] = m
        for axis in range(3):
            value = points[m, axis] - centroid[axis]
            centred[place, axis] = value
            total += value * value
    return math.sqrt(total / n)


@njit(cache=True)
def robust_scale(residuals: Any) -> float:
    """Return σ [m] of the residuals' core: from the median, then from the median of those below 2.5 σ."""
    magnitudes = np.abs(residuals)
    scale = TO_SIGMA * np.median(magnitudes)
    kept = magnitudes[magnitudes <= 2.5 * scale]
    return float(TO_SIGMA * np.median(kept) if len(kept) else scale)


@njit(cache=True)
def assess(points: Any, residuals: Any, limit: float, reach: float) -> tuple[int, float, int, float]:
    """Look at the inliers, and at how alike the residuals of neighbours are.

    Args:
        points: Sorted points of the cloud [m], shape (n, 3).
        residuals: Their residuals [m], shape (n,).
        limit: Largest residual of an inlier [m].
        reach: Largest distance between neighbours [m].

    Returns:
        Number of inliers, the sum of their squares [m²], number of pairs of neighbours that follow one another, and the
        sum of the products of their residuals [m²].
    """
    count, pairs, squares, products = 0, 0, 0.0, 0.0
    before = -1
    for m in range(len(points)):
        r = residuals[m]
        if abs(r) > limit:
            continue
        count += 1
        squares += r * r
        if before >= 0:
            dx, dy = points[m, 0] - points[before, 0], points[m, 1] - points[before, 1]
            dz = points[m, 2] - points[before, 2]
            if dx * dx + dy * dy + dz * dz <= reach * reach:
                pairs += 1
                products += r * residuals[before]
        before = m
    return count, squares, pairs, products


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
