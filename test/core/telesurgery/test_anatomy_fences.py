"""Structures that follow the anatomy: clearances do not depend on where the anatomy lies, ways out lead out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.se3 import inverse, random_transform, transform_points
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.core.telesurgery.anatomy_fences import AnatomyFences
from twin_nodes.core.telesurgery.geofence import Geofence

RADIUS, MARGIN, SPACING = 0.01, 0.002, 0.0005


@pytest.fixture(scope='module')
def grid():
    return DistanceGrid.from_surface(
        make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0)), SPACING, 0.02
    )


def fences_at(grid, pose):
    fences = AnatomyFences(MARGIN)
    fences.set_grid('ball', grid)
    fences.place(pose)
    return fences


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_clearance_moves_with_the_anatomy(grid, seed):
    rng = np.random.default_rng(seed)
    base_T_anatomy = random_transform(rng, max_distance=0.3)
    fences = fences_at(grid, base_T_anatomy)
    point_anatomy = rng.normal(0.0, 0.008, 3)
    point = transform_points(base_T_anatomy, point_anatomy[None])[0]
    gap, way = fences.clearance(tuple(point))
    assert gap == pytest.approx(np.linalg.norm(point_anatomy) - RADIUS - MARGIN, abs=2.0 * SPACING)
    if np.linalg.norm(point_anatomy) > 0.004:  # at the centre every way leads out
        out = inverse(base_T_anatomy)[:3, :3] @ np.array(way)
        assert out @ point_anatomy / np.linalg.norm(point_anatomy) > 0.9


def test_a_point_inside_is_brought_out_and_the_rest_left_alone(grid):
    fence = Geofence([fences_at(grid, np.eye(4))])
    outside = (0.0, 0.0, RADIUS + MARGIN + 0.001)
    assert fence.keep_out(outside, (0.0, 0.0, 0.05)) == outside
    x, y, z = fence.keep_out((0.0, 0.0, RADIUS + 0.0005), (0.0, 0.0, 0.05))
    assert np.linalg.norm([x, y, z]) >= RADIUS + MARGIN - SPACING


def test_knows_no_wall_before_it_knows_what_and_where(grid):
    fences = AnatomyFences(MARGIN)
    assert fences.clearance((0.0, 0.0, 0.0))[0] == np.inf
    fences.set_grid('ball', grid)
    assert not fences.is_placed
    assert fences.clearance((0.0, 0.0, 0.0))[0] == np.inf
    fences.place(np.eye(4))
    assert fences.clearance((0.0, 0.0, 0.0))[0] < 0.0
    fences.keep_only(set())
    assert fences.names == ()
    assert fences.clearance((0.0, 0.0, 0.0))[0] == np.inf


def test_the_nearest_structure_counts(grid):
    fences = fences_at(grid, np.eye(4))
    far = DistanceGrid('far', grid.origin, grid.spacing, grid.values + 0.005, *[0.0] * 4)
    fences.set_grid('far', far)
    gap, _ = fences.clearance((0.0, 0.0, 0.02))
    assert gap == pytest.approx(0.02 - RADIUS - MARGIN, abs=2.0 * SPACING)
