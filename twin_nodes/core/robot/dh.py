"""Denavit-Hartenberg tables, modified (Craig 1986) and standard (1955), to robot models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.robot.model import Joint

Z = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class DhRow:
    """One row of a table.

    Args:
        name: Name of the joint.
        kind: 'revolute' (the position adds to theta) or 'prismatic' (it adds to d).
        alpha: Twist [rad].
        a: Length [m].
        theta: Angle at position 0 [rad].
        d: Offset at position 0 [m].
        lower: Least position [rad or m].
        upper: Greatest position [rad or m].
    """

    name: str
    kind: str
    alpha: float
    a: float
    theta: float
    d: float
    lower: float
    upper: float


def turn_x(angle: float) -> Array:
    """Return the rotation (4, 4) about x."""
    c, s = np.cos(angle), np.sin(angle)
    return make_transform([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]], np.zeros(3))


def turn_z(angle: float) -> Array:
    """Return the rotation (4, 4) about z."""
    c, s = np.cos(angle), np.sin(angle)
    return make_transform([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], np.zeros(3))


def shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """Return the translation (4, 4)."""
    return make_transform(np.eye(3), [x, y, z])


def dh_joints(rows: Sequence[DhRow], *, convention: str, base: str = 'base') -> tuple[tuple[Joint, ...], Array]:
    """Turn a table into joints that move about or along z; each child link is named as its joint.

    Args:
        rows: From the base out.
        convention: 'modified': Rx(α) Tx(a) Rz(θ) Tz(d); 'standard': Rz(θ) Tz(d) Tx(a) Rx(α).
        base: Name of the first link.

    Returns:
        The joints, and what is left behind the last of them, last_T_end (4, 4): one for a modified table.

    Raises:
        InputError: Another convention.
    """
    if convention not in ('modified', 'standard'):
        raise InputError(f"convention={convention!r} is neither 'modified' nor 'standard'")
    joints, parent, pending = [], base, np.eye(4)
    for row in rows:
        before = turn_x(row.alpha) @ shift(x=row.a) if convention == 'modified' else np.eye(4)
        origin = pending @ before @ turn_z(row.theta) @ shift(z=row.d)
        joints.append(Joint(row.name, row.kind, parent, row.name, origin, Z, row.lower, row.upper))
        pending = shift(x=row.a) @ turn_x(row.alpha) if convention == 'standard' else np.eye(4)
        parent = row.name
    return tuple(joints), pending
