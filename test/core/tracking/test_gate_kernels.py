"""The compiled check of a pose says and gives what check_transform does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import check_transform, random_transform
from twin_nodes.core.tracking.gate_kernels import orthonormalise


def checked(matrix):
    pose = np.empty((4, 4))
    return orthonormalise(matrix, pose), pose


@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-14.0, -3.0))
def test_gives_the_nearest_rotation(seed, exponent):
    rng = np.random.default_rng(seed)
    matrix = random_transform(rng)
    matrix[:3, :3] += 10.0**exponent * rng.normal(size=(3, 3))
    distance, pose = checked(matrix)
    try:
        expected = check_transform(matrix)
    except InputError:
        assert distance < 0.0
        return
    np.testing.assert_allclose(pose, expected, atol=2e-14)
    assert distance == pytest.approx(np.linalg.norm(matrix[:3, 3]), rel=1e-14)


def test_float32_on_the_wire_becomes_orthonormal():
    matrix = random_transform(np.random.default_rng(1)).astype(np.float32).astype(float)
    _, pose = checked(matrix)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-15)


def test_exact_rotation_stays_to_the_bit():
    _, pose = checked(np.eye(4))
    assert (pose == np.eye(4)).all()


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('at', [(0, 0), (2, 3), (3, 3)])
def test_refuses_what_is_not_finite(value, at):
    matrix = np.eye(4)
    matrix[at] = value
    assert checked(matrix)[0] < 0.0


@pytest.mark.parametrize(
    'matrix', [np.zeros((4, 4)), np.diag([-1.0, 1.0, 1.0, 1.0]), 1.01 * np.eye(4), np.diag([1.0, 1.0, 1.0, 0.0])]
)
def test_refuses_what_is_no_rigid_transform(matrix):
    assert checked(matrix)[0] < 0.0
    with pytest.raises(InputError):
        check_transform(matrix)


def test_far_positions_do_not_overflow():
    matrix = np.eye(4)
    matrix[0, 3] = -1e200
    assert checked(matrix)[0] == 1e200
