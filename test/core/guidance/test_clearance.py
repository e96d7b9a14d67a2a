import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform, random_transform, rotation_exp
from twin_nodes.core.guidance import clearance_kernels
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure, ToolPart
from twin_nodes.core.guidance.config import GuidanceConfig

HALF = np.array([0.01, 0.015, 0.02])
CENTRE = np.array([0.005, -0.01, 0.0])

FACES = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
         (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]  # fmt: skip
STILL = np.zeros((6, 6))
TOOL = {'tip_radius': 0.002, 'shaft_length': 0.04, 'shaft_radius': 0.001, 'shaft_direction': [0.0, 0.0, 1.0]}


@pytest.fixture(scope='module')
def box():
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    surface = make_surface('box', CENTRE + np.array(corners) * HALF, FACES)
    return Structure('box', DistanceGrid.from_surface(surface, 0.001, 0.02))


def box_distance(points):
    q = np.abs(points - CENTRE) - HALF
    return np.linalg.norm(np.maximum(q, 0.0), axis=-1) + np.minimum(q.max(axis=-1), 0.0)


def monitor_of(box, **tool):
    return ClearanceMonitor(build_config(GuidanceConfig, {'tool': tool}), [box])


def at(x, y, z, rotation=(0.0, 0.0, 0.0)):
    return make_transform(rotation_exp(rotation), CENTRE + np.array((x, y, z)))


def test_tip_beside_a_face(box):
    (found,) = monitor_of(box, tip_radius=0.002).evaluate(7, at(0.015, 0.001, 0.002), STILL)
    assert (found.structure, found.stamp_ns, found.part, found.outside) == ('box', 7, ToolPart.TIP, False)
    assert found.distance == pytest.approx(0.003, abs=1e-6)
    np.testing.assert_allclose(found.gradient, (1.0, 0.0, 0.0), atol=1e-6)
    np.testing.assert_allclose(found.closest_point, CENTRE + np.array((0.01, 0.001, 0.002)), atol=1e-6)
    np.testing.assert_allclose(found.tool_point, CENTRE + np.array((0.015, 0.001, 0.002)))


def test_tip_inside_has_a_negative_distance(box):
    (found,) = monitor_of(box).evaluate(0, at(0.008, 0.0, 0.0), STILL)
    assert found.distance == pytest.approx(-0.002, abs=1e-6)
    assert found.breach_probability > 0.99
    np.testing.assert_allclose(found.closest_point, CENTRE + np.array((0.01, 0.0, 0.0)), atol=1e-6)


def test_shaft_that_passes_an_edge_is_nearer_than_the_tip(box):
    # The shaft runs along -x above the box, the tip beyond it.
    direction = {'shaft_direction': [-1.0, 0.0, 0.0], 'shaft_length': 0.06, 'shaft_radius': 0.001, 'tip_radius': 0.002}
    (found,) = monitor_of(box, **direction).evaluate(0, at(0.025, 0.0, 0.024), STILL)
    assert found.part is ToolPart.SHAFT
    assert found.distance == pytest.approx(0.003, abs=2e-6)
    assert 0.014 < found.along_shaft < 0.036
    np.testing.assert_allclose(found.gradient, (0.0, 0.0, 1.0), atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), samples=st.sampled_from([1, 4, 16]))
def test_minimum_along_the_shaft_equals_a_dense_search(box, seed, samples):
    pose = random_transform(np.random.default_rng(seed), max_distance=0.03)
    (found,) = monitor_of(box, **TOOL, shaft_samples=samples).evaluate(0, pose, STILL)
    along = np.linspace(0.0, 0.04, 4001)
    points = pose[:3, 3] + along[:, None] * pose[:3, 2]
    truth = min(float(box_distance(points[0])) - 0.002, float(box_distance(points).min()) - 0.001)
    low, high = box.grid.bounds
    if ((points >= low) & (points <= high)).all():
        # Half a cell of slide past an edge, and the rounding of edges (and ridges inside) by the grid.
        assert found.distance == pytest.approx(truth, abs=0.72e-3)
    else:
        assert found.distance <= truth + 0.72e-3


def test_outside_the_grid_the_distance_is_a_flagged_lower_bound(box):
    (found,) = monitor_of(box).evaluate(0, at(0.3, 0.0, 0.05), STILL)
    truth = float(box_distance(CENTRE + np.array((0.3, 0.0, 0.05))))
    assert found.outside
    assert 0.9 * truth < found.distance <= truth
    assert abs(box_distance(found.closest_point)) < 1e-3


