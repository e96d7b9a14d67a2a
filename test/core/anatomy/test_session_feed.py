"""The order in which things count: in a replay that of the stamps, whatever the order of arrival."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_bodies import MS, TARGETS, front_of, organ_body, scan, session_of, tip

from twin_nodes.core.anatomy.nonrigid.tracker import Deformation
from twin_nodes.core.anatomy.session_feed import Cloud, Grip, Lost, Place, Refused, SessionFeed, Tip
from twin_nodes.core.anatomy.session_frame import Frame

STEPS = 14
PERIOD = 20 * MS


@pytest.fixture(scope='module')
def body():
    return organ_body(900)


def feed_of(body, streams, *, ordered, sensors=None):
    session = session_of(body, sensors=sensors, replay=ordered)
    return SessionFeed(session, streams, period_ns=PERIOD, event_wait_ns=30 * MS, ordered=ordered)


def streams_of(body):
    """Two tools' samples, each in its own order; and what comes now and then."""
    place = front_of(body)
    points = scan(body.model.mesh, body.model.rest, np.random.default_rng(1), count=300)
    found = {'left': [], 'coil': []}
    for step in range(STEPS):
        now = (step + 1) * 10 * MS
        found['left'].append((now, Tip('left', tip(place - [0.0, 0.0008 * step, 0.0]), 1e-8)))
        found['coil'].append((now + MS, Place('coil', TARGETS[1] + [0.0, 0.0, 1e-4 * step], np.eye(3) * 1e-8)))
    events = [(15 * MS, Grip('left', closed=True)), (52 * MS, Cloud(lambda: points, 0.001))]
    return found, events


def play(body, order):
    """Hand over the samples in an interleaving: a sequence of 'left' and 'coil'; events come first."""
    streams, events = streams_of(body)
    feed = feed_of(body, ('left', 'coil'), ordered=True, sensors={'coil': TARGETS[1]})
    outcomes = [item for stamp, event in reversed(events) for item in feed.add_event(stamp, event)]
    for name in (*order, *['left'] * STEPS, *['coil'] * STEPS):
        if streams[name]:
            outcomes += feed.add(name, *streams[name].pop(0))
    feed.session.close()
    return outcomes


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.sampled_from(['left', 'coil']), max_size=2 * STEPS))
def test_a_replay_gives_the_same_bits_whatever_comes_first(body, order):
    expected, found = play(body, []), play(body, order)
    frames = [item for item in expected if isinstance(item, Frame)]
    assert len(frames) >= 6 and frames[-1].held and frames[-1].seen_ns == 52 * MS
    assert [type(item) for item in found] == [type(item) for item in expected]
    for one, other in zip(expected, found, strict=True):
        if isinstance(one, Frame):
            assert one.stamp_ns == other.stamp_ns
            for a, b in ((one.solution.positions, other.solution.positions), (one.covariances, other.covariances)):
                np.testing.assert_array_equal(a, b)


def test_frames_of_a_replay_come_once_a_period_and_never_ahead_of_the_samples(body):
    frames = [item for item in play(body, []) if isinstance(item, Frame)]
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(stamps) and len({stamp // PERIOD for stamp in stamps}) == len(stamps)


def test_live_all_counts_at_once(body):
    feed = feed_of(body, ('left',), ordered=False)
    assert feed.is_changed
    feed.frame()
    assert not feed.is_changed
    assert feed.add('left', MS, Tip('left', tip(front_of(body)), 1e-8)) == [] and not feed.is_changed
    assert feed.add_event(0, Grip('left', closed=True)) == [] and feed.is_changed
    assert feed.frame().held >= 4 and not feed.is_changed
    feed.add('left', 2 * MS - 1, Tip('left', tip(front_of(body)), 1e-8))
    assert feed.is_changed
    feed.add('left', 2 * MS, Lost('left'))
    assert feed.frame().held == 0
    feed.session.close()


def test_clouds_alone_make_a_frame_each(body):
    for ordered in (True, False):
        feed = feed_of(body, (), ordered=ordered)
        points = scan(body.model.mesh, body.model.rest, np.random.default_rng(1), count=300)
        found = feed.add_event(MS, Cloud(lambda points=points: points, 0.001))
        assert isinstance(found[0], Deformation)
        assert [type(item) for item in found[1:]] == ([Frame] if ordered else [])
        feed.session.close()


def test_what_is_refused_is_told_with_its_reason(body):
    feed = feed_of(body, ('left',), ordered=False)
    (refused,) = feed.add_event(MS, Cloud(lambda: np.full((40, 3), 9.0), 0.001))
    assert isinstance(refused, Refused) and (refused.what, refused.code) == ('observed', 'UNIT_SUSPECT')
    feed.add('left', MS, Tip('left', tip([0.0, -0.3, 0.0]), 1e-8))
    (refused,) = feed.add_event(2 * MS, Grip('left', closed=True))
    assert (refused.what, refused.code) == ('grasp left', 'GRASP_MISSED') and refused.reason
    feed.session.close()


def test_a_stream_that_ended_is_waited_for_no_longer(body):
    feed = feed_of(body, ('left', 'coil'), ordered=True, sensors={'coil': TARGETS[1]})
    assert feed.add('left', MS, Tip('left', tip(front_of(body)), 1e-8)) == [] and feed.waits
    assert [type(item) for item in feed.give_up('coil')] == [Frame]
    assert not feed.waits
    feed.session.close()
