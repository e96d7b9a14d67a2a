"""PointCloud2 and meshes as messages: exact both ways, and sizes that lie are refused before memory is touched."""

import numpy as np
import pytest
from geometry_msgs.msg import Point
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import Marker

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import exp, transform_points
from twin_nodes.ros.clouds import (
    CLEARANCE_DTYPE,
    array_from_cloud,
    cloud_from_array,
    surface_from_marker,
    surface_marker,
)

VERTICES = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1]])
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def cloud(count=3):
    points = np.zeros(count, CLEARANCE_DTYPE)
    points['x'], points['structure'], points['zone'] = np.arange(count), 7, 2
    return cloud_from_array(5, 'anatomy', points)


def marker():
    return surface_marker(5, 'anatomy', 'bone', 3, VERTICES, TRIANGLES, (0.1, 0.2, 0.3, 1.0))


@given(st.integers(0, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_field_comes_back_to_the_bit(count, seed):
    rng = np.random.default_rng(seed)
    points = np.frombuffer(rng.bytes(count * CLEARANCE_DTYPE.itemsize), CLEARANCE_DTYPE)
    message = cloud_from_array(seed, 'anatomy', points)
    assert (message.header.frame_id, message.width, message.height) == ('anatomy', count, 1)
    assert array_from_cloud(message).tobytes() == points.tobytes()


@given(st.permutations(['x', 'y', 'z', 'id']), st.integers(0, 9))
def test_fields_are_found_by_name_in_any_order_and_with_padding(order, padding):
    kinds = {'x': np.float32, 'y': np.float64, 'z': np.float32, 'id': np.uint16}
    offsets, end = [], 0
    for name in order:
        offsets.append(end)
        end += np.dtype(kinds[name]).itemsize
    dtype = np.dtype({'names': order, 'formats': [kinds[n] for n in order], 'offsets': offsets,
                      'itemsize': end + padding})  # fmt: skip
    points = np.zeros(4, dtype)
    points['y'], points['id'] = [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 65535]
    again = array_from_cloud(cloud_from_array(0, 'anatomy', points))
    np.testing.assert_array_equal(again['y'], points['y'])
    np.testing.assert_array_equal(again['id'], points['id'])


def test_an_organised_cloud_is_read_row_after_row():
    message = cloud(6)
    message.height, message.width, message.row_step = 2, 3, 3 * message.point_step
    np.testing.assert_array_equal(array_from_cloud(message)['x'], np.arange(6.0))


@pytest.mark.parametrize(
    'lie',
    [
        {'width': 4},
        {'width': 2},
        {'width': 2**32 - 1, 'height': 2**32 - 1},
        {'width': 0},
        {'point_step': 1},
        {'point_step': 0},
        {'width': 2**32 - 1, 'point_step': 0},
        {'row_step': 1},
    ],
    ids=str,
)
def test_sizes_that_lie_are_refused(lie):
    message = cloud()
    for name, value in lie.items():
        setattr(message, name, value)
    with pytest.raises(InputError, match='PointCloud2'):
        array_from_cloud(message)


def test_an_empty_point_is_refused():
    message = PointCloud2(width=5, height=1, point_step=0)
    with pytest.raises(InputError, match='PointCloud2'):
        array_from_cloud(message)


def test_big_endian_is_refused():
    message = cloud()
    message.is_bigendian = True
    with pytest.raises(InputError, match='big-endian'):
        array_from_cloud(message)


@pytest.mark.parametrize(
    ('field', 'match'),
    [
        (PointField(name='x', offset=44, datatype=PointField.FLOAT32, count=1), 'outside its point'),
        (PointField(name='x', offset=2**32 - 1, datatype=PointField.FLOAT32, count=1), 'outside its point'),
        (PointField(name='x', offset=0, datatype=99, count=1), 'datatype'),
        (PointField(name='x', offset=0, datatype=PointField.FLOAT32, count=2**31), 'datatype'),
        (PointField(name='y', offset=0, datatype=PointField.FLOAT32, count=1), 'twice'),
    ],
)
def test_fields_that_cannot_be_are_refused(field, match):
    message = cloud()
    message.fields = [field, *message.fields[1:]]
    with pytest.raises(InputError, match=match):
        array_from_cloud(message)


def corners(vertices, triangles):
    return vertices[triangles.ravel()]


def test_a_surface_comes_back():
    message = marker()
    assert (message.ns, message.id, message.type) == ('bone', 3, Marker.TRIANGLE_LIST)
    vertices, triangles = surface_from_marker(message)
    np.testing.assert_array_equal(corners(vertices, triangles), corners(VERTICES, TRIANGLES))
    assert len(vertices) == 4  # equal corners merged


def test_pose_and_scale_of_a_marker_are_part_of_its_shape():
    message = marker()
    pose = exp([0.01, -0.02, 0.03, 0.4, -0.5, 0.6])
    from twin_nodes.ros.conversions import pose_stamped

    message.pose = pose_stamped(1, '', pose).pose
    message.scale.x, message.scale.y, message.scale.z = 2.0, 3.0, 0.5
    vertices, triangles = surface_from_marker(message)
    expected = transform_points(pose, corners(VERTICES, TRIANGLES) * (2.0, 3.0, 0.5))
    np.testing.assert_allclose(corners(vertices, triangles), expected, atol=1e-15)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'type': Marker.LINE_LIST}, 'TRIANGLE_LIST'),
        ({'action': Marker.DELETEALL}, 'not ADD'),
        ({'action': Marker.DELETE}, 'not ADD'),
        ({'points': []}, '0 points'),
        ({'points': [Point()] * 4}, 'no whole triangles'),
    ],
)
def test_a_marker_that_is_no_surface_is_refused(change, match):
    message = marker()
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(InputError, match=match) as caught:
        surface_from_marker(message)
    assert caught.value.code == 'ANATOMY_REFUSED'


def test_a_marker_with_a_broken_pose_or_scale_is_refused():
    message = marker()
    message.pose.orientation.w = 0.0
    with pytest.raises(InputError, match='norm'):
        surface_from_marker(message)
    for scale in (0.0, float('nan'), -1.0):
        message = marker()
        message.scale.y = scale
        with pytest.raises(InputError, match='scale'):
            surface_from_marker(message)
