"""Chooses the few weighted tetrahedra that stand for all (energy-conserving sampling and weighting, Farhat 2014)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic import assembly_kernels
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.geometry.se3 import Array

MOST_STATES = 60
SPREAD = 0.3
DROPPED = 1e-9


def sample_elements(
    model: ElasticModel,
    followed: Array,
    coordinates: Array,
    modes: Array,
    *,
    error: float,
    lift: Array | None = None,
) -> tuple[NDArray[np.int64], Array]:
    """Find tetrahedra and weights that give the forces on the modes over the training.

    At rest the forces on the modes cancel, which any weights would give; therefore each state is pushed away along the
    modes at random (seeded), so that their stiffness counts.

    Args:
        model: The full model.
        followed: Displacements that follow the contact linearly [m], shape (s, 3 n).
        coordinates: Of the modes at those states, shape (s, r).
        modes: The modes, shape (3 n, r).
        error: Error of the forces at which the choice ends, as a share of them.
        lift: Displacements by movements of the contact whose forces are to be right too, shape (3 n, c).

    Returns:
        Tetrahedra, ascending (k,), and their weights (k,), all above 0.
    """
    rng = np.random.default_rng(0)
    chosen = np.unique(np.linspace(0, len(followed) - 1, min(MOST_STATES, len(followed))).astype(int))
    spread = SPREAD * coordinates.std(axis=0) + 1e-12
    rows = []
    for state in chosen:
        q = coordinates[state] + spread * rng.normal(size=coordinates.shape[1])
        x = model.rest + (followed[state] + modes @ q).reshape(-1, 3)
        rows.append(_scaled(_forces(model, x, modes)))
        if lift is not None:
            rows.append(
                _scaled(
                    _forces(model, model.rest + (followed[state] + modes @ coordinates[state]).reshape(-1, 3), lift)
                )
            )
    matrix = np.concatenate(rows)
    weights = nonnegative(matrix, matrix.sum(axis=1), error)
    kept = np.flatnonzero(weights > DROPPED)
    return kept, weights[kept]


def _forces(model: ElasticModel, x: Array, modes: Array) -> Array:
    """Return the force of each tetrahedron on each mode, shape (r, m)."""
    forces = np.zeros((len(model.tets), 4, 3))
    assembly_kernels.element_gradients(
        x, model.tets, model.inverse, model.volume, model.weight, model.laws, model.parameters, forces
    )
    by_node = modes.reshape(-1, 3, modes.shape[1])[model.tets]
    return np.asarray(np.einsum('tai,tair->rt', forces, by_node, optimize=True))


def _scaled(forces: Array) -> Array:
    """Return forces (r, m) over the length of their sum, so that each state counts alike."""
    return np.asarray(forces / max(float(np.linalg.norm(forces.sum(axis=1))), 1e-300))


def nonnegative(matrix: Array, right: Array, error: float, *, most: int = 2000) -> Array:
    """Solve matrix @ w ≈ right with w ≥ 0 and few entries: Lawson and Hanson 1974, ended at an error.

    Args:
        matrix: Shape (k, m).
        right: Shape (k,).
        error: Norm of the remainder at which to end, as a share of that of `right`.
        most: Entries at most.

    Returns:
        The weights, shape (m,), most of them 0.
    """
    weights = np.zeros(matrix.shape[1])
    inside: list[int] = []
    remainder, target = right.copy(), error * float(np.linalg.norm(right))
    banned = np.zeros(matrix.shape[1], bool)
    while float(np.linalg.norm(remainder)) > target and len(inside) < min(most, *matrix.shape):
        pull = matrix.T @ remainder
        pull[inside] = -np.inf
        pull[banned] = -np.inf
        best = int(np.argmax(pull))
        if not pull[best] > 0.0:
            break
        inside.append(best)
        weights, inside = _feasible(matrix, right, weights, inside)
        banned[best] = best not in inside
        if not banned[best]:
            banned[:] = False
        remainder = right - matrix[:, inside] @ weights[inside]
    return weights


def _feasible(matrix: Array, right: Array, weights: Array, inside: list[int]) -> tuple[Array, list[int]]:
    """Solve on the entries inside; leave those that would turn negative."""
    while True:
        part = matrix[:, inside]
        inner = part.T @ part
        inner[np.diag_indices_from(inner)] *= 1.0 + 1e-12
        solved = np.linalg.solve(inner, part.T @ right)
        if (solved > 0.0).all():
            result = np.zeros_like(weights)
            result[inside] = solved
            return result, inside
        old = weights[inside]
        falling = solved <= 0.0
        share = float((old[falling] / (old[falling] - solved[falling])).min()) if falling.any() else 1.0
        mixed = old + share * (solved - old)
        weights = weights.copy()
        weights[inside] = np.maximum(mixed, 0.0)
        inside = [e for e, w in zip(inside, mixed, strict=True) if w > DROPPED]
        weights[weights <= DROPPED] = 0.0
