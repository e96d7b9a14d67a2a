"""The laws of SE(3), checked against scipy and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry import se3

unit = st.floats(-1.0, 1.0, allow_nan=False)
vectors = st.tuples(unit, unit, unit).map(np.array)
quats = (
    st.tuples(unit, unit, unit, unit)
    .map(np.array)
    .filter(lambda q: np.linalg.norm(q) > 1e-3)
    .map(lambda q: q / np.linalg.norm(q))
)
poses = st.builds(lambda q, p: se3.make_transform(se3.rotation_from_quat(q), p), quats, vectors)


@given(poses)
def test_exp_and_log_are_inverse(pose):
    np.testing.assert_allclose(se3.exp(se3.log(pose)), pose, atol=1e-9)


@given(poses, poses, poses)
def test_inner_names_cancel(a_T_b, b_T_c, c_T_d):
    np.testing.assert_allclose((a_T_b @ b_T_c) @ c_T_d, a_T_b @ (b_T_c @ c_T_d), atol=1e-12)
    np.testing.assert_allclose(se3.inverse(a_T_b @ b_T_c), se3.inverse(b_T_c) @ se3.inverse(a_T_b), atol=1e-12)
    np.testing.assert_allclose(a_T_b @ se3.inverse(a_T_b), np.eye(4), atol=1e-12)


@given(quats)
def test_quaternions_match_scipy(quat):
    rotation = se3.rotation_from_quat(quat)
    np.testing.assert_allclose(rotation, Rotation.from_quat(quat).as_matrix(), atol=1e-12)
    again = se3.quat_from_rotation(rotation)
    assert again[3] >= 0.0
    assert min(np.abs(again - quat).max(), np.abs(again + quat).max()) < 1e-9


@pytest.mark.parametrize('axis', np.vstack([np.eye(3), [[0.6, 0.8, 0.0]]]))
@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-5, 1e-4, 0.5, np.pi - 1e-9, np.pi])
def test_rotation_vectors_from_zero_to_pi(axis, angle):
    rotation = se3.rotation_exp(axis * angle)
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(axis * angle).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(se3.rotation_log(rotation)), angle, atol=1e-7)
    np.testing.assert_allclose(se3.rotation_exp(se3.rotation_log(rotation)), rotation, atol=1e-9)


@given(poses, poses, st.floats(0.0, 1.0))
def test_interpolation_is_on_the_way(pose0, pose1, fraction):
    between = se3.interpolate(pose0, pose1, fraction)
    whole = se3.angle_between(pose0, pose1)
    if whole < np.pi - 1e-3:
        assert abs(se3.angle_between(pose0, between) - fraction * whole) < 1e-6
    np.testing.assert_allclose(between[:3, 3], (1 - fraction) * pose0[:3, 3] + fraction * pose1[:3, 3], atol=1e-12)


def test_batches_equal_single_calls():
    rng = np.random.default_rng(0)
    batch = np.stack([se3.random_transform(rng) for _ in range(20)])
    np.testing.assert_array_equal(se3.log(batch), np.stack([se3.log(pose) for pose in batch]))
    np.testing.assert_allclose(se3.inverse(batch) @ batch, np.broadcast_to(np.eye(4), (20, 4, 4)), atol=1e-12)


def left_handed():
    return np.diag([1.0, 1.0, -1.0, 1.0])


def sheared():
    pose = np.eye(4)
    pose[0, 1] = 0.01
    return pose


@pytest.mark.parametrize(
    ('pose', 'says', 'code'),
    [
        (np.eye(3), r'shape \(4, 4\)', 'NOT_A_ROTATION'),
        (np.full((4, 4), np.nan), 'NaN', 'NOT_FINITE'),
        (np.full((4, 4), np.inf), 'Inf', 'NOT_FINITE'),
        (left_handed(), 'left-handed', 'NOT_A_ROTATION'),
        (sheared(), 'differs from I', 'NOT_A_ROTATION'),
        (np.ones((4, 4)), 'last row', 'NOT_A_ROTATION'),
        (np.zeros((4, 4)), 'last row', 'NOT_A_ROTATION'),
    ],
)
def test_refuses_what_is_no_pose(pose, says, code):
    with pytest.raises(InputError, match=says) as caught:
        se3.check_transform(pose)
    assert caught.value.code == code


def test_mends_a_rotation_printed_with_few_digits():
    pose = se3.make_transform(np.round(se3.rotation_exp([0.3, -0.5, 0.7]), 5), [1.0, 2.0, 3.0])
    mended = se3.check_transform(pose)[:3, :3]
    np.testing.assert_allclose(mended.T @ mended, np.eye(3), atol=1e-14)


@pytest.mark.parametrize('norm', [0.0, 0.98, 1.02, np.nan])
def test_refuses_a_quaternion_of_another_norm(norm):
    with pytest.raises(InputError, match=r'norm|NaN'):
        se3.check_quaternion(np.array([0.0, 0.0, 0.0, 1.0]) * norm)


@given(quats, st.floats(0.991, 1.009))
def test_renormalises_a_quaternion_near_one(quat, norm):
    np.testing.assert_allclose(se3.check_quaternion(quat * norm), quat, atol=1e-12)
