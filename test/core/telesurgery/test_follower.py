"""The follower: it plays, bridges, slows and holds; nothing old moves it without the operator."""

import math
from itertools import pairwise

import numpy as np
import pytest
from compensated_link import START_NS, TICK, Pair

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.command import Command, distance, quat_angle
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, GuardConfig, PlaybackConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.operator.path_error import path_errors


def swing(t):
    t = max(t - 1.5, 0.0)
    return 0.03 * math.sin(1.5 * t), 0.02 * math.sin(2.0 * t), 0.05


def still(_t):
    return 0.0, 0.0, 0.05


def steps_of(points):
    return [distance(a.position, b.position) for a, b in pairwise(points)]


def test_stands_until_the_operator_begins():
    pair = Pair(swing)
    points = pair.run(3.0)
    assert pair.mode == 'hold'
    assert max(steps_of(points)) == 0.0


@pytest.mark.parametrize('delay', [0.0, 0.05, 0.316])
def test_follows_the_path_exactly_at_any_delay(delay):
    pair = Pair(swing, delay=delay).connect()
    first = pair.index
    pair.run(4.0)
    robot = np.array([point.position for point in pair.points])
    steps = np.arange(first + 100, pair.index)
    rms, largest = path_errors(np.array(pair.said), robot[steps], steps)
    assert rms < 1e-6
    assert largest < 1e-5
    state = pair.follower.state(pair.now_ns)
    assert (pair.now_ns - state.played_ns) * 1e-9 == pytest.approx(delay, abs=0.02)


def test_holds_within_100_ms_and_never_jumps_when_the_link_goes():
    pair = Pair(swing).connect()
    pair.run(2.0)
    pair.up = False
    last_ns = pair.now_ns + pair.delay_ns
    points = pair.run(1.0)
    moving = [i for i, step in enumerate(steps_of(points)) if step >= 5e-4 * TICK]
    stands_ns = pair.now_ns - round((len(points) - 2 - moving[-1]) * TICK * 1e9)
    assert (stands_ns - last_ns) * 1e-9 <= 0.1
    assert max(steps_of(points)) < 0.1 * TICK
    assert pair.mode == 'outage'


def test_plays_nothing_old_without_a_request():
    pair = Pair(swing).connect()
    pair.run(2.0)
    pair.up = False
    pair.run(1.0)
    stood = pair.points[-1].position
    pair.up = True
    pair.run(2.0)
    assert pair.mode == 'hold'
    assert pair.points[-1].position == stood


def test_a_set_point_that_nobody_was_told_is_taken_back():
    """The follower's process is stopped after a tick was computed, before it was published."""
    pair = Pair(swing).connect()
    pair.run(2.0)
    told = pair.points[-1]
    pair.tick()
    assert distance(pair.points.pop().position, told.position) > 1e-5
    pair.follower.withdraw()
    pair.up = False
    pair.index += 70
    points = pair.run(0.5)
    assert {point.position for point in points} == {told.position}
    assert {point.quat_xyzw for point in points} == {told.quat_xyzw}
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('discard')
    back = [told, *pair.run(0.5)]
    assert 0.0 < max(steps_of(back)) <= 0.019 * TICK + 1e-9, 'and the way back goes from there'


def outage(seconds, action, hand=swing):
    pair = Pair(hand).connect()
    pair.run(2.0)
    pair.up = False
    pair.run(seconds)
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.run(0.2)
    first = pair.index
    pair.leader.request(action)
    pair.until(lambda: pair.mode == 'connected', 30.0)
    return pair, first


@pytest.mark.parametrize('action', ['replay', 'discard'])
def test_reconnects_without_a_step_and_slowly(action):
    pair, first = outage(0.8, action)
    steps = steps_of(pair.points[first : first + round(1.0 / TICK)])
    catching = [point for point in pair.points[first : first + round(1.0 / TICK)] if point.mode.value == 'catch-up']
    assert catching
    assert max(point.speed for point in catching) <= 0.02 + 1e-9
    assert max(steps) < 5e-4


