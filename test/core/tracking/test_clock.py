"""The device clock against a known offset, skew, steps and a real recording."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.tracking.clock import ClockConfig, DeviceClock
from twin_nodes.core.tracking.rate import RateConfig, RateMeter

MS = 1_000_000
SECOND = 1_000_000_000
ROS0 = 1_700_000_000 * SECOND
DEVICE0 = 5_000 * SECOND


def pairs(seconds, *, rate_hz=60.0, ppm=0.0, seed=1):
    """True times, device stamps and arrivals: 5 ms at least, exponential tail of 5 ms."""
    rng = np.random.default_rng(seed)
    true = np.arange(round(seconds * rate_hz)) / rate_hz
    device = DEVICE0 + np.round(true * (1.0 + 1e-6 * ppm) * SECOND).astype(np.int64)
    delay = 0.005 + rng.exponential(0.005, len(true))
    arrival = ROS0 + np.round((true + delay) * SECOND).astype(np.int64)
    return ROS0 + np.round(true * SECOND).astype(np.int64), device, arrival


def feed(clock, device, arrival):
    return [clock.update(int(d), int(a)) for d, a in zip(device, arrival, strict=True)]


def errors_ms(readings, true):
    return np.array([reading.stamp_ns - int(t) for reading, t in zip(readings, true, strict=True)]) / MS


@pytest.mark.parametrize('ppm', [-100.0, 0.0, 100.0])
def test_offset_within_two_milliseconds_for_an_hour(ppm):
    true, device, arrival = pairs(3600.0, rate_hz=20.0, ppm=ppm)
    clock = DeviceClock(ClockConfig(latency=0.005))
    readings = feed(clock, device, arrival)
    assert np.abs(errors_ms(readings, true)[100:]).max() < 2.0
    assert clock.skew_ppm == pytest.approx(-ppm, abs=5.0)
    assert clock.settled and clock.sigma_s < 0.001


def test_sigma_covers_the_error_of_the_offset():
    covered = []
    for seed in range(40):
        true, device, arrival = pairs(20.0, seed=seed)
        clock = DeviceClock(ClockConfig(latency=0.005))
        readings = feed(clock, device, arrival)
        covered.append(abs(errors_ms(readings, true)[-1]) * 1e-3 < 3.0 * clock.sigma_s)
    assert np.mean(covered) > 0.9


def test_offset_is_that_of_the_least_delay_less_latency():
    clock = DeviceClock(ClockConfig(latency=0.002))
    feed(clock, *pairs(10.0)[1:])
    assert clock.offset_s == pytest.approx((ROS0 - DEVICE0) / SECOND + 0.003, abs=0.0005)


@pytest.mark.parametrize('jump_s', [-300.0, -0.8, 0.8, 300.0])
def test_step_of_the_device_clock_is_found(jump_s):
    true, device, arrival = pairs(40.0)
    device = device + np.where(np.arange(len(device)) >= 1200, round(jump_s * SECOND), 0)
    clock = DeviceClock(ClockConfig(latency=0.005))
    readings = feed(clock, device, arrival)
    found = [index for index, reading in enumerate(readings) if reading.stepped]
    assert len(found) == 1 and 1200 <= found[0] <= 1240
    assert clock.steps == 1
    assert np.abs(errors_ms(readings, true)[found[0] + 300 :]).max() < 2.0


def test_stall_of_the_network_is_no_step():
    true, device, arrival = pairs(40.0)
    stalled = slice(1200, 1320)  # two seconds come in one burst
    arrival[stalled] = arrival[1320] + np.arange(120) * 20_000
    clock = DeviceClock(ClockConfig(latency=0.005))
    readings = feed(clock, device, np.maximum.accumulate(arrival))
    assert clock.steps == 0
    assert np.abs(errors_ms(readings, true)[200:]).max() < 2.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-150.0, 150.0), st.floats(0.0, 0.2))
def test_stamps_grow_and_never_lie_ahead_of_arrival(seed, ppm, spread):
    rng = np.random.default_rng(seed)
    _, device, arrival = pairs(3.0, ppm=ppm, seed=seed)
    arrival = np.maximum.accumulate(
        arrival + np.round(rng.uniform(0.0, spread, len(arrival)) * SECOND).astype(np.int64)
    )
    stamps = [reading.stamp_ns for reading in feed(DeviceClock(ClockConfig()), device, arrival)]
    assert all(b > a for a, b in itertools.pairwise(stamps))
    # samples that arrive in the same nanosecond are told apart by one nanosecond each
    assert all(stamp <= int(a) + 1000 for stamp, a in zip(stamps, arrival, strict=True))


def test_same_stamp_of_several_tools_gives_one_time_and_a_frozen_clock_is_said():
    _, device, arrival = pairs(2.0)
    clock = DeviceClock(ClockConfig())
    feed(clock, device, arrival)
    last_d, last_a = int(device[-1]), int(arrival[-1])
    tools = [clock.update(last_d + 16 * MS, last_a + 16 * MS + index * 1000) for index in range(4)]
    assert len({reading.stamp_ns for reading in tools}) == 1
    assert not any(reading.frozen for reading in tools)
    later = [clock.update(last_d + 16 * MS, last_a + (40 + 20 * index) * MS) for index in range(8)]
    assert later[-1].frozen and later[-1].stamp_ns == tools[0].stamp_ns


def test_late_device_stamp_keeps_its_place():
    _, device, arrival = pairs(10.0)
    clock = DeviceClock(ClockConfig())
    readings = feed(clock, device, arrival)
    late = clock.update(int(device[-3]), int(arrival[-1]))
    assert abs(late.stamp_ns - readings[-3].stamp_ns) < MS


def test_stamp_zero_falls_back_on_arrival_and_says_so():
    reading = DeviceClock(ClockConfig(latency=0.014)).update(0, ROS0)
    assert reading.from_arrival and reading.stamp_ns == ROS0 - 14 * MS


def test_modes_device_and_arrival():
    assert DeviceClock(ClockConfig(mode='device')).update(ROS0 + 1, ROS0 + 5).stamp_ns == ROS0 + 1
    clock = DeviceClock(ClockConfig(mode='arrival', latency=0.001))
    assert clock.update(77, ROS0 + 5 * MS).stamp_ns == ROS0 + 4 * MS
    assert clock.settled


def test_same_stamps_in_same_stamps_out():
    _, device, arrival = pairs(20.0)
    assert feed(DeviceClock(ClockConfig()), device, arrival) == feed(DeviceClock(ClockConfig()), device, arrival)


def test_unsettled_clock_says_so():
    clock = DeviceClock(ClockConfig())
    assert not clock.settled and clock.sigma_s == ClockConfig().start_sigma
    feed(clock, *pairs(1.0)[1:])
    assert not clock.settled
    clock.reset()
    assert clock.offset_s == 0.0


def jitter_ms(frames, stamps):
    line = np.polyfit(frames - frames[0], (stamps - stamps[0]) / MS, 1)
    return float(np.std((stamps - stamps[0]) / MS - np.polyval(line, frames - frames[0])))


def test_real_jitter_is_taken_out(real_stamps):
    frames, _, arrival = real_stamps
    assert len(frames) == 500
    device = DEVICE0 + np.round((frames - frames[0]) / 56.0 * SECOND).astype(np.int64)
    clock = DeviceClock(ClockConfig())
    stamps = np.array([reading.stamp_ns for reading in feed(clock, device, arrival)])
    settled = slice(100, None)
    assert jitter_ms(frames, arrival) > 15.0
    assert jitter_ms(frames[settled], stamps[settled]) < 0.15 * jitter_ms(frames[settled], arrival[settled])
    assert clock.steps == 0


@pytest.mark.parametrize('mode', ['synchronise', 'device', 'arrival'])
def test_real_stamps_that_wander_still_grow(real_stamps, mode):
    _, device, arrival = real_stamps
    readings = feed(DeviceClock(ClockConfig(mode=mode)), device, arrival)
    stamps = [reading.stamp_ns for reading in readings]
    assert all(b > a for a, b in itertools.pairwise(stamps))


def test_rate_and_jitter_of_the_real_recording(real_stamps):
    _, _, arrival = real_stamps
    meter = RateMeter(RateConfig(window=512))
    for stamp in arrival.tolist():
        meter.add(stamp)
    report = meter.report()
    assert report.samples == 500 and report.backward == 0
    assert 15.0 < report.rate_hz < 30.0  # 500 of 1842 frames of the device were kept
    assert report.jitter_rms_s > 0.005


def test_rate_meter_recovers_rate_jitter_and_gaps():
    rng = np.random.default_rng(0)
    stamps = ROS0 + np.round((np.arange(400) / 50.0 + rng.normal(0.0, 0.0005, 400)) * SECOND).astype(np.int64)
    stamps[300:] += SECOND
    meter = RateMeter()
    for stamp in stamps.tolist():
        meter.add(stamp)
    meter.add(int(stamps[-1]))
    report = meter.report()
    assert report.rate_hz == pytest.approx(50.0, rel=0.01)
    assert report.jitter_rms_s == pytest.approx(0.0005, rel=0.2)
    assert (report.gaps, report.backward, report.samples) == (1, 1, 401)
    meter.reset()
    assert meter.report().rate_hz == 0.0 and meter.report().samples == 0
