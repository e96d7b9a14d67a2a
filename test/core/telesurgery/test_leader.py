"""The leader: shaped absolute commands, a predicted robot, scaling, walls, and fixtures that never give energy."""

import math
from itertools import pairwise

import numpy as np
import pytest
from compensated_link import TICK, Pair
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.command import distance
from twin_nodes.core.telesurgery.compensation_config import DivergenceConfig, LeaderConfig, ScalingConfig
from twin_nodes.core.telesurgery.divergence import DivergenceMonitor
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.passivity import FixtureConfig, FixtureRenderer
from twin_nodes.core.telesurgery.scaling import MotionScaler

SECOND = 1_000_000_000


def test_motion_is_shaped_to_speed_and_acceleration_and_arrives():
    config = LeaderConfig(max_speed=0.1, max_acceleration=2.0)
    leader = Leader(config, (0.0, 0.0, 0.0))
    leader.command(SECOND, (0.0, 0.0, 0.0))
    points = [leader.command(SECOND + k * 5_000_000, (0.05, 0.0, 0.0)).position for k in range(1, 400)]
    speeds = np.diff([point[0] for point in points]) / TICK
    assert np.abs(speeds).max() <= 0.1 + 1e-9
    assert np.abs(np.diff(speeds)).max() <= 2.0 * TICK + 1e-9
    assert points[-1][0] == pytest.approx(0.05, abs=1e-3)


def test_the_hand_meets_a_wall():
    leader = Leader(LeaderConfig(), (0.0, 0.0, 0.0))
    for k in range(1000):
        leader.command(SECOND + k * 5_000_000, (0.001 * k, 0.0, 0.0))
    assert leader.last[0] == pytest.approx(LeaderConfig().high[0])
    assert leader.at_wall


def test_a_hand_that_was_let_go_holds_the_same_place_from_elsewhere():
    leader = Leader(LeaderConfig(), (0.0, 0.0, 0.05))
    for k in range(100):
        leader.command(SECOND + k * 5_000_000, (0.0001 * k, 0.0, 0.0))
    held = leader.last
    leader.release()
    points = [leader.command(2 * SECOND + k * 5_000_000, (0.08, -0.06, 0.02)).position for k in range(100)]
    assert points[-1] == held
    assert set(points) == {held}
    for k in range(200):
        leader.command(3 * SECOND + k * 5_000_000, (0.08, -0.05, 0.02))
    assert leader.last == pytest.approx((held[0], held[1] + 0.01, held[2]), abs=1e-6)


def test_the_predicted_robot_is_where_the_robot_will_be():
    def hand(t):
        return 0.03 * math.sin(max(t - 2.0, 0.0)), 0.0, 0.05

    pair = Pair(hand, delay=0.3).connect()
    pair.run(3.0)
    shown = pair.leader.predicted()
    lag = pair.follower.lag
    pair.run(lag)
    assert distance(shown, pair.points[-1].position) < 5e-4


def test_a_scale_that_changes_moves_nothing():
    leader = Leader(LeaderConfig(), (0.0, 0.0, 0.0))
    for k in range(200):
        leader.command(SECOND + k * 5_000_000, (0.0001 * min(k, 100), 0.0, 0.0))
    before = leader.last
    leader.scaler.update(10 * SECOND, 0.7)
    assert leader.scaler.scale < 1.0
    leader.command(SECOND + 201 * 5_000_000, (0.01, 0.0, 0.0))
    assert distance(before, leader.last) < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 3.0), min_size=5, max_size=80))
def test_the_scale_dwells_and_stays_in_bounds(delays):
    config = ScalingConfig()
    scaler = MotionScaler(config)
    changed_at = []
    for index, delay in enumerate(delays):
        before = scaler.scale
        after = scaler.update(index * 300_000_000, delay)
        assert after == 0.0 or config.least <= after <= 1.0
        if after != before:
            changed_at.append(index)
    assert all(b - a >= 7 for a, b in pairwise(changed_at))


def test_a_long_delay_pauses_and_a_short_one_ends_it():
    scaler = MotionScaler(ScalingConfig())
    assert scaler.update(0, 2.0) == 0.0
    assert scaler.update(SECOND, 0.1) == 0.0
    assert scaler.update(3 * SECOND, 0.1) == 1.0
    with pytest.raises(ConfigError, match='start'):
        ScalingConfig(start=1.0, end=0.5)


def test_divergence_parts_at_once_and_agrees_after_a_dwell():
    monitor = DivergenceMonitor(DivergenceConfig(tolerance=0.004, agree_share=0.5, dwell=0.1))
    assert monitor.update(0, 0.001)
    assert not monitor.update(1, 0.005)
    assert not monitor.update(2, 0.003)  # below the tolerance, not below its share
    assert not monitor.update(3, 0.001)
    assert not monitor.update(90_000_000, 0.001)
    assert monitor.update(101_000_000, 0.001)
    assert not monitor.update(102_000_000, math.nan)
    assert monitor.partings == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 200))
def test_fixtures_never_give_energy_whatever_the_delay_of_the_prediction(seed, delay):
    rng = np.random.default_rng(seed)
    renderer = FixtureRenderer(FixtureConfig(), [HalfSpace((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))])
    z, velocity, past = 0.002, 0.0, []
    out = 0.0
    for _ in range(2000):
        velocity += rng.normal(0.0, 0.01) - 0.02 * velocity
        z = min(max(z + velocity * TICK, -0.004), 0.004)
        velocity = 0.0 if abs(z) >= 0.004 else velocity
        past.append(z)
        shown = past[max(len(past) - 1 - delay, 0)]  # a twin that lags is an active wall
        force = renderer.force((0.0, 0.0, shown), (0.0, 0.0, velocity), TICK)
        out += force[2] * velocity * TICK
    # a hand below a micrometre per second counts as standing: 6 N for 10 s of that are 60 nJ
    assert out <= 1e-7
    assert renderer.observer.lowest >= -1e-7


def test_a_wall_that_the_prediction_was_moved_into_does_not_push():
    renderer = FixtureRenderer(FixtureConfig(), [HalfSpace((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))])
    given = 0.0
    for _ in range(40):  # 5 mm inside, and nobody has pushed: the hand that leaves gets nothing
        force = renderer.force((0.0, 0.0, -0.005), (0.0, 0.0, 0.03), TICK)
        given += force[2] * 0.03 * TICK
    assert given <= 1e-9
    inwards = renderer.force((0.0, 0.0, -0.005), (0.0, 0.0, -0.03), TICK)
    assert inwards[2] > 1.0, 'and who goes on inwards is resisted'


def test_the_fence_slides_and_stays_where_there_is_no_way():
    walls = [HalfSpace((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), HalfSpace((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))]
    assert Geofence(walls).keep_out((-0.01, -0.01, 0.3), (1.0, 1.0, 1.0)) == pytest.approx((0.0, 0.0, 0.3), abs=1e-5)
    closed = [HalfSpace((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), HalfSpace((-0.1, 0.0, 0.0), (-1.0, 0.0, 0.0))]
    assert Geofence(closed).keep_out((-0.05, 0.0, 0.0), (1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)
    with pytest.raises(ConfigError, match='unit'):
        HalfSpace((0.0, 0.0, 0.0), (0.0, 0.0, 2.0))
