import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import random_transform, rotation_exp, transform_points
from twin_nodes.core.registration.paired_points import (
    PairedPointConfig,
    Verdict,
    register_paired_points,
)

ANATOMY = np.array(
    [[0.06, 0.01, 0.02], [-0.05, 0.03, 0.01], [0.02, -0.07, 0.03], [-0.03, -0.04, -0.05], [0.01, 0.05, -0.04]]
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(3, 12))
def test_exact_without_noise(seed, count):
    rng = np.random.default_rng(seed)
    anatomy = np.vstack([ANATOMY[:3], rng.normal(0.0, 0.05, (count - 3, 3))])
    patient_T_anatomy = random_transform(rng)
    config = PairedPointConfig(min_separation=0.0)
    result = register_paired_points(transform_points(patient_T_anatomy, anatomy), anatomy, config=config)
    np.testing.assert_allclose(result.patient_T_anatomy, patient_T_anatomy, atol=1e-9)
    assert result.fre_rms < 1e-12


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_frames_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    patient = ANATOMY + rng.normal(0.0, 5e-4, ANATOMY.shape)
    moved_T_patient, moved_T_anatomy = random_transform(rng), random_transform(rng)
    one = register_paired_points(patient, ANATOMY)
    other = register_paired_points(
        transform_points(moved_T_patient, patient), transform_points(moved_T_anatomy, ANATOMY)
    )
    expected = moved_T_patient @ one.patient_T_anatomy @ np.linalg.inv(moved_T_anatomy)
    np.testing.assert_allclose(other.patient_T_anatomy, expected, atol=1e-9)
    assert other.fre_rms == pytest.approx(one.fre_rms)
    target = np.array([0.0, 0.02, 0.1])
    assert other.target_error(transform_points(moved_T_anatomy, target[None])[0]) == pytest.approx(
        one.target_error(target)
    )


def mean_nees(register, noise, runs=400):
    nees = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        truth = random_transform(rng)
        patient = transform_points(truth, ANATOMY) + noise(rng)
        result = register(patient)
        error = pose_error(result.patient_T_anatomy, truth)
        nees.append(error @ np.linalg.solve(result.covariance, error))
    return np.mean(nees)


def test_an_error_that_all_points_share_is_in_the_covariance():
    """The calibration of the tip is off by the same vector in the tool, which was held differently at each point."""
    tip_sigma = 0.3e-3

    def register(patient):
        common = patient_R_tool * tip_sigma
        return register_paired_points(patient, ANATOMY, fle_rms=0.1e-3 * np.sqrt(3.0), common=common)

    patient_R_tool = rotation_exp(np.random.default_rng(7).normal(0.0, 0.3, (5, 3)))
    nees = mean_nees(
        register, lambda rng: rng.normal(0, 0.1e-3, (5, 3)) + patient_R_tool @ rng.normal(0.0, tip_sigma, 3)
    )
    assert 5.66 < nees < 6.34


def test_covariance_is_consistent_with_known_noise():
    """χ²(2400)/400 has its 95 % bounds at 5.66 and 6.34."""
    fle = 0.3e-3 * np.sqrt(3.0)
    nees = mean_nees(
        lambda patient: register_paired_points(patient, ANATOMY, fle_rms=fle), lambda rng: rng.normal(0, 0.3e-3, (5, 3))
    )
    assert 5.66 < nees < 6.34


@pytest.mark.parametrize(('count', 'low', 'high'), [(4, 5.4, 6.6), (5, 5.57, 6.43)])
def test_covariance_is_consistent_with_estimated_noise(count, low, high):
    """With σ² from ν = 3 n − 6 residuals NEES/6 is F(6, ν) (ν − 2)/ν of mean 1; bounds are three σ of 1500 runs."""
    nees = mean_nees(
        lambda patient: register_paired_points(patient[:count], ANATOMY[:count]),
        lambda rng: rng.normal(0, 0.3e-3, (5, 3)),
        runs=1500,
    )
    assert low < nees < high


def test_covariance_is_consistent_with_anisotropic_noise():
    covariances = np.array([np.diag([0.1, 0.2, 0.6 + 0.3 * i]) ** 2 * 1e-6 for i in range(5)])
    roots = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    nees = mean_nees(
        lambda patient: register_paired_points(patient, ANATOMY, covariances=covariances),
        lambda rng: rng.normal(0, 1, (5, 3)) * roots,
    )
    assert 5.66 < nees < 6.34


def test_fle_is_estimated_from_fre():
    """FRE² = (1 − 2/n) FLE²: the mean of FLE² over 300 runs has σ below 3 %."""
    rng = np.random.default_rng(0)
    squares = [register_paired_points(ANATOMY + rng.normal(0, 3e-4, (5, 3)), ANATOMY).fle_rms ** 2 for _ in range(300)]
    assert np.mean(squares) == pytest.approx(3 * 3e-4**2, rel=0.1)


