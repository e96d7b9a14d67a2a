import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.pivot import solve_pivot
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, random_transform
from twin_nodes.core.simulate.twin_s import (
    CAMERA_SPHERES,
    DRILL_SPHERES,
    DRILL_TIP,
    Chessboard,
    MarkerBody,
    TwinSNoise,
    calibration_views,
    draw_scene,
    pivot_poses,
)
from twin_nodes.core.simulate.twin_s_trial import run_trial


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_room_has_the_published_distances(seed):
    scene = draw_scene(np.random.default_rng(seed))
    assert np.linalg.norm(scene.tracker_T_drill[:3, 3]) == pytest.approx(1.0)
    assert np.linalg.norm(scene.tracker_T_marker[:3, 3]) == pytest.approx(1.2)
    assert np.linalg.norm(scene.marker_T_camera[:3, 3]) == pytest.approx(0.17)
    tracker_T_camera = scene.tracker_T_marker @ scene.marker_T_camera
    tip_camera = inverse(tracker_T_camera) @ np.append(scene.tip_tracker, 1.0)
    np.testing.assert_allclose(tip_camera[:3], [0.0, 0.0, 0.25], atol=1e-12)
    tip_anatomy = inverse(scene.tracker_T_phantom @ scene.phantom_T_anatomy) @ np.append(scene.tip_tracker, 1.0)
    assert np.abs(tip_anatomy[:3]).max() < 0.03


@pytest.mark.parametrize('spheres', [DRILL_SPHERES, CAMERA_SPHERES])
def test_a_tracked_pose_errs_as_its_covariance_says(spheres):
    """χ²(6 · 3000)/3000 has its 99.9 % bounds at 5.80 and 6.21."""
    body = MarkerBody(spheres, 0.11e-3)
    truth = random_transform(np.random.default_rng(0))
    measured = body.measure(np.random.default_rng(1), np.broadcast_to(truth, (3000, 4, 4)))
    weights = np.linalg.inv(body.covariance(truth))
    nees = np.mean([error @ weights @ error for error in (pose_error(pose, truth) for pose in measured)])
    assert 5.80 < nees < 6.21


def test_a_chessboard_is_seen_less_well_in_depth_and_from_afar():
    _, views = calibration_views(np.random.default_rng(0), draw_scene(np.random.default_rng(0)), 1)
    near, far = views[0].copy(), views[0].copy()
    far[:3, 3] *= 2.0
    board = Chessboard()
    near_sigma, far_sigma = (np.sqrt(np.diag(board.covariance(pose))) for pose in (near, far))
    assert near_sigma[2] > 2.0 * near_sigma[:2].max()
    assert (far_sigma > 1.5 * near_sigma).all()


def test_pivot_poses_turn_about_the_tip_and_are_accepted():
    poses = pivot_poses(np.random.default_rng(0), 300)
    tips = poses[:, :3, :3] @ DRILL_TIP + poses[:, :3, 3]
    np.testing.assert_allclose(tips, np.broadcast_to([0.0, 0.0, 1.0], tips.shape), atol=1e-12)
    result = solve_pivot(MarkerBody(DRILL_SPHERES, 0.11e-3).measure(np.random.default_rng(1), poses))
    assert result.verdict is Verdict.ACCEPT
    assert np.linalg.norm(result.tip_tool - DRILL_TIP) < 0.2e-3


def test_without_noise_the_chain_is_exact():
    trial = run_trial(np.random.default_rng(0), TwinSNoise(sphere=1e-9, corner=1e-5, touch=1e-9), filtered=False)
    assert trial.camera.distance < 1e-7


def test_the_chain_errs_as_it_says():
    """Twenty rooms: χ²(60)/20 has its 99.9 % bounds at 1.54 and 5.19; costs are those of the whole."""
    trials = [run_trial(np.random.default_rng(seed), TwinSNoise(), filtered=seed < 8) for seed in range(20)]
    assert 1.54 < np.mean([trial.camera.nees for trial in trials]) < 5.19
    for trial in trials[:8]:
        assert trial.camera_filtered.distance < 1.2e-3 and trial.anatomy_filtered.distance < 1e-3
        for located in (trial.camera, trial.camera_filtered, trial.anatomy_filtered):
            total = sum(cost.sigma**2 for cost in located.costs)
            assert total == pytest.approx(np.trace(located.covariance))
            assert sum(cost.share for cost in located.costs) == pytest.approx(1.0)
    again = run_trial(np.random.default_rng(3), TwinSNoise(), filtered=True)
    np.testing.assert_array_equal(again.camera.error, trials[3].camera.error)
