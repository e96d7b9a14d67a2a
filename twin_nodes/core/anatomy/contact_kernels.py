"""Finds where a capsule meets the triangles of a surface."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

_TURNS = 12


@njit(cache=True)
def near_capsule(start: Any, end: Any, reach: float, vertices: Any, faces: Any, axis_points: Any, places: Any) -> Any:
    """Return the distance of each triangle to the axis of a capsule, infinite beyond reach, shape (k,).

    Segment and triangle are convex: projecting on one and the other by turns leads to the nearest pair (Cheney and
    Goldstein 1959).

    Args:
        start: One end of the axis [m], shape (3,).
        end: The other, shape (3,).
        reach: Distance beyond which nobody cares [m].
        vertices: Of the surface [m], shape (n, 3).
        faces: Triangles, shape (k, 3).
        axis_points: Filled with the nearest points of the axis [m], shape (k, 3).
        places: Filled with those of the triangles [m], shape (k, 3).
    """
    away = np.full(len(faces), np.inf)
    corners = np.empty((3, 3))
    way = end - start
    squared = way[0] ** 2 + way[1] ** 2 + way[2] ** 2
    for f in range(len(faces)):
        middle, size = _middle(vertices, faces[f], corners)
        share = _along(middle, start, way, squared)
        gap = 0.0
        for k in range(3):
            gap += (middle[k] - start[k] - share * way[k]) ** 2
        if math.sqrt(gap) > reach + size:
            continue
        distance = np.inf
        for _ in range(_TURNS):
            x, y, z = start[0] + share * way[0], start[1] + share * way[1], start[2] + share * way[2]
            d2, _feature, px, py, pz = closest_on_triangle(x, y, z, corners)
            axis_points[f, 0], axis_points[f, 1], axis_points[f, 2] = x, y, z
            places[f, 0], places[f, 1], places[f, 2] = px, py, pz
            distance = d2
            moved = _along(places[f], start, way, squared)
            if abs(moved - share) < 1e-4:
                break
            share = moved
        if distance <= reach * reach:
            away[f] = math.sqrt(distance)
    return away


@njit(cache=True)
def _middle(vertices: Any, face: Any, corners: Any) -> Any:
    """Fill the corners; return the middle of a triangle, and how far its corners are from it."""
    middle = np.zeros(3)
    for k in range(3):
        for axis in range(3):
            corners[k, axis] = vertices[face[k], axis]
            middle[axis] += corners[k, axis] / 3.0
    size = 0.0
    for k in range(3):
        size = max(
            size,
            (corners[k, 0] - middle[0]) ** 2 + (corners[k, 1] - middle[1]) ** 2 + (corners[k, 2] - middle[2]) ** 2,
        )
    return middle, math.sqrt(size)


@njit(cache=True)
def _along(point: Any, start: Any, way: Any, squared: float) -> float:
    """Return where the point of a segment nearest to a point is, 0 at the start, 1 at the end."""
    if squared == 0.0:
        return 0.0
    share = 0.0
    for k in range(3):
        share += (point[k] - start[k]) * way[k]
    return min(max(share / squared, 0.0), 1.0)
