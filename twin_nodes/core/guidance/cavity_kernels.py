"""Compiled kernels: how far a point is from the wall of a cavity in tissue that has moved."""

import math
from typing import Any

import numpy as np
from numba import njit

_ROUNDS = 12  # of bringing a point back
_NEAR = 5e-5  # m, at which it is back
_STEP = 2e-4  # m, of the gradient


@njit(cache=True)
def in_cavity(px: float, py: float, pz: float, cavity: Any) -> tuple[float, float, float, float]:
    """Return the distance from the wall [m], positive where tissue is gone, and its gradient of length 1.

    The distance is that in the scan, less where the tissue is pressed together now. -inf where nothing is known.

    Args:
        px: Point, where the tissue is now [m].
        py: See there.
        pz: See there.
        cavity: See `cavity.Cavity`.
    """
    free = _free(px, py, pz, cavity)
    if free == -math.inf:
        return -math.inf, 0.0, 0.0, 0.0
    gx = _slope(px, py, pz, 0, free, cavity)
    gy = _slope(px, py, pz, 1, free, cavity)
    gz = _slope(px, py, pz, 2, free, cavity)
    length = math.sqrt(gx * gx + gy * gy + gz * gz)
    if not 0.0 < length < math.inf:
        return -math.inf, 0.0, 0.0, 0.0
    return free / max(length, 1.0), gx / length, gy / length, gz / length


@njit(cache=True)
def _slope(px: float, py: float, pz: float, axis: int, free: float, cavity: Any) -> float:
    """Return the slope along an axis by differences; one-sided where the other side is not known."""
    x, y, z = (_STEP if axis == 0 else 0.0), (_STEP if axis == 1 else 0.0), (_STEP if axis == 2 else 0.0)
    up, down = _free(px + x, py + y, pz + z, cavity), _free(px - x, py - y, pz - z, cavity)
    if up == -math.inf:
        return (free - down) / _STEP
    if down == -math.inf:
        return (up - free) / _STEP
    return 0.5 * (up - down) / _STEP


@njit(cache=True)
def _free(px: float, py: float, pz: float, cavity: Any) -> float:
    """Return the distance from the wall in the scan [m]: at the x with x + motion(x) = p, by Newton's method."""
    x, y, z = px, py, pz
    slopes = np.empty((3, 4))  # of the motion along x, y, z, and the motion itself
    for _ in range(_ROUNDS):
        _motion(x, y, z, cavity, slopes)
        rx, ry, rz = px - x - slopes[0, 3], py - y - slopes[1, 3], pz - z - slopes[2, 3]
        if abs(rx) + abs(ry) + abs(rz) < _NEAR:
            return _look_up(x, y, z, cavity)
        a, b, c = 1.0 + slopes[0, 0], slopes[0, 1], slopes[0, 2]
        d, e, f = slopes[1, 0], 1.0 + slopes[1, 1], slopes[1, 2]
        g, h, i = slopes[2, 0], slopes[2, 1], 1.0 + slopes[2, 2]
        whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        if abs(whole) < 0.05:  # folded: nothing can be told
            return -math.inf
        x += (rx * (e * i - f * h) + ry * (c * h - b * i) + rz * (b * f - c * e)) / whole
        y += (rx * (f * g - d * i) + ry * (a * i - c * g) + rz * (c * d - a * f)) / whole
        z += (rx * (d * h - e * g) + ry * (b * g - a * h) + rz * (a * e - b * d)) / whole
    return -math.inf


@njit(cache=True)
def _motion(x: float, y: float, z: float, cavity: Any, slopes: Any) -> None:
    """Write the motion of the tissue [m], linear between the nodes, also beyond them, and its slopes."""
    motion, origin, spacing = cavity.motion, cavity.origin, cavity.spacing
    u, v, w = (x - origin[0]) / spacing, (y - origin[1]) / spacing, (z - origin[2]) / spacing
    i = min(max(math.floor(u), 0), motion.shape[0] - 2)
    j = min(max(math.floor(v), 0), motion.shape[1] - 2)
    k = min(max(math.floor(w), 0), motion.shape[2] - 2)
    u, v, w = u - i, v - j, w - k
    slopes[:] = 0.0
    for a in range(2):
        s, ds = (u, 1.0) if a else (1.0 - u, -1.0)
        for b in range(2):
            t, dt = (v, 1.0) if b else (1.0 - v, -1.0)
            for c in range(2):
                r, dr = (w, 1.0) if c else (1.0 - w, -1.0)
                for axis in range(3):
                    value = motion[i + a, j + b, k + c, axis]
                    slopes[axis, 0] += ds * t * r * value / spacing
                    slopes[axis, 1] += s * dt * r * value / spacing
                    slopes[axis, 2] += s * t * dr * value / spacing
                    slopes[axis, 3] += s * t * r * value


@njit(cache=True)
def _look_up(x: float, y: float, z: float, cavity: Any) -> float:
    """Return the distance at a point of the scan, linear between the voxels; -inf where one of them is not known."""
    values, to_index = cavity.values, cavity.index_T_anatomy
    u = to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * z + to_index[0, 3]
    v = to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * z + to_index[1, 3]
    w = to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * z + to_index[2, 3]
    if not (0.0 <= u < values.shape[0] - 1 and 0.0 <= v < values.shape[1] - 1 and 0.0 <= w < values.shape[2] - 1):
        return -math.inf
    i, j, k = int(u), int(v), int(w)
    u, v, w = u - i, v - j, w - k
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                value = values[i + a, j + b, k + c]
                if value == -math.inf:
                    return -math.inf
                total += (u if a else 1.0 - u) * (v if b else 1.0 - v) * (w if c else 1.0 - w) * value
    return total