def test_sigma_and_breach_probability_agree_with_simulation(box):
    rng = np.random.default_rng(11)
    pose = at(0.0128, 0.0, 0.0, (0.3, 1.2, -0.4))
    monitor = monitor_of(box, **{**TOOL, 'shaft_length': 0.0})
    root = rng.normal(size=(6, 6)) * np.array([3e-4] * 3 + [3e-3] * 3)[:, None]
    covariance = root @ root.T
    (found,) = monitor.evaluate(0, pose, covariance)
    errors = rng.multivariate_normal(np.zeros(6), covariance, 20000)
    distances = box_distance(pose[:3, 3] + errors[:, :3]) - 0.002
    # A σ from n samples is known to 1/√(2n) = 0.5 %; 4 σ, and the face is plane.
    assert distances.std() == pytest.approx(found.sigma, rel=0.02)
    assert distances.mean() == pytest.approx(found.distance, abs=4 * found.sigma / math.sqrt(20000) + 1e-6)
    share = float(np.mean(distances < 0.0))
    tolerance = 4 * math.sqrt(found.breach_probability * (1 - found.breach_probability) / 20000) + 0.002
    assert share == pytest.approx(found.breach_probability, abs=tolerance)
    assert 0.01 < found.breach_probability < 0.5


def test_rotation_error_costs_more_along_the_shaft(box):
    turning = np.zeros((6, 6))
    turning[3:, 3:] = np.eye(3) * 1e-2**2
    direction = {'shaft_direction': [-1.0, 0.0, 0.0], 'shaft_length': 0.06, 'shaft_radius': 0.001}
    pose = at(0.025, 0.0, 0.024)
    (found,) = monitor_of(box, **direction).evaluate(0, pose, turning)
    rng = np.random.default_rng(12)
    lever = found.tool_point - pose[:3, 3]
    moved = pose[:3, 3] + np.array([rotation_exp(error) @ lever for error in rng.normal(size=(4000, 3)) * 1e-2])
    assert box_distance(moved).std() == pytest.approx(found.sigma, rel=0.06)
    (tip,) = monitor_of(box).evaluate(0, pose, turning)
    assert tip.sigma == pytest.approx(box.grid.far_sigma)


def test_breach_probability_is_calibrated_over_many_poses(box):
    """Where the twin says p, the tool is inside in a share p of the cases: checked in bins."""
    rng = np.random.default_rng(13)
    monitor = monitor_of(box)
    sigma = 5e-4
    said, seen = [], []
    for _ in range(3000):
        estimate = np.array([0.01 + rng.uniform(-2, 2) * sigma, *rng.uniform(-0.005, 0.005, 2)])
        (found,) = monitor.evaluate(0, at(*estimate), np.diag([sigma**2] * 3 + [0.0] * 3))
        said.append(found.breach_probability)
        seen.append(float(box_distance(CENTRE + estimate + rng.normal(size=3) * sigma)) < 0.0)
    said, seen = np.array(said), np.array(seen)
    for low in np.arange(0.0, 1.0, 0.2):
        chosen = (said >= low) & (said < low + 0.2)
        tolerance = 4 * np.sqrt(0.25 / chosen.sum()) + 0.03
        assert seen[chosen].mean() == pytest.approx(said[chosen].mean(), abs=tolerance)


def test_halfway_between_two_walls_sigma_bounds_every_direction(box):
    spread = np.diag([1e-6, 4e-6, 9e-6, 0.0, 0.0, 0.0])
    (found,) = monitor_of(box).evaluate(0, at(0.0, 0.0, 0.0), spread)
    assert found.sigma >= 3e-3


def test_input_that_is_no_pose_is_refused(box):
    monitor = monitor_of(box)
    broken = np.eye(4)
    broken[0, 3] = np.nan
    with pytest.raises(InputError, match='NaN'):
        monitor.evaluate(0, broken, STILL)
    with pytest.raises(InputError, match='covariance has NaN'):
        monitor.evaluate(0, np.eye(4), np.full((6, 6), np.inf))
    with pytest.raises(InputError, match='negative variance'):
        monitor.evaluate(0, np.eye(4), -np.eye(6))
    with pytest.raises(InputError, match='shape'):
        monitor.evaluate(0, np.eye(4), np.eye(3))


