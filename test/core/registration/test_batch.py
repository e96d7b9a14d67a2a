import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_from_quat, transform_points
from twin_nodes.core.registration.batch import fit_rigid_batch
from twin_nodes.core.registration.paired_points import fit_rigid


def problems(rng, count, points=6, *, shape=(1.0, 1.0, 1.0), noise=3e-4):
    """Layouts of a shape along axes of their own, at every attitude."""
    quat = rng.normal(size=(2, count, 4))
    turns = rotation_from_quat(quat / np.linalg.norm(quat, axis=2, keepdims=True))
    anatomy = np.einsum('bij,bnj->bni', turns[0], rng.normal(0.0, 0.05, (count, points, 3)) * shape)
    truth = make_transform(turns[1], rng.uniform(-0.3, 0.3, (count, 3)))
    patient = np.einsum('bij,bnj->bni', turns[1], anatomy) + truth[:, None, :3, 3]
    return patient + rng.normal(0.0, noise, patient.shape), anatomy, truth


@pytest.mark.parametrize('shape', [(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.3, 0.05), (1.0, 0.3, 0.0)])
@pytest.mark.parametrize('points', [3, 6, 20])
def test_is_that_of_singular_values(shape, points):
    patient, anatomy, _ = problems(np.random.default_rng(points), 3000, points, shape=shape)
    difference = np.abs(fit_rigid_batch(patient, anatomy) - fit_rigid(patient, anatomy))
    assert difference[:, :3, :3].max() < 1e-11
    assert difference.max() < 1e-11


def test_is_exact_without_noise():
    patient, anatomy, truth = problems(np.random.default_rng(0), 2000, noise=0.0)
    np.testing.assert_allclose(fit_rigid_batch(patient, anatomy), truth, atol=1e-11)


@pytest.mark.parametrize('axis', [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.8, 0), (0.6, 0, 0.8)])
def test_half_turns(axis):
    """Every component of the quaternion but one or two is zero: no column of the adjugate may be taken for granted."""
    anatomy = np.random.default_rng(0).normal(0.0, 0.05, (6, 3))
    rotation = 2.0 * np.outer(axis, axis) - np.eye(3)
    found = fit_rigid_batch((anatomy @ rotation.T)[None], anatomy)[0]
    np.testing.assert_allclose(found[:3, :3], rotation, atol=1e-13)


def test_near_a_line_it_is_as_good_as_singular_values():
    patient, anatomy, _ = problems(np.random.default_rng(0), 500, shape=(1.0, 1e-4, 1e-5), noise=1e-7)
    np.testing.assert_array_equal(fit_rigid_batch(patient, anatomy), fit_rigid(patient, anatomy))


def test_mirrored_points_are_turned_and_not_mirrored():
    rng = np.random.default_rng(0)
    anatomy = rng.normal(0.0, 0.05, (1000, 5, 3))
    found = fit_rigid_batch(anatomy * [-1.0, 1.0, 1.0], anatomy)
    np.testing.assert_allclose(np.linalg.det(found[:, :3, :3]), 1.0, atol=1e-12)
    np.testing.assert_allclose(found, fit_rigid(anatomy * [-1.0, 1.0, 1.0], anatomy), atol=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(3, 12))
def test_neither_frame_nor_order_matters(seed, count):
    rng = np.random.default_rng(seed)
    patient, anatomy, _ = problems(rng, 1, count)
    moved_T_patient, order = random_transform(rng), rng.permutation(count)
    found = fit_rigid_batch(transform_points(moved_T_patient, patient[0])[order][None], anatomy[:, order])[0]
    np.testing.assert_allclose(found, moved_T_patient @ fit_rigid_batch(patient, anatomy)[0], atol=1e-8)


def test_one_layout_for_all():
    patient, anatomy, _ = problems(np.random.default_rng(0), 3)
    same = np.broadcast_to(anatomy[0], patient.shape)
    np.testing.assert_array_equal(fit_rigid_batch(patient, anatomy[0]), fit_rigid_batch(patient, same))
    assert fit_rigid_batch(np.empty((0, 4, 3)), np.empty((4, 3))).shape == (0, 4, 4)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('which', [0, 1])
def test_what_is_not_finite_is_refused(value, which):
    sets = list(problems(np.random.default_rng(0), 5)[:2])
    sets[which][3, 2, 1] = value
    with pytest.raises(InputError, match='problem 3 has NaN or Inf'):
        fit_rigid_batch(*sets)


def test_what_is_on_a_line_is_refused():
    patient, anatomy, _ = problems(np.random.default_rng(0), 4)
    anatomy[2] = np.outer(np.arange(6), [0.01, 0.02, 0.0])
    with pytest.raises(DegenerateGeometryError, match='problem 2: the points lie on a line'):
        fit_rigid_batch(patient, anatomy)
    anatomy[2] = 0.1
    with pytest.raises(DegenerateGeometryError, match='problem 2'):
        fit_rigid_batch(patient, anatomy)
    with pytest.raises(DegenerateGeometryError, match='2 fiducials'):
        fit_rigid_batch(patient[:, :2], anatomy[:, :2])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match='batches need'):
        fit_rigid_batch(np.zeros((5, 3)), np.zeros((5, 3)))
    with pytest.raises(InputError, match='batches need'):
        fit_rigid_batch(np.zeros((2, 5, 3)), np.zeros((2, 4, 3)))
