"""Velocities and forces of the tip in the spaces of CRTK, and what they ask of the joints.

Twists are linear then angular, wrenches force then torque (Lynch, Park, Modern Robotics, 2017, sections 3.3 and 5.2;
there with the angular part first).
"""

from __future__ import annotations

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

SPACES = ('', 'local/', 'body/', 'spatial/')
SINGULAR = 1e-3  # singular values below this share of the largest ask for joint speeds that no arm has
LEVER = 0.1  # distance at which a turning error weighs as much as a translation [m]
MISSED = 0.01  # share of a twist that the joints may leave undone


def tip_from_space(space: str, base_T_tip: Array, reference_R_base: Array) -> Array:
    """Return the matrix that takes a twist of a CRTK space to that of the tip along the axes of the base.

    Args:
        space: '' for the velocity of the tip along the axes of the reference frame; 'local/' along those of the base;
            'body/' along those of the tip; 'spatial/' for the velocity of the point at the origin of the base, along
            its axes.
        base_T_tip: Where the tip is [m], shape (4, 4).
        reference_R_base: Rotation of the base in the reference frame, shape (3, 3).

    Returns:
        Shape (6, 6). A wrench of the space is its transpose times that of the tip.
    """
    turn = {'': reference_R_base.T, 'body/': base_T_tip[:3, :3]}.get(space, np.eye(3))
    out = np.zeros((6, 6))
    out[:3, :3] = out[3:, 3:] = turn
    if space == 'spatial/':
        x, y, z = base_T_tip[:3, 3]
        out[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]  # v_tip = v + ω × p
    return out


def rates_for(jacobian: Array, twist: Array) -> Array:
    """Return the joint rates that give the tip a twist, by least squares.

    Args:
        jacobian: Of the tip along the axes of the base, shape (6, m).
        twist: Of the tip along the same axes [m/s, rad/s], shape (6,).

    Raises:
        InputError: UNREACHABLE: near a singular posture, or with too few joints, more than 1 % of the twist is left.
    """
    weights = np.array([1.0] * 3 + [LEVER] * 3)
    weighted, wanted = jacobian * weights[:, None], twist * weights
    rates = np.asarray(np.linalg.lstsq(weighted, wanted, rcond=SINGULAR)[0])
    left, whole = float(np.linalg.norm(wanted - weighted @ rates)), float(np.linalg.norm(wanted))
    if left > MISSED * whole:
        raise InputError(
            f'the joints cannot give the tip this velocity here: {100 * left / whole:.0f} % of it is left, '
            f'limit {100 * MISSED:.0f} %',
            code='UNREACHABLE',
        )
    return rates


def wrench_behind(jacobian: Array, efforts: Array) -> Array:
    """Return the wrench at the tip that joint efforts balance, the smallest one: efforts = Jᵀ w.

    Args:
        jacobian: Of the tip along the axes of the base, shape (6, m).
        efforts: Of the joints [N m or N], shape (m,).

    Returns:
        Along the axes of the base [N, N m], shape (6,).
    """
    return np.asarray(np.linalg.lstsq(jacobian.T, efforts, rcond=SINGULAR)[0])
