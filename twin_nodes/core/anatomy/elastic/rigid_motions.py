"""Whether what holds a body holds it whole: on one node it swings, on two it turns, and no step is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

_NONE = 1e-13  # of the energy that its nodes would take one by one; rounding leaves 1e-16, a small held patch 1e-7
_EMPTY = 1e-9


def refuse_unheld(objective: Objective, x: Array) -> None:
    """Refuse a body of which a part that is held can still move as a whole.

    The factor alone does not tell: by rounding, a pivot that should be 0 comes out above it now and then.

    Args:
        objective: Body and loads; parts that nothing holds at all do not count, they stand still.
        x: Nodes [m], shape (n, 3).

    Raises:
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE.
    """
    model = objective.model
    part = model.part[model.free]
    stiffness = model.hessian(x, loads=objective.loads)
    moves = _rigid_motions(x[model.free], part) * objective.rows[:, None, None]
    flat = moves.reshape(-1, 6)
    forces = np.asarray(stiffness @ flat).reshape(moves.shape)
    alone = (stiffness.diagonal()[:, None] * flat).reshape(moves.shape)
    for number in np.unique(part[objective.rows]):
        own = part == number
        energy = np.einsum('nim,nik->mk', moves[own], forces[own])
        scale = np.einsum('nim,nik->mk', moves[own], alone[own])
        if _least_ratio(energy, scale) < _NONE:
            raise DegenerateGeometryError(
                f'the stiffness matrix is not positive definite: the part of the body with {int(own.sum())} free nodes '
                'can still turn or move as a whole; fix or hold at least three nodes of it that are not on one line',
                code='NOT_POSITIVE_DEFINITE',
            )


def _rigid_motions(points: Array, part: NDArray[np.int32]) -> Array:
    """Return three shifts and three turns about the middle of each part, its size as unit, shape (n, 3, 6)."""
    count = np.bincount(part)
    middle = np.stack([np.bincount(part, points[:, axis]) for axis in range(3)], axis=1) / np.maximum(count, 1)[:, None]
    arms = points - middle[part]
    size = np.zeros(len(count))
    np.maximum.at(size, part, np.abs(arms).max(axis=1))
    arms /= np.maximum(size[part], np.finfo(float).tiny)[:, None]
    moves = np.zeros((len(points), 3, 6))
    moves[:, :, :3] = np.eye(3)
    for axis in range(3):
        moves[:, :, 3 + axis] = np.cross(np.eye(3)[axis], arms)
    return moves


def _least_ratio(energy: Array, scale: Array) -> float:
    """Return the least ratio of two quadratic forms (6, 6) over the motions that move anything."""
    sizes, axes = np.linalg.eigh(scale)
    kept = sizes > _EMPTY * sizes.max()
    whitened = axes[:, kept] / np.sqrt(sizes[kept])
    return float(np.linalg.eigvalsh(whitened.T @ energy @ whitened).min(initial=np.inf))
