"""Stereo calibration on simulated pairs: pose, baseline, rectification, triangulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from twin_nodes.core.calibration.stereo_geometry import epipolar_distances, rectified, triangulate
from twin_nodes.core.calibration.stereo_pair import StereoConfig, calibrate_stereo
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.camera_views import ENDOSCOPE, RIGHT_T_LEFT, simulate_pairs

RIGHT = replace(ENDOSCOPE, name='right', matrix=ENDOSCOPE.matrix + np.array([[10.0, 0, 15], [0, 8, -9], [0, 0, 0]]))
RIGHT = replace(RIGHT, projection=np.zeros((3, 4)))


def pairs(seed=0, **options):
    return simulate_pairs(np.random.default_rng(seed), (ENDOSCOPE, RIGHT), **options)


def test_pose_and_baseline_are_found_with_honest_covariance():
    runs, nees = 5, []
    for seed in range(runs):
        result = calibrate_stereo(pairs(seed))
        error = pose_error(result.right_T_left, RIGHT_T_LEFT)
        nees.append(float(error @ np.linalg.solve(result.covariance, error)))
        assert abs(result.baseline - np.linalg.norm(RIGHT_T_LEFT[:3, 3])) < 5 * result.baseline_sigma
    low, high = np.array(chi2.interval(0.999, 6 * runs)) / runs
    assert low < np.mean(nees) < high
    assert result.rms <= result.held_rms + 1e-9
    assert result.rms == pytest.approx(0.2 * np.sqrt(2.0), rel=0.05)
    assert result.length_ratio == pytest.approx(1.0, abs=0.01)


def test_rectified_rows_agree_and_disparity_gives_depth():
    left, right = rectified(ENDOSCOPE, RIGHT, RIGHT_T_LEFT)
    points = np.random.default_rng(0).uniform([-0.02, -0.015, 0.08], [0.02, 0.015, 0.12], (50, 3))
    first = left.rectify(left.project(points))
    second = right.rectify(right.project(transform_points(RIGHT_T_LEFT, points)))
    np.testing.assert_allclose(first[:, 1], second[:, 1], atol=1e-6)
    depth = (points @ left.rectification.T)[:, 2]
    np.testing.assert_allclose(first[:, 0] - second[:, 0], left.projection[0, 0] * right.baseline / depth, atol=1e-6)
    assert right.baseline == pytest.approx(np.linalg.norm(RIGHT_T_LEFT[:3, 3]))
    assert right.projection[0, 3] < 0.0


def test_triangulation_and_epipolar_lines_are_exact_without_noise():
    points = np.random.default_rng(1).uniform([-0.02, -0.015, 0.08], [0.02, 0.015, 0.12], (30, 3))
    seen = ENDOSCOPE.project(points), RIGHT.project(transform_points(RIGHT_T_LEFT, points))
    np.testing.assert_allclose(triangulate(ENDOSCOPE, RIGHT, RIGHT_T_LEFT, seen), points, atol=1e-9)
    assert epipolar_distances(ENDOSCOPE, RIGHT, RIGHT_T_LEFT, seen).max() < 1e-6
    off = seen[0], seen[1] + [0.0, 3.0]
    assert epipolar_distances(ENDOSCOPE, RIGHT, RIGHT_T_LEFT, off)[:, 1].mean() == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ('pose', 'message'),
    [
        (inverse(RIGHT_T_LEFT), 'swapped'),
        (make_transform(np.eye(3), [0.0, -0.005, 0.0]), 'above one another'),
        (make_transform(rotation_exp([0.0, 0.1, 0.0]), np.zeros(3)), 'no baseline'),
    ],
)
def test_rigs_that_cannot_be_rectified_are_refused(pose, message):
    with pytest.raises(DegenerateGeometryError, match=message):
        rectified(ENDOSCOPE, RIGHT, pose)


def test_a_pair_of_two_instants_is_named():
    data = pairs(3)
    data[5] = (data[5][0], replace(data[9][1], name='5'))
    result = calibrate_stereo(data, StereoConfig(refine=False))
    assert any(out.name == '5' and 'pair' in out.reason for out in result.left_out)
    assert np.linalg.norm(result.right_T_left[:3, 3] - RIGHT_T_LEFT[:3, 3]) < 5e-4


def test_swapped_cameras_are_refused():
    with pytest.raises(DegenerateGeometryError, match='swapped'):
        calibrate_stereo([(b, a) for a, b in pairs(4)])


def test_known_cameras_are_held():
    result = calibrate_stereo(pairs(5, count=3), cameras=(ENDOSCOPE, RIGHT))
    np.testing.assert_array_equal(result.left.matrix, ENDOSCOPE.matrix)
    assert result.left_result is None
    error = pose_error(result.right_T_left, RIGHT_T_LEFT)
    assert error @ np.linalg.solve(result.covariance, error) < chi2.ppf(0.9999, 6)


def test_too_few_pairs():
    with pytest.raises(DegenerateGeometryError, match='at least 3'):
        calibrate_stereo(pairs(6, count=2))


def test_frontal_pairs_are_refused():
    try:
        result = calibrate_stereo(pairs(7, tilt=0.02))
    except DegenerateGeometryError as error:
        assert 'tilt' in str(error)
    else:
        assert result.verdict == Verdict.REFUSE
