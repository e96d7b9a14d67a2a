"""The live solver: a few quasi-Newton steps each frame from where the last one ended, refactored in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.anatomy.elastic.faults import fault
from twin_nodes.core.anatomy.elastic.foresight import Foresight
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel, Solution
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.preconditioner import Preconditioner
from twin_nodes.core.anatomy.elastic.quasi_newton import History
from twin_nodes.core.anatomy.elastic.refactoring import Refactoring
from twin_nodes.core.anatomy.elastic.rigid_motions import refuse_unheld
from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

SUFFICIENT = 1e-4
MOST_HALVES = 8
PATIENCE = 10  # frames in a row that may be on the way from one good state to another


@dataclass(frozen=True)
class LiveConfig:
    """How the live solver spends its time."""

    tolerance: float = setting(
        'unbalanced forces, as a share of those that act, at which a frame is solved', 1e-3, minimum=1e-9, maximum=0.1
    )
    min_iterations: int = setting('steps of each frame at least, unless the residual is met', 2, minimum=1, maximum=100)
    max_iterations: int = setting('steps of each frame at most', 12, minimum=1, maximum=1000)
    history: int = setting('pairs of the quasi-Newton method', 8, minimum=1, maximum=50)
    foresight: int = setting(
        'last movements from which the next frame is foretold; 0 for none', 3, minimum=0, maximum=10
    )
    max_rank: int = setting(
        'rows by which a factor follows new contacts; beyond, the next factor is waited for',
        96,
        minimum=0,
        maximum=2000,
    )
    refactor: bool = setting('whether the stiffness is factored anew in the background', True)
    refactor_lag: int = setting(
        'frames after which a new factor is taken, waited for if need be, so that replays are alike bit for bit; '
        '0 takes it when it is there', 0, minimum=0, maximum=1000,
    )  # fmt: skip
    refactor_motion: float = setting(
        'movement since the last factor, as a share of the edge of a tetrahedron, that asks for a new one',
        0.02, minimum=0.0, maximum=100.0,
    )  # fmt: skip
    refactor_ahead: float = setting(
        'how far ahead of the moving body its stiffness is factored, in times that a factor takes: it serves from one '
        'such time on to two; 0 for where the body is', 1.5, minimum=0.0, maximum=2.0,
    )  # fmt: skip


class LiveSolver:
    """Follows a body frame by frame.

    Args:
        model: The body.
        config: How time is spent.
    """

    def __init__(self, model: ElasticModel, config: LiveConfig | None = None) -> None:
        self.config = config if config is not None else LiveConfig()
        self.model = model
        self._good = self._at = model.rest.copy()
        self._failures = 0
        self.preconditioner: Preconditioner | None = None
        self.factors, self.refused = 0, 0
        self._history = History(3 * len(model.pattern.points), self.config.history)
        self._foresight = Foresight(self.config.foresight)
        self._edge = float(np.cbrt(6.0 * model.volume.mean()))
        self._refactoring = Refactoring(self.config.refactor_lag, self.config.refactor_ahead)
        self._stale = False

    @property
    def x(self) -> Array:
        """The last good state [m], shape (n, 3)."""
        return self._good

    @x.setter
    def x(self, x: Array) -> None:
        self._good = self._at = x
        self._failures = 0
        self._refactoring.forget()

    @property
    def at(self) -> Array:
        """Where the next frame starts [m], shape (n, 3): the last good state, or one on the way from it to another."""
        return self._at

    def close(self) -> None:
        """End the background thread; the next frame starts a new one."""
        self._refactoring.close()

    def __enter__(self) -> LiveSolver:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the background thread."""
        self.close()

    def reset(self, x: Array | None = None) -> None:
        """Start again from rest or a given state, as when time jumps back."""
        self._refactoring.drop()
        self.x = self.model.rest.copy() if x is None else np.array(x, np.float64)
        self.preconditioner = None
        self._history.clear()
        self._foresight.clear()

    def change(self, model: ElasticModel) -> None:
        """Go on with another body on the same mesh: carved, resected, or of other materials.

        The old factor serves until a new one is there.

        Raises:
            InputError: where the mesh or the fixed nodes are not the same.
        """
        if model.pattern is not self.model.pattern:
            raise InputError('the other body has another mesh or other fixed nodes: make a new solver')
        self.model = model
        self._history.clear()
        self._foresight.clear()
        self._stale = True

    def update(self, loads: Loads, out_of_time: Callable[[], bool] | None = None) -> Solution:
        """Bring the body to the loads of this frame.

        Args:
            loads: What acts now.
            out_of_time: Asked after each step; the best answer so far is returned once it says so.

        Returns:
            The state and how good it is; with status 'failed' the last good one.

        Raises:
            InputError: LOADS_REFUSED; the state stays as it was.
            DegenerateGeometryError: NOT_POSITIVE_DEFINITE where the body is not held whole at the first frame.
        """
        objective = Objective(self.model, loads, self._at)
        self._swap()
        if self.preconditioner is None:
            refuse_unheld(objective, self._at)
            self.preconditioner = Preconditioner(objective, self._at)
            self.factors += 1
        if self.preconditioner.match(loads, self.config.max_rank):
            self._history.clear()
        self._history.pause()
        solution = self._solve(objective, self._foresight.start(loads, self._at), out_of_time)
        reason = fault(objective, solution, self._at, self.config.tolerance)
        if not reason:
            self._failures, self._good = 0, solution.positions
            self._at = self._good
            self._foresight.keep(loads, self._good)
        else:
            solution = self._fail(objective, solution, reason)
        self._refactor(objective)
        return solution

    def _fail(self, objective: Objective, tried: Solution, reason: str) -> Solution:
        """Return the last good state; the next frame goes on from what was tried while that may still come to rest."""
        self._failures += 1
        self._history.clear()
        self._foresight.clear()
        self._refactoring.forget()
        is_on_its_way = tried.status in ('not_converged', 'out_of_time') and self._failures < PATIENCE
        self._at = tried.positions if is_on_its_way and np.isfinite(tried.energy) else self._good
        energy, gradient = objective(self._good)
        residual = objective.residual(gradient)
        last = objective.solution(self._good, 'failed', residual, tried.iterations, energy, 0.0)
        return replace(last, reason=reason)

    def _solve(self, objective: Objective, x: Array, out_of_time: Callable[[], bool] | None) -> Solution:
        config, loads = self.config, objective.loads
        energy, gradient = objective(x)
        if not np.isfinite(energy):  # what was foretold is no state: start from where the body is
            x = self._at
            energy, gradient = objective(x)
        status, moved, iteration = 'not_converged', 0.0, 0
        while True:
            missing = loads.held_at - x[loads.held]
            is_there = not np.any(missing)
            if is_there and objective.residual(gradient) <= config.tolerance:
                status = 'converged'
                break
            if iteration >= config.max_iterations:
                break
            if is_there and iteration >= config.min_iterations and out_of_time is not None and out_of_time():
                status = 'out_of_time'
                break
            found = self._step(objective, x, energy, gradient, missing)
            if found is None:
                status = 'failed' if not is_there else 'not_converged'
                break
            x, energy, gradient, moved = found
            energy, gradient = objective.follow(x, energy, gradient)
            iteration += 1
        return objective.solution(x, status, objective.residual(gradient), iteration, energy, moved)

    def _step(
        self, objective: Objective, x: Array, energy: float, gradient: Array, missing: Array
    ) -> tuple[Array, float, Array, float] | None:
        """Take one step; when none helps, try without the pairs, then with a factor made for this very state."""
        found = self._try(objective, x, energy, gradient, missing)
        if found is None and len(self._history):
            self._history.clear()
            found = self._try(objective, x, energy, gradient, missing)
        if found is None and self.config.refactor and self._renew(objective, x):
            found = self._try(objective, x, energy, gradient, missing)
        return found

    def _try(
        self, objective: Objective, x: Array, energy: float, gradient: Array, missing: Array
    ) -> tuple[Array, float, Array, float] | None:
        direction = self._direction(objective, x, gradient, missing)
        slope = float(np.vdot(gradient, direction))
        if not np.isfinite(slope):
            return None
        lifted = bool(np.any(missing))
        if not lifted and not slope < 0.0:
            return None
        limit = self._most_energy(objective, energy, missing)
        share, norm = 1.0, float(np.linalg.norm(gradient))
        for _ in range(MOST_HALVES):
            tried = x + share * direction
            if share == 1.0:
                tried[objective.loads.held] = objective.loads.held_at
            after, there = objective(tried)
            is_less = after <= (limit if lifted else energy + SUFFICIENT * share * slope)
            is_rounding = objective.is_rounding(share * slope, energy) and float(np.linalg.norm(there)) < norm
            if is_less or (is_rounding and not lifted):
                if not lifted:
                    self._learn(objective, x, tried, there - gradient)
                return tried, after, there, float(np.abs(tried - x).max())
            share *= 0.5
        return None

    def _learn(self, objective: Objective, x: Array, tried: Array, change: Array) -> None:
        """Keep a step and the change of the gradient (n, 3) [N] that it made; that of the barriers is taken off it."""
        barriers, free = objective.loads.barriers, self.model.free_nodes
        if len(barriers):
            barriers.add_gradient(tried, change, -1.0)
            barriers.add_gradient(x, change, 1.0)
            change[objective.still] = 0.0
        self._history.add((tried - x).take(free, axis=0).ravel(), change.take(free, axis=0).ravel())

    def _most_energy(self, objective: Objective, energy: float, missing: Array) -> float:
        """Return the energy [J] above which a step that moves held nodes is no good: that of moving them alone."""
        assert self.preconditioner is not None
        own = np.dot(self.preconditioner.now.own, (missing**2).sum(axis=1))
        return energy + float(own) + objective.scale * float(np.linalg.norm(missing))

    def _direction(self, objective: Objective, x: Array, gradient: Array, missing: Array) -> Array:
        model, loads = self.model, objective.loads
        preconditioner = self.preconditioner
        assert preconditioner is not None
        right = -gradient.take(model.free_nodes, axis=0)
        right[model.number[loads.held]] = preconditioner.now.stiff[:, None] * missing
        if len(loads.barriers):
            gaps = loads.barriers.gaps(x)
            found = preconditioner.yield_to(right.ravel(), self._history, loads.barriers, gaps)
        else:
            found = self._history.apply(preconditioner.solve, right.ravel())
        direction = found.reshape(-1, 3).take(model.number, axis=0)
        direction[objective.still] = 0.0
        direction[loads.held] = missing
        return direction

    def _swap(self) -> None:
        """Take the new factor when it is there, or when it is due."""
        try:
            found = self._refactoring.take()
        except (DegenerateGeometryError, InputError):
            self.refused += 1  # never an indefinite factor: the old one stays
            return
        if found is None:
            return
        self.preconditioner, asked = found
        self.factors += 1
        self._stale = asked.model is not self.model
        self._history.clear()

    def _refactor(self, objective: Objective) -> None:
        """Ask for a new factor when the body has moved on from the old one."""
        self._refactoring.see(self._at)
        if not self.config.refactor or self._refactoring.is_pending or self.preconditioner is None:
            return
        moved = float(np.abs(self._at - self.preconditioner.at).max())
        is_new = self.preconditioner.now is not self.preconditioner.made_for
        if self._stale or is_new or moved > self.config.refactor_motion * self._edge:
            self._refactoring.ask(objective, self._at)

    def _renew(self, objective: Objective, x: Array) -> bool:
        """Factor at this state and wait for it: the frame is late, but the body is not lost."""
        self._refactoring.drop()
        try:
            self.preconditioner = Preconditioner(objective, x)
        except (DegenerateGeometryError, InputError):
            self.refused += 1
            return False
        self.factors += 1
        self._history.clear()
        self._stale = False
        return True
