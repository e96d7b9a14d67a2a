"""Several streams at one instant: exact where the truth is known, in order, and honest about clocks and gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry import se3
from twin_nodes.core.geometry.pairing import PairingConfig, StampedCovariance, Unpaired
from twin_nodes.core.geometry.synchroniser import StreamSynchroniser, Together

MS = 1_000_000
STILL = PairingConfig(acceleration=0.0, angular_acceleration=0.0)


def moving(stamp_ms, speed=0.1):
    """Constant speed [m/s] and 1 rad/s, so that interpolation is exact."""
    t = stamp_ms * 1e-3
    pose = se3.make_transform(se3.rotation_exp([0.0, 0.0, t]), [speed * t, 0.0, 0.0])
    return StampedCovariance(round(stamp_ms * MS), pose, np.eye(6) * 1e-8)


def test_all_streams_are_brought_to_the_instant_of_the_sample():
    streams = StreamSynchroniser(('patient', 'probe'), STILL)
    assert streams.add_sample(moving(50)) == []
    for stamp in range(0, 70, 16):
        assert streams.add_reference('patient', moving(stamp, 0.2)) == []
    settled = [item for stamp in range(5, 70, 20) for item in streams.add_reference('probe', moving(stamp, -0.3))]
    (together,) = settled
    assert isinstance(together, Together) and together.stamp_ns == 50 * MS
    np.testing.assert_allclose(together.references['patient'].pose, moving(50, 0.2).pose, atol=1e-9)
    np.testing.assert_allclose(together.references['probe'].pose, moving(50, -0.3).pose, atol=1e-9)


def test_an_offset_moves_the_stamps_and_its_error_widens_the_pose_along_its_motion():
    streams = StreamSynchroniser(('probe',), STILL)
    streams.set_offset('probe', 37 * MS, 0.005)
    for stamp in range(0, 200, 20):
        streams.add_reference('probe', moving(stamp - 37))
    (together,) = streams.add_sample(moving(90))
    probe = together.references['probe']
    np.testing.assert_allclose(probe.pose, moving(90 - 37).pose, atol=1e-9)
    # 0.1 m/s and 1 rad/s for 5 ms
    assert probe.covariance[0, 0] == pytest.approx(1e-8 + 0.0005**2, rel=1e-6)
    assert probe.covariance[5, 5] == pytest.approx(1e-8 + 0.005**2, rel=1e-6)
    assert probe.covariance[1, 1] == pytest.approx(1e-8)
    (exact,) = streams.add_sample(moving(100))
    assert exact.references['probe'].covariance[0, 0] == pytest.approx(1e-8 + 0.0005**2, rel=1e-6)


def test_the_stated_error_of_a_clock_is_consistent():
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(400):
        error = rng.normal(0.0, 0.004)
        streams = StreamSynchroniser(('probe',), STILL)
        streams.set_offset('probe', 0, 0.004)
        for stamp in range(0, 100, 20):
            told = StampedCovariance(stamp * MS, moving(stamp + 1e3 * error).pose, np.eye(6) * 1e-12)
            streams.add_reference('probe', told)  # its clock is off by the error
        found = streams.add_sample(moving(47))[0].references['probe']
        # what is said of the probe at 47 ms is its pose at 47 ms of another clock
        squares.append((found.pose[0, 3] - moving(47).pose[0, 3]) ** 2 / found.covariance[0, 0])
    assert np.mean(squares) == pytest.approx(1.0, abs=1.96 * np.sqrt(2.0 / 400))


def test_a_stream_that_stops_is_given_up_and_named():
    streams = StreamSynchroniser(('patient', 'probe'), PairingConfig(max_wait=0.1))
    streams.add_reference('patient', moving(0))
    streams.add_reference('probe', moving(0))
    streams.add_reference('patient', moving(20))
    assert streams.add_sample(moving(10)) == [] and streams.waiting_ns == 10 * MS
    (lost,) = streams.give_up(10 * MS)
    assert isinstance(lost, Unpaired) and lost.reason.startswith('probe: ')
    assert streams.waiting_ns is None and streams.give_up(10**12) == []
    assert streams.add_sample(moving(30)) == []
    settled = streams.add_sample(moving(140))
    assert [item.stamp_ns for item in settled] == [30 * MS]
    assert streams.add_reference('probe', moving(20)) == []


def test_time_that_jumps_back_clears_all_streams():
    streams = StreamSynchroniser(('patient', 'probe'))
    for stamp in (5000, 5020):
        streams.add_reference('patient', moving(stamp))
    assert streams.add_sample(moving(5010)) == []
    assert streams.add_reference('probe', moving(10)) == []
    assert streams.add_sample(moving(20)) == [] and streams.waiting_ns == 20 * MS
    assert isinstance(streams.add_sample(moving(20))[0], Unpaired)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_what_comes_out_does_not_depend_on_the_order_of_arrival(random):
    def run(order):
        streams = StreamSynchroniser(('a', 'b'), PairingConfig(max_wait=10.0))
        queues = {'': iter(range(3, 300, 10)), 'a': iter(range(0, 320, 16)), 'b': iter(range(-7, 320, 25))}
        found = []
        for name in order:
            pose = moving(next(queues[name]))
            found += streams.add_reference(name, pose) if name else streams.add_sample(pose)
        return [(item.stamp_ns, item.references['a'].pose.tobytes(), item.references['b'].pose.tobytes())
                for item in found if isinstance(item, Together)]  # fmt: skip

    order = [''] * 30 + ['a'] * 20 + ['b'] * 14
    first = run(order)
    random.shuffle(order)
    assert len(first) == 30 and sorted(run(order)) == first


def test_streams_need_names():
    for names in ((), ('a', 'a')):
        with pytest.raises(ConfigError, match='each once'):
            StreamSynchroniser(names)
    with pytest.raises(ConfigError, match="'x' is none of a"):
        StreamSynchroniser(('a',)).set_offset('x', 0, 0.0)
    with pytest.raises(ConfigError, match='0 or more'):
        StreamSynchroniser(('a',)).set_offset('a', 0, float('nan'))
