"""Surfaces as bytes: what rclpy reads of ours, and we of rclpy's, is the same."""

import numpy as np
import pytest
from geometry_msgs.msg import Point
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.simulate.organ import organ
from twin_nodes.ros.clouds import corners_of, surface_marker
from twin_nodes.ros.marker_bytes import marker_array_bytes, surfaces_from_bytes

VERTICES, TRIANGLES = organ(60)


def full(name, text=''):
    marker = surface_marker(5_000_000_001, 'anatomy', name, 7, VERTICES, TRIANGLES, (1.0, 0.5, 0.25, 0.75))
    marker.text = text
    return marker


def empty(name, text=''):
    nothing = np.empty((0, 3), np.int64)
    marker = surface_marker(5_000_000_001, 'anatomy', name, 7, np.empty((0, 3)), nothing, (1.0, 0.5, 0.25, 0.75))
    marker.text = text
    return marker


@pytest.mark.parametrize('names', [[], ['a'], ['liver', 'ab'], ['ü', 'abc', 'abcdefg']], ids=len)
@pytest.mark.parametrize('text', ['', 'cut', 'deformed'])
def test_rclpy_reads_what_it_would_have_written(names, text):
    expected = MarkerArray(markers=[full(name, text) for name in names])
    data = marker_array_bytes([(empty(name, text), VERTICES[TRIANGLES.ravel()]) for name in names])
    assert deserialize_message(data, MarkerArray) == expected
    assert len(data) == len(serialize_message(expected))


@pytest.mark.parametrize('text', ['', 'cut', 'deformed'])
def test_reads_what_rclpy_wrote(text):
    other = full('lesion', text)
    other.colors = [ColorRGBA(r=1.0)] * len(other.points)  # of another sender
    other.frame_locked, other.lifetime.sec = True, 3
    last = empty('x')
    last.type = Marker.POINTS
    last.points = [Point(x=1.0, y=2.0, z=3.0)]
    sent = [full('liver', text), other, last]
    read = surfaces_from_bytes(serialize_message(MarkerArray(markers=sent)))
    assert [marker.ns for marker, _ in read] == ['liver', 'lesion', 'x']
    for (marker, points), original in zip(read, sent, strict=True):
        np.testing.assert_array_equal(points, corners_of(original))
        original.points, original.colors = [], []
        assert marker == original


def test_bytes_that_are_none_are_refused():
    data = marker_array_bytes([(empty('liver'), VERTICES[TRIANGLES.ravel()])])
    for size in (4, 7, 60, 400, len(data) - 1):
        with pytest.raises(InputError, match='MarkerArray of'):
            surfaces_from_bytes(data[:size])
    with pytest.raises(InputError, match='encapsulation 0000'):
        surfaces_from_bytes(b'\x00\x00' + data[2:])


def test_corners_that_make_no_triangles_are_refused():
    with pytest.raises(InputError, match='no whole triangles'):
        marker_array_bytes([(empty('liver'), VERTICES[:4])])
    with pytest.raises(InputError, match='NaN'):
        marker_array_bytes([(empty('liver'), np.full((3, 3), np.nan))])
