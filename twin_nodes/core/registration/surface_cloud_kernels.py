"""Compiled kernels: a cloud put in order, and the residuals of its points looked at."""

import math
from typing import Any

import numpy as np
from numba import njit


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
    lx = ly = lz = math.inf
    hx = hy = hz = -math.inf
    tx = ty = tz = 0.0
    for m in range(n):
        x, y, z = points[m, 0], points[m, 1], points[m, 2]
        tx += x
        ty += y
        tz += z
        lx, ly, lz = x if x < lx else lx, y if y < ly else ly, z if z < lz else lz
        hx, hy, hz = x if x > hx else hx, y if y > hy else hy, z if z > hz else hz
    if not math.isfinite(tx + ty + tz):
        return math.nan
    cx, cy, cz = tx / n, ty / n, tz / n
    centroid[0], centroid[1], centroid[2] = cx, cy, cz
    side = max(hx - lx, hy - ly, hz - lz)
    scale = cells / side if side > 0.0 else 0.0
    ny, nz = int((hy - ly) * scale) + 1, int((hz - lz) * scale) + 1
    heads = np.zeros((int((hx - lx) * scale) + 1) * ny * nz + 1, np.int32)
    keys = np.empty(n, np.int32)
    for m in range(n):
        i, j = int((points[m, 0] - lx) * scale), int((points[m, 1] - ly) * scale)
        keys[m] = (i * ny + j) * nz + int((points[m, 2] - lz) * scale)
        heads[keys[m] + 1] += 1
    for key in range(len(heads) - 1):
        heads[key + 1] += heads[key]
    total = 0.0
    for m in range(n):
        place = heads[keys[m]]
        heads[keys[m]] = place + 1
        order[place] = m
        x, y, z = points[m, 0] - cx, points[m, 1] - cy, points[m, 2] - cz
        centred[place, 0], centred[place, 1], centred[place, 2] = x, y, z
        total += x * x + y * y + z * z
    return math.sqrt(total / n)


@njit(cache=True)
def pose_at(patient_T_anatomy: Any, centroid: Any, turn: Any, offset: Any) -> bool:
    """Take a start apart; return whether it is a rigid transform to within rounding.

    Args:
        patient_T_anatomy: Shape (4, 4).
        centroid: Of the cloud [m], shape (3,).
        turn: Gets anatomy_R_patient, shape (3, 3).
        offset: Gets the centroid in the anatomy [m], shape (3,).
    """
    worst = 0.0
    for i in range(3):
        worst += abs(patient_T_anatomy[3, i])
        offset[i] = 0.0
        for j in range(3):
            turn[i, j] = patient_T_anatomy[j, i]
            offset[i] += turn[i, j] * (centroid[j] - patient_T_anatomy[j, 3])
            dot = 0.0
            for k in range(3):
                dot += patient_T_anatomy[k, i] * patient_T_anatomy[k, j]
            worst += abs(dot - (1.0 if i == j else 0.0))
    worst += abs(patient_T_anatomy[3, 3] - 1.0)
    x = turn[1, 1] * turn[2, 2] - turn[1, 2] * turn[2, 1]
    y = turn[1, 2] * turn[2, 0] - turn[1, 0] * turn[2, 2]
    z = turn[1, 0] * turn[2, 1] - turn[1, 1] * turn[2, 0]
    right_handed = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z > 0.0
    return worst < 1e-12 and right_handed and math.isfinite(offset[0] + offset[1] + offset[2])


@njit(cache=True)
def scatter(sorted_values: Any, order: Any, values: Any) -> None:
    """Put values (n,) back into the order in which their points were given."""
    for m in range(len(order)):
        values[order[m]] = sorted_values[m]


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
