"""A measured force beside its profile: paired by time, judged along the normal, told when it leaves and returns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import rotation_exp
from twin_nodes.core.guidance.force_monitor import OFF_PROFILE, TOO_HIGH, ForceMonitor, TipDepth
from twin_nodes.core.guidance.force_profile import ForceConfig, ForceProfile
from twin_nodes.core.stamps import NANOSECONDS

STEP_NS = 10_000_000
UP = np.array([0.0, 0.0, 1.0])


def profile(sigma=0.0):
    """500 N/m on the way in, half of it on the way out, to 10 mm."""
    depths = np.linspace(0.0, 0.01, 11)
    entering = 500.0 * depths[:, None]
    return ForceProfile(depths, np.array([0.01]), entering, 0.5 * entering, sigma)


def place(index, depth, speed=0.02, rotation=None):
    return TipDepth(NANOSECONDS + index * STEP_NS, depth, speed, UP, np.eye(3) if rotation is None else rotation)


def stroke(monitor, forces, depth=0.004):
    """Hold the tip there and measure these forces along z; what changed, with the index."""
    told = []
    for index, force in enumerate(forces):
        monitor.expect(place(index, depth))
        reading = monitor.compare(NANOSECONDS + index * STEP_NS, np.array([0.3, 0.0, force]), in_tip=False)
        told += [(index, code, code in reading.codes) for code in reading.changed]
    return told


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 0.009), st.floats(0.0, 0.009), st.integers(0, 2**31))
def test_depth_and_turn_are_those_of_the_instant_of_the_force(share, first, second, seed):
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=3)
    monitor = ForceMonitor(ForceConfig(), profile())
    monitor.expect(place(0, first, rotation=np.eye(3)))
    monitor.expect(place(1, second, rotation=rotation_exp(turn)))
    stamp_ns = NANOSECONDS + round(share * STEP_NS)
    own = (stamp_ns - NANOSECONDS) / STEP_NS
    force = rng.normal(size=3)
    reading = monitor.compare(stamp_ns, force, in_tip=True)
    assert reading.place.depth == pytest.approx((1.0 - own) * first + own * second)
    assert reading.expected == pytest.approx(500.0 * reading.place.depth)
    if np.linalg.norm(turn) < 3.0:
        assert reading.measured == pytest.approx(float((rotation_exp(own * turn) @ force) @ UP))


def test_the_expected_force_pushes_out_along_the_normal():
    monitor = ForceMonitor(ForceConfig(), profile())
    np.testing.assert_allclose(monitor.expect(place(0, 0.004)), 2.0 * UP)
    np.testing.assert_allclose(monitor.expect(place(1, 0.004, speed=-0.02)), 1.0 * UP)
    np.testing.assert_allclose(monitor.expect(place(2, -0.004)), 0.0)


def test_what_leaves_the_profile_is_told_after_the_dwell_and_once():
    monitor = ForceMonitor(ForceConfig(dwell=0.1), profile())  # 2 N expected, 0.9 N allowed
    assert stroke(monitor, [2.1] * 20 + [3.2] * 5 + [2.0] * 20) == []  # 50 ms are too short
    monitor.reset()
    assert stroke(monitor, [2.0] * 10 + [3.2] * 30 + [2.8] * 30 + [2.5] * 30) == [
        (20, OFF_PROFILE, True), (80, OFF_PROFILE, False)
    ]  # fmt: skip


def test_the_error_of_the_table_is_allowed():
    assert stroke(ForceMonitor(ForceConfig(), profile(sigma=1.0)), [4.5] * 30) == []
    assert stroke(ForceMonitor(ForceConfig(), profile(sigma=0.1)), [4.5] * 30) == [(10, OFF_PROFILE, True)]


def test_too_much_force_is_told_at_once_and_a_touch_where_nothing_is_too():
    config = ForceConfig(alarm_force=3.0, tolerance=50.0)
    assert stroke(ForceMonitor(config, profile()), [2.0, 3.5, 2.0]) == [(1, TOO_HIGH, True)]
    assert stroke(ForceMonitor(ForceConfig(), profile()), [1.0] * 30, depth=-0.02) == [(10, OFF_PROFILE, True)]


def test_deeper_than_the_table_nothing_is_judged():
    monitor = ForceMonitor(ForceConfig(), profile())
    assert stroke(monitor, [0.0] * 40, depth=0.02) == []
    monitor.expect(place(40, 0.02))
    assert not monitor.compare(NANOSECONDS + 40 * STEP_NS, np.zeros(3), in_tip=False).is_known


def test_a_force_without_a_place_and_stamps_that_go_back_are_refused():
    monitor = ForceMonitor(ForceConfig(), profile())
    with pytest.raises(InputError, match='not known') as caught:
        monitor.compare(NANOSECONDS, UP, in_tip=False)
    assert caught.value.code == 'NO_TRANSFORM'
    monitor.expect(place(0, 0.001))
    monitor.expect(place(50, 0.001))  # half a second later: nothing is known in between
    for stamp_ns in (NANOSECONDS - 1, NANOSECONDS + STEP_NS, NANOSECONDS + 51 * STEP_NS):
        with pytest.raises(InputError, match='not known'):
            monitor.compare(stamp_ns, UP, in_tip=False)
    monitor.compare(NANOSECONDS + 50 * STEP_NS, UP, in_tip=False)
    with pytest.raises(InputError, match='does not come after'):
        monitor.compare(NANOSECONDS + 50 * STEP_NS, UP, in_tip=False)
    with pytest.raises(InputError, match='does not come after'):
        monitor.expect(place(50, 0.001))
    with pytest.raises(InputError, match='NaN'):
        monitor.expect(place(51, 0.001))
        monitor.compare(NANOSECONDS + 51 * STEP_NS, np.array([0.0, 0.0, np.nan]), in_tip=False)
