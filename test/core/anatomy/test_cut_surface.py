"""What a cut leaves of a closed surface is closed, and is what lies on this side of the cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.cut_surface import cut_surface
from twin_nodes.core.anatomy.distance_grid import exact_distances
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.simulate.organ import organ
from twin_nodes.core.simulate.shapes import superellipsoid

BALL = superellipsoid(np.zeros(3), np.full(3, 0.03))
SHELL = (
    np.concatenate([BALL[0], superellipsoid(np.zeros(3), np.full(3, 0.02))[0]]),
    np.concatenate([BALL[1], superellipsoid(np.zeros(3), np.full(3, 0.02))[1][:, ::-1] + len(BALL[0])]),
)
LIVER = organ(1200)


def left_of(body, heights):
    vertices, triangles = body
    left = cut_surface(vertices, triangles, heights)
    return make_surface('left', left.between(vertices), left.triangles)


def volume(surface):
    a, b, c = np.moveaxis(surface.vertices[surface.triangles], 1, 0)
    return float(np.einsum('ij,ij->', a, np.cross(b, c)) / 6.0)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([BALL, SHELL, LIVER]), st.integers(0, 2**31), st.floats(0.05, 0.95))
def test_both_sides_of_a_plane_are_closed_and_make_up_the_whole(body, seed, where):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=3)
    along = body[0] @ (normal / np.linalg.norm(normal))
    heights = along - np.quantile(along, where)
    if np.abs(heights).min() < 1e-6:  # a vertex in the plane counts as left, on either side
        heights += 3e-6
    here, there = left_of(body, heights), left_of(body, -heights)
    assert here.is_watertight and there.is_watertight
    whole = volume(make_surface('whole', *body))
    assert volume(here) + volume(there) == pytest.approx(whole, rel=1e-3)
    assert 0.0 < volume(here) < whole


def test_distances_are_to_the_cut_face_and_not_to_what_is_gone():
    half = left_of(BALL, BALL[0][:, 0] - 0.01)
    points = np.array([[0.02, 0.0, 0.0], [0.03, 0.01, 0.0], [0.005, 0.0, 0.0], [-0.05, 0.0, 0.0]])
    np.testing.assert_allclose(exact_distances(half, points), [0.01, 0.02, -0.005, 0.02], atol=2e-4)


def test_a_hollow_stays_hollow():
    half = left_of(SHELL, SHELL[0][:, 0])
    middle, wall = exact_distances(half, np.array([[0.0, 0.0, 0.0], [-0.003, 0.025, 0.0]]))
    assert middle == pytest.approx(0.02, abs=3e-4)
    assert wall == pytest.approx(-0.003, abs=1e-4)


def test_a_horseshoe_leaves_two_legs():
    vertices, triangles = superellipsoid(np.zeros(3), np.array([0.03, 0.008, 0.008]))
    bent = vertices.copy()
    bent[:, 1] += 30.0 * vertices[:, 0] ** 2
    left = left_of((bent, triangles), bent[:, 1] * -1.0 + 0.015)
    assert left.is_watertight
    parts = np.sign(left.vertices[left.triangles].mean(axis=1)[:, 0])
    assert (parts > 0).any() and (parts < 0).any()
    assert float(exact_distances(left, np.array([[0.0, 0.02, 0.0]]))[0]) > 0.005


def test_the_rest_goes_along_with_the_vertices():
    vertices, triangles = LIVER
    left = cut_surface(vertices, triangles, vertices[:, 0] - float(np.median(vertices[:, 0])))
    shift = np.array([0.01, -0.02, 0.005])
    np.testing.assert_allclose(left.between(vertices + shift), left.between(vertices) + shift, atol=1e-12)


def test_nothing_and_everything_may_be_gone():
    vertices, triangles = BALL
    whole = cut_surface(vertices, triangles, np.full(len(vertices), -1.0))
    np.testing.assert_array_equal(whole.between(vertices)[whole.triangles], vertices[triangles])
    assert cut_surface(vertices, triangles, np.full(len(vertices), 1.0)).is_gone
    with pytest.raises(InputError, match='shape'):
        cut_surface(vertices, triangles, np.zeros(3))
    with pytest.raises(InputError, match='NaN'):
        cut_surface(vertices, triangles, np.full(len(vertices), np.nan))
