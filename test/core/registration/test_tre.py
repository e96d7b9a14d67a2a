import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import random_transform, transform_points
from twin_nodes.core.registration.paired_points import register_paired_points
from twin_nodes.core.registration.tre import fitzpatrick_tre, sample_tre, target_covariances, target_errors, tre_field

ANATOMY = np.array(
    [[0.06, 0.01, 0.02], [-0.05, 0.03, 0.01], [0.02, -0.07, 0.03], [-0.03, -0.04, -0.05], [0.01, 0.05, -0.04]]
)
TARGETS = np.random.default_rng(0).uniform(-0.12, 0.12, (40, 3))
FLE = 0.4e-3
TRIALS = 20_000
# The variance of a squared length with three or fewer equal directions is at most 2: 3 σ of the RMS are 3/√(2 · 20000).
WITHIN = 3.0 / np.sqrt(2.0 * TRIALS)


def anisotropic(count):
    rng = np.random.default_rng(1)
    turns = np.stack([random_transform(rng)[:3, :3] for _ in range(count)])
    variances = rng.uniform(0.1e-3, 1e-3, (count, 3)) ** 2
    return np.einsum('nij,nj,nkj->nik', turns, variances, turns)


def test_covariance_formula_and_sampling_agree_on_equal_errors():
    result = register_paired_points(ANATOMY, ANATOMY, fle_rms=FLE)
    predicted = tre_field(result.patient_T_anatomy, result.covariance, TARGETS)
    np.testing.assert_allclose(predicted, fitzpatrick_tre(FLE, ANATOMY, TARGETS), rtol=1e-9)
    observed = sample_tre(ANATOMY, TARGETS, np.random.default_rng(2), fle_rms=FLE, trials=TRIALS)
    np.testing.assert_allclose(observed, predicted, rtol=WITHIN + 0.002)


def test_covariance_and_sampling_agree_on_unequal_errors():
    covariances = anisotropic(len(ANATOMY))
    result = register_paired_points(ANATOMY, ANATOMY, covariances=covariances)
    predicted = tre_field(result.patient_T_anatomy, result.covariance, TARGETS)
    observed = sample_tre(ANATOMY, TARGETS, np.random.default_rng(3), covariances=covariances, trials=TRIALS)
    np.testing.assert_allclose(observed, predicted, rtol=WITHIN + 0.002)


def test_weighing_by_the_errors_pays():
    covariances = anisotropic(len(ANATOMY))
    plain, weighed = (
        sample_tre(
            ANATOMY, TARGETS, np.random.default_rng(4), covariances=covariances, trials=4000, weighted=weighted
        ).mean()
        for weighted in (False, True)
    )
    assert weighed < 0.9 * plain


def test_sampling_gives_what_the_solver_itself_does():
    """The batch of the sampling and `register_paired_points`, which the product uses, err alike."""
    covariances = anisotropic(len(ANATOMY))
    roots = np.linalg.cholesky(covariances)
    rng = np.random.default_rng(5)
    squares = np.zeros(len(TARGETS))
    for _ in range(400):
        touched = ANATOMY + np.einsum('nij,nj->ni', roots, rng.normal(size=ANATOMY.shape))
        pose = register_paired_points(touched, ANATOMY, covariances=covariances).patient_T_anatomy
        squares += ((transform_points(pose, TARGETS) - TARGETS) ** 2).sum(axis=1)
    observed = sample_tre(ANATOMY, TARGETS, rng, covariances=covariances, trials=4000)
    np.testing.assert_allclose(np.sqrt(squares / 400), observed, rtol=0.15)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_field_grows_away_from_the_fiducials_and_does_not_depend_on_frames(seed):
    rng = np.random.default_rng(seed)
    away = rng.normal(size=3)
    ray = ANATOMY.mean(axis=0) + np.outer(np.linspace(0.0, 0.3, 7), away / np.linalg.norm(away))
    field = fitzpatrick_tre(FLE, ANATOMY, ray)
    assert field[0] == pytest.approx(FLE / np.sqrt(len(ANATOMY)))
    assert (np.diff(field) > 0.0).all()
    moved_T_anatomy = random_transform(rng)
    moved = fitzpatrick_tre(FLE, transform_points(moved_T_anatomy, ANATOMY), transform_points(moved_T_anatomy, ray))
    np.testing.assert_allclose(moved, field, rtol=1e-9)
    np.testing.assert_allclose(fitzpatrick_tre(2.0 * FLE, ANATOMY, ray), 2.0 * field)


def test_named_targets():
    rng = np.random.default_rng(6)
    patient_T_anatomy = random_transform(rng)
    patient = transform_points(patient_T_anatomy, ANATOMY) + rng.normal(0.0, 2e-4, ANATOMY.shape)
    result = register_paired_points(patient, ANATOMY)
    names = ('nerve', 'tumour')
    errors = target_errors(result.patient_T_anatomy, result.covariance, names, TARGETS[:2])
    assert errors.rms == {
        name: pytest.approx(result.target_error(target)) for name, target in zip(names, TARGETS[:2], strict=True)
    }
    np.testing.assert_allclose(errors.positions_patient, transform_points(result.patient_T_anatomy, TARGETS[:2]))
    np.testing.assert_allclose(errors.covariances[1], result.target_covariance(TARGETS[1]))
    assert target_covariances(np.eye(4), np.eye(6), np.empty((0, 3))).shape == (0, 3, 3)


def test_bad_input():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match='one of the two'):
        sample_tre(ANATOMY, TARGETS, rng)
    with pytest.raises(InputError, match='one of the two'):
        sample_tre(ANATOMY, TARGETS, rng, fle_rms=FLE, covariances=anisotropic(5))
    with pytest.raises(InputError, match='trials=0'):
        sample_tre(ANATOMY, TARGETS, rng, fle_rms=FLE, trials=0)
    with pytest.raises(InputError, match='NaN'):
        sample_tre(ANATOMY, TARGETS * np.nan, rng, fle_rms=FLE)
    with pytest.raises(InputError, match=r'shape \(n, 3\)'):
        target_errors(np.eye(4), np.eye(6), ('a',), np.zeros(3))
    with pytest.raises(InputError, match='2 names for 1'):
        target_errors(np.eye(4), np.eye(6), ('a', 'b'), np.zeros((1, 3)))
    with pytest.raises(DegenerateGeometryError, match='on a line'):
        sample_tre(np.outer(np.arange(5), [0.01, 0.0, 0.0]), TARGETS, rng, fle_rms=1e-12)
