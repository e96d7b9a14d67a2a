import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import random_transform, transform_points
from twin_nodes.core.registration.fiducial_exclusion import ExclusionConfig, register_excluding
from twin_nodes.core.registration.paired_points import Verdict, register_paired_points

ALWAYS = ExclusionConfig(min_displacement=0.0)


def head(count):
    """Landmarks spread over the upper part of a head: a spiral on a half ellipsoid [m], shape (n, 3)."""
    index = np.arange(count) + 0.5
    height, turn = 1.0 - 1.2 * index / count, index * 2.399963
    radius = np.sqrt(1.0 - height**2)
    return np.stack([0.075 * radius * np.cos(turn), 0.095 * radius * np.sin(turn), 0.085 * height], axis=1)


def touched(rng, anatomy, *, sigma=3e-4, bad=1, distance=3e-3):
    """Touched points, with some displaced in random directions; returns points, true pose, names of the bad."""
    patient_T_anatomy = random_transform(rng)
    patient = transform_points(patient_T_anatomy, anatomy) + rng.normal(0.0, sigma, anatomy.shape)
    who = rng.choice(len(anatomy), bad, replace=False)
    away = rng.normal(size=(bad, 3))
    patient[who] += distance * away / np.linalg.norm(away, axis=1, keepdims=True)
    return patient, patient_T_anatomy, {f'#{i + 1}' for i in who}


@pytest.mark.parametrize('fle_rms', [None, 3e-4 * np.sqrt(3.0)])
def test_one_bad_of_eight_is_found(fle_rms):
    """0.3 mm per axis, 3 mm: 300 runs of a chance of 0.995 miss six or more once in a thousand."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        patient, _, bad = touched(rng, head(8))
        hits += set(register_excluding(patient, head(8), fle_rms=fle_rms).excluded) == bad
    assert hits >= 295


@pytest.mark.parametrize('fle_rms', [None, 3e-4 * np.sqrt(3.0)])
def test_none_is_left_out_when_none_is_bad(fle_rms):
    """At 1 % false alarms, 300 runs have nine or more once in 250."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        result = register_excluding(touched(rng, head(8), bad=0)[0], head(8), fle_rms=fle_rms, exclusion=ALWAYS)
        alarms += bool(result.excluded) or result.verdict is not Verdict.ACCEPT
    assert alarms <= 8


def test_two_bad_ones_do_not_hide_each_other():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        patient, _, bad = touched(rng, head(8), bad=2, distance=5e-3)
        hits += set(register_excluding(patient, head(8)).excluded) == bad
    assert hits >= 97


