"""What a solver makes least: elastic energy and that of the loads, with the nodes that may move."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.anatomy.elastic import load_kernels
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

ROUNDING = 1e-14
LEAST_FORCE = 1e-5  # of shear modulus times the area of the body: below this nothing acts


class Objective:
    """Energy and gradient of a body under loads.

    Args:
        model: The body.
        loads: What acts, checked here.
        x: Nodes [m] (n, 3), for the direction of pressure.

    Raises:
        InputError: LOADS_REFUSED.
    """

    def __init__(self, model: ElasticModel, loads: Loads, x: Array) -> None:
        loads.check(model.count)
        both = loads.held[~model.free[loads.held]]
        if len(both):
            raise InputError(
                f'loads: {len(both)} held nodes are fixed, the first is {both[0]}: a grasp cannot move them',
                code='LOADS_REFUSED',
            )
        self.model, self.loads = model, loads
        frozen = model.frozen(loads)
        self.frozen = frozen & model.free
        self.active = model.free & ~frozen
        self.active[loads.held] = False
        self.rows = self.active[model.free]
        self._still = ~self.active
        self._dead = np.zeros_like(x) if loads.forces is None else loads.forces.astype(float)
        if np.any(loads.gravity):
            self._dead = self._dead + model.nodal_mass()[:, None] * loads.gravity
        self.follow(x)
        self._floor = LEAST_FORCE * model.stiffness_scale
        self._sum = float(np.dot(model.shear, model.volume))
        self.scale = self._floor

    def follow(self, x: Array) -> None:
        """Turn the pressure with the faces."""
        pressure = self.loads.pressure
        self.forces = self._dead if pressure is None else self._dead + pressure.forces(x)

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the energy [J], infinite where a law has no value, and its gradient (n, 3) [N], 0 where none moves."""
        gradient = np.zeros_like(x)
        springs = self.loads.springs
        total = 0.0
        if len(springs):
            total += load_kernels.spring_gradient(
                x, springs.nodes, springs.weights, springs.targets, springs.stiffness, gradient
            )
        pulled = float(np.linalg.norm(gradient))
        total += self.model.energy_gradient(x, gradient)
        gradient -= self.forces
        total -= float(np.vdot(self.forces, x - self.model.rest))
        reaction = float(np.linalg.norm(gradient[self._still]))
        self.scale = max(reaction + pulled + float(np.linalg.norm(self.forces)), self._floor)
        gradient[self._still] = 0.0
        return total, gradient

    def residual(self, gradient: Array) -> float:
        """Return the norm of unbalanced forces as a share of those that act at the last call."""
        return float(np.linalg.norm(gradient)) / self.scale

    def is_rounding(self, change: float, energy: float) -> bool:
        """Whether a change of the energy [J] is too small to be told from rounding."""
        return abs(change) <= ROUNDING * (self._sum + abs(energy))

    def solution(self, x: Array, status: str, residual: float, iterations: int, energy: float, step: float) -> Solution:
        """Put an answer together."""
        model = self.model
        ratio, there = model.volume_ratios(x), model.volume
        if not model.weight.all():
            ratio, there = ratio[model.weight > 0.0], there[model.weight > 0.0]
        volume = float(there.sum())
        change = float(np.dot(ratio, there)) / volume - 1.0 if volume > 0.0 else 0.0
        least = float(ratio.min()) if len(ratio) else 1.0
        return Solution(
            x, x - model.rest, status, residual, iterations, energy, change, least, step, int(self.frozen.sum())
        )
