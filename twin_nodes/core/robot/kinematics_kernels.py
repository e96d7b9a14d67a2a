"""Forward kinematics, Jacobian and damped inverse kinematics of serial chains, compiled.

A chain is given by the pose of each joint in the joint before it (n, 3, 4), the axes (n, 3), the kinds (n,) with 0 for
revolute and 1 for prismatic, the column of each joint in the vector of positions with its ratio and offset (mimic
joints share a column), and the pose of the tip in the last joint (3, 4).
"""

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, inline='always')
def _multiply(a: Any, b: Any, out: Any) -> None:
    for i in range(3):
        for j in range(4):
            total = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
            out[i, j] = total + a[i, 3] if j == 3 else total


@njit(cache=True, inline='always')
def _motion(axis: Any, kind: int, position: float, out: Any) -> None:
    """Pose of the moved joint in the joint at rest; Rodrigues."""
    x, y, z = axis[0], axis[1], axis[2]
    if kind == 1:
        for i in range(3):
            for j in range(3):
                out[i, j] = 1.0 if i == j else 0.0
            out[i, 3] = axis[i] * position
        return
    c, s = math.cos(position), math.sin(position)
    v = 1.0 - c
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = c + x * x * v, x * y * v - z * s, x * z * v + y * s, 0.0
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = y * x * v + z * s, c + y * y * v, y * z * v - x * s, 0.0
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = z * x * v - y * s, z * y * v + x * s, c + z * z * v, 0.0


@njit(cache=True)
def chain_frames(
    origins: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, offsets: Any, tip: Any, q: Any, frames: Any
) -> None:
    """Fill the poses (n + 1, 3, 4) in the base of each moved joint, and of the tip last."""
    rest = np.empty((3, 4))
    motion = np.empty((3, 4))
    count = len(kinds)
    for i in range(count):
        if i == 0:
            rest[:] = origins[0]
        else:
            _multiply(frames[i - 1], origins[i], rest)
        _motion(axes[i], kinds[i], ratios[i] * q[columns[i]] + offsets[i], motion)
        _multiply(rest, motion, frames[i])
    if count:
        _multiply(frames[count - 1], tip, frames[count])
    else:
        frames[0] = tip


@njit(cache=True)
def fill_jacobian(frames: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, out: Any) -> None:
    """Fill the geometric Jacobian (6, m) of the tip, velocity then rotation, along the axes of the base."""
    out[:] = 0.0
    last = len(kinds)
    tx, ty, tz = frames[last, 0, 3], frames[last, 1, 3], frames[last, 2, 3]
    for i in range(last):
        frame, axis, column, ratio = frames[i], axes[i], columns[i], ratios[i]
        x = ratio * (frame[0, 0] * axis[0] + frame[0, 1] * axis[1] + frame[0, 2] * axis[2])
        y = ratio * (frame[1, 0] * axis[0] + frame[1, 1] * axis[1] + frame[1, 2] * axis[2])
        z = ratio * (frame[2, 0] * axis[0] + frame[2, 1] * axis[1] + frame[2, 2] * axis[2])
        if kinds[i] == 1:
            out[0, column] += x
            out[1, column] += y
            out[2, column] += z
            continue
        dx, dy, dz = tx - frame[0, 3], ty - frame[1, 3], tz - frame[2, 3]
        out[0, column] += y * dz - z * dy
        out[1, column] += z * dx - x * dz
        out[2, column] += x * dy - y * dx
        out[3, column] += x
        out[4, column] += y
        out[5, column] += z


@njit(cache=True)
def forward_many(
    origins: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, offsets: Any, tip: Any, positions: Any, out: Any
) -> None:
    """Fill the tip poses (k, 4, 4) of many positions (k, m)."""
    frames = np.empty((len(kinds) + 1, 3, 4))
    for k in range(len(positions)):
        chain_frames(origins, axes, kinds, columns, ratios, offsets, tip, positions[k], frames)
        out[k, :3] = frames[len(kinds)]
        out[k, 3, :3] = 0.0
        out[k, 3, 3] = 1.0


@njit(cache=True)
def jacobian_many(
    origins: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, offsets: Any, tip: Any, positions: Any, out: Any
) -> None:
    """Fill the Jacobians (k, 6, m) of many positions (k, m)."""
    frames = np.empty((len(kinds) + 1, 3, 4))
    for k in range(len(positions)):
        chain_frames(origins, axes, kinds, columns, ratios, offsets, tip, positions[k], frames)
        fill_jacobian(frames, axes, kinds, columns, ratios, out[k])


@njit(cache=True)
def tree_frames(
    parents: Any, origins: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, offsets: Any, q: Any, out: Any
) -> None:
    """Fill the pose (n, 4, 4) of each joint's child in the parent link, fixed joints (kind 2) too."""
    motion = np.empty((3, 4))
    for i in range(len(parents)):
        out[i, 3, :3] = 0.0
        out[i, 3, 3] = 1.0
        if kinds[i] == 2:
            out[i, :3] = origins[i]
        else:
            _motion(axes[i], kinds[i], ratios[i] * q[columns[i]] + offsets[i], motion)
            _multiply(origins[i], motion, out[i, :3])
