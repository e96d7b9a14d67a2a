"""Damped least squares from a tip pose to joint positions within their limits, compiled.

Levenberg-Marquardt with the damping of Sugihara (2011, "Solvability-unconcerned inverse kinematics by the
Levenberg-Marquardt method", IEEE T-RO 27(5)): λ = ½ eᵀWe + a small share of the scale. Joints at a limit that the step
would leave are taken out of the step. A descent that ends in a local minimum starts anew from a random place.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.robot.kinematics_kernels import chain_frames, fill_jacobian


@njit(cache=True)
def _random(state: Any) -> Any:
    """Next number in [0, 1): xorshift, so that an answer does not depend on what was asked before."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return (x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def pose_error(target: Any, pose: Any, out: Any) -> None:
    """Fill (6,) with the way from a pose to the target: position [m], rotation vector [rad], axes of the base."""
    r = np.empty((3, 3))
    for i in range(3):
        out[i] = target[i, 3] - pose[i, 3]
        for j in range(3):
            r[i, j] = target[i, 0] * pose[j, 0] + target[i, 1] * pose[j, 1] + target[i, 2] * pose[j, 2]
    x, y, z = 0.5 * (r[2, 1] - r[1, 2]), 0.5 * (r[0, 2] - r[2, 0]), 0.5 * (r[1, 0] - r[0, 1])
    sine = math.sqrt(x * x + y * y + z * z)
    cosine = 0.5 * (r[0, 0] + r[1, 1] + r[2, 2] - 1.0)
    angle = math.atan2(sine, cosine)
    if sine > 1e-7:
        scale = angle / sine
        out[3], out[4], out[5] = scale * x, scale * y, scale * z
    elif cosine > 0.0:
        out[3], out[4], out[5] = x, y, z
    else:  # half a turn: the axis is the largest column of R + 1
        best = 0
        for i in range(1, 3):
            if r[i, i] > r[best, best]:
                best = i
        norm = math.sqrt(max(2.0 * (r[best, best] + 1.0), 1e-30))
        for i in range(3):
            out[3 + i] = math.pi * (r[i, best] + (1.0 if i == best else 0.0)) / norm


@njit(cache=True)
def _solve(matrix: Any, vector: Any, free: Any, count: int) -> Any:
    """Solve a positive definite system by Cholesky over the free unknowns, in place; False where it is not."""
    for j in range(count):
        if not free[j]:
            continue
        for i in range(j, count):
            if not free[i]:
                continue
            total = matrix[i, j]
            for k in range(j):
                if free[k]:
                    total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if total <= 0.0:
                    return False
                matrix[j, j] = math.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(count):
        if free[i]:
            for k in range(i):
                if free[k]:
                    vector[i] -= matrix[i, k] * vector[k]
            vector[i] /= matrix[i, i]
    for i in range(count - 1, -1, -1):
        if free[i]:
            for k in range(i + 1, count):
                if free[k]:
                    vector[i] -= matrix[k, i] * vector[k]
            vector[i] /= matrix[i, i]
    return True


@njit(cache=True)
def _step(jacobian: Any, error: Any, weights: Any, damping: float, q: Any, lower: Any, upper: Any, out: Any) -> Any:
    """Fill the damped step (m,); joints that stand at a limit and would leave it are held."""
    count = len(q)
    free = np.ones(count, np.bool_)
    matrix = np.empty((count, count))
    for _ in range(count + 1):
        for i in range(count):
            out[i] = 0.0
            for k in range(6):
                out[i] += jacobian[k, i] * weights[k] * error[k]
            for j in range(i + 1):
                total = 0.0
                for k in range(6):
                    total += jacobian[k, i] * weights[k] * jacobian[k, j]
                matrix[i, j] = total
            matrix[i, i] += damping
        if not _solve(matrix, out, free, count):
            return False
        held = False
        for i in range(count):
            if free[i] and ((q[i] <= lower[i] and out[i] < 0.0) or (q[i] >= upper[i] and out[i] > 0.0)):
                free[i] = False
                held = True
        if not held:
            break
    for i in range(count):
        if not free[i]:
            out[i] = 0.0
    return True


@njit(cache=True)
def inverse(
    origins: Any, axes: Any, kinds: Any, columns: Any, ratios: Any, offsets: Any, tip: Any, lower: Any, upper: Any,
    low: Any, high: Any, target: Any, q: Any, best: Any, weights: Any, position_limit: float, rotation_limit: float,
    iterations: int, restarts: int, max_step: float,
) -> Any:  # fmt: skip
    """Seek positions from the start q (m,), which is overwritten; `best` (m,) holds the answer.

    `low` and `high` bound the places from which it starts anew. Returns (converged, position error [m], rotation error
    [rad], iterations, restarts).
    """
    count = len(q)
    frames = np.empty((len(kinds) + 1, 3, 4))
    jacobian, error, step, trial = np.empty((6, count)), np.empty(6), np.empty(count), np.empty(count)
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(88172645463325252)
    least, least_p, least_r, done = math.inf, math.inf, math.inf, 0
    for attempt in range(restarts + 1):
        if attempt > 0:
            for i in range(count):
                q[i] = low[i] + (high[i] - low[i]) * _random(state)
        else:
            for i in range(count):
                q[i] = min(max(q[i], lower[i]), upper[i])
        before, stalled = math.inf, 0
        for _ in range(iterations):
            done += 1
            chain_frames(origins, axes, kinds, columns, ratios, offsets, tip, q, frames)
            pose_error(target, frames[len(kinds)], error)
            cost = 0.0
            for k in range(6):
                cost += 0.5 * weights[k] * error[k] * error[k]
            p = math.sqrt(error[0] ** 2 + error[1] ** 2 + error[2] ** 2)
            r = math.sqrt(error[3] ** 2 + error[4] ** 2 + error[5] ** 2)
            if cost < least:
                least, least_p, least_r = cost, p, r
                best[:] = q
            if p <= position_limit and r <= rotation_limit:
                return True, p, r, done, attempt
            stalled = stalled + 1 if cost > 0.98 * before else 0
            before = min(before, cost)
            if stalled >= 8:
                break
            fill_jacobian(frames, axes, kinds, columns, ratios, jacobian)
            if not _step(jacobian, error, weights, 0.1 * cost + 1e-12, q, lower, upper, step):
                break
            longest = 0.0
            for i in range(count):
                longest = max(longest, abs(step[i]))
            scale = min(1.0, max_step / longest) if longest > 0.0 else 1.0
            moved = False
            for i in range(count):
                trial[i] = min(max(q[i] + scale * step[i], lower[i]), upper[i])
                moved = moved or trial[i] != q[i]
                q[i] = trial[i]
            if not moved:
                break
    return False, least_p, least_r, done, restarts
