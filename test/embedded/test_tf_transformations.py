"""tf_transformations against scipy."""

import numpy as np
import pytest
import tf_transformations as tft
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

ANGLES = st.floats(-3.1, 3.1)
SEEDS = st.integers(0, 2**32 - 1)
AXES = ['sxyz', 'szyx', 'sxyx', 'szxz', 'rxyz', 'rzyx', 'ryxy', 'rzxz']


def scipy_axes(axes):
    return axes[1:] if axes[0] == 's' else axes[1:].upper()


def same_rotation(q, rotation):
    return abs(np.asarray(q) @ rotation.as_quat()) == pytest.approx(1.0, abs=1e-12)


def random_rotations(seed, count):
    return Rotation.random(count, rng=np.random.default_rng(seed))


@pytest.mark.parametrize('axes', AXES)
@given(ANGLES, ANGLES, ANGLES)
def test_euler_angles(axes, ai, aj, ak):
    truth = Rotation.from_euler(scipy_axes(axes), [ai, aj, ak])
    q = tft.quaternion_from_euler(ai, aj, ak, axes)
    assert same_rotation(q, truth)
    matrix = tft.euler_matrix(ai, aj, ak, axes)
    np.testing.assert_allclose(matrix[:3, :3], truth.as_matrix(), atol=1e-12)
    for angles in (tft.euler_from_quaternion(q, axes), tft.euler_from_matrix(matrix, axes)):
        assert (Rotation.from_euler(scipy_axes(axes), angles).inv() * truth).magnitude() < 1e-6


@given(SEEDS)
def test_quaternions(seed):
    r0, r1 = random_rotations(seed, 2)
    q0, q1 = r0.as_quat(), r1.as_quat()
    assert same_rotation(tft.quaternion_multiply(q1, q0), r1 * r0)
    assert same_rotation(tft.quaternion_inverse(2.0 * q0) * 2.0, r0.inv())
    assert same_rotation(tft.quaternion_conjugate(q0), r0.inv())
    np.testing.assert_allclose(tft.quaternion_matrix(3.0 * q0)[:3, :3], r0.as_matrix(), atol=1e-12)
    assert same_rotation(tft.quaternion_from_matrix(tft.quaternion_matrix(q0)), r0)
    assert same_rotation(tft.quaternion_from_matrix(r0.as_matrix()), r0)


