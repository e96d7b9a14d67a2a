"""The pose of corners against known truth, and its derivatives against differences."""

import numpy as np
import pytest

from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.tracking.visual.reprojection import CornerView, fit_pose, reproject, whitening_of

TRUTH = make_transform(rotation_exp([0.4, -0.3, 0.2]), [0.02, 0.01, 0.35])
FOCAL, CENTRE = np.array([600.0, 590.0]), np.array([320.0, 240.0])


def view(groups, size, *, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.03, 0.03, (groups, size, 3))
    seen = points @ TRUTH[:3, :3].T + TRUTH[:3, 3]
    pixels = seen[..., :2] / seen[..., 2:] * FOCAL + CENTRE + rng.normal(0.0, noise, (groups, size, 2))
    root = np.eye(2 * size) + 0.1 * rng.normal(size=(groups, 2 * size, 2 * size))
    return CornerView(points, pixels, whitening_of(0.04 * root @ root.transpose(0, 2, 1)), FOCAL, CENTRE)


@pytest.mark.parametrize(('groups', 'size'), [(1, 4), (3, 4), (12, 1)])
def test_corners_without_noise_give_the_pose(groups, size):
    found = fit_pose(view(groups, size), make_transform(rotation_exp([0.5, -0.1, 0.1]), [0.0, 0.0, 0.4]))
    assert np.abs(pose_error(found.pose, TRUTH)).max() < 1e-9
    assert found.misfit < 1e-12 and found.reprojection < 1e-9


def test_information_is_the_curvature_of_the_misfit_and_the_gradient_ends_at_zero():
    seen = view(3, 4, noise=0.2)
    found = fit_pose(seen, TRUTH)
    scale = 1e-3 / np.sqrt(np.diagonal(found.information))
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = scale[axis] * 1e2
        ends = []
        for sign in (-1.0, 1.0):
            moved = make_transform(
                rotation_exp(sign * step[3:]) @ found.pose[:3, :3], found.pose[:3, 3] + sign * step[:3]
            )
            ends.append(reproject(seen, moved).misfit)
        curvature = (sum(ends) - 2.0 * found.misfit) / (2.0 * step[axis] ** 2)
        assert curvature == pytest.approx(found.information[axis, axis], rel=0.02)
        assert abs(ends[1] - ends[0]) < 0.02 * (sum(ends) - 2.0 * found.misfit)


def test_a_start_behind_the_camera_or_that_is_not_finite_gives_no_pose():
    behind = TRUTH.copy()
    behind[2, 3] = -0.3
    assert fit_pose(view(1, 4), behind) is None
    assert reproject(view(1, 4), behind) is None
    assert fit_pose(view(1, 4), np.full((4, 4), np.nan)) is None
