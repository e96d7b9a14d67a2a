"""Rigid transforms as 4×4 arrays, batched over leading axes.

`a_T_b` maps coordinates of b into a. Twists are ordered (translation, rotation), as ROS covariances are.
Formulas after Barfoot, State Estimation for Robotics (2017), section 7.1.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3_scalars import SMALL_ANGLE

Array = NDArray[np.float64]

ORTHONORMAL_TOLERANCE = 1e-3
QUATERNION_RENORMALISE = 1e-2


def make_transform(rotation: ArrayLike, position: ArrayLike) -> Array:
    """Assemble 4×4 transforms from rotations (…, 3, 3) and positions [m] (…, 3)."""
    rotation, position = np.asarray(rotation, float), np.asarray(position, float)
    if rotation.ndim == 2 and position.ndim == 1:
        single = np.zeros((4, 4))
        single[:3, :3], single[:3, 3], single[3, 3] = rotation, position, 1.0
        return single
    transform = np.zeros((*np.broadcast_shapes(rotation.shape[:-2], position.shape[:-1]), 4, 4))
    transform[..., :3, :3] = rotation
    transform[..., :3, 3] = position
    transform[..., 3, 3] = 1.0
    return transform


def inverse(a_T_b: ArrayLike) -> Array:
    """Invert rigid transforms (…, 4, 4): returns b_T_a."""
    a_T_b = np.asarray(a_T_b, float)
    b_R_a = np.swapaxes(a_T_b[..., :3, :3], -1, -2)
    return make_transform(b_R_a, -np.einsum('...ij,...j->...i', b_R_a, a_T_b[..., :3, 3]))


def transform_points(a_T_b: ArrayLike, points_b: ArrayLike) -> Array:
    """Map points [m] (n, 3) from b into a with one transform (4, 4)."""
    a_T_b = np.asarray(a_T_b, float)
    return np.asarray(np.asarray(points_b, float) @ a_T_b[:3, :3].T + a_T_b[:3, 3])


def skew(vector: ArrayLike) -> Array:
    """Return the cross-product matrices (…, 3, 3) of vectors (…, 3)."""
    vector = np.asarray(vector, float)
    matrix = np.zeros((*vector.shape, 3))
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    matrix[..., 0, 1], matrix[..., 0, 2] = -z, y
    matrix[..., 1, 0], matrix[..., 1, 2] = z, -x
    matrix[..., 2, 0], matrix[..., 2, 1] = -y, x
    return matrix


def rotation_exp(rotation_vector: ArrayLike) -> Array:
    """Rodrigues: rotation vectors [rad] (…, 3) to rotation matrices (…, 3, 3)."""
    rotation_vector = np.asarray(rotation_vector, float)
    angle = np.linalg.norm(rotation_vector, axis=-1)[..., None, None]
    a, b, _ = _exp_coefficients(angle)
    hat = skew(rotation_vector)
    return np.asarray(np.eye(3) + a * hat + b * (hat @ hat))


def rotation_log(rotation: ArrayLike) -> Array:
    """Rotation matrices (…, 3, 3) to rotation vectors [rad] (…, 3), angle in [0, π]."""
    return _quat_log(quat_from_rotation(rotation))


def _quat_log(quat_xyzw: Array) -> Array:
    quat = np.where(quat_xyzw[..., 3:] < 0.0, -quat_xyzw, quat_xyzw)
    sine = np.linalg.norm(quat[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quat[..., 3:])
    scale = np.where(sine > 1e-12, angle / np.where(sine > 1e-12, sine, 1.0), 2.0)
    return np.asarray(scale * quat[..., :3])


def _exp_coefficients(angle: Array) -> tuple[Array, Array, Array]:
    """Return sin θ/θ, (1 − cos θ)/θ², (θ − sin θ)/θ³, by series near zero."""
    small = angle < SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    square = angle * angle
    a = np.where(small, 1.0 - square / 6.0, np.sin(safe) / safe)
    b = np.where(small, 0.5 - square / 24.0, (1.0 - np.cos(safe)) / safe**2)
    c = np.where(small, 1.0 / 6.0 - square / 120.0, (safe - np.sin(safe)) / safe**3)
    return a, b, c


def exp(twist: ArrayLike) -> Array:
    """SE(3) exponential of twists (…, 6) = (translation [m], rotation [rad]); Barfoot eq. 7.86."""
    twist = np.asarray(twist, float)
    angle = np.linalg.norm(twist[..., 3:], axis=-1)[..., None, None]
    a, b, c = _exp_coefficients(angle)
    hat = skew(twist[..., 3:])
    square = hat @ hat
    left_jacobian = np.eye(3) + b * hat + c * square
    position = np.einsum('...ij,...j->...i', left_jacobian, twist[..., :3])
    return make_transform(np.eye(3) + a * hat + b * square, position)


def log(a_T_b: ArrayLike) -> Array:
    """SE(3) logarithm (…, 4, 4) to twists (…, 6); inverse of `exp` for angles below π."""
    a_T_b = np.asarray(a_T_b, float)
    rotation_vector = rotation_log(a_T_b[..., :3, :3])
    angle = np.linalg.norm(rotation_vector, axis=-1)[..., None, None]
    small = angle < SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    half = 0.5 * safe
    d = np.where(small, 1.0 / 12.0 + angle**2 / 720.0, (1.0 - half / np.tan(half)) / safe**2)
    hat = skew(rotation_vector)
    inverse_jacobian = np.eye(3) - 0.5 * hat + d * (hat @ hat)
    translation = np.einsum('...ij,...j->...i', inverse_jacobian, a_T_b[..., :3, 3])
    return np.concatenate([translation, rotation_vector], axis=-1)


def rotation_from_quat(quat_xyzw: ArrayLike) -> Array:
    """Unit quaternions xyzw (…, 4) to rotation matrices (…, 3, 3)."""
    quat = np.asarray(quat_xyzw, float)
    x, y, z, w = quat[..., 0], quat[..., 1], quat[..., 2], quat[..., 3]
    rotation = np.empty((*quat.shape[:-1], 3, 3))
    rotation[..., 0, 0] = 1.0 - 2.0 * (y * y + z * z)
    rotation[..., 0, 1] = 2.0 * (x * y - z * w)
    rotation[..., 0, 2] = 2.0 * (x * z + y * w)
    rotation[..., 1, 0] = 2.0 * (x * y + z * w)
    rotation[..., 1, 1] = 1.0 - 2.0 * (x * x + z * z)
    rotation[..., 1, 2] = 2.0 * (y * z - x * w)
    rotation[..., 2, 0] = 2.0 * (x * z - y * w)
    rotation[..., 2, 1] = 2.0 * (y * z + x * w)
    rotation[..., 2, 2] = 1.0 - 2.0 * (x * x + y * y)
    return rotation


def quat_from_rotation(rotation: ArrayLike) -> Array:
    """Rotation matrices (…, 3, 3) to unit quaternions xyzw (…, 4) with w ≥ 0.

    The largest of the four squared components is the pivot (Shepperd 1978), so no case loses digits.
    """
    r = np.asarray(rotation, float)
    flat = r.reshape(-1, 3, 3)
    trace = flat[:, 0, 0] + flat[:, 1, 1] + flat[:, 2, 2]
    candidates = np.stack([flat[:, 0, 0], flat[:, 1, 1], flat[:, 2, 2], trace], axis=1)
    pivot = np.argmax(candidates, axis=1)
    quat = np.empty((flat.shape[0], 4))
    for axis in range(3):
        rows = np.nonzero(pivot == axis)[0]
        j, k = (axis + 1) % 3, (axis + 2) % 3
        m = flat[rows]
        quat[rows, axis] = 1.0 + 2.0 * m[:, axis, axis] - trace[rows]
        quat[rows, j] = m[:, j, axis] + m[:, axis, j]
        quat[rows, k] = m[:, k, axis] + m[:, axis, k]
        quat[rows, 3] = m[:, k, j] - m[:, j, k]
    rows = np.nonzero(pivot == 3)[0]
    m = flat[rows]
    quat[rows, 0] = m[:, 2, 1] - m[:, 1, 2]
    quat[rows, 1] = m[:, 0, 2] - m[:, 2, 0]
    quat[rows, 2] = m[:, 1, 0] - m[:, 0, 1]
    quat[rows, 3] = 1.0 + trace[rows]
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    quat = np.where(quat[:, 3:] < 0.0, -quat, quat)
    return quat.reshape(*r.shape[:-2], 4)


def slerp(quat0_xyzw: ArrayLike, quat1_xyzw: ArrayLike, fraction: float) -> Array:
    """Interpolate two unit quaternions along the shorter arc (Shoemake 1985); fraction in [0, 1]."""
    q0, q1 = np.asarray(quat0_xyzw, float), np.asarray(quat1_xyzw, float)
    cosine = float(q0 @ q1)
    if cosine < 0.0:
        q1, cosine = -q1, -cosine
    if cosine > 1.0 - 1e-10:
        blended = q0 + fraction * (q1 - q0)
    else:
        angle = float(np.arccos(min(cosine, 1.0)))
        blended = (np.sin((1.0 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1) / np.sin(angle)
    return np.asarray(blended / np.linalg.norm(blended))


def interpolate(a_T_b0: ArrayLike, a_T_b1: ArrayLike, fraction: float) -> Array:
    """Interpolate two poses: position linearly, rotation by slerp, as tf2 does; fraction in [0, 1]."""
    t0, t1 = np.asarray(a_T_b0, float), np.asarray(a_T_b1, float)
    quat = slerp(quat_from_rotation(t0[:3, :3]), quat_from_rotation(t1[:3, :3]), fraction)
    position = (1.0 - fraction) * t0[:3, 3] + fraction * t1[:3, 3]
    return make_transform(rotation_from_quat(quat), position)


def nearest_rotation(matrix: ArrayLike) -> Array:
    """Project a 3×3 matrix onto the nearest rotation in the Frobenius norm (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, float))
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def check_transform(transform: ArrayLike, *, name: str = 'transform') -> Array:
    """Check a 4×4 rigid transform once and return it with its rotation made exactly orthonormal.

    Raises:
        InputError: NOT_FINITE for NaN or Inf, NOT_A_ROTATION for another shape, a last row other than 0 0 0 1,
            det < 0 (left-handed) or shear above 1e-3.
    """
    matrix = np.asarray(transform, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise InputError(f'{name}: expected shape (4, 4), got {matrix.shape}', code='NOT_A_ROTATION')
    if not np.isfinite(matrix).all():
        raise InputError(f'{name} has NaN or Inf', code='NOT_FINITE')
    if np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-6:
        raise InputError(f'{name}: last row is {matrix[3].tolist()}, must be 0 0 0 1', code='NOT_A_ROTATION')
    rotation = matrix[:3, :3]
    shear = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if shear > ORTHONORMAL_TOLERANCE:
        raise InputError(
            f'{name}: RᵀR differs from I by {shear:.2g}, limit {ORTHONORMAL_TOLERANCE:g}', code='NOT_A_ROTATION'
        )
    if np.linalg.det(rotation) < 0.0:
        raise InputError(f'{name} is left-handed (det = -1): mirrored axes at the sender?', code='NOT_A_ROTATION')
    return make_transform(nearest_rotation(rotation) if shear > 1e-12 else rotation, matrix[:3, 3])


def check_quaternion(quat_xyzw: ArrayLike, *, name: str = 'quaternion') -> Array:
    """Check a quaternion and return it with unit norm.

    Raises:
        InputError: NOT_FINITE, or NOT_A_ROTATION when the norm differs from 1 by more than 1e-2.
    """
    quat = np.asarray(quat_xyzw, dtype=np.float64)
    if quat.shape != (4,):
        raise InputError(f'{name}: expected 4 values xyzw, got shape {quat.shape}', code='NOT_A_ROTATION')
    if not np.isfinite(quat).all():
        raise InputError(f'{name} has NaN or Inf', code='NOT_FINITE')
    norm = float(np.sqrt(quat @ quat))
    if abs(norm - 1.0) > QUATERNION_RENORMALISE:
        raise InputError(
            f'{name}: norm {norm:.4g} is not within {QUATERNION_RENORMALISE:g} of 1', code='NOT_A_ROTATION'
        )
    return np.asarray(quat / norm)


def angle_between(a_T_b: ArrayLike, a_T_c: ArrayLike) -> float:
    """Return the rotation angle [rad] between two poses or rotations."""
    rotation0 = np.asarray(a_T_b, float)[:3, :3]
    rotation1 = np.asarray(a_T_c, float)[:3, :3]
    return float(np.linalg.norm(rotation_log(rotation0.T @ rotation1)))


def random_transform(rng: np.random.Generator, *, max_distance: float = 1.0) -> Array:
    """Draw a pose with uniform rotation and position uniform in a cube of half-side max_distance [m]."""
    quat: Any = rng.normal(size=4)
    quat /= np.linalg.norm(quat)
    return make_transform(rotation_from_quat(quat), rng.uniform(-max_distance, max_distance, 3))