def test_known_noise_that_does_not_explain_the_residual_is_raised():
    rng = np.random.default_rng(0)
    result = register_paired_points(ANATOMY + rng.normal(0, 1e-3, (5, 3)), ANATOMY, fle_rms=0.1e-3)
    assert result.fle_rms > 0.5e-3


def test_worst_fiducial_is_named():
    patient = ANATOMY.copy()
    patient[2] += [0.0, 0.0, 0.006]
    result = register_paired_points(patient, ANATOMY, names=('nasion', 'left', 'right', 'chin', 'ear'))
    assert result.verdict is Verdict.WARN
    assert 'worst is right' in result.reasons[0]
    assert max(result.residuals, key=result.residuals.get) == 'right'


def test_mirrored_data_are_recognised():
    result = register_paired_points(ANATOMY * [-1.0, 1.0, 1.0], ANATOMY)
    assert result.verdict is Verdict.REFUSE
    assert 'mirrored' in result.reasons[-1]
    assert np.linalg.det(result.patient_T_anatomy) == pytest.approx(1.0)


@pytest.mark.parametrize(('factor', 'what'), [(1000.0, 'unit'), (0.001, 'unit'), (1.1, '10.0 % larger')])
def test_scale_is_recognised(factor, what):
    config = PairedPointConfig(min_offset=0.0, min_separation=0.0)
    result = register_paired_points(ANATOMY * factor, ANATOMY, config=config)
    assert result.verdict is Verdict.REFUSE
    assert what in result.reasons[-1]


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_an_axis_a_fifth_too_short_is_recognised(axis):
    rng = np.random.default_rng(axis)
    short = ANATOMY.copy()
    short[:, axis] *= 0.8
    patient = transform_points(random_transform(rng), ANATOMY) + rng.normal(0, 1e-4, (5, 3))
    result = register_paired_points(patient, short)
    assert result.verdict is Verdict.REFUSE
    assert f'axis {"xyz"[axis]} of the anatomy looks 20 % too short' in result.reasons[-1]


def test_two_names_that_were_exchanged_are_told():
    names = ('nasion', 'left', 'right', 'chin', 'ear')
    for seed in range(10):
        rng = np.random.default_rng(seed)
        patient = transform_points(random_transform(rng), ANATOMY) + rng.normal(0, 3e-4, ANATOMY.shape)
        i, j = sorted(rng.choice(5, 2, replace=False))
        patient[[i, j]] = patient[[j, i]]
        result = register_paired_points(patient, ANATOMY, names=names)
        assert result.verdict is Verdict.REFUSE
        assert result.cause.startswith(f'the points fit when {names[i]} and {names[j]} are exchanged')


def test_plain_noise_is_not_explained_away():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        result = register_paired_points(ANATOMY + rng.normal(0, 2e-3, (5, 3)), ANATOMY)
        assert not any('axis' in r or 'mirror' in r or 'unit' in r or 'exchanged' in r for r in result.reasons)


def test_three_fiducials_warn():
    result = register_paired_points(ANATOMY[:3], ANATOMY[:3])
    assert result.verdict is Verdict.WARN
    assert 'touch a fourth' in result.reasons[0]


def test_degenerate_sets_are_refused():
    with pytest.raises(DegenerateGeometryError, match='2 fiducials: at least 3'):
        register_paired_points(ANATOMY[:2], ANATOMY[:2])
    with pytest.raises(DegenerateGeometryError, match='at least 3'):
        register_paired_points(np.empty((0, 3)), np.empty((0, 3)))
    line = np.outer(np.arange(4), [0.02, 0.01, 0.0])
    with pytest.raises(DegenerateGeometryError, match='lie on a line') as caught:
        register_paired_points(line, line)
    assert caught.value.code == 'REGISTRATION_REFUSED'
    twice = ANATOMY.copy()
    twice[4] = twice[1] + 1e-4
    with pytest.raises(DegenerateGeometryError, match=r'#2 and #5 are 0\.17 mm apart'):
        register_paired_points(twice, ANATOMY)


def test_bad_input():
    broken = ANATOMY.copy()
    broken[1, 0] = np.inf
    with pytest.raises(InputError, match='#2 have NaN or Inf'):
        register_paired_points(broken, ANATOMY)
    with pytest.raises(InputError, match='two arrays'):
        register_paired_points(ANATOMY, ANATOMY[:4])
    with pytest.raises(InputError, match='positive definite'):
        register_paired_points(ANATOMY, ANATOMY, covariances=np.zeros((5, 3, 3)))
    with pytest.raises(InputError, match='fle_rms'):
        register_paired_points(ANATOMY, ANATOMY, fle_rms=0.0)
    with pytest.raises(InputError, match='3 names for 5'):
        register_paired_points(ANATOMY, ANATOMY, names=('a', 'b', 'c'))
    with pytest.raises(ConfigError, match='refuse_fre'):
        PairedPointConfig(warn_fre=0.01, refuse_fre=0.001)
