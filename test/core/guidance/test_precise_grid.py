"""Near a structure that keeps its shape distances are those to its triangles, however fine it is."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import DistanceGrid, exact_distances
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.config import build_config
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.guidance.carved import CarvedGrid
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.fixtures.shapes import ForbiddenRegion
from twin_nodes.core.guidance.precise_grid import NEAR, PreciseGrid, precise_grid
from twin_nodes.core.simulate.shapes import superellipsoid, tube

SPACING = 0.001
TOOL = {'tip_radius': 0.002, 'shaft_length': 0.03, 'shaft_radius': 0.0015, 'shaft_direction': [0.0, 0.0, 1.0]}
TURN = np.linspace(0.0, 4.0 * np.pi, 120)
SHAPES = {
    'nerve of 1.2 mm': tube(np.stack([0.015 * np.cos(TURN), 0.015 * np.sin(TURN), 0.003 * TURN], axis=1), 0.0006),
    'plate of 0.4 mm': superellipsoid(np.zeros(3), np.array([0.03, 0.02, 0.0002]), exponent=0.1),
}


def made(name):
    surface = make_surface(name, *SHAPES[name])
    return surface, DistanceGrid.from_surface(surface, SPACING, 0.012)


def near(surface, rng, count, reach):
    chosen = rng.integers(len(surface.triangles), size=count)
    places = surface.vertices[surface.triangles[chosen]].mean(axis=1)
    return places + rng.uniform(-reach, reach, (count, 1)) * surface.face_normals[chosen]


@pytest.mark.parametrize('name', SHAPES)
def test_points_of_tool_and_region_are_exact_where_a_grid_is_half_a_millimetre_off(name):
    surface, grid = made(name)
    points = near(surface, np.random.default_rng(0), 300, 0.0006)
    exact, precise = exact_distances(surface, points), precise_grid(grid, surface)
    assert np.abs(grid.query(points).distances - exact).max() > 0.3 * SPACING
    found = precise.query(points)
    np.testing.assert_allclose(found.distances, exact, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.gradients, axis=1), 1.0, atol=1e-9)
    region, violation = ForbiddenRegion(precise, 0.002), np.empty(4)
    for point, distance in zip(points, exact, strict=True):
        region.violation(point, violation)
        assert violation[0] == pytest.approx(max(0.002 - distance, 0.0), abs=1e-12)


@pytest.mark.parametrize('name', SHAPES)
def test_tip_and_shaft_are_within_50_um_of_brute_force(name):
    surface, grid = made(name)
    monitor = ClearanceMonitor(
        build_config(GuidanceConfig, {'tool': TOOL}), [Structure(name, precise_grid(grid, surface))]
    )
    rng = np.random.default_rng(1)
    along = np.arange(0.0, TOOL['shaft_length'] + 1e-9, 1e-4)
    for point in near(surface, rng, 40, 0.004):
        pose = make_transform(rotation_exp(rng.normal(size=3)), point)
        axis = pose[:3, 3] + along[:, None] * pose[:3, 2]
        exact = exact_distances(surface, axis) - np.where(along > 0.0, TOOL['shaft_radius'], TOOL['tip_radius'])
        row = monitor.survey(pose, np.eye(6) * 1e-12)[0]
        assert row[0] == pytest.approx(exact.min(), abs=5e-5)


def test_far_away_the_grid_tells_and_both_agree_where_they_meet():
    surface, grid = made('nerve of 1.2 mm')
    precise = precise_grid(grid, surface)
    far = near(surface, np.random.default_rng(2), 200, 0.0) + np.array([0.0, 0.0, NEAR + 0.003])
    told = grid.query(far).distances
    away = told > NEAR
    assert away.any()
    np.testing.assert_array_equal(precise.query(far).distances[away], told[away])
    assert np.abs(precise.query(far).distances - exact_distances(surface, far)).max() < 0.5 * SPACING


def test_deep_inside_the_grid_tells():
    surface = make_surface('organ', *superellipsoid(np.zeros(3), np.array([0.03, 0.03, 0.03])))
    grid = DistanceGrid.from_surface(surface, SPACING, 0.012)
    monitor = ClearanceMonitor(
        build_config(GuidanceConfig, {'tool': TOOL}),
        [Structure('rough', grid), Structure('fine', precise_grid(grid, surface))],
    )
    for place, is_same in ((0.0, True), (0.015, True), (0.027, False), (0.033, False)):
        rough, fine = monitor.survey(make_transform(np.eye(3), np.array([0.0, 0.0, place])), np.eye(6) * 1e-12)
        assert np.array_equal(rough, fine) == is_same
        assert fine[0] == pytest.approx(rough[0], abs=0.5 * SPACING)


def test_what_is_drilled_is_measured_by_the_grid_that_follows_the_drill():
    surface, grid = made('nerve of 1.2 mm')
    carved = CarvedGrid(precise_grid(grid, surface))
    voxels = np.zeros((20, 20, 20), np.uint8)
    voxels[8:12, 8:12, 8:12] = 1
    affine = np.diag([0.0005, 0.0005, 0.0005, 1.0])
    affine[:3, 3] = surface.vertices[0] - 0.005
    after = carved.update(voxels, affine, np.full(3, 8), np.full(3, 11))
    assert not isinstance(after, PreciseGrid)
    assert after.query(surface.vertices[:1]).distances[0] > grid.query(surface.vertices[:1]).distances[0]
    assert isinstance(carved.reset(), PreciseGrid)
