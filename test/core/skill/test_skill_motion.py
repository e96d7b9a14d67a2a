"""Measures of motions whose truth is known, and the entropy score on a worked example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.skill.motion import SkillConfig, measure_force, measure_motion
from twin_nodes.core.skill.score import entropy_score
from twin_nodes.core.stamps import NANOSECONDS

CONFIG = SkillConfig()
RATE = 100.0


def reach(seconds=2.0, length=0.1):
    """A minimum-jerk reach along a skew line: its length, peak speed and jerk are known in closed form."""
    times = np.arange(0.0, seconds + 0.5 / RATE, 1.0 / RATE)
    tau = times / seconds
    way = length * (10.0 * tau**3 - 15.0 * tau**4 + 6.0 * tau**5)
    direction = np.array([1.0, 2.0, -2.0]) / 3.0
    return np.round(times * NANOSECONDS).astype(np.int64), way[:, None] * direction


def test_minimum_jerk_reach_has_its_known_measures():
    stamps, positions = reach()
    measures = measure_motion(stamps, positions, CONFIG)
    assert measures.path_length == pytest.approx(0.1, rel=2e-3)
    assert measures.economy == pytest.approx(1.0, abs=2e-3)
    assert measures.peak_speed == pytest.approx(1.875 * 0.1 / 2.0, rel=2e-3)
    # ∫ jerk² dt = 720 L²/T⁵, v = 1.875 L/T: T³/v² times it is 720/1.875²; the smoothing takes a little off the ends
    assert measures.smoothness == pytest.approx(-np.log(720.0 / 1.875**2), abs=0.2)
    assert measures.gaps == 0


def test_tremor_is_less_smooth_and_longer():
    stamps, positions = reach()
    shaky = positions + 1e-3 * np.sin(2.0 * np.pi * 8.0 * stamps / NANOSECONDS)[:, None]
    good, bad = measure_motion(stamps, positions, CONFIG), measure_motion(stamps, shaky, CONFIG)
    assert bad.smoothness < good.smoothness - 1.0
    assert bad.path_length > good.path_length


def test_rest_counts_as_idle_and_gaps_are_not_bridged():
    stamps, positions = reach()
    rest = stamps[-1] + np.arange(1, 201) * 10_000_000
    far = rest[-1] + 5 * NANOSECONDS + stamps
    all_stamps = np.concatenate([stamps, rest, far])
    path = np.vstack([positions, np.repeat(positions[-1:], 200, axis=0), positions + 1.0])
    measures = measure_motion(all_stamps, path, CONFIG)
    assert measures.gaps == 1
    assert measures.path_length == pytest.approx(0.2, rel=5e-3)
    assert measures.tracked == pytest.approx(6.0, abs=0.05)
    assert 0.3 < measures.idle_share < 0.6


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.5, 4.0))
def test_smoothness_does_not_depend_on_place_turn_or_size(seed, scale):
    from twin_nodes.core.geometry.se3 import rotation_exp

    rng = np.random.default_rng(seed)
    stamps, positions = reach()
    positions = positions + np.cumsum(rng.normal(0.0, 2e-5, positions.shape), axis=0)
    moved = scale * positions @ rotation_exp(rng.normal(size=3)).T + rng.normal(size=3)
    one, other = measure_motion(stamps, positions, CONFIG), measure_motion(stamps, moved, CONFIG)
    assert other.smoothness == pytest.approx(one.smoothness, abs=1e-6)
    assert other.path_length == pytest.approx(scale * one.path_length, rel=1e-9)


def test_forces_are_counted_once_each():
    stamps = np.arange(0, 400) * 10_000_000
    forces = np.zeros((400, 3))
    forces[50:100, 2] = -3.0
    forces[70:75, 2] = -1.5  # not below half of the limit: the same peak
    forces[200:210, 0] = 5.0
    measures = measure_force(stamps, forces, CONFIG)
    assert measures.peaks == 2
    assert measures.peak == 5.0
    assert measures.impulse == pytest.approx(0.45 * 3.0 + 0.05 * 1.5 + 0.1 * 5.0, abs=0.01)


@pytest.mark.parametrize(
    ('stamps', 'positions', 'text'),
    [
        ([0, 1], np.zeros((2, 3)), 'need at least'),
        ([0, 2, 1, 3], np.zeros((4, 3)), 'must ascend'),
        ([0, 1, 2, 3], np.full((4, 3), np.nan), 'not finite'),
        ([0, 10**9, 2 * 10**9], np.zeros((3, 3)), 'record longer'),
    ],
)
def test_what_cannot_be_measured_is_refused(stamps, positions, text):
    with pytest.raises(InputError, match=text):
        measure_motion(np.array(stamps), positions, CONFIG)


def test_entropy_score_of_a_worked_example():
    # two measures, less is better for both; the second is alike in all trials
    result = entropy_score(np.array([[10.0, 5.0], [20.0, 5.0], [30.0, 5.0]]), more_is_better=np.array([False, False]))
    shares = np.array([1.0, 0.5]) / 1.5
    entropy = -np.sum(shares * np.log(shares)) / np.log(3.0)
    assert result.entropies == pytest.approx([entropy, 1.0])
    assert result.weights == pytest.approx([1.0, 0.0])
    assert result.scores == pytest.approx([1.0, 0.5, 0.0])


def test_alike_trials_score_alike():
    result = entropy_score(np.ones((3, 2)), more_is_better=np.array([True, False]))
    assert result.scores == pytest.approx([1.0, 1.0, 1.0])
    with pytest.raises(InputError, match='at least two'):
        entropy_score(np.ones((1, 2)), more_is_better=np.array([True, False]))
