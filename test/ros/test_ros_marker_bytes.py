"""Surfaces as bytes: rclpy reads of them what it would have written."""

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.simulate.organ import organ
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.marker_bytes import marker_array_bytes

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


def test_corners_that_make_no_triangles_are_refused():
    with pytest.raises(InputError, match='no whole triangles'):
        marker_array_bytes([(empty('liver'), VERTICES[:4])])
    with pytest.raises(InputError, match='NaN'):
        marker_array_bytes([(empty('liver'), np.full((3, 3), np.nan))])
