"""Meshes and advice as standard messages: MarkerArray and PointCloud2."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import transform_points
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.ros.conversions import matrix_of, ns_to_stamp

_DATATYPES = {
    np.dtype(np.uint8): PointField.UINT8,
    np.dtype(np.uint16): PointField.UINT16,
    np.dtype(np.uint32): PointField.UINT32,
    np.dtype(np.int32): PointField.INT32,
    np.dtype(np.float32): PointField.FLOAT32,
    np.dtype(np.float64): PointField.FLOAT64,
}
_DTYPES = {code: dtype for dtype, code in _DATATYPES.items()}

MAX_POINTS = 50_000_000

CUT = 'cut'  # text of a marker whose surface is open where a drill has been

ZONES = (Zone.CLEAR, Zone.NEAR, Zone.INSIDE, Zone.WITHDRAWN)  # in the order of the numbers in the field 'zone'

CLEARANCE_DTYPE = np.dtype(
    [
        ('x', np.float32),
        ('y', np.float32),
        ('z', np.float32),
        ('distance', np.float32),
        ('sigma', np.float32),
        ('probability', np.float32),
        ('time_to_contact', np.float32),
        ('structure', np.uint16),
        ('zone', np.uint8),
        ('part', np.uint8),
        ('ahead', np.float32),  # seconds after the stamp that the row is true of
        ('distance_now', np.float32),  # at the stamp itself
    ]
)


def cloud_from_array(stamp_ns: int, frame: str, points: np.ndarray) -> PointCloud2:
    """Make a PointCloud2 from a structured array (n,), one field per column."""
    dtype = points.dtype
    message = PointCloud2()
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = frame
    message.height, message.width = 1, points.shape[0]
    message.point_step = dtype.itemsize
    message.row_step = dtype.itemsize * points.shape[0]
    message.is_dense = True
    message.is_bigendian = False
    assert dtype.names is not None and dtype.fields is not None
    message.fields = [
        PointField(name=name, offset=dtype.fields[name][1], datatype=_DATATYPES[dtype.fields[name][0]], count=1)
        for name in dtype.names
    ]
    message.data = points.tobytes()
    return message


def array_from_cloud(message: PointCloud2) -> np.ndarray:
    """Read a PointCloud2 into a structured array (n,), whatever the order of its fields.

    Raises:
        InputError: for sizes that do not agree, unknown datatypes or big-endian data.
    """
    count = message.height * message.width
    if message.is_bigendian:
        raise InputError('PointCloud2: big-endian data are not supported')
    if count > MAX_POINTS or count * message.point_step != len(message.data):
        raise InputError(
            f'PointCloud2: {count} points of {message.point_step} bytes do not fit {len(message.data)} bytes of data'
        )
    if message.point_step == 0 or message.row_step != message.width * message.point_step:
        raise InputError(
            f'PointCloud2: row_step {message.row_step} is not {message.width} points of {message.point_step} bytes'
        )
    names = [field.name for field in message.fields]
    if len(set(names)) < len(names):
        raise InputError(f'PointCloud2: a field stands twice in {names}')
    for field in message.fields:
        if field.datatype not in _DTYPES or field.count > 1:
            raise InputError(f'PointCloud2: field {field.name!r} has datatype {field.datatype} × {field.count}')
        if field.offset + _DTYPES[field.datatype].itemsize > message.point_step:
            raise InputError(f'PointCloud2: field {field.name!r} at byte {field.offset} is outside its point')
    dtype = np.dtype(
        {
            'names': names,
            'formats': [_DTYPES[field.datatype] for field in message.fields],
            'offsets': [field.offset for field in message.fields],
            'itemsize': message.point_step,
        }
    )
    return np.frombuffer(bytes(message.data), dtype=dtype)


def surface_marker(
    stamp_ns: int,
    frame: str,
    name: str,
    index: int,
    vertices: np.ndarray,
    triangles: np.ndarray,
    colour: Sequence[float],
) -> Marker:
    """Make a TRIANGLE_LIST marker from vertices [m] (n, 3) and triangles (m, 3); colour is r, g, b, a in 0 … 1."""
    marker = Marker()
    marker.header.stamp = ns_to_stamp(stamp_ns)
    marker.header.frame_id = frame
    marker.ns, marker.id = name, index
    marker.type, marker.action = Marker.TRIANGLE_LIST, Marker.ADD
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=1.0, y=1.0, z=1.0)
    marker.color = ColorRGBA(**{key: float(value) for key, value in zip('rgba', colour, strict=True)})
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in vertices[triangles.ravel()].tolist()]
    return marker


def without_points(marker: Marker) -> Marker:
    """Make the same surface marker without its points, for `marker_bytes`."""
    colour = (marker.color.r, marker.color.g, marker.color.b, marker.color.a)
    nothing = np.empty((0, 3), np.int64)
    bare = surface_marker(0, marker.header.frame_id, marker.ns, marker.id, np.empty((0, 3)), nothing, colour)
    bare.header.stamp = marker.header.stamp
    bare.text = marker.text
    return bare


def corners_of(marker: Any) -> np.ndarray:
    """Return the points of a marker as they stand in it, shape (n, 3)."""
    return np.array([(point.x, point.y, point.z) for point in marker.points], dtype=float).reshape(-1, 3)


def surface_from_marker(marker: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read vertices (n, 3) and triangles (m, 3) back from a TRIANGLE_LIST marker, equal corners merged.

    The vertices are in the frame of the marker's header: its pose and scale are applied, as RViz does.

    Raises:
        InputError: for another marker type or action, a number of points that is no multiple of three, or a pose or
            scale that is none.
    """
    if marker.type != Marker.TRIANGLE_LIST:
        raise InputError(f'marker {marker.ns!r}: type {marker.type} is not TRIANGLE_LIST', code='ANATOMY_REFUSED')
    if marker.action != Marker.ADD:
        raise InputError(f'marker {marker.ns!r}: action {marker.action} is not ADD', code='ANATOMY_REFUSED')
    scale = np.array([marker.scale.x, marker.scale.y, marker.scale.z])
    if not (np.isfinite(scale).all() and (scale > 0.0).all()):
        raise InputError(f'marker {marker.ns!r}: scale {scale.tolist()} must be above 0', code='ANATOMY_REFUSED')
    pose = matrix_of(marker.pose.position, marker.pose.orientation, name=f'marker {marker.ns!r}')
    corners = corners_of(marker)
    if corners.shape[0] == 0 or corners.shape[0] % 3:
        raise InputError(
            f'marker {marker.ns!r}: {corners.shape[0]} points are no whole triangles', code='ANATOMY_REFUSED'
        )
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    if (scale != 1.0).any() or (pose != np.eye(4)).any():
        vertices = transform_points(pose, vertices * scale)
    return vertices, index.reshape(-1, 3).astype(np.int32)
