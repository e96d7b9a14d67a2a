"""Many paired-point registrations at once, such as the trials of a Monte-Carlo or the layouts of a plan."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.paired_points import REFUSED, fit_rigid

# Product of the gaps of Horn's greatest eigenvalue over its cube below which singular values solve; 2.4 is round.
SMALL_GAP = 0.1
# Second singular value over the first below which the turn about the line of the points is open.
ON_A_LINE = 1e-9
_ROUNDING = 1e-14


def fit_rigid_batch(points_patient: Array, points_anatomy: Array) -> Array:
    """Return the patient_T_anatomy (b, 4, 4) of least squared distances of b problems, never mirrored.

    The answer of `fit_rigid`, by Horn's quaternion (1987) and Theobald's quartic (2005); problems near a line, where
    that would lose digits, are solved by singular values.

    Args:
        points_patient: Touched points [m], shape (b, n, 3).
        points_anatomy: The same points in the anatomy [m], shape (b, n, 3), or (n, 3) when all problems share them.

    Raises:
        InputError: Shapes that do not fit, NaN or Inf; the first such problem is named.
        DegenerateGeometryError: Fewer than three points, or all on a line; the first such problem is named.
    """
    from twin_nodes.core.registration.batch_kernels import LEFT, NOT_FINITE, align_batch

    patient, anatomy = _checked(points_patient, points_anatomy)
    patient_T_anatomy = np.empty((len(patient), 4, 4))
    status = np.empty(len(patient), dtype=np.int8)
    align_batch(patient, anatomy, SMALL_GAP, patient_T_anatomy, status)
    worst = status.max(initial=0)
    if worst == NOT_FINITE:
        raise InputError(f'problem {np.argmax(status == worst)} has NaN or Inf', code='NOT_FINITE')
    if worst == LEFT:
        _solve_rest(patient, anatomy, np.nonzero(status == LEFT)[0], patient_T_anatomy)
    return patient_T_anatomy


def _checked(points_patient: Array, points_anatomy: Array) -> tuple[Array, Array]:
    patient = np.ascontiguousarray(points_patient, dtype=np.float64)
    anatomy = np.ascontiguousarray(points_anatomy, dtype=np.float64)
    anatomy = anatomy[None] if anatomy.ndim == 2 else anatomy
    if patient.ndim != 3 or patient.shape[2] != 3 or anatomy.shape not in (patient.shape, (1, *patient.shape[1:])):
        raise InputError(
            f'batches need shapes (b, n, 3), and (b, n, 3) or (n, 3), got {patient.shape} and {anatomy.shape}'
        )
    if patient.shape[1] < 3:
        raise DegenerateGeometryError(f'{patient.shape[1]} fiducials: at least 3 are needed', code=REFUSED)
    return patient, anatomy


def _solve_rest(patient: Array, anatomy: Array, rows: NDArray[np.intp], patient_T_anatomy: Array) -> None:
    points = np.broadcast_to(anatomy, patient.shape)[rows]
    for moved in (patient[rows], points):
        spread = np.linalg.svd(moved - moved.mean(axis=1, keepdims=True), compute_uv=False)
        flat = spread[:, 1] <= ON_A_LINE * spread[:, 0] + _ROUNDING * np.abs(moved).max(axis=(1, 2))
        if flat.any():
            index = rows[int(np.argmax(flat))]
            raise DegenerateGeometryError(
                f'problem {index}: the points lie on a line, the turn about it is open', code=REFUSED
            )
    patient_T_anatomy[rows] = fit_rigid(patient[rows], points)
