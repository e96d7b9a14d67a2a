"""The linearised distances of points to a deforming surface, and the weights that they deserve."""

from __future__ import annotations

import math
from typing import Any

from numba import njit


@njit(cache=True, fastmath=True)
def rows(
    points: Any, vertices: Any, normals: Any, faces: Any, modes: Any, seeds: Any, places: Any, centre: Any,
    radius: float, residuals: Any, jacobian: Any,
) -> None:  # fmt: skip
    """Fill in the distance of each point to its place along the normal there, and what changes that distance.

    Args:
        points: Points in the anatomy [m], shape (n, 3).
        vertices: Deformed vertices [m], shape (b, 3).
        normals: Their unit normals, shape (b, 3).
        faces: Shape (k, 3).
        modes: Displacement of the vertices by each mode [m], float32, shape (b, 3, r).
        seeds: Triangle of each point, shape (n,).
        places: Barycentric coordinates there, shape (n, 3).
        centre: About which the organ turns [m], shape (3,).
        radius: That scales turns [m].
        residuals: Filled: n·(point - place) [m], shape (n,).
        jacobian: Filled: by how much the place moves along n, by shifts, scaled turns and modes, shape (n, 6 + r); of
            no rows where that is not asked.
    """
    count = modes.shape[2]
    for p in range(len(points)):
        nx = ny = nz = x = y = z = 0.0
        for k in range(3):
            v, share = faces[seeds[p], k], places[p, k]
            nx += share * normals[v, 0]
            ny += share * normals[v, 1]
            nz += share * normals[v, 2]
            x += share * vertices[v, 0]
            y += share * vertices[v, 1]
            z += share * vertices[v, 2]
        size = math.sqrt(nx * nx + ny * ny + nz * nz)
        if size > 0.0:
            nx, ny, nz = nx / size, ny / size, nz / size
        residuals[p] = nx * (points[p, 0] - x) + ny * (points[p, 1] - y) + nz * (points[p, 2] - z)
        if p >= len(jacobian):
            continue
        x, y, z = (x - centre[0]) / radius, (y - centre[1]) / radius, (z - centre[2]) / radius
        row = jacobian[p]
        row[0], row[1], row[2] = nx, ny, nz
        row[3], row[4], row[5] = y * nz - z * ny, z * nx - x * nz, x * ny - y * nx
        for r in range(count):
            row[6 + r] = 0.0
        for k in range(3):
            mode, share = modes[faces[seeds[p], k]], places[p, k]
            a, b, c = share * nx, share * ny, share * nz
            for r in range(count):
                row[6 + r] += a * mode[0, r] + b * mode[1, r] + c * mode[2, r]


@njit(cache=True)
def weigh(residuals: Any, variance: Any, cut: float, weights: Any) -> None:
    """Fill in 1/σ² of each point, less for those far off: (1 + (r/cut)²)⁻² (Geman and McClure 1987)."""
    for p in range(len(residuals)):
        ratio = residuals[p] / cut
        weights[p] = 1.0 / (variance[p] * (1.0 + ratio * ratio) ** 2)


@njit(cache=True)
def mirror(matrix: Any) -> None:
    """Fill in the upper half of a matrix (n, n) by its lower one."""
    for i in range(1, len(matrix)):
        for j in range(i):
            matrix[j, i] = matrix[i, j]