def test_replay_goes_along_the_path_that_was_made_and_new_motion_goes_on_being_buffered():
    pair, first = outage(1.2, 'replay')
    pair.run(1.0)
    robot = np.array([point.position for point in pair.points])
    steps = np.arange(first, pair.index)
    rms, largest = path_errors(np.array(pair.said), robot[steps], steps)
    assert largest < 1e-4, rms
    # all of what was done in the outage was played: each commanded point has been near the robot
    said = np.array(pair.said[first - 300 : first])
    nearest = np.linalg.norm(said[:, None] - robot[None, first:], axis=2).min(axis=1)
    assert nearest.max() < 2e-3


def test_stop_holds_at_once_and_only_a_request_ends_it():
    pair = Pair(swing).connect()
    pair.run(1.0)
    pair.leader.request('stop')
    pair.until(lambda: pair.mode == 'hold', 0.2)
    points = pair.run(1.0)
    assert max(steps_of(points)[20:]) == 0.0
    pair.leader.request('discard')
    pair.until(lambda: pair.mode == 'connected', 20.0)


def test_replay_is_refused_while_twin_and_reality_part():
    pair = Pair(swing).connect()
    pair.run(2.0)
    pair.up = False
    pair.run(0.8)
    pair.up = True
    pair.follower.monitor.update(pair.now_ns, 0.02)
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('replay')
    pair.run(1.0)
    assert pair.mode == 'hold'
    pair.leader.request('discard')
    pair.until(lambda: pair.mode == 'catch-up', 1.0)


def test_a_parting_in_replay_holds():
    pair = Pair(swing).connect()
    pair.run(2.0)
    pair.up = False
    pair.run(2.0)
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('replay')
    pair.until(lambda: pair.mode == 'catch-up')
    pair.follower.monitor.update(pair.now_ns, float('nan'))
    points = pair.run(0.5)
    assert pair.mode == 'hold'
    assert max(steps_of(points)[20:]) == 0.0


def test_the_geofence_holds_in_every_mode():
    fence = Geofence([HalfSpace((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))])
    pair = Pair(swing, fence=fence).connect()
    pair.run(4.0)
    pair.up = False
    pair.run(1.0)
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('discard')
    pair.run(4.0)
    assert min(point.position[0] for point in pair.points) >= -1e-9
    assert fence.touches > 0
    assert max(steps_of(pair.points)) <= PlaybackConfig().max_speed * TICK + 1e-12


def test_short_silence_is_bridged_by_prediction_within_bounds():
    pair = Pair(lambda t: (0.04 * (t - 1.5) if t > 1.5 else 0.0, 0.0, 0.05), delay=0.0).connect()
    pair.run(1.0)
    pair.up = False
    points = pair.run(0.04)
    assert any(point.predicted for point in points)
    ahead = points[-1].position[0] - pair.said[pair.index - 9][0]
    assert 0.0 < ahead <= PlaybackConfig().bridge_distance + 1e-9
    pair.up = True
    points = pair.run(1.0)
    assert pair.mode == 'connected'
    assert max(steps_of(points)) < 0.1 * TICK


def test_a_stalled_follower_neither_jumps_nor_goes_on_by_itself():
    pair = Pair(swing).connect()
    pair.run(2.0)
    stood = pair.points[-1].position
    now_ns = pair.now_ns
    for k in range(200):  # a second of commands waits in the socket while the process is stopped
        pair.leader.command(now_ns + round(k * TICK * 1e9), swing(pair.seconds + k * TICK))
    later_ns = now_ns + 1_000_000_000
    pair.follower.receive(pair.leader.packet()[0], later_ns, publisher='leader')
    points = [pair.follower.tick(later_ns + round(k * TICK * 1e9)) for k in range(100)]
    assert max(distance(point.position, stood) for point in points) < 1e-3
    assert pair.mode in ('hold', 'outage')


