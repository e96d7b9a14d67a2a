"""What acts on a body: held and moved nodes, springs to seen points, gravity, pressure and forces."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.elastic.barriers import Barriers
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

Nodes = NDArray[np.int64]


def _none(*shape: int) -> Array:
    return np.zeros(shape)


@dataclass(frozen=True, eq=False)
class Springs:
    """Springs from points of the body to points in space: contacts, surface observations, tracked implants and sensors.

    A point of the body is a weighted mean of up to four nodes of one tetrahedron (its barycentric coordinates). The
    energy is ½ (Σ w x - target)ᵀ K (Σ w x - target); as a likelihood K = 1/σ² times the energy of one unit.

    Args:
        nodes: Nodes of one tetrahedron or face for each spring; repeat any node with weight 0, shape (s, 4).
        weights: Their weights, which sum to 1, shape (s, 4).
        targets: Where the points should be [m], shape (s, 3).
        stiffness: Symmetric positive semi-definite K [N/m], shape (s, 3, 3).
    """

    nodes: Nodes = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    weights: Array = field(default_factory=lambda: _none(0, 4))
    targets: Array = field(default_factory=lambda: _none(0, 3))
    stiffness: Array = field(default_factory=lambda: _none(0, 3, 3))

    def __len__(self) -> int:
        return len(self.nodes)

    def points(self, x: Array) -> Array:
        """Return where the attached points are [m], shape (s, 3)."""
        return np.asarray(np.einsum('sa,sai->si', self.weights, x[self.nodes]))


def make_springs(
    nodes: ArrayLike, targets: ArrayLike, stiffness: ArrayLike, *, weights: ArrayLike | None = None
) -> Springs:
    """Check and complete springs.

    Args:
        nodes: One node for each spring (s,), or up to four with weights (s, k).
        targets: Where the points should be [m], shape (s, 3).
        stiffness: [N/m]: one for all, one each (s,), or matrices (s, 3, 3).
        weights: Of the nodes, shape (s, k); 1 for one node each.

    Raises:
        InputError: for wrong shapes, values that are not finite, weights that do not sum to 1, negative stiffness.
    """
    index = np.asarray(nodes, np.int64)
    index = index[:, None] if index.ndim == 1 else index
    share = np.ones(index.shape) if weights is None else np.asarray(weights, float)
    aim, k = np.asarray(targets, float), np.asarray(stiffness, float)
    count = len(index)
    if index.ndim != 2 or not 1 <= index.shape[1] <= 4 or share.shape != index.shape or aim.shape != (count, 3):
        raise InputError(f'springs: nodes {index.shape}, weights {share.shape}, targets {aim.shape} do not agree')
    if k.ndim < 2:
        k = np.broadcast_to(k, count)[:, None, None] * np.eye(3)
    if k.shape != (count, 3, 3):
        raise InputError(f'springs: stiffness {k.shape} is none of (), ({count},), ({count}, 3, 3)')
    if not (np.isfinite(aim).all() and np.isfinite(share).all() and np.isfinite(k).all()):
        raise InputError('springs: NaN or Inf in targets, weights or stiffness', code='NOT_FINITE')
    if count and np.abs(share.sum(axis=1) - 1.0).max() > 1e-6:
        raise InputError('springs: the weights of a point do not sum to 1')
    if count and (np.abs(k - k.transpose(0, 2, 1)).max() > 1e-9 * np.abs(k).max() or _least(k) < -1e-9):
        raise InputError('springs: a stiffness is not symmetric and positive semi-definite')
    pad = 4 - index.shape[1]
    index = np.concatenate([index, np.repeat(index[:, :1], pad, axis=1)], axis=1)
    return Springs(index, np.pad(share, ((0, 0), (0, pad))), aim, np.ascontiguousarray(k))


def _least(k: Array) -> float:
    scale = max(float(np.abs(k).max()), 1e-300)
    return float(np.linalg.eigvalsh(k / scale).min())


@dataclass(frozen=True, eq=False)
class Pressure:
    """Pressure on faces; it follows the faces from one solve to the next.

    Args:
        faces: Outer triangles as node indices, counter-clockwise from outside, shape (k, 3).
        pascal: Pressure against the outward normal [Pa], shape (k,).
    """

    faces: NDArray[np.int64]
    pascal: Array

    def forces(self, x: Array) -> Array:
        """Return the force on each node [N], shape (n, 3)."""
        a, b, c = (x[self.faces[:, k]] for k in range(3))
        on_face = -np.cross(b - a, c - a) * (self.pascal / 6.0)[:, None]
        total = np.zeros_like(x)
        for k in range(3):
            np.add.at(total, self.faces[:, k], on_face)
        return total


@dataclass(frozen=True, eq=False)
class Loads:
    """All that acts on a body at one instant.

    Args:
        held: Nodes whose positions are prescribed, as in a grasp, shape (h,).
        held_at: Where they are [m], shape (h, 3).
        springs: Springs.
        gravity: Acceleration [m/s²], shape (3,).
        pressure: Pressure on faces, or None.
        forces: Force on each node [N], shape (n, 3), or None.
        barriers: What the body may touch but not enter; of the live solver alone.
    """

    held: Nodes = field(default_factory=lambda: np.zeros(0, np.int64))
    held_at: Array = field(default_factory=lambda: _none(0, 3))
    springs: Springs = field(default_factory=Springs)
    gravity: Array = field(default_factory=lambda: _none(3))
    pressure: Pressure | None = None
    forces: Array | None = None
    barriers: Barriers = field(default_factory=Barriers)

    def check(self, count: int) -> None:
        """Refuse what cannot act on a body of so many nodes.

        Raises:
            InputError: LOADS_REFUSED with what and why.
        """
        faces = np.zeros((0, 3), np.int64) if self.pressure is None else self.pressure.faces
        for what, nodes in (
            ('held', self.held),
            ('springs', self.springs.nodes),
            ('pressure', faces),
            ('barriers', self.barriers.nodes),
        ):
            if nodes.size and (nodes.min() < 0 or nodes.max() >= count):
                raise _refusal(f'{what}: a node outside 0 … {count - 1}')
        if self.held_at.shape != (len(self.held), 3):
            raise _refusal(f'held_at has shape {self.held_at.shape}, expected ({len(self.held)}, 3)')
        if len(np.unique(self.held)) != len(self.held):
            raise _refusal('a node is held twice')
        if self.forces is not None and self.forces.shape != (count, 3):
            raise _refusal(f'forces have shape {self.forces.shape}, expected ({count}, 3)')
        if self.pressure is not None and self.pressure.pascal.shape != (len(faces),):
            raise _refusal(f'pressure: {len(faces)} faces, but values of shape {self.pressure.pascal.shape}')
        values = [self.held_at, self.springs.targets, self.gravity, self.barriers.targets, self.barriers.push]
        values += [] if self.forces is None else [self.forces]
        values += [] if self.pressure is None else [self.pressure.pascal]
        if not all(np.isfinite(value).all() for value in values):
            raise _refusal('NaN or Inf')


def _refusal(reason: str) -> InputError:
    return InputError(f'loads: {reason}', code='LOADS_REFUSED')
