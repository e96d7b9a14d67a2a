"""Brings a body to rest under what holds it and what pushes it: the solver finds the forces, this the places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from twin_nodes.core.anatomy.elastic.live import LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import Solution
from twin_nodes.core.anatomy.session_contact import Capsule, Contacts

_PASSES = 3


def at_rest(
    solver: LiveSolver,
    contacts: Contacts,
    steps: Sequence[Sequence[Capsule]],
    loads: Loads,
    out_of_time: Callable[[], bool] | None,
) -> Solution:
    """Return the state of rest.

    Args:
        solver: Knows where the body is.
        contacts: Changed in place.
        steps: The tools that push, on their way to where they are now; one step at least.
        loads: What acts beside them.
        out_of_time: Asked after each step of the solver; the best answer so far is returned once it says so.
    """
    for step, capsules in enumerate(steps, 1):
        solution = _settle(solver, contacts, capsules, loads, out_of_time, last=step == len(steps))
        if solution.status == 'failed':
            break
    return solution


def _settle(
    solver: LiveSolver,
    contacts: Contacts,
    capsules: Sequence[Capsule],
    loads: Loads,
    out_of_time: Callable[[], bool] | None,
    *,
    last: bool,
) -> Solution:
    """Solve for the planes that are near, until the body came to rest where they were looked for."""
    contacts.update(capsules, solver.at, loads.held)
    for _ in range(_PASSES if last else 1):
        solution = solver.update(replace(loads, barriers=contacts.barriers()), out_of_time)
        contacts.say(solution.positions)
        if not capsules or solution.status == 'failed':
            return solution
        if not contacts.update(capsules, solution.positions, loads.held):
            return solution
        if out_of_time is not None and out_of_time():
            return replace(solution, status='out_of_time')
    return solution if not last else replace(solution, status='not_converged')
