"""The prediction of poses: truth where it can be known, never worse than holding, and nothing from the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import angle_between, make_transform, rotation_exp
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.operator_model import HORIZONS
from twin_nodes.core.guidance.prediction.predictor import PosePredictor
from twin_nodes.core.guidance.prediction.spread import REGION
from twin_nodes.core.simulate.operator_motion import operator_trace

MS = 1_000_000
START = 10**12


def fed(poses, *, period_ms=10, predictor=None):
    """A predictor that has seen these poses."""
    predictor = predictor or PosePredictor(PredictionConfig())
    for index, pose in enumerate(poses):
        predictor.add(START + index * period_ms * MS, pose)
    return predictor


def straight(count, velocity, turn=(0.0, 0.0, 0.0), dt=0.01):
    times = dt * np.arange(count)[:, None]
    return make_transform(rotation_exp(times * np.array(turn)), times * np.array(velocity))


def follow(times, measured, truth, ahead):
    """Errors (n, 3), those of holding, and squared Mahalanobis distances, of the samples that can be judged."""
    predictor = PosePredictor(PredictionConfig())
    errors, held, distances = [], [], []
    for time, position in zip(times, measured, strict=True):
        predictor.add(START + round(time * 1e9), make_transform(np.eye(3), position))
        if time < 5.0 or time + ahead > times[-1]:
            continue
        future = np.array([np.interp(time + ahead, times, truth[:, axis]) for axis in range(3)])
        (found,) = predictor.predict(ahead)
        errors.append(future - found.pose[:3, 3])
        held.append(future - position)
        distances.append(errors[-1] @ np.linalg.solve(found.covariance[:3, :3], errors[-1]))
    return np.array(errors), np.array(held), np.array(distances)


@pytest.mark.parametrize('ahead', [0.05, 0.1, 0.3, 0.5])
def test_a_steady_motion_goes_on(ahead):
    velocity, turn = np.array([0.02, -0.01, 0.03]), np.array([0.2, 0.1, -0.3])
    predictor = fed(straight(600, velocity, turn))
    (found,) = predictor.predict(ahead)
    truth = straight(1, velocity)[0]
    truth[:3, 3] = velocity * (5.99 + ahead)
    truth[:3, :3] = rotation_exp(turn * (5.99 + ahead))
    way = np.linalg.norm(velocity) * ahead
    # the regression has seen nothing but this motion for six seconds: what is left is the share of the others
    assert np.linalg.norm(found.pose[:3, 3] - truth[:3, 3]) < 0.12 * way
    assert angle_between(found.pose, truth) < 0.15 * np.linalg.norm(turn) * ahead
    assert found.stamp_ns == START + 5990 * MS + round(ahead * 1e9)


def test_a_hand_at_rest_stays_and_the_pose_of_now_is_the_measured_one():
    pose = make_transform(rotation_exp([0.3, 0.2, -1.0]), [0.1, 0.2, -1.2])
    now, later = fed([pose] * 200).predict(0.0, 0.5)
    np.testing.assert_allclose(now.pose, pose, atol=1e-12)
    np.testing.assert_allclose(later.pose, pose, atol=1e-9)
    assert not now.covariance.any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_the_prediction_turns_and_moves_with_the_frame(seed):
    rng = np.random.default_rng(seed)
    trace = operator_trace(rng, seconds=4.0)
    turned_R, shift = rotation_exp(rng.normal(size=3)), rng.normal(size=3)
    own = fed(make_transform(np.eye(3), trace.measured), period_ms=16)
    other = fed(make_transform(turned_R, trace.measured @ turned_R.T + shift), period_ms=16)
    for one, two in zip(own.predict(*HORIZONS), other.predict(*HORIZONS), strict=True):
        # half a micrometre was seen in 2 of 61 traces, from weights that rounding moves; the noise is 100
        np.testing.assert_allclose(turned_R @ one.pose[:3, 3] + shift, two.pose[:3, 3], rtol=0.0, atol=5e-6)
        # the covariance is split along and across the velocity, whose direction at rest is rounding: its size must
        # agree. An error at the rim of its region may count as a hit here and as a miss there
        sizes = [float(np.trace(each.covariance[:3, :3])) for each in (one, two)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02, abs=1e-8)


@pytest.mark.parametrize(('ahead', 'skill'), [(0.1, 0.7), (0.3, 0.4), (0.5, 0.15)])
def test_operators_it_was_not_trained_on_are_told_better_than_by_holding(ahead, skill):
    errors, held, hits = [], [], []
    for seed in (20_001, 20_002):
        trace = operator_trace(np.random.default_rng(seed), seconds=20.0)
        own, still, distances = follow(trace.times, trace.measured, trace.truth, ahead)
        errors.append(own)
        held.append(still)
        hits.append(distances < REGION)
    rms = [np.sqrt(np.mean(np.concatenate(part) ** 2)) for part in (errors, held)]
    assert 1.0 - rms[0] / rms[1] > skill
    assert 0.9 < np.mean(np.concatenate(hits)) <= 1.0


def test_a_motion_without_rule_is_not_told_worse_than_by_holding():
    # a random walk: the best prediction is the last position; 1.02 is what weighing five models may cost
    rng = np.random.default_rng(5)
    times = np.arange(1500) / 60.0
    walk = np.cumsum(rng.normal(0.0, 1e-3, (1500, 3)), axis=0)
    for ahead in (0.1, 0.5):
        errors, held, _ = follow(times, walk, walk, ahead)
        assert np.sqrt(np.mean(errors**2)) < 1.02 * np.sqrt(np.mean(held**2))


def test_nothing_after_a_stamp_changes_its_prediction_and_the_same_samples_give_the_same():
    trace = operator_trace(np.random.default_rng(3), seconds=6.0)
    poses = make_transform(np.eye(3), trace.measured)
    first = fed(poses[:200], period_ms=16).predict(0.2)[0]
    again = fed(poses[:200], period_ms=16).predict(0.2)[0]
    assert first.pose.tobytes() == again.pose.tobytes()
    assert first.covariance.tobytes() == again.covariance.tobytes()


def test_a_gap_begins_the_motion_anew():
    predictor = fed(straight(200, [0.1, 0.0, 0.0]))
    pose = make_transform(np.eye(3), [0.5, 0.0, 0.0])
    predictor.add(START + 10_000 * MS, pose)
    (found,) = predictor.predict(0.3)
    np.testing.assert_allclose(found.pose, pose, atol=1e-12)


def test_a_turn_of_many_rounds_is_followed():
    turn = np.array([0.0, 0.0, 1.5])
    predictor = fed(straight(1500, [0.0, 0.0, 0.0], turn))
    (found,) = predictor.predict(0.1)
    truth = make_transform(rotation_exp(turn * (14.99 + 0.1)), np.zeros(3))
    assert angle_between(found.pose, truth) < 0.03


def test_bad_samples_and_times_are_refused_and_change_nothing():
    predictor = PosePredictor(PredictionConfig())
    with pytest.raises(InputError, match='no pose has been seen'):
        predictor.predict(0.1)
    predictor.add(START, np.eye(4))
    with pytest.raises(InputError, match='does not follow') as error:
        predictor.add(START, np.eye(4))
    assert error.value.code == 'STAMP_BACKWARD'
    with pytest.raises(InputError, match='NaN') as error:
        predictor.add(START + MS, np.full((4, 4), np.nan))
    assert error.value.code == 'NOT_FINITE'
    with pytest.raises(InputError, match=r'must be from 0 to 0\.5'):
        predictor.predict(0.6)
    assert predictor.stamp_ns == START
    predictor.reset()
    predictor.add(MS, np.eye(4))  # after a jump of the clock older stamps are welcome
