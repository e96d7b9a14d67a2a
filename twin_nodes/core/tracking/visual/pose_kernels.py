"""Compiled steps of `reprojection`: whitened errors of a pose, their derivative, and the descent to their least."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_NEAREST = 1e-3  # of a point to the plane of the camera [m]
_STEPS = 30


@njit(cache=True)
def descend(view: Any, pose: Any, misfits: Any, information: Any) -> float:
    """Move a pose to the least whitened error, by Gauss-Newton with Levenberg's damping.

    Args:
        view: Points (k, m, 3) [m], pixels (k, m, 2), whitening (k, 2m, 2m), focal lengths (2,) and centre (2,) [px].
        pose: camera_T_body (4, 4); moved.
        misfits: Filled with the squared whitened errors of each group, shape (k,).
        information: Filled with the inverse covariance of the pose, shape (6, 6).

    Returns:
        RMS distance of the corners from where the pose puts them [px]; -1 where it ends behind the camera or carries
        no pose.
    """
    gradient, step = np.empty(6), np.empty(6)
    reprojection = errors(view, pose, misfits, information, gradient)
    if reprojection < 0.0:
        return -1.0
    moved, damped = np.eye(4), np.empty((6, 6))
    trial_misfits, trial_information, trial_gradient = np.empty_like(misfits), np.empty((6, 6)), np.empty(6)
    damping = 1e-6
    for _ in range(_STEPS):
        cost = misfits.sum()
        damped[:] = information
        for i in range(6):
            damped[i, i] += damping * information[i, i]
            step[i] = -gradient[i]
        if not _solve(damped, step):
            return -1.0
        _move(pose, step, moved)
        trial = errors(view, moved, trial_misfits, trial_information, trial_gradient)
        gain = cost - trial_misfits.sum() if trial >= 0.0 else -1.0
        if gain >= 0.0:
            pose[:], misfits[:], information[:], gradient[:] = moved, trial_misfits, trial_information, trial_gradient
            reprojection = trial
            damping = max(0.1 * damping, 1e-9)
            if gain < 1e-7 * (1.0 + cost):
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return reprojection


@njit(cache=True)
def errors(view: Any, pose: Any, misfits: Any, information: Any, gradient: Any) -> float:
    """Fill in misfits (k,), information (6, 6) and gradient (6,) of a pose; returns as `descend` does."""
    points, pixels, whitening, focal, centre = view
    groups, size = points.shape[0], points.shape[1]
    plain, derivative = np.empty(2 * size), np.empty((2 * size, 6))
    row = np.empty(6)
    information[:], gradient[:] = 0.0, 0.0
    squares = 0.0
    for g in range(groups):
        for i in range(size):
            if not _corner(points[g, i], pixels[g, i], focal, centre, pose, plain[2 * i :], derivative[2 * i :]):
                return -1.0
            squares += plain[2 * i] ** 2 + plain[2 * i + 1] ** 2
        misfits[g] = 0.0
        for i in range(2 * size):
            white = 0.0
            row[:] = 0.0
            for j in range(2 * size):
                weight = whitening[g, i, j]
                if weight != 0.0:
                    white += weight * plain[j]
                    for c in range(6):
                        row[c] += weight * derivative[j, c]
            misfits[g] += white * white
            for a in range(6):
                gradient[a] += row[a] * white
                for b in range(6):
                    information[a, b] += row[a] * row[b]
    return math.sqrt(squares / (groups * size))


@njit(cache=True)
def _corner(point: Any, pixel: Any, focal: Any, centre: Any, pose: Any, plain: Any, derivative: Any) -> bool:
    """Fill in the error (2,) of a corner [px] and its derivative (2, 6); false where it lies behind the camera."""
    x = pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2]
    y = pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2]
    z = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2]
    depth = z + pose[2, 3]
    if not depth > _NEAREST:
        return False
    for axis in range(2):
        ray = ((x if axis == 0 else y) + pose[axis, 3]) / depth
        scale = focal[axis] / depth
        plain[axis] = ray * focal[axis] + centre[axis] - pixel[axis]
        across, along = derivative[axis], -scale * ray
        across[0], across[1], across[2] = 0.0, 0.0, along
        across[axis] = scale
        # ∂(R p)/∂φ = −[R p]×
        if axis == 0:
            across[3], across[4], across[5] = along * y, scale * z - along * x, -scale * y
        else:
            across[3], across[4], across[5] = -scale * z + along * y, -along * x, scale * x
    return True


@njit(cache=True)
def _move(pose: Any, step: Any, moved: Any) -> None:
    """Fill in a pose (4, 4) after a step (δp, δφ), by Rodrigues' formula."""
    square = step[3] ** 2 + step[4] ** 2 + step[5] ** 2
    angle = math.sqrt(square)
    a = math.sin(angle) / angle if angle > 1e-4 else 1.0 - square / 6.0
    b = 2.0 * (math.sin(0.5 * angle) / angle) ** 2 if angle > 1e-4 else 0.5 - square / 24.0
    for c in range(3):
        u, v, w = pose[0, c], pose[1, c], pose[2, c]
        dot = step[3] * u + step[4] * v + step[5] * w
        moved[0, c] = u + a * (step[4] * w - step[5] * v) + b * (step[3] * dot - square * u)
        moved[1, c] = v + a * (step[5] * u - step[3] * w) + b * (step[4] * dot - square * v)
        moved[2, c] = w + a * (step[3] * v - step[4] * u) + b * (step[5] * dot - square * w)
        moved[c, 3] = pose[c, 3] + step[c]


@njit(cache=True)
def _solve(matrix: Any, vector: Any) -> bool:
    """Solve a positive definite system by Cholesky, in place; false where it is not."""
    count = len(vector)
    for j in range(count):
        for i in range(j, count):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = total / matrix[j, j]
            elif total > 0.0:
                matrix[j, j] = math.sqrt(total)
            else:
                return False
    for i in range(count):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(count - 1, -1, -1):
        for k in range(i + 1, count):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]
    return True
