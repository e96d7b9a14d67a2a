"""Compiled kernels that settle the signs of a distance grid where the surface crosses itself."""

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def disagree(values: Any, clear: float) -> bool:
    """Whether two neighbours that both lie farther than `clear` [m] from the surface have different signs."""
    nx, ny, nz = values.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                own = values[i, j, k]
                if abs(own) <= clear:
                    continue
                for axis in range(3):
                    u, v, w = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if u < nx and v < ny and w < nz:
                        other = values[u, v, w]
                        if abs(other) > clear and (own < 0.0) != (other < 0.0):
                            return True
    return False


@njit(cache=True)
def deepest(values: Any, part: Any, count: int) -> Any:
    """Return the node (n, 3) of each part, from 1 on, that lies farthest from the surface."""
    nodes = np.zeros((count, 3), np.int64)
    farthest = np.full(count, -1.0)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                number = part[i, j, k] - 1
                if number >= 0 and abs(values[i, j, k]) > farthest[number]:
                    farthest[number] = abs(values[i, j, k])
                    nodes[number, 0], nodes[number, 1], nodes[number, 2] = i, j, k
    return nodes


@njit(cache=True)
def winding(points: Any, corners: Any) -> Any:
    """Return how often the surface winds about each point (n,): its solid angles over 4π (Van Oosterom 1983)."""
    turns = np.zeros(len(points))
    for n in range(len(points)):
        total = 0.0
        for t in range(len(corners)):
            ax, ay, az = (corners[t, 0, 0] - points[n, 0], corners[t, 0, 1] - points[n, 1],
                          corners[t, 0, 2] - points[n, 2])  # fmt: skip
            bx, by, bz = (corners[t, 1, 0] - points[n, 0], corners[t, 1, 1] - points[n, 1],
                          corners[t, 1, 2] - points[n, 2])  # fmt: skip
            cx, cy, cz = (corners[t, 2, 0] - points[n, 0], corners[t, 2, 1] - points[n, 1],
                          corners[t, 2, 2] - points[n, 2])  # fmt: skip
            a = math.sqrt(ax * ax + ay * ay + az * az)
            b = math.sqrt(bx * bx + by * by + bz * bz)
            c = math.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab = ax * bx + ay * by + az * bz
            bc = bx * cx + by * cy + bz * cz
            ca = cx * ax + cy * ay + cz * az
            total += math.atan2(volume, a * b * c + ab * c + bc * a + ca * b)
        turns[n] = total / (2.0 * math.pi)
    return turns


@njit(cache=True)
def settle(values: Any, part: Any, inside: Any, clear: float, spacing: float) -> None:
    """Give each part its sign, and a node beside it the same where no surface has room between them; in place."""
    nx, ny, nz = values.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                number = part[i, j, k] - 1
                if number >= 0:
                    values[i, j, k] = -abs(values[i, j, k]) if inside[number] else abs(values[i, j, k])
                    continue
                for way in range(6):
                    step = 1 if way & 1 else -1
                    u, v, w = i + step * (way >> 1 == 0), j + step * (way >> 1 == 1), k + step * (way >> 1 == 2)
                    if u < 0 or v < 0 or w < 0 or u >= nx or v >= ny or w >= nz or part[u, v, w] == 0:
                        continue
                    if abs(values[i, j, k]) + abs(values[u, v, w]) > spacing + clear * 1e-4:
                        other = inside[part[u, v, w] - 1]
                        values[i, j, k] = -abs(values[i, j, k]) if other else abs(values[i, j, k])
                        break
