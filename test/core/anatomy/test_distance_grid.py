import numpy as np
import pytest
import shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.distance_grid import DistanceGrid, exact_distances
from twin_nodes.core.anatomy.distance_signs import are_inside, settle_signs
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError, InputError

HALF = np.array([0.01, 0.015, 0.02])


@pytest.fixture(scope='module')
def ball():
    """A ball of 20 mm radius, fine enough that its facets lie within 7 µm of the sphere."""
    return make_surface('ball', *shapes.sphere(0.02, rings=96))


@pytest.fixture(scope='module')
def ball_grid(ball):
    return DistanceGrid.from_surface(ball, 0.001, 0.01)


@pytest.fixture(scope='module')
def box_grid():
    return DistanceGrid.from_surface(make_surface('box', *shapes.box(HALF)), 0.001, 0.01)


def shell(rng, count, radius, reach):
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * (radius + rng.uniform(-reach, reach, (count, 1)))


def brute_force(points, corners):
    """Distances by minimising over the barycentric triangle: plane projection, else the three edges."""
    best = np.full(len(points), np.inf)
    for a, b, c in corners:
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal)
        height = (points - a) @ normal
        foot = points - height[:, None] * normal
        inside = np.ones(len(points), bool)
        for start, end in ((a, b), (b, c), (c, a)):
            along = end - start
            inside &= np.cross(along, foot - start) @ normal >= 0.0
            t = np.clip((points - start) @ along / (along @ along), 0.0, 1.0)
            best = np.minimum(best, np.linalg.norm(points - start - t[:, None] * along, axis=1))
        best = np.where(inside, np.minimum(best, np.abs(height)), best)
    return best


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_exact_distance_equals_brute_force_on_random_triangles(seed):
    rng = np.random.default_rng(seed)
    surface = make_surface('soup', rng.uniform(-0.05, 0.05, (36, 3)), np.arange(36).reshape(-1, 3))
    points = rng.uniform(-0.08, 0.08, (40, 3))
    truth = brute_force(points, surface.vertices[surface.triangles])
    np.testing.assert_allclose(exact_distances(surface, points), truth, atol=1e-12)


def test_exact_distance_is_signed_at_faces_edges_and_corners_of_a_box():
    surface = make_surface('box', *shapes.box(HALF))
    points = np.random.default_rng(1).uniform(-0.04, 0.04, (2000, 3))
    np.testing.assert_allclose(exact_distances(surface, points), shapes.box_distance(points, HALF), atol=1e-12)


def test_ball_near_the_surface_is_within_25_micrometres_of_its_facets(ball, ball_grid):
    points = shell(np.random.default_rng(2), 3000, 0.02, 0.002)
    samples = ball_grid.query(points)
    assert np.abs(samples.distances - exact_distances(ball, points)).max() <= 25e-6
    assert not samples.outside.any()


def test_ball_gradient_points_outward_with_norm_one(ball_grid):
    points = shell(np.random.default_rng(3), 3000, 0.02, 0.008)
    gradients = ball_grid.query(points).gradients
    radial = points / np.linalg.norm(points, axis=1, keepdims=True)
    # One cell turns the normal by at most its diagonal / radius = 1.7 / 12 rad, and on average, with offsets spread
    # evenly over the cell along three axes, by at most √(3/12) / 12.
    assert np.linalg.norm(gradients - radial, axis=1).max() < 0.15
    assert np.sqrt(np.mean(np.sum((gradients - radial) ** 2, axis=1))) < 0.042


def test_gradient_is_the_derivative_of_the_value(ball_grid):
    points = np.random.default_rng(4).uniform(-0.025, 0.025, (200, 3))
    cell = (points - ball_grid.origin) / ball_grid.spacing
    points = points[((cell % 1.0 > 0.01) & (cell % 1.0 < 0.99)).all(axis=1)]
    step = 1e-7
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        slope = (ball_grid.query(points + shift).distances - ball_grid.query(points - shift).distances) / (2 * step)
        np.testing.assert_allclose(ball_grid.query(points).gradients[:, axis], slope, atol=1e-6)


def test_box_is_exact_next_to_its_faces_and_right_in_sign_everywhere(box_grid):
    points = np.random.default_rng(5).uniform(-1.0, 1.0, (5000, 3)) * (HALF + 0.01)
    truth = shapes.box_distance(points, HALF)
    found = box_grid.query(points).distances
    # Ridges inside are rounded by up to half a cell's diagonal in the plane; everything else is far better.
    assert np.abs(found - truth).max() < 0.71 * box_grid.spacing
    assert np.median(np.abs(found - truth)) < 0.02 * box_grid.spacing
    assert (np.sign(found) == np.sign(truth))[np.abs(truth) > box_grid.near_error].all()


