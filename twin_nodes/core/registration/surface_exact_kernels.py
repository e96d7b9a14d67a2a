"""Compiled kernels: exact distances of points near a surface, and what the planes get wrong there."""

import math
from typing import Any

from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

_WALK = 12
_FAN = 24


@njit(cache=True)
def exact_residual(px: float, py: float, pz: float, seed: int, corners: Any, normals: Any, across: Any) -> float:
    """Return the signed distance [m] to the surface, from a triangle near by and over edges while that is nearer.

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        seed: The triangle next to the middle of the point's cell.
        corners: Triangles [m], shape (m, 3, 3).
        normals: Pseudo-normals of the triangles' features, shape (m, 7, 3).
        across: Triangle beyond each edge ab bc ca, shape (m, 3).
    """
    chosen = seed
    best, kind, qx, qy, qz = closest_on_triangle(px, py, pz, corners[chosen])
    for _ in range(_WALK):
        start, feature = chosen, kind
        if feature == 0:
            break
        if feature >= 4:
            t = across[start, feature - 4]
            squared, other, sx, sy, sz = closest_on_triangle(px, py, pz, corners[t])
            if squared < best:
                best, chosen, kind, qx, qy, qz = squared, t, other, sx, sy, sz
        else:
            # all round the vertex: the nearest triangle need not stand next to the one that was found
            t, corner = start, feature - 1
            for _ in range(_FAN):
                vx, vy, vz = corners[t, corner, 0], corners[t, corner, 1], corners[t, corner, 2]
                t = across[t, corner]
                corner = 0
                while corner < 2 and not (
                    corners[t, corner, 0] == vx and corners[t, corner, 1] == vy and corners[t, corner, 2] == vz
                ):
                    corner += 1
                if t == start:
                    break
                squared, other, sx, sy, sz = closest_on_triangle(px, py, pz, corners[t])
                if squared < best:
                    best, chosen, kind, qx, qy, qz = squared, t, other, sx, sy, sz
        if chosen == start:
            break
    u = normals[chosen, kind]
    side = (px - qx) * u[0] + (py - qy) * u[1] + (pz - qz) * u[2]
    return math.sqrt(best) if side >= 0.0 else -math.sqrt(best)


@njit(cache=True)
def plane_error(
    index: Any, cells: Any, hints: Any, origin: Any, spacing: float, corners: Any, feature_normals: Any, across: Any,
    points: Any, turn: Any, offset: Any, length: float, cut: float, stride: int, residuals: Any, error: Any,
) -> None:  # fmt: skip
    """Estimate what the planes' error does to the right side of `cell_pass`.

    Exact distances to the triangles are taken for some points only; the sum of the differences times stride (a control
    variate) is precise, because these are far smaller than the noise of the points.

    Args:
        index: As of `number_bricks`.
        cells: As of `fill_cells`.
        hints: As of `fill_cells`.
        origin: As in `cell_pass`.
        spacing: As in `cell_pass`.
        corners: As in `exact_residual`, and so the next two.
        feature_normals: Pseudo-normals.
        across: Neighbours.
        points: As in `cell_pass`.
        turn: As in `cell_pass`.
        offset: As in `cell_pass`.
        length: As in `cell_pass`.
        cut: As in `cell_pass`.
        stride: Of the points whose exact distance is taken; 1 for all.
        residuals: Those of `cell_pass`; exact ones are written over them [m], shape (n,).
        error: Gets the sum to be added to the right side, shape (6,).
    """
    error[:] = 0.0
    inverse = 1.0 / spacing
    for m in range(0, len(points), stride):
        x0, x1, x2 = points[m, 0], points[m, 1], points[m, 2]
        y0 = turn[0, 0] * x0 + turn[0, 1] * x1 + turn[0, 2] * x2
        y1 = turn[1, 0] * x0 + turn[1, 1] * x1 + turn[1, 2] * x2
        y2 = turn[2, 0] * x0 + turn[2, 1] * x1 + turn[2, 2] * x2
        px, py, pz = y0 + offset[0], y1 + offset[1], y2 + offset[2]
        fx, fy, fz = (px - origin[0]) * inverse, (py - origin[1]) * inverse, (pz - origin[2]) * inverse
        i, j, k = int(fx), int(fy), int(fz)
        if min(fx, fy, fz) < 0.0 or i >> 3 >= index.shape[0] or j >> 3 >= index.shape[1] or k >> 3 >= index.shape[2]:
            continue
        brick, place = index[i >> 3, j >> 3, k >> 3], ((i & 7) << 6) + ((j & 7) << 3) + (k & 7)
        if brick < 0 or hints[brick, place, 5] < 0 or math.isnan(cells[brick, place, 0]):
            continue
        e = exact_residual(px, py, pz, hints[brick, place, 5], corners, feature_normals, across)
        r = residuals[m]
        residuals[m] = e
        u = (r / cut) ** 2
        w = 1.0 / (1.0 + u * u)
        w *= w * stride * (e - r)
        gx, gy, gz = w * cells[brick, place, 1], w * cells[brick, place, 2], w * cells[brick, place, 3]
        error[0] -= gx
        error[1] -= gy
        error[2] -= gz
        error[3] -= (y1 * gz - y2 * gy) / length
        error[4] -= (y2 * gx - y0 * gz) / length
        error[5] -= (y0 * gy - y1 * gx) / length
