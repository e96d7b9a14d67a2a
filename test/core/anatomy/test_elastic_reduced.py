"""The reduced model: as good as it says within what it learned, and flagged outside."""

import numpy as np
import pytest
from elastic_bodies import lobe, pull

from twin_nodes.core.anatomy.elastic.loads import Loads, make_springs
from twin_nodes.core.anatomy.elastic.reduced import ReducedModel
from twin_nodes.core.anatomy.elastic.reduced_basis import ReducedConfig
from twin_nodes.core.anatomy.elastic.sampling import nonnegative
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import rotation_exp


def train(model, grasp, count=24, gravity=(0.0, 0.0, 0.0), most=0.022):
    rng = np.random.default_rng(0)
    states, start = [], None
    for amount in np.linspace(0.2, 1.0, count):
        toward = np.array([0.5, 0.3, 0.8]) + 0.25 * rng.normal(size=3)
        loads = Loads(held=grasp, held_at=model.rest[grasp] + most * amount * toward, gravity=np.array(gravity))
        states.append(model.solve(loads, start))
    return states


@pytest.fixture(scope='module')
def learned():
    model, grasp = lobe()
    still = pull(model, grasp, 0.0)
    return model, grasp, ReducedModel(model, still, train(model, grasp), ReducedConfig(modes=10, sampling_error=0.005))


def test_it_follows_the_contact_within_three_thousandths(learned):
    model, grasp, reduced = learned
    assert reduced.sampled < len(model.tets) / 4
    for amount in np.linspace(0.002, 0.02, 10):
        loads = pull(model, grasp, amount)
        answer, exact = reduced.update(loads.held_at), model.solve(loads)
        assert answer.in_span
        assert answer.outside <= reduced.config.margin
        assert np.linalg.norm(answer.positions - exact.positions) < 3e-3 * np.linalg.norm(exact.displacement)
        assert answer.positions[grasp] == pytest.approx(loads.held_at, abs=0.0)


@pytest.mark.parametrize('amount', [-0.02, 0.06])
def test_a_contact_beyond_the_training_is_flagged(learned, amount):
    model, grasp, reduced = learned
    reduced.reset()
    assert not reduced.update(pull(model, grasp, amount).held_at).in_span
    assert reduced.update(pull(model, grasp, 0.01).held_at).in_span


@pytest.mark.parametrize('degrees', [3.0, 10.0, 90.0])
def test_a_contact_that_turns_as_none_did_in_training_is_flagged(learned, degrees):
    model, grasp, reduced = learned
    centre, turn = model.rest[grasp].mean(axis=0), rotation_exp(np.radians([0.0, 0.0, degrees]))
    toward = pull(model, grasp, 0.01).held_at - model.rest[grasp]
    turned = (model.rest[grasp] - centre) @ turn.T + centre + toward
    answer, exact = reduced.update(turned), model.solve(Loads(held=grasp, held_at=turned))
    assert np.linalg.norm(answer.positions - exact.positions) > 3e-3 * np.linalg.norm(exact.displacement)
    assert not answer.in_span
    assert reduced.update(model.rest[grasp] + toward).in_span


def test_rest_is_rest(learned):
    model, grasp, reduced = learned
    reduced.reset()
    answer = reduced.update(model.rest[grasp])
    assert answer.positions == pytest.approx(model.rest, abs=1e-6)


def test_gravity_is_learned_too():
    model, grasp = lobe(cells=(4, 3, 3))
    down = np.array([0.0, 0.0, -9.81])
    reduced = ReducedModel(
        model, Loads(held=grasp, held_at=model.rest[grasp], gravity=down), train(model, grasp, gravity=down),
        ReducedConfig(modes=8, sampling_error=0.002),
    )  # fmt: skip
    loads = Loads(held=grasp, held_at=pull(model, grasp, 0.015).held_at, gravity=down)
    answer, exact = reduced.update(loads.held_at), model.solve(loads)
    assert np.linalg.norm(answer.positions - exact.positions) < 0.01 * np.linalg.norm(exact.displacement)


def test_few_weights_give_the_sum():
    rng = np.random.default_rng(2)
    matrix = np.abs(rng.normal(size=(12, 400))) * rng.choice([-1.0, 1.0], (12, 1))
    right = matrix.sum(axis=1)
    weights = nonnegative(matrix, right, 1e-6)
    assert (weights >= 0.0).all()
    assert np.count_nonzero(weights) <= 12
    assert matrix @ weights == pytest.approx(right, rel=1e-5)
    assert not nonnegative(matrix, -np.sign(matrix[:, 0]), 1e-6).any()


def test_bad_training_and_contacts_are_refused(learned):
    model, grasp, reduced = learned
    still, good = pull(model, grasp, 0.0), train(model, grasp, 4)
    poor = model.solve(pull(model, grasp, 0.02), max_iterations=1)
    rest = model.solve(still)
    spring = Loads(held=grasp, held_at=still.held_at, springs=make_springs([0], [[0, 0, 0]], 1.0))
    for loads, states, said in (
        (still, good[:3], '3 states'),
        (still, [*good, poor], '1 of them not converged'),
        (Loads(), good, 'none are held'),
        (spring, good, 'not reduced'),
        (still, [rest] * 5, 'never move'),
    ):
        with pytest.raises(InputError, match=said) as caught:
            ReducedModel(model, loads, states)
        assert caught.value.code == 'TRAINING_REFUSED'
    with pytest.raises(InputError, match='held_at'):
        reduced.update(np.full((len(grasp), 3), np.nan))
