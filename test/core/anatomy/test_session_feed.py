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
    return SessionFeed(session, streams, period_ns=PERIOD, event_wait_ns=30 * MS, max_age_ns=200 * MS, ordered=ordered)


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


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
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


def in_order(body):
    """The frames of a live twin to which all comes in the order of the stamps, at those of a replay."""
    streams, events = streams_of(body)
    session = session_of(body, sensors={'coil': TARGETS[1]}, replay=True)
    feed = SessionFeed(session, ('left', 'coil'), period_ns=PERIOD, event_wait_ns=0, max_age_ns=200 * MS, ordered=False)
    said = [(stamp, 0, 'event', event) for stamp, event in events]
    said += [(stamp, 1, name, sample) for name, samples in streams.items() for stamp, sample in samples]
    frames, due = [], 0
    for stamp, _, name, item in sorted(said, key=lambda one: one[:3]):
        if name == 'event':
            feed.add_event(stamp, item)
            continue
        feed.add(name, stamp, item)
        if stamp >= due:
            due = (stamp // PERIOD + 1) * PERIOD
            frames.append(feed.frame())
    session.close()
    return frames


def test_a_replay_counts_jaws_and_clouds_from_their_own_stamps_as_a_live_twin(body):
    live, replayed = in_order(body), [item for item in play(body, []) if isinstance(item, Frame)]
    assert [frame.stamp_ns for frame in replayed] == [frame.stamp_ns for frame in live][: len(replayed)]
    assert len(replayed) >= len(live) - 2  # the last ones wait for events that may come
    assert [frame.held for frame in replayed][:2] == [0, live[1].held] and live[1].held  # jaws close at 15 ms
    for one, other in zip(replayed, live, strict=False):
        np.testing.assert_array_equal(one.solution.positions, other.solution.positions)


def test_what_is_heard_after_its_turn_in_a_replay_is_told_and_counts_then(body):
    feed = feed_of(body, ('left',), ordered=True)
    outcomes = feed.add_event(MS, Grip('left', closed=False))  # nothing has left yet
    for now in range(10, 110, 10):
        outcomes += feed.add('left', now * MS, Tip('left', tip(front_of(body)), 1e-8))
    assert [type(item) for item in outcomes] == [Frame] * 4
    (late,) = feed.add_event(20 * MS, Grip('left', closed=True))  # those up to 70 ms have left
    assert (late.what, late.code) == ('grasp left', 'REPLAY_LATE') and '0.05 s' in late.reason
    frames = feed.add('left', 110 * MS, Tip('left', tip(front_of(body)), 1e-8)) + feed.give_up('left')
    assert [frame.held > 0 for frame in frames] == [True, True]
    feed.session.close()


def test_what_is_not_seen_in_a_replay_is_let_go_by_the_stamps(body):
    feed = feed_of(body, ('left', 'coil'), ordered=True, sensors={'coil': TARGETS[1]})
    feed.add_event(MS, Grip('left', closed=True))
    place, outcomes = front_of(body), []
    for now in (*range(10, 50, 10), 400, 410):  # unseen for 360 ms, limit 200
        outcomes += feed.add('left', now * MS, Tip('left', tip(place), 1e-8))
    for now in range(10, 460, 10):
        outcomes += feed.add('coil', now * MS, Place('coil', TARGETS[1], np.eye(3) * 1e-8))
    outcomes += feed.give_up('left') + feed.give_up('coil')
    feed.session.close()
    (lost,) = [item for item in outcomes if isinstance(item, Refused)]
    assert (lost.what, lost.code, lost.stamp_ns) == ('grasp left', 'GRASP_LOST', 250 * MS)
    held = {item.stamp_ns // MS: item.held for item in outcomes if isinstance(item, Frame)}
    assert all(count > 0 for now, count in held.items() if now < 250), held
    assert not any(count for now, count in held.items() if now >= 250), 'jaws that were not seen hold nothing anew'


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