def test_torus_with_its_hole_is_right_in_sign_and_value():
    surface = make_surface('torus', *shapes.torus(0.02, 0.006))
    grid = DistanceGrid.from_surface(surface, 0.001, 0.004)
    points = np.random.default_rng(6).uniform(-1.0, 1.0, (4000, 3)) * (0.029, 0.029, 0.009)
    truth = shapes.torus_distance(points, 0.02, 0.006)
    found = grid.query(points).distances
    # Facets lie up to 55 µm inside; ridges (the circle inside, the axis) are rounded by up to half a cell.
    assert np.abs(found - truth).max() < 0.6e-3
    assert np.median(np.abs(found - truth)) < 60e-6
    assert (np.sign(found) == np.sign(truth))[np.abs(truth) > 1e-4].all()


def test_a_cavity_is_outside():
    vertices, faces = shapes.box(HALF)
    hollow = make_surface('hollow', np.vstack([vertices, 0.6 * vertices]), np.vstack([faces, faces[:, ::-1] + 8]))
    grid = DistanceGrid.from_surface(hollow, 0.001, 0.005)
    found = grid.query([(0.003, 0.0, 0.0), (0.0075, 0.0, 0.0), (0.012, 0.0, 0.0)]).distances
    np.testing.assert_allclose(found, (0.003, -0.0015, 0.002), atol=1e-6)


@pytest.mark.parametrize('pulled', [0.003, 0.006])
@pytest.mark.parametrize('hollow', [False, True])
def test_a_surface_that_crosses_itself_has_its_sign_right_beyond_its_folds(pulled, hollow):
    sphere = make_surface('ball', *shapes.sphere(0.02, rings=24))
    rng, vertices = np.random.default_rng(0), sphere.vertices.copy()
    folded = rng.choice(len(vertices), 12, replace=False)
    along = np.cross(vertices[folded], rng.normal(size=(12, 3)))
    vertices[folded] += pulled * along / np.linalg.norm(along, axis=1, keepdims=True)  # past their neighbours
    triangles = sphere.triangles
    if hollow:
        triangles = np.vstack([triangles, triangles[:, ::-1] + len(vertices)])
        vertices = np.vstack([vertices, 0.5 * vertices])
    grid = DistanceGrid.from_surface(make_surface('folded', vertices, triangles), 0.001, 0.005)
    radius = np.linalg.norm(grid.origin + grid.spacing * np.indices(grid.values.shape).reshape(3, -1).T, axis=1)
    truth = np.maximum(radius - 0.02, 0.01 - radius) if hollow else radius - 0.02
    clear = np.abs(truth) > 0.0015 + pulled**2 / 0.04  # a vertex pulled along the sphere leaves it by so much
    assert ((grid.values.ravel() < 0.0) == (truth < 0.0))[clear].all()
    assert grid.far_error < 0.0005


def test_winding_tells_inside_of_a_box_and_of_two_that_overlap():
    vertices, faces = shapes.box(HALF)
    points = np.random.default_rng(3).uniform(-1.9, 1.9, (2000, 3)) * HALF
    one = shapes.box_distance(points, HALF) < 0.0
    np.testing.assert_array_equal(are_inside(points, vertices[faces]), one)
    beside = shapes.box_distance(points - 0.5 * HALF, HALF) < 0.0
    both = np.concatenate([vertices[faces], vertices[faces] + 0.5 * HALF])
    np.testing.assert_array_equal(are_inside(points, both), one | beside)


def test_signs_that_agree_are_left_as_they_are(ball, ball_grid):
    values = ball_grid.values.copy()
    assert not settle_signs(values, ball_grid.origin, ball_grid.spacing, ball.vertices[ball.triangles])
    np.testing.assert_array_equal(values, ball_grid.values)
    values[5:9, 5:9, 5:9] *= -1.0
    assert settle_signs(values, ball_grid.origin, ball_grid.spacing, ball.vertices[ball.triangles])
    np.testing.assert_array_equal(values, ball_grid.values)


