"""Compiled kernels of the distance grid: building (band, sweeps, signs) and looking up."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle, side_of_triangle

EXACT = 127
ROUNDING = 1e-6  # cells; a point on the border is not outside


@njit(cache=True)
def fill_band(squared: Any, nearest: Any, origin: Any, spacing: float, corners: Any, band: float) -> None:
    """Write exact squared distances and nearest triangles for all nodes within `band` [m] of the surface."""
    band2 = band * band
    for t in range(len(corners)):
        tri = corners[t]
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for axis in range(3):
            least = min(tri[0, axis], tri[1, axis], tri[2, axis]) - band - origin[axis]
            most = max(tri[0, axis], tri[1, axis], tri[2, axis]) + band - origin[axis]
            low[axis] = max(0, math.ceil(least / spacing))
            high[axis] = min(squared.shape[axis] - 1, math.floor(most / spacing))
        ux, uy, uz = tri[1, 0] - tri[0, 0], tri[1, 1] - tri[0, 1], tri[1, 2] - tri[0, 2]
        wx, wy, wz = tri[2, 0] - tri[0, 0], tri[2, 1] - tri[0, 1], tri[2, 2] - tri[0, 2]
        mx, my, mz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        plane2 = band2 * (mx * mx + my * my + mz * mz) * (1.0 + 1e-9)
        for i in range(low[0], high[0] + 1):
            px = origin[0] + spacing * i
            for j in range(low[1], high[1] + 1):
                py = origin[1] + spacing * j
                for k in range(low[2], high[2] + 1):
                    pz = origin[2] + spacing * k
                    height = (px - tri[0, 0]) * mx + (py - tri[0, 1]) * my + (pz - tri[0, 2]) * mz
                    if height * height > plane2:
                        continue
                    distance = closest_on_triangle(px, py, pz, tri)[0]
                    if distance <= band2 and distance < squared[i, j, k]:
                        squared[i, j, k] = distance
                        nearest[i, j, k] = t


@njit(cache=True)
def sweep(
    squared: Any, nearest: Any, changed: Any, first: int, origin: Any, spacing: float, corners: Any, spheres: Any
) -> int:
    """Carry the nearest triangle to the neighbours in the eight diagonal directions; return the number of changes.

    Fast sweeping (Zhao 2005) of triangle indices in place of distances, so that every value is the exact distance to
    some triangle, never below the true one. A neighbour is looked at again only when it changed since it was last
    seen from the same side.

    Args:
        squared: Squared distances [m²], shape (nx, ny, nz); changed in place.
        nearest: Nearest triangle of each node, -1 for none; changed in place.
        changed: Number of the sweep that changed a node last: -1 before all, 127 for a node that is exact.
        first: Number of the first sweep, a multiple of 8.
        origin: Position of node (0, 0, 0) [m].
        spacing: Distance between nodes [m].
        corners: Triangles [m], shape (m, 3, 3).
        spheres: A sphere around each triangle: centre and radius [m], shape (m, 4).
    """
    nx, ny, nz = squared.shape
    changes = 0
    for number in range(first, first + 8):
        sx = 1 if number & 1 == 0 else -1
        sy = 1 if number & 2 == 0 else -1
        sz = 1 if number & 4 == 0 else -1
        seen_x = number - 2 if number >= 2 else -2
        seen_y = number - 1 if number & 1 else (number - 3 if number >= 4 else -2)
        seen_z = number - 1 if number & 3 else (number - 5 if number >= 8 else -2)
        for a in range(nx):
            i = a if sx > 0 else nx - 1 - a
            px = origin[0] + spacing * i
            for b in range(ny):
                j = b if sy > 0 else ny - 1 - b
                py = origin[1] + spacing * j
                for c in range(nz):
                    k = c if sz > 0 else nz - 1 - c
                    if changed[i, j, k] == EXACT:
                        continue
                    best = squared[i, j, k]
                    own = nearest[i, j, k]
                    reach = -1.0
                    before = own
                    pz = origin[2] + spacing * k
                    for axis in range(3):
                        if axis == 0:
                            u, v, w, seen, edge = i - sx, j, k, seen_x, a == 0
                        elif axis == 1:
                            u, v, w, seen, edge = i, j - sy, k, seen_y, b == 0
                        else:
                            u, v, w, seen, edge = i, j, k - sz, seen_z, c == 0
                        if edge or (changed[u, v, w] == EXACT and seen > -2):
                            continue
                        if changed[u, v, w] <= seen:
                            continue
                        t = nearest[u, v, w]
                        if t < 0 or t == own:
                            continue
                        if reach < 0.0:
                            reach = math.sqrt(best)
                        ball = spheres[t]
                        gap = (px - ball[0]) ** 2 + (py - ball[1]) ** 2 + (pz - ball[2]) ** 2
                        if gap >= (reach + ball[3]) ** 2:
                            continue
                        distance = closest_on_triangle(px, py, pz, corners[t])[0]
                        if distance < best:
                            best = distance
                            own = t
                            reach = math.sqrt(best)
                    if own != before:
                        squared[i, j, k] = best
                        nearest[i, j, k] = own
                        changed[i, j, k] = number
                        changes += 1
    return changes


@njit(cache=True)
def signed_values(
    squared: Any, nearest: Any, origin: Any, spacing: float, corners: Any, normals: Any, band: float
) -> Any:
    """Turn squared distances into signed float32 ones, negative inside.

    The sign is that of the pseudo-normal inside the band, where the nearest triangle is exact. Along a line of nodes
    no crossing can hide between two nodes outside the band (band ≥ spacing), so these take the sign of the last one.
    """
    nx, ny, nz = squared.shape
    band2 = band * band
    values = np.empty((nx, ny, nz), np.float32)
    for i in range(nx):
        px = origin[0] + spacing * i
        for j in range(ny):
            py = origin[1] + spacing * j
            sign = 1.0
            for k in range(nz):
                if len(normals) and squared[i, j, k] <= band2:
                    pz = origin[2] + spacing * k
                    sign = side_of_triangle(px, py, pz, nearest[i, j, k], corners, normals)
                values[i, j, k] = sign * math.sqrt(squared[i, j, k])
    return values


@njit(cache=True)
def look_up(values: Any, ox: float, oy: float, oz: float, spacing: float, px: float, py: float, pz: float) -> Any:
    """Return distance, gradient (3 numbers) and whether the point lies outside the grid.

    Inside: trilinear value and its derivative. Outside: with c the nearest point of the grid's box, which is convex
    and holds the whole surface, |p - s|² ≥ |p - c|² + |c - s|² for each surface point s; so the value is the lower
    bound √(|p - c|² + d(c)²), continuous at the border, never farther than the truth; the gradient points away from
    the surface point that is nearest to c.
    """
    inverse = 1.0 / spacing
    fx, fy, fz = (px - ox) * inverse, (py - oy) * inverse, (pz - oz) * inverse
    top_x, top_y, top_z = values.shape[0] - 1.0, values.shape[1] - 1.0, values.shape[2] - 1.0
    cx, cy, cz = min(max(fx, 0.0), top_x), min(max(fy, 0.0), top_y), min(max(fz, 0.0), top_z)
    i, j, k = min(int(cx), values.shape[0] - 2), min(int(cy), values.shape[1] - 2), min(int(cz), values.shape[2] - 2)
    u, v, w = cx - i, cy - j, cz - k
    v000, v001 = float(values[i, j, k]), float(values[i, j, k + 1])
    v010, v011 = float(values[i, j + 1, k]), float(values[i, j + 1, k + 1])
    v100, v101 = float(values[i + 1, j, k]), float(values[i + 1, j, k + 1])
    v110, v111 = float(values[i + 1, j + 1, k]), float(values[i + 1, j + 1, k + 1])
    a00, a01 = v000 + w * (v001 - v000), v010 + w * (v011 - v010)
    a10, a11 = v100 + w * (v101 - v100), v110 + w * (v111 - v110)
    b0, b1 = a00 + v * (a01 - a00), a10 + v * (a11 - a10)
    distance = b0 + u * (b1 - b0)
    gx = (b1 - b0) * inverse
    gy = ((a01 - a00) + u * ((a11 - a10) - (a01 - a00))) * inverse
    z0 = (v001 - v000) + v * ((v011 - v010) - (v001 - v000))
    z1 = (v101 - v100) + v * ((v111 - v110) - (v101 - v100))
    gz = (z0 + u * (z1 - z0)) * inverse
    ex, ey, ez = (fx - cx) * spacing, (fy - cy) * spacing, (fz - cz) * spacing
    beyond = ex * ex + ey * ey + ez * ez
    if beyond <= (ROUNDING * spacing) ** 2:
        return distance, gx, gy, gz, False
    bound = math.sqrt(beyond + distance * distance)
    gx, gy, gz = ex + distance * gx, ey + distance * gy, ez + distance * gz
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    if length > 0.0:
        gx, gy, gz = gx / length, gy / length, gz / length
    return bound, gx, gy, gz, True


@njit(cache=True)
def look_up_many(values: Any, origin: Any, spacing: float, points: Any) -> Any:
    """Look up points (n, 3): distances (n,), gradients (n, 3), outside (n,)."""
    n = len(points)
    distances = np.empty(n)
    gradients = np.empty((n, 3))
    outside = np.empty(n, np.bool_)
    ox, oy, oz = origin[0], origin[1], origin[2]
    for m in range(n):
        distances[m], gradients[m, 0], gradients[m, 1], gradients[m, 2], outside[m] = look_up(
            values, ox, oy, oz, spacing, points[m, 0], points[m, 1], points[m, 2]
        )
    return distances, gradients, outside
