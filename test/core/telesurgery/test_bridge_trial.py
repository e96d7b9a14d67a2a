"""Two sites over emulated links in simulated time."""

import numpy as np
import pytest

from twin_nodes.app.bench.link import _agrees, burst_loss
from twin_nodes.app.bench.link_attacks import forged_applied
from twin_nodes.app.bench.link_sites import TOPIC, open_pair
from twin_nodes.core.errors import InputError
from twin_nodes.core.telesurgery.bridge.records import POSE
from twin_nodes.core.telesurgery.bridge.trial import run_trial
from twin_nodes.io.link_scenarios import load_scenario

MS = 1_000_000


def test_a_trial_is_bit_repeatable():
    first, again = (run_trial(load_scenario('N25').link(4), seconds=3.0) for _ in range(2))
    np.testing.assert_array_equal(first.played_ns, again.played_ns)
    assert first.follower.refused == again.follower.refused


@pytest.mark.parametrize('loss', [0.1, 0.3])
def test_the_bridge_loses_what_no_copy_can_bring_and_nothing_else(loss):
    scenario = burst_loss(loss)
    trial = run_trial(scenario.link(2), seconds=14.0)
    assert _agrees(trial, scenario.link(2).forward.fates(trial.sent_ns).lost, 21)
    assert trial.added_delay_s(after_s=8.0).max() <= 0.1001


@pytest.mark.parametrize('name', ['N0', 'N5', 'N7', 'N13', 'N17', 'N20', 'N21', 'N25'])
def test_commands_are_played_in_order_whatever_the_link(name):
    trial = run_trial(load_scenario(name).link(1), seconds=6.0)
    assert trial.order_kept
    assert trial.residual_loss(after_s=3.0) < (0.5 if name == 'N17' else 0.02)
    assert trial.follower.state(int(trial.sent_ns[-1])).mode != 'waiting'


def test_a_clean_link_is_hardly_delayed():
    trial = run_trial(load_scenario('lan').link(1), seconds=12.0)
    assert np.median(trial.added_delay_s(after_s=8.0)) < 0.02


def test_a_squeezed_link_is_relieved():
    trial = run_trial(load_scenario('squeeze').link(1), seconds=30.0)
    whole = (trial.played_ns - trial.sent_ns)[-1000:]
    assert (whole > 0).all(), 'none lost'
    assert np.median(whole) < 200 * MS, 'the standing queue of 2 s is gone'


def test_the_asymmetry_is_inside_the_interval():
    trial = run_trial(load_scenario('asym').link(1), seconds=3.0)
    offset = trial.leader.state(int(trial.sent_ns[-1])).offset
    assert offset.low_ns <= 0 <= offset.high_ns, 'the sites share one clock'
    assert abs(offset.offset_ns) == pytest.approx(110 * MS, abs=2 * MS)


def test_forged_datagrams_are_never_applied():
    applied, sent, counted = forged_applied(5000, seed=2)
    assert (applied, counted) == (0.0, 1.0)
    assert sent >= 4900


def test_a_leader_that_starts_again_is_heard_and_the_old_one_is_not():
    rng = np.random.default_rng(5)
    key = rng.bytes(32)
    pair = open_pair(rng, key)
    now = pair.now_ns
    old = [pair.command(now + i * 5 * MS) for i in range(30)]
    for i, datagram in enumerate(old[:20]):
        pair.follower.receive(datagram, now + i * 5 * MS)
    heir = open_pair(rng, key)
    later = now + 3000 * MS
    for _ in range(4):  # the same follower, a new leader
        for datagram in heir.leader.tick(later):
            for reply in pair.follower.receive(datagram, later):
                for answer in heir.leader.receive(reply, later):
                    pair.follower.receive(answer, later)
        later += 400 * MS
    heir.leader._heard_ns = None
    for datagram in heir.leader.tick(later + 2000 * MS):
        for reply in pair.follower.receive(datagram, later):
            for answer in heir.leader.receive(reply, later):
                pair.follower.receive(answer, later)
    before = pair.follower.received
    pair.follower.receive(heir.command(later), later)
    assert pair.follower.received == before + 1
    for datagram in old:
        pair.follower.receive(datagram, later)
    assert pair.follower.received == before + 1
    assert [due.played.command.sequence for due in pair.follower.due(later + 200 * MS)] == [1]


def test_stamps_from_the_future_and_the_past_are_not_sent():
    pair = open_pair(np.random.default_rng(6))
    pose = {'kind': POSE, 'counts': (7, 0, 0), 'label': 'base', 'now_ns': pair.now_ns}
    values = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    with pytest.raises(InputError, match='ahead of the clock'):
        pair.leader.offer(TOPIC, values, age_ns=-10 * MS, **pose)
    with pytest.raises(InputError, match='old'):
        pair.leader.offer(TOPIC, values, age_ns=200 * MS, **pose)
    assert pair.leader.offer(TOPIC, values, age_ns=0, **pose)
    with pytest.raises(InputError, match='not after'):
        pair.leader.offer(TOPIC, values, age_ns=0, **pose)


def test_hold_is_said_100_ms_after_the_last_command():
    pair = open_pair(np.random.default_rng(7))
    now = pair.now_ns
    for i in range(40):
        pair.follower.receive(pair.command(now + i * 5 * MS), now + i * 5 * MS)
        pair.follower.due(now + i * 5 * MS)
    last = now + 39 * 5 * MS
    pair.follower.due(last + 100 * MS)
    assert pair.follower.holds(last + 199 * MS) == (True, False)
    assert pair.follower.holds(last + 201 * MS) == (True, True)
    state = pair.follower.state(last + 201 * MS)
    assert state.mode == 'outage'
    assert state.channels[0].hold
