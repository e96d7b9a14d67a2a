"""Compiled kernel of a cut face: a polygon in triangles."""

from typing import Any

import numpy as np
from numba import njit

_FLAT = 1e-18  # m², twice the area of an ear that is none


@njit(cache=True)
def ears(polygon: Any) -> Any:
    """Cut a polygon into triangles, ear by ear (Meisters 1975); one that crosses itself is cut all the same.

    Args:
        polygon: Corners counterclockwise [m], shape (n, 2); holes are joined to the outside by doubled edges.

    Returns:
        Corners of the triangles as indices, shape (n - 2, 3).
    """
    n = len(polygon)
    after, before = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        after[i], before[i] = (i + 1) % n, (i - 1) % n
    found = np.empty((max(n - 2, 0), 3), np.int64)
    at, tried, left, strict = 0, 0, n, True
    while left > 2:
        a, c = before[at], after[at]
        if _is_ear(polygon, a, at, c, after, strict) or (not strict and tried > left):
            found[n - left] = a, at, c
            after[a], before[c] = c, a
            left, tried, at, strict = left - 1, 0, c, True
            continue
        at, tried = c, tried + 1
        if strict and tried > left:
            strict, tried = False, 0
    return found


@njit(cache=True)
def _is_ear(polygon: Any, a: int, b: int, c: int, after: Any, strict: bool) -> bool:
    """Whether the corner b is convex, and no other corner lies in it; a flat one is an ear unless `strict`."""
    area = _twice(polygon[a], polygon[b], polygon[c])
    if area <= _FLAT:
        return not strict and area > -_FLAT
    at = after[c]
    while at != a:
        p = polygon[at]
        same = (
            (p[0] == polygon[a, 0] and p[1] == polygon[a, 1])
            or (p[0] == polygon[b, 0] and p[1] == polygon[b, 1])
            or (p[0] == polygon[c, 0] and p[1] == polygon[c, 1])
        )
        if (
            not same
            and _twice(polygon[a], polygon[b], p) >= 0.0
            and _twice(polygon[b], polygon[c], p) >= 0.0
            and _twice(polygon[c], polygon[a], p) >= 0.0
        ):
            return False
        at = after[at]
    return True


@njit(cache=True)
def _twice(a: Any, b: Any, c: Any) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
