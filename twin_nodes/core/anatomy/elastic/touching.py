"""How the places that a tool may touch answer to pushes, in the half-solved space of a factor K = L Lᵀ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic import vector_kernels
from twin_nodes.core.anatomy.elastic.barriers import Barriers, pushes
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class Near:
    """Nodes near to barriers.

    Args:
        nodes: The nodes, ascending, shape (k,).
        rows: L⁻¹ of the unit force on each along each axis, shape (3 k, 3 f).
        spread: The same, as the factor answers that was brought up to date, shape (3 k, 3 f).
        compliance: How they give way to one another [m/N], shape (3 k, 3 k).
    """

    nodes: NDArray[np.int64]
    rows: NDArray[np.float32]
    spread: NDArray[np.float32]
    compliance: Array


@dataclass(frozen=True, eq=False)
class Touch:
    """The places of barriers.

    Args:
        barriers: The barriers, c of them.
        rows: L⁻¹ of a unit push on each place, shape (c, 3 f).
        spread: The same, as the factor answers that was brought up to date, shape (c, 3 f).
        compliance: How the places give way to one another along their pushes [m/N], shape (c, c).
    """

    barriers: Barriers
    rows: NDArray[np.float32]
    spread: NDArray[np.float32]
    compliance: Array

    def push(self, forces: Array) -> NDArray[np.float32]:
        """Return what forces on the places [N], (c,), are in the half-solved space, shape (3 f,)."""
        return np.asarray(forces.astype(np.float32) @ self.spread)


def touch_of(near: Near, barriers: Barriers) -> Touch:
    """Put the answers of places together from those of their nodes."""
    at = np.searchsorted(near.nodes, barriers.nodes)
    share = barriers.weights[:, :, None] * barriers.push[:, None, :]
    onto = np.zeros((len(at), len(near.nodes), 3))
    np.add.at(onto, (np.arange(len(at))[:, None], at), share)
    flat = onto.reshape(len(at), -1)
    rows = _mix(near.rows, at, share)
    spread = rows if near.spread is near.rows else _mix(near.spread, at, share)
    return Touch(barriers, rows, spread, flat @ near.compliance @ flat.T)


def _mix(rows: NDArray[np.float32], at: NDArray[np.int64], share: Array) -> NDArray[np.float32]:
    mixed = np.zeros((len(at), rows.shape[1]), np.float32)
    vector_kernels.mix(rows, at, share.astype(np.float32), mixed)
    return mixed


def more(compliance: Array, gaps: Array, pushed: Array, stiffness: float) -> Array:
    """Return how much more each place is pushed [N] than now, shape (c,); what is small is not lost in what is large.

    Args:
        compliance: Of the places without the springs of the barriers [m/N], shape (c, c).
        gaps: As they would be with the pushes of now [m], shape (c,).
        pushed: The pushes of now [N], shape (c,).
        stiffness: Of the barriers [N/m].
    """
    found = pushes(compliance + np.eye(len(gaps)) / stiffness, gaps - compliance @ pushed, pushed > 0.0)
    return found - pushed
