"""What a reduced model is made of, learned offline from solutions of the full model; plain arrays, so it can be stored.

The body follows its held nodes linearly, u = L a, and departs from that by a few modes, u = L a + V q (proper
orthogonal decomposition of what was seen in training). The forces on both are sums over a few tetrahedra with weights
found by non-negative least squares (energy-conserving sampling and weighting, Farhat, Avery, Chapman and Cortial 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.exact import Tangent
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.sampling import sample_elements
from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True)
class ReducedConfig:
    """How much a reduced model learns."""

    modes: int = setting('modes beside the linear answer to the contact', 10, minimum=1, maximum=100)
    sampling_error: float = setting(
        'error of the forces on the modes over the training, at which enough tetrahedra are sampled',
        0.002, minimum=1e-6, maximum=0.5,
    )  # fmt: skip
    margin: float = setting(
        'how far outside the range of the training a state may be before it is flagged, as a share of the range',
        0.1, minimum=0.0, maximum=10.0,
    )  # fmt: skip
    unlearned: float = setting(
        'how far the contact may be moved in ways that the training did not have, as a share of its greatest movement '
        'there; the body does not follow such ways', 0.003, minimum=0.0, maximum=10.0,
    )  # fmt: skip
    tolerance: float = setting('change of the modes in a step, as a share of their range, that ends it', 1e-4,
                               minimum=1e-12, maximum=0.1)  # fmt: skip
    max_iterations: int = setting('steps at most', 6, minimum=1, maximum=100)
    reaction: bool = setting('whether the force of the contact is learned too; costs some more tetrahedra', False)


@dataclass(frozen=True, eq=False)
class ReducedBasis:
    """A learned reduction.

    Args:
        rest: The nodes at rest [m], shape (n, 3).
        held: Nodes of the contact, shape (h,).
        controls: Orthonormal movements of the contact, shape (3 h, c).
        contact_scale: Greatest movement of the contact in training, over all its nodes [m].
        base: Displacement where the contact does not move [m], shape (3 n,).
        lift: Displacement by each control, shape (3 n, c).
        modes: Orthonormal, shape (3 n, r).
        low: Least amounts of controls and modes in training, shape (c + r,).
        high: Greatest, shape (c + r,).
        spread: Greatest length of the controls' amounts in training, each over its range.
        force: Forces outside of the law on controls and modes, with the support at `base` [N], shape (c + r,).
        support: Stiffness of the support by controls and modes [N/m], shape (c + r, c + r).
        nodes: Nodes of the sampled tetrahedra, shape (p,).
        tets: Sampled tetrahedra as numbers into `nodes`, shape (k, 4).
        inverse: Their shape matrices [1/m], shape (k, 3, 3).
        volume: At rest [m³], shape (k,).
        weight: By which each stands for others, shape (k,).
        laws: Number of the law, shape (k,).
        parameters: Of the law, shape (k, 7).
        reaction: Whether the force of the contact was learned.
    """

    rest: Array
    held: NDArray[np.int64]
    controls: Array
    contact_scale: float
    base: Array
    lift: Array
    modes: Array
    low: Array
    high: Array
    spread: float
    force: Array
    support: Array
    nodes: NDArray[np.int64]
    tets: NDArray[np.int32]
    inverse: Array
    volume: Array
    weight: Array
    laws: NDArray[np.int8]
    parameters: Array
    reaction: bool

    def arrays(self) -> dict[str, Array]:
        """Return all of it as arrays by name, for a file."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}


def basis_from(arrays: dict[str, Array]) -> ReducedBasis:
    """Make a basis of arrays by name, as `ReducedBasis.arrays` gives them.

    Raises:
        InputError: REDUCED_REFUSED where arrays are missing, not finite, or do not fit one another.
    """
    names = [field.name for field in fields(ReducedBasis)]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise _refusal(f'no {", ".join(missing)} in it')
    bad = [name for name in names if not np.isfinite(np.asarray(arrays[name], float)).all()]
    if bad:
        raise _refusal(f'NaN or Inf in {", ".join(bad)}')
    found = {name: np.ascontiguousarray(arrays[name]) for name in names}
    count, held, tets = len(found['rest']), found['held'], found['tets']
    c, r, k = found['controls'].shape[-1], found['modes'].shape[-1], len(tets)
    shapes = {
        'rest': (count, 3), 'controls': (3 * len(held), c), 'base': (3 * count,), 'lift': (3 * count, c),
        'modes': (3 * count, r), 'low': (c + r,), 'high': (c + r,), 'force': (c + r,), 'support': (c + r, c + r),
        'tets': (k, 4), 'inverse': (k, 3, 3), 'volume': (k,), 'weight': (k,), 'laws': (k,),
        'parameters': (k, found['parameters'].shape[-1]),
    }  # fmt: skip
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise _refusal(f'{name} has shape {found[name].shape}, expected {shape}')
    for name, nodes, most in (('held', held, count), ('nodes', found['nodes'], count), ('tets', tets, _len(found))):
        if not len(nodes) or nodes.min() < 0 or nodes.max() >= most:
            raise _refusal(f'{name} names a node outside 0 … {most - 1}')
    scalars = {name: float(np.asarray(arrays[name])) for name in ('contact_scale', 'spread')}
    return ReducedBasis(**{**found, **scalars, 'reaction': bool(arrays['reaction'])})  # type: ignore[arg-type]


def _len(found: dict[str, Array]) -> int:
    return len(found['nodes'])


