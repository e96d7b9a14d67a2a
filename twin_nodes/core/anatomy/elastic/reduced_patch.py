"""A reduced model for one patch of the surface in the jaws of a tool: learned, and held against the full model.

The patch is drawn in all directions and turned about all axes, seeded; other drags, which it was not learned from, tell
how far positions and force are off.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.reduced import ReducedModel
from twin_nodes.core.anatomy.elastic.reduced_basis import ReducedBasis, ReducedConfig
from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, rotation_exp

_CHECKS, _CHECK_STEPS = 8, 4
_LAG = 3  # frames after which a factor is taken: learning twice gives the same
_MOST_LOST = 0.2
_BEYOND = 1.15  # of the reach, to which it is drawn while it is learned: what is promised lies well within


@dataclass(frozen=True)
class PatchConfig:
    """How far a patch is drawn while it is learned, and how much is learned of it."""

    reach: float = setting('How far the patch is drawn.', 0.012, unit='m', minimum=0.0005, maximum=0.08)
    turn: float = setting('How far it is turned.', 0.2, unit='rad', minimum=0.0, maximum=0.8)
    drags: int = setting('Drags, each in another direction.', 60, minimum=8, maximum=2000)
    steps: int = setting('States of each drag.', 5, minimum=1, maximum=50)
    modes: int = setting('Modes beside the linear answer to the patch.', 40, minimum=1, maximum=100)
    sampling_error: float = setting(
        'Error of the forces over the training, at which enough tetrahedra are sampled.', 0.003, minimum=1e-6,
        maximum=0.5,
    )  # fmt: skip
    seed: int = setting('Of the drags.', 0, minimum=0)


@dataclass(frozen=True, eq=False)
class LearnedPatch:
    """A patch that was learned.

    Args:
        basis: The reduction; its held nodes are the patch.
        body: Hash of the body that it was learned from.
        error: Greatest error of positions in the check, over the displacement of all nodes.
        force_error: Greatest error of the force of the patch in the check, over that force.
        checks: States of the check.
        in_span: How many of them it counts as learned.
    """

    basis: ReducedBasis
    body: str
    error: float
    force_error: float
    checks: int
    in_span: int


def body_hash(model: ElasticModel, gravity: Array) -> str:
    """Return a hash of all that a reduction depends on: mesh, laws, what holds it, what is left of it, and gravity."""
    support = np.zeros(model.count) if model.support is None else model.support
    found = hashlib.sha256()
    for part in (
        model.rest, model.tets, model.laws, model.parameters, model.weight, model.fixed, support,
        np.asarray(gravity, float) * model.density,
    ):  # fmt: skip
        array = np.ascontiguousarray(part)
        found.update(f'{array.dtype.str}{array.shape}'.encode())
        found.update(array.tobytes())
    return found.hexdigest()


def learn_patch(model: ElasticModel, nodes: NDArray[np.int64], gravity: Array, config: PatchConfig) -> LearnedPatch:
    """Learn a patch and check it.

    Args:
        model: The body.
        nodes: Nodes of the patch, shape (h,).
        gravity: Less that of the scan [m/s²], shape (3,).
        config: How far, and how much.

    Raises:
        InputError: TRAINING_REFUSED where the full model does not follow the drags.
        DegenerateGeometryError: where nothing holds the body.
    """
    farther = replace(config, reach=_BEYOND * config.reach, turn=_BEYOND * config.turn)
    states = _drags(model, nodes, gravity, farther, config.drags, config.steps, config.seed, 1e-6)
    good = [solution for _, solution in states if solution.is_converged]
    if len(good) < (1.0 - _MOST_LOST) * len(states):
        raise InputError(
            f'training: {len(states) - len(good)} of {len(states)} states did not converge: lessen the reach '
            f'({1e3 * config.reach:g} mm) or the turn ({config.turn:g} rad), or take a finer mesh',
            code='TRAINING_REFUSED',
        )
    learned = ReducedConfig(modes=config.modes, sampling_error=config.sampling_error, reaction=True)
    reduced = ReducedModel(model, Loads(nodes, model.rest[nodes], gravity=gravity), good, learned)
    checks = _drags(model, nodes, gravity, config, _CHECKS, _CHECK_STEPS, config.seed + 1, 1e-7)
    error, force_error, inside = _check(model, reduced, gravity, [item for item in checks if item[1].is_converged])
    return LearnedPatch(reduced.basis, body_hash(model, gravity), error, force_error, len(checks), inside)


def moved_patch(places: Array, shift: Array, turn: Array) -> Array:
    """Return places (h, 3) turned about their middle by a rotation vector, and shifted [m]."""
    middle = places.mean(axis=0)
    return np.asarray((places - middle) @ rotation_exp(turn).T + middle + shift)


def _drags(
    model: ElasticModel,
    nodes: NDArray[np.int64],
    gravity: Array,
    config: PatchConfig,
    drags: int,
    steps: int,
    seed: int,
    tolerance: float,
) -> list[tuple[Array, Solution]]:
    """Return where the patch was held (h, 3), and the full model's answer, of seeded drags."""
    rng, found = np.random.default_rng(seed), []
    places = model.rest[nodes]
    with LiveSolver(model, LiveConfig(tolerance=tolerance, max_iterations=200, refactor_lag=_LAG)) as live:
        for _ in range(drags):
            way, axis = rng.normal(size=3), rng.normal(size=3)
            way *= config.reach / np.linalg.norm(way)
            axis *= config.turn * np.cbrt(rng.uniform()) / np.linalg.norm(axis)
            live.reset()
            for step in range(1, steps + 1):
                held = moved_patch(places, way * step / steps, axis * step / steps)
                found.append((held, live.update(Loads(nodes, held, gravity=gravity))))
    return found


def _check(
    model: ElasticModel, reduced: ReducedModel, gravity: Array, checks: list[tuple[Array, Solution]]
) -> tuple[float, float, int]:
    error = force_error = 0.0
    inside, nodes = 0, reduced.held
    for held, exact in checks:
        state = reduced.update(held)
        inside += state.in_span
        gap = np.linalg.norm(state.positions - exact.positions) / np.linalg.norm(exact.displacement)
        force = patch_forces(model, Loads(nodes, held, gravity=gravity), exact.positions).sum(axis=0)
        found, _ = reduced.wrench(state, held, held.mean(axis=0))
        error = max(error, float(gap))
        force_error = max(force_error, float(np.linalg.norm(found - force) / np.linalg.norm(force)))
    return error, force_error, inside


def patch_forces(model: ElasticModel, loads: Loads, x: Array) -> Array:
    """Return the force [N] that holds each held node (h, 3): it balances the law, the support and the loads."""
    gradient = -model.force(x)
    if loads.forces is not None:
        gradient = gradient - loads.forces
    if np.any(loads.gravity):
        gradient = gradient - model.nodal_mass()[:, None] * loads.gravity
    if loads.pressure is not None:
        gradient = gradient - loads.pressure.forces(x)
    return np.asarray(gradient[loads.held])
