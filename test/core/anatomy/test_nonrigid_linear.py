"""The normal equations of a frame in single precision, and the searches beside them, against plain ones."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.nonrigid import nearest_kernels
from twin_nodes.core.anatomy.nonrigid.linear import Linear
from twin_nodes.core.anatomy.nonrigid.load_scales import factor_of
from twin_nodes.core.anatomy.nonrigid.seen_part import motions


def test_normal_equations_are_those_in_double_precision_to_six_digits() -> None:
    rng = np.random.default_rng(1)
    linear = Linear(rng.uniform(1e-6, 4e-6, 200), np.full(200, 0.001), 20)
    linear.jacobian[:] = rng.normal(size=(200, 26))
    linear.residuals[:] = rng.normal(0.0, 0.002, 200)
    usable = rng.uniform(size=200) < 0.9
    sigma = linear.weigh(usable, 3.0)
    linear.inform()
    weights = np.where(usable, 1.0 / (linear.variance * (1.0 + (linear.residuals / (3.0 * sigma)) ** 2) ** 2), 0.0)
    rows = linear.jacobian.astype(np.float64)
    information, pull = rows.T @ (weights[:, None] * rows), rows.T @ (weights * linear.residuals)
    np.testing.assert_allclose(linear.information, information, atol=2e-6 * np.abs(information).max())
    np.testing.assert_allclose(linear.pull(), pull, atol=2e-6 * np.abs(pull).max())


@pytest.mark.parametrize('count', [1, 2, 301, 302])
def test_spread_is_that_of_the_points_that_fit_and_never_below_the_noise(count: int) -> None:
    rng = np.random.default_rng(count)
    linear = Linear(np.full(count, 1e-6), np.full(count, 0.0015), 2)
    linear.residuals[:] = rng.normal(0.0, 0.004, count)
    linear.residuals[: count // 10] = 1.0
    first = 1.4826 * np.median(np.abs(linear.residuals))
    core = linear.residuals[np.abs(linear.residuals) <= 2.5 * first]
    wanted = max(1.05 * np.sqrt(np.mean(core**2)), 0.0015)
    assert linear.weigh(np.ones(count, bool), 3.0) == pytest.approx(wanted, rel=1e-12)
    assert linear.weigh(np.zeros(count, bool), 3.0) == np.inf


def test_vertices_are_covered_where_a_search_over_all_finds_a_point() -> None:
    rng = np.random.default_rng(2)
    vertices, points = rng.uniform(-1.0, 1.0, (400, 3)), rng.uniform(-0.5, 0.9, (300, 3))
    apart = np.linalg.norm(vertices[:, None] - points[None], axis=2).min(axis=1)
    np.testing.assert_array_equal(nearest_kernels.covered(vertices, points, 0.15), apart <= 0.15)
    assert not nearest_kernels.covered(vertices, points[:0], 0.15).any()


def test_turns_move_arms_as_the_cross_product_says() -> None:
    arms, turn = np.random.default_rng(3).normal(size=(5, 3)), np.array([0.3, -0.2, 0.5])
    np.testing.assert_allclose(motions(arms)[:, :, 3:] @ turn, np.cross(turn, arms), atol=1e-15)


def test_a_matrix_that_is_not_positive_definite_has_no_factor() -> None:
    matrix = np.array([[4.0, 2.0], [2.0, 3.0]])
    np.testing.assert_allclose(np.tril(factor_of(matrix)), np.linalg.cholesky(matrix))
    with pytest.raises(np.linalg.LinAlgError, match='at 2 of 2'):
        factor_of(np.array([[1.0, 2.0], [2.0, 1.0]]))
