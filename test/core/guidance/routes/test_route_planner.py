"""Routes: the best of all entries, ranked with their uncertainty, bent ones too, and honest refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.guidance.routes.config import RouteConfig
from twin_nodes.core.guidance.routes.entry import entry_on_surface, entry_region
from twin_nodes.core.guidance.routes.planner import RoutePlanner
from twin_nodes.core.guidance.routes.route_kernels import length_of
from twin_nodes.core.simulate.route_scenes import TARGET, route_scene, skin_points
from twin_nodes.core.simulate.shapes import superellipsoid, tube

CONFIG = RouteConfig()


@pytest.fixture(scope='module')
def scene():
    return route_scene(np.random.default_rng(1))


@pytest.fixture(scope='module')
def region(scene):
    return entry_region(scene.skin[::3], fine=0.001, coarse=0.006)


def exhaustive(grids, points, target, radius):
    shares = np.linspace(0.0, 1.0, 200)[:, None]
    return max(
        min(grid.query(entry + shares * (target - entry)).distances.min() for grid in grids) - radius
        for entry in points
    )


@pytest.mark.parametrize('seed', [1, 3, 5])
def test_best_route_is_the_best_of_all(seed):
    scene = route_scene(np.random.default_rng(seed))
    region = entry_region(scene.skin[::2], fine=0.002, coarse=0.008)
    best = exhaustive(scene.vessels, region.points, scene.target, CONFIG.tool_radius)
    routes = RoutePlanner(CONFIG, scene.vessels).plan(region, scene.target)
    assert routes[0].clearances[0].clearance >= 0.95 * best


def test_routes_are_apart_and_in_order(scene, region):
    routes = RoutePlanner(CONFIG, scene.vessels).plan(region, scene.target)
    costs = [route.cost for route in routes]
    assert len(routes) == CONFIG.routes and costs == sorted(costs)
    for one in range(len(routes)):
        for other in range(one):
            assert np.linalg.norm(routes[one].entry - routes[other].entry) >= CONFIG.separation


def test_clearance_is_that_of_a_known_tube():
    path = np.array([[0.01, y, 0.02] for y in np.linspace(-0.03, 0.03, 20)])
    grid = DistanceGrid.from_surface(make_surface('vessel', *tube(path, 0.003, sides=48)), 0.001, 0.02)
    region = entry_region(np.array([[0.0, 0.0, 0.07]]), fine=0.001, coarse=0.004)
    route = RoutePlanner(CONFIG, (grid,)).plan(region, TARGET)[0]
    assert route.clearances[0].clearance == pytest.approx(0.01 - 0.003 - CONFIG.tool_radius, abs=5e-5)
    assert route.clearances[0].depth == pytest.approx(0.05, abs=0.002)
    assert route.length == pytest.approx(0.1)


def test_uncertainty_widens_with_the_lever_and_lowers_the_rank():
    path = np.array([[0.01, y, 0.02] for y in np.linspace(-0.03, 0.03, 20)])
    grid = DistanceGrid.from_surface(make_surface('vessel', *tube(path, 0.003, sides=48)), 0.001, 0.02)
    region = entry_region(np.array([[0.0, 0.0, 0.07]]), fine=0.001, coarse=0.004)
    covariance = np.zeros((6, 6))
    covariance[4, 4] = 0.01**2  # turns about y: at z = 20 mm it moves by 0.2 mm along x
    route = RoutePlanner(CONFIG, (grid,)).plan(region, TARGET, covariance=covariance)[0]
    assert route.clearances[0].sigma == pytest.approx(2e-4, rel=0.05)
    assert 0.0 <= route.clearances[0].breach_probability < 1e-6


def test_a_bent_tool_goes_round_what_a_straight_one_hits():
    wall = superellipsoid(np.array([0.0, 0.0, 0.02]), np.array([0.012, 0.012, 0.004]))
    grid = DistanceGrid.from_surface(make_surface('wall', *wall), 0.001, 0.02)
    region = entry_region(np.array([[0.0, 0.0, 0.07]]), fine=0.001, coarse=0.004)
    with pytest.raises(DegenerateGeometryError, match="the best passes 'wall'"):
        RoutePlanner(CONFIG, (grid,)).plan(region, TARGET)
    bent = RoutePlanner(RouteConfig(bend_radius=0.07), (grid,)).plan(region, TARGET)[0]
    assert bent.clearances[0].clearance > 0.0
    assert bent.length == pytest.approx(2.0 * 0.07 * np.arcsin(0.05 / 0.07), rel=1e-6)
    steps = np.linalg.norm(np.diff(bent.points, axis=0), axis=1)
    assert steps.sum() == pytest.approx(bent.length, rel=1e-3)
    np.testing.assert_allclose(bent.points[[0, -1]], [[0.0, 0.0, 0.07], TARGET], atol=1e-12)


@pytest.mark.parametrize(('seed', 'bend_radius'), [(1, 0.2), (2, 0.2), (4, 0.07), (6, 0.056)])
def test_the_best_bent_route_is_the_best_of_all_directions(seed, bend_radius):
    scene = route_scene(np.random.default_rng(seed))
    region = entry_region(scene.skin[::4], fine=0.002, coarse=0.008)
    config = RouteConfig(bend_radius=bend_radius, max_breach=0.5, sigmas=0.0)
    planner = RoutePlanner(config, scene.vessels)
    ways, _ = planner._ways(region, scene.target, None)
    every = planner._lowered(ways, np.zeros((6, 6)), np.full(len(ways), -np.inf))
    lengths = np.array([length_of(way) for way in ways])
    cost = float((config.length_cost * lengths - every).min())
    assert planner.plan(region, scene.target)[0].cost == pytest.approx(cost, abs=3e-4)


def test_costly_tissue_is_spared(scene, region):
    tumour = superellipsoid(np.array([0.0, 0.0, 0.02]), np.array([0.02, 0.02, 0.01]))
    tissue = DistanceGrid.from_surface(make_surface('muscle', *tumour), 0.002, 0.01)
    free = RoutePlanner(CONFIG, scene.vessels, (tissue,)).plan(region, scene.target)
    dear = RoutePlanner(RouteConfig(tissue_cost=1.0, separation=0.002, routes=5), scene.vessels, (tissue,)).plan(
        region, scene.target
    )
    assert dear[0].tissues['muscle'] <= free[0].tissues['muscle']
    assert all(route.cost >= dear[0].cost for route in dear)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_order_of_entries_and_structures_does_not_matter(scene, region, seed):
    rng = np.random.default_rng(seed)
    shuffled = entry_region(rng.permutation(region.points), fine=0.0001, coarse=0.006)
    one = RoutePlanner(CONFIG, scene.vessels).plan(region, scene.target)[0]
    other = RoutePlanner(CONFIG, tuple(reversed(scene.vessels))).plan(shuffled, scene.target)[0]
    assert other.cost == pytest.approx(one.cost, abs=1e-9)


def test_robot_reach_rules_entries_out(scene, region):
    planner = RoutePlanner(CONFIG, scene.vessels, reach=lambda entries, *_: entries[:, 0] < 0.0)
    assert all(route.entry[0] < 0.0 for route in planner.plan(region, scene.target))
    with pytest.raises(DegenerateGeometryError, match='the arm reaches none of'):
        RoutePlanner(CONFIG, scene.vessels, reach=lambda entries, *_: entries[:, 0] > 1.0).plan(region, scene.target)


def test_entry_on_a_surface_lies_on_it():
    skin = make_surface('skin', *superellipsoid(np.zeros(3), np.full(3, 0.08), exponent=1.0))
    region = entry_on_surface(skin, np.array([0.0, 0.0, 0.08]), 0.02, fine=0.002, coarse=0.006)
    radii = np.linalg.norm(region.points, axis=1)
    assert len(region.points) > 100 and 0.078 < radii.min() <= radii.max() < 0.0801
    with pytest.raises(InputError, match='nearest vertex is'):
        entry_on_surface(skin, np.array([0.0, 0.0, 0.5]), 0.02, fine=0.002, coarse=0.006)


def test_bad_input_is_refused(scene, region):
    planner = RoutePlanner(CONFIG, scene.vessels)
    with pytest.raises(InputError, match='three finite numbers'):
        planner.plan(region, np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(InputError, match='covariance'):
        planner.plan(region, scene.target, covariance=np.full((6, 6), np.inf))
    with pytest.raises(InputError, match='NaN or Inf'):
        entry_region(np.full((3, 3), np.nan), fine=0.001, coarse=0.002)
    with pytest.raises(InputError, match='name at least one'):
        RoutePlanner(CONFIG, ())
    with pytest.raises(ConfigError, match='coarse'):
        RouteConfig(fine=0.01, coarse=0.001)
    assert len(skin_points(0.01, 0.002)) > 10
