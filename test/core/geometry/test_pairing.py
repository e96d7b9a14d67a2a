"""Two streams at one instant: exact where the truth is known, and the same whatever the order of arrival."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.geometry import se3
from twin_nodes.core.geometry.pairing import Pair, PairingConfig, StampedCovariance, StreamPairing, Unpaired

MS = 1_000_000


def moving(stamp_ms: float) -> StampedCovariance:
    """100 mm/s and 1 rad/s, so both interpolations are exact."""
    t = stamp_ms * 1e-3
    return StampedCovariance(
        round(stamp_ms * MS), se3.make_transform(se3.rotation_exp([0.0, 0.0, t]), [0.1 * t, 0.0, 0.0]), np.eye(6) * 1e-8
    )


def test_reference_is_interpolated_at_the_stamp():
    pairing = StreamPairing(PairingConfig())
    for stamp in range(0, 200, 16):
        pairing.add_reference(moving(stamp))
    (pair,) = pairing.add_sample(moving(85.5))
    assert isinstance(pair, Pair) and pair.stamp_ns == 85.5 * MS
    np.testing.assert_allclose(pair.reference.pose, moving(85.5).pose, atol=1e-9)


def test_a_sample_waits_for_the_reference_and_is_then_paired():
    pairing = StreamPairing(PairingConfig())
    assert pairing.add_reference(moving(0)) == []
    assert pairing.add_sample(moving(10)) == []
    (pair,) = pairing.add_reference(moving(16))
    np.testing.assert_allclose(pair.reference.pose, moving(10).pose, atol=1e-9)


def test_no_pair_across_a_gap_before_the_start_or_when_the_reference_stops():
    pairing = StreamPairing(PairingConfig(max_wait=0.1, max_gap=0.1))
    pairing.add_reference(moving(50))
    assert [type(x) for x in pairing.add_sample(moving(20))] == [Unpaired]
    assert pairing.add_sample(moving(120)) == []
    (lost,) = pairing.add_reference(moving(250))
    assert isinstance(lost, Unpaired) and '200 ms' in lost.reason
    assert pairing.add_sample(moving(300)) == []
    (late,) = pairing.add_sample(moving(401))
    assert isinstance(late, Unpaired) and late.stamp_ns == 300 * MS


def test_repeated_and_backward_references_are_ignored_and_reset_forgets():
    pairing = StreamPairing(PairingConfig())
    pairing.add_reference(moving(50))
    assert pairing.add_reference(moving(50)) == [] and pairing.add_reference(moving(10)) == []
    assert pairing.newest_reference_ns == 50 * MS
    pairing.reset()
    assert pairing.newest_reference_ns is None


@settings(deadline=None, max_examples=50)
@given(st.randoms(use_true_random=False))
def test_the_pairs_do_not_depend_on_the_order_of_arrival(random):
    def run(order):
        pairing = StreamPairing(PairingConfig(max_wait=10.0))
        references = iter([moving(t) for t in range(0, 400, 16)])
        samples = iter([moving(t + 3.0) for t in range(0, 380, 10)])
        found = []
        for is_sample in order:
            found += pairing.add_sample(next(samples)) if is_sample else pairing.add_reference(next(references))
        return [(x.stamp_ns, x.reference.pose.tobytes()) for x in found if isinstance(x, Pair)]

    order = [False] * 25 + [True] * 38
    expected = run(order)
    random.shuffle(order)
    assert run(order) == expected and len(expected) == 38


@pytest.mark.parametrize('capacity', [8])
def test_memory_is_bounded(capacity):
    pairing = StreamPairing(PairingConfig(max_wait=100.0), capacity=capacity)
    for stamp in range(1, 100):
        pairing.add_sample(moving(stamp))
    assert len(pairing._waiting) <= capacity


def test_covariance_covers_what_a_reference_does_between_its_stamps():
    config = PairingConfig(acceleration=0.5, angular_acceleration=2.0)
    rng = np.random.default_rng(3)
    squares = []
    for _ in range(2000):
        acceleration, turn = rng.normal(scale=0.5, size=3), rng.normal(scale=2.0, size=3)

        def at(stamp_ms, acceleration=acceleration, turn=turn):
            t = stamp_ms * 1e-3
            pose = se3.make_transform(se3.rotation_exp(0.5 * turn * t**2), 0.5 * acceleration * t**2)
            return StampedCovariance(round(stamp_ms * MS), pose, np.zeros((6, 6)))

        pairing = StreamPairing(config)
        pairing.add_reference(at(0))
        pairing.add_reference(at(66))
        (pair,) = pairing.add_sample(at(20))
        error = np.concatenate(
            [
                at(20).pose[:3, 3] - pair.reference.pose[:3, 3],
                se3.rotation_log(at(20).pose[:3, :3] @ pair.reference.pose[:3, :3].T),
            ]
        )
        squares.append(error @ np.linalg.solve(pair.reference.covariance, error))
    assert np.mean(squares) == pytest.approx(6.0, rel=0.06)  # χ² with 6 degrees of freedom, standard error 1.3 %
