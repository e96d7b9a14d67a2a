"""A reduced model for 1 kHz: modes learned from the full model, forces summed over few weighted tetrahedra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from twin_nodes.core.anatomy.elastic import assembly_kernels
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.pattern import make_pattern
from twin_nodes.core.anatomy.elastic.reduced_basis import ReducedBasis, ReducedConfig, learn_basis, length_of
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class ReducedState:
    """A state of the reduced model.

    Args:
        positions: Where each node, or each of those that are shown, is [m], shape (n, 3).
        in_span: Whether the training covers the contact and the state; if not, the full model must answer.
        outside: How far outside the range of the training, as a share of the range; 0 within.
        is_converged: Whether the last step was small.
        iterations: Steps taken.
        pull: Force that moves the contact along each control [N], shape (c,); meaningful where it was learned.
    """

    positions: Array
    in_span: bool
    outside: float
    is_converged: bool
    iterations: int
    pull: Array


class ReducedModel:
    """Follows held nodes by a few modes.

    Args:
        model: The full model.
        loads: Held nodes, and gravity and forces that stay as they are; where the nodes are held does not matter.
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
        config = config if config is not None else ReducedConfig()
        self._begin(learn_basis(model, loads, training, config), config)

    @classmethod
    def restored(cls, basis: ReducedBasis, config: ReducedConfig | None = None) -> ReducedModel:
        """Return the model of a basis that was learned before."""
        found = cls.__new__(cls)
        found._begin(basis, config if config is not None else ReducedConfig())
        return found

    def _begin(self, basis: ReducedBasis, config: ReducedConfig) -> None:
        self.basis, self.config, self.held = basis, config, basis.held
        self._controls = basis.controls.shape[1]
        rows = (3 * basis.nodes[:, None] + np.arange(3)).ravel()
        self._sample_rest = basis.rest.ravel()[rows] + basis.base[rows]
        self._sample_lift = np.ascontiguousarray(basis.lift[rows])
        self._sample_modes = np.ascontiguousarray(basis.modes[rows])
        self._lines = assembly_kernels.in_blocks(
            basis.inverse, basis.volume, basis.weight, basis.laws, basis.parameters
        )
        self._pattern = make_pattern(basis.rest[basis.nodes], basis.tets, np.ones(len(basis.nodes), bool))
        self.q = np.zeros(basis.modes.shape[1])
        self._stiffness: tuple[Array, bool] | None = None
        self.show(np.arange(len(basis.rest)))

    @property
    def sampled(self) -> int:
        """Number of tetrahedra whose forces are summed."""
        return len(self.basis.tets)

    def show(self, nodes: NDArray[np.int64]) -> None:
        """Choose the nodes whose positions are told, shape (s,): fewer are quicker."""
        basis = self.basis
        rows = (3 * nodes[:, None] + np.arange(3)).ravel()
        self._all = np.ascontiguousarray(np.concatenate([basis.lift[rows], basis.modes[rows]], axis=1))
        self._origin = basis.rest.ravel()[rows] + basis.base[rows]
        place = {int(node): index for index, node in enumerate(self.held)}
        self._shown_held = np.flatnonzero(np.isin(nodes, self.held))
        self._of_held = np.array([place[int(node)] for node in nodes[self._shown_held]], np.int64)

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
        basis = self.basis
        if held_at.shape != (len(self.held), 3) or not np.isfinite(held_at).all():
            raise InputError(f'held_at: expected {(len(self.held), 3)} finite values', code='LOADS_REFUSED')
        moved = (held_at - basis.rest[self.held]).ravel()
        amounts = basis.controls.T @ moved
        astray = float(np.linalg.norm(moved - basis.controls @ amounts)) / basis.contact_scale
        q, is_converged, iterations = self._newton(self.q.copy(), amounts)
        if not is_converged:  # the last state was no good start: once more from the linear answer
            self.reset()
            q, is_converged, iterations = self._newton(self.q.copy(), amounts)
        if not np.isfinite(q).all():
            self.reset()
            q = self.q.copy()
        self.q = q
        state = np.concatenate([amounts, q])
        outside = max(self._outside(state), astray)
        x = (self._origin + self._all @ state).reshape(-1, 3)
        x[self._shown_held] = held_at[self._of_held]
        in_span = outside <= self.config.margin and astray <= self.config.unlearned and is_converged
        return ReducedState(x, in_span, outside, is_converged, iterations, self._pull(state))

    def wrench(self, state: ReducedState, held_at: Array, about: Array) -> tuple[Array, Array]:
        """Return force [N] (3,) and torque [Nm] (3,) that the contact puts on the body, about a place in space.

        The held nodes move as one; the force is that of virtual work along shifts and turns of them.

        Args:
            state: As `update` returned it.
            held_at: Where the nodes are held [m], shape (h, 3).
            about: The place [m], shape (3,).

        Raises:
            InputError: REDUCED_REFUSED where the force was not learned.
        """
        if not self.basis.reaction:
            raise InputError('reduced model: learned without the force of the contact', code='REDUCED_REFUSED')
        each = (self.basis.controls @ state.pull).reshape(-1, 3)
        return each.sum(axis=0), np.cross(held_at - about, each).sum(axis=0)

    def _outside(self, state: Array) -> float:
        """Return how far contact or modes are outside the range of the training, as a share of that range."""
        basis, count = self.basis, self._controls
        outside = length_of(state[None, :count], basis.low, basis.high) / max(basis.spread, 1e-300) - 1.0
        for part in (slice(0, count), slice(count, None)):
            low, high = basis.low[part], basis.high[part]
            beyond = np.maximum(np.maximum(low - state[part], state[part] - high), 0.0)
            outside = max(outside, float(np.linalg.norm(beyond) / max(float(np.linalg.norm(high - low)), 1e-12)))
        return outside

    def _newton(self, q: Array, amounts: Array) -> tuple[Array, bool, int]:
        """Newton steps whose stiffness is kept while it serves."""
        basis, count = self.basis, self._controls
        base = self._sample_rest + self._sample_lift @ amounts
        dead = basis.force[count:] - basis.support[count:, :count] @ amounts
        scale = float(np.linalg.norm((basis.high - basis.low)[count:]))
        before = np.inf
        for iteration in range(1, self.config.max_iterations + 1):
            x = (base + self._sample_modes @ q).reshape(-1, 3)
            if self._stiffness is None:
                self._stiffness = self._factor(x)
            gradient = self._elastic(x).ravel() @ self._sample_modes + basis.support[count:, count:] @ q - dead
            step = cho_solve(self._stiffness, -gradient, check_finite=False)
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

    def _pull(self, state: Array) -> Array:
        """Return the force along each control that holds this state [N], shape (c,)."""
        basis, count = self.basis, self._controls
        if not basis.reaction:
            return np.zeros(count)
        x = self._sample_rest + self._sample_lift @ state[:count] + self._sample_modes @ state[count:]
        elastic = self._elastic(x.reshape(-1, 3)).ravel() @ self._sample_lift
        return np.asarray(elastic + basis.support[:count] @ state - basis.force[:count])

    def _elastic(self, x: Array) -> Array:
        """Return ∂E/∂x of the sampled tetrahedra [N], shape (p, 3)."""
        basis, gradient = self.basis, np.zeros_like(x)
        assembly_kernels.energy_gradient(
            x,
            basis.tets,
            *self._lines,
            basis.inverse,
            basis.volume,
            basis.weight,
            basis.laws,
            basis.parameters,
            gradient,
        )
        return gradient

    def _factor(self, x: Array) -> tuple[Array, bool]:
        basis = self.basis
        blocks = np.zeros((len(self._pattern.indices), 3, 3))
        assembly_kernels.hessian_blocks(
            x, basis.tets, basis.inverse, basis.volume, basis.weight, basis.laws, basis.parameters, True,
            self._pattern.slots, blocks,
        )  # fmt: skip
        size = x.size
        matrix = sparse.bsr_matrix((blocks, self._pattern.indices, self._pattern.indptr), shape=(size, size))
        reduced = self._sample_modes.T @ (matrix @ self._sample_modes)
        reduced += basis.support[self._controls :, self._controls :]
        try:
            factor: tuple[Array, bool] = cho_factor(reduced, lower=True)
        except np.linalg.LinAlgError:
            raise DegenerateGeometryError(
                'the reduced stiffness is not positive definite: train with more states', code='NOT_POSITIVE_DEFINITE'
            ) from None
        return factor
