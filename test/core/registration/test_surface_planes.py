"""Planes of cells and exact distances behind a surface registration, and its covariance on round and flat triangles."""

from functools import cache

import numpy as np
import pytest
from numba import njit

from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_exp, transform_points
from twin_nodes.core.registration.surface import register_surface
from twin_nodes.core.registration.surface_error_kernels import eigen
from twin_nodes.core.registration.surface_exact_kernels import exact_residual
from twin_nodes.core.registration.surface_target import SurfaceTarget
from twin_nodes.core.simulate.organ import organ, sample_organ
from twin_nodes.core.simulate.shapes import superellipsoid

SIGMA = 0.5e-3


@cache
def target() -> SurfaceTarget:
    return SurfaceTarget.from_surface(make_surface('organ', *organ(6000)), spacing=0.002)


def on_triangles(rng, count, surface):
    corners = surface.vertices[surface.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(corners), count, p=area / area.sum())]
    root, other = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    weights = np.stack([1.0 - root, root * (1.0 - other), root * other], axis=1)
    return np.einsum('ni,nij->nj', weights, chosen)


@njit
def _walked(points, bricks, hints, origin, spacing, corners, normals, across):
    found = np.full(len(points), np.nan)
    for m in range(len(points)):
        cell = ((points[m] - origin) / spacing).astype(np.int64)
        brick, inner = bricks[cell[0] >> 3, cell[1] >> 3, cell[2] >> 3], cell & 7
        seed = hints[brick, (inner[0] << 6) + (inner[1] << 3) + inner[2], 5] if brick >= 0 else -1
        if seed >= 0:
            found[m] = exact_residual(points[m, 0], points[m, 1], points[m, 2], seed, corners, normals, across)
    return found


def test_walk_over_triangles_finds_the_exact_distance():
    rng = np.random.default_rng(0)
    prepared = target()
    points = on_triangles(rng, 1500, prepared.surface) + rng.normal(0.0, SIGMA, (1500, 3))
    walked = _walked(
        points, prepared.bricks, prepared.cells.view(np.int32), prepared.grid.origin, prepared.grid.spacing,
        prepared.corners, prepared.normals, prepared.across,
    )  # fmt: skip
    missed = np.abs(walked - exact_distances(prepared.surface, points))
    assert np.mean(missed > 1e-9) < 0.01
    assert missed.max() < 1e-5


def test_height_of_a_sphere_above_its_triangles():
    # The mean height of a sphere above a facet is R minus the mean distance of the facet's points from the centre.
    rng = np.random.default_rng(1)
    surface = make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, 0.04), exponent=1.0, rings=40))
    prepared = SurfaceTarget.from_surface(surface, spacing=0.002, margin=0.01)
    below = 0.04 - np.linalg.norm(on_triangles(rng, 20_000, surface), axis=1).mean()
    heights = prepared.cells[..., 6][np.abs(prepared.cells[..., 0]) < 0.001]
    assert np.mean(heights) == pytest.approx(below, rel=0.15)


def test_edges_that_are_meant_have_no_height():
    corners = np.array([[x, y, z] for x in (0.0, 0.05) for y in (0.0, 0.05) for z in (0.0, 0.05)])
    faces = [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
        [1, 5, 7], [1, 7, 3],
    ]  # fmt: skip
    prepared = SurfaceTarget.from_surface(make_surface('box', corners, np.array(faces)), spacing=0.002, margin=0.01)
    assert prepared.facet_height == 0.0


@pytest.mark.parametrize('round_body', [False, True])
def test_covariance_is_consistent_on_part_of_the_surface(round_body):
    # Mean of 150 normalised errors squared with 6 degrees of freedom: 6 ± 1.96·√(12/150). The triangles stand inside
    # the round body by more than the error of 1,500 points.
    rng = np.random.default_rng(2)
    squares = []
    for _ in range(150):
        truth, view = random_transform(rng, max_distance=0.3), rng.normal(size=3)
        if round_body:
            points = sample_organ(1500, rng, view=view)
        else:
            points = on_triangles(rng, 4500, target().surface)
            points = points[points @ view >= np.quantile(points @ view, 0.65)][:1500]
        points = transform_points(truth, points) + rng.normal(0.0, SIGMA, points.shape)
        result = register_surface(points, target(), start=truth)
        error = pose_error(result.patient_T_anatomy, truth)
        squares.append(error @ np.linalg.solve(result.covariance, error))
    assert np.mean(squares) == pytest.approx(6.0, abs=1.96 * np.sqrt(12.0 / len(squares)))


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_one_axis_a_fifth_too_short_is_refused_by_name(axis):
    rng = np.random.default_rng(3 + axis)
    factors = np.ones(3)
    factors[axis] = 0.8
    for partial in (False, True):
        truth = random_transform(rng, max_distance=0.3)
        points = sample_organ(1200, rng, view=rng.normal(size=3) if partial else None) * factors
        points = transform_points(truth, points) + rng.normal(0.0, SIGMA, points.shape)
        turn = make_transform(rotation_exp([0.05, 0.0, 0.05]), [0.003, 0.0, 0.0])
        result = register_surface(points, target(), start=truth @ turn)
        assert result.verdict is Verdict.REFUSE
        # A third of the body does not always tell one short axis from a scale of all.
        assert result.cause if partial else f'too short along the {"xyz"[axis]} axis' in result.cause


def test_eigenvalues_are_those_of_lapack():
    rng = np.random.default_rng(4)
    for scale in (1.0, 1e-9, 1e12):
        root = rng.normal(size=(6, 6)) * np.sqrt(scale)
        matrix, values, vectors = root @ root.T, np.empty(6), np.empty((6, 6))
        eigen(matrix, values, vectors)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-8, atol=1e-13 * scale)
        np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-12 * np.abs(matrix).max())
