"""Compiled kernels: the covariance of a surface registration and how well each motion is held."""

from typing import Any

import numpy as np
from numba import njit

_SWEEPS = 12


@njit(cache=True)
def eigen(matrix: Any, values: Any, vectors: Any) -> None:
    """Decompose a small symmetric matrix by Jacobi's rotations; a call of LAPACK takes ten times as long.

    Args:
        matrix: Shape (n, n); left as it is.
        values: Gets the eigenvalues in rising order, shape (n,).
        vectors: Gets the eigenvectors in its columns, shape (n, n).
    """
    n = len(matrix)
    a = matrix.copy()
    vectors[:] = np.eye(n)
    for _ in range(_SWEEPS):
        off, trace = 0.0, 0.0
        for p in range(n):
            trace += a[p, p] * a[p, p]
            for q in range(p):
                off += a[p, q] * a[p, q]
        if off <= 1e-30 * trace:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                if a[p, q] == 0.0:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = (1.0 if theta >= 0.0 else -1.0) / (abs(theta) + np.sqrt(theta * theta + 1.0))
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(n):
                    x, y = a[k, p], a[k, q]
                    a[k, p], a[k, q] = c * x - s * y, s * x + c * y
                for k in range(n):
                    x, y = a[p, k], a[q, k]
                    a[p, k], a[q, k] = c * x - s * y, s * x + c * y
                    x, y = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * x - s * y, s * x + c * y
    for p in range(n):
        values[p] = a[p, p]
    for p in range(1, n):
        q = p
        while q > 0 and values[q - 1] > values[q]:
            values[q - 1], values[q] = values[q], values[q - 1]
            for k in range(n):
                vectors[k, q - 1], vectors[k, q] = vectors[k, q], vectors[k, q - 1]
            q -= 1


@njit(cache=True)
def covariances(
    normal: Any, sums: Any, facets: Any, turn: Any, offset: Any, length: float, count: int, surface_sigma: float,
    scaled: Any, covariance: Any, worst_axis: Any,
) -> tuple[float, float]:  # fmt: skip
    """Compute the covariance of a pose from its normal equations (Huber 1981), and how well its worst motion is held.

    Args:
        normal: Σ w a aᵀ, shape (6, 6).
        sums: Σ w, Σ w r², Σ (w r)², Σ d(w r)/dr, shape (4,).
        facets: Σ w a e with an error e of the surface that all points share, shape (6,).
        turn: anatomy_R_patient, shape (3, 3).
        offset: Centroid of the cloud in the anatomy [m], shape (3,).
        length: That scales rotations [m].
        count: Number of points.
        surface_sigma: Error of the place of the surface [m].
        scaled: Gets the covariance of the scaled motion in the anatomy's axes [m²], shape (6, 6).
        covariance: Gets that of patient_T_anatomy, shape (6, 6).
        worst_axis: Gets the worst known scaled motion, shape (6,).

    Returns:
        Information of the worst held motion over that of the best, and variance of the worst known one [m²].
    """
    values, vectors = np.empty(6), np.empty((6, 6))
    eigen(normal, values, vectors)
    share = max(values[0], 0.0) / values[5] if values[5] > 0.0 else 0.0
    if share <= 1e-14:
        return 0.0, np.inf
    slope = max(sums[3], 0.05 * sums[0])  # not positive where hardly a point fits; that is refused elsewhere
    factor = sums[2] / slope**2 * sums[0] * count / max(count - 6.0, 1.0)
    shift = np.zeros(6)
    scaled[:] = 0.0
    for k in range(6):
        dot = 0.0
        for i in range(6):
            dot += vectors[i, k] * facets[i]
        for i in range(6):
            shift[i] += vectors[i, k] * dot / values[k] * sums[0] / slope
            for j in range(6):
                scaled[i, j] += vectors[i, k] * vectors[j, k] * factor / values[k]
    for i in range(6):
        for j in range(6):
            scaled[i, j] += shift[i] * shift[j]
        if i < 3:
            scaled[i, i] += surface_sigma * surface_sigma
    eigen(scaled, values, vectors)
    worst_axis[:] = vectors[:, 5]
    jacobian = np.zeros((6, 6))
    back = turn.T
    arm = np.zeros(3)
    for i in range(3):
        for j in range(3):
            arm[i] += back[i, j] * offset[j]
    for j in range(3):
        x, y, z = back[0, j] / length, back[1, j] / length, back[2, j] / length
        jacobian[0, 3 + j] = arm[2] * y - arm[1] * z
        jacobian[1, 3 + j] = arm[0] * z - arm[2] * x
        jacobian[2, 3 + j] = arm[1] * x - arm[0] * y
        for i in range(3):
            jacobian[i, j] = -back[i, j]
            jacobian[3 + i, 3 + j] = -back[i, j] / length
    for i in range(6):
        row = np.zeros(6)
        for j in range(6):
            for k in range(6):
                row[j] += jacobian[i, k] * scaled[k, j]
        for j in range(i + 1):
            total = 0.0
            for k in range(6):
                total += row[k] * jacobian[j, k]
            covariance[i, j] = total
            covariance[j, i] = total
    return share, values[5]
