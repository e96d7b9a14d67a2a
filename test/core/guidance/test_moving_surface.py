"""Distances to a surface that deforms: against brute force after any motion, and never of where it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.cut_surface import cut_surface
from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.guidance.clearance import ClearanceMonitor, Structure, ToolPart
from twin_nodes.core.guidance.config import GuidanceConfig
from twin_nodes.core.guidance.fixtures.shapes import ForbiddenRegion
from twin_nodes.core.guidance.moving_kernels import FAR, slack
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.simulate.organ import organ
from twin_nodes.core.simulate.shapes import superellipsoid

TOOL = {'tip_radius': 0.001, 'shaft_length': 0.04, 'shaft_radius': 0.0005, 'shaft_direction': [0.0, 0.0, 1.0]}
STILL = np.zeros((6, 6))


@pytest.fixture(scope='module')
def liver():
    return make_surface('liver', *organ(1200))


def bent(vertices, amplitude, phase):
    """A smooth motion that no rigid one resembles."""
    waves = np.sin(30.0 * vertices[:, [1, 2, 0]] + phase)
    return vertices + amplitude * waves


def near(surface, vertices, reach, count, rng):
    moved = Surface(surface.name, vertices, surface.triangles)
    chosen = rng.integers(len(surface.triangles), size=count)
    centres = vertices[surface.triangles[chosen]].mean(axis=1)
    return centres + rng.uniform(-reach, reach, (count, 1)) * moved.face_normals[chosen]


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 0.008), st.floats(0.0, 6.0), st.integers(0, 2**31))
def test_distances_are_those_to_the_moved_triangles(liver, amplitude, phase, seed):
    moving = MovingSurface(liver)
    vertices = bent(liver.vertices, amplitude, phase)
    moving.move(vertices)
    points = near(liver, vertices, 0.009, 40, np.random.default_rng(seed))
    found = moving.query(points)
    moved = Surface('moved', vertices, liver.triangles, liver.report)
    np.testing.assert_allclose(found.distances, exact_distances(moved, points), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.gradients, axis=1), 1.0, atol=1e-9)
    feet = points - found.distances[:, None] * found.gradients
    assert np.abs(exact_distances(moved, feet)).max() < 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6))
def test_what_is_left_undone_of_many_motions_is_done_where_it_is_looked_at(liver, seed, motions):
    """Searches between the motions look at some blocks only: the others must not stay of an earlier motion."""
    rng = np.random.default_rng(seed)
    moving = MovingSurface(liver)
    for _ in range(motions):
        vertices = bent(liver.vertices, 0.006, rng.uniform(0.0, 6.0)) + rng.normal(0.0, 0.01, 3)
        moving.move(vertices)
        points = near(liver, vertices, 0.009, rng.integers(1, 4), rng)
        moved = Surface('moved', vertices, liver.triangles, liver.report)
        np.testing.assert_allclose(moving.query(points).distances, exact_distances(moved, points), atol=1e-12)
    points = near(liver, vertices, 0.009, 60, rng)
    np.testing.assert_allclose(moving.query(points).distances, exact_distances(moved, points), atol=1e-12)


def test_one_search_after_a_motion_looks_at_few_blocks(liver):
    moving = MovingSurface(liver)
    moving.query(near(liver, liver.vertices, 0.001, 1, np.random.default_rng(9)))
    assert len(moving.tree.stale) == 16 and 0 < (moving.tree.stale == 0).sum() < 8


def test_the_array_that_was_handed_over_may_be_written_to(liver):
    moving, vertices = MovingSurface(liver), liver.vertices.copy()
    points = near(liver, vertices, 0.009, 60, np.random.default_rng(8))
    exact = moving.query(points).distances
    moving.move(vertices)
    vertices[:] = np.nan
    np.testing.assert_array_equal(moving.query(points).distances, exact)


def test_a_surface_that_turns_inside_out_in_many_small_steps_is_refused(liver):
    moving, centre = MovingSurface(liver), liver.vertices.mean(axis=0)
    with pytest.raises(InputError, match='volume'):
        for share in np.linspace(1.0, -1.0, 400):
            moving.move(centre + (liver.vertices - centre) * [1.0, 1.0, share])
    assert np.ptp(moving.tree.vertices[:, 2]) < 0.05 * np.ptp(liver.vertices[:, 2])


def test_the_volume_is_looked_at_again_only_far_from_where_it_was_looked_at(liver, monkeypatch):
    moving, looked = MovingSurface(liver), []
    check = moving._checked_motion
    monkeypatch.setattr(moving, '_checked_motion', lambda vertices: looked.append(1) or check(vertices))
    for step in range(60):  # a breath goes a long way and stays near
        moving.move(liver.vertices + 0.25 * moving._may_move * np.sin(0.5 * step))
    assert not looked
    moving.move(liver.vertices + 1.1 * moving._may_move)
    moving.move(liver.vertices + 1.1 * moving._may_move)
    assert len(looked) == 1


def test_far_away_a_distance_is_a_lower_bound_within_the_slack(liver):
    rng = np.random.default_rng(1)
    points = liver.vertices.mean(axis=0) + rng.normal(size=(200, 3)) * 0.15
    exact = exact_distances(liver, points)
    found = MovingSurface(liver).query(points)
    far = exact > FAR + 1e-3
    assert far.sum() > 50
    assert (found.distances[far] <= exact[far] + 1e-12).all() and found.outside[far].all()
    lost = exact[far] - found.distances[far]
    assert (lost <= [1.01 * slack(distance) for distance in exact[far]]).all()


@pytest.mark.parametrize('middles', [[0.0], [-0.02005, 0.02005]])
def test_far_from_thin_walls_and_slits_inside_is_told_from_outside(middles):
    half = 0.0001 if len(middles) == 1 else 0.02  # a plate of 0.2 mm; blocks that are 0.1 mm apart
    parts = [superellipsoid(np.array([0.0, 0.0, z]), np.array([0.03, 0.03, half]), exponent=0.1) for z in middles]
    vertices = np.vstack([part[0] for part in parts])
    triangles = np.vstack([part[1] + at * len(part[0]) for at, part in enumerate(parts)])
    surface = make_surface('thin', vertices, triangles)
    points = np.random.default_rng(0).uniform(-0.045, 0.045, (800, 3))
    points[:400, :2] *= 0.3
    points[:200, 2] *= 0.55
    found, exact = MovingSurface(surface).query(points).distances, exact_distances(surface, points)
    assert (np.sign(found) == np.sign(exact)).all()
    within = slack(np.abs(exact).max()) + 1e-9
    assert (found <= exact + 1e-9).all() and (found >= exact - within).all()


def test_a_triangle_of_no_area_after_a_motion_does_not_break_the_sign(liver):
    vertices = liver.vertices.copy()
    a, b, _ = liver.triangles[7]
    vertices[a] = vertices[b]
    moving = MovingSurface(liver)
    moving.move(vertices)
    normal = moving.query(vertices[None, b] * 1.0).gradients[0]
    assert np.isfinite(normal).all()
    found = moving.query(np.array([vertices[b] + 1e-3 * normal, vertices[b] - 1e-3 * normal]))
    assert found.distances[0] > 0.0 > found.distances[1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_least_distance_of_tip_and_shaft_is_that_of_brute_force(liver, seed):
    rng = np.random.default_rng(seed)
    moving = MovingSurface(liver)
    vertices = bent(liver.vertices, 0.004, rng.uniform(0.0, 6.0))
    moving.move(vertices)
    monitor = ClearanceMonitor(build_config(GuidanceConfig, {'tool': TOOL}), [Structure('liver', moving)])
    (tip,) = near(liver, vertices, 0.006, 1, rng)
    pose = make_transform(rotation_exp(rng.normal(size=3)), tip)
    along = np.linspace(0.0, 0.04, 801)
    axis = tip + along[:, None] * pose[:3, 2]
    moved = Surface('moved', vertices, liver.triangles, liver.report)
    exact = (exact_distances(moved, axis) - np.where(along > 0.0, 0.0005, 0.001)).min()
    (found,) = monitor.evaluate(1, pose, STILL)
    # brute force stands 0.05 mm apart, so it may miss by half of that; a surface that is pierced is sampled at 0.2 mm
    assert found.distance <= exact + (2e-5 if exact > 0.0 else 1.3e-4)
    assert found.distance >= exact - 3e-5


def test_the_shaft_between_two_points_is_seen(liver):
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.004), exponent=1.0)
    monitor = ClearanceMonitor(
        build_config(GuidanceConfig, {'tool': {**TOOL, 'shaft_length': 0.2}}),
        [Structure('ball', MovingSurface(make_surface('ball', vertices, triangles)))],
    )
    (found,) = monitor.evaluate(1, make_transform(np.eye(3), [0.0075, 0.0, -0.1371]), STILL)
    assert found.part is ToolPart.SHAFT
    assert found.distance == pytest.approx(0.0075 - 0.004 - 0.0005, abs=1e-4)
    assert found.along_shaft == pytest.approx(0.1371, abs=1e-3)
    np.testing.assert_allclose(found.closest_point, [0.004, 0.0, 0.0], atol=4e-4)


def test_sigma_of_the_place_is_added(liver):
    moving = MovingSurface(liver)
    monitor = ClearanceMonitor(GuidanceConfig(), [Structure('liver', moving)])
    (point,) = near(liver, liver.vertices, 0.0, 1, np.random.default_rng(3)) + 0.001
    covariance = np.diag([4e-8] * 3 + [0.0] * 3)
    pose = make_transform(np.eye(3), point)
    assert monitor.evaluate(1, pose, covariance)[0].sigma == pytest.approx(2e-4)
    before = monitor.evaluate(1, pose, covariance)[0].distance
    moving.move(liver.vertices, np.full(len(liver.vertices), 1.5e-3))
    (found,) = monitor.evaluate(1, pose, covariance)
    assert found.sigma == pytest.approx(np.hypot(2e-4, 1.5e-3)) and found.distance == before


def test_after_a_reset_nothing_hangs_on_where_the_tool_was(liver):
    rng, tool = np.random.default_rng(9), build_config(GuidanceConfig, {'tool': TOOL})
    places = rng.uniform(-0.2, 0.2, (12, 3))
    poses = [make_transform(rotation_exp(place * 9.0), place) for place in places]
    moving = MovingSurface(liver)
    monitor = ClearanceMonitor(tool, [Structure('liver', moving)])
    fresh = []
    for pose in poses:
        monitor.reset()
        fresh.append(monitor.survey(pose, STILL))
    for turn, pose in enumerate(poses):
        for other in poses[turn:]:
            monitor.survey(other, STILL)
        again = ClearanceMonitor(tool, [Structure('liver', moving)])  # as when the anatomy is said once more
        np.testing.assert_array_equal(again.survey(pose, STILL), fresh[turn])


def test_what_cannot_be_is_refused_and_changes_nothing(liver):
    moving = MovingSurface(liver)
    point = liver.vertices[:1] + 0.001
    before = moving.query(point).distances[0]
    bad = liver.vertices.copy()
    bad[5, 1] = np.nan
    for vertices, sigma, match in (
        (bad, None, 'NaN'),
        (liver.vertices[:-1], None, 'expected vertices'),
        (liver.vertices * [1.0, 1.0, -1.0], None, 'a volume of -'),
        (liver.vertices * 1000.0, None, 'diagonal'),
        (liver.vertices, -np.ones(len(liver.vertices)), 'negative sigma'),
        (liver.vertices, np.ones(3), 'expected sigma'),
    ):
        with pytest.raises(InputError, match=match):
            moving.move(vertices, sigma)
        assert moving.query(point).distances[0] == before
    with pytest.raises(InputError, match='NaN'):
        moving.query([[np.nan, 0.0, 0.0]])
    holed = make_surface('holed', liver.vertices, liver.triangles[:-3])
    with pytest.raises(InputError, match='not closed'):
        MovingSurface(holed)


@pytest.mark.parametrize('count', [4, 5, 12])
def test_small_surfaces_have_a_tree_too(count):
    if count == 4:
        vertices, triangles = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
        surface = make_surface('tet', 0.01 * np.array(vertices, float), triangles)
    else:
        surface = make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, 0.01)))
    points = np.random.default_rng(2).uniform(-0.015, 0.015, (50, 3))
    exact, found = exact_distances(surface, points), MovingSurface(surface).query(points).distances
    close = np.abs(exact) < FAR
    np.testing.assert_allclose(found[close], exact[close], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 0.8), st.floats(0.0, 6.0), st.integers(0, 2**31))
def test_what_is_cut_off_is_measured_to_no_more_wherever_the_rest_goes(liver, where, phase, seed):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=3)
    along = liver.vertices @ (normal / np.linalg.norm(normal))
    beyond = along - np.quantile(along, where) + 3e-6
    left = cut_surface(liver.vertices, liver.triangles, beyond)
    moving = MovingSurface(liver)
    monitor = ClearanceMonitor(build_config(GuidanceConfig, {'tool': TOOL}), [Structure('liver', moving)])
    moving.move(liver.vertices, beyond=beyond)
    now = bent(liver.vertices, 0.003, phase)
    moving.move(now, np.full(len(now), 1e-4), beyond=beyond)
    rest = make_surface('rest', left.between(now), left.triangles)
    points = near(rest, rest.vertices, 0.008, 30, rng)
    np.testing.assert_allclose(moving.query(points).distances, exact_distances(rest, points), atol=1e-9)
    (clearance,) = monitor.evaluate(1, make_transform(np.eye(3), points[0]), STILL)
    assert clearance.distance <= float(exact_distances(rest, points[:1])[0]) - TOOL['tip_radius'] + 1e-9
    moving.move(now)
    whole = Surface('whole', now, liver.triangles, liver.report)
    np.testing.assert_allclose(moving.query(points).distances, exact_distances(whole, points), atol=1e-9)


def test_a_structure_that_is_cut_off_whole_is_far_away(liver):
    moving = MovingSurface(liver)
    region = ForbiddenRegion(moving, 0.01)
    inside = liver.vertices.mean(axis=0)
    found = np.zeros(4)
    region.violation(liver.vertices[0], found)
    moving.move(liver.vertices, beyond=np.full(len(liver.vertices), 0.01))
    assert moving.is_gone
    region.violation(liver.vertices[0], found)
    samples = moving.query(inside[None])
    assert samples.distances[0] > 1.0 and samples.outside[0]


def test_a_cut_that_is_none_is_refused_and_nothing_changes(liver):
    moving = MovingSurface(liver)
    points = near(liver, liver.vertices, 0.008, 20, np.random.default_rng(0))
    before = moving.query(points).distances
    for beyond in (np.zeros(3), np.full(len(liver.vertices), np.nan)):
        with pytest.raises(InputError, match='beyond'):
            moving.move(liver.vertices + 0.01, beyond=beyond)
        np.testing.assert_array_equal(moving.query(points).distances, before)


def test_a_drilled_structure_is_cut_too(liver):
    """And what was drilled stays gone of what is left."""
    spacing, low = 0.002, liver.vertices.min(axis=0) - 0.004
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low
    shape = np.ceil((liver.vertices.max(axis=0) + 0.004 - low) / spacing).astype(int)
    centres = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), axis=-1) * spacing + low
    top = liver.vertices[np.argmax(liver.vertices[:, 2])]
    hole = np.linalg.norm(centres - top, axis=-1) < 0.012
    index = np.argwhere(hole)
    moving = MovingSurface(liver)
    moving.carve(hole.astype(np.uint8), affine, index.min(axis=0), index.max(axis=0))
    drilled = moving.query(top[None]).distances[0]
    assert drilled > 0.004
    beyond = liver.vertices[:, 0] - (top[0] + 0.03)
    moving.move(liver.vertices, beyond=beyond)
    assert moving.query(top[None]).distances[0] == pytest.approx(drilled, abs=0.002)
    far = np.array([[liver.vertices[:, 0].max(), *liver.vertices[np.argmax(liver.vertices[:, 0]), 1:]]])
    assert moving.query(far).distances[0] > 0.009
