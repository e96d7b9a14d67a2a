"""Tools that push, tissue that is taken away, and pressure, on a body that deforms live."""

from dataclasses import replace

import numpy as np
import pytest
from live_bodies import CONFIG, MS, TARGETS, front_of, organ_body, tip

from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.anatomy.session_config import ContactConfig
from twin_nodes.core.errors import ConfigError, InputError

RADIUS = 0.008  # not below 0.4 of the edge of a tetrahedron of these bodies
PUSHING = replace(CONFIG, contact=ContactConfig(radius=RADIUS, shaft_length=0.03))
DOWN = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # the shaft points away from the front


@pytest.fixture(scope='module')
def body():
    return organ_body(1800, config=PUSHING)


@pytest.fixture
def session(body):
    found = AnatomySession(body, TARGETS, {}, PUSHING, replay=True, pushers=('probe',))
    yield found
    found.close()


def beside(body, depth, along=0.0):
    """Return the place so deep below the foremost one, and to the side of it [m], shape (3,)."""
    return front_of(body) + np.array([along, depth, 0.0])


def at(place):
    pose = tip(place)
    pose[:3, :3] = DOWN
    return pose


def press(session, body, depths, *, start_ns=0):
    """Move the probe along the depths below the foremost place [m]; return the last frame, at rest."""
    for step, depth in enumerate(depths, 1):
        session.add_tip('probe', start_ns + step * 33 * MS, at(beside(body, depth)), 1e-8)
        frame = session.step()
    for _ in range(20):
        frame = session.step()
        if frame.solution.is_converged:
            break
    return frame


def away(session, place):
    """How far the surface is from the probe's axis [m], by looking at points all over the triangles."""
    start, end = place - np.array([0.0, RADIUS, 0.0]), place - np.array([0.0, RADIUS + 0.03, 0.0])
    shares = np.array([(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)]) / 12.0
    points = np.einsum('sk,fki->fsi', shares, session.positions[session.left.faces]).reshape(-1, 3)
    along = np.clip((points - start) @ (end - start) / np.sum((end - start) ** 2), 0.0, 1.0)
    return float(np.linalg.norm(points - start - along[:, None] * (end - start), axis=1).min())


def test_a_push_moves_the_tissue_out_of_the_tool_and_it_comes_back(body, session):
    frame = press(session, body, np.arange(-0.002, 0.0121, 0.001))
    assert frame.solution.is_converged
    # a contact of 300 times the tissue's stiffness gives way by about a hundredth of the indentation
    assert away(session, beside(body, 0.012)) == pytest.approx(RADIUS, abs=2e-4)
    pushed = frame.pushed['probe']
    assert pushed.places >= 1 and pushed.force[1] > 0.05
    # at rest the held and supported tissue bears what the tool gives
    support = body.model.support[:, None] * frame.solution.displacement
    np.testing.assert_allclose(support.sum(axis=0), pushed.force, atol=0.02 * np.linalg.norm(pushed.force))
    back = press(session, body, [0.009, 0.006, 0.003, 0.0, -0.003], start_ns=10_000 * MS)
    assert not back.pushed and np.abs(back.solution.displacement).max() < 1e-5


def test_the_state_is_that_of_the_exact_solver_under_the_same_contacts(body, session):
    frame = press(session, body, np.arange(-0.001, 0.0081, 0.001))
    exact = body.model.solve(
        Loads(springs=session._contacts.springs(frame.solution.positions)), frame.solution.positions
    )
    assert exact.is_converged
    assert np.abs(exact.positions - frame.solution.positions).max() < 2e-4


def test_a_push_from_afar_in_one_frame_does_not_jump_through_the_surface(body, session):
    frame = press(session, body, [-0.004, 0.012])
    assert frame.pushed['probe'].force[1] > 0.05
    assert away(session, beside(body, 0.012)) > RADIUS - 1e-3


def test_a_tool_slides_along_the_surface_without_friction(body, session):
    press(session, body, np.arange(-0.002, 0.0061, 0.001))
    for step in range(1, 16):
        session.add_tip('probe', (1000 + 33 * step) * MS, at(beside(body, 0.006, 0.001 * step)), 1e-8)
        frame = session.step()
    push = np.array(frame.pushed['probe'].force)
    assert frame.pushed['probe'].places and push[1] > 0.6 * np.linalg.norm(push)
    session.lose('probe')
    assert np.abs(session.step().solution.displacement).max() < 1e-4


