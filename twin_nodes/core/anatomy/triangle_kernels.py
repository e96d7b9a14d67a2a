"""Compiled kernels: the point of a triangle nearest to a point, and exact distances to whole surfaces."""

import math
from typing import Any

import numpy as np
from numba import njit

# Features of a triangle: 0 its face, 1-3 its vertices a b c, 4-6 its edges ab bc ca.


@njit(cache=True, inline='never')
def closest_on_triangle(px: float, py: float, pz: float, corners: Any) -> tuple[float, int, float, float, float]:
    """Return squared distance, feature and coordinates of the nearest point (Ericson 2005, section 5.1.5).

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        corners: One triangle [m], shape (3, 3).
    """
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    abx, aby, abz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    acx, acy, acz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    apx, apy, apz = px - ax, py - ay, pz - az
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    ab2 = abx * abx + aby * aby + abz * abz
    ac2 = acx * acx + acy * acy + acz * acz
    abac = abx * acx + aby * acy + abz * acz
    d3, d4 = d1 - ab2, d2 - abac
    d5, d6 = d1 - abac, d2 - ac2
    feature, v, w = 0, 0.0, 0.0
    vc = d1 * d4 - d3 * d2
    vb = d5 * d2 - d1 * d6
    va = d3 * d6 - d5 * d4
    if d1 <= 0.0 and d2 <= 0.0:
        feature = 1
    elif d3 >= 0.0 and d4 <= d3:
        feature, v = 2, 1.0
    elif d6 >= 0.0 and d5 <= d6:
        feature, w = 3, 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        feature, v = 4, d1 / (d1 - d3) if d1 > d3 else 0.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        feature, w = 6, d2 / (d2 - d6) if d2 > d6 else 0.0
    elif va <= 0.0 and (d4 - d3) >= 0.0 and (d5 - d6) >= 0.0:
        length = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / length if length > 0.0 else 0.0
        feature, v = 5, 1.0 - w
    else:
        area = va + vb + vc
        scale = 1.0 / area if area > 0.0 else 0.0  # none: a triangle that was pressed flat
        v, w = vb * scale, vc * scale
    qx, qy, qz = ax + v * abx + w * acx, ay + v * aby + w * acy, az + v * abz + w * acz
    squared = (px - qx) ** 2 + (py - qy) ** 2 + (pz - qz) ** 2
    return squared, feature, qx, qy, qz


@njit(cache=True)
def side_of_triangle(px: float, py: float, pz: float, triangle: int, corners: Any, normals: Any) -> float:
    """Return +1 outside and -1 inside, by the pseudo-normal of the nearest feature (Bærentzen and Aanæs 2005).

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        triangle: Index of the triangle nearest to the point.
        corners: All triangles [m], shape (m, 3, 3).
        normals: Pseudo-normals of face, vertices and edges in the order of the features, shape (m, 7, 3).
    """
    _, feature, qx, qy, qz = closest_on_triangle(px, py, pz, corners[triangle])
    normal = normals[triangle, feature]
    return -1.0 if (px - qx) * normal[0] + (py - qy) * normal[1] + (pz - qz) * normal[2] < 0.0 else 1.0


@njit(cache=True)
def exact_distances(points: Any, corners: Any, spheres: Any, normals: Any) -> Any:
    """Signed distances [m] (k,) of points (k, 3) by looking at every triangle whose sphere is near enough.

    Args:
        points: Points [m], shape (k, 3).
        corners: Triangles [m], shape (m, 3, 3).
        spheres: A sphere around each triangle: centre and radius [m], shape (m, 4).
        normals: As in `side_of_triangle`; shape (0, 7, 3) gives unsigned distances.
    """
    distances = np.empty(len(points))
    for k in range(len(points)):
        px, py, pz = points[k, 0], points[k, 1], points[k, 2]
        best, nearest = np.inf, -1
        reach = np.inf
        for t in range(len(corners)):
            gap = (px - spheres[t, 0]) ** 2 + (py - spheres[t, 1]) ** 2 + (pz - spheres[t, 2]) ** 2
            if gap > (reach + spheres[t, 3]) ** 2:
                continue
            squared = closest_on_triangle(px, py, pz, corners[t])[0]
            if squared < best:
                best, nearest = squared, t
                reach = math.sqrt(best)
        sign = side_of_triangle(px, py, pz, nearest, corners, normals) if len(normals) else 1.0
        distances[k] = sign * reach
    return distances
