import numpy as np
import pytest
from scipy.special import comb

from twin_nodes.core.calibration.distortion_basis import TensorBasis
from twin_nodes.core.calibration.distortion_fit import DistortionConfig, fit_distortion
from twin_nodes.core.calibration.distortion_ties import corrected_poses, fit_points, fit_tied
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp, rotation_log
from twin_nodes.core.simulate.distortion import draw_metal, sweep

CENTRE, REACH = np.array([0.05, -0.02, -0.25]), 0.1
NOISE = (0.3e-3, 2e-3)
QUICK = DistortionConfig(max_degree=4, max_intervals=2)


def recorded(seed, count=700, noise=NOISE):
    rng = np.random.default_rng(seed)
    metal = draw_metal(rng, CENTRE, REACH)
    truth = sweep(rng, CENTRE, REACH, count)
    return rng, metal, truth, metal.measure(rng, truth, *noise)


@pytest.fixture(scope='module')
def fitted():
    rng, metal, truth, measured = recorded(3)
    return rng, metal, fit_distortion(measured, truth, QUICK)


def rms(vectors):
    return np.sqrt((vectors**2).sum(axis=1).mean())


@pytest.mark.parametrize('degree', [1, 3, 5])
def test_one_interval_makes_bernstein_polynomials(degree):
    x = np.linspace(0.0, 1.0, 11)
    points = np.column_stack([x, np.zeros(11), np.ones(11)])
    values = TensorBasis(degree, 1).values(points).reshape(11, degree + 1, degree + 1, degree + 1)[:, :, 0, -1]
    bernstein = [comb(degree, k) * x**k * (1.0 - x) ** (degree - k) for k in range(degree + 1)]
    np.testing.assert_allclose(values, np.stack(bernstein, axis=1), atol=1e-12)


