"""A reduced model for 1 kHz: modes learned from the full model, forces summed over few weighted tetrahedra.

The body follows its held nodes linearly, u = L a, and departs from that by a few modes, u = L a + V q (proper
orthogonal decomposition of what was seen in training). The forces on the modes are sums over a few tetrahedra with
weights found by non-negative least squares (energy-conserving sampling and weighting, Farhat, Avery, Chapman and
Cortial 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from twin_nodes.core.anatomy.elastic import assembly_kernels
from twin_nodes.core.anatomy.elastic.exact import Tangent
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.pattern import make_pattern
from twin_nodes.core.anatomy.elastic.sampling import sample_elements
from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
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
    tolerance: float = setting('change of the modes in a step, as a share of their range, that ends it', 1e-4,
                               minimum=1e-12, maximum=0.1)  # fmt: skip
    max_iterations: int = setting('steps at most', 6, minimum=1, maximum=100)


@dataclass(frozen=True, eq=False)
class ReducedState:
    """A state of the reduced model.

    Args:
        positions: Where each node is [m], shape (n, 3).
        in_span: Whether the training covers the contact and the state; if not, the full model must answer.
        outside: How far outside the range of the training, as a share of the range; 0 within.
        is_converged: Whether the last step was small.
        iterations: Steps taken.
    """

    positions: Array
    in_span: bool
    outside: float
    is_converged: bool
    iterations: int


class ReducedModel:
    """Follows held nodes by a few modes.

    Args:
        model: The full model.
        loads: Held nodes, and gravity, forces and springs that stay as they are; where the nodes are held does not
            matter.
        training: Solutions of the full model under such loads.
        config: How much is learned.

    Raises:
        InputError: TRAINING_REFUSED where the training does not converge, is too small or does not move the contact.
        DegenerateGeometryError: where the reduced stiffness is not positive definite.
    """

    def __init__(
        self,
        model: ElasticModel,
        loads: Loads,
        training: Sequence[Solution],
        config: ReducedConfig | None = None,
    ) -> None:
        self.config = config if config is not None else ReducedConfig()
        self.model = model
        self.held = loads.held
        _check(model, loads, training)
        moved = np.stack([solution.displacement for solution in training])
        self._controls, self._contact_scale = _control_basis(moved[:, loads.held])
        self._lift, self._base = _lift(model, loads, self._controls)
        amounts = moved[:, loads.held].reshape(len(moved), -1) @ self._controls
        rest = moved.reshape(len(moved), -1) - amounts @ self._lift.T - self._base
        self._modes, coordinates = _modes(rest, self.config.modes)
        self._low, self._high = _range(np.concatenate([amounts, coordinates], axis=1))
        self._force = self._external(loads)
        self._sample(amounts, coordinates)
        self._all = np.ascontiguousarray(np.concatenate([self._lift, self._modes], axis=1))
        self._origin = model.rest.ravel() + self._base
        self.q = np.zeros(self._modes.shape[1])
        self._stiffness: tuple[Array, bool] | None = None

    @property
    def sampled(self) -> int:
        """Number of tetrahedra whose forces are summed."""
        return len(self._tets)

    def reset(self) -> None:
        """Start again from the linear answer."""
        self.q[:] = 0.0
        self._stiffness = None

    def update(self, held_at: Array) -> ReducedState:
        """Bring the body to where its nodes are held.

        Args:
            held_at: Positions of the held nodes [m], shape (h, 3).

        Raises:
            InputError: LOADS_REFUSED for a wrong shape or values that are not finite.
        """
        if held_at.shape != (len(self.held), 3) or not np.isfinite(held_at).all():
            raise InputError(f'held_at: expected {(len(self.held), 3)} finite values', code='LOADS_REFUSED')
        moved = (held_at - self.model.rest[self.held]).ravel()
        amounts = self._controls.T @ moved
        astray = float(np.linalg.norm(moved - self._controls @ amounts)) / self._contact_scale
        q, is_converged, iterations = self._newton(self.q.copy(), amounts)
        if not is_converged:  # the last state was no good start: once more from the linear answer
            self.reset()
            q, is_converged, iterations = self._newton(self.q.copy(), amounts)
        if not np.isfinite(q).all():
            self.reset()
            q = self.q.copy()
        self.q = q
        state = np.concatenate([amounts, q])
        outside = max(self._outside(state, slice(0, len(amounts))), self._outside(state, slice(len(amounts), None)))
        outside = max(outside, astray)
        x = (self._origin + self._all @ state).reshape(-1, 3)
        x[self.held] = held_at
        in_span = outside <= self.config.margin and is_converged
        return ReducedState(x, in_span, outside, is_converged, iterations)

    def _outside(self, state: Array, part: slice) -> float:
        """Return how far contact or modes are outside the range of the training, as a share of that range."""
        low, high = self._low[part], self._high[part]
        beyond = np.maximum(np.maximum(low - state[part], state[part] - high), 0.0)
        return float(np.linalg.norm(beyond) / max(float(np.linalg.norm(high - low)), 1e-12))

    def _newton(self, q: Array, amounts: Array) -> tuple[Array, bool, int]:
        """Newton steps whose stiffness is kept while it serves."""
        base = self._sample_rest + self._sample_lift @ amounts
        scale = float(np.linalg.norm((self._high - self._low)[len(amounts) :]))
        before = np.inf
        for iteration in range(1, self.config.max_iterations + 1):
            x = (base + self._sample_modes @ q).reshape(-1, 3)
            if self._stiffness is None:
                self._stiffness = self._factor(x)
            step = cho_solve(self._stiffness, -self._gradient(x), check_finite=False)
            size = float(np.linalg.norm(step))
            if size > 0.3 * before and iteration > 1:
                self._stiffness = None
            q = q + step
            before = size
            if not size < 1e6 * scale:
                return np.full_like(q, np.nan), False, iteration
            if size <= self.config.tolerance * scale:
                return q, True, iteration
        self._stiffness = None
        return q, False, self.config.max_iterations

    def _gradient(self, x: Array) -> Array:
        gradient = np.zeros_like(x)
        assembly_kernels.energy_gradient(
            x, self._tets, self._inverse, self._volume, self._weight, self._laws, self._parameters, gradient
        )
        return np.asarray(gradient.ravel() @ self._sample_modes - self._force)

    def _factor(self, x: Array) -> tuple[Array, bool]:
        blocks = np.zeros((len(self._pattern.indices), 3, 3))
        assembly_kernels.hessian_blocks(
            x, self._tets, self._inverse, self._volume, self._weight, self._laws, self._parameters, True,
            self._pattern.slots, blocks,
        )  # fmt: skip
        size = x.size
        matrix = sparse.bsr_matrix((blocks, self._pattern.indices, self._pattern.indptr), shape=(size, size))
        reduced = self._sample_modes.T @ (matrix @ self._sample_modes)
        try:
            factor: tuple[Array, bool] = cho_factor(reduced, lower=True)
        except np.linalg.LinAlgError:
            raise DegenerateGeometryError(
                'the reduced stiffness is not positive definite: train with more states', code='NOT_POSITIVE_DEFINITE'
            ) from None
        return factor

    def _external(self, loads: Loads) -> Array:
        force = np.zeros_like(self.model.rest) if loads.forces is None else loads.forces.astype(float)
        force = force + self.model.nodal_mass()[:, None] * loads.gravity
        return np.asarray(force.ravel() @ self._modes)

    def _sample(self, amounts: Array, coordinates: Array) -> None:
        """Choose the tetrahedra and keep what belongs to them."""
        model = self.model
        states = self._base + amounts @ self._lift.T
        chosen, weight = sample_elements(model, states, coordinates, self._modes, error=self.config.sampling_error)
        nodes, local = np.unique(model.tets[chosen], return_inverse=True)
        self._tets = np.ascontiguousarray(local.reshape(-1, 4), np.int32)
        self._inverse, self._volume = model.inverse[chosen], model.volume[chosen]
        self._weight = weight * model.weight[chosen]
        self._laws, self._parameters = model.laws[chosen], model.parameters[chosen]
        rows = (3 * nodes[:, None] + np.arange(3)).ravel()
        self._sample_rest = model.rest.ravel()[rows] + self._base[rows]
        self._sample_lift = np.ascontiguousarray(self._lift[rows])
        self._sample_modes = np.ascontiguousarray(self._modes[rows])
        self._pattern = make_pattern(model.rest[nodes], self._tets, np.ones(len(nodes), bool))


def _check(model: ElasticModel, loads: Loads, training: Sequence[Solution]) -> None:
    bad = sum(not solution.is_converged for solution in training)
    if len(training) < 4 or bad:
        raise InputError(
            f'training: {len(training)} states, {bad} of them not converged; expected at least 4, all converged',
            code='TRAINING_REFUSED',
        )
    if not len(loads.held):
        raise InputError('training: the reduced model follows held nodes, and none are held', code='TRAINING_REFUSED')
    if len(loads.springs) or loads.pressure is not None or model.support is not None:
        raise InputError('training: springs, pressure and support are not reduced', code='TRAINING_REFUSED')


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