def test_what_is_left_out_is_named_and_the_rest_is_right():
    rng = np.random.default_rng(3)
    names = ('nasion', 'left', 'right', 'chin', 'ear', 'brow', 'crown', 'neck')
    patient, truth, bad = touched(rng, head(8), distance=6e-3)
    result = register_excluding(patient, head(8), names=names)
    (name,) = result.excluded
    assert {f'#{names.index(name) + 1}'} == bad
    assert result.verdict is Verdict.WARN
    assert result.reasons[0].startswith(f'{name} is ') and 'mm off and was left out' in result.reasons[0]
    assert result.excluded[name] == pytest.approx(6e-3, abs=1.5e-3)
    assert name not in result.residuals and len(result.names) == 7
    assert np.linalg.norm(result.patient_T_anatomy[:3, 3] - truth[:3, 3]) < 1e-3


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(5, 14), bad=st.integers(0, 3))
def test_neither_frame_nor_order_matters(seed, count, bad):
    rng = np.random.default_rng(seed)
    patient, _, _ = touched(rng, head(count), bad=min(bad, count // 4), distance=8e-3)
    one = register_excluding(patient, head(count), exclusion=ALWAYS)
    order, moved_T_patient = rng.permutation(count), random_transform(rng)
    names = tuple(f'#{i + 1}' for i in order)
    other = register_excluding(
        transform_points(moved_T_patient, patient)[order], head(count)[order], names=names, exclusion=ALWAYS
    )
    assert set(other.excluded) == set(one.excluded)
    assert other.verdict is one.verdict
    np.testing.assert_allclose(other.patient_T_anatomy, moved_T_patient @ one.patient_T_anatomy, atol=1e-8)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(5, 20), distance=st.floats(5e-3, 0.05))
def test_forty_percent_bad_ones_are_never_accepted(seed, count, distance):
    rng = np.random.default_rng(seed)
    patient, _, _ = touched(rng, head(count), bad=int(np.ceil(0.4 * count)), distance=distance)
    result = register_excluding(patient, head(count))
    assert result.verdict is not Verdict.ACCEPT
    assert len(result.excluded) <= 0.25 * count


def test_too_many_bad_ones_are_refused():
    rng = np.random.default_rng(4)
    patient, _, _ = touched(rng, head(8), bad=3, distance=0.01)
    result = register_excluding(patient, head(8))
    assert result.verdict is Verdict.REFUSE and not result.excluded
    assert 'more than 2 of 8 fiducials do not fit the others' in result.reasons[-1]


def test_anisotropic_noise_decides_what_stands_out():
    """2 mm along the axis that is measured ten times worse is chance, across it is not."""
    covariances = np.broadcast_to(np.diag([1e-4, 1e-4, 1e-3]) ** 2, (8, 3, 3))
    rng = np.random.default_rng(5)
    patient = head(8) + rng.normal(0.0, [1e-4, 1e-4, 1e-3], (8, 3))
    for shift, excluded in (([0.0, 0.0, 2e-3], set()), ([2e-3, 0.0, 0.0], {'#4'})):
        moved = patient.copy()
        moved[3] += shift
        assert set(register_excluding(moved, head(8), covariances=covariances).excluded) == excluded


def test_a_stated_error_that_is_too_small_leaves_nothing_out_and_is_said():
    rng = np.random.default_rng(6)
    patient, _, _ = touched(rng, head(8), bad=0, sigma=3e-4)
    result = register_excluding(patient, head(8), fle_rms=5e-5)
    assert not result.excluded
    assert 'times what the stated error' in result.reasons[0]


def test_mirrored_data_are_not_mended_by_leaving_out():
    result = register_excluding(head(8) * [-1.0, 1.0, 1.0], head(8))
    assert result.verdict is Verdict.REFUSE and not result.excluded
    assert 'mirrored' in result.cause


def test_harmless_displacements_and_few_fiducials_are_kept():
    anatomy = head(8)
    patient = anatomy.copy()
    patient[2, 0] += 5e-4
    assert not register_excluding(patient, anatomy).excluded
    assert register_excluding(patient, anatomy, exclusion=ALWAYS).excluded
    patient[2, 0] += 5e-3
    assert not register_excluding(patient[:4], anatomy[:4]).excluded
    assert not register_excluding(patient, anatomy, exclusion=ExclusionConfig(enabled=False)).excluded


def test_without_a_bad_one_it_is_the_plain_registration():
    patient, _, _ = touched(np.random.default_rng(7), head(6), bad=0)
    one, other = register_excluding(patient, head(6)), register_paired_points(patient, head(6))
    np.testing.assert_array_equal(one.patient_T_anatomy, other.patient_T_anatomy)
    np.testing.assert_array_equal(one.covariance, other.covariance)


def test_a_layout_that_becomes_a_line_is_refused():
    line = np.outer(np.arange(6), [0.02, 0.0, 0.0])
    line[5] = [0.04, 0.05, 0.0]
    patient = line.copy()
    patient[5] += [0.0, 0.02, 0.0]
    result = register_excluding(patient + np.random.default_rng(0).normal(0.0, 1e-4, (6, 3)), line)
    assert result.verdict is Verdict.REFUSE and not result.excluded
    assert '#6 does not fit, and without it the fiducials touched lie on a line' in result.reasons[-1]


def test_bad_input():
    broken = head(8)
    broken[1, 1] = np.nan
    with pytest.raises(InputError, match='#2 have NaN'):
        register_excluding(broken, head(8))
    with pytest.raises(DegenerateGeometryError, match='lie on a line'):
        register_excluding(np.outer(np.arange(8), [0.02, 0.0, 0.01]), head(8))
