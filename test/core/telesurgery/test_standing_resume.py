"""`follow`: the operator's resume given ahead, bounded; and that a robot which holds does nothing of what is left."""

import math
from itertools import pairwise

import numpy as np
import pytest
from compensated_link import START_NS, TICK, Pair
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.telesurgery.command import Command, distance, quat_angle
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.path_error import path_errors
from twin_nodes.core.telesurgery.standing_resume import StandingResume

S = 1_000_000_000


def swing(t):
    t = max(t - 1.5, 0.0)
    return 0.02 * math.sin(1.5 * t), 0.015 * math.sin(2.0 * t), 0.05


def following():
    """A pair whose operator has said `follow`."""
    pair = Pair(swing).connect()
    pair.leader.request('follow')
    pair.run(1.0)
    assert pair.follower.standing.stands
    return pair


def stall(pair, seconds):
    """Hold back what is sent, then let it arrive at once."""
    pair.stalls_until = pair.seconds + seconds
    pair.run(seconds)


def largest_step(points):
    return max(distance(a.position, b.position) for a, b in pairwise(points))


def test_goes_on_by_itself_after_a_short_silence_slowly_and_on_the_path():
    pair = following()
    first = pair.index
    stall(pair, 0.7)
    assert pair.mode == 'outage'
    stood, at = pair.points[-1].position, pair.index
    pair.until(lambda: pair.mode == 'catch-up', 0.5)
    pair.until(lambda: pair.mode == 'connected', 30.0)
    assert pair.points[-1].position != stood
    second = pair.points[at : at + round(1.0 / TICK)]
    assert max(point.speed for point in second) <= 0.02 + 1e-9
    robot = np.array([point.position for point in pair.points])
    steps = np.arange(first, pair.index)
    assert path_errors(np.array(pair.said), robot[steps], steps)[1] < 1e-4


def test_a_link_that_delivers_in_spells_is_worked_over():
    pair = following()
    for _ in range(12):
        stall(pair, 0.45)
        pair.run(0.15)
    moved = [point.position for point in pair.points[-600:]]
    assert max(distance(moved[0], each) for each in moved) > 0.005
    assert pair.follower.standing.stands


def test_holds_within_100_ms_all_the_same():
    pair = following()
    pair.up = False
    last_ns = pair.now_ns + pair.delay_ns
    points = pair.run(0.9)
    late = [
        p for i, p in enumerate(points) if START_NS + round((pair.index - 180 + i) * TICK * 1e9) > last_ns + S // 10
    ]
    assert max(point.speed for point in late) == 0.0


def test_lapses_after_a_longer_silence():
    pair = following()
    stall(pair, 1.7)
    pair.run(1.0)
    assert pair.mode == 'hold'
    assert not pair.follower.standing.stands
    stood = pair.points[-1].position
    pair.run(1.0)
    assert pair.points[-1].position == stood


def test_what_was_lost_is_waited_for_before_it_goes_on():
    pair = following()
    pair.up = False
    pair.run(0.5)
    pair.up = True
    first = pair.index
    pair.run(pair.delay_ns * 1e-9 + 2 * TICK)
    assert pair.mode == 'outage', 'commands come again, but there is a hole'
    pair.until(lambda: pair.mode == 'catch-up', 0.5)
    pair.until(lambda: pair.mode == 'connected', 30.0)
    robot = np.array([point.position for point in pair.points])
    steps = np.arange(first, pair.index)
    assert path_errors(np.array(pair.said), robot[steps], steps)[1] < 1e-4


def test_with_a_hole_that_nobody_fills_it_does_not_go_on():
    pair = Pair(swing, leader=LeaderConfig(backlog_per_packet=0)).connect()
    pair.leader.request('follow')
    pair.run(1.0)
    pair.up = False
    pair.run(0.5)
    pair.up = True
    pair.run(1.5)
    assert pair.mode == 'hold'
    assert not pair.follower.standing.stands


