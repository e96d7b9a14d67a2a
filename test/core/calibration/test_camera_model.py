"""The lens models against OpenCV, their derivatives, and what a camera refuses."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.camera_distortion import COEFFICIENTS, bend, is_unfolded
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.calibration.camera_rig import parameters_of, with_parameters
from twin_nodes.core.errors import InputError

MATRIX = np.array([[1400.0, 0.0, 960.0], [0.0, 1410.0, 540.0], [0.0, 0.0, 1.0]])
LENSES = {
    'plumb_bob': np.array([-0.3, 0.1, 0.001, -0.002, 0.05]),
    'rational_polynomial': np.array([0.2, 0.1, 0.001, -0.002, 0.05, 0.4, 0.1, 0.02]),
    'equidistant': np.array([0.1, -0.02, 0.01, -0.003]),
}


def camera(lens='plumb_bob', **changes):
    usual = {'width': 1920, 'height': 1080, 'matrix': MATRIX, 'distortion': LENSES[lens], 'model': lens}
    return CameraModel(**(usual | changes))


@pytest.fixture
def points():
    return np.random.default_rng(3).uniform([-0.15, -0.1, 0.3], [0.15, 0.1, 0.5], (100, 3))


@pytest.mark.parametrize('model', LENSES)
def test_projects_as_opencv_does(model, points):
    project = cv2.fisheye.projectPoints if model == 'equidistant' else cv2.projectPoints
    expected = project(points[:, None], np.zeros((3, 1)), np.zeros((3, 1)), MATRIX, LENSES[model])[0]
    np.testing.assert_allclose(camera(model).project(points), expected.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize('model', LENSES)
def test_undistort_takes_back_what_projection_did(model, points):
    rays = camera(model).undistort(camera(model).project(points))
    np.testing.assert_allclose(rays, points[:, :2] / points[:, 2:], atol=1e-9)


@pytest.mark.parametrize('model', LENSES)
def test_derivatives_are_those_of_differences(model, points):
    lens = camera(model)
    _, by_point, by_parameter = lens.project_with_derivatives(points)
    step = 1e-6
    for axis, move in enumerate(np.eye(3) * step):
        numeric = (lens.project(points + move) - lens.project(points - move)) / (2 * step)
        np.testing.assert_allclose(by_point[:, :, axis], numeric, rtol=1e-5, atol=1e-3)
    for index, value in enumerate(parameters_of(lens)):
        move = np.zeros(len(parameters_of(lens)))
        move[index] = 1e-5 * max(1.0, abs(value))
        numeric = with_parameters(lens, parameters_of(lens) + move).project(points)
        numeric = (numeric - with_parameters(lens, parameters_of(lens) - move).project(points)) / (2 * move[index])
        np.testing.assert_allclose(by_parameter[:, :, index], numeric, rtol=1e-4, atol=1e-5)


@given(st.floats(0.0, 0.6), st.floats(0.0, 2 * np.pi), st.sampled_from(sorted(LENSES)))
@settings(max_examples=60, deadline=None)
def test_undistort_inverts_wherever_the_lens_does_not_fold(radius, angle, model):
    ray = radius * np.array([[np.cos(angle), np.sin(angle)]])
    if not is_unfolded(model, LENSES[model], ray).all():
        return
    lens = camera(model)
    pixel = bend(model, LENSES[model], ray).rays * lens.focal + lens.centre
    np.testing.assert_allclose(lens.undistort(pixel), ray, atol=1e-7)


def test_a_pixel_that_no_ray_reaches_is_refused_not_nan():
    strong = camera(distortion=np.array([-0.5, 0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(InputError, match='no ray reaches 1 of 1 pixels'):
        strong.undistort([[2900.0, 1900.0]])


def test_points_behind_or_nan_are_refused(points):
    with pytest.raises(InputError, match='1 of 1 points lie behind'):
        camera().project([[0.0, 0.0, -0.2]])
    with pytest.raises(InputError, match='NaN'):
        camera().project([[0.0, np.nan, 0.2]])
    assert not camera().is_visible([[0.0, 0.0, -0.2]])[0]
    assert camera().is_visible([[0.0, 0.0, 0.2]])[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'width': 0}, 'image width 0'),
        ({'matrix': np.zeros((3, 3))}, 'not calibrated'),
        ({'matrix': MATRIX.T}, 'upper triangular'),
        ({'matrix': MATRIX + np.array([[0, 5.0, 0], [0, 0, 0], [0, 0, 0]])}, 'skew'),
        ({'matrix': MATRIX * np.nan}, 'NaN'),
        ({'model': 'plum_bob'}, "did you mean 'plumb_bob'"),
        ({'distortion': np.ones(6)}, '6 distortion coefficients, but plumb_bob has 5'),
        ({'rectification': np.diag([1.0, 1.0, -1.0])}, 'rectification'),
    ],
)
def test_a_wrong_camera_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        camera(**changes)


def test_short_distortion_and_aliases_are_understood():
    assert camera(distortion=np.zeros(0)).distortion.shape == (5,)
    assert camera(distortion=np.array([0.1, 0.2, 0.0, 0.0])).distortion[4] == 0.0
    padded = np.append(LENSES['rational_polynomial'], np.zeros(6))  # OpenCV writes 14 of this lens
    np.testing.assert_array_equal(
        camera('rational_polynomial', distortion=padded).distortion, LENSES['rational_polynomial']
    )
    with pytest.raises(InputError, match='14 distortion coefficients'):
        camera('rational_polynomial', distortion=padded + 1e-3)
    assert camera('equidistant', model='fisheye').model == 'equidistant'
    assert {len(LENSES[model]) == len(names) for model, names in COEFFICIENTS.items()} == {True}


def test_rectify_without_rectification_is_undistortion(points):
    lens = camera()
    rays = lens.undistort(lens.project(points))
    np.testing.assert_allclose(lens.rectify(lens.project(points)), rays * lens.focal + lens.centre, atol=1e-6)
    assert lens.baseline == 0.0
    assert replace(lens, projection=np.hstack([MATRIX, [[-7.0], [0.0], [0.0]]])).baseline == pytest.approx(0.005)
