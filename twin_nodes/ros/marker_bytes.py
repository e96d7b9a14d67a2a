"""`MarkerArray` written from arrays, as the bytes that go over the wire.

A surface of 20 000 triangles has 60 000 corners. As `Point` objects they take tens of milliseconds to make and to
serialise; their bytes are there already, in the array. The layout is that of plain CDR, little-endian (OMG DDSI-RTPS
2.5, section 10, and DDS-XTypes 1.3, section 7.4.1): each value is aligned to its size, counted from the end of the four
bytes in front. `marker_reading` reads them.
"""

import struct
from collections.abc import Sequence

import numpy as np
from visualization_msgs.msg import Marker

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_FRONT = b'\x00\x01\x00\x00'  # CDR, little-endian, no options


class _Writer:
    """Appends values, each aligned to its size."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def _append(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def align(self, size: int) -> None:
        spare = -self._size % size
        if spare:
            self._append(bytes(spare))

    def pack(self, kind: str, *values: float) -> None:
        """Write values of one type, told as `struct` does."""
        self.align(struct.calcsize(kind))
        self._append(struct.pack(f'<{len(values)}{kind}', *values))

    def text(self, value: str) -> None:
        data = value.encode() + b'\0'
        self.pack('I', len(data))
        self._append(data)

    def array(self, values: np.ndarray) -> None:
        self.align(values.itemsize)
        self._append(values.tobytes())

    def finish(self) -> bytes:
        return b''.join((_FRONT, *self._parts))


def marker_array_bytes(surfaces: Sequence[tuple[Marker, Array]]) -> bytes:
    """Write surfaces as a serialised MarkerArray, for `Publisher.publish`.

    Args:
        surfaces: For each the marker, whose own points do not count, and the corners of its triangles [m] in the
            frame of its header, shape (3 t, 3).

    Raises:
        InputError: for corners that are no whole triangles, or not finite, or a marker with colours or a texture.
    """
    writer = _Writer()
    writer.pack('I', len(surfaces))
    for marker, corners in surfaces:
        _write(writer, marker, _checked(marker, corners))
    return writer.finish()


def _checked(marker: Marker, corners: Array) -> Array:
    points = np.ascontiguousarray(corners, '<f8')
    if points.ndim != 2 or points.shape[1:] != (3,) or len(points) % 3:
        raise InputError(f'marker {marker.ns!r}: corners of shape {points.shape} are no whole triangles')
    if not np.isfinite(points).all():
        raise InputError(f'marker {marker.ns!r}: NaN or Inf in a corner', code='NOT_FINITE')
    if len(marker.colors) or len(marker.uv_coordinates) or len(marker.texture.data) or len(marker.mesh_file.data):
        raise InputError(f'marker {marker.ns!r}: colours by corner, textures and meshes are not written')
    return points


def _write(writer: _Writer, marker: Marker, points: Array) -> None:
    pose, scale, colour = marker.pose, marker.scale, marker.color
    _write_header(writer, marker)
    writer.text(marker.ns)
    writer.pack('i', marker.id, marker.type, marker.action)
    writer.pack('d', pose.position.x, pose.position.y, pose.position.z)
    writer.pack('d', pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w)
    writer.pack('d', scale.x, scale.y, scale.z)
    writer.pack('f', colour.r, colour.g, colour.b, colour.a)
    writer.pack('i', marker.lifetime.sec)
    writer.pack('I', marker.lifetime.nanosec)
    writer.pack('?', marker.frame_locked)
    writer.pack('I', len(points))
    if len(points):
        writer.array(points)
    writer.pack('I', 0)  # colors
    writer.text(marker.texture_resource)
    _write_header(writer, marker.texture)
    writer.text(marker.texture.format)
    writer.pack('I', 0)  # texture.data
    writer.pack('I', 0)  # uv_coordinates
    writer.text(marker.text)
    writer.text(marker.mesh_resource)
    writer.text(marker.mesh_file.filename)
    writer.pack('I', 0)  # mesh_file.data
    writer.pack('?', marker.mesh_use_embedded_materials)


def _write_header(writer: _Writer, message: object) -> None:
    header = message.header  # type: ignore[attr-defined]
    writer.pack('i', header.stamp.sec)
    writer.pack('I', header.stamp.nanosec)
    writer.text(header.frame_id)
