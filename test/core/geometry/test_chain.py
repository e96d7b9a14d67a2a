import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.chain import Link, compose_chain, inverted, tip_in_anatomy
from twin_nodes.core.geometry.covariance import compose_covariance, inverse_covariance, point_covariance, pose_error
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform, rotation_exp


def random_covariance(rng, sigma):
    root = rng.normal(size=(6, 6)) * sigma
    return root @ root.T


def random_links(seed):
    rng = np.random.default_rng(seed)
    sigma = np.array([2e-4] * 3 + [2e-3] * 3)[:, None]
    names = ('tool', 'tip', 'patient', 'registration')
    return [Link(name, random_transform(rng, max_distance=0.5), random_covariance(rng, sigma)) for name in names]


def disturbed(rng, link):
    error = rng.multivariate_normal(np.zeros(6), link.covariance, method='cholesky')
    rotation = rotation_exp(error[3:]) @ link.a_T_b[:3, :3]
    return make_transform(rotation, link.a_T_b[:3, 3] + error[:3])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_chain_equals_step_by_step_composition(seed):
    tool, tip, patient, registration = random_links(seed)
    pose, covariance = np.eye(4), np.zeros((6, 6))
    for link in (inverted(registration), inverted(patient), tool, tip):
        covariance = compose_covariance(pose, covariance, link.a_T_b, link.covariance)
        pose = pose @ link.a_T_b
    found = tip_in_anatomy(tool, tip, patient, registration)
    np.testing.assert_allclose(found.start_T_end, pose, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9, atol=1e-16)
    truth = inverse(registration.a_T_b) @ inverse(patient.a_T_b) @ tool.a_T_b @ tip.a_T_b
    np.testing.assert_allclose(found.start_T_end, truth, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_costs_add_up_and_name_the_worst(seed):
    found = tip_in_anatomy(*random_links(seed))
    assert sum(cost.share for cost in found.costs) == pytest.approx(1.0)
    assert np.sqrt(sum(cost.sigma**2 for cost in found.costs)) == pytest.approx(found.sigma)
    assert found.worst.share == max(cost.share for cost in found.costs)
    assert [cost.name for cost in found.costs] == ['registration', 'patient', 'tool', 'tip']


def test_covariance_agrees_with_simulation():
    links = random_links(3)
    found = tip_in_anatomy(*links)
    rng = np.random.default_rng(4)
    errors = np.empty((4000, 6))
    for row in errors:
        tool, tip, patient, registration = (disturbed(rng, link) for link in links)
        row[:] = pose_error(found.start_T_end, inverse(registration) @ inverse(patient) @ tool @ tip)
    # A variance from n samples has a relative σ of √(2/n) = 2.2 %; 4 σ.
    variances = np.diag(found.covariance)
    np.testing.assert_allclose(np.var(errors, axis=0), variances, rtol=0.09)
    squared = np.einsum('ni,ij,nj->n', errors, np.linalg.inv(found.covariance), errors)
    assert squared.mean() == pytest.approx(6.0, abs=4 * np.sqrt(12.0 / 4000) + 0.1)


def test_a_lever_turns_angle_into_distance():
    still = np.zeros((6, 6))
    turning = still.copy()
    turning[5, 5] = 1e-3**2
    ahead = make_transform(np.eye(3), (0.2, 0.0, 0.0))
    found = compose_chain((Link('turning', np.eye(4), turning), Link('lever', ahead, still)))
    assert found.covariance[1, 1] == pytest.approx((0.2e-3) ** 2)
    assert found.covariance[0, 0] == 0.0
    assert found.worst.name == 'turning'
    assert found.worst.sigma == pytest.approx(0.2e-3)


def test_a_chain_without_error_has_no_shares():
    still = np.zeros((6, 6))
    found = compose_chain((Link('a', np.eye(4), still), Link('b', np.eye(4), still)))
    assert [cost.share for cost in found.costs] == [0.0, 0.0]
    assert found.sigma == 0.0


def test_inverting_twice_gives_the_link_back():
    link = random_links(5)[0]
    back = inverted(inverted(link))
    np.testing.assert_allclose(back.a_T_b, link.a_T_b, atol=1e-14)
    np.testing.assert_allclose(back.covariance, link.covariance, rtol=1e-9, atol=1e-18)
    np.testing.assert_array_equal(inverted(link).covariance, inverse_covariance(link.a_T_b, link.covariance))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_costs_may_be_told_at_any_point(seed):
    links = tuple(random_links(seed))
    point = np.random.default_rng(seed).normal(0.0, 0.1, 3)
    at_end, at_point = compose_chain(links), compose_chain(links, point_end=point)
    np.testing.assert_array_equal(at_point.covariance, at_end.covariance)
    expected = np.trace(point_covariance(at_end.start_T_end, at_end.covariance, point))
    assert at_point.sigma**2 == pytest.approx(expected, rel=1e-9)
    assert at_end.rotation_sigma**2 == pytest.approx(np.trace(at_end.covariance[3:, 3:]))


def test_a_chain_without_links_is_refused():
    with pytest.raises(InputError, match='at least one link'):
        compose_chain(())
