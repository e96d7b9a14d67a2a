"""Laws of paired points: the covariance follows the noise, neither order nor frame matters, nothing broken passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import random_transform, transform_points
from twin_nodes.core.registration.fiducial_exclusion import register_excluding
from twin_nodes.core.registration.paired_points import register_paired_points

seeds = st.integers(0, 2**32 - 1)


def layout(rng, count):
    """Points that are spread out: a box's corners, disturbed."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * 0.05
    extra = rng.uniform(-0.05, 0.05, (max(0, count - 8), 3))
    return np.vstack([corners, extra])[:count] + rng.normal(0.0, 0.004, (count, 3))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, count=st.integers(5, 16), factor=st.floats(0.1, 10.0))
def test_covariance_scales_with_the_noise(seed, count, factor):
    rng = np.random.default_rng(seed)
    points, truth = layout(rng, count), random_transform(rng)
    # noise that the fit cannot follow to first order keeps the pose, so that residuals and covariance scale exactly
    noise = register_paired_points(
        transform_points(truth, points) + rng.normal(0.0, 1e-5, points.shape), points
    ).residuals_patient  # fmt: skip
    one = register_paired_points(transform_points(truth, points) + noise, points)
    other = register_paired_points(transform_points(truth, points) + factor * noise, points)
    np.testing.assert_allclose(other.covariance, factor**2 * one.covariance, rtol=0.02, atol=1e-16)
    known = register_paired_points(transform_points(truth, points), points, fle_rms=1e-3)
    wider = register_paired_points(transform_points(truth, points), points, fle_rms=factor * 1e-3)
    np.testing.assert_allclose(wider.covariance, factor**2 * known.covariance, rtol=1e-9, atol=1e-18)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, count=st.integers(4, 12))
def test_neither_order_nor_frame_matters(seed, count):
    rng = np.random.default_rng(seed)
    points, truth, other = layout(rng, count), random_transform(rng), random_transform(rng)
    touched = transform_points(truth, points) + rng.normal(0.0, 3e-4, points.shape)
    order = rng.permutation(count)
    first = register_paired_points(touched, points)
    second = register_paired_points(transform_points(other, touched)[order], points[order])
    np.testing.assert_allclose(second.patient_T_anatomy, other @ first.patient_T_anatomy, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(second.residuals_patient, axis=1), np.linalg.norm(first.residuals_patient, axis=1)[order],
        atol=1e-12,
    )  # fmt: skip
    for point in points:
        assert second.target_error(point) == pytest.approx(first.target_error(point), rel=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=seeds, broken=st.sampled_from(['line', 'twice', 'nan', 'two', 'none']))
def test_what_carries_no_pose_is_refused(seed, broken):
    rng = np.random.default_rng(seed)
    points, truth = layout(rng, 6), random_transform(rng)
    if broken == 'line':
        points = np.outer(np.linspace(-0.05, 0.05, 6), rng.normal(size=3)) + rng.normal(0.0, 1e-5, (6, 3))
    elif broken == 'twice':
        points[4] = points[1]
    touched = transform_points(truth, points) + rng.normal(0.0, 1e-5, points.shape)
    if broken == 'nan':
        touched[3, 1] = np.nan
    count = {'two': 2, 'none': 0}.get(broken, 6)
    with pytest.raises(InputError if broken == 'nan' else DegenerateGeometryError):
        register_excluding(touched[:count], points[:count])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, count=st.integers(5, 15))
def test_forty_percent_of_bad_points_are_never_silently_accepted(seed, count):
    rng = np.random.default_rng(seed)
    points, truth = layout(rng, count), random_transform(rng)
    touched = transform_points(truth, points) + rng.normal(0.0, 2e-4, points.shape)
    bad = rng.permutation(count)[: max(2, round(0.4 * count))]
    way = rng.normal(size=(len(bad), 3))
    touched[bad] += rng.uniform(0.008, 0.03, (len(bad), 1)) * way / np.linalg.norm(way, axis=1)[:, None]
    assert register_excluding(touched, points).verdict is not Verdict.ACCEPT
