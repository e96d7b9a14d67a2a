"""The anatomy of the leader's twin: carried on to now without jumps, dented by the predicted tip, never twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry import se3
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.predicted_anatomy import (
    PredictedAnatomyConfig,
    PredictedContact,
    PredictedPose,
    deepest,
)

CONFIG = PredictedAnatomyConfig()
MS = 1_000_000
DELAY_NS = 316 * MS


def moved(x):
    return se3.make_transform(np.eye(3), [x, 0.0, 0.0])


def test_anatomy_that_moves_evenly_is_shown_where_it_is_now():
    pose = PredictedPose(CONFIG)
    speed = 0.01
    for step in range(100):
        stamp_ns = step * 50 * MS
        pose.see(stamp_ns, moved(speed * stamp_ns * 1e-9), stamp_ns + DELAY_NS)
    now_ns = 99 * 50 * MS + DELAY_NS
    assert pose.at(now_ns)[0, 3] == pytest.approx(speed * now_ns * 1e-9, abs=1e-5)


@given(st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=20), st.integers(0, 800))
@settings(max_examples=60, deadline=None)
def test_what_comes_back_never_makes_it_jump(places, delay_ms):
    pose = PredictedPose(CONFIG)
    for number, place in enumerate(places):
        stamp_ns = number * 50 * MS
        now_ns = stamp_ns + delay_ms * MS
        before = pose.at(now_ns)
        pose.see(stamp_ns, moved(place), now_ns)
        if before is not None:
            np.testing.assert_allclose(pose.at(now_ns), before, atol=1e-9)


def test_it_stands_when_nothing_comes_any_more_and_is_right_when_it_stands():
    pose = PredictedPose(CONFIG)
    for step in range(20):
        pose.see(step * 50 * MS, moved(0.01 * step * 0.05), step * 50 * MS + DELAY_NS)
    late = pose.at(100 * NANOSECONDS)
    np.testing.assert_allclose(late, pose.at(200 * NANOSECONDS), atol=1e-12)
    assert late[0, 3] <= 0.01 * (19 * 0.05 + CONFIG.max_ahead) + 1e-6
    pose.see(300 * NANOSECONDS, moved(0.003), 300 * NANOSECONDS + DELAY_NS)
    assert pose.at(310 * NANOSECONDS)[0, 3] == pytest.approx(0.003, abs=1e-6)


def test_older_poses_and_leaps_are_not_carried_on():
    pose = PredictedPose(CONFIG)
    assert pose.at(0) is None
    pose.see(1000 * MS, moved(0.0), 1000 * MS)
    pose.see(500 * MS, moved(1.0), 1000 * MS)
    assert pose.at(1000 * MS)[0, 3] == 0.0
    pose.see(1100 * MS, moved(0.5), 1100 * MS)  # 5 m/s: another registration, not a motion
    assert pose.at(10_000 * MS)[0, 3] == pytest.approx(0.5, abs=1e-6)


RADIUS = 0.02


@pytest.fixture(scope='module')
def ball():
    surface = make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0))
    return surface.vertices, DistanceGrid.from_surface(surface, 0.0005, 0.01)


def test_the_surface_gives_way_under_the_tip(ball):
    vertices, grid = ball
    contact = PredictedContact(CONFIG)
    depth = 0.002
    contact.touch(0, np.array([0.0, 0.0, RADIUS - depth + CONFIG.tip_radius]), grid)
    push = contact.displacement(vertices)
    top = vertices[:, 2].argmax()
    assert -push[top, 2] == pytest.approx(depth, abs=3e-4)
    assert np.abs(push[vertices[:, 2] < 0.0]).max() < 1e-4
    name, deep = deepest({'ball': contact})
    assert name == 'ball'
    assert deep == pytest.approx(depth, abs=3e-4)


def test_the_dent_goes_when_the_tool_does_and_is_bounded(ball):
    vertices, grid = ball
    contact = PredictedContact(CONFIG)
    contact.touch(0, np.array([0.0, 0.0, 0.001]), grid)  # nearly at the centre
    assert np.linalg.norm(contact.displacement(vertices), axis=1).max() <= CONFIG.max_dent + 1e-9
    for step in range(1, 200):
        contact.touch(step * 20 * MS, np.array([0.0, 0.0, 0.1]), grid)
    assert not contact.displacement(vertices).any()
    assert deepest({'ball': contact}) == ('', 0.0)


def test_a_dent_that_came_back_is_not_put_on_again(ball):
    vertices, grid = ball
    contact = PredictedContact(CONFIG)
    tip = np.array([0.0, 0.0, RADIUS - 0.001])
    for step in range(20):
        contact.touch(step * 50 * MS, tip, grid)
    contact.measured(10 * 50 * MS)  # as it was during the contact
    assert np.abs(contact.displacement(vertices)).max() < 1e-9
    contact.measured(-1)  # before it
    assert np.abs(contact.displacement(vertices)).max() > 1e-3
