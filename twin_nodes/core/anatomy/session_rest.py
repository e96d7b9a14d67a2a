"""Brings a body to rest under what holds it and what pushes it: the contacts are found and let go until they stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from twin_nodes.core.anatomy.elastic.live import LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, Springs
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
    """Solve with contacts that change, until no contact pulls and no other triangle is touched."""
    contacts.update(capsules, solver.x, loads.held)
    for _ in range(_PASSES if last else 1):
        pushed = replace(loads, springs=_joined(loads.springs, contacts.springs()))
        solution = solver.update(pushed, out_of_time)
        if not capsules or solution.status == 'failed':
            return solution
        released = contacts.release(solution.positions)
        if not (contacts.update(capsules, solution.positions, loads.held) or released):
            return solution
        if out_of_time is not None and out_of_time():
            return replace(solution, status='out_of_time')
    return solution if not last else replace(solution, status='not_converged')


def _joined(first: Springs, second: Springs) -> Springs:
    if not len(second):
        return first
    if not len(first):
        return second
    return Springs(
        np.concatenate([first.nodes, second.nodes]), np.concatenate([first.weights, second.weights]),
        np.concatenate([first.targets, second.targets]), np.concatenate([first.stiffness, second.stiffness]),
    )  # fmt: skip
