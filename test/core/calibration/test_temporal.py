import numpy as np
import pytest

from twin_nodes.core.calibration.temporal import TemporalConfig, estimate_offset
from twin_nodes.core.calibration.temporal_correlation import correlate, find_peak
from twin_nodes.core.calibration.temporal_stream import (
    interpolate_stream,
    pose_stream,
    position_stream,
)
from twin_nodes.core.calibration.temporal_trial import EPOCH_NS, RigidMotion, StreamNoise, disturbed, rigid_trial
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import exp, make_transform, random_transform, rotation_exp, transform_points
from twin_nodes.core.geometry.se3 import interpolate as interpolate_pair

MS = 1_000_000
NS = 1_000_000_000


def stamps_of(seconds):
    return EPOCH_NS + np.round(seconds * NS).astype(np.int64)


def test_37_ms_at_60_hz_are_found():
    for seed in range(5):
        trial = rigid_trial(np.random.default_rng(seed), offset=0.037)
        result = estimate_offset(trial.first, trial.second)
        # 0.6 mrad at about 0.8 rad/s over 1800 pairs: 0.02 ms
        assert abs(result.offset_ns - trial.offset_ns) < 0.1 * MS
        assert abs(result.coarse_ns - trial.offset_ns) < 10 * MS
        assert result.sigma < 0.1e-3
        assert result.verdict == 'accept'


@pytest.mark.parametrize(
    ('rates', 'noises'),
    [
        ((60.0, 60.0), (StreamNoise(), StreamNoise())),
        ((100.0, 30.0), (StreamNoise(), StreamNoise(5e-3, 15e-3))),
        ((60.0, 30.0), (StreamNoise(), StreamNoise(jitter=3e-3))),
    ],
)
def test_interval_holds_the_truth_in_19_of_20_cases(rates, noises):
    inside = 0
    for seed in range(60):
        trial = rigid_trial(np.random.default_rng(seed), seconds=20.0, rates_hz=rates, noises=noises)
        low, high = estimate_offset(trial.first, trial.second).interval_ns
        inside += low <= trial.offset_ns <= high
    # at 95 % 51 of 60 or fewer are seen in one case of 200
    assert inside >= 52


def test_clocks_that_were_never_set_are_tied():
    rng = np.random.default_rng(2)
    trial = rigid_trial(rng, offset=1.7e9 + 12.3456, seconds=20.0)
    result = estimate_offset(trial.first, trial.second)
    assert abs(result.offset_ns - trial.offset_ns) < MS


def test_swapping_the_streams_turns_the_sign():
    trial = rigid_trial(np.random.default_rng(3), offset=-0.25, seconds=20.0)
    there = estimate_offset(trial.first, trial.second)
    back = estimate_offset(trial.second, trial.first)
    # the pairs differ, so do their errors, by less than some sigma
    assert abs(there.offset_ns + back.offset_ns) < 5.0 * there.sigma * NS


def test_offset_does_not_depend_on_frames_or_order():
    rng = np.random.default_rng(4)
    trial = rigid_trial(rng, seconds=15.0)
    plain = estimate_offset(trial.first, trial.second)
    shuffled = rng.permutation(len(trial.second.stamps_ns))
    moved = random_transform(rng) @ trial.second.poses @ random_transform(rng)
    other = estimate_offset(trial.first, pose_stream(trial.second.stamps_ns[shuffled], moved[shuffled]))
    assert abs(plain.offset_ns - other.offset_ns) < 0.05 * MS


def test_positions_of_one_point_carry_the_offset_without_rotation():
    rng = np.random.default_rng(5)
    motion, noise = RigidMotion(rng, turn=0.0), 0.11e-3
    instants = [np.arange(1200) / 60.0, 0.004 + np.arange(1200) / 60.0]
    base_T_other = random_transform(rng)
    points = [motion.poses(t)[:, :3, 3] + rng.normal(0.0, noise, (1200, 3)) for t in instants]
    second = position_stream(stamps_of(instants[1]) - 37 * MS, transform_points(base_T_other, points[1]))
    result = estimate_offset(position_stream(stamps_of(instants[0]), points[0]), second)
    # 0.11 mm at about 0.1 m/s is 1 ms a sample
    assert abs(result.offset_ns - 37 * MS) < 4.0 * result.sigma * NS < MS
    assert result.residual_position < 5.0 * noise


