"""States of rest of an ensemble: one body, many materials, solved together on torch.

L-BFGS (Nocedal 1980) for all members at once, with the factor of one member's stiffness as the first guess of all
(Liu, Bouaziz, Kavan 2017): materials that differ by factors have stiffnesses that differ by little more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic_torch.agreement import check_agreement
from twin_nodes.core.anatomy.elastic_torch.bodies import TorchBodies
from twin_nodes.core.anatomy.elastic_torch.device import import_torch
from twin_nodes.core.anatomy.elastic_torch.law_tensors import Tensor
from twin_nodes.core.anatomy.material.ensembles import EnsembleSolution
from twin_nodes.core.errors import DegenerateGeometryError, InputError

MEMORY, BACKTRACKS, SUFFICIENT = 10, 12, 1e-4
MOST_UNKNOWNS = 30_000  # the shared factor is dense: 7 GB in f64


def solve_on_torch(
    model: ElasticModel,
    materials: Sequence[Material | Mapping[int, Material]],
    loads: Loads,
    *,
    device: str = '',
    tolerance: float = 1e-8,
    max_iterations: int = 300,
) -> EnsembleSolution:
    """Find the states of rest of a body for each of several sets of materials, under the same loads.

    The body itself is solved first, exactly, as the start; its materials should lie in the middle of the others.

    Args:
        model: The body, with materials of the same kinds of law.
        materials: One set for each member.
        loads: What acts; pressure follows faces and is not handled here.
        device: Of torch; the GPU when there is one, else the CPU, when left out.
        tolerance: Residual to reach.
        max_iterations: Steps at most.

    Raises:
        ConfigError: torch is not installed, or laws are of other kinds.
        InputError: ENSEMBLE_REFUSED for pressure, or a body too large for a dense factor.
        DegenerateGeometryError: ENSEMBLE_REFUSED where the body itself finds no rest, or the device computes something
            else than the compiled kernels.
    """
    if loads.pressure is not None:
        raise InputError('ensemble: pressure follows the faces; solve members one by one', code='ENSEMBLE_REFUSED')
    bodies = TorchBodies(model, device)
    check_agreement(bodies)
    solver = _Solver(bodies, materials, loads)
    torch = import_torch()
    with torch.no_grad():
        return solver.run(tolerance, max_iterations)


class _Solver:
    def __init__(
        self, bodies: TorchBodies, materials: Sequence[Material | Mapping[int, Material]], loads: Loads
    ) -> None:
        torch = import_torch()
        model = bodies.model
        self.bodies, self.loads = bodies, loads
        self.parameters = bodies.parameters_of(materials)
        objective = Objective(model, loads, model.rest)
        if 3 * int(objective.active.sum()) > MOST_UNKNOWNS:
            raise InputError(
                f'ensemble: {3 * int(objective.active.sum())} unknowns, at most {MOST_UNKNOWNS}: coarsen the mesh',
                code='ENSEMBLE_REFUSED',
            )
        centre = model.solve(loads)
        if not centre.is_converged:
            raise DegenerateGeometryError('ensemble: the body itself finds no rest', code='ENSEMBLE_REFUSED')
        self.start = bodies.tensor(centre.positions)
        self.active = torch.as_tensor(np.flatnonzero(objective.active), device=bodies.device)
        self.still = torch.as_tensor(~objective.active, device=bodies.device)
        self.forces = bodies.tensor(objective.forces)
        rows = np.repeat(objective.active[model.free], 3)
        hessian = model.hessian(centre.positions, project=True, loads=loads)[rows][:, rows].toarray()
        self.factor = torch.linalg.cholesky(bodies.tensor(hessian))
        self.level = self._levels(model, materials)
        self.floor = objective._floor

    def _levels(self, model: ElasticModel, materials: Sequence[Material | Mapping[int, Material]]) -> Tensor:
        """Return how much stiffer each member is than the body, on the whole, shape (b, 1)."""
        share = model.volume * model.weight
        whole = float(np.dot(model.shear, share))
        each = [float(np.dot(model.with_materials(one).shear, share)) / whole for one in materials]
        return self.bodies.tensor(np.array(each))[:, None]

    def value(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies (b,), gradients of the nodes that move (b, 3 a), and the forces that act (b,)."""
        torch = import_torch()
        energy, gradient = self.bodies.energy_gradient(x, self.parameters[rows])
        pulled = torch.zeros_like(energy)
        springs = self.loads.springs
        if len(springs):
            nodes = torch.as_tensor(springs.nodes, device=x.device)
            weights, k = self.bodies.tensor(springs.weights), self.bodies.tensor(springs.stiffness)
            gap = (weights[None, :, :, None] * x[:, nodes]).sum(2) - self.bodies.tensor(springs.targets)
            pull = (k @ gap[..., None])[..., 0]
            energy = energy + 0.5 * (pull * gap).sum((1, 2))
            onto = weights[None, :, :, None] * pull[:, :, None, :]
            added = torch.zeros_like(gradient).index_add_(1, nodes.reshape(-1), onto.reshape(len(x), -1, 3))
            pulled = added.flatten(1).norm(dim=1)
            gradient = gradient + added
        gradient = gradient - self.forces
        energy = energy - (self.forces * (x - self.bodies.rest)).sum((1, 2))
        scale = gradient[:, self.still].flatten(1).norm(dim=1) + pulled + self.forces.norm()
        return energy, gradient[:, self.active].flatten(1), torch.clamp(scale, min=self.floor)

    def precondition(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """Return the first guess of K⁻¹ times vectors (b, 3 a)."""
        solved = import_torch().cholesky_solve(vectors.T, self.factor).T
        return solved / self.level[rows]

    def run(self, tolerance: float, max_iterations: int) -> EnsembleSolution:
        """Step all members until each has converged or none moves; those that have are left alone."""
        torch = import_torch()
        count = len(self.parameters)
        x = self.start[None].repeat(count, 1, 1)
        every = torch.arange(count, device=x.device)
        energy, gradient, scale = self.value(x, every)
        pairs: list[tuple[Tensor, Tensor]] = []
        stuck = torch.zeros(count, dtype=torch.bool, device=x.device)
        iteration = 0
        while iteration < max_iterations:
            rows = every[(gradient.norm(dim=1) > tolerance * scale) & ~stuck]
            if not len(rows):
                break
            iteration += 1
            direction = self._direction(gradient, pairs, rows)
            step, kept = self._search(x, energy, gradient, direction, rows)
            stuck[rows[~kept]] = True
            rows, step = rows[kept], step[kept]
            if not len(rows):
                continue
            moved = x[rows]
            moved[:, self.active] += step.reshape(len(rows), -1, 3)
            after = self.value(moved, rows)
            change, turned = torch.zeros_like(gradient), torch.zeros_like(gradient)
            change[rows], turned[rows] = step, after[1] - gradient[rows]
            pairs = [*pairs, (change, turned)][-MEMORY:]
            x[rows], energy[rows], gradient[rows], scale[rows] = moved, *after
        residual = gradient.norm(dim=1) / scale
        return EnsembleSolution(
            x.cpu().numpy(),
            residual.cpu().numpy(),
            (residual <= tolerance).cpu().numpy(),
            iteration,
            str(self.bodies.device),
        )

    def _direction(self, gradient: Tensor, pairs: list[tuple[Tensor, Tensor]], rows: Tensor) -> Tensor:
        """Return -H g by the two loops over the last pairs; a pair that does not bend upwards counts nothing."""
        torch = import_torch()
        q = gradient[rows].clone()
        kept: list[tuple[Any, Any, Any, Any]] = []
        for change, turned in reversed(pairs):
            s, y = change[rows], turned[rows]
            bend = (s * y).sum(1, keepdim=True)
            rho = torch.where(bend > 1e-14 * s.norm(dim=1, keepdim=True) * y.norm(dim=1, keepdim=True), 1.0 / bend, 0.0)
            rho = torch.nan_to_num(rho, nan=0.0, posinf=0.0, neginf=0.0)
            alpha = rho * (s * q).sum(1, keepdim=True)
            q = q - alpha * y
            kept.append((s, y, rho, alpha))
        r = self.precondition(q, rows)
        for s, y, rho, alpha in reversed(kept):
            r = r + s * (alpha - rho * (y * r).sum(1, keepdim=True))
        return -r

    def _search(
        self, x: Tensor, energy: Tensor, gradient: Tensor, direction: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Halve steps until each member's energy falls enough (Armijo 1966), or its forces fall within rounding."""
        torch = import_torch()
        slope = (direction * gradient[rows]).sum(1)
        uphill = slope >= 0.0
        direction = torch.where(uphill[:, None], -self.precondition(gradient[rows], rows), direction)
        slope = (direction * gradient[rows]).sum(1)
        share = torch.ones_like(slope)
        kept = torch.zeros_like(uphill)
        norm, before = gradient[rows].norm(dim=1), energy[rows]
        rounding = 1e-12 * (before.abs() + slope.abs())
        for _ in range(BACKTRACKS):
            open_ = torch.nonzero(~kept)[:, 0]
            if not len(open_):
                break
            tried = x[rows[open_]]
            step = share[open_, None] * direction[open_]
            tried[:, self.active] += step.reshape(len(open_), -1, 3)
            after, there, _ = self.value(tried, rows[open_])
            change = share[open_] * slope[open_]
            fine = after <= before[open_] + SUFFICIENT * change
            tiny = (change.abs() <= rounding[open_]) | ((after - before[open_]).abs() <= rounding[open_])
            fine = fine | (tiny & (there.norm(dim=1) < norm[open_]))
            kept[open_[fine]] = True
            share[open_[~fine]] *= 0.5
        return share[:, None] * direction, kept
