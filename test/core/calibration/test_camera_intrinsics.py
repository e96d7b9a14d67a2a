"""Intrinsics from simulated views: truth recovered, uncertainty honest, traps refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from twin_nodes.core.calibration.camera_bundle import adjust
from twin_nodes.core.calibration.camera_intrinsics import CameraConfig, calibrate_camera
from twin_nodes.core.calibration.camera_rig import RigProblem, RigState, parameters_of
from twin_nodes.core.calibration.camera_views import handedness
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.simulate.camera_views import ENDOSCOPE, simulate_views


def views(seed=0, **options):
    return simulate_views(np.random.default_rng(seed), **options)


def test_finds_the_camera_without_noise():
    result = calibrate_camera(views(noise=0.0, count=8))
    # corners enter OpenCV's start as float32; the bundle works in float64
    np.testing.assert_allclose(parameters_of(result.camera), parameters_of(ENDOSCOPE), rtol=1e-5, atol=1e-5)
    assert result.rms < 1e-6


def test_finds_a_fisheye():
    lens = replace(ENDOSCOPE, model='equidistant', distortion=np.array([0.05, -0.01, 0.002, 0.0]))
    result = calibrate_camera(views(camera=lens, noise=0.0, count=8), CameraConfig(model='equidistant'))
    np.testing.assert_allclose(parameters_of(result.camera)[:4], parameters_of(lens)[:4], rtol=1e-5)


def test_uncertainty_is_consistent():
    runs = 15
    nees = []
    for seed in range(runs):
        result = calibrate_camera(views(seed))
        error = parameters_of(result.camera) - parameters_of(ENDOSCOPE)
        nees.append(float(error @ np.linalg.solve(result.covariance, error)))
    # 99.9 % bounds of the mean of χ² with nine degrees of freedom
    low, high = np.array(chi2.interval(0.999, 9 * runs)) / runs
    assert low < np.mean(nees) < high


def test_noise_and_verdict_are_told():
    result = calibrate_camera(views(1, count=20, noise=0.3))
    assert result.pixel_sigma == pytest.approx(0.3, rel=0.05)
    assert result.verdict in (Verdict.ACCEPT, Verdict.WARN)
    assert result.coverage.tilt > 0.3
    assert result.covariance.shape == (9, 9)


def test_held_coefficients_stay_and_have_no_sigma():
    result = calibrate_camera(views(2), CameraConfig(radial=2, tangential=False))
    assert result.camera.distortion[2] == result.camera.distortion[3] == result.camera.distortion[4] == 0.0
    assert (result.sigma[[6, 7, 8]] == 0.0).all()
    assert (result.sigma[:6] > 0.0).all()


def test_a_view_that_does_not_fit_is_named():
    data = views(3)
    rng = np.random.default_rng(0)
    data[4] = replace(data[4], pixels=data[4].pixels + rng.normal(0.0, 6.0, data[4].pixels.shape))
    result = calibrate_camera(data)
    assert [out.name for out in result.left_out if out.whole] == ['4']
    assert result.verdict == Verdict.WARN
    assert abs(result.camera.focal[0] - 1400.0) < 5 * result.sigma[0]


def test_a_single_wrong_corner_is_named():
    data = views(4)
    pixels = data[2].pixels.copy()
    pixels[20] += [25.0, -10.0]
    result = calibrate_camera([*data[:2], replace(data[2], pixels=pixels), *data[3:]])
    out = next(out for out in result.left_out if out.name == '2')
    assert str(data[2].ids[20]) in out.reason
    assert not out.whole


def test_all_frontal_views_are_refused():
    result = None
    try:
        result = calibrate_camera(views(5, tilt=0.02))
    except DegenerateGeometryError as error:
        assert 'tilt' in str(error)
    else:
        assert result.verdict == Verdict.REFUSE
        assert any('frontal' in reason for reason in result.reasons)


def test_repeats_do_not_make_a_calibration():
    one = views(6, count=1)[0]
    with pytest.raises(DegenerateGeometryError, match=r'1 views of 9 can be used.*shows the board just where 0 does'):
        calibrate_camera([replace(one, name=str(index)) for index in range(9)])


def test_repeats_do_not_sharpen_the_error():
    data = views(7)
    again = [replace(view, name=f'again {view.name}') for view in data]
    result = calibrate_camera([*data, *again])
    np.testing.assert_allclose(result.covariance, calibrate_camera(data).covariance)
    assert len(result.left_out) == len(data)


def test_mirrored_views_are_named():
    data = views(8)
    flipped = data[3].pixels * [-1.0, 1.0] + [1919.0, 0.0]
    assert handedness(data[3]) == 1
    result = calibrate_camera([*data[:3], replace(data[3], pixels=flipped), *data[4:]])
    assert any(out.name == '3' and 'mirrored' in out.reason for out in result.left_out)


def test_a_set_that_is_mirrored_as_a_whole_is_refused_where_the_board_is_known():
    data = [replace(view, pixels=view.pixels * [-1.0, 1.0] + [1919.0, 0.0]) for view in views(9)]
    with pytest.raises(DegenerateGeometryError, match='mirrored'):
        calibrate_camera(data, facing=1)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda v: replace(v, pixels=v.pixels * np.nan), 'NaN'),
        (lambda v: replace(v, size=(1280, 720)), 'several sizes|lie outside'),
        (lambda v: replace(v, pixels=v.pixels + 5000.0), 'lie outside'),
        (lambda v: replace(v, points_board=v.points_board * 1e3), 'unit'),
        (lambda v: replace(v, points_board=v.points_board * [1.0, 0.0, 1.0]), 'one place|one line'),
        (lambda v: replace(v, ids=np.zeros_like(v.ids)), 'stands twice'),
        (lambda v: v.chosen(np.arange(len(v)) < 4), 'at least 6'),
        (lambda v: replace(v, pixels=v.pixels[:-1]), 'as many of'),
    ],
)
def test_traps_in_the_data_are_refused(change, message):
    data = views(10, count=6)
    with pytest.raises(InputError, match=message):
        calibrate_camera([*data[:5], change(data[5])])


def test_too_few_views_and_unknown_size():
    with pytest.raises(DegenerateGeometryError, match='at least 4'):
        calibrate_camera(views(11, count=3))
    blind = [replace(view, size=(0, 0)) for view in views(11, count=6)]
    with pytest.raises(InputError, match='--size'):
        calibrate_camera(blind)
    assert calibrate_camera(blind, size=(1920, 1080)).camera.width == 1920


def test_order_of_views_does_not_matter():
    data = views(12, count=8)
    first, second = calibrate_camera(data), calibrate_camera(data[::-1])
    np.testing.assert_allclose(parameters_of(first.camera), parameters_of(second.camera), rtol=1e-7)


def test_limits_that_contradict_are_refused():
    with pytest.raises(ConfigError, match='refuse_rms'):
        CameraConfig(warn_rms=3.0, refuse_rms=1.0)


def test_the_bundle_comes_back_from_a_disturbed_start():
    data = views(13, count=6, noise=0.0)
    exact = calibrate_camera(data)
    free = np.arange(9)
    rough = exact.camera.matrix * np.array([[1.05, 1, 1.02], [1, 1.05, 0.98], [1, 1, 1]])
    state = RigState(
        (replace(exact.camera, matrix=rough, projection=np.zeros((3, 4))),), np.eye(4), exact.camera_T_boards
    )
    problem = RigProblem([(view,) for view in data], (free,))
    state, fit = adjust(state, problem.blocks, problem.moved)
    assert fit.converged
    np.testing.assert_allclose(state.cameras[0].focal, ENDOSCOPE.focal, rtol=1e-6)