def test_repeated_and_unordered_stamps_are_survived():
    rng = np.random.default_rng(6)
    trial = rigid_trial(rng, seconds=20.0)
    order = np.concatenate([np.arange(len(trial.first.stamps_ns)), rng.integers(0, 1000, 400)])
    order[:900:3] = order[:900:3][::-1]
    again = pose_stream(trial.first.stamps_ns[order], trial.first.poses[order])
    assert again.merged == 400
    assert again.reordered > 0
    np.testing.assert_array_equal(again.stamps_ns, trial.first.stamps_ns)
    np.testing.assert_allclose(again.poses, trial.first.poses, atol=1e-12)


def test_two_samples_of_one_stamp_become_their_mean():
    poses = np.array([make_transform(rotation_exp([0, 0, 0.02 * i]), [0.01 * i, 0, 0]) for i in range(10)])
    stream = pose_stream(np.array([*range(9), 8]), poses)
    np.testing.assert_allclose(stream.poses[8], make_transform(rotation_exp([0, 0, 0.17]), [0.085, 0, 0]), atol=1e-9)


def test_stamps_rounded_to_10_ms_cost_sigma_but_no_truth():
    trial = rigid_trial(np.random.default_rng(7), rates_hz=(100.0, 30.0))
    rounded = pose_stream((trial.second.stamps_ns + 5 * MS) // (10 * MS) * (10 * MS), trial.second.poses)
    result = estimate_offset(trial.first, rounded)
    assert abs(result.offset_ns - trial.offset_ns) < 4.0 * result.sigma * NS
    assert result.jitter == pytest.approx(10e-3 / np.sqrt(12.0), rel=0.25)


def test_outliers_do_not_move_the_offset():
    rng = np.random.default_rng(8)
    trial = rigid_trial(rng)
    bad = rng.permutation(1800)[:180]
    poses = trial.second.poses.copy()
    poses[bad] = poses[bad] @ exp(rng.normal(0.0, 0.3, (180, 6)))
    result = estimate_offset(trial.first, pose_stream(trial.second.stamps_ns, poses))
    assert abs(result.offset_ns - trial.offset_ns) < 0.2 * MS
    assert result.outliers > 150


def test_a_rhythm_is_refused_and_said():
    seconds = np.arange(1800) / 60.0
    turns = np.stack([0.4 * np.sin(2 * np.pi * seconds), 0.0 * seconds, 0.0 * seconds], axis=1)
    rng = np.random.default_rng(9)
    poses = make_transform(rotation_exp(turns), np.zeros((1800, 3)))
    streams = [pose_stream(stamps_of(seconds) - late, disturbed(poses, StreamNoise(), rng)) for late in (0, 37 * MS)]
    with pytest.raises(DegenerateGeometryError, match='the motion repeats itself'):
        estimate_offset(*streams)
    known = estimate_offset(*streams, TemporalConfig(max_offset=0.2))
    assert abs(known.offset_ns - 37 * MS) < MS


@pytest.mark.parametrize('turn', [0.0, 0.01])
def test_no_rotation_is_refused_and_said(turn):
    trial = rigid_trial(np.random.default_rng(10), motion=RigidMotion(np.random.default_rng(10), turn=turn))
    with pytest.raises(DegenerateGeometryError, match='turn the body') as caught:
        estimate_offset(trial.first, trial.second)
    assert caught.value.code == 'CALIBRATION_REFUSED'


def test_an_even_turn_is_refused():
    seconds, rng = np.arange(1200) / 60.0, np.random.default_rng(11)
    poses = make_transform(rotation_exp(np.outer(seconds, [0.0, 0.0, 0.4])), np.zeros((1200, 3)))
    streams = [pose_stream(stamps_of(seconds), disturbed(poses, StreamNoise(), rng)) for _ in range(2)]
    with pytest.raises(DegenerateGeometryError, match=r'Move it at changing speed|repeats itself'):
        estimate_offset(*streams)


def test_streams_of_different_motions_are_refused():
    first = rigid_trial(np.random.default_rng(12)).first
    second = rigid_trial(np.random.default_rng(13)).second
    with pytest.raises(DegenerateGeometryError, match=r'correlate|repeats itself|rigid body'):
        estimate_offset(first, second)


def test_short_recording_is_refused():
    trial = rigid_trial(np.random.default_rng(14), seconds=3.0)
    with pytest.raises(DegenerateGeometryError, match=r'lasts 3\.0 s, 5\.0 s are needed'):
        estimate_offset(trial.first, trial.second)


def test_streams_that_barely_overlap_are_not_tied_by_chance():
    trial = rigid_trial(np.random.default_rng(15), seconds=40.0)
    early, late = trial.first.stamps_ns < trial.first.stamps_ns[1300], trial.second.stamps_ns > 0
    late[:1200] = False
    with pytest.raises(DegenerateGeometryError):
        estimate_offset(
            pose_stream(trial.first.stamps_ns[early], trial.first.poses[early]),
            pose_stream(trial.second.stamps_ns[late], trial.second.poses[late]),
        )


def test_nan_and_wrong_stamps_are_refused():
    poses = np.broadcast_to(np.eye(4), (20, 4, 4)).copy()
    with pytest.raises(InputError, match='integer stamps'):
        pose_stream(np.arange(20.0), poses)
    with pytest.raises(InputError, match='1 different stamps'):
        pose_stream(np.zeros(20, dtype=np.int64), poses)
    poses[3, 0, 3] = np.nan
    with pytest.raises(InputError, match='NaN'):
        pose_stream(np.arange(20), poses)
    poses[3] = np.diag([1.0, 1.0, -1.0, 1.0])
    with pytest.raises(InputError, match='no rotations'):
        pose_stream(np.arange(20), poses)


def test_config_refuses_contradictions():
    with pytest.raises(ConfigError, match='refuse_sigma'):
        TemporalConfig(warn_sigma=0.1, refuse_sigma=0.01)


def test_interpolation_is_that_of_pairing():
    rng = np.random.default_rng(16)
    stream = pose_stream(np.arange(10) * 20 * MS, np.array([random_transform(rng) for _ in range(10)]))
    found = interpolate_stream(stream, np.array([0.033, 0.1, 0.18, 0.19, -0.01]), 0, max_gap=0.05)
    np.testing.assert_allclose(found.poses[0], interpolate_pair(stream.poses[1], stream.poses[2], 0.65), atol=1e-9)
    assert found.valid.tolist() == [True, True, True, False, False]
    assert not interpolate_stream(stream, np.array([0.033]), 0, max_gap=0.019).valid.any()


def test_correlation_is_pearsons_with_gaps_left_out():
    rng = np.random.default_rng(17)
    first, second = rng.normal(size=50), rng.normal(size=40)
    known = rng.random(50) > 0.2
    found = correlate(first, known, second, np.ones(40, dtype=bool), min_overlap=10)
    index = int(np.nonzero(found.lags == 5)[0][0])
    pairs = [(first[i + 5], second[i]) for i in range(40) if i + 5 < 50 and known[i + 5]]
    assert found.coefficients[index] == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])
    assert found.overlaps[index] == len(pairs)
    assert found.coefficients[0] == -1.0


