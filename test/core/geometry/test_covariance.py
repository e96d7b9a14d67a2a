"""Propagated covariances against sampling."""

import numpy as np
import pytest

from twin_nodes.core.geometry import covariance as cov
from twin_nodes.core.geometry import se3

SAMPLES = 20_000


def random_covariance(rng):
    root = rng.normal(size=(6, 6)) * np.array([1e-3] * 3 + [2e-3] * 3)[:, None]
    return root @ root.T


def perturb(rng, pose, covariance):
    delta = rng.multivariate_normal(np.zeros(6), covariance, SAMPLES)
    rotation = se3.rotation_exp(delta[:, 3:]) @ pose[:3, :3]
    return se3.make_transform(rotation, pose[:3, 3] + delta[:, :3])


def sampled(estimate, truths):
    rotation = se3.rotation_log(truths[:, :3, :3] @ estimate[:3, :3].T)
    errors = np.hstack([truths[:, :3, 3] - estimate[:3, 3], rotation])
    return errors.T @ errors / SAMPLES


def assert_same(propagated, observed):
    # the standard error of a sampled variance is sqrt(2/n) = 1 %; four of them, relative to the diagonal
    scale = np.sqrt(np.outer(np.diag(propagated), np.diag(propagated)))
    assert np.abs((propagated - observed) / scale).max() < 0.045


@pytest.mark.parametrize('seed', range(3))
def test_compose_inverse_and_point_match_sampling(seed):
    rng = np.random.default_rng(seed)
    a_T_b, b_T_c = se3.random_transform(rng, max_distance=0.3), se3.random_transform(rng, max_distance=0.3)
    cov_ab, cov_bc = random_covariance(rng), random_covariance(rng)
    samples_ab, samples_bc = perturb(rng, a_T_b, cov_ab), perturb(rng, b_T_c, cov_bc)
    assert_same(cov.compose_covariance(a_T_b, cov_ab, b_T_c, cov_bc), sampled(a_T_b @ b_T_c, samples_ab @ samples_bc))
    assert_same(cov.inverse_covariance(a_T_b, cov_ab), sampled(se3.inverse(a_T_b), se3.inverse(samples_ab)))
    point = rng.normal(size=3) * 0.2
    moved = samples_ab[:, :3, :3] @ point + samples_ab[:, :3, 3]
    assert_same(cov.point_covariance(a_T_b, cov_ab, point), np.cov(moved.T))


def test_pose_error_is_what_was_added():
    rng = np.random.default_rng(7)
    pose = se3.random_transform(rng)
    delta = np.array([1e-3, -2e-3, 3e-3, 0.01, -0.02, 0.03])
    truth = se3.make_transform(se3.rotation_exp(delta[3:]) @ pose[:3, :3], pose[:3, 3] + delta[:3])
    np.testing.assert_allclose(cov.pose_error(pose, truth), delta, atol=1e-12)


def test_square_root_of_a_covariance_that_has_directions_without_error():
    root = cov.square_root(np.diag([4e-8, 0.0, 1e-8]))
    np.testing.assert_allclose(root @ root.T, np.diag([4e-8, 0.0, 1e-8]), atol=1e-20)
