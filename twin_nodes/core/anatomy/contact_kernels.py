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
    corners, middle = np.empty((3, 3)), np.empty(3)
    way = end - start
    squared = way[0] ** 2 + way[1] ** 2 + way[2] ** 2
    for f in range(len(faces)):
        size = _middle(vertices, faces[f, 0], faces[f, 1], faces[f, 2], corners, middle)
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
def _middle(vertices: Any, a: int, b: int, c: int, corners: Any, middle: Any) -> float:
    """Fill the corners and the middle of a triangle; return how far its corners are from that."""
    for axis in range(3):
        corners[0, axis], corners[1, axis], corners[2, axis] = vertices[a, axis], vertices[b, axis], vertices[c, axis]
        middle[axis] = (corners[0, axis] + corners[1, axis] + corners[2, axis]) / 3.0
    size = 0.0
    for k in range(3):
        size = max(
            size,
            (corners[k, 0] - middle[0]) ** 2 + (corners[k, 1] - middle[1]) ** 2 + (corners[k, 2] - middle[2]) ** 2,
        )
    return math.sqrt(size)


@njit(cache=True)
def _along(point: Any, start: Any, way: Any, squared: float) -> float:
    """Return where the point of a segment nearest to a point is, 0 at the start, 1 at the end."""
    if squared == 0.0:
        return 0.0
    share = 0.0
    for k in range(3):
        share += (point[k] - start[k]) * way[k]
    return min(max(share / squared, 0.0), 1.0)


@njit(cache=True)
def gap(vertices: Any, nodes: Any, weights: Any, push: Any, target: Any) -> float:
    """Return how far a place (3,) of a triangle's nodes (3,) is from its target (3,) along a push (3,) [m]."""
    total = 0.0
    for k in range(3):
        place = -target[k]
        for corner in range(3):
            place += weights[corner] * vertices[nodes[corner], k]
        total += push[k] * place
    return total


@njit(cache=True)
def shares(corners: Any, place: Any, found: Any) -> None:
    """Fill the barycentric coordinates (3,) of a point (3,) of a triangle (3, 3); those of the first corner if flat."""
    aa = ab = bb = ca = cb = 0.0
    for k in range(3):
        a, b, c = corners[1, k] - corners[0, k], corners[2, k] - corners[0, k], place[k] - corners[0, k]
        aa += a * a
        ab += a * b
        bb += b * b
        ca += c * a
        cb += c * b
    scale = aa * bb - ab * ab
    found[0], found[1], found[2] = 1.0, 0.0, 0.0
    if scale <= 0.0:
        return
    second, third = (bb * ca - ab * cb) / scale, (aa * cb - ab * ca) / scale
    total = 0.0
    for k, share in enumerate((1.0 - second - third, second, third)):
        found[k] = min(max(share, 0.0), 1.0)
        total += found[k]
    for k in range(3):
        found[k] /= total


@njit(cache=True)
def pushed(
    corners: Any, weights: Any, start: Any, end: Any, radius: float, known: Any, same_way: float, facing: float,
    push: Any, target: Any,
) -> bool:  # fmt: skip
    """Find how a capsule pushes a place of a triangle; return whether it pushes inward.

    Args:
        corners: Of the triangle [m], shape (3, 3).
        weights: Of the place, shape (3,).
        start: One end of the axis [m], shape (3,).
        end: The other, shape (3,).
        radius: [m].
        known: Unit vector in which it pushed before, or 0, shape (3,).
        same_way: Cosine of the turn up to which that is kept.
        facing: Least share of the push that goes inward.
        push: Filled with the unit vector, shape (3,).
        target: Filled with where the place would just touch [m], shape (3,).
    """
    normal, place, way = np.empty(3), np.zeros(3), end - start
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        normal[k] = (corners[1, i] - corners[0, i]) * (corners[2, j] - corners[0, j]) - (
            corners[1, j] - corners[0, j]
        ) * (corners[2, i] - corners[0, i])
        for corner in range(3):
            place[k] += weights[corner] * corners[corner, k]
    length = max(math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2), 1e-300)
    share = _along(place, start, way, way[0] ** 2 + way[1] ** 2 + way[2] ** 2)
    away = outward = 0.0
    for k in range(3):
        push[k] = place[k] - (start[k] + share * way[k])
        away += push[k] ** 2
        outward -= push[k] * normal[k]
    away = math.sqrt(away)
    if away > 2.0 * radius:
        return False
    inward = along_known = 0.0
    for k in range(3):
        if away > 1e-9:
            push[k] = (-push[k] if outward < 0.0 else push[k]) / away  # the axis may be inside the tissue
        else:
            push[k] = -normal[k] / length
        inward += push[k] * normal[k] / length
        along_known += push[k] * known[k]
    if inward > -facing:
        return False
    for k in range(3):
        push[k] = known[k] if along_known > same_way else push[k]
        target[k] = start[k] + share * way[k] + radius * push[k]
    return True
