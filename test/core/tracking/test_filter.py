"""The pose filter against truth, against its numpy twin, and against bad manners of a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.core.tracking.filter import FilterOutcome, PoseFilter, PoseFilterConfig
from twin_nodes.core.tracking.filter_reference import ReferencePoseFilter
from twin_nodes.core.tracking.filter_trial import HandMotion, Sweep, mean_nees, measure, model_motion, run_trial

CONFIG = PoseFilterConfig()
MS = 1_000_000
T0 = 1_000_000 * MS
PERIOD = 16_666_667


def moving(count, seed=0, config=CONFIG):
    rng = np.random.default_rng(seed)
    return measure(config, rng, HandMotion().draw(rng, count, 60.0))


def stamps(count):
    return [T0 + index * PERIOD for index in range(count)]


def feed_all(filter_, samples):
    return [filter_.add(stamp, pose) for stamp, pose in samples]


def assert_same(a, b, tolerance=1e-12):
    assert a.stamp_ns == b.stamp_ns
    np.testing.assert_allclose(a.tracker_T_tool, b.tracker_T_tool, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a.velocity, b.velocity, rtol=0, atol=1e-9)


def test_is_consistent_on_motion_of_its_model():
    # 100 runs × 6 degrees of freedom: the mean of a step lies in the bounds with 95 %; neighbouring steps are
    # correlated, so 90 % of the steps is what 95 % leaves room for
    nees = mean_nees(CONFIG, runs=100, steps=60)
    low, high = np.array(chi2.interval(0.95, 600)) / 100
    assert low < nees.mean() < high
    assert ((nees > low) & (nees < high)).mean() >= 0.9


def test_halves_the_variance_of_a_moving_tool_without_lag():
    ratios = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        trial = run_trial(CONFIG, rng, HandMotion().draw(rng, 3600, 60.0), 60.0)
        ratios.append(trial.rms_ratio())
        assert abs(trial.lag_s()) < 0.001
        assert 5.0 < trial.nees[60:].mean() < 7.0, 'honest on motion that is not of its model'
    assert np.mean(ratios) < 0.7


@pytest.mark.parametrize(
    ('motion', 'limit'),
    [
        (HandMotion(reach=(0.02, 0.06), peak_speed=(0.1, 0.2)), 0.95),
        (HandMotion(tremor=60e-6), 0.8),
        (HandMotion(tremor=150e-6), 0.9),
        (HandMotion(reach=(1e-6, 2e-6), tremor=0.0), 0.65),
        (Sweep(amplitude=0.03, rate_hz=0.6), 0.9),
        (Sweep(amplitude=0.05, rate_hz=1.0), 1.0),
    ],
    ids=['short reaches', 'tremor', 'strong tremor', 'at rest', 'sweeps', 'fast sweeps'],
)
def test_gains_on_all_motions_and_knows_its_error(motion, limit):
    rng = np.random.default_rng(5)
    trial = run_trial(CONFIG, rng, motion.draw(rng, 1200, 60.0), 60.0)
    assert trial.rms_ratio() < limit
    assert trial.nees[60:].mean() < 7.5


def test_lag_is_measured_with_its_sign():
    rng = np.random.default_rng(0)
    trial = run_trial(CONFIG, rng, HandMotion(tremor=0.0).draw(rng, 1200, 60.0), 60.0)
    late = np.stack([np.interp(trial.times - 0.01, trial.times, axis) for axis in trial.truth.T], axis=1)
    shifted = type(trial)(trial.times, trial.truth, trial.measured, late, trial.nees)
    assert shifted.lag_s() == pytest.approx(0.01, abs=1e-4)


def test_agrees_with_numpy_through_gates_restarts_and_uneven_steps():
    rng = np.random.default_rng(3)
    poses = moving(600, seed=3)
    poses[rng.random(600) < 0.05, :3, 3] += 0.3  # ghosts
    poses[300:330, :3, 3] += 0.4  # a jump that stays, then goes back
    gaps = rng.choice([2_500_000, PERIOD, 33_000_000, 400_000_000], 600, p=[0.1, 0.8, 0.09, 0.01])
    times = T0 + np.cumsum(gaps)
    ours, numpys = PoseFilter(CONFIG), ReferencePoseFilter(CONFIG)
    seen = set()
    for stamp, pose in zip(times.tolist(), poses, strict=True):
        a, b = ours.add(stamp, pose), numpys.add(stamp, pose)
        seen.add(a.outcome)
        assert a.outcome is b.outcome
        assert_same(a, b)
        assert a.nis == pytest.approx(b.nis, rel=1e-9, abs=1e-9)
    assert seen == {FilterOutcome.ACCEPTED, FilterOutcome.GATED, FilterOutcome.REINITIALISED}


def test_agrees_with_numpy_for_a_covariance_of_each_sample():
    rng = np.random.default_rng(4)
    ours, numpys = PoseFilter(CONFIG), ReferencePoseFilter(CONFIG)
    for stamp, pose in zip(stamps(50), moving(50), strict=True):
        root = np.diag([1e-4, 1e-4, 3e-4, 5e-4, 5e-4, 2e-4]) @ (np.eye(6) + 0.3 * rng.normal(size=(6, 6)))
        assert_same(ours.add(stamp, pose, root @ root.T), numpys.add(stamp, pose, root @ root.T))


def test_agrees_with_numpy_where_ties_of_position_and_rotation_begin():
    rng = np.random.default_rng(6)
    root = np.diag([1e-4, 1e-4, 3e-4, 5e-4, 5e-4, 2e-4]) @ (np.eye(6) + 0.3 * rng.normal(size=(6, 6)))
    ours, numpys = PoseFilter(PoseFilterConfig(history=8)), ReferencePoseFilter(CONFIG)
    for index, (stamp, pose) in enumerate(zip(stamps(90), moving(90), strict=True)):
        covariance = root @ root.T if 20 <= index < 40 or index > 70 else None
        stamp += 300 * MS * (index >= 60)  # starts again, untied, in slots that were tied
        ahead = ours.predict(stamp) if index else None
        a = ours.add(stamp, pose, covariance)
        assert_same(a, numpys.add(stamp, pose, covariance))
        assert (np.abs(a.covariance[:3, 3:]).max() > 0.0) == (20 <= index < 60 or index > 70)
        assert ahead is None or np.linalg.eigvalsh(ahead.covariance).min() > 0.0


def test_path_of_a_moving_tool_is_surer_across_than_along():
    t = np.arange(120)[:, None] / 60.0
    truth = make_transform(np.eye(3), 0.2 * t * np.array([0.6, 0.0, 0.8]))
    filter_ = PoseFilter(CONFIG)
    result = feed_all(filter_, zip(stamps(120), measure(CONFIG, np.random.default_rng(0), truth), strict=True))[-1]
    along, across = np.array([0.6, 0.0, 0.8]), np.array([-0.8, 0.0, 0.6])
    covariance = result.covariance[:3, :3]
    assert across @ covariance @ across < along @ covariance @ along


def test_same_samples_give_the_same_bits():
    samples = list(zip(stamps(200), moving(200), strict=True))
    first, second = feed_all(PoseFilter(CONFIG), samples), feed_all(PoseFilter(CONFIG), samples)
    for a, b in zip(first, second, strict=True):
        assert a.tracker_T_tool.tobytes() == b.tracker_T_tool.tobytes()
        assert a.covariance.tobytes() == b.covariance.tobytes()


def test_result_is_independent_of_the_choice_of_axes():
    world_T_tracker = make_transform(rotation_exp([0.4, -1.2, 2.0]), [3.0, -1.0, 0.5])
    poses = moving(100)
    a, b = PoseFilter(CONFIG), PoseFilter(CONFIG)
    for stamp, pose in zip(stamps(100), poses, strict=True):
        here, there = a.add(stamp, pose), b.add(stamp, world_T_tracker @ pose)
    back = inverse(world_T_tracker) @ there.tracker_T_tool
    np.testing.assert_allclose(back, here.tracker_T_tool, rtol=0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), window=st.integers(2, 5), ghosts=st.booleans())
def test_order_of_arrival_does_not_matter_within_the_lag(seed, window, ghosts):
    rng = np.random.default_rng(seed)
    poses = moving(40, seed=seed)
    if ghosts:
        poses[rng.random(40) < 0.2, 0, 3] += 0.5
    samples = list(zip(stamps(40), poses, strict=True))
    shuffled = sorted(samples, key=lambda sample: sample[0] + rng.integers(0, window) * PERIOD)
    ordered = feed_all(PoseFilter(CONFIG), samples)[-1]
    filter_ = PoseFilter(CONFIG)
    newest = 0
    for stamp, pose in shuffled:
        result = filter_.add(stamp, pose)
        assert result.stamp_ns >= newest
        newest = result.stamp_ns
    assert_same(filter_.predict(ordered.stamp_ns), ordered, 0.0)


def test_late_first_sample_becomes_the_start():
    samples = list(zip(stamps(3), moving(3), strict=True))
    late = PoseFilter(CONFIG)
    feed_all(late, [samples[1], samples[0]])
    assert_same(late.add(*samples[2]), feed_all(PoseFilter(CONFIG), samples)[-1], 0.0)


def test_late_sample_is_named_and_duplicate_and_old_ones_are_refused():
    samples = list(zip(stamps(30), moving(30), strict=True))
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, samples[:27] + samples[28:])
    before = filter_.predict(samples[-1][0])
    assert filter_.add(*samples[-1]).outcome is FilterOutcome.DUPLICATE
    assert filter_.add(*samples[5]).outcome is FilterOutcome.TOO_OLD
    assert_same(filter_.predict(samples[-1][0]), before, 0.0)
    assert filter_.add(*samples[27]).outcome is FilterOutcome.INSERTED_LATE
    assert filter_.add(*samples[27]).outcome is FilterOutcome.DUPLICATE


def test_history_that_is_too_small_for_the_lag_refuses_what_it_cannot_place():
    filter_ = PoseFilter(PoseFilterConfig(history=4))
    samples = list(zip(stamps(8), moving(8), strict=True))
    feed_all(filter_, samples[:2] + samples[3:])
    assert filter_.add(*samples[2]).outcome is FilterOutcome.TOO_OLD


def test_ghost_is_gated_and_leaves_no_trace():
    poses = moving(121)
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, zip(stamps(120)[:-1], poses[:119], strict=True))
    ghost = poses[119].copy()
    ghost[:3, 3] += 0.05
    result = filter_.add(stamps(120)[-1], ghost)
    assert result.outcome is FilterOutcome.GATED
    assert np.linalg.norm(result.tracker_T_tool[:3, 3] - poses[119, :3, 3]) < 0.001
    assert filter_.add(stamps(121)[-1], poses[120]).outcome is FilterOutcome.ACCEPTED


def test_turned_ghost_is_gated():
    poses = moving(60)
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, zip(stamps(59), poses[:59], strict=True))
    poses[59, :3, :3] = rotation_exp([0.0, 0.3, 0.0]) @ poses[59, :3, :3]
    assert filter_.add(stamps(60)[-1], poses[59]).outcome is FilterOutcome.GATED


def test_starts_again_after_consistent_gated_samples_and_not_after_scattered_ones():
    poses = moving(100)
    times = stamps(100)
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, zip(times[:50], poses[:50], strict=True))
    poses[50:, :3, 3] += 0.3
    outcomes = [result.outcome for result in feed_all(filter_, zip(times[50:56], poses[50:56], strict=True))]
    assert outcomes == [FilterOutcome.GATED] * 4 + [FilterOutcome.REINITIALISED, FilterOutcome.ACCEPTED]
    poses[56:, :3, 3] += np.random.default_rng(0).uniform(-1.0, 1.0, (44, 3))
    scattered = feed_all(filter_, zip(times[56:62], poses[56:62], strict=True))
    assert {result.outcome for result in scattered} == {FilterOutcome.GATED}


def test_follows_an_abrupt_start_instead_of_refusing_it():
    times, filter_ = stamps(90), PoseFilter(CONFIG)
    t = np.arange(90) / 60.0
    x = np.where(t < 1.05, np.where(t < 1.0, 0.0, 3.0 * (t - 1.0) ** 2), 0.0075 + 0.3 * (t - 1.05))
    truth = make_transform(np.eye(3), np.stack([x, 0 * x, 0 * x - 1.0], axis=1))
    measured = measure(CONFIG, np.random.default_rng(0), truth)
    results = feed_all(filter_, zip(times, measured, strict=True))
    assert all(result.outcome is not FilterOutcome.GATED for result in results)
    error = [np.linalg.norm(r.tracker_T_tool[:3, 3] - p[:3, 3]) for r, p in zip(results, truth, strict=True)]
    assert max(error) < 0.0006


def test_gap_starts_again():
    poses = moving(3)
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, [(T0, poses[0]), (T0 + PERIOD, poses[1])])
    result = filter_.add(T0 + PERIOD + 201 * MS, poses[2])
    assert result.outcome is FilterOutcome.REINITIALISED
    np.testing.assert_allclose(result.tracker_T_tool, poses[2], atol=1e-15)


def test_prediction_moves_on_grows_less_sure_and_changes_nothing():
    t = np.arange(120) / 60.0
    truth = make_transform(rotation_exp(np.outer(t, [0.0, 0.0, 0.5])), np.outer(t, [0.1, 0.0, 0.0]))
    filter_ = PoseFilter(CONFIG)
    feed_all(filter_, zip(stamps(120), measure(CONFIG, np.random.default_rng(0), truth), strict=True))
    now, soon = filter_.predict(stamps(120)[-1]), filter_.predict(stamps(120)[-1] + 50 * MS)
    expected = truth[-1, 0, 3] + 0.005
    assert soon.tracker_T_tool[0, 3] == pytest.approx(expected, abs=4 * np.sqrt(soon.covariance[0, 0]))
    assert np.trace(soon.covariance) > np.trace(now.covariance)
    assert_same(filter_.predict(stamps(120)[-1]), now, 0.0)


def test_prediction_without_a_sample_is_refused():
    filter_ = PoseFilter(CONFIG)
    with pytest.raises(InputError, match='no sample yet'):
        filter_.predict(T0)
    filter_.add(T0, np.eye(4))
    with pytest.raises(InputError, match='before the lag'):
        filter_.predict(T0 - 1)
    filter_.reset()
    assert not filter_.started and filter_.newest_ns == 0


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(bad):
    filter_ = PoseFilter(CONFIG)
    pose = np.eye(4)
    pose[0, 3] = bad
    with pytest.raises(InputError, match='NaN or Inf') as error:
        filter_.add(T0, pose)
    assert error.value.code == 'NOT_FINITE'


def test_wrong_shapes_and_covariances_are_refused():
    filter_ = PoseFilter(CONFIG)
    with pytest.raises(InputError, match=r'expected a pose \(4, 4\)'):
        filter_.add(T0, np.eye(3))
    with pytest.raises(InputError, match='positive definite'):
        filter_.add(T0, np.eye(4), np.zeros((6, 6)))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),
            st.tuples(*[st.floats(-1e9, 1e9)] * 3),
            st.tuples(*[st.floats(-3.1, 3.1)] * 3),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_never_nan_and_never_back_in_time(samples):
    filter_ = PoseFilter(CONFIG)
    newest = 0
    for offset, position, turn in samples:
        result = filter_.add(T0 + offset * MS, make_transform(rotation_exp(turn), position))
        assert result.stamp_ns >= newest
        newest = result.stamp_ns
        assert np.isfinite(result.tracker_T_tool).all() and np.isfinite(result.velocity).all()
        assert np.linalg.eigvalsh(result.covariance).min() > 0.0
        rotation = result.tracker_T_tool[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_model_motion_is_a_seeded_motion():
    a = model_motion(CONFIG, np.random.default_rng(1), 20, 60.0)
    np.testing.assert_array_equal(a, model_motion(CONFIG, np.random.default_rng(1), 20, 60.0))


def test_brisk_below_calm_is_refused():
    with pytest.raises(ConfigError, match=r'brisk_jerk=0\.001'):
        PoseFilterConfig(brisk_jerk=0.001)
    with pytest.raises(ConfigError, match='brisk_angular_jerk'):
        PoseFilterConfig(brisk_angular_jerk=0.001)
