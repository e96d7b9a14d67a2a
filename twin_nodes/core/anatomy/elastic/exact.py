"""The exact solver: Newton's method with a line search, and the linearised compliance at a state."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.anatomy.elastic.factor import CholeskyFactor
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

PENALTY = 1e9  # of a held node's own stiffness, f64
SUFFICIENT = 1e-4  # Armijo 1966


def solve(
    model: ElasticModel,
    loads: Loads,
    start: Array | None = None,
    *,
    tolerance: float = 1e-8,
    max_iterations: int = 60,
) -> Solution:
    """Find the state of rest under loads.

    Newton's method with the exact Hessian, made positive semi-definite by tetrahedron where it is indefinite (Teran
    2005), and a backtracking line search. Held nodes are brought to their places along the linear response.

    Args:
        model: The body.
        loads: What acts.
        start: Nodes to start from [m], shape (n, 3); rest when not given.
        tolerance: Residual to reach, as a share of the forces that act.
        max_iterations: Factorisations at most.

    Raises:
        InputError: LOADS_REFUSED.
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE where nothing holds the body.
    """
    if len(loads.barriers):
        raise InputError('barriers are of the live solver: give those that push as springs', code='LOADS_REFUSED')
    x = np.array(model.rest if start is None else start, np.float64)
    x[model.fixed] = model.rest[model.fixed]
    objective = Objective(model, loads, x)
    energy, gradient = objective(x)
    step, status, iteration = 0.0, 'not_converged', 0
    while True:
        missing = loads.held_at - x[loads.held]
        is_there = not np.any(missing)
        if is_there and objective.residual(gradient) <= tolerance:
            status = 'converged'
            break
        if iteration == max_iterations:
            break
        iteration += 1
        direction = _direction(objective, x, gradient, missing)
        found = _search(objective, x, energy, gradient, direction, lifted=not is_there)
        if found is None:
            status = 'failed'
            break
        x, energy, gradient, step = found
        energy, gradient = objective.follow(x, energy, gradient)
    return objective.solution(x, status, objective.residual(gradient), iteration, energy, step)


def _direction(objective: Objective, x: Array, gradient: Array, missing: Array) -> Array:
    model, loads = objective.model, objective.loads
    factor, penalty = factor_at(objective, x)
    right = -gradient[model.free]
    right[model.number[loads.held]] = penalty[:, None] * missing
    direction = np.zeros_like(x)
    direction[model.free] = factor.solve(right.ravel()).reshape(-1, 3)
    direction[~objective.active] = 0.0
    direction[loads.held] = missing
    return direction


def factor_at(
    objective: Objective, x: Array, *, dtype: type = np.float64, penalty: float = PENALTY, project: float = 0.0
) -> tuple[CholeskyFactor, Array]:
    """Factor the stiffness at x with stiff springs on held nodes.

    Args:
        objective: Body and loads.
        x: Nodes [m], shape (n, 3).
        dtype: Of the factor.
        penalty: Of the springs, in a held node's own stiffness.
        project: Share of the negative eigenvalues that is taken away; all of them where that does not do.

    Returns:
        The factor and the stiffness of those springs [N/m], shape (h,).

    Raises:
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE also after the projection.
    """
    model, loads = objective.model, objective.loads
    for share in (project, 1.0):
        blocks = model.blocks(x, project=share, loads=loads)
        if objective.pressure is not None and share == 0.0:
            model.add_couplings(*objective.pressure.couplings(x), blocks)
        stiff = hold(model, objective, blocks, penalty)
        try:
            return CholeskyFactor(model.pattern, blocks, dtype), stiff
        except DegenerateGeometryError:
            if share == 1.0:
                raise
    raise AssertionError


def hold(model: ElasticModel, objective: Objective, blocks: Array, penalty: float) -> Array:
    """Add stiff springs on held nodes, and an own stiffness for what nothing holds, to blocks; return the former."""
    diagonal = model.pattern.diagonal
    own = np.trace(blocks[diagonal], axis1=1, axis2=2) / 3.0
    typical = float(own.mean())
    loose = objective.frozen[model.free] | (own <= 0.0)
    blocks[diagonal[loose]] += typical * np.eye(3)
    place = model.number[objective.loads.held]
    stiff = penalty * np.maximum(own[place], typical)
    blocks[diagonal[place]] += stiff[:, None, None] * np.eye(3)
    return np.asarray(stiff)


def _search(
    objective: Objective, x: Array, energy: float, gradient: Array, direction: Array, *, lifted: bool
) -> tuple[Array, float, Array, float] | None:
    """Step back until the energy falls enough; a step that moves held nodes needs only a state that is allowed."""
    slope = float(np.vdot(gradient, direction))
    norm = float(np.linalg.norm(gradient))
    share = 1.0
    for _ in range(30):
        tried = x + share * direction
        if share == 1.0:
            tried[objective.loads.held] = objective.loads.held_at
        after, there = objective(tried)
        if np.isfinite(after):
            is_rounding = objective.is_rounding(share * slope, energy)
            is_less = after <= energy + SUFFICIENT * share * slope
            if lifted or is_less or (is_rounding and float(np.linalg.norm(there)) < norm):
                return tried, after, there, float(np.abs(tried - x).max())
        share *= 0.5
    return None


class Tangent:
    """The linearised response of a body at a state: x changes by K⁻¹ f under small forces f.

    Args:
        model: The body.
        x: Nodes [m], shape (n, 3), as `Solution.positions`.
        loads: Whose springs and held nodes take part.

    Raises:
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE where nothing holds the body.
    """

    def __init__(self, model: ElasticModel, x: Array, loads: Loads | None = None) -> None:
        self._objective = Objective(model, loads if loads is not None else Loads(), x)
        self.model = model
        self.factor, _ = factor_at(self._objective, x)

    def solve(self, forces: Array) -> Array:
        """Return the displacements [m] under forces [N], both (n, 3) or (k, n, 3); 0 where nothing may move."""
        many = np.atleast_3d(forces) if forces.ndim == 3 else np.asarray(forces)[None]
        free = self.model.free
        right = np.where(self._objective.active[:, None], many, 0.0)[:, free].reshape(len(many), -1)
        moved = np.zeros(many.shape)
        moved[:, free] = self.factor.solve(right).reshape(len(many), -1, 3)
        moved[:, ~self._objective.active] = 0.0
        return np.asarray(moved if forces.ndim == 3 else moved[0])

    def log_determinant(self) -> float:
        """Return ln det K of the free nodes, as the evidence of a fit needs it; held nodes count by their springs."""
        return self.factor.log_determinant()
