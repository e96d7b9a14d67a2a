"""Surfaces from bytes: the same as the messages say, merged once per topology, the same object while nothing moves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view import geometry
from twin_nodes.app.view.surfaces import SurfaceReader, merge_corners
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp, transform_points
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.ros.clouds import corners_of, surface_marker
from twin_nodes.ros.marker_reading import read_markers

STAMP_NS = 1_700_000_000_123_456_789
BALL = geometry.sphere(np.zeros(3), 0.01)


def marker(scale: float = 1.0, name: str = 'nerve', index: int = 3, **changes):
    result = surface_marker(STAMP_NS, 'anatomy', name, index, scale * BALL.vertices, BALL.faces, (1.0, 0.5, 0.0, 0.4))
    for key, value in changes.items():
        setattr(result, key, value)
    return result


def wire(*markers) -> bytes:
    return serialize_message(MarkerArray(markers=list(markers)))


@given(
    frame=st.text(max_size=9, alphabet='aäb_/'),
    name=st.text(max_size=9, alphabet='xyü '),
    text=st.text(max_size=5, alphabet='cut'),
    counts=st.lists(st.integers(0, 4), max_size=4),
    colours=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_lengths_each_value_is_where_the_sender_put_it(frame, name, text, counts, colours):
    markers = []
    for index, count in enumerate(counts):
        one = marker(name=name, index=index, text=text, ns=name, points=marker().points[:count])
        one.header.frame_id, one.colors = frame, [ColorRGBA(r=0.1)] * colours
        one.mesh_file.data, one.texture.data = [1, 2, 3][: colours % 3], [7] * colours
        markers.append(one)
    read = read_markers(wire(*markers))
    assert len(read) == len(markers)
    for found, sent in zip(read, markers, strict=True):
        assert (found.frame, found.name, found.index, found.text) == (frame, name, sent.id, text)
        assert found.stamp_ns == STAMP_NS and found.kind == sent.type
        np.testing.assert_array_equal(found.points, corners_of(sent))
        assert found.colour == pytest.approx((1.0, 0.5, 0.0, 0.4))


@given(cut=st.integers(0, 500))
@settings(max_examples=60, deadline=None)
def test_a_cut_message_is_refused_and_never_read_beyond_its_end(cut):
    whole = wire(marker(points=marker().points[:3]))
    data = whole[: min(cut, len(whole) - 5)]
    with pytest.raises(InputError, match=r'MarkerArray'):
        read_markers(data)


def test_a_surface_is_read_with_its_name_number_and_colour():
    (surface,) = SurfaceReader('anatomy').read(wire(marker(), marker(action=2, id=9)))
    assert (surface.index, surface.name) == (3, 'nerve')
    assert surface.colour == pytest.approx((1.0, 0.5, 0.0)) and surface.opacity == pytest.approx(0.4)
    np.testing.assert_allclose(np.linalg.norm(surface.vertices_anatomy, axis=1), 0.01, rtol=1e-9)
    corners = surface.vertices_anatomy[surface.faces.ravel()]
    np.testing.assert_array_equal(corners, BALL.vertices[BALL.faces.ravel()])
    assert len(surface.vertices_anatomy) == len(np.unique(BALL.vertices, axis=0))


def test_a_pose_and_a_scale_move_the_surface_as_rviz_does():
    moved = marker()
    pose = make_transform(rotation_exp([0.3, -0.2, 0.9]), [0.01, 0.02, 0.03])
    q, p = moved.pose.orientation, moved.pose.position
    q.x, q.y, q.z, q.w = quat_of(pose)
    p.x, p.y, p.z = pose[:3, 3].tolist()
    moved.scale.x = 2.0
    (plain,) = SurfaceReader('anatomy').read(wire(marker()))
    (surface,) = SurfaceReader('anatomy').read(wire(moved))
    expected = transform_points(pose, plain.vertices_anatomy * [2.0, 1.0, 1.0])
    np.testing.assert_allclose(surface.vertices_anatomy, expected, atol=1e-12)


def test_while_it_deforms_the_triangles_are_the_same_object_and_at_rest_all_of_it():
    reader = SurfaceReader('anatomy')
    other = marker(name='vessel', index=4)
    first, still = reader.read(wire(marker(), other))
    again, same = reader.read(wire(marker(1.01), other))
    assert again.faces is first.faces and again is not first
    np.testing.assert_allclose(again.vertices_anatomy, 1.01 * first.vertices_anatomy)
    assert same is still
    (fewer,) = reader.read(wire(marker(points=marker().points[:-3])))
    assert len(fewer.faces) == len(first.faces) - 1


def test_corners_that_part_are_told_apart():
    reader = SurfaceReader('anatomy')
    (first,) = reader.read(wire(marker()))
    torn = marker()
    torn.points[0].x += 1e-9
    (second,) = reader.read(wire(torn))
    assert len(second.vertices_anatomy) == len(first.vertices_anatomy) + 1
    corners = second.vertices_anatomy[second.faces.ravel()]
    np.testing.assert_array_equal(corners, corners_of(torn))


def test_minus_zero_is_zero_and_a_clash_of_keys_costs_nothing_but_time(monkeypatch):
    corners = np.array([[0.0, 1.0, 2.0], [-0.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    first, inverse = merge_corners(corners)
    assert len(first) == 2 and inverse[0] == inverse[1] != inverse[2]
    monkeypatch.setattr('twin_nodes.app.view.surfaces._ODD', np.zeros(3, np.uint64))
    first, inverse = merge_corners(corners)
    np.testing.assert_array_equal(corners[first][inverse], corners)


def test_wrong_surfaces_are_refused():
    wrong = marker()
    wrong.points[4].x = float('nan')
    tilted = marker()
    tilted.pose.orientation.w = 3.0
    flat = marker()
    flat.scale.z = 0.0
    for one, match in (
        (wrong, 'NaN'),
        (marker(type=1), 'TRIANGLE_LIST'),
        (marker(points=marker().points[:-1]), 'no whole triangles'),
        (marker(points=[]), 'no whole triangles'),
        (tilted, 'norm'),
        (flat, 'scale'),
    ):
        with pytest.raises(InputError, match=match):
            SurfaceReader('anatomy').read(wire(one))
    with pytest.raises(InputError, match="expected 'patient'"):
        SurfaceReader('patient').read(wire(marker()))
