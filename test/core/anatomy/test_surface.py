import numpy as np
import pytest
import shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import random_transform, transform_points

HALF = np.array([0.01, 0.02, 0.03])


def test_box_has_its_volume_area_and_normals():
    surface = make_surface('box', *shapes.box(HALF))
    assert surface.volume == pytest.approx(8 * np.prod(HALF), rel=1e-12)
    assert surface.area == pytest.approx(8 * (0.01 * 0.02 + 0.02 * 0.03 + 0.01 * 0.03), rel=1e-12)
    assert surface.is_watertight
    assert surface.report.open_edges == 0
    np.testing.assert_allclose(surface.vertex_normals, np.sign(surface.vertices) / np.sqrt(3.0), atol=1e-12)
    centres = surface.vertices[surface.triangles].mean(axis=1)
    assert (np.sum(centres * surface.face_normals, axis=1) > 0.0).all()


def test_sphere_has_the_volume_of_a_sphere():
    # A polyhedron in a sphere: relative deficit about 2 (π / (2 rings))² at 64 rings.
    surface = make_surface('sphere', *shapes.sphere(0.02))
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 0.02**3, rel=2e-3)
    assert surface.is_watertight


def test_separate_corners_are_merged_and_empty_triangles_dropped_with_counts():
    vertices, faces = shapes.box(HALF)
    soup = vertices[faces].reshape(-1, 3)
    triangles = np.vstack([np.arange(36).reshape(-1, 3), [(0, 0, 1), (2, 2, 2)]])
    surface = make_surface('soup', soup, triangles)
    assert (len(surface.vertices), len(surface.triangles)) == (8, 12)
    assert surface.report.merged_vertices == 28
    assert surface.report.dropped_triangles == 2
    assert surface.is_watertight


def test_positive_and_negative_zero_are_one_point():
    surface = make_surface('zero', [(0.0, 0, 0), (0.01, 0, 0), (0, 0.01, 0), (-0.0, -0.0, 0), (0, 0, 0.01)],
                           [(0, 1, 2), (3, 1, 4)])  # fmt: skip
    assert len(surface.vertices) == 4


def test_inside_out_surface_is_turned_and_said():
    vertices, faces = shapes.box(HALF)
    surface = make_surface('box', vertices, faces[:, ::-1])
    assert surface.report.flipped
    assert surface.volume > 0.0


def test_one_turned_triangle_is_counted_as_three_bad_edges():
    vertices, faces = shapes.box(HALF)
    faces = np.vstack([faces[:1, ::-1], faces[1:]])
    surface = make_surface('box', vertices, faces)
    assert surface.report.bad_edges == 3
    assert not surface.is_watertight


def test_hole_is_counted_as_three_open_edges():
    vertices, faces = shapes.box(HALF)
    assert make_surface('box', vertices, faces[1:]).report.open_edges == 3


def test_a_fin_of_three_triangles_on_an_edge_is_bad():
    vertices, faces = shapes.box(HALF)
    surface = make_surface('fin', np.vstack([vertices, [(0.02, 0.02, 0.02)]]), np.vstack([faces, [(0, 1, 8)]]))
    assert (surface.report.bad_edges, surface.report.open_edges) == (1, 2)


@pytest.mark.parametrize(
    ('vertices', 'triangles', 'message'),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), '0 vertices and 0 triangles'),
        (np.zeros((4, 3)), np.zeros((0, 3), int), '4 vertices and 0 triangles'),
        (np.full((4, 3), np.nan), [(0, 1, 2)], '4 of 4 vertices have NaN'),
        ([(0, 0, 0), (1, 0, 0), (0, np.inf, 0)], [(0, 1, 2)], '1 of 3 vertices have NaN'),
        (np.eye(3), [(0, 1, 3)], '1 of 1 triangles use vertices outside 0 … 2'),
        (np.eye(3), [(0, 1, -1)], 'outside 0 … 2'),
        (np.eye(3), [(0.0, 1.0, 2.0)], 'not integers'),
        (np.eye(3)[:, :2], [(0, 1, 2)], r'expected \(n, 3\)'),
        (np.ones((3, 3)), [(0, 1, 2)], 'all 1 triangles have no area'),
        (np.eye(3) * 300.0, [(0, 1, 2)], 'millimetres'),
        (np.eye(3) * 1e-5, [(0, 1, 2)], 'metres read as millimetres'),
    ],
)
def test_bad_arrays_are_refused_with_counts(vertices, triangles, message):
    with pytest.raises(InputError, match=message) as caught:
        make_surface('bad', vertices, triangles)
    assert caught.value.code == 'ANATOMY_REFUSED'


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_volume_area_and_closure_do_not_depend_on_pose_or_order(seed):
    rng = np.random.default_rng(seed)
    vertices, faces = shapes.box(HALF)
    order = rng.permutation(8)
    moved = transform_points(random_transform(rng), vertices)
    faces = np.argsort(order)[faces][rng.permutation(12)]
    surface = make_surface('box', moved[order], faces)
    assert surface.is_watertight
    assert not surface.report.flipped
    assert surface.volume == pytest.approx(8 * np.prod(HALF), rel=1e-9)
    assert surface.area == pytest.approx(8 * (0.01 * 0.02 + 0.02 * 0.03 + 0.01 * 0.03), rel=1e-9)
