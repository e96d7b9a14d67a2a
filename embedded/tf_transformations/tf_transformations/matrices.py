"""4×4 matrices: rotation, translation, and what they are made of."""

from functools import reduce
from math import isfinite
from typing import Any

import numpy as np
from transforms3d import axangles, euler

from .quaternions import quaternion_matrix, random_quaternion, rotation_part
from .vectors import unit_vector


def identity_matrix() -> np.ndarray:
    """The 4×4 identity."""
    return np.identity(4)


def inverse_matrix(matrix: Any) -> np.ndarray:
    """The inverse of a square matrix."""
    return np.linalg.inv(np.asarray(matrix, dtype=float))


def concatenate_matrices(*matrices: Any) -> np.ndarray:
    """The product of matrices, from left to right; the identity of none."""
    return reduce(np.matmul, matrices, np.identity(4))


def translation_matrix(direction: Any) -> np.ndarray:
    """The matrix that moves by a vector."""
    matrix = np.identity(4)
    matrix[:3, 3] = np.asarray(direction, dtype=float)[:3]
    return matrix


def translation_from_matrix(matrix: Any) -> np.ndarray:
    """The vector by which a matrix moves the origin."""
    return np.array(matrix, dtype=float)[:3, 3].copy()


def rotation_matrix(angle: float, direction: Any, point: Any = None) -> np.ndarray:
    """The matrix of a turn about an axis.

    Args:
        angle: In radians.
        direction: The axis; its length does not matter.
        point: A point on the axis; the origin when not given.

    Returns:
        Shape (4, 4).
    """
    matrix = np.identity(4)
    matrix[:3, :3] = axangles.axangle2mat(unit_vector(np.asarray(direction, dtype=float)[:3]), angle, True)
    if point is not None:
        point = np.asarray(point, dtype=float)[:3]
        matrix[:3, 3] = point - matrix[:3, :3] @ point
    return matrix


def rotation_from_matrix(matrix: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """The angle, axis and a point on the axis of a turn.

    Args:
        matrix: Shape (4, 4): a turn about some axis in space.

    Returns:
        Angle in radians, axis of length 1, homogeneous point (4 numbers) of the axis next to the origin.

    Raises:
        ValueError: It is no turn about an axis: no rotation, no turn at all, or a screw.
    """
    m = np.asarray(matrix, dtype=float)
    rotation = rotation_part(m)
    axis, angle = axangles.mat2axangle(rotation)
    if abs(angle) < 1e-12:
        raise ValueError('the matrix does not turn, so it has no axis')
    shift = m[:3, 3]
    along = float(axis @ shift)
    if not isfinite(along) or abs(along) > 1e-6 * max(1.0, float(np.abs(shift).max())):
        raise ValueError(f'the matrix is a screw: it moves by {along:.3g} along its axis')
    # p = R p + shift has a line of answers; the one next to the origin has the least norm
    point = np.linalg.lstsq(np.identity(3) - rotation, shift, rcond=1e-12)[0]
    return float(angle), axis, np.append(point, 1.0)


def euler_matrix(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """The 4×4 matrix of three angles about `axes`."""
    matrix = np.identity(4)
    matrix[:3, :3] = euler.euler2mat(ai, aj, ak, axes=axes)
    return matrix


def euler_from_matrix(matrix: Any, axes: str = 'sxyz') -> tuple[float, float, float]:
    """The three angles about `axes` of the rotation in a 3×3 or 4×4 matrix."""
    return euler.mat2euler(rotation_part(matrix), axes=axes)


def random_rotation_matrix(rand: Any = None) -> np.ndarray:
    """The 4×4 matrix of a rotation uniform over all; `rand` as in random_quaternion."""
    return quaternion_matrix(random_quaternion(rand))


def compose_matrix(
    scale: Any = None, shear: Any = None, angles: Any = None, translate: Any = None, perspective: Any = None
) -> np.ndarray:
    """The matrix that scales, shears, turns, moves and projects, in this order.

    Args:
        scale: Three factors.
        shear: Shear factors xy, xz, yz.
        angles: Angles about the resting axes x, y, z.
        translate: Vector.
        perspective: Four numbers, the last row of the projection.

    Returns:
        Shape (4, 4), with 1 in the corner.
    """
    matrix = np.identity(4)
    if perspective is not None:
        matrix[3] = np.asarray(perspective, dtype=float)[:4]
    if translate is not None:
        matrix = matrix @ translation_matrix(translate)
    if angles is not None:
        matrix = matrix @ euler_matrix(*angles)
    if shear is not None:
        slant = np.identity(4)
        slant[0, 1], slant[0, 2], slant[1, 2] = shear
        matrix = matrix @ slant
    if scale is not None:
        matrix = matrix @ np.diag([*np.asarray(scale, dtype=float)[:3], 1.0])
    return matrix / matrix[3, 3]


def decompose_matrix(
    matrix: Any,
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float], np.ndarray, np.ndarray]:
    """What compose_matrix makes a matrix of; a mirrored matrix comes out with three negative scales.

    Args:
        matrix: Shape (4, 4), not singular.

    Returns:
        scale (3), shear (3), angles (3), translate (3), perspective (4).

    Raises:
        ValueError: The matrix is singular or its corner is zero.
    """
    m = np.array(matrix, dtype=float)
    if not np.all(np.isfinite(m)) or abs(m[3, 3]) < 1e-12:
        raise ValueError('the corner of the matrix is zero, or a number is NaN or Inf')
    m /= m[3, 3]
    affine = m.copy()
    affine[3] = (0.0, 0.0, 0.0, 1.0)
    if abs(np.linalg.det(affine)) < 1e-12:
        raise ValueError('the matrix is singular')
    perspective = m[3] @ np.linalg.inv(affine)
    rotation, upper = np.linalg.qr(affine[:3, :3])
    signs = np.sign(np.diag(upper))
    if np.linalg.det(rotation * signs) < 0.0:
        signs = -signs
    rotation = rotation * signs
    upper = signs[:, None] * upper
    scale = np.diag(upper).copy()
    shear = np.array([upper[0, 1] / scale[1], upper[0, 2] / scale[2], upper[1, 2] / scale[2]])
    return scale, shear, euler.mat2euler(rotation), affine[:3, 3].copy(), perspective


def is_same_transform(matrix0: Any, matrix1: Any) -> bool:
    """Whether two 4×4 matrices do the same, up to a factor."""
    m0 = np.asarray(matrix0, dtype=float)
    m1 = np.asarray(matrix1, dtype=float)
    return bool(np.allclose(m0 / m0[3, 3], m1 / m1[3, 3]))
