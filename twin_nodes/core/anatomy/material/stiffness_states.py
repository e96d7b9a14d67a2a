"""What was seen of a body at rest, and how it changes with the stiffness: residuals and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.anatomy.elastic import assembly_kernels
from twin_nodes.core.anatomy.elastic.exact import Tangent
from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.loads import Loads, Nodes, Springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.bodies import scaled
from twin_nodes.core.anatomy.material.common_errors import CommonErrors
from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

BOUNDARY = 'boundary'


@dataclass(frozen=True)
class StiffnessConfig:
    """How stiffness is estimated."""

    prior_sigma: float = setting('expected error of each stiffness beforehand, of its logarithm', 1.0, minimum=1e-3)
    boundary: bool = setting('whether the stiffness of the surroundings is estimated too', True)
    tuning: float = setting('a point so many sigmas off begins to count less (Huber)', 4.0, minimum=0.5)
    tolerance: float = setting('change of a logarithm that ends the search', 1e-3, minimum=1e-9)
    max_iterations: int = setting('Gauss–Newton steps at most', 20, minimum=1)
    max_step: float = setting('change of a logarithm in one step, at most', 1.0, minimum=0.01)


@dataclass(frozen=True, eq=False)
class SeenState:
    """The body at rest under known loads, and what was seen of it.

    Args:
        loads: Known loads and prescribed motions.
        seen: Points of the body and where they were seen; the stiffness is the inverse covariance [1/m²].
        gripped: Nodes, held or fixed, whose summed force was measured; none where no force was.
        force: That force, on the body [N], shape (3,).
        force_sigma: Its error by axis [N].
        rest: The shape from which the loads moved it [m], shape (n, 3); that of the model when not given.
        shared: How the points that were seen are displaced by errors that they share, each of standard deviation 1
            [m], shape (s, 3, k): of the registration, and of the shape at rest.
        group: States of one group share these errors.
        own: The same of errors that no other state has, shape (s, 3, j).
    """

    loads: Loads
    seen: Springs
    gripped: Nodes = field(default_factory=lambda: np.zeros(0, np.int64))
    force: Array = field(default_factory=lambda: np.zeros(3))
    force_sigma: float = 1.0
    rest: Array | None = None
    shared: Array | None = None
    group: int = 0
    own: Array | None = None

    @property
    def count(self) -> int:
        """Number of residuals."""
        return 3 * len(self.seen) + 3 * bool(len(self.gripped))


class StiffnessProblem:
    """Residuals of what was seen, over their errors, and their derivatives by the logarithms."""

    def __init__(
        self,
        model: ElasticModel,
        materials: Mapping[int, Material],
        states: Sequence[SeenState],
        config: StiffnessConfig,
    ) -> None:
        self.model, self.materials, self.states, self.config = model, dict(materials), states, config
        self.labels = [int(label) for label in np.unique(model.mesh.labels)]
        missing = [label for label in self.labels if label not in self.materials]
        if missing:
            raise _refusal(f'labels {missing} have no material')
        self.has_boundary = config.boundary and model.support is not None and bool(np.any(model.support))
        self.names = (*map(str, self.labels), *((BOUNDARY,) if self.has_boundary else ()))
        if not any(len(state.seen) or len(state.gripped) for state in states):
            raise _refusal('nothing was seen: no point and no force')
        for state in states:
            state.loads.check(model.count)
            _check(state, model.count)
        self.is_forced = any(_is_forced(state) for state in states)
        self._roots = [_roots(state.seen.stiffness) for state in states]
        self._common = CommonErrors(states, self._roots)

    def materials_at(self, theta: Array) -> dict[int, Material]:
        """Return the laws with their factors; labels that the body lacks stay."""
        found = dict(self.materials)
        for label, value in zip(self.labels, theta, strict=False):
            found[label] = scaled(found[label], float(np.exp(value)))
        return found

    def model_at(self, theta: Array) -> ElasticModel:
        """Return the body with these factors."""
        model = self.model.with_materials(self.materials_at(theta))
        if self.has_boundary:
            assert self.model.support is not None
            model = model.with_support(self.model.support * np.exp(theta[-1]))
        return model

    def residuals(self, theta: Array, start: Sequence[Array | None]) -> tuple[Array, list[Array]] | None:
        """Return all residuals over their errors and the states of rest; None where one was not found."""
        whole = self.model_at(theta)
        rows, places = [], []
        for state, root, x0 in zip(self.states, self._roots, start, strict=True):
            model = _in_shape(whole, state)
            solution = model.solve(state.loads, x0)
            if not solution.is_converged and x0 is not None:
                solution = model.solve(state.loads)
            if not solution.is_converged:
                return None
            places.append(solution.positions)
            gap = state.seen.points(solution.positions) - state.seen.targets
            rows.append(np.einsum('sij,sj->si', root, gap).ravel())
            if len(state.gripped):
                rows.append((_grip(model, state, solution.positions) - state.force) / state.force_sigma)
        return self._common.whitened(np.concatenate(rows)), places

    def jacobian(self, theta: Array, places: Sequence[Array]) -> Array:
        """Return the derivatives of the residuals by the logarithms, shape (r, k)."""
        whole = self.model_at(theta)
        blocks = []
        for state, root, x in zip(self.states, self._roots, places, strict=True):
            model = _in_shape(whole, state)
            parts = self._parts(model, x)
            moved = -Tangent(model, x, state.loads).solve(parts)
            columns = []
            for part, step in zip(parts, moved, strict=True):
                column = [np.einsum('sij,sj->si', root, state.seen.points(step)).ravel()]
                if len(state.gripped):
                    change = part + _hessian_times(model, x, step)
                    column.append(change[state.gripped].sum(axis=0) / state.force_sigma)
                columns.append(np.concatenate(column))
            blocks.append(np.stack(columns, axis=1))
        return self._common.whitened(np.concatenate(blocks))

    def _parts(self, model: ElasticModel, x: Array) -> Array:
        """Return the part of ∂E/∂x that each unknown scales [N], shape (k, n, 3)."""
        each = np.empty((len(model.tets), 4, 3))
        assembly_kernels.element_gradients(
            x, model.tets, model.inverse, model.volume, model.weight, model.laws, model.parameters, each
        )
        parts = np.zeros((len(self.names), model.count, 3))
        for k, label in enumerate(self.labels):
            mine = model.mesh.labels == label
            np.add.at(parts[k], model.tets[mine].ravel(), each[mine].reshape(-1, 3))
        if self.has_boundary:
            assert model.support is not None
            parts[-1] = model.support[:, None] * (x - model.rest)
        return parts


def _in_shape(model: ElasticModel, state: SeenState) -> ElasticModel:
    return model if state.rest is None else model.shaped(state.rest)


def _grip(model: ElasticModel, state: SeenState, x: Array) -> Array:
    """Return the force of what grips nodes on the body [N], shape (3,): it balances the elastic force and the loads."""
    gradient = -model.force(x)
    if state.loads.forces is not None:
        gradient = gradient - state.loads.forces
    if np.any(state.loads.gravity):
        gradient = gradient - model.nodal_mass()[:, None] * state.loads.gravity
    if state.loads.pressure is not None:
        gradient = gradient - state.loads.pressure.forces(x)
    return np.asarray(gradient[state.gripped].sum(axis=0))


def _hessian_times(model: ElasticModel, x: Array, step: Array) -> Array:
    size = float(np.abs(step).max())
    if size == 0.0:
        return np.zeros_like(x)
    share = 1e-6 * float(np.ptp(model.rest, axis=0).max()) / size
    return np.asarray((model.force(x - share * step) - model.force(x + share * step)) / (2.0 * share))


def _is_forced(state: SeenState) -> bool:
    loads = state.loads
    known = len(loads.springs) > 0 or bool(np.any(loads.gravity)) or len(state.gripped) > 0
    known = known or (loads.forces is not None and bool(np.any(loads.forces)))
    return known or (loads.pressure is not None and bool(np.any(loads.pressure.pascal)))


def _roots(stiffness: Array) -> Array:
    """Return symmetric square roots of inverse covariances, shape (s, 3, 3)."""
    if not len(stiffness):
        return np.zeros((0, 3, 3))
    values, vectors = np.linalg.eigh(stiffness)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))[:, None]) @ vectors.transpose(0, 2, 1))


def _check(state: SeenState, count: int) -> None:
    for what, nodes in (('seen', state.seen.nodes), ('gripped', state.gripped)):
        if nodes.size and (nodes.min() < 0 or nodes.max() >= count):
            raise _refusal(f'{what}: a node outside 0 … {count - 1}')
    if not (np.isfinite(state.seen.targets).all() and np.isfinite(state.force).all()):
        raise _refusal('NaN or Inf in what was seen')
    if not (np.isfinite(state.force_sigma) and state.force_sigma > 0.0):
        raise _refusal(f'force_sigma={state.force_sigma!r} N must be above 0')


def _refusal(reason: str) -> InputError:
    return InputError(f'stiffness: {reason}', code='STIFFNESS_REFUSED')
