"""Contacts ahead: when they come, when they are announced, and what is seen from the predicted pose."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.app.bench import guidance_trials as trials
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.chain import Chain
from twin_nodes.core.geometry.se3 import make_transform, random_transform
from twin_nodes.core.guidance.alarms import AlarmMonitor
from twin_nodes.core.guidance.lookout import Lookout
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.latency import LatencyEstimate
from twin_nodes.core.guidance.time_to_contact import AlarmConfig, Outlook, outlook

MS = 1_000_000
SURE = (0.0, 0.0, 0.0)
TIMES = (0.0, 0.1, 0.2)


@pytest.fixture(scope='module')
def ball():
    return trials.ball()


@given(st.floats(0.001, 0.1), st.floats(0.002, 0.3))
def test_a_steady_approach_is_told_when_it_touches(distance, speed):
    seen = outlook(TIMES, tuple(distance - speed * time for time in TIMES), SURE, 2.0)
    truth = distance / speed
    if truth > 2.0 + 1e-9:
        assert seen.time_to_contact is None
    elif truth < 2.0 - 1e-9:
        assert seen.time_to_contact == pytest.approx(truth, rel=1e-9)
    assert seen.closing_speed == pytest.approx(speed)


def test_no_contact_is_in_sight_for_a_tool_that_stays_or_leaves_and_none_is_left_inside():
    assert outlook(TIMES, (0.01, 0.01, 0.01), SURE, 2.0).time_to_contact is None
    assert outlook(TIMES, (0.01, 0.012, 0.014), SURE, 2.0).time_to_contact is None
    assert outlook(TIMES, (-0.001, 0.01, 0.02), SURE, 2.0).time_to_contact == 0.0
    assert outlook(TIMES, (0.01, -0.01, 0.01), (0.0, 0.9, 0.0), 2.0) == Outlook(0.05, 0.9, pytest.approx(-0.2))
    assert outlook((0.0,), (0.01,), (0.0,), 2.0).time_to_contact is None


def test_an_alarm_begins_at_once_and_ends_after_calm():
    alarms = AlarmMonitor(AlarmConfig(probability=0.5, clear_probability=0.1, dwell=0.3), ('nerve', 'artery'))

    def at(ms, nerve, artery=0.0):
        rows = {'nerve': Outlook(0.2, nerve, 0.1), 'artery': Outlook(None, artery, 0.0)}
        return [(event.structure, event.code) for event in alarms.update(ms * MS, rows)]

    assert at(0, 0.49) == []
    assert at(10, 0.5) == [('nerve', 'CONTACT_AHEAD')]
    assert alarms.raised == ('nerve',)
    assert at(20, 0.2) == [] and at(30, 0.05) == [] and at(300, 0.05) == []
    assert at(310, 0.3) == []  # not calm yet: the dwell begins anew
    assert at(320, 0.05) == [] and at(600, 0.05, 0.9) == [('artery', 'CONTACT_AHEAD')]
    assert at(620, 0.05, 0.9) == [('nerve', 'OK')]
    alarms.reset()
    assert alarms.raised == ()
    with pytest.raises(ConfigError, match='must not be above'):
        AlarmMonitor(AlarmConfig(probability=0.1, clear_probability=0.2), ('nerve',))


def test_alarms_come_before_contacts_and_breaches_are_told_as_often_as_they_come(ball):
    announced, leads = trials.approaches(ball, 25)
    assert announced == 25 and min(leads) > 0.0
    bins = trials.reliability(trials.grazing_work(ball, 4, 12.0))
    assert sum(abs(one.told - one.came) * one.weight for one in bins) < 0.05
    assert min(one.count for one in bins) > 20 and sum(one.weight for one in bins) == pytest.approx(1.0)
    assert all(one.low <= one.came <= one.high for one in bins)


def test_the_view_is_from_where_the_tip_will_be(ball):
    rng = np.random.default_rng(0)
    registration = random_transform(rng)
    lookout = Lookout(PredictionConfig(ahead=0.05), AlarmConfig())
    lookout.latency = 0.05
    speed = 0.05
    for step in range(300):
        pose = make_transform(np.eye(3), [0.0, 0.0, 0.2 - speed * 0.01 * step])
        lookout.add((1000 + 10 * step) * MS, registration @ pose, np.eye(4))
    view = lookout.look(ball, Chain(pose, np.eye(6) * 1e-10, ()), registration)
    height = 0.2 - speed * 2.99
    assert lookout.ahead == pytest.approx(0.1)
    assert view.pose[2, 3] == pytest.approx(height - speed * 0.1, abs=5e-4)
    assert view.distances['ball'] == pytest.approx(height - trials.RADIUS, abs=2e-4)
    assert view.nearness['ball'] == pytest.approx(view.rows[0, 0])
    contact = view.outlooks['ball'].time_to_contact
    assert contact == pytest.approx((height - trials.RADIUS) / speed - 0.1, abs=0.03)
    assert view.covariance[2, 2] > 1e-10


def test_another_calibration_of_the_tip_is_no_motion(ball):
    lookout = Lookout(PredictionConfig(ahead=0.1), AlarmConfig())
    near, far = make_transform(np.eye(3), [0.0, 0.0, 0.1]), make_transform(np.eye(3), [0.0, 0.0, 0.05])
    for step in range(20):
        lookout.add((1000 + 10 * step) * MS, near, np.eye(4))
    lookout.add(1200 * MS, far, make_transform(np.eye(3), [0.0, 0.0, -0.05]))
    view = lookout.look(ball, Chain(far, np.eye(6) * 1e-10, ()), np.eye(4))
    np.testing.assert_allclose(view.pose, far, atol=1e-12)


def test_the_latency_is_the_upper_quartile_and_none_when_it_is_too_long():
    latency = LatencyEstimate(0.5)
    assert latency.seconds == 0.0
    for seconds in (0.01, 0.02, 0.03, 0.04, 0.05):
        latency.add(seconds)
    assert latency.seconds == pytest.approx(0.04)
    latency.add(-1.0)
    assert latency.seconds is not None and math.isfinite(latency.seconds)
    for _ in range(64):
        latency.add(3600.0)
    assert latency.seconds is None
    latency.reset()
    assert latency.seconds == 0.0