def test_grid_knows_its_own_error(ball, ball_grid):
    rng = np.random.default_rng(7)
    near = shell(rng, 1000, 0.02, 0.002)
    errors = np.abs(ball_grid.query(near).distances - exact_distances(ball, near))
    assert 0.0 < ball_grid.near_error < 25e-6
    assert np.quantile(errors, 0.99) <= ball_grid.near_error
    low, high = ball_grid.bounds
    anywhere = rng.uniform(low, high, (1000, 3))
    errors = np.abs(ball_grid.query(anywhere).distances - exact_distances(ball, anywhere))
    assert np.quantile(errors, 0.99) <= ball_grid.far_error
    assert ball_grid.near_error <= ball_grid.far_error


def test_a_coarser_grid_says_that_it_is_worse(ball, ball_grid):
    assert DistanceGrid.from_surface(ball, 0.003, 0.01).near_error > 4 * ball_grid.near_error


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), reach=st.floats(0.03, 3.0))
def test_outside_the_grid_the_value_is_a_flagged_lower_bound(ball_grid, seed, reach):
    points = np.random.default_rng(seed).uniform(-reach, reach, (50, 3))
    samples = ball_grid.query(points)
    low, high = ball_grid.bounds
    beyond = ((points < low) | (points > high)).any(axis=1)
    assert (samples.outside == beyond).all()
    truth = np.linalg.norm(points, axis=1) - 0.02
    assert (samples.distances[beyond] <= truth[beyond] + ball_grid.far_error + 7e-6).all()
    assert (samples.distances[beyond] > 0.0).all()
    assert (np.linalg.norm(samples.gradients[beyond], axis=1) <= 1.05).all()


def test_value_is_continuous_at_the_border(ball_grid):
    low, high = ball_grid.bounds
    rng = np.random.default_rng(8)
    points = rng.uniform(low, high, (200, 3))
    points[np.arange(200), rng.integers(3, size=200)] = high[0]
    inner, outer = points - 1e-9 * np.sign(points), points + 1e-9 * np.sign(points)
    np.testing.assert_allclose(ball_grid.query(inner).distances, ball_grid.query(outer).distances, atol=1e-8)


def test_closest_points_lie_on_the_surface(ball_grid):
    points = shell(np.random.default_rng(9), 300, 0.02, 0.005)
    radii = np.linalg.norm(ball_grid.closest_points(points), axis=1)
    np.testing.assert_allclose(radii, 0.02, atol=1e-4)


def test_the_same_surface_gives_the_same_bits(ball, ball_grid):
    again = DistanceGrid.from_surface(ball, 0.001, 0.01)
    assert again.values.tobytes() == ball_grid.values.tobytes()
    assert (again.near_error, again.far_error) == (ball_grid.near_error, ball_grid.far_error)


def test_open_surface_is_refused_or_unsigned_when_allowed():
    vertices, faces = shapes.box(HALF)
    surface = make_surface('open', vertices, faces[1:])
    with pytest.raises(InputError, match='3 edges are open') as caught:
        DistanceGrid.from_surface(surface, 0.002, 0.01)
    assert caught.value.code == 'ANATOMY_REFUSED'
    grid = DistanceGrid.from_surface(surface, 0.002, 0.01, allow_unsigned=True)
    assert not grid.signed
    assert grid.values.min() >= 0.0


@pytest.mark.parametrize(('spacing', 'margin'), [(0.0, 0.01), (-1.0, 0.01), (np.nan, 0.01), (0.001, -1.0)])
def test_senseless_layout_is_refused(ball, spacing, margin):
    with pytest.raises(ConfigError, match='spacing'):
        DistanceGrid.from_surface(ball, spacing, margin)


def test_too_many_nodes_are_refused_with_a_spacing_that_fits(ball):
    with pytest.raises(ConfigError, match='take a spacing of') as caught:
        DistanceGrid.from_surface(ball, 1e-5, 0.01)
    spacing = float(str(caught.value).split('take a spacing of ')[1].split(' ')[0])
    assert 1e-4 <= spacing < 2e-4  # (55 to 60 mm)³ in 2e8 nodes


def test_points_that_are_no_points_are_refused(ball_grid):
    with pytest.raises(InputError, match='NaN') as caught:
        ball_grid.query([(0.0, np.nan, 0.0)])
    assert caught.value.code == 'NOT_FINITE'
    with pytest.raises(InputError, match='shape'):
        ball_grid.query([0.0, 0.0, 0.0])
    assert ball_grid.query(np.zeros((0, 3))).distances.shape == (0,)