@pytest.mark.parametrize('ends', ['stop', 'discard', 'replay'])
def test_any_other_request_ends_it(ends):
    pair = following()
    pair.leader.request(ends)
    pair.run(0.3)
    assert not pair.follower.standing.stands
    stall(pair, 0.6)
    pair.run(0.5)
    assert pair.mode == 'hold'


def test_parting_from_reality_ends_it_for_good():
    pair = following()
    pair.follower.monitor.update(pair.now_ns, 0.02)
    pair.run(0.1)
    assert pair.mode == 'hold'
    for _ in range(40):
        pair.follower.monitor.update(pair.now_ns, 0.0)
        pair.run(0.02)
    assert pair.follower.monitor.agrees
    assert pair.mode == 'hold'


def test_a_follower_that_was_stopped_itself_does_not_go_on():
    pair = following()
    pair.index += round(0.5 / TICK)  # nothing ran
    pair.run(0.6)
    assert not pair.follower.standing.stands


def test_said_first_of_all_it_goes_to_the_hand_and_then_stands():
    pair = Pair(swing)
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('follow')
    pair.until(lambda: pair.mode == 'connected')
    stall(pair, 0.6)
    pair.until(lambda: pair.mode == 'catch-up', 0.5)


def test_the_way_to_the_hand_goes_on_too_and_is_no_dash():
    pair = Pair(lambda t: (0.04 * min(max(t - 1.0, 0.0), 1.0), 0.0, 0.05))
    pair.run(2.5)  # the hand has gone away before the robot follows
    pair.leader.request('follow')
    pair.until(lambda: pair.mode == 'catch-up', 0.5)
    pair.run(0.5)
    stall(pair, 0.6)
    pair.until(lambda: pair.mode == 'catch-up', 0.5)
    points = pair.run(1.0)
    assert max(point.speed for point in points) <= 0.02 + 1e-9
    pair.until(lambda: pair.mode == 'connected', 10.0)
    assert pair.points[-1].position[0] == pytest.approx(0.04, abs=1e-5)
    assert max(point.speed for point in pair.points) <= 0.1 + 1e-9


def test_what_the_robot_did_alone_is_not_undone_by_it():
    pair = following()
    pair.follower._went_alone = pair.follower._joins = True
    stall(pair, 0.6)
    pair.run(0.3)
    assert pair.mode == 'hold'
    pair.leader.request('follow')
    pair.run(0.5)
    assert pair.mode == 'hold'
    assert not pair.follower.standing.stands


def test_another_leader_ends_it():
    pair = following()
    pair.leader = Leader(LeaderConfig(), pair.leader.last, first=pair.leader.sequence + 60_000)
    pair.run(0.3)
    assert not pair.follower.standing.stands


def test_motion_that_becomes_old_while_moving_is_caught_up_without_a_jolt():
    pair = following()
    for _ in range(5):
        stall(pair, 0.29)  # never an outage, always later
        pair.run(0.02)
    modes = {point.mode for point in pair.points[-400:]}
    assert Mode.HOLD not in modes
    assert largest_step(pair.points[-400:]) < 0.2 * TICK + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['', '', '', 'follow', 'stop', 'replay', 'discard']), st.sampled_from(list(Mode)),
            st.integers(1, 900), st.booleans(),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_it_stands_only_by_the_last_request_and_never_long_without_motion(steps):
    standing, now_ns, moved_ns, last = StandingResume(1.0), 10 * S, 10 * S, ''
    for request, mode, wait_ms, served in steps:
        now_ns += wait_ms * 1_000_000
        last = request or last
        asked = request == 'follow' and served
        standing.ask(request, now_ns, served=served)
        if mode not in (Mode.OUTAGE, Mode.HOLD) or asked:
            moved_ns = now_ns
        standing.watch(now_ns, mode, 0, served=served)
        if standing.stands:
            assert last == 'follow'
            assert served
            assert now_ns - moved_ns <= S + 900_000_000


