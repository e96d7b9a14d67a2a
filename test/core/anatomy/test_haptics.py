"""Tissue in jaws: which patch is held, when the reduced model may speak, and what the full one has to do with it."""

import numpy as np
import pytest
from live_bodies import front_of, organ_body, tip

from twin_nodes.core.anatomy.elastic.reduced_patch import PatchConfig, learn_patch
from twin_nodes.core.anatomy.haptics import CODES, HapticConfig, HapticSession, HapticState
from twin_nodes.core.anatomy.session_config import GraspConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.codes import CODES as KNOWN

QUICK = PatchConfig(reach=0.008, turn=0.05, drags=10, steps=2, modes=8)


@pytest.fixture(scope='module')
def learned():
    """Two patches of one organ, by name."""
    body = organ_body(500)
    model, outer = body.model, body.model.mesh.outer_nodes
    places = {'front': front_of(body), 'side': model.rest[outer[np.argmax(model.rest[outer, 0])]]}
    nodes = {
        name: take(model.rest, outer, tip(place), body.held, GraspConfig()).nodes for name, place in places.items()
    }
    return model, {name: learn_patch(model, held, np.zeros(3), QUICK) for name, held in nodes.items()}


@pytest.fixture
def session(learned):
    model, patches = learned
    return HapticSession(patches, model.mesh.outer_nodes, HapticConfig())


def middle(learned, name):
    model, patches = learned
    return model.rest[patches[name].basis.held].mean(axis=0)


def test_the_nearest_patch_is_held_and_pulls_back(learned, session):
    for name in ('front', 'side'):
        place = middle(learned, name)
        assert session.update(1, tip(place)).state is HapticState.FREE
        session.set_grip(closed=True)
        first = session.update(2, tip(place + np.array([0.001, 0.0, 0.0])))  # it is taken as it lies
        assert first.state is HapticState.REDUCED and first.patch == name
        assert np.linalg.norm(first.force) < 1e-6
        pulled = session.update(3, tip(place + np.array([0.001, -0.004, 0.0])))
        assert pulled.force[1] > 0.05 and not pulled.is_full
        held = np.isin(pulled.touched.nodes, learned[1][name].basis.held)
        np.testing.assert_allclose(pulled.touched.displacement[held], [[0.0, -0.004, 0.0]] * held.sum(), atol=1e-12)
        session.set_grip(closed=False)
    assert not session.update(4, tip(place)).force.any()


def test_what_closes_elsewhere_stays_elsewhere_until_it_closes_anew(learned, session):
    session.set_grip(closed=True)
    assert session.update(1, tip(middle(learned, 'front') + 0.005)).state is HapticState.ELSEWHERE
    assert session.update(2, tip(middle(learned, 'front'))).state is HapticState.ELSEWHERE
    session.set_grip(closed=False)
    session.set_grip(closed=True)
    assert session.update(3, tip(middle(learned, 'front'))).state is HapticState.REDUCED
    session.lose()
    assert session.update(4, tip(middle(learned, 'front'))).state is HapticState.ELSEWHERE
    session.reset()
    assert session.update(5, tip(middle(learned, 'front'))).state is HapticState.FREE


def test_the_full_model_is_compared_at_its_stamp_in_as_many_pieces_as_it_comes(learned, session):
    rest, place = learned[0].rest, middle(learned, 'front')
    session.set_grip(closed=True)
    answers = {stamp: session.update(stamp, tip(place + np.array([0.0, -1e-4 * stamp, 0.0]))) for stamp in range(1, 30)}
    nodes = np.arange(len(rest))
    full = rest.copy()
    full[answers[10].touched.nodes] = answers[10].touched.positions
    assert session.compare(10, nodes, full) == 0.0  # a later pose has nothing to do with it
    full[answers[10].touched.nodes[0]] += [0.0, 0.0, 0.003]
    half = int(answers[10].touched.nodes[0]) + 1
    session.compare(10, nodes[:half], full[:half])
    assert session.apart == pytest.approx(0.003)
    beyond = nodes > answers[10].touched.nodes.max()
    session.compare(10, nodes[beyond], full[beyond])  # a piece without a node of the region says nothing
    assert session.apart == pytest.approx(0.003)
    assert session.compare(999, nodes, rest) == pytest.approx(0.003)  # nor a stamp of which nothing was said
    assert session.update(30, tip(place)).state is HapticState.APART
    full[answers[10].touched.nodes] = answers[10].touched.positions
    session.compare(10, nodes, full)
    assert session.update(31, tip(place)).state is HapticState.REDUCED


def test_an_organ_that_was_moved_before_the_grasp_is_apart(learned, session):
    rest = learned[0].rest
    session.compare(0, np.arange(len(rest)), rest + np.array([0.0, 0.002, 0.0]))
    session.set_grip(closed=True)
    assert session.update(1, tip(middle(learned, 'front'))).state is HapticState.APART


def test_beyond_its_span_there_is_no_force(learned, session):
    session.set_grip(closed=True)
    place = middle(learned, 'front')
    session.update(1, tip(place))
    far = session.update(2, tip(place + np.array([0.0, -0.02, 0.0])))
    assert far.state is HapticState.OUTSIDE and far.touched is None and far.outside > 0.1


def test_every_state_has_a_code_that_is_explained():
    assert set(CODES) == set(HapticState)
    assert all(code == 'OK' or code in KNOWN for code in CODES.values())
