"""The path comes whole through the bridge: late commands, clocks that are measured, early losses, holes of outages."""

import math
from collections import Counter

import pytest
from bridged_sites import BridgedSites
from compensated_link import Pair
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.telesurgery.bridge.clock_offset import Offset, SteadyOffset
from twin_nodes.core.telesurgery.bridge.config import PlayoutConfig
from twin_nodes.core.telesurgery.bridge.jitter_buffer import JitterBuffer
from twin_nodes.core.telesurgery.bridge.records import Command as Record
from twin_nodes.core.telesurgery.command import Command
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.playback import CommandPath
from twin_nodes.io.link_scenarios import load_scenario

S, MS = 1_000_000_000, 1_000_000


def test_over_delays_kept_in_order_the_robot_keeps_to_the_path():
    """N13f: with the newest of the late commands alone, and stamps that moved with the offset, it was off by 1 mm."""
    sites = BridgedSites(load_scenario('N13f').link(0))
    sites.run(20.0)
    rms, largest = sites.path_error()
    assert sum(sites.follows) > 1500
    assert rms < 0.1e-3
    assert largest < 0.5e-3
    assert sites.sites[1].state(sites.now_ns).channels[0].counts['superseded'] == 0


def test_one_follow_serves_the_outages_of_the_jhu_law():
    sites = BridgedSites(load_scenario('N17').link(1))
    sites.run(20.0)
    outages = sum(b == 'outage' != a for a, b in zip(sites.modes[400:], sites.modes[401:], strict=False))
    assert outages >= 4
    assert sites.asked <= 2
    assert sites.follower.standing.lapses == 0
    assert sites.path_error()[1] < 0.5e-3


@pytest.mark.parametrize('name', ['N21', 'N7'])
def test_a_session_opens_once_however_its_answer_falls_between_the_tries(name):
    """N21: the answer took as long as the retry; each opened a session that nothing was said in before the next."""
    sites = BridgedSites(load_scenario(name).link(0))
    sites.run(4.0)
    assert 'catch-up' in sites.modes
    assert sum(site.refused.get('OTHER_SESSION', 0) for site in sites.sites) == 0


def late_burst(late):
    """Commands on time for a second, then half a second of them at once."""
    buffer, out = JitterBuffer(PlayoutConfig(late=late, late_limit=2.0, max_added=0.0)), []
    for number in range(1, 301):
        stamp_ns = number * 5 * MS
        now_ns = stamp_ns if number <= 200 else max(stamp_ns, 1500 * MS)
        buffer.push((Record(number, stamp_ns, (0.0,)),), now_ns)
        if number <= 200:
            out += [each.command.sequence for each in buffer.pop(now_ns)]
    return out + [each.command.sequence for each in buffer.pop(1500 * MS)]


def test_late_commands_are_played_all_or_the_newest_of_them():
    assert late_burst('all') == list(range(1, 301))
    newest = late_burst('newest')
    assert newest[:200] == list(range(1, 201))
    assert newest[-1] == 300
    assert len(newest) < 210


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(-90, 90), st.integers(0, 90)), min_size=2, max_size=40))
def test_the_offset_that_is_used_stays_within_what_is_known_and_does_not_jump(steps):
    steady, now_ns, before = SteadyOffset(), 0, None
    for wait_ms, middle_ms, half_ms in steps:
        now_ns += wait_ms * MS
        low, high = (middle_ms - half_ms) * MS, (middle_ms + half_ms) * MS
        used = steady.follow(Offset((low + high) // 2, low, high, 2 * half_ms * MS), now_ns)
        assert low <= used <= high
        if before is not None and low <= before <= high:
            assert abs(used - before) <= 0.1 * MS
        before = used
    assert steady.follow(None, now_ns + S) == before
    assert SteadyOffset().follow(None, 0) is None


def test_what_can_no_longer_be_played_is_not_asked_for():
    """A command that was refused in the first moments held back what is told as received for ever."""
    follower, now_ns = Follower(FollowerConfig(), (0.0, 0.0, 0.05)), S
    for number in range(1, 400):
        now_ns += 5 * MS
        if number != 25:
            made = Command(number, now_ns, (0.0, 0.0, 0.05), request=int(number > 60), action='discard')
            follower.receive((made,), now_ns, publisher='bridge')
        follower.tick(now_ns)
        if number == 60:
            assert follower.state(now_ns).received == 24, 'nothing is played yet'
    assert follower.mode == 'connected'
    assert follower.state(now_ns).received > 390


def command(number, stamp_ms):
    return Command(number, stamp_ms * MS, (0.0, 0.0, 0.0))


def test_a_path_is_whole_up_to_a_hole_of_missing_numbers():
    path = CommandPath(60.0)
    for number in (*range(1, 11), *range(40, 51)):
        path.add(command(number, 5 * number))
    assert path.whole_until(90 * MS) == 50 * MS
    for number in range(11, 30):
        path.add(command(number, 5 * number))
    assert path.whole_until(90 * MS) == 250 * MS, 'what is left is no longer than a hold'
    path.add(command(51, 900))
    assert path.whole_until(90 * MS) == 900 * MS, 'a hand that was silent has left no hole'
    path.add(command(99, 2000))
    assert path.whole_until(90 * MS) == 900 * MS
    path.give_up_hole()
    assert path.whole_until(90 * MS) == 2000 * MS
    path.seek(900 * MS)
    path.clear()
    assert len(path) == 0


def arc(seconds):
    turn = 1.5 * max(seconds - 1.5, 0.0)
    return 0.03 * math.sin(turn), 0.03 * math.cos(turn), 0.05


@pytest.mark.parametrize('fills', [True, False])
def test_a_replay_waits_at_a_hole_until_it_is_filled_or_nobody_does(fills):
    pair = Pair(arc, leader=LeaderConfig(backlog_per_packet=8)).connect()
    pair.run(1.0)
    pair.up = False
    pair.run(1.0)
    pair.up = True
    sends = pair.leader.packet
    pair.leader.packet = lambda: (sends()[0], ())  # the backlog comes later than the request
    pair.until(lambda: pair.mode == 'hold')
    pair.leader.request('replay')
    pair.run(1.0)
    stood = pair.points[-1]
    assert stood.mode == 'catch-up'
    assert stood.speed == 0.0
    first = pair.index
    if fills:
        pair.leader.packet = sends
    pair.run(4.0)
    moved = [point for point in pair.points[first:] if point.speed > 0.0]
    begins = pair.points.index(moved[0])
    assert max(point.speed for point in pair.points[begins : begins + 200]) <= 0.019 + 1e-9
    waited = begins - first
    assert waited < 100 if fills else 100 <= waited < 500
    missing = [point.position for point in pair.points[first:]]
    corner = max(abs(math.hypot(x, y) - 0.03) for x, y, _ in missing)
    assert (corner < 1e-4) == fills
    assert Counter(point.mode.value for point in pair.points[first:])['hold'] == 0