def test_a_stamp_from_the_future_does_not_extend_the_watch():
    pair = Pair(still).connect()
    number, now_ns = pair.leader.sequence, pair.now_ns
    for k in range(100):
        now_ns += 5_000_000
        wrong = Command(number + 1 + k, now_ns + 3_600_000_000_000, (0.0, 0.0, 0.05))
        pair.follower.receive((wrong,), now_ns, publisher='leader', offset_ns=0)
        pair.follower.tick(now_ns)
    assert pair.mode == 'outage'
    assert pair.follower.guard.counts['COMMAND_FUTURE'] == 100


def test_replayed_packets_do_not_extend_the_watch():
    pair = Pair(swing).connect()
    pair.run(1.0)
    packet, now_ns = pair.leader.packet()[0], pair.now_ns
    pair.follower.receive(packet, now_ns, publisher='leader')
    for _ in range(100):
        now_ns += 5_000_000
        assert pair.follower.receive(packet, now_ns, publisher='leader') == 0
        pair.follower.tick(now_ns)
    assert pair.mode == 'outage'


def test_orientation_and_jaw_follow_within_their_speeds():
    config = FollowerConfig()
    follower = Follower(config, (0.0, 0.0, 0.0))
    points = []
    for k in range(800):
        now_ns = START_NS + k * 5_000_000
        angle = 0.5 * math.sin(3.0 * max(k - 100, 0) * TICK)
        quat = (0.0, 0.0, math.sin(angle / 2.0), math.cos(angle / 2.0))
        made = Command(k + 1, now_ns, (0.0, 0.0, 0.0), quat, 1.0 if k < 500 else 0.0, int(k >= 60), 'discard')
        follower.receive((made,), now_ns, publisher=1)
        points.append(follower.tick(now_ns))
    assert quat_angle(points[-1].quat_xyzw, quat) < 0.03
    assert points[-1].jaw == 0.0
    turns = [quat_angle(a.quat_xyzw, b.quat_xyzw) for a, b in pairwise(points)]
    assert max(turns) <= config.playback.max_turn * TICK + 1e-6


def test_a_buffer_that_overflowed_is_not_replayed():
    config = FollowerConfig(playback=PlaybackConfig(keep=1.0))
    pair = Pair(swing, follower=config).connect()
    pair.run(1.0)
    pair.up = False
    pair.run(2.5)
    pair.up = True
    pair.until(lambda: pair.mode == 'hold')
    pair.run(1.0)
    pair.leader.request('replay')
    pair.run(0.5)
    assert pair.mode == 'hold'
    pair.leader.request('discard')
    pair.until(lambda: pair.mode == 'connected', 20.0)


def test_settings_that_contradict_are_refused():
    with pytest.raises(ConfigError, match='slow_after'):
        PlaybackConfig(slow_after=0.09, hold_after=0.05)
    with pytest.raises(ConfigError, match='low'):
        GuardConfig(low=(0.0, 0.0, 1.0), high=(1.0, 1.0, 0.5))


def test_a_command_that_the_backlog_brought_first_is_still_valid():
    """The backlog is not kept in the bridge's buffer: it may be ahead of the stream for as long as that is long."""
    follower = Follower(FollowerConfig(), (0.0, 0.0, 0.05))
    tick_ns, late = round(TICK * 1e9), 20
    commands = [Command(n, START_NS + n * tick_ns, (0.0, 0.0, 0.05), (0.0, 0.0, 0.0, 1.0)) for n in range(1, 400)]
    for number, command in enumerate(commands[late:], start=late):
        follower.receive((command,), command.stamp_ns, backlog=True)
        follower.receive((commands[number - late],), command.stamp_ns)
        follower.tick(command.stamp_ns)
        assert follower.valid_ns == command.stamp_ns
    assert follower.mode == 'hold'
    assert follower.lag == pytest.approx(late * TICK, abs=0.02)
    follower.receive((commands[-1],), command.stamp_ns + tick_ns, backlog=True)
    follower.receive((commands[number - late],), command.stamp_ns + tick_ns)
    assert follower.valid_ns == command.stamp_ns, 'the same one again says nothing'
