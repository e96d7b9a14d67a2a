"""In the first second after it stood for an outage the robot is slow, whatever mode it is in and whatever comes."""

import math
from itertools import pairwise

import numpy as np
import pytest
from compensated_link import TICK, Pair
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from twin_nodes.core.telesurgery.command import distance
from twin_nodes.core.telesurgery.operator.direct import operator_noise
from twin_nodes.core.telesurgery.operator.path_error import path_errors
from twin_nodes.core.telesurgery.operator.trial import TrialConfig, run_trial
from twin_nodes.io.link_scenarios import load_scenario

FIRST = round(1.0 / TICK)
SPEED = 0.02
STANDS = ('outage', 'hold')


def fastest_after_returns(points):
    """Return the largest speed [m/s] of the set points in the first second after each return, and how many returns."""
    steps = [distance(a.position, b.position) / TICK for a, b in pairwise(points)]
    returns = [
        at for at, (a, b) in enumerate(pairwise(points)) if b.mode.value == 'catch-up' and a.mode.value in STANDS
    ]
    return max((max(steps[at : at + FIRST + 1]) for at in returns), default=0.0), len(returns)


def dash(begins):
    """A hand that stands until a time [s], then goes at 60 mm/s for a second."""
    return lambda t: (0.06 * min(max(t - begins, 0.0), 1.0), 0.0, 0.05)


def joined_before_a_dash():
    """A robot that has just come to a hand which now dashes off."""
    pair = Pair(dash(1.2))
    pair.until(lambda: pair.mode == 'hold')
    pair.run(1.0)
    pair.leader.request('discard')
    pair.until(lambda: pair.mode == 'degraded', 1.0)
    return pair


def wave(speed):
    """A hand that goes to and fro at up to a speed [m/s]."""
    return lambda t: (0.03 * math.sin(speed / 0.03 * t), 0.01 * math.sin(speed / 0.02 * t), 0.05)


def test_a_hand_that_dashes_off_as_soon_as_it_is_joined_is_followed_slowly_and_then_caught_up():
    pair = joined_before_a_dash()
    first = pair.index
    points = pair.run(5.5)
    assert {point.mode.value for point in points} == {'degraded', 'connected'}, 'what it was itself late by is not old'
    fastest, count = fastest_after_returns(pair.points)
    assert count == 1
    assert 0.015 < fastest <= 0.019 + 1e-9
    assert max(point.speed for point in points) > 0.05, 'after that second it follows'
    behind = (pair.now_ns - pair.follower.state(pair.now_ns).played_ns) * 1e-9
    assert behind == pytest.approx(pair.follower.lag, abs=0.02)
    robot = np.array([point.position for point in pair.points])
    steps = np.arange(first, pair.index)
    assert path_errors(np.array(pair.said), robot[steps], steps)[1] < 3e-4


def test_after_the_first_second_the_speed_grows_and_does_not_jump():
    pair = joined_before_a_dash()
    pair.run(1.3)
    speeds = [point.speed for point in pair.points]
    fast = [at for at, speed in enumerate(speeds) if speed > 0.019]
    assert len(fast) > 20
    grown = max(speeds[at] - speeds[at - 1] for at in fast)
    assert grown <= 0.5 * TICK + 0.05 * max(speeds), 'a tick is played up to a twentieth short of its bound'


@pytest.mark.parametrize('ends', ['stop', 'parts'])
def test_a_replay_that_is_stopped_runs_on_at_no_higher_speed(ends):
    """It is played at up to three times the pace, which only the limit of the replay bounds."""
    pair = Pair(wave(0.06)).connect()
    pair.up = False
    pair.run(1.5)
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.run(0.2)
    pair.leader.request('replay')
    pair.until(lambda: pair.mode == 'catch-up', 1.0)
    pair.run(0.5)
    assert pair.points[-1].speed > 0.01
    if ends == 'stop':
        pair.leader.request('stop')
    else:
        pair.follower.monitor.update(pair.now_ns, 0.02)
    pair.until(lambda: pair.mode == 'hold', 0.2)
    points = pair.run(0.5)
    assert max(point.speed for point in points) <= 0.019 + 1e-9
    assert max(point.speed for point in points[30:]) == 0.0


def test_motion_that_becomes_old_just_after_a_return_is_replayed_slowly():
    """N13f, twin, seed 1: a short way to the hand, then a stall; the replay began from motion, at 21.18 mm/s."""
    pair = Pair(lambda t: (0.05 * math.sin(1.2 * t), 0.0, 0.05))
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('follow')
    pair.until(lambda: pair.mode == 'connected', 8.0)
    pair.up = False
    pair.run(0.4)
    pair.up = True
    pair.until(lambda: pair.mode == 'catch-up', 1.0)
    for _ in range(6):
        pair.stalls_until = pair.seconds + 0.29
        pair.run(0.31)
    fastest, count = fastest_after_returns(pair.points)
    assert count >= 2
    assert fastest <= 0.019 + 1e-9


@pytest.mark.parametrize(('scenario', 'seed'), [('N13f', 1)])
def test_the_case_that_the_bench_found(scenario, seed):
    """All modes of the follower count for the first second, where only `catch-up` did."""
    link = load_scenario(scenario).link(seed)
    result = run_trial(TrialConfig(), link, 'twin', operator_noise(seed, 2600))
    assert result.reconnections >= 5
    assert 0.015 < result.reconnect_speed <= SPEED
    assert result.reconnect_step <= 5e-4


EVENTS = st.tuples(
    st.sampled_from(['runs', 'runs', 'stalls', 'cut', 'follow', 'replay', 'discard', 'stop', 'parts']),
    st.floats(0.02, 0.6),
)


@settings(max_examples=15, deadline=None, phases=[p for p in Phase if p is not Phase.explain])
@given(st.lists(EVENTS, min_size=3, max_size=8), st.floats(0.005, 0.12), st.sampled_from([0.0, 0.05, 0.3]))
def test_whatever_comes_the_first_second_after_a_return_is_slow(events, speed, delay):
    pair = Pair(wave(speed), delay=delay)
    pair.run(2.0 * delay + 0.3)
    for what, seconds in [('follow', 0.5), *events, ('discard', 0.9)]:
        if what in ('follow', 'replay', 'discard', 'stop'):
            pair.leader.request(what)
        elif what == 'stalls':
            pair.stalls_until = pair.seconds + seconds
        elif what == 'parts':
            pair.follower.monitor.update(pair.now_ns, 0.02)
        pair.up = what != 'cut'
        pair.run(seconds)
        pair.up = True
        pair.follower.monitor.update(pair.now_ns, 0.0)
    fastest, _ = fastest_after_returns(pair.points)
    assert fastest <= SPEED
    assert max(distance(a.position, b.position) for a, b in pairwise(pair.points)) <= 0.2 * TICK + 1e-12