def test_xyzw():
    np.testing.assert_allclose(tft.quaternion_from_euler(0, 0, np.pi / 2), [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-15)
    np.testing.assert_allclose(tft.quaternion_about_axis(np.pi, [0, 5, 0]), [0, 1, 0, 0], atol=1e-15)


@given(SEEDS, st.floats(0.0, 1.0), st.booleans())
def test_slerp(seed, fraction, flip):
    r = random_rotations(seed, 2)
    q0, q1 = r.as_quat()
    got = tft.quaternion_slerp(q0, -q1 if flip else q1, fraction)
    assert same_rotation(got, Slerp([0.0, 1.0], r)(fraction))


def test_slerp_at_its_ends_and_the_long_way():
    q = tft.quaternion_about_axis(0.2, [0, 0, 1])
    np.testing.assert_allclose(tft.quaternion_slerp(q, q, 0.7), q, atol=1e-15)
    np.testing.assert_allclose(tft.quaternion_slerp(q, tft.quaternion_about_axis(1.0, [0, 0, 1]), 1.0)[2], np.sin(0.5))
    long_way = tft.quaternion_slerp([0, 0, 0, 1], -tft.quaternion_about_axis(1.0, [0, 0, 1]), 0.5, shortestpath=False)
    assert abs(long_way @ tft.quaternion_about_axis(0.5 - np.pi, [0, 0, 1])) == pytest.approx(1.0)


@given(SEEDS, st.floats(0.01, 3.1))
def test_turn_about_an_axis_in_space(seed, angle):
    rng = np.random.default_rng(seed)
    axis, point = rng.normal(size=3), rng.normal(size=3)
    matrix = tft.rotation_matrix(angle, axis, point)
    unit = axis / np.linalg.norm(axis)
    np.testing.assert_allclose(matrix[:3, :3], Rotation.from_rotvec(angle * unit).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(matrix @ [*point, 1.0], [*point, 1.0], atol=1e-12)
    got_angle, got_axis, got_point = tft.rotation_from_matrix(matrix)
    assert tft.is_same_transform(tft.rotation_matrix(got_angle, got_axis, got_point), matrix)


def test_translation_concatenation_inverse():
    matrix = tft.concatenate_matrices(tft.translation_matrix([1, 2, 3]), tft.euler_matrix(0.1, 0.2, 0.3))
    np.testing.assert_array_equal(tft.translation_from_matrix(matrix), [1, 2, 3])
    np.testing.assert_allclose(tft.inverse_matrix(matrix) @ matrix, tft.identity_matrix(), atol=1e-15)
    assert tft.is_same_transform(tft.identity_matrix(), 4.0 * np.eye(4))
    assert not tft.is_same_transform(tft.identity_matrix(), matrix)
    assert tft.is_same_transform(tft.concatenate_matrices(), np.eye(4))


@given(SEEDS)
def test_decompose_undoes_compose(seed):
    rng = np.random.default_rng(seed)
    scale, shear = rng.uniform(0.5, 2.0, 3), rng.normal(size=3)
    angles, translate = rng.uniform(-1.5, 1.5, 3), rng.normal(size=3)
    parts = tft.decompose_matrix(tft.compose_matrix(scale, shear, angles, translate))
    for got, truth in zip(parts, (scale, shear, angles, translate, [0, 0, 0, 1]), strict=True):
        np.testing.assert_allclose(got, truth, atol=1e-9)
    full = tft.compose_matrix(scale, shear, angles, translate, [0.1, 0.2, -0.1, 2.0])
    assert tft.is_same_transform(tft.compose_matrix(*tft.decompose_matrix(full)), full)
    mirrored = tft.compose_matrix(-scale, shear, angles, translate)
    assert tft.is_same_transform(tft.compose_matrix(*tft.decompose_matrix(mirrored)), mirrored)


def test_random_rotations_are_uniform():
    rng = np.random.default_rng(3)
    turned = np.array([tft.quaternion_matrix(tft.random_quaternion(rng.random(3)))[:3, 0] for _ in range(4000)])
    np.testing.assert_allclose(turned.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(turned.T @ turned / 4000, np.eye(3) / 3, atol=0.03)
    assert np.linalg.norm(tft.random_quaternion()) == pytest.approx(1.0)
    assert np.linalg.det(tft.random_rotation_matrix()) == pytest.approx(1.0)


def test_vectors():
    data = np.array([[3.0, 4.0], [6.0, 8.0]])
    np.testing.assert_allclose(tft.vector_norm(data, axis=1), [5, 10])
    assert tft.vector_norm([3, 4]) == 5.0
    np.testing.assert_allclose(tft.unit_vector(data, axis=1), [[0.6, 0.8], [0.6, 0.8]])
    out = np.empty(2)
    tft.unit_vector([3, 4], out=out)
    np.testing.assert_allclose(out, [0.6, 0.8])


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda: tft.quaternion_matrix([0, 0, 0, 0]), 'no rotation'),
        (lambda: tft.euler_from_quaternion([0, 0, np.nan, 1]), 'no rotation'),
        (lambda: tft.quaternion_multiply([0, 0, 1], [0, 0, 0, 1]), '4 numbers'),
        (lambda: tft.quaternion_from_matrix(np.diag([1.0, 1.0, -1.0])), 'left-handed'),
        (lambda: tft.euler_from_matrix(2.0 * np.eye(4)), 'not a rotation'),
        (lambda: tft.rotation_from_matrix(np.eye(4)), 'does not turn'),
        (lambda: tft.rotation_from_matrix(tft.translation_matrix([0, 0, 1]) @ tft.euler_matrix(0, 0, 1)), 'screw'),
        (lambda: tft.unit_vector([0, 0, 0]), 'no direction'),
        (lambda: tft.decompose_matrix(np.zeros((4, 4))), 'corner'),
        (lambda: tft.decompose_matrix(np.diag([1.0, 0.0, 1.0, 1.0])), 'singular'),
    ],
)
def test_nonsense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
