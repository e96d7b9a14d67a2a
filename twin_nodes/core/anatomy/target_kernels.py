"""Finds the tetrahedron around a point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def locate(points: Any, nodes: Any, tets: Any, inverse: Any, found: Any, shares: Any) -> None:
    """Find for each point the tetrahedron in which its least barycentric coordinate is largest.

    Args:
        points: Points at rest [m], shape (p, 3).
        nodes: Nodes at rest [m], shape (n, 3).
        tets: Shape (m, 4).
        inverse: Inverse of the matrix of edges from the first node, columns, shape (m, 3, 3).
        found: Filled with the tetrahedra, shape (p,).
        shares: Filled with the barycentric coordinates, shape (p, 4); the least is negative for a point outside.
    """
    for p in range(len(points)):
        best = -np.inf
        for t in range(len(tets)):
            first = nodes[tets[t, 0]]
            dx, dy, dz = points[p, 0] - first[0], points[p, 1] - first[1], points[p, 2] - first[2]
            b = inverse[t, 0, 0] * dx + inverse[t, 0, 1] * dy + inverse[t, 0, 2] * dz
            if b <= best:
                continue
            c = inverse[t, 1, 0] * dx + inverse[t, 1, 1] * dy + inverse[t, 1, 2] * dz
            if c <= best:
                continue
            d = inverse[t, 2, 0] * dx + inverse[t, 2, 1] * dy + inverse[t, 2, 2] * dz
            least = min(min(b, c), min(d, 1.0 - b - c - d))
            if least > best:
                best = least
                found[p] = t
                shares[p, 0], shares[p, 1], shares[p, 2], shares[p, 3] = 1.0 - b - c - d, b, c, d