def test_config_that_cannot_work_is_refused(box):
    with pytest.raises(ConfigError, match='no structure'):
        ClearanceMonitor(GuidanceConfig(), [])
    with pytest.raises(ConfigError, match='differ'):
        ClearanceMonitor(GuidanceConfig(), [box, box])
    with pytest.raises(ConfigError, match='near_distance'):
        ClearanceMonitor(GuidanceConfig(), [Structure('box', box.grid, -0.001)])
    with pytest.raises(ConfigError, match='unit vector'):
        build_config(GuidanceConfig, {'tool.shaft_length': 0.1})
    with pytest.raises(ConfigError, match='3 numbers'):
        build_config(GuidanceConfig, {'tool.shaft_direction': [1.0]})
    with pytest.raises(ConfigError, match='did you mean'):
        build_config(GuidanceConfig, {'tool.shaft_lenght': 0.1})


def test_what_is_predicted_is_judged_by_how_predictions_err(box):
    """Most errors are far below their σ, a few far above: nearer to certain at the surface, less so far from it."""
    monitor = monitor_of(box)
    ahead = np.diag([1e-6] * 3 + [0.0] * 3)
    away = {x: at(0.01 + x, 0.0, 0.0) for x in (-0.0005, 0.0, 0.0005, 0.004)}
    told = {x: monitor.survey(pose, STILL, ahead)[0, 1:3] for x, pose in away.items()}
    normal = {x: monitor.survey(pose, ahead)[0, 1:3] for x, pose in away.items()}
    for x in away:
        assert told[x][0] == pytest.approx(normal[x][0])  # σ is the same
    assert told[0.0][1] == pytest.approx(0.5, abs=1e-3)
    assert told[0.0005][1] < 0.6 * normal[0.0005][1] and told[-0.0005][1] > normal[-0.0005][1]
    assert told[0.004][1] > normal[0.004][1]
    assert told[0.0005][1] + told[-0.0005][1] == pytest.approx(1.0, abs=1e-3)


def spread(rng, position, rotation):
    root = rng.normal(size=(6, 6)) * np.repeat([position, rotation], 3)[:, None]
    return root @ root.T


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.5), st.booleans())
def test_no_point_is_surer_than_the_bound_beyond_which_its_probability_is_not_made(seed, reach, short):
    """Points on the shaft of any direction, gradients long and short, any errors that are correlated."""
    rng = np.random.default_rng(seed)
    own, ahead = spread(rng, 1e-3, 1e-2), spread(rng, 3e-3, 3e-2)
    safe = clearance_kernels.safe_distance(own, ahead, reach, 5e-4)
    way, gradient = rng.normal(size=(2, 3))
    lever = reach * rng.uniform(0.0, 1.0) * way / np.linalg.norm(way)
    gradient *= (0.3 if short else 1.0) / np.linalg.norm(gradient)
    told = math.hypot(clearance_kernels.deviation(*gradient, *lever, own), 5e-4)
    predicted = clearance_kernels.deviation(*gradient, *lever, ahead)
    assert clearance_kernels.breach_ahead(safe, told, predicted) < 1e-15
    assert safe < 8.0 * 20.0 * math.hypot(told, predicted) or short, 'it is no bound that says nothing'


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_largest_probability_is_that_of_all_points_that_are_looked_at(box, seed):
    rng = np.random.default_rng(seed)
    monitor = monitor_of(box, **TOOL, shaft_samples=16)
    pose = at(*rng.uniform(-0.04, 0.04, 3), rotation=rng.normal(size=3))
    own, ahead = spread(rng, 1e-3, 5e-3), spread(rng, 1e-3, 5e-3)
    (row,) = monitor.survey(pose, own, ahead)
    grid, most = box.grid, 0.0
    for along in np.linspace(0.0, TOOL['shaft_length'], 17):
        lever = along * pose[:3, 2]
        found = grid.query((pose[:3, 3] + lever)[None])
        distance, gradient = float(found.distances[0]), found.gradients[0]
        near = abs(distance) <= 2.0 * grid.spacing
        sigma = math.hypot(
            clearance_kernels.deviation(*gradient, *lever, own), min(grid.near_sigma, grid.far_sigma) if near else 0.0
        )
        left = distance - (TOOL['shaft_radius'] if along else TOOL['tip_radius'])
        most = max(
            most, clearance_kernels.breach_ahead(left, sigma, clearance_kernels.deviation(*gradient, *lever, ahead))
        )
    assert row[9] >= row[2]
    assert row[9] >= most - 0.02, 'the error of the grid aside'
