"""The chain of a tracked camera: truth recovered, covariance honest, little motion and wrong poses refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from twin_nodes.core.calibration.scope_calibration import ScopeConfig, calibrate_scope, turns
from twin_nodes.core.calibration.scope_chain import ChainProblem, ChainState, ScopeFrame, TiePrior
from twin_nodes.core.calibration.scope_figures import frame_figures, mean_px
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.simulate.camera_views import ENDOSCOPE, ScopeNoise, simulate_scope

RIGHT = replace(ENDOSCOPE, name='right', projection=np.zeros((3, 4)))
STEREO = (ENDOSCOPE, RIGHT)
NONE = ScopeNoise(0.0, 0.0, 0.0)
QUICK = ScopeConfig(held_out=0)


def scene(seed=0, cameras=STEREO, **options):
    return simulate_scope(np.random.default_rng(seed), cameras, **options)


@pytest.mark.parametrize('cameras', [STEREO, (ENDOSCOPE,)])
def test_ties_are_exact_without_noise(cameras):
    frames, ties = scene(0, cameras, count=6, noise=NONE)
    result = calibrate_scope(frames, cameras, QUICK)
    np.testing.assert_allclose(result.ties.scope_T_left, ties.scope_T_left, atol=1e-6)
    np.testing.assert_allclose(result.ties.marker_T_pattern, ties.marker_T_pattern, atol=1e-6)
    np.testing.assert_allclose(result.ties.right_T_left, ties.right_T_left, atol=1e-6)
    assert mean_px(result.figures) < 1e-3


def test_covariance_is_consistent():
    runs, eye, pattern = 7, [], []
    for seed in range(runs):
        frames, ties = scene(seed, count=8)
        result = calibrate_scope(frames, STEREO, QUICK)
        for found, true, covariance, into in (
            (result.ties.scope_T_left, ties.scope_T_left, result.hand_eye_covariance, eye),
            (result.ties.marker_T_pattern, ties.marker_T_pattern, result.pattern_covariance, pattern),
        ):
            error = pose_error(found, true)
            into.append(float(error @ np.linalg.solve(covariance, error)))
    low, high = np.array(chi2.interval(0.999, 6 * runs)) / runs
    assert low < np.mean(eye) < high
    assert low < np.mean(pattern) < high


def test_a_noisier_tracker_is_noticed():
    frames, _ = scene(1, count=14, noise=ScopeNoise(0.2, 8e-4, 4e-3))
    result = calibrate_scope(frames, STEREO, QUICK)
    assert 5.0 < result.noise_factor < 12.0
    assert result.verdict != Verdict.ACCEPT


def test_pictures_left_out_are_worse_than_those_used():
    frames, _ = scene(2, count=7)
    result = calibrate_scope(frames, STEREO)
    assert len(result.held_out) == 7
    assert mean_px(result.held_out) > mean_px(result.figures)
    assert mean_px(result.held_out) < 20.0


def test_a_swapped_pose_is_named():
    frames, ties = scene(3, count=12)
    frames[4] = replace(frames[4], tracker_T_marker=frames[7].tracker_T_marker)
    result = calibrate_scope(frames, STEREO, QUICK)
    assert [out.name for out in result.left_out] == ['4']
    error = pose_error(result.ties.scope_T_left, ties.scope_T_left)
    assert error @ np.linalg.solve(result.hand_eye_covariance, error) < chi2.ppf(0.9999, 6)


def test_without_turns_there_is_no_answer_unless_the_pattern_is_known():
    frames, ties = scene(4, count=8)
    still = [replace(frames[0], name=str(index)) for index in range(5)]
    with pytest.raises(DegenerateGeometryError, match='about the second'):
        calibrate_scope(still, STEREO, QUICK)
    with pytest.raises(DegenerateGeometryError, match='at least 3'):
        calibrate_scope(frames[:2], STEREO, QUICK)
    result = calibrate_scope(frames[:1], STEREO, QUICK, pattern=TiePrior(ties.marker_T_pattern, 1e-4, 1e-3))
    error = pose_error(result.ties.scope_T_left, ties.scope_T_left)
    assert error @ np.linalg.solve(result.hand_eye_covariance, error) < chi2.ppf(0.9999, 6)


def test_what_is_known_of_the_pattern_helps_few_pictures():
    frames, ties = scene(5, count=4)
    alone = calibrate_scope(frames, STEREO, QUICK)
    known = calibrate_scope(frames, STEREO, QUICK, pattern=TiePrior(ties.marker_T_pattern, 2e-4, 1e-3))
    assert np.trace(known.hand_eye_covariance) < np.trace(alone.hand_eye_covariance)


def test_pixels_alone_reproject_best_where_they_were_fitted():
    frames, _ = scene(6, count=4)
    usual = calibrate_scope(frames, STEREO, QUICK)
    pixels = calibrate_scope(frames, STEREO, ScopeConfig(held_out=0, pixels_only=True))
    assert mean_px(pixels.figures) < mean_px(usual.figures)


def test_a_camera_that_missed_a_picture_does_not_matter():
    frames, ties = scene(7, count=8)
    frames[2] = replace(frames[2], views=(None, frames[2].views[1]))
    frames[5] = replace(frames[5], views=(frames[5].views[0], None))
    result = calibrate_scope(frames, STEREO, QUICK)
    assert np.linalg.norm(result.ties.scope_T_left[:3, 3] - ties.scope_T_left[:3, 3]) < 5e-3
    assert result.figures[2].chain_px[0] is None


def test_traps_in_the_data_are_refused():
    frames, _ = scene(8, count=5)
    with pytest.raises(InputError, match='picture 0'):
        calibrate_scope([replace(frames[0], tracker_T_scope=np.eye(4) * np.nan), *frames[1:]], STEREO)
    with pytest.raises(InputError, match='no camera saw'):
        calibrate_scope([replace(frames[0], views=(None, None)), *frames[1:]], STEREO)
    with pytest.raises(InputError, match='1 cameras'):
        calibrate_scope(frames, (ENDOSCOPE,))


def test_inverse_poses_are_never_accepted():
    frames, _ = scene(9, count=8)
    wrong = [replace(frame, tracker_T_marker=inverse(frame.tracker_T_marker)) for frame in frames]
    try:
        result = calibrate_scope(wrong, STEREO, QUICK)
    except DegenerateGeometryError:
        return
    assert result.verdict == Verdict.REFUSE


def test_derivatives_of_the_chain_are_those_of_differences():
    frames, ties = scene(10, count=2)
    problem = ChainProblem(frames, STEREO, 0.3, 1e-4, 5e-4, TiePrior(ties.marker_T_pattern, 1e-3, 1e-2))
    state = ChainState(ties, np.array([frame.scope_T_marker for frame in frames]))
    block = problem.blocks(state)[1]
    step = 1e-7
    for index in range(18):
        move = np.zeros(18)
        move[index] = step
        ahead = problem.blocks(problem.moved(state, move, np.zeros((2, 6))))[1].residuals
        back = problem.blocks(problem.moved(state, -move, np.zeros((2, 6))))[1].residuals
        numeric = (ahead - back) / (2 * step)
        np.testing.assert_allclose(
            block.by_shared[:, index], numeric, rtol=1e-4, atol=1e-3 * np.abs(numeric).max() + 1e-6
        )
    for index in range(6):
        move = np.zeros((2, 6))
        move[1, index] = step
        ahead = problem.blocks(problem.moved(state, np.zeros(18), move))[1].residuals
        back = problem.blocks(problem.moved(state, np.zeros(18), -move))[1].residuals
        numeric = (ahead - back) / (2 * step)
        np.testing.assert_allclose(
            block.by_view[:, index], numeric, rtol=1e-4, atol=1e-3 * np.abs(numeric).max() + 1e-6
        )


def test_figures_of_the_true_chain_are_those_of_the_noise():
    frames, ties = scene(11, count=3, noise=ScopeNoise(0.2, 0.0, 0.0))
    figures = frame_figures(frames[0], STEREO, ties)
    assert figures.chain_px[0] == pytest.approx(0.2 * np.sqrt(2.0), rel=0.2)
    assert figures.chain_m < 1e-3
    assert figures.reconstruction_m < 5e-3


def test_turns_of_one_axis():
    from twin_nodes.core.geometry.se3 import exp

    poses = [exp(np.array([0, 0, 0, 0, 0, angle])) for angle in (0.0, 0.3, 0.6)]
    first, second = turns(poses)
    assert first == pytest.approx(0.6)
    assert second == pytest.approx(0.0, abs=1e-9)
    assert isinstance(ScopeFrame('a', np.eye(4), np.eye(4), (None,)).scope_T_marker, np.ndarray)
