"""What a solver makes least: elastic energy and that of the loads, with the nodes that may move."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.anatomy.elastic import load_kernels
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.pressure import FollowedPressure
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

ROUNDING = 1e-14
LEAST_FORCE = 1e-5  # of shear modulus times the area of the body: below this nothing acts
BALANCED = 0.1  # what a pressure's forces count: a soft support bears what its solution leaves out of balance


class Objective:
    """Energy and gradient of a body under loads.

    Args:
        model: The body.
        loads: What acts, checked here.
        x: Nodes [m] (n, 3), for the direction of pressure at the rim of a patch.

    Attributes:
        forces: Those that stay as they are [N], gravity among them, shape (n, 3).
        scale: The forces that act at the last call [N].
        still: Nodes that do not move freely: fixed, held or loose, shape (n,).

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
        self.still = ~self.active
        self.forces = np.zeros_like(x) if loads.forces is None else loads.forces.astype(float)
        if np.any(loads.gravity):
            self.forces = self.forces + model.nodal_mass()[:, None] * loads.gravity
        self._is_pulled = bool(np.any(self.forces))
        self.pressure = None if loads.pressure is None else FollowedPressure(loads.pressure, x)
        self._acting = self._strength(x)
        self._floor = LEAST_FORCE * model.stiffness_scale
        self._sum = float(np.dot(model.shear, model.volume))
        self.scale = self._floor

    def _strength(self, x: Array) -> float:
        """Return the forces that act [N]; pressure balances most of itself, and counts by a share."""
        found = float(np.linalg.norm(self.forces))
        return found if self.pressure is None else found + BALANCED * float(np.linalg.norm(self.pressure.forces(x)))

    def follow(self, x: Array, energy: float, gradient: Array) -> tuple[float, Array]:
        """Turn the rim of a pressure with the faces; return energy [J] and gradient (n, 3) [N] of the state as now.

        Args:
            x: The state [m], shape (n, 3).
            energy: Its energy before [J].
            gradient: Its gradient before [N], shape (n, 3).
        """
        if self.pressure is None or not len(self.pressure.rim):
            return energy, gradient
        before, after = np.zeros_like(x), np.zeros_like(x)
        energy -= self.pressure.energy_gradient(x, before)
        self.pressure.follow(x)
        energy += self.pressure.energy_gradient(x, after)
        gradient = gradient + (after - before)
        gradient[self.still] = 0.0
        return energy, gradient

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the energy [J], infinite where a law has no value, and its gradient (n, 3) [N], 0 where none moves."""
        gradient = np.zeros_like(x)
        springs = self.loads.springs
        total = 0.0
        if len(springs):
            total += load_kernels.spring_gradient(
                x, springs.nodes, springs.weights, springs.targets, springs.stiffness, gradient
            )
        if len(self.loads.barriers):
            total += self.loads.barriers.add_gradient(x, gradient)
        pulled = float(np.linalg.norm(gradient))
        total += self.model.energy_gradient(x, gradient)
        if self.pressure is not None:
            total += self.pressure.energy_gradient(x, gradient)
        if self._is_pulled:
            gradient -= self.forces
            total -= float(np.vdot(self.forces, x - self.model.rest))
        reaction = float(np.linalg.norm(gradient[self.still]))
        self.scale = max(reaction + pulled + self._acting, self._floor)
        gradient[self.still] = 0.0
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
