"""The core of the bridge: codec, replay window, sessions, clock offset, redundancy, jitter buffer."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.telesurgery.bridge.clock_offset import ClockOffset
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig, PlayoutConfig, RedundancyConfig
from twin_nodes.core.telesurgery.bridge.jitter_buffer import JitterBuffer
from twin_nodes.core.telesurgery.bridge.loss_meter import LossMeter, copies_needed
from twin_nodes.core.telesurgery.bridge.rate_budget import RateBudget
from twin_nodes.core.telesurgery.bridge.records import (
    JOINTS,
    POSE,
    Command,
    CommandFrame,
    ProbeFrame,
    channel_id,
    copies_that_fit,
    decode,
    encode_commands,
    encode_probe,
    frame_bytes,
)
from twin_nodes.core.telesurgery.bridge.replay_window import ReplayWindow
from twin_nodes.core.telesurgery.bridge.session import Sessions

MS = 1_000_000
numbers = st.floats(-1e5, 1e5, allow_nan=False)
EPOCH = b'01234567'


@st.composite
def frames(draw):
    if draw(st.booleans()):
        kind, counts = POSE, (7, 0, 0)
        values = st.tuples(numbers, numbers, numbers).map(lambda xyz: (*xyz, 0.6, 0.0, 0.8, 0.0))
    else:
        kind, counts = JOINTS, tuple(draw(st.lists(st.integers(0, 8), min_size=3, max_size=3).filter(any)))
        values = st.tuples(*[numbers] * sum(counts))
    copies = draw(st.integers(1, 30))
    newest, stamp = draw(st.integers(copies, 2**63)), draw(st.integers(-(2**62), 2**62))
    ages = np.cumsum([0, *draw(st.lists(st.integers(1, 100 * MS), min_size=copies - 1, max_size=copies - 1))])
    commands = tuple(Command(newest - i, stamp - int(age), draw(values)) for i, age in enumerate(ages))
    return CommandFrame(EPOCH, draw(st.integers(0, 2**32 - 1)), kind, counts, draw(st.text(max_size=40)), commands)


@settings(max_examples=60, deadline=None)
@given(frame=frames())
def test_frames_come_back_bit_for_bit(frame):
    data = encode_commands(frame)
    assert decode(data) == frame
    assert len(data) == frame_bytes(len(frame.commands), frame.counts, frame.label)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), kind=st.sampled_from([0, 1, 2, 3]))
def test_any_bytes_are_a_frame_or_an_input_error(data, kind):
    try:
        frame = decode(bytes([kind]) + data)
    except InputError as error:
        assert error.code in ('PROTOCOL', 'NOT_FINITE', 'OUT_OF_WORKSPACE', 'NOT_A_ROTATION')
    else:
        assert isinstance(frame, (CommandFrame, ProbeFrame))


@pytest.mark.parametrize(
    ('values', 'code'),
    [
        ((math.nan, 0, 0, 0, 0, 0, 1), 'NOT_FINITE'),
        ((math.inf, 0, 0, 0, 0, 0, 1), 'NOT_FINITE'),
        ((1e9, 0, 0, 0, 0, 0, 1), 'OUT_OF_WORKSPACE'),
        ((0, 0, 0, 0, 0, 0, 0.5), 'NOT_A_ROTATION'),
    ],
)
def test_values_that_no_robot_may_get_are_refused(values, code):
    frame = CommandFrame(EPOCH, 1, POSE, (7, 0, 0), 'base', (Command(1, 0, values),))
    with pytest.raises(InputError) as caught:
        decode(encode_commands(frame))
    assert caught.value.code == code


def test_probe_round_trip():
    probe = ProbeFrame(EPOCH, 5, -3, 7, 0.25, 0.5, 0.125, 0.0625, 9)
    assert decode(encode_probe(probe)) == probe


def test_copies_that_fit_fit():
    for label in ('', 'PSM1_base', 'x' * 200):
        copies = copies_that_fit(1400, (7, 0, 0), label, 40)
        assert frame_bytes(copies, (7, 0, 0), label) + 40 <= 1400 < frame_bytes(copies + 1, (7, 0, 0), label) + 40
    assert len({channel_id(topic) for topic in ('PSM1/servo_cp', 'PSM2/servo_cp', 'PSM1/servo_jp')}) == 3


@settings(max_examples=200, deadline=None)
@given(counters=st.lists(st.integers(0, 400), max_size=150), size=st.integers(64, 128))
def test_the_window_takes_each_counter_once_and_none_too_old(counters, size):
    window, taken, newest = ReplayWindow(size), set(), -1
    for counter in counters:
        expected = counter not in taken and counter > newest - size
        assert window.fits(counter) == expected
        assert window.take(counter) == expected
        if expected:
            taken.add(counter)
            newest = max(newest, counter)
    assert window.newest == newest


def sessions(key=b'k' * 32, seed=0):
    rng = np.random.default_rng(seed)
    return (
        Sessions(key, initiator=True, entropy=rng.bytes),
        Sessions(key, initiator=False, entropy=rng.bytes),
    )


def opened(key=b'k' * 32, seed=0):
    leader, follower = sessions(key, seed)
    answer = follower.open(leader.initiate(0), 0)
    assert leader.open(answer.reply, 0).opened
    assert follower.open(leader.seal(b'first'), 0).payload == b'first'
    return leader, follower


def test_a_session_opens_and_carries_both_ways():
    leader, follower = opened()
    assert leader.open(follower.seal(b'back'), 0).payload == b'back'
    datagram = leader.seal(b'once')
    assert follower.open(datagram, 0).payload == b'once'
    assert follower.open(datagram, 0).refused == 'REPLAYED'


def test_another_key_opens_nothing():
    leader, _ = sessions(b'a' * 32)
    _, follower = sessions(b'b' * 32, seed=1)
    assert follower.open(leader.initiate(0), 0).refused == 'FORGED'
    with pytest.raises(ConfigError, match='32'):
        sessions(b'short')


def test_a_recorded_session_says_nothing_to_a_new_one():
    rng = np.random.default_rng(3)
    leader, follower = sessions(seed=2)
    hello = leader.initiate(0)
    leader.open(follower.open(hello, 0).reply, 0)
    recorded = [leader.seal(b'motion') for _ in range(50)]
    reborn = Sessions(b'k' * 32, initiator=False, entropy=rng.bytes)
    answer = reborn.open(hello, 0)  # the attacker replays the whole of it, handshake and all
    assert answer.reply is not None
    assert not reborn.is_open
    assert {reborn.open(datagram, 0).refused for datagram in recorded} == {'OTHER_SESSION'}
    assert leader.open(answer.reply, 0).refused == 'REPLAYED', 'nobody asked'
    assert not reborn.is_open


def test_a_session_in_use_survives_replayed_and_flooding_handshakes():
    leader, follower = opened()
    olds = [sessions(seed=seed)[0].initiate(0) for seed in range(10, 50)]
    answers = [follower.open(old, 0) for old in olds]
    assert sum(answer.reply is not None for answer in answers) <= 20
    assert {answer.refused for answer in answers} == {'', 'TOO_MANY'}
    assert follower.open(leader.seal(b'still here'), 0).payload == b'still here'
    assert follower.open(follower._handshake(2, b'x' * 64), 0).refused == 'REFLECTED'


def test_recorded_handshakes_do_not_push_out_the_one_that_is_on_its_way_over_a_satellite():
    leader, follower = sessions()
    answer = follower.open(leader.initiate(0), 0)
    for index, seed in enumerate(range(10, 34)):  # played back while the answer and the proof travel
        follower.open(sessions(seed=seed)[0].initiate(0), 50_000_000 * (index + 1))
    assert leader.open(answer.reply, 0).opened
    assert follower.open(leader.seal(b'first'), 1_300_000_000).payload == b'first'


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_changed_datagram_gets_through(data):
    leader, follower = opened()
    genuine = leader.seal(b'a command')
    position = data.draw(st.integers(0, 8 * len(genuine) - 1))
    turned = bytearray(genuine)
    turned[position // 8] ^= 1 << position % 8
    cut = genuine[: data.draw(st.integers(0, len(genuine) - 1))]
    for bad in (bytes(turned), cut, genuine + b'\0', data.draw(st.binary(max_size=80))):
        found = follower.open(bad, 0)
        assert found.payload is None
        assert found.refused
    assert follower.open(genuine, 0).payload == b'a command', 'none of them used up its counter'


@settings(max_examples=60, deadline=None)
@given(
    offset=st.integers(-(10**15), 10**15),
    ways=st.lists(st.tuples(st.integers(0, 400 * MS), st.integers(0, 400 * MS)), min_size=1, max_size=40),
    skew=st.floats(-100e-6, 100e-6),
)
def test_the_interval_holds_the_offset_whatever_the_delays(offset, ways, skew):
    clock = ClockOffset(max_skew_ppm=200.0)

    def theirs(t):
        return t + offset + round(skew * t)

    now = 10**9
    for out, back in ways:
        sent_by_us, got_by_them = now, now + out
        sent_by_them = got_by_them + 3 * MS
        now = sent_by_them + back
        clock.add(sent_ns=theirs(sent_by_them), arrived_ns=now, echo_ns=sent_by_us,
                  hold_ns=theirs(sent_by_them) - theirs(got_by_them))  # fmt: skip
    found = clock.estimate(now)
    truth = theirs(now) - now
    assert found.low_ns - 1 <= truth <= found.high_ns + 1


def test_asymmetry_is_half_of_the_interval_at_most():
    clock = ClockOffset(max_skew_ppm=0.0)
    assert clock.estimate(0) is None
    clock.add(sent_ns=1_040 * MS, arrived_ns=1_300 * MS, echo_ns=1_000 * MS, hold_ns=0)  # 40 ms out, 260 ms back
    found = clock.estimate(1_300 * MS)
    assert found.offset_ns == -110 * MS
    assert (found.low_ns, found.high_ns, found.round_trip_ns) == (-260 * MS, 40 * MS, 300 * MS)


def test_copies_follow_loss_burst_and_period():
    def need(loss, burst_packets, rate=200.0):
        return copies_needed(loss, burst_packets / rate, period_s=1.0 / rate, rate_hz=rate, target=5e-4)

    assert need(0.0, 0.0) == 1
    assert need(0.1, 4.0) == 1 + math.ceil(math.log(5e-4 / 0.1) / math.log(0.75))
    assert need(0.1, 1.0) == 1 + math.ceil(math.log(5e-4 / 0.1) / math.log(0.1)), 'independent losses'
    assert need(0.3, 4.0) > need(0.1, 4.0) > need(0.01, 4.0) > need(0.01, 2.0)


def test_the_meter_measures_loss_and_burst_and_leaves_outages_out():
    meter, rng = LossMeter(), np.random.default_rng(1)
    bad, counter = False, 0
    lost = []
    for counter in range(6000):
        bad = rng.random() < (0.75 if bad else 0.25 * 0.1 / 0.9)
        lost.append(bad)
        if not bad:
            meter.add(counter, counter * 5 * MS)
    found = meter.estimate()
    assert found.known
    assert found.rate_hz == pytest.approx(200.0, rel=0.02)
    assert found.loss == pytest.approx(np.mean(lost[1800:]), abs=0.015)
    assert found.burst_s == pytest.approx(4.0 / 200.0, rel=0.2)
    meter.add(counter + 100_000, counter * 5 * MS)
    assert meter.estimate().loss == pytest.approx(found.loss, abs=0.01)


def test_the_budget_gives_way_to_a_queue_and_not_to_a_longer_path():
    squeezed, moved = RateBudget(RedundancyConfig()), RateBudget(RedundancyConfig())
    for i in range(200):
        squeezed.update(min(0.05 + 0.03 * i, 2.0), 0.3, i * 100 * MS)
        moved.update(0.25, 0.0, i * 100 * MS)
    assert squeezed.bps < 0.1 * 4e6
    assert moved.bps == 4e6


def command(sequence, period_ms=5):
    return Command(sequence, sequence * period_ms * MS, (float(sequence),))


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 8), st.integers(0, 400)), min_size=1, max_size=120),
    step=st.integers(1, 40),
)
def test_the_buffer_plays_forward_only_once_and_never_early(events, step):
    buffer = JitterBuffer(PlayoutConfig())
    arrivals = sorted((5 * newest + delay, newest, copies) for newest, copies, delay in events)
    played, index = [], 0
    for now_ms in range(0, 1600, step):
        while index < len(arrivals) and arrivals[index][0] <= now_ms:
            at, newest, copies = arrivals[index]
            buffer.push(tuple(command(newest - i) for i in range(min(copies, newest))), at * MS)
            index += 1
        for due in buffer.pop(now_ms * MS):
            assert due.due_ns <= now_ms * MS
            assert due.arrived_ns >= due.command.stamp_ns
            played.append(due.command.sequence)
    assert played == sorted(set(played))
    assert buffer.counts['played'] == len(played)


def test_order_is_restored_and_time_kept():
    buffer = JitterBuffer(PlayoutConfig())
    rng = np.random.default_rng(0)
    delays = 50 + rng.integers(0, 30, 2000)
    events = sorted((5 * i + int(delay), i) for i, delay in enumerate(delays, start=1))
    played, index = [], 0
    for now_ms in range(10_100):
        while index < len(events) and events[index][0] <= now_ms:
            buffer.push((command(events[index][1]),), now_ms * MS)
            index += 1
        played += [(now_ms, due.command.sequence) for due in buffer.pop(now_ms * MS)]
    late = [now - 5 * sequence for now, sequence in played if sequence > 400]
    assert len(late) > 1590
    assert np.percentile(late, 90) - np.percentile(late, 10) <= 4, 'the jitter of 30 ms is gone'
    assert max(late) < 90


def test_old_commands_after_an_outage_are_not_played():
    buffer = JitterBuffer(PlayoutConfig())
    for i in range(1, 200):
        buffer.push((command(i),), (5 * i + 20) * MS)
        buffer.pop((5 * i + 20) * MS)
    now = 5 * 199 + 20 + 800
    old = tuple(command(230 - i) for i in range(20))  # held back by the network for more than half a second
    buffer.push(old, now * MS)
    assert buffer.pop(now * MS) == []
    assert buffer.counts['stale'] == 20
    fresh = tuple(command(359 - i) for i in range(20))
    buffer.push(fresh, (5 * 359 + 20) * MS)
    played = buffer.pop((5 * 359 + 250) * MS)  # within the limits of the wait
    assert played[-1].command.sequence == 359
    assert buffer.played == 359


def test_a_stamp_far_ahead_is_not_kept():
    buffer = JitterBuffer(PlayoutConfig())
    for i in range(1, 50):
        buffer.push((command(i),), (5 * i + 20) * MS)
    buffer.push((Command(50, 10_000_000 * MS, (0.0,)),), 270 * MS)
    assert buffer.counts['future'] == 1
    buffer.push((command(51),), 275 * MS)
    assert buffer.pop(400 * MS)[-1].command.sequence == 51


def test_refuses_settings():
    with pytest.raises(ConfigError, match='min_copies'):
        RedundancyConfig(min_copies=30, max_copies=10)
    assert BridgeConfig('leader').role == 'leader'