def test_a_way_back_that_is_cut_short_leaves_nothing_that_goes_on():
    """Neither place, nor orientation, nor jaw moves any more 100 ms after the last command."""
    turned = (0.0, 0.0, math.sin(0.6), math.cos(0.6))
    follower = Follower(FollowerConfig(), (0.0, 0.0, 0.05))
    now_ns, sequence, request = S, 0, 0
    for tick in range(600):
        now_ns += 5_000_000
        if tick == 100:
            request = 1
        if tick < 200:
            sequence += 1
            action = 'discard' if request else ''
            hand = (0.03, 0.0, 0.05 + 0.002 * math.sin(tick / 5.0))
            follower.receive(
                (Command(sequence, now_ns, hand, turned, 0.0, request, action),), now_ns, publisher='leader'
            )
        point = follower.tick(now_ns)
        if tick == 198:
            assert point.mode is Mode.CATCH_UP
            assert distance(point.position, hand) > 1e-3
        if tick == 220:
            held = point
        if tick > 220:
            assert distance(point.position, held.position) < 1e-12
            assert quat_angle(point.quat_xyzw, held.quat_xyzw) == 0.0
            assert point.jaw == held.jaw


def test_the_wrist_comes_back_slowly_and_the_jaw_last():
    turned = (0.0, 0.0, math.sin(0.6), math.cos(0.6))
    follower = Follower(FollowerConfig(), (0.0, 0.0, 0.05))
    now_ns, before, jaws = S, None, []
    for tick in range(1400):
        now_ns += 5_000_000
        hand, action = (0.02, 0.0, 0.05), 'discard' if tick >= 100 else ''
        sent = (Command(tick + 1, now_ns, hand, turned, 0.0, int(tick >= 100), action),)
        follower.receive(sent, now_ns, publisher='leader')
        point = follower.tick(now_ns)
        if before is not None and 100 <= tick < 300:
            assert quat_angle(before.quat_xyzw, point.quat_xyzw) <= 0.5 * TICK + 1e-7
        if before is not None and point.jaw != before.jaw:
            jaws.append(distance(point.position, hand))
            assert abs(point.jaw - before.jaw) <= 3.0 * TICK + 1e-9
        before = point
    assert point.mode is Mode.CONNECTED
    assert point.jaw == pytest.approx(0.0, abs=1e-9)
    assert quat_angle(point.quat_xyzw, turned) < 0.011
    assert max(jaws) < 1e-3


def test_it_never_says_to_have_played_what_has_not_come():
    """On a path that becomes longer than the buffer follows (a queue that fills), coming to the hand stays honest."""
    pair = Pair(swing)
    pair.until(lambda: pair.mode == 'hold')
    pair.run(1.0)
    pair.delay_ns += round(1.5 * S)
    pair.run(2.5)
    pair.leader.request('discard')
    pair.until(lambda: pair.mode == 'catch-up', 4.0)
    for _ in range(400):
        pair.tick()
        state = pair.follower.state(pair.now_ns)
        assert state.played_ns <= pair.now_ns - pair.delay_ns + 1


def test_what_the_backlog_brought_is_confirmed_by_its_own_publisher_alone():
    follower = Follower(FollowerConfig(), (0.0, 0.0, 0.05))
    commands = tuple(Command(n, S + n * 5_000_000, (0.0, 0.0, 0.05)) for n in (3, 2, 1))
    follower.receive(commands[2:], S, publisher='leader')
    follower.receive(commands[:2], S + 1, publisher='leader', backlog=True)
    assert follower.valid_ns == S
    follower.receive(commands[:1], S + 2, publisher='other')
    assert follower.valid_ns == S
    follower.receive(commands[:1], S + 3, publisher='leader')
    assert follower.valid_ns == S + 3