def test_a_tool_that_rests_leaves_the_tissue_at_rest(body, session):
    press(session, body, np.arange(-0.002, 0.0121, 0.001))
    places = []
    for step in range(1, 31):
        session.add_tip('probe', (1000 + 33 * step) * MS, at(beside(body, 0.012)), 1e-8)
        frame = session.step()
        places.append(frame.solution.positions)
    assert frame.solution.is_converged
    assert np.abs(places[-1] - places[-8]).max() < 1e-5  # it does not tilt to and fro


def test_a_tool_that_does_not_push_or_holds_moves_nothing_by_contact(body):
    session = AnatomySession(body, TARGETS, {}, PUSHING, replay=True)
    session.add_tip('probe', MS, at(beside(body, 0.004)), 1e-8)
    assert not np.any(session.step().solution.displacement) and not session.may_push
    session.close()


def test_beyond_a_plane_nothing_is_left(body, session):
    volume = session.resect(np.array([1.0, 0.0, 0.0]), -0.02)  # x > 20 mm
    centres = body.model.rest[body.model.tets].mean(axis=1)
    gone = centres[:, 0] > 0.02
    assert volume == pytest.approx(body.model.volume[gone].sum())
    frame = session.step()
    np.testing.assert_array_equal(frame.left, [True, False, True])  # the target at x = 30 mm went with it
    assert frame.solution.is_converged and not session.left.is_whole
    assert body.model.rest[np.unique(session.left.faces), 0].max() < 0.02 + 0.025  # one tetrahedron further
    with pytest.raises(InputError, match='none of the') as error:
        session.resect(np.array([1.0, 0.0, 0.0]), -0.02)
    assert error.value.code == 'RESECTION_REFUSED'
    with pytest.raises(InputError, match='has no direction'):
        session.resect(np.zeros(3), 1.0)
    with pytest.raises(InputError, match='all of the'):
        session.resect(np.array([1.0, 0.0, 0.0]), 1.0)
    session.reset()
    assert session.left.is_whole and session.step().left.all()


def test_a_body_that_was_cut_gives_way_as_the_exact_one(body, session):
    session.resect(np.array([1.0, 0.0, 0.0]), -0.03)
    front = front_of(body)
    session.add_tip('hand', MS, tip(front), 1e-8)
    session.set_grip('hand', closed=True)
    for step in range(1, 11):
        session.add_tip('hand', (1 + 33 * step) * MS, tip(front + np.array([0.0, -0.001, 0.0]) * step), 1e-8)
        frame = session.step()
    for _ in range(20):
        frame = session.step()
    nodes, places = session._tools.places()
    exact = body.model.with_weight(session.left.share).solve(Loads(nodes, places))
    left = np.unique(body.model.tets[session.left.alive])
    assert np.abs(exact.positions[left] - frame.solution.positions[left]).max() < 2e-4


def test_a_grasp_of_what_is_cut_off_holds_nothing(body, session):
    far = body.model.rest[np.argmax(body.model.rest[:, 0])]
    session.add_tip('hand', MS, tip(far), 1e-8)
    session.set_grip('hand', closed=True)
    assert len(session.held)
    session.resect(np.array([1.0, 0.0, 0.0]), -0.04)
    assert not len(session.held)


def test_pressure_presses_and_is_refused_in_other_units(body, session):
    session.set_pressure(MS, 1600.0)
    pressed = session.step()
    for _ in range(20):
        pressed = session.step()
    exact = body.model.volume_ratios(pressed.solution.positions) @ body.model.volume / body.model.volume.sum() - 1.0
    assert pressed.solution.volume_change == pytest.approx(exact) and -0.3 < exact < -0.02
    session.set_pressure(2 * MS, 0.0)
    for _ in range(20):
        frame = session.step()
    assert abs(frame.solution.volume_change) < 1e-3
    for wrong in (101_325.0, np.nan):
        with pytest.raises(InputError, match='Pa') as error:
            session.set_pressure(3 * MS, wrong)
        assert error.value.code == 'LOADS_REFUSED'


def test_a_shaft_without_direction_is_refused():
    with pytest.raises(ConfigError, match='unit vector'):
        ContactConfig(shaft_direction=(0.0, 0.0, 2.0))
