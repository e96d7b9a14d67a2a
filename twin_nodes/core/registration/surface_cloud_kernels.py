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
