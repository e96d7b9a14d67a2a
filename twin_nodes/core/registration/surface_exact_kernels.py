"""Compiled kernels: exact distances of points near a surface, and what the grid gets wrong there."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.distance_kernels import look_up
from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

_WALK = 8


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
def laplacian(values: Any, origin: Any, spacing: float, px: float, py: float, pz: float) -> float:
    """Return the sum of both principal curvatures [1/m] of the distance at the inner node next to a point."""
    i = min(max(int((px - origin[0]) / spacing + 0.5), 1), values.shape[0] - 2)
    j = min(max(int((py - origin[1]) / spacing + 0.5), 1), values.shape[1] - 2)
    k = min(max(int((pz - origin[2]) / spacing + 0.5), 1), values.shape[2] - 2)
    around = float(values[i - 1, j, k]) + float(values[i + 1, j, k]) + float(values[i, j - 1, k])
    around += float(values[i, j + 1, k]) + float(values[i, j, k - 1]) + float(values[i, j, k + 1])
    return (around - 6.0 * float(values[i, j, k])) / (spacing * spacing)


@njit(cache=True)
def grid_error(
    values: Any, nearest: Any, origin: Any, spacing: float, corners: Any, feature_normals: Any, across: Any,
    points: Any, turn: Any, offset: Any, length: float, cut: float, stride: int, bulge: float, residuals: Any,
    error: Any,
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
        bulge: Variance of the points' noise along each axis [m²]. Noise along a surface of curvature κ lifts a point
            off it by κ/2 times this on average, in each of two directions: half the Laplacian of the distance.
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
        w *= w * stride * (e - 0.5 * bulge * laplacian(values, origin, spacing, px, py, pz) - r)
        fx, fy, fz = w * gx, w * gy, w * gz
        error[0] -= fx
        error[1] -= fy
        error[2] -= fz
        error[3] -= (y1 * fz - y2 * fy) / length
        error[4] -= (y2 * fx - y0 * fz) / length
        error[5] -= (y0 * fy - y1 * fx) / length
        residuals[m] = e