@pytest.mark.parametrize(('degree', 'intervals'), [(1, 1), (4, 1), (3, 3), (2, 5)])
def test_the_functions_sum_to_one_and_a_plane_is_not_rough(degree, intervals):
    basis = TensorBasis(degree, intervals)
    points = np.random.default_rng(0).uniform(size=(50, 3))
    np.testing.assert_allclose(basis.values(points).sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(basis.roughness() @ np.ones(basis.size), 0.0, atol=1e-12)


def test_a_polynomial_is_found_exactly():
    rng = np.random.default_rng(1)
    measured = sweep(rng, CENTRE, REACH, 400)
    p = (measured[:, :3, 3] - CENTRE) / REACH
    truth = measured.copy()
    truth[:, :3, 3] += 1e-3 * np.column_stack([p[:, 0] * p[:, 1], p[:, 2] ** 2 - p[:, 0], p[:, 0] * p[:, 1] * p[:, 2]])
    result = fit_distortion(measured, truth, QUICK)
    assert result.held_out < 2e-6 and result.verdict is Verdict.ACCEPT


def test_what_is_left_of_a_dipole_is_known(fitted):
    """Fresh places, without noise: what is left must be far below the error, and below what the result states."""
    rng, metal, result = fitted
    truth = sweep(rng, CENTRE, 0.9 * REACH, 300)
    clean = metal.measure(rng, truth, 0.0, 0.0)
    inside = result.field.inside(clean[:, :3, 3])
    assert inside.mean() > 0.7
    left = rms((truth - corrected_poses(result.field, clean))[inside, :3, 3])
    before = rms((truth - clean)[inside, :3, 3])
    assert left < 0.15 * before and left < result.held_out < 0.5 * result.raw
    assert result.held_out_rotation < 0.5 * result.raw_rotation


def test_the_covariance_holds_the_errors_of_noisy_poses(fitted):
    """The held-out residual holds the noise of the tracker: NEES of 500 corrected noisy poses is near 6 of 6."""
    rng, metal, result = fitted
    truth = sweep(rng, CENTRE, 0.9 * REACH, 500)
    noisy = metal.measure(rng, truth, *NOISE)
    inside = result.field.inside(noisy[:, :3, 3])
    nees = []
    for pose, true in zip(noisy[inside], truth[inside], strict=True):
        found = result.field.correct(pose)
        error = pose_error(found.pose, true)
        nees.append(error @ np.linalg.solve(found.covariance, error))
    assert 3.0 < np.mean(nees) < 7.5  # no more than a quarter too narrow, wherever the metal is


def test_one_pose_is_corrected_as_many_are(fitted):
    _, metal, result = fitted
    truth = sweep(np.random.default_rng(9), CENTRE, 0.5 * REACH, 20)
    clean = metal.measure(np.random.default_rng(9), truth, 0.0, 0.0)
    many = corrected_poses(result.field, clean)
    for pose, wanted in zip(clean, many, strict=True):
        np.testing.assert_allclose(result.field.correct(pose).pose, wanted, atol=1e-12)


@pytest.mark.parametrize('away', [[0.2, 0.0, 0.0], [0.0, -0.3, 0.0], [np.nan, 0.0, 0.0]])
def test_outside_the_volume_it_refuses(fitted, away):
    with pytest.raises(InputError, match='outside') as caught:
        fitted[2].field.correct(make_transform(np.eye(3), CENTRE + away))
    assert caught.value.code == 'OUTSIDE_CALIBRATION'


def test_a_hole_in_the_volume_is_outside_too():
    _, _, truth, measured = recorded(5, 900)
    far = np.linalg.norm(truth[:, :3, 3] - CENTRE, axis=1) > 0.08
    result = fit_distortion(measured[far], truth[far], DistortionConfig(model='spline', max_intervals=2))
    assert result.field.basis.intervals == 2
    inside = result.field.inside(np.vstack([CENTRE, measured[far][:50, :3, 3]]))
    assert not inside[0] and inside[1:].all()
    with pytest.raises(InputError, match='measure it there too') as caught:
        result.field.correct(make_transform(np.eye(3), CENTRE))
    assert caught.value.code == 'OUTSIDE_CALIBRATION'


def test_poses_that_do_not_fit_their_neighbours_are_named():
    rng, _, truth, measured = recorded(6)
    bad = rng.choice(len(measured), 40, replace=False)
    measured[bad, :3, 3] += 0.01 * np.sign(rng.normal(size=(40, 3)))
    result = fit_distortion(measured, truth, QUICK)
    assert set(bad) <= set(result.outliers) and len(result.outliers) < 45


def test_the_ties_of_an_optical_reference_are_found_with_the_field():
    rng, _, truth, measured = recorded(4)
    marker_T_sensor = make_transform(rotation_exp([0.3, 0.2, -0.5]), [0.03, -0.08, 0.02])
    optical_T_em = random_transform(rng)
    reference = optical_T_em @ truth @ inverse(marker_T_sensor)
    reference[:, :3, 3] += rng.normal(0.0, 1e-4, (len(truth), 3))
    tied = fit_tied(measured, reference, QUICK)
    assert tied.result.held_out < 0.5 * tied.result.raw and tied.result.held_out < 1.2e-3
    off = inverse(marker_T_sensor) @ tied.marker_T_sensor
    # 700 poses of 0.5 mm and 3.5 mrad: 0.02 mm and 0.13 mrad, and what the field leaves
    assert np.linalg.norm(off[:3, 3]) < 5e-4 and np.linalg.norm(rotation_log(off[:3, :3])) < 2e-3


def test_known_points_in_a_frame_of_their_own_suffice():
    rng = np.random.default_rng(8)
    metal = draw_metal(rng, CENTRE, REACH)
    grid = np.stack(np.meshgrid(*[np.linspace(-REACH, REACH, 6)] * 3), axis=-1).reshape(-1, 3)
    truth = make_transform(rotation_exp(rng.normal(0.0, 0.3, (216, 3))), CENTRE + grid)
    board = inverse(random_transform(rng)) @ make_transform(np.eye(3), CENTRE + grid)
    tied = fit_points(metal.measure(rng, truth, 1e-4, 1e-3), board, QUICK)
    assert tied.result.field.turn is None and tied.result.held_out < 0.5 * tied.result.raw
    pose = truth[100]
    np.testing.assert_array_equal(tied.result.field.correct(pose).pose[:3, :3], pose[:3, :3])


def test_noise_alone_is_left_alone():
    rng = np.random.default_rng(2)
    truth = sweep(rng, CENTRE, REACH, 300)
    measured = truth.copy()
    measured[:, :3, 3] += rng.normal(0.0, 5e-4, (300, 3))
    result = fit_distortion(measured, truth, QUICK)
    assert result.verdict is Verdict.REFUSE and 'leave it off' in result.reasons[0]


def flat():
    _, _, truth, measured = recorded(0)
    measured[:, 2, 3] = -0.25
    return measured, truth


def few():
    _, _, truth, measured = recorded(0, 30)
    return measured, truth


def other_motion():
    rng, _, _, measured = recorded(0)
    truth = measured.copy()
    mixed = rng.random(len(truth)) < 0.4
    truth[mixed, :3, 3] += rng.normal(0.0, 0.05, (mixed.sum(), 3))
    return measured, truth


@pytest.mark.parametrize(
    ('make', 'words'), [(flat, 'flat: 0 mm of 20 mm'), (few, '30 of 40 poses'), (other_motion, 'fit no smooth field')]
)
def test_what_carries_no_field_is_refused(make, words):
    with pytest.raises(DegenerateGeometryError, match=words):
        fit_distortion(*make(), QUICK)


def test_nan_and_other_shapes_are_refused():
    poses = np.repeat(np.eye(4)[None], 50, axis=0)
    bad = poses.copy()
    bad[3, 0, 3] = np.nan
    with pytest.raises(InputError, match='NaN'):
        fit_distortion(bad, poses)
    with pytest.raises(InputError, match='shape'):
        fit_distortion(poses[:, :3], poses)
    with pytest.raises(InputError, match='functions'):
        TensorBasis(3, 40)
    with pytest.raises(ConfigError, match='refuse_residual'):
        DistortionConfig(refuse_residual=1e-4)
