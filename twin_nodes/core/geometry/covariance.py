"""First-order propagation of pose covariances along chains of frames.

A pose error is (δp, δφ), both in the axes of the parent: p = p̂ + δp and R = exp(δφ^) R̂. That is the meaning of
`geometry_msgs/PoseWithCovariance` (REP-103: fixed axes), order x y z rx ry rz. Compounding after Smith, Self and
Cheeseman (1990), written for this error definition.
"""

import numpy as np

from twin_nodes.core.geometry.se3 import Array, rotation_log, skew

TO_SIGMA = 1.4826  # of a normal distribution over the median of its absolute values


def compose_covariance(a_T_b: Array, covariance_ab: Array, b_T_c: Array, covariance_bc: Array) -> Array:
    """Return the covariance (6, 6) of a_T_b @ b_T_c from those of its independent factors."""
    a_R_b = a_T_b[:3, :3]
    first = np.eye(6)
    first[:3, 3:] = -skew(a_R_b @ b_T_c[:3, 3])
    second = np.zeros((6, 6))
    second[:3, :3] = a_R_b
    second[3:, 3:] = a_R_b
    return np.asarray(first @ covariance_ab @ first.T + second @ covariance_bc @ second.T)


def inverse_covariance(a_T_b: Array, covariance_ab: Array) -> Array:
    """Return the covariance (6, 6) of b_T_a from that of a_T_b."""
    jacobian = inverse_jacobian(a_T_b)
    return np.asarray(jacobian @ covariance_ab @ jacobian.T)


def inverse_jacobian(a_T_b: Array) -> Array:
    """Return what the error of a_T_b makes of that of b_T_a, shape (6, 6)."""
    b_R_a = a_T_b[:3, :3].T
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = -b_R_a
    jacobian[:3, 3:] = -b_R_a @ skew(a_T_b[:3, 3])
    jacobian[3:, 3:] = -b_R_a
    return jacobian


def point_covariance(a_T_b: Array, covariance_ab: Array, point_b: Array) -> Array:
    """Return the covariance (3, 3) [m²] in a of a point fixed in b."""
    jacobian = np.hstack([np.eye(3), -skew(a_T_b[:3, :3] @ point_b)])
    return np.asarray(jacobian @ covariance_ab @ jacobian.T)


def square_root(covariance: Array) -> Array:
    """Return L (n, n) with L Lᵀ the covariance; directions without error have a zero column."""
    variances, axes = np.linalg.eigh(covariance)
    return np.asarray(axes * np.sqrt(np.maximum(variances, 0.0)))


def pose_error(a_T_b_estimate: Array, a_T_b_true: Array) -> Array:
    """Return the error (6,) = (δp, δφ) that takes the estimate to the truth, in the convention above."""
    rotation = rotation_log(a_T_b_true[:3, :3] @ a_T_b_estimate[:3, :3].T)
    return np.concatenate([a_T_b_true[:3, 3] - a_T_b_estimate[:3, 3], rotation])
