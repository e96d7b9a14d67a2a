"""Compiled check of a pose: what `core.geometry.se3.check_transform` does, at a twentieth of its time.

It only says yes or no; for the words of a refusal the caller asks `check_transform`.
"""

# numba infers the types of the arguments
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

from twin_nodes.core.geometry.se3 import ORTHONORMAL_TOLERANCE
from twin_nodes.core.tracking.compiling import INSIDE, compile_for

_inner = njit(**INSIDE)
REFUSED = -1.0
_LAST_ROW = 1e-6
_EXACT = 1e-12  # a rotation this near is left as it is
_FAR = 1e6  # beyond it the largest coordinate says enough, and no square can overflow
_ROUNDS = 4  # each squares the error: 1e-3, 1e-6, 1e-12, 1e-24
_DONE = 1e-15


@_inner
def _shear(gram, pose):
    """Write RᵀR and return how far it is from identity."""
    largest = 0.0
    for i in range(3):
        for j in range(i, 3):
            gram[i, j] = pose[0, i] * pose[0, j] + pose[1, i] * pose[1, j] + pose[2, i] * pose[2, j]
            gram[j, i] = gram[i, j]
            largest = max(largest, abs(gram[i, j] - (1.0 if i == j else 0.0)))
    return largest


@_inner
def _correct(gram, pose):
    """One round of R ← R (3 I − RᵀR) / 2."""
    for row in range(3):
        a, b, c = pose[row, 0], pose[row, 1], pose[row, 2]
        for j in range(3):
            pose[row, j] = 1.5 * pose[row, j] - 0.5 * (a * gram[0, j] + b * gram[1, j] + c * gram[2, j])


@compile_for('float64(float64[:, ::1], float64[:, ::1])')
def orthonormalise(matrix, pose):
    """Check a pose and write it with its rotation made orthonormal.

    The nearest rotation is the orthogonal polar factor, found by the Newton–Schulz iteration R ← R (3 I − RᵀR) / 2
    (Higham 2008, Functions of Matrices, section 8.3), which converges quadratically from here.

    Args:
        matrix: As read, shape (4, 4), metres.
        pose: Result, shape (4, 4).

    Returns:
        Distance from the origin [m], or REFUSED; then `pose` is worth nothing.
    """
    for i in range(4):
        for j in range(4):
            value = matrix[i, j]
            if not np.isfinite(value):
                return REFUSED
            pose[i, j] = value
        if abs(matrix[3, i] - (1.0 if i == 3 else 0.0)) > _LAST_ROW:
            return REFUSED
    gram = np.empty((3, 3))
    shear = _shear(gram, pose)
    det = (
        pose[0, 0] * (pose[1, 1] * pose[2, 2] - pose[1, 2] * pose[2, 1])
        - pose[0, 1] * (pose[1, 0] * pose[2, 2] - pose[1, 2] * pose[2, 0])
        + pose[0, 2] * (pose[1, 0] * pose[2, 1] - pose[1, 1] * pose[2, 0])
    )
    if not (shear <= ORTHONORMAL_TOLERANCE and det > 0.0):
        return REFUSED
    if shear > _EXACT:
        for _ in range(_ROUNDS):
            _correct(gram, pose)
            if _shear(gram, pose) <= _DONE:
                break
    pose[3, 0], pose[3, 1], pose[3, 2], pose[3, 3] = 0.0, 0.0, 0.0, 1.0
    x, y, z = pose[0, 3], pose[1, 3], pose[2, 3]
    largest = max(abs(x), abs(y), abs(z))
    return largest if largest >= _FAR else np.sqrt(x * x + y * y + z * z)
