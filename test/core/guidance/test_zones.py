import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.codes import CODES
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.guidance.config import ZoneConfig
from twin_nodes.core.guidance.zones import Zone, ZoneMonitor

MS = 1_000_000
CONFIG = ZoneConfig(near_distance=0.005, near_hysteresis=0.001, inside_hysteresis=0.0005, dwell=0.1)


def run(monitor, distances, *, step_ms=10, start=0):
    events = []
    for n, distance in enumerate(distances):
        events.extend(monitor.update((start + n * step_ms) * MS + 1, {'nerve': distance}))
    return events


@pytest.fixture
def monitor():
    return ZoneMonitor(CONFIG, {'nerve': np.nan})


def test_approach_touch_and_withdrawal(monitor):
    approach = np.linspace(0.01, -0.001, 56)
    events = run(monitor, [*approach, *approach[::-1], *[0.01] * 20])
    assert [event.zone for event in events] == [Zone.CLEAR, Zone.NEAR, Zone.INSIDE, Zone.NEAR, Zone.CLEAR]
    assert [event.code for event in events] == [
        'OK', 'STRUCTURE_NEAR', 'STRUCTURE_BREACHED', 'STRUCTURE_NEAR', 'OK',
    ]  # fmt: skip
    assert events[1].distance < 0.005
    assert events[2].distance < 0.0
    # Left at 0.5 mm and 6 mm, plus the dwell.
    first_above = {limit: next(n for n in range(56, 200) if [*approach, *approach[::-1], *[0.01] * 20][n] >= limit)
                   for limit in (0.0005, 0.006)}  # fmt: skip
    assert events[3].stamp_ns == (first_above[0.0005] + 10) * 10 * MS + 1
    assert events[4].stamp_ns == (first_above[0.006] + 10) * 10 * MS + 1
    assert '1.0 mm deep' in events[2].message or 'inside' in events[2].message
    assert all(event.code in CODES for event in events)


def test_one_sample_below_zero_is_enough(monitor):
    events = run(monitor, [0.02, -1e-9])
    assert [event.zone for event in events] == [Zone.CLEAR, Zone.INSIDE]
    assert events[1].stamp_ns == 10 * MS + 1


def test_a_jump_out_from_inside_to_far_goes_to_clear_after_the_dwell(monitor):
    events = run(monitor, [-0.001, *[0.05] * 11])
    assert [event.zone for event in events] == [Zone.INSIDE, Zone.CLEAR]
    assert events[1].stamp_ns == 110 * MS + 1


def test_a_dip_starts_the_dwell_again(monitor):
    events = run(monitor, [0.004, *[0.007] * 9, 0.0055, *[0.007] * 11])
    assert [event.zone for event in events] == [Zone.NEAR, Zone.CLEAR]
    assert events[1].stamp_ns == (11 + 10) * 10 * MS + 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-0.02, 0.02), min_size=1, max_size=60))
def test_inside_is_never_missed_and_never_left_below_zero(distances):
    monitor = ZoneMonitor(CONFIG, {'nerve': np.nan})
    for n, distance in enumerate(distances):
        monitor.update((n + 1) * 40 * MS, {'nerve': distance})
        zone = monitor.zones['nerve']
        if distance < 0.0:
            assert zone is Zone.INSIDE
        elif distance < 0.005:
            assert zone in (Zone.NEAR, Zone.INSIDE)


@settings(max_examples=100, deadline=None)
@given(
    centre=st.floats(-0.01, 0.02),
    noise=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=80),
    limit=st.sampled_from(['near', 'inside']),
)
def test_noise_below_the_hysteresis_makes_no_chatter(centre, noise, limit):
    config = ZoneConfig(near_distance=0.005, near_hysteresis=0.001, inside_hysteresis=0.001, dwell=0.0)
    monitor = ZoneMonitor(config, {'nerve': np.nan})
    events = run(monitor, [centre + 0.000499 * value for value in noise])
    # The first event only says where the tool is; a steady tool crosses each limit at most once after that.
    assert len(events) <= 2


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(-0.01, 0.02), st.integers(1, 300), st.booleans()), min_size=1, max_size=40))
def test_same_input_gives_same_events_and_events_tell_the_zones(steps):
    def play():
        monitor = ZoneMonitor(CONFIG, {'nerve': np.nan, 'artery': 0.002})
        stamp, events, zone = 0, [], Zone.WITHDRAWN
        for distance, step, stale in steps:
            stamp += step * MS
            found = monitor.withdraw(stamp) if stale else monitor.update(stamp, {'nerve': distance, 'artery': 0.003})
            for event in found:
                if event.structure == 'nerve':
                    assert event.previous is zone
                    zone = event.zone
            assert monitor.zones['nerve'] is zone
            events.extend(found)
        return events

    assert play() == play()


def test_each_structure_has_its_own_limit():
    monitor = ZoneMonitor(CONFIG, {'nerve': np.nan, 'artery': 0.01})
    monitor.update(1, {'nerve': 0.007, 'artery': 0.007})
    assert monitor.zones == {'nerve': Zone.CLEAR, 'artery': Zone.NEAR}


def test_stale_advice_is_withdrawn_once_and_starts_anew(monitor):
    run(monitor, [0.004])
    events = monitor.withdraw(50 * MS)
    assert [(event.code, event.zone, event.distance) for event in events] == [('GUIDANCE_STALE', Zone.WITHDRAWN, None)]
    assert monitor.withdraw(60 * MS) == ()
    # 5.5 mm lies in the hysteresis band; nothing is remembered, so it is clear at once.
    assert [event.zone for event in run(monitor, [0.0055], start=40)] == [Zone.CLEAR]


def test_it_starts_withdrawn_and_reset_forgets(monitor):
    assert monitor.zones == {'nerve': Zone.WITHDRAWN}
    run(monitor, [0.004], start=1000)
    monitor.reset()
    assert monitor.zones == {'nerve': Zone.WITHDRAWN}
    assert [event.zone for event in run(monitor, [0.004], start=0)] == [Zone.NEAR]


@pytest.mark.parametrize(('stamp', 'code'), [(5, 'STAMP_DUPLICATE'), (4, 'STAMP_BACKWARD')])
def test_stamps_must_grow(monitor, stamp, code):
    monitor.update(5, {'nerve': 0.01})
    with pytest.raises(InputError, match='does not come after') as caught:
        monitor.update(stamp, {'nerve': -0.01})
    assert caught.value.code == code
    assert monitor.zones == {'nerve': Zone.CLEAR}


def test_nan_and_wrong_names_change_nothing(monitor):
    monitor.update(1, {'nerve': 0.001})
    with pytest.raises(InputError, match='NaN') as caught:
        monitor.update(2, {'nerve': np.nan})
    assert caught.value.code == 'NOT_FINITE'
    with pytest.raises(InputError, match='structures are'):
        monitor.update(2, {'vein': 0.001})
    assert monitor.zones == {'nerve': Zone.NEAR}
    assert monitor.update(2, {'nerve': 0.001}) == ()


def test_config_refuses_limits_that_contradict():
    with pytest.raises(ConfigError, match='inside_hysteresis'):
        ZoneConfig(near_distance=0.0, near_hysteresis=0.0001, inside_hysteresis=0.001)
    with pytest.raises(ConfigError, match='artery'):
        ZoneMonitor(CONFIG, {'artery': -0.001})
    with pytest.raises(ConfigError, match='near_distance'):
        build_config(ZoneConfig, {'near_distance': 5.0})
