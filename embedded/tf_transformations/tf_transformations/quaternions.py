"""Quaternions xyzw, over transforms3d, which has them wxyz."""

from math import acos, pi, sin
from typing import Any

import numpy as np
from transforms3d import euler as t3d_euler
from transforms3d import quaternions as t3d

from .vectors import random_vector, unit_vector


def _wxyz(quaternion: Any) -> np.ndarray:
    """A quaternion as transforms3d wants it, once it can be a rotation."""
    q = np.asarray(quaternion, dtype=float)
    if q.shape != (4,):
        raise ValueError(f'a quaternion has 4 numbers x, y, z, w; this has the shape {q.shape}')
    if not np.all(np.isfinite(q)) or not np.any(q):
        raise ValueError(f'a quaternion of zeros, NaN or Inf is no rotation: {q.tolist()}')
    return q[[3, 0, 1, 2]]


def _xyzw(quaternion: np.ndarray) -> np.ndarray:
    return quaternion[[1, 2, 3, 0]]


def rotation_part(matrix: Any) -> np.ndarray:
    """The 3×3 rotation of a 3×3 or 4×4 matrix.

    Args:
        matrix: Shape (3, 3) or (4, 4).

    Returns:
        Shape (3, 3).

    Raises:
        ValueError: Another shape, NaN or Inf, scale, shear, or a left-handed matrix.
    """
    m = np.asarray(matrix, dtype=float)
    if m.shape not in ((3, 3), (4, 4)):
        raise ValueError(f'a rotation is 3×3 or within 4×4; this has the shape {m.shape}')
    rotation = m[:3, :3]
    if not np.all(np.isfinite(rotation)) or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2:
        raise ValueError('the matrix is not a rotation: its rows are not of length 1 and at right angles')
    if np.linalg.det(rotation) < 0.0:
        raise ValueError('the matrix is not a rotation: it is left-handed (determinant -1)')
    return rotation


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = 'sxyz') -> np.ndarray:
    """The quaternion of three angles about `axes`."""
    return _xyzw(t3d_euler.euler2quat(ai, aj, ak, axes=axes))


def euler_from_quaternion(quaternion: Any, axes: str = 'sxyz') -> tuple[float, float, float]:
    """The three angles about `axes`; one of many answers where the middle one is at its limit."""
    return t3d_euler.quat2euler(_wxyz(quaternion), axes=axes)


def quaternion_matrix(quaternion: Any) -> np.ndarray:
    """The 4×4 matrix of a quaternion; its length does not matter."""
    matrix = np.identity(4)
    matrix[:3, :3] = t3d.quat2mat(_wxyz(quaternion))
    return matrix


def quaternion_from_matrix(matrix: Any) -> np.ndarray:
    """The quaternion of the rotation in a 3×3 or 4×4 matrix, with w ≥ 0."""
    return _xyzw(t3d.mat2quat(rotation_part(matrix)))


def quaternion_multiply(quaternion1: Any, quaternion0: Any) -> np.ndarray:
    """quaternion1 ⊗ quaternion0: first quaternion0 turns, then quaternion1."""
    return _xyzw(t3d.qmult(_wxyz(quaternion1), _wxyz(quaternion0)))


def quaternion_conjugate(quaternion: Any) -> np.ndarray:
    """The quaternion with x, y, z negated."""
    return _xyzw(t3d.qconjugate(_wxyz(quaternion)))


def quaternion_inverse(quaternion: Any) -> np.ndarray:
    """The quaternion whose product with this one is 1."""
    q = _wxyz(quaternion)
    return _xyzw(t3d.qconjugate(q) / (q @ q))  # t3d.qinverse divides by the length, right at length 1 only


def quaternion_about_axis(angle: float, axis: Any) -> np.ndarray:
    """The quaternion of a turn about an axis; the axis' length does not matter."""
    return _xyzw(t3d.axangle2quat(unit_vector(axis), angle, is_normalized=True))


def quaternion_slerp(quat0: Any, quat1: Any, fraction: float, spin: int = 0, shortestpath: bool = True) -> np.ndarray:
    """Turn evenly from one rotation to another.

    Args:
        quat0: At fraction 0.
        quat1: At fraction 1.
        fraction: How far.
        spin: Half turns to add on the way.
        shortestpath: Take the shorter arc.

    Returns:
        The quaternion between, of length 1.
    """
    q0 = unit_vector(_wxyz(quat0))
    q1 = unit_vector(_wxyz(quat1))
    cosine = float(np.clip(q0 @ q1, -1.0, 1.0))
    if shortestpath and cosine < 0.0:
        cosine, q1 = -cosine, -q1
    angle = acos(cosine) + spin * pi
    if abs(sin(angle)) < 1e-8:  # the arc is a point, or opposite ends of it: the straight line has its limit
        return _xyzw(unit_vector((1.0 - fraction) * q0 + fraction * q1)) if cosine > 0.0 else _xyzw(q0)
    between = (sin((1.0 - fraction) * angle) * q0 + sin(fraction * angle) * q1) / sin(angle)
    return _xyzw(between)


def random_quaternion(rand: Any = None) -> np.ndarray:
    """A rotation uniform over all rotations (Shoemake 1992).

    Args:
        rand: Three numbers uniform in [0, 1); drawn when not given.

    Returns:
        A quaternion of length 1.
    """
    u = random_vector(3) if rand is None else np.asarray(rand, dtype=float)
    if u.shape != (3,):
        raise ValueError(f'rand must be three numbers; this has the shape {u.shape}')
    one, two = 2.0 * pi * u[1], 2.0 * pi * u[2]
    a, b = np.sqrt(1.0 - u[0]), np.sqrt(u[0])
    return np.array([a * np.sin(one), a * np.cos(one), b * np.sin(two), b * np.cos(two)])
