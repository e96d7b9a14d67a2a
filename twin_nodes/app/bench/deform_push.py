"""Part of bench `deform`: a tool that holds nothing is pressed into the body, slides over it, and comes back.

The tool is a ball of 4 mm radius with a shaft, 12 mm deep, moved by 0.5 mm in each frame at 30 Hz; the contacts are
found as in anatomy_node. The goal is the budget of its frame. Errors are those of frames at rest, against the same
contacts solved to a residual of 1e-7 (that this agrees with Newton's method is tested in test_elastic_barriers). Where
the tool touches lags by a frame: planes are laid where the tissue was when the frame began.

…_push_ms and its p99 are of frames that go on until they are at rest, without a budget. …_push_budget_… are of the same
push with the step budget of anatomy_node, where a late frame ends with its best answer and the next goes on from it:
with the residual that remains, and the error against the same contacts at rest; the goal is that a frame ends before
the next.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from twin_nodes.app.bench.deform_scene import make_scene
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.session_body import edge_of
from twin_nodes.core.anatomy.session_config import ContactConfig, LiveDeformingConfig
from twin_nodes.core.anatomy.session_contact import LEAST_RADIUS, Capsule, Contacts
from twin_nodes.core.anatomy.session_rest import at_rest
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.prompt_process import hurried

RADIUS, SHAFT, DEPTH, STEP = 0.004, 0.05, 0.012, 0.0005
RATE_HZ = 30.0
GOAL_MS = 1e3 * LiveDeformingConfig().budget


@dataclass
class Push:
    """What frames gave: times and CPU times [ms], residuals, errors of some [%], and how many came to rest."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    converged: int = 0


def run_push(tets: int, *, every: int, rate_hz: float = RATE_HZ, budget_ms: float = 0.0) -> Push:
    """Press, slide and come back; compare every so many frames with the exact state.

    Args:
        tets: Number of tetrahedra, about.
        every: Frames between two that are compared.
        rate_hz: At which the frames come; 0 for no pause.
        budget_ms: Of the solver in a frame, as in anatomy_node; 0 for none. States that are late count in the errors.
    """
    model = make_scene(tets).model
    contacts = Contacts(model.mesh.outer_faces, ContactConfig().stiffness * float(model.shear.mean()) * edge_of(model))
    push = Push()
    with LiveSolver(model, LiveConfig()) as live:
        live.update(Loads())  # the node has made its first factor before a tool comes
        for frame, capsule in enumerate(_path(model)):
            begin, cpu = time.perf_counter(), time.thread_time()
            late = partial(_is_over, begin + 1e-3 * budget_ms) if budget_ms > 0.0 else None
            with hurried():
                answer = at_rest(live, contacts, [[capsule]], Loads(), late)
            push.cpu.append(1e3 * (time.thread_time() - cpu))
            push.times.append(1e3 * (time.perf_counter() - begin))
            push.converged += answer.is_converged
            push.residuals.append(answer.residual)
            if (frame + 1) % every == 0 and contacts.states and (answer.is_converged or late is not None):
                push.errors.append(_error_percent(model, contacts, answer.positions))
            if rate_hz > 0.0:
                time.sleep(max(0.0, 1.0 / rate_hz - (time.perf_counter() - begin)))
    return push


def _is_over(end: float) -> bool:
    return time.perf_counter() >= end


def _error_percent(model: ElasticModel, contacts: Contacts, x: Array) -> float:
    """Return how far a state is from the one with a residual of 1e-7, over the size of its displacement [%]."""
    with LiveSolver(model, LiveConfig(tolerance=1e-7, max_iterations=400, refactor=False)) as tight:
        tight.reset(x)
        exact = tight.update(Loads(barriers=contacts.solved))
    if not exact.is_converged:
        raise RuntimeError(f'the reference of a push did not converge: residual {exact.residual:.1e}')
    return float(100.0 * np.linalg.norm(exact.positions - x) / np.linalg.norm(exact.displacement))


def _path(model: ElasticModel) -> list[Capsule]:
    """Return the tool at each frame: down from above the free half, along y, and back half as deep."""
    outer = model.rest[model.mesh.outer_nodes]
    free = outer[outer[:, 0] > np.quantile(outer[:, 0], 0.6)]
    top = free[np.argmax(free[:, 2])]
    ways = [(0.0, -0.002 + STEP * k) for k in range(round((DEPTH + 0.002) / STEP) + 1)]
    ways += [(STEP * k, DEPTH) for k in range(1, 31)]
    ways += [(STEP * (30 - k), DEPTH - 0.5 * STEP * min(k, 24)) for k in range(1, 31)]
    up: Array = np.array([0.0, 0.0, 1.0])
    radius = max(RADIUS, LEAST_RADIUS * edge_of(model))  # a thinner one slips through a triangle
    places = [top + np.array([0.0, along, radius - depth]) for along, depth in ways]
    return [Capsule('tool', place, place + SHAFT * up, radius) for place in places]


def rows(name: str, tets: int, *, quick: bool) -> Iterator[dict[str, object]]:
    """Measure and yield the figures of one size."""
    every = 10 if quick else 3
    found, late = run_push(tets, every=every), run_push(tets, every=every, budget_ms=GOAL_MS)
    figures = (
        ('push_ms', float(np.median(found.times)), 'ms', GOAL_MS),
        ('push_p99_ms', float(np.percentile(found.times, 99)), 'ms', None),
        ('push_cpu_ms', float(np.median(found.cpu)), 'ms', None),
        ('push_error_percent', max(found.errors), '%', 0.1),
        ('push_at_rest_percent', _share(found), '%', None),
        ('push_budget_ms', float(np.median(late.times)), 'ms', None),
        ('push_budget_p99_ms', float(np.percentile(late.times, 99)), 'ms', 1e3 / RATE_HZ),
        ('push_budget_residual_p99', float(np.percentile(late.residuals, 99)), '', None),
        ('push_budget_error_percent', max(late.errors), '%', None),
        ('push_budget_at_rest_percent', _share(late), '%', None),
    )
    for figure, value, unit, goal in figures:
        row: dict[str, object] = {'figure': f'deform_{name}_{figure}', 'value': value, 'unit': unit}
        yield row | ({'ok': True} if goal is None else {'goal': f'<= {goal:g}', 'ok': value <= goal})


def _share(found: Push) -> float:
    return 100.0 * found.converged / len(found.times)