def _refusal(reason: str) -> InputError:
    return InputError(f'reduced model: {reason}', code='REDUCED_REFUSED')


def learn_basis(model: ElasticModel, loads: Loads, training: Sequence[Solution], config: ReducedConfig) -> ReducedBasis:
    """Learn a reduction; arguments and errors as `reduced.ReducedModel`."""
    _check(loads, training)
    moved = np.stack([solution.displacement for solution in training])
    controls, scale = _control_basis(moved[:, loads.held])
    lift, base = _lift(model, loads, controls)
    amounts = moved[:, loads.held].reshape(len(moved), -1) @ controls
    followed = base + amounts @ lift.T
    modes, coordinates = _modes(moved.reshape(len(moved), -1) - followed, config.modes)
    low, high = _range(np.concatenate([amounts, coordinates], axis=1))
    chosen, weight = sample_elements(
        model, followed, coordinates, modes, error=config.sampling_error, lift=lift if config.reaction else None
    )
    nodes, local = np.unique(model.tets[chosen], return_inverse=True)
    support, force = _dead(model, loads, np.concatenate([lift, modes], axis=1), base)
    return ReducedBasis(
        model.rest, np.asarray(loads.held, np.int64), controls, scale, base, lift, modes, low, high,
        length_of(amounts, low, high), force, support, nodes.astype(np.int64),
        np.ascontiguousarray(local.reshape(-1, 4), np.int32), model.inverse[chosen], model.volume[chosen],
        weight * model.weight[chosen], model.laws[chosen], model.parameters[chosen], config.reaction,
    )  # fmt: skip


def length_of(amounts: Array, low: Array, high: Array) -> float:
    """Return the greatest length of amounts (s, c), each over half of its range."""
    half = 0.5 * (high - low)[: amounts.shape[1]]
    return float(np.linalg.norm(amounts / np.maximum(half, 1e-300), axis=1).max())


def _check(loads: Loads, training: Sequence[Solution]) -> None:
    bad = sum(not solution.is_converged for solution in training)
    if len(training) < 4 or bad:
        raise InputError(
            f'training: {len(training)} states, {bad} of them not converged; expected at least 4, all converged',
            code='TRAINING_REFUSED',
        )
    if not len(loads.held):
        raise InputError('training: the reduced model follows held nodes, and none are held', code='TRAINING_REFUSED')
    if len(loads.springs) or loads.pressure is not None:
        raise InputError('training: springs and pressure are not reduced', code='TRAINING_REFUSED')


def _control_basis(moved: Array) -> tuple[Array, float]:
    """Return orthonormal movements of the contact (3 h, c) that make up all of the training, and its greatest size."""
    flat = moved.reshape(len(moved), -1)
    _, s, rows = np.linalg.svd(flat, full_matrices=False)
    scale = float(np.linalg.norm(flat, axis=1).max())
    if scale <= 0.0:
        raise InputError('training: the held nodes never move', code='TRAINING_REFUSED')
    return np.ascontiguousarray(rows[s > 1e-6 * s[0]].T), scale


def _lift(model: ElasticModel, loads: Loads, controls: Array) -> tuple[Array, Array]:
    """Return the linear answers (3 n, c) to movements of the contact, and the state (3 n) where it does not move."""
    still = Loads(held=loads.held, held_at=model.rest[loads.held], gravity=loads.gravity, forces=loads.forces)
    at_rest = model.solve(still)
    tangent = Tangent(model, at_rest.positions, still)
    pushed = np.zeros((controls.shape[1], *model.rest.shape))
    pushed[:, loads.held] = controls.T.reshape(controls.shape[1], -1, 3)
    stiffness = model.hessian(at_rest.positions)
    pull = np.zeros_like(pushed)
    pull[:, model.free] = -(stiffness @ pushed[:, model.free].reshape(len(pushed), -1).T).T.reshape(len(pushed), -1, 3)
    answer = tangent.solve(pull)
    answer[:, loads.held] = pushed[:, loads.held]
    return np.ascontiguousarray(answer.reshape(len(answer), -1).T), at_rest.displacement.ravel()


def _modes(rest: Array, most: int) -> tuple[Array, Array]:
    """Return orthonormal modes (3 n, r) of displacements (s, 3 n), and the coordinates (s, r), by snapshots."""
    value, vector = np.linalg.eigh(rest @ rest.T)
    order = np.argsort(value)[::-1][:most]
    kept = order[value[order] > 1e-12 * max(float(value.max()), 1e-300)]
    modes = rest.T @ (vector[:, kept] / np.sqrt(value[kept]))
    return np.ascontiguousarray(modes), rest @ modes


def _range(states: Array) -> tuple[Array, Array]:
    return np.minimum(states.min(axis=0), 0.0), np.maximum(states.max(axis=0), 0.0)


def _dead(model: ElasticModel, loads: Loads, ways: Array, base: Array) -> tuple[Array, Array]:
    """Return stiffness of the support (k, k) and dead forces (k,) along ways (3 n, k); the support at `base` counts."""
    force = np.zeros_like(model.rest) if loads.forces is None else loads.forces.astype(float)
    force = (force + model.nodal_mass()[:, None] * loads.gravity).ravel()
    if model.support is None:
        return np.zeros((ways.shape[1], ways.shape[1])), np.asarray(force @ ways)
    pulled = np.repeat(model.support, 3)
    return np.asarray((ways * pulled[:, None]).T @ ways), np.asarray((force - pulled * base) @ ways)
