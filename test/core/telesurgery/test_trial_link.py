"""The link of simulated transfers: messages come back whole; an attacker changes nothing where datagrams are sealed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.telesurgery.command import ACTIONS, Command, FollowerState
from twin_nodes.core.telesurgery.link.attack import Attacker
from twin_nodes.core.telesurgery.link.config import AttackConfig
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.direct import arrival_steps, operator_noise, tampered_steps
from twin_nodes.core.telesurgery.operator.trial import TrialConfig, run_trial
from twin_nodes.core.telesurgery.operator.trial_link import Order, Report, make_ways
from twin_nodes.io.link_scenarios import load_scenario

STEPS = 16_000
BEGIN_NS = 1_000_000_000
number = st.floats(-1e6, 1e6)
place = st.tuples(number, number, number)
turn = st.tuples(number, number, number, number)
stamp = st.integers(-(2**60), 2**60)
command = st.builds(
    Command, st.integers(0, 2**60), stamp, place, turn, number, st.integers(0, 2**60), st.sampled_from(ACTIONS)
)
state = st.builds(
    FollowerState, stamp, stamp, place, turn, number, st.sampled_from([mode.value for mode in Mode]),
    st.integers(0, 2**60), number, number,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(command, max_size=20), st.lists(command, max_size=20), number)
def test_an_order_comes_back_whole(live, backlog, queue_s):
    order = Order(tuple(live), tuple(backlog), queue_s)
    assert Order.unpack(order.pack()) == order


@settings(max_examples=50, deadline=None)
@given(state, st.lists(number, min_size=13, max_size=13), number)
def test_a_report_comes_back_whole(how, scene, queue_s):
    back = Report.unpack(Report(how, np.array(scene), queue_s).pack())
    assert back.state == how
    assert back.scene.tolist() == scene
    assert back.queue_s == queue_s


def hostile(**attack):
    return Scenario(link_config({'name': 'x', 'both': {'delay': {'base': 0.02}}, 'attack': attack}))


@pytest.mark.parametrize('attack', [{'flip': 1.0}, {'truncate': 1.0}])
def test_nothing_of_what_was_damaged_arrives(attack):
    down, _ = make_ways(hostile(**attack).link(1), BEGIN_NS)
    for index in range(50):
        down.send(BEGIN_NS + index, Order((Command(index + 1, index, (0.0, 0.0, 0.0)),), (), 0.0))
    assert list(down.arrived(BEGIN_NS + 10**9)) == []
    assert (down.refused, down.applied) == (50, 0)


def test_what_is_sent_arrives_once_whatever_is_added():
    down, _ = make_ways(hostile(replay=1.0, forge=1.0, flood=7).link(1), BEGIN_NS)
    for index in range(300):
        down.send(BEGIN_NS + index, Order((Command(index + 1, index, (0.0, 0.0, 0.0)),), (), 0.0))
    came = [order.live[0].sequence for _, order in down.arrived(BEGIN_NS + 10**9)]
    assert came == list(range(1, 301))
    assert down.refused == 299 + 300 + 7 * 300
    assert down.applied == 0


def test_a_hostile_link_costs_what_the_same_link_does_without_the_attacker():
    noise = operator_noise(0, STEPS)
    attacked = run_trial(TrialConfig(), load_scenario('N25').link(0), 'twin', noise)
    alone = run_trial(TrialConfig(), load_scenario('N5').link(0), 'twin', noise)
    assert attacked.forged_refused > 10_000
    assert attacked.forged_applied == 0
    assert attacked.transfer.success
    assert attacked.transfer.seconds == pytest.approx(alone.transfer.seconds, rel=0.05)
    assert attacked.path_max < 5e-4
    assert alone.forged_refused == 0


def test_increments_without_seals_are_at_the_attackers_mercy():
    noise = operator_noise(0, STEPS)
    attacked = run_trial(TrialConfig(), load_scenario('N25').link(0), 'direct', noise)
    alone = run_trial(TrialConfig(), load_scenario('N5').link(0), 'direct', noise)
    assert attacked.forged_applied > 1000
    assert alone.forged_applied == 0
    assert attacked.path_rms > 2.0 * alone.path_rms


def test_tampering_is_as_often_as_it_is_set():
    forward = arrival_steps(None, 20_000)
    tampered = tampered_steps(AttackConfig(flip=0.1, truncate=0.1, replay=0.2, forge=0.3), forward, 5)
    assert np.mean(tampered.forward < 0) == pytest.approx(0.19, abs=0.01)
    assert np.mean(tampered.again >= 0) == pytest.approx(0.2, abs=0.01)
    assert np.mean(tampered.forged.any(axis=1)) == pytest.approx(0.3, abs=0.01)
    assert (tampered.again < np.arange(20_000)).all()
    clean = tampered_steps(AttackConfig(), forward, 5)
    assert (clean.forward == forward).all()
    assert clean.taken(20_000) == 0


def test_a_flood_is_sent_with_each_packet_and_is_the_same_again():
    first, again = (Attacker(AttackConfig(flood=3), seed=2) for _ in range(2))
    floods = [first.act(bytes(range(60))) for _ in range(5)]
    assert floods == [again.act(bytes(range(60))) for _ in range(5)]
    assert {len(out) for out in floods} == {4}
    assert again.counts['flood'] == 15


@pytest.mark.parametrize('name', ['N12f', 'N13f'])
def test_a_link_that_delivers_in_spells_does_not_stop_the_work(name):
    result = run_trial(TrialConfig(), load_scenario(name).link(3), 'twin', operator_noise(3, STEPS))
    assert result.transfer.success
    assert result.hold_longest <= 0.1
    assert result.reconnect_speed <= 0.02
    assert result.path_max < 5e-4
