"""Landmarks and swab as one registration: consistent errors, said disagreement, and words for what is wrong."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import random_transform, rotation_exp, transform_points
from twin_nodes.core.registration.combined import SwabConfig, register_swab
from twin_nodes.core.registration.paired_points import register_paired_points
from twin_nodes.core.registration.surface_target import SurfaceTarget
from twin_nodes.core.registration.tip_share import TouchedPoints, tip_in_points
from twin_nodes.core.simulate.organ import organ, organ_points, sample_organ
from twin_nodes.core.simulate.shapes import superellipsoid, tube

SIGMA, TIP = 0.5e-3, 0.4e-3
DIRECTIONS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.1, 0.0], [0.0, -1.0, 0.2]])


@cache
def target():
    return SurfaceTarget.from_surface(make_surface('organ', *organ(10_000)), spacing=0.002)


@cache
def shaft():
    mesh = tube(np.linspace([-0.15, 0.0, 0.0], [0.15, 0.0, 0.0], 30), 0.03, sides=96)
    return SurfaceTarget.from_surface(make_surface('shaft', *mesh), spacing=0.002, margin=0.01)


def touched(rng, truth, landmarks=None, *, tip=None, shift=0.0):
    """Touch landmarks with a tip that is off by `tip`, held each time otherwise."""
    landmarks = (
        organ_points(DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1)[:, None]) if landmarks is None else landmarks
    )
    turns = np.array([rotation_exp(rng.normal(size=3)) for _ in landmarks])
    error = np.zeros(3) if tip is None else tip
    points = transform_points(truth, landmarks + np.array([shift, 0.0, 0.0])) + turns @ error
    points = points + rng.normal(0.0, SIGMA, points.shape)
    common = turns * (TIP if tip is not None else 0.0)
    result = register_paired_points(points, landmarks, common=common, fle_rms=SIGMA * np.sqrt(3.0))
    return TouchedPoints(result, tip_in_points(result.patient_T_anatomy, landmarks, common))


def swab(rng, truth, count=400, *, tip=None):
    points = transform_points(truth, sample_organ(count, rng, view=rng.normal(size=3)))
    points = points + rng.normal(0.0, SIGMA, points.shape)
    if tip is None:
        return points, None
    turns = np.array([rotation_exp(0.6 * rng.normal(size=3)) for _ in points])
    return points + turns @ tip, turns * TIP


def test_the_covariance_is_consistent_with_a_tip_that_is_off():
    # Normalised error squared, 6 degrees of freedom, 120 runs: 6 ± 1.96·√(12/120). A tip that is off shows in part in
    # the residuals and is counted there again, so that the lower side is left wider.
    rng = np.random.default_rng(0)
    squares = {True: [], False: []}
    for _ in range(120):
        truth, tip = random_transform(rng, max_distance=0.3), rng.normal(0.0, TIP, 3)
        landmarks = touched(rng, truth, tip=tip)
        points, errors = swab(rng, truth, tip=tip)
        for joined in squares:
            start = landmarks.result.patient_T_anatomy
            result = register_swab(points, target(), touched=landmarks if joined else None, start=start,
                                   tip_errors=errors)  # fmt: skip
            error = pose_error(result.patient_T_anatomy, truth)
            squares[joined].append(error @ np.linalg.solve(result.covariance, error))
    for found in squares.values():
        assert 4.8 < np.mean(found) < 6.0 + 1.96 * np.sqrt(12.0 / 120)


def test_joined_is_better_than_either():
    rng = np.random.default_rng(1)
    truth = random_transform(rng, max_distance=0.3)
    landmarks, (points, _) = touched(rng, truth), swab(rng, truth, 100)
    joined = register_swab(points, target(), touched=landmarks)
    alone = register_swab(points, target(), start=truth)
    for other in (alone.covariance, landmarks.result.covariance):
        assert np.linalg.eigvalsh(other - joined.covariance).min() > -1e-12
    assert joined.verdict is not Verdict.REFUSE


def on_shaft(rng, truth, noise):
    angle = rng.uniform(0.0, 2.0 * np.pi, 500)
    on = np.column_stack([rng.uniform(-0.1, 0.1, 500), 0.03 * np.cos(angle), 0.03 * np.sin(angle)])
    return transform_points(truth, on) + rng.normal(0.0, noise, on.shape)


def test_landmarks_hold_what_a_shaft_leaves_free():
    rng = np.random.default_rng(2)
    at = np.array([[-0.1, 0.03, 0.0], [0.1, 0.0, 0.03], [0.0, -0.03, 0.0], [0.05, 0.0, -0.03], [0.02, 0.03, 0.0]])
    truth = random_transform(rng, max_distance=0.3)
    points = on_shaft(rng, truth, 0.2e-3)
    with pytest.raises(DegenerateGeometryError, match='sliding along'):
        register_swab(points, shaft(), start=truth)
    result = register_swab(points, shaft(), touched=touched(rng, truth, at))
    assert 'the landmarks hold what the swab leaves free (sliding along' in result.notes[0]
    squares = []
    for _ in range(60):
        truth = random_transform(rng, max_distance=0.3)
        result = register_swab(on_shaft(rng, truth, SIGMA), shaft(), touched=touched(rng, truth, at))
        error = pose_error(result.patient_T_anatomy, truth)
        squares.append(error @ np.linalg.solve(result.covariance, error))
    assert np.mean(squares) == pytest.approx(6.0, abs=1.96 * np.sqrt(12.0 / 60))


def test_landmarks_that_are_shifted_as_a_whole_are_said():
    rng = np.random.default_rng(3)
    truth = random_transform(rng, max_distance=0.3)
    points, _ = swab(rng, truth)
    small = register_swab(points, target(), touched=touched(rng, truth, shift=0.003))
    assert small.verdict is Verdict.WARN and 'landmarks and surface put the swab' in ' '.join(small.reasons)
    large = register_swab(points, target(), touched=touched(rng, truth, shift=0.012))
    assert large.verdict is Verdict.REFUSE
    assert large.disagreement == pytest.approx(0.012, abs=0.003)
    assert register_swab(points, target(), touched=touched(rng, truth)).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(('factor', 'words'), [(0.8, 'a fifth too short'), (1.1, '10 % too long')])
@pytest.mark.parametrize('axis', [0, 2])
def test_one_axis_of_another_length_is_named(factor, words, axis):
    rng = np.random.default_rng(4)
    truth, scales = random_transform(rng, max_distance=0.3), np.ones(3)
    scales[axis] = factor
    points = transform_points(truth, sample_organ(800, rng) * scales) + rng.normal(0.0, SIGMA, (800, 3))
    result = register_swab(points, target(), start=truth)
    assert result.verdict is Verdict.REFUSE
    assert f'axis {"xyz"[axis]} of the swab looks {words}' in ' '.join(result.reasons)


def test_another_organ_is_refused_with_words():
    rng = np.random.default_rng(5)
    for axes in ([0.09, 0.05, 0.06], [0.06, 0.06, 0.11]):
        body = superellipsoid(np.zeros(3), np.array(axes), exponent=0.5)[0]
        result = register_swab(body[rng.permutation(len(body))[:600]], target())
        assert result.verdict is Verdict.REFUSE
    assert "is 'organ' the organ" in ' '.join(result.reasons)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_frame_and_order_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, other = random_transform(np.random.default_rng(6), max_distance=0.3), random_transform(rng)
    points, _ = swab(np.random.default_rng(7), truth)
    first = register_swab(points, target(), touched=touched(np.random.default_rng(8), truth))
    turned = touched(np.random.default_rng(8), truth)
    landmarks = turned.result.points_anatomy
    result = register_paired_points(
        transform_points(other @ turned.result.patient_T_anatomy, landmarks)
        + turned.result.residuals_patient @ other[:3, :3].T,
        landmarks, fle_rms=SIGMA * np.sqrt(3.0),
    )  # fmt: skip
    again = register_swab(
        transform_points(other, points[rng.permutation(len(points))]), target(),
        touched=TouchedPoints(result, np.zeros((6, 3))),
    )  # fmt: skip
    moved = transform_points(again.patient_T_anatomy, landmarks)
    np.testing.assert_allclose(moved, transform_points(other @ first.patient_T_anatomy, landmarks), atol=0.05e-3)
    assert again.sigma == pytest.approx(first.sigma, rel=0.05)
    assert again.verdict is first.verdict


def test_without_noise_it_is_exact():
    rng = np.random.default_rng(9)
    truth = random_transform(rng, max_distance=0.3)
    vertices = target().surface.vertices[rng.permutation(len(target().surface.vertices))[:600]]
    landmarks = organ_points(np.eye(3))
    points = register_paired_points(transform_points(truth, landmarks), landmarks, fle_rms=1e-4)
    result = register_swab(transform_points(truth, vertices), target(), touched=TouchedPoints(points, np.zeros((6, 3))))
    np.testing.assert_allclose(
        transform_points(result.patient_T_anatomy, landmarks), transform_points(truth, landmarks), atol=5e-6
    )


def test_covariance_scales_with_noise():
    rng = np.random.default_rng(10)
    truth, exact = random_transform(rng), transform_points(random_transform(np.random.default_rng(1)), np.zeros((1, 3)))
    exact = transform_points(truth, sample_organ(2000, rng))
    noise = rng.normal(0.0, 0.2e-3, exact.shape)
    config = SwabConfig()
    one, two = (register_swab(exact + k * noise, target(), start=truth, config=config).sigma for k in (1.0, 2.0))
    assert two == pytest.approx(2.0 * one, rel=0.1)


def test_forty_percent_of_outliers_are_never_silently_accepted():
    rng = np.random.default_rng(11)
    for spread in (0.004, 0.01, 0.03):
        truth = random_transform(rng, max_distance=0.3)
        points, _ = swab(rng, truth, 1000)
        bad = rng.permutation(1000)[:400]
        points[bad] += rng.normal(0.0, spread, (400, 3))
        result = register_swab(points, target(), touched=touched(rng, truth))
        assert result.verdict is not Verdict.ACCEPT
        assert np.linalg.norm(pose_error(result.patient_T_anatomy, truth)[:3]) < 2e-3


def test_what_carries_nothing_is_refused():
    rng = np.random.default_rng(12)
    truth = random_transform(rng, max_distance=0.3)
    points, _ = swab(rng, truth, 200)
    landmarks = touched(rng, truth)
    with pytest.raises(DegenerateGeometryError, match='19 surface points'):
        register_swab(points[:19], target(), touched=landmarks)
    with pytest.raises(InputError, match='NaN'):
        register_swab(np.full((50, 3), np.nan), target(), touched=landmarks)
    with pytest.raises(InputError, match='unit'):
        register_swab(points * 1e3, target(), touched=landmarks)
    with pytest.raises(InputError, match='tip errors'):
        register_swab(points, target(), touched=landmarks, tip_errors=np.zeros((3, 3, 3)))
    with pytest.raises(DegenerateGeometryError):
        register_swab(np.tile(points[:1], (50, 1)), target(), start=truth)
    line = points[:1] + np.outer(np.linspace(0.0, 0.05, 100), [1.0, 0.0, 0.0])
    try:
        result = register_swab(line, target())
    except DegenerateGeometryError:
        return
    assert result.verdict is Verdict.REFUSE


def test_a_small_patch_is_not_enough_for_the_far_side():
    rng = np.random.default_rng(13)
    truth = random_transform(rng, max_distance=0.3)
    points = sample_organ(4000, rng)
    patch = points[np.linalg.norm(points - points[0], axis=1) < 0.04][:80]
    result = register_swab(transform_points(truth, patch) + rng.normal(0.0, SIGMA, patch.shape), target(), start=truth)
    assert result.verdict is not Verdict.ACCEPT
    assert 'the expected error grows to' in ' '.join(result.reasons)
