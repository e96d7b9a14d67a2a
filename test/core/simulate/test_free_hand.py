"""Simulated hands that move freely have the spectrum that is promised, and the noise that is asked for."""

import numpy as np
import pytest

from twin_nodes.core.simulate.free_hand import free_hand_trace


def drawn(seed, **kwargs):
    return free_hand_trace(np.random.default_rng(seed), **kwargs)


def test_a_seed_gives_the_same_hand_and_another_seed_another_one():
    first, second, other = drawn(3), drawn(3), drawn(4)
    assert np.array_equal(first.measured, second.measured)
    assert not np.allclose(first.truth, other.truth)


def test_the_power_of_the_velocity_falls_as_coloured_noise_does():
    from scipy.signal import welch

    rate_hz, power = 60.0, 0.0
    for seed in range(24):
        steps = np.diff(drawn(seed, rate_hz=rate_hz, noise=0.0).truth, axis=0)
        frequencies, found = welch(steps / steps.std(), rate_hz, nperseg=256, axis=0)
        power = power + found.sum(axis=1)
    at = [power[np.argmin(np.abs(frequencies - wanted))] for wanted in (1.5, 3.0, 6.0, 12.0)]
    slopes = np.log2(np.array(at[:-1]) / at[1:])  # octaves: 2 where one filter acts, 4 where both do
    assert 1.5 < slopes[0] < 3.5
    assert slopes[0] < slopes[1] < slopes[2] < 4.5


def test_the_noise_is_that_which_is_asked_for_and_a_rate_changes_no_speed():
    trace = drawn(7, seconds=200.0, noise=3e-3)
    error = trace.measured - trace.truth
    assert np.sqrt(np.mean(np.sum(error**2, axis=1))) == pytest.approx(3e-3, rel=0.02)
    speeds = []
    for rate_hz in (30.0, 120.0):
        truths = [drawn(seed, seconds=60.0, rate_hz=rate_hz, noise=0.0).truth for seed in range(12)]
        speeds.append(np.mean([np.log(np.sqrt(np.mean(np.diff(one, axis=0) ** 2)) * rate_hz) for one in truths]))
    assert speeds[0] == pytest.approx(speeds[1], abs=0.35)


def test_some_hands_rest_and_some_never_do():
    resting = []
    for seed in range(16):
        steps = np.linalg.norm(np.diff(drawn(seed, noise=0.0).truth, axis=0), axis=1)
        resting.append(np.mean(steps < 1e-12) > 0.02)
    assert 3 <= sum(resting) <= 13