def test_constant_signals_have_no_peak():
    flat, known = np.ones(100), np.ones(100, dtype=bool)
    assert find_peak(correlate(flat, known, flat, known, min_overlap=10)) is None


def test_real_devices_close_their_loop(shared_data):
    from twin_nodes.io.recordings.pose_csv import read_pose_csv

    archive = shared_data / 'handeye_asl' / 'tango_triplet_easy.zip'
    streams = [read_pose_csv(archive, member=name).stream for name in ('*CALIGULA*', '*MARS*', '*NERO*')]
    ties = [estimate_offset(streams[i], streams[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    loop = ties[0].offset + ties[1].offset - ties[2].offset
    assert abs(loop) < 3.0 * np.sqrt(sum(tie.sigma**2 for tie in ties))
    assert abs(loop) < 0.01


def test_curved_interpolation_follows_a_hand():
    motion = RigidMotion(np.random.default_rng(18), reach=0.1, turn=0.5, fastest=1.5)
    own, between = np.arange(600) / 60.0, 0.1 + np.random.default_rng(1).uniform(0.0, 9.5, 400)
    stream = pose_stream(stamps_of(own), motion.poses(own))
    truth = motion.poses(between)
    worst = []
    for curved in (False, True):
        found = interpolate_stream(stream, between, EPOCH_NS, max_gap=0.05, curved=curved)
        worst.append(np.linalg.norm(found.poses[:, :3, 3] - truth[:, :3, 3], axis=1).max())
        worst.append(np.abs(found.poses[:, :3, :3] - truth[:, :3, :3]).max())
    # the error falls by the ratio of the sampling period to that of the motion
    assert worst[2] < 0.15 * worst[0]
    assert worst[3] < 0.15 * worst[1]


def test_a_stray_stamp_is_refused_and_said():
    trial = rigid_trial(np.random.default_rng(19), seconds=10.0)
    stamps = trial.first.stamps_ns.copy()
    stamps[3] = 0
    with pytest.raises(DegenerateGeometryError, match=r'the first stream spans 1\.7e\+09 s with 600 samples'):
        estimate_offset(pose_stream(stamps, trial.first.poses), trial.second)
