"""Single rotations in scalars say what the arrays of se3 say."""

import numpy as np
import pytest

from twin_nodes.core.geometry import se3, se3_scalars


@pytest.mark.parametrize('size', [0.0, 1e-13, 1e-9, 9e-5, 1.1e-4, 0.3, 2.0, np.pi - 1e-7, np.pi])
def test_exp_and_log_agree_with_arrays(size: float) -> None:
    rng = np.random.default_rng(3)
    for way in rng.normal(size=(50, 3)):
        vector = size * way / np.linalg.norm(way)
        rotation = se3.rotation_exp(vector)
        np.testing.assert_allclose(se3_scalars.exp_of(vector), rotation, rtol=0.0, atol=4e-15)
        np.testing.assert_allclose(se3_scalars.log_of(rotation), se3.rotation_log(rotation), rtol=0.0, atol=4e-15)
        np.testing.assert_allclose(se3_scalars.quat_of(rotation), se3.quat_from_rotation(rotation), atol=1e-15)


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_half_turn_is_found_whole(axis: int) -> None:
    diagonal = np.where(np.arange(3) == axis, 1.0, -1.0)
    np.testing.assert_allclose(np.abs(se3_scalars.log_of(np.diag(diagonal))), np.pi * np.eye(3)[axis], atol=1e-15)


def test_what_is_not_finite_stays_not_finite() -> None:
    for bad in (np.nan, np.inf, 1e200):
        assert np.isnan(se3_scalars.exp_of(np.array([bad, 0.0, 0.0]))).all()
    assert np.isnan(se3_scalars.log_of(np.full((3, 3), np.nan))).all()
