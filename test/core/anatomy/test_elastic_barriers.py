"""Planes that push one way: which of them push, and where the body comes to rest on them."""

import numpy as np
import pytest
from elastic_bodies import lobe
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.elastic.barriers import Barriers, pushes
from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads, make_springs
from twin_nodes.core.errors import InputError

STIFF = 2e4
STEADY = LiveConfig(refactor_lag=4)  # the same on a busy machine


@settings(deadline=None)
@example(seed=160, count=25, rank=15)  # blocks of places come and go for ever
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30), rank=st.integers(1, 30))
def test_each_pushes_or_stands_off_and_none_pulls(seed, count, rank):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count, rank))
    compliance = root @ root.T + 10.0 ** rng.uniform(-4.0, 0.0) * np.eye(count)
    gaps = rng.normal(size=count)
    push = pushes(compliance, gaps)
    left = gaps + compliance @ push
    assert (push >= 0.0).all() and (left > -1e-6).all()
    assert np.abs(push * left).max() < 1e-5 * (1.0 + np.abs(push).max())
    again = pushes(compliance, gaps, rng.random(count) < 0.5)  # where the search begins does not matter
    assert np.abs(compliance @ (again - push)).max() < 1e-6


def test_a_push_with_pairs_ends_where_one_without_them_does():
    model, _ = lobe()
    ends = []
    for history in (1, 5):
        config = LiveConfig(refactor_lag=4, history=history, tolerance=1e-6, max_iterations=120)
        with LiveSolver(model, config) as live:
            for depth in (0.0, 0.004, 0.008):
                answer = live.update(Loads(barriers=plate(model, depth)))
        assert answer.is_converged
        ends.append(answer)
    assert np.linalg.norm(ends[0].positions - ends[1].positions) < 1e-4 * np.linalg.norm(ends[0].displacement)
    assert ends[1].iterations < ends[0].iterations


def test_a_factor_of_this_very_state_needs_few_steps_where_a_tool_presses():
    model, _ = lobe()
    fine = {'tolerance': 1e-5, 'max_iterations': 60}
    with LiveSolver(model, LiveConfig(refactor_lag=1, **fine)) as live:
        for depth in np.linspace(0.0, 0.014, 9):
            pressed = live.update(Loads(barriers=plate(model, depth)))
    with LiveSolver(model, LiveConfig(refactor=False, **fine)) as live:
        live.reset(pressed.positions)
        answer = live.update(Loads(barriers=plate(model, 0.0145)))
    assert answer.is_converged and answer.iterations <= 4  # 5 with a stiffness made positive by tetrahedron


def plate(model, depth, *, tilt=0.1):
    """Planes above the free end of the lobe, pressed into it by a depth [m]."""
    faces = model.mesh.outer_faces.astype(np.int64)
    middles = model.rest[faces].mean(axis=1)
    faces = faces[(middles[:, 2] > 0.0599) & (middles[:, 0] > 0.06)]
    down = np.array([tilt, 0.0, -1.0]) / np.hypot(tilt, 1.0)
    targets = np.broadcast_to([0.12, 0.05, 0.06 - depth], (len(faces), 3))
    return Barriers(
        faces, np.full(faces.shape, 1.0 / 3.0), np.broadcast_to(down, targets.shape), targets, STIFF, targets[0]
    )


def test_the_body_rests_on_a_plate_as_the_exact_solver_says():
    model, _ = lobe()
    with LiveSolver(model, STEADY) as live:
        for depth in np.linspace(-0.004, 0.012, 9):
            barriers = plate(model, depth)
            for _ in range(3):
                answer = live.update(Loads(barriers=barriers))
            assert answer.status == 'converged'
    on = barriers.gaps(answer.positions) < 0.0
    assert 0 < on.sum() < len(on)  # it touches with a part
    push = barriers.push[on]
    exact = model.solve(
        Loads(
            springs=make_springs(
                barriers.nodes[on], barriers.targets[on], STIFF * push[:, :, None] * push[:, None, :],
                weights=barriers.weights[on],
            )
        )
    )  # fmt: skip
    assert exact.is_converged and (barriers.gaps(exact.positions)[~on] > -1e-6).all()
    assert np.linalg.norm(answer.positions - exact.positions) < 1e-3 * np.linalg.norm(exact.displacement)


def test_a_plate_that_goes_away_does_not_pull():
    model, _ = lobe()
    with LiveSolver(model, STEADY) as live:
        for depth in (0.0, 0.006, 0.012):
            pressed = live.update(Loads(barriers=plate(model, depth)))
        assert np.abs(pressed.displacement).max() > 0.008
        for depth in (0.006, 0.0, *[-0.02] * 6):
            free = live.update(Loads(barriers=plate(model, depth)))
    assert free.is_converged and np.abs(free.displacement).max() < 1e-4


def test_barriers_go_with_a_grasp_that_the_factor_does_not_know():
    model, grasp = lobe()
    with LiveSolver(model, STEADY) as live:
        live.update(Loads(barriers=plate(model, 0.004)))
        for amount in (0.001, 0.002, 0.003, 0.003, 0.003):
            held = model.rest[grasp] + [amount, 0.0, -2.0 * amount]
            answer = live.update(Loads(grasp, held, barriers=plate(model, 0.004)))
        assert answer.is_converged
        np.testing.assert_array_equal(answer.positions[grasp], held)
        assert plate(model, 0.004).gaps(answer.positions).min() > -0.003


def test_the_exact_solver_refuses_them_and_nan_is_refused():
    model, _ = lobe()
    with pytest.raises(InputError, match='as springs'):
        model.solve(Loads(barriers=plate(model, 0.002)))
    with LiveSolver(model, STEADY) as live, pytest.raises(InputError, match='NaN or Inf'):
        live.update(Loads(barriers=plate(model, np.nan)))
