"""Factors made ahead: fewer steps on a steady way, no guess after a jump, and never one of a state that cannot be."""

import numpy as np
import pytest
from elastic_bodies import lobe, pull

from twin_nodes.core.anatomy.elastic.live import LiveConfig, LiveSolver
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.refactoring import Refactoring

LAG, FRAMES = 6, 40


def objective_of(model):
    return Objective(model, Loads(), model.rest)


def after(model, states, *, ahead=1.5, lag=LAG):
    """The state for which a factor is made, once the body went through states."""
    refactoring = Refactoring(lag, ahead)
    for x in states:
        refactoring.see(x)
    refactoring.ask(objective_of(model), states[-1])
    for _ in range(lag):
        found = refactoring.take()
    refactoring.close()
    return found[0].at


def along(model, amounts):
    way = model.rest * [0.02, 0.0, 0.0]
    return [model.rest + amount * way for amount in amounts]


def test_a_drag_takes_fewer_steps_and_ends_alike():
    model, grasp = lobe('nearly_incompressible')
    steps, ends = {}, {}
    for ahead in (0.0, 1.5):
        with LiveSolver(model, LiveConfig(refactor_lag=LAG, refactor_ahead=ahead)) as live:
            answers = [
                live.update(pull(model, grasp, 0.04 * (0.5 - 0.5 * np.cos(np.pi * (k + 1) / FRAMES))))
                for k in range(FRAMES)
            ]
        assert all(answer.is_converged for answer in answers)
        steps[ahead], ends[ahead] = sum(answer.iterations for answer in answers), answers[-1]
    assert steps[1.5] < 0.9 * steps[0.0]
    assert np.abs(ends[1.5].positions - ends[0.0].positions).max() < 1e-3 * np.abs(ends[0.0].displacement).max()


def test_a_steady_way_is_gone_on_with():
    model, _ = lobe(cells=(3, 3, 3))
    states = along(model, np.arange(LAG + 1.0))
    expected = along(model, [LAG + 1.5 * LAG])[0]
    np.testing.assert_allclose(after(model, states), expected, atol=1e-12)
    assert np.array_equal(after(model, states, ahead=0.0), states[-1])


@pytest.mark.parametrize(
    'amounts', [[0.0] * LAG + [6.0], [0, 0, 0, 0, 6, 6, 6, 6], [0, 1, 2, 3, 2, 1, 0], [4.0], [0.0, 1.0]],
    ids=['jump now', 'jump before', 'turned back', 'one frame', 'two frames'],
)  # fmt: skip
def test_where_the_way_was_not_steady_the_body_is_taken_where_it_is(amounts):
    model, _ = lobe(cells=(3, 3, 3))
    states = along(model, amounts)
    assert np.array_equal(after(model, states), states[-1])


def test_a_way_that_slows_down_is_gone_on_with_and_one_that_speeds_up_by_less():
    model, _ = lobe(cells=(3, 3, 3))
    pace = 1.5 * LAG / LAG
    slower = along(model, [0, 2, 4, 6, 7, 8, 9])
    np.testing.assert_allclose(after(model, slower), along(model, [9 + pace * 9])[0], atol=1e-12)
    faster = along(model, [0, 1, 2, 3, 5, 7, 9])
    np.testing.assert_allclose(after(model, faster), along(model, [9 + 0.5 * pace * 9])[0], atol=1e-12)


def test_no_factor_is_made_of_tissue_turned_inside_out():
    model, _ = lobe(cells=(3, 3, 3))
    flat = model.rest * [0.0, 0.0, -1.0]
    states = [model.rest + 0.08 * k * flat for k in range(LAG + 1)]
    at = after(model, states)
    least = model.volume_ratios(states[-1]).min()
    assert np.array_equal(at, states[-1])
    gentle = [model.rest + 0.03 * k * flat for k in range(LAG + 1)]  # half the way is sound, the whole is not
    at = after(model, gentle)
    assert model.volume_ratios(at).min() > 0.5 * model.volume_ratios(gentle[-1]).min() > 0.5 * least
    assert not np.array_equal(at, gentle[-1])


def test_after_a_jump_that_was_told_nothing_is_foretold():
    model, grasp = lobe()
    with LiveSolver(model, LiveConfig(refactor_lag=3)) as live:
        for k in range(8):
            live.update(pull(model, grasp, 0.002 * k))
        live.x = model.rest.copy()
        assert live._refactoring._way() is None
        live.update(pull(model, grasp, 0.0))
        assert live._refactoring._way() is None
