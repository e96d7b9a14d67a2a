"""What written 4×4 matrices mean: by row or by column, in millimetres or metres, and which of them hold no pose.

Trackers and their programs write a tool that is not seen as zeros, as NaN or as the identity. Printed digits are few
in some files: rotations whose numbers have up to three decimals are made square again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import ORTHONORMAL_TOLERANCE, Array
from twin_nodes.io.recordings.pose_rows import lost_rows
from twin_nodes.io.recordings.recording import MM

BY_COLUMN = 'matrices are written column by column (the position is in the last row): turned'
METRES = 'positions taken as metres: all are below 10'
LAST = (0.0, 0.0, 0.0, 1.0)
PRINTED = 1e-2  # of a rotation that was printed with few digits
_EXACT = 1e-6
HUGE = 1e12  # no number of a pose is as large, and its square may overflow
_ROUNDED = 5e-3  # greatest departure of RᵀR from I that three decimals leave
_METRES_BELOW = 10.0  # no tool is within 10 mm of the origin of its tracker all the time


@dataclass(frozen=True, eq=False)
class Matrices:
    """Poses from matrices.

    Args:
        poses: [m], shape (n, 4, 4); meaningless where there is a reason.
        reasons: Why a matrix is no pose, '' where it is one.
        notes: What was assumed, one line each.
    """

    poses: Array
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def poses_of(
    matrices: Array,
    *,
    metres: float | None = None,
    by_column: bool | None = None,
    said: bool = False,
) -> Matrices:
    """Return the poses that matrices mean.

    Args:
        matrices: As written, shape (n, 4, 4).
        metres: Metres per unit of length; None where nothing says it: millimetres, or metres where all are below 10.
        by_column: Whether they are written by column; None where nothing says it.
        said: Whether the file itself says where the tool was seen: the identity is a pose there.
    """
    matrices = np.array(matrices, float).reshape(-1, 4, 4)
    matrices[np.abs(matrices) > HUGE] = np.inf
    notes: list[str] = []
    if by_column or (by_column is None and is_by_column(matrices)):
        matrices = np.swapaxes(matrices, 1, 2).copy()
        notes.append(BY_COLUMN)
    unit = _unit_of(matrices, notes) if metres is None else metres
    matrices[:, :3, 3] *= unit
    reasons = _reasons(matrices)
    good = np.array([not reason for reason in reasons], dtype=bool)
    sheared = np.flatnonzero(good)[shear_of(matrices[good]) > _EXACT]
    matrices[sheared, :3, :3] = _nearest(matrices[sheared, :3, :3])
    seen = np.flatnonzero(good)
    for index in [] if said else seen[_unseen(matrices[seen])]:
        reasons[index] = 'written as the identity'
    return Matrices(matrices, tuple(reasons), tuple(notes))


def is_by_column(matrices: Array) -> bool:
    """Whether matrices with a position have it in the last row, and none has it in the last column."""
    held = matrices[np.isfinite(matrices).all(axis=(1, 2))]
    by_row = (np.abs(held[:, 3] - LAST) < _EXACT).all(axis=1)
    by_column = (np.abs(held[:, :, 3] - LAST) < _EXACT).all(axis=1)
    return bool((by_column & ~by_row).any() and not (by_row & ~by_column).any())


def _unit_of(matrices: Array, notes: list[str]) -> float:
    if are_metres(matrices):
        notes.append(METRES)
        return 1.0
    return MM


def are_metres(matrices: Array) -> bool:
    """Whether no position of matrices (n, 4, 4), written by row, is 10 away from the origin."""
    positions = matrices[np.isfinite(matrices).all(axis=(1, 2)), :3, 3]
    return bool(positions.size and 0.0 < np.abs(positions).max() < _METRES_BELOW)


def shear_of(matrices: Array) -> Array:
    """Return the greatest departure of RᵀR from I of each matrix (n, 4, 4), shape (n,)."""
    rotations = matrices[:, :3, :3]
    return np.asarray(np.abs(np.swapaxes(rotations, 1, 2) @ rotations - np.eye(3)).max(axis=(1, 2)))


def _reasons(matrices: Array) -> list[str]:
    finite = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    held = np.where(finite[:, None, None], matrices, 0.0)
    zero = np.asarray(~held[:, :3].any(axis=(1, 2)))
    rotations = held[:, :3, :3]
    rounded = (np.abs(rotations - np.round(rotations, 3)) < _EXACT).all(axis=(1, 2))
    shear = shear_of(held)
    last = np.asarray((np.abs(held[:, 3] - LAST) > _EXACT).any(axis=1))
    sheared = shear > np.where(rounded, _ROUNDED, ORTHONORMAL_TOLERANCE)
    left = np.asarray(np.linalg.det(rotations) < 0.0)
    reasons = []
    for index in range(len(matrices)):
        if not finite[index]:
            reasons.append('pose has NaN or Inf')
        elif zero[index]:
            reasons.append('written as zeros')
        elif last[index]:
            reasons.append(f'last row is {held[index, 3].tolist()}, must be 0 0 0 1')
        elif sheared[index]:
            reasons.append(f'RᵀR differs from I by {shear[index]:.2g}, limit {ORTHONORMAL_TOLERANCE:g}: no rotation')
        else:
            reasons.append('left-handed (det = -1): are axes mirrored in the file?' if left[index] else '')
    return reasons


def _nearest(rotations: Array) -> Array:
    """Project right-handed matrices (n, 3, 3) that are nearly rotations onto rotations (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(rotations)
    return np.asarray(u @ vt)


def _unseen(poses: Array) -> NDArray[np.bool_]:
    turned = np.abs(poses[:, :3, :3] - np.eye(3)).max(axis=(1, 2)) > 0.0 if len(poses) else np.zeros(0, bool)
    quaternions = np.zeros((len(poses), 4))
    quaternions[:, 0] = turned
    return lost_rows(poses[:, :3, 3], quaternions)
