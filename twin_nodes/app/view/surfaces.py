"""Surfaces from the bytes of `anatomy/surface`, cheaply enough for a body that deforms thirty times a second."""

from dataclasses import dataclass

import numpy as np
from visualization_msgs.msg import Marker

from twin_nodes.app.view.records import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, rotation_from_quat, transform_points
from twin_nodes.ros.marker_reading import RawMarker, read_markers

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


@dataclass(frozen=True, eq=False)
class _Known:
    """A structure as it was read last: which corners are its vertices, and what came of it."""

    first: np.ndarray
    inverse: np.ndarray
    surface: Surface


class SurfaceReader:
    """Reads surfaces and keeps what stays the same from message to message.

    Corners that several triangles share are told by their equal coordinates, which takes ten times as long as all the
    rest; while the same corners coincide, the triangles are the same and only the vertices are new. What did not
    change at all is the same object again, so that nobody sends it twice.

    Args:
        anatomy_frame: The frame that surfaces must be in.
    """

    def __init__(self, anatomy_frame: str) -> None:
        self._frame = anatomy_frame
        self._known: dict[int, _Known] = {}

    def read(self, data: bytes) -> list[Surface]:
        """Read a serialised MarkerArray of TRIANGLE_LIST markers, one per structure, points in metres.

        Raises:
            InputError: for another frame or type of marker, or points that are not whole finite triangles.
        """
        known = {}
        for marker in read_markers(data):
            if marker.action == Marker.ADD:
                known[marker.index] = self._read(marker)
        self._known = known
        return [one.surface for one in known.values()]

    def _read(self, marker: RawMarker) -> _Known:
        corners = self._corners(marker)
        before = self._known.get(marker.index)
        if before is None or not _fits(before, corners):
            first, inverse = merge_corners(corners)
            faces = inverse.reshape(-1, 3).astype(np.uint32)
        else:
            first, inverse, faces = before.first, before.inverse, before.surface.faces
        vertices = corners[first]
        pose, scale = _placed(marker)
        if pose is not None:
            vertices = transform_points(pose, vertices * scale)
        red, green, blue, opacity = marker.colour
        surface = Surface(marker.index, marker.name, vertices, faces, (red, green, blue), opacity)
        if before is not None and _same(before.surface, surface):
            return before
        return _Known(first, inverse, surface)

    def _corners(self, marker: RawMarker) -> Array:
        if marker.frame != self._frame:
            raise InputError(
                f'surface {marker.name!r} is in frame {marker.frame!r}, expected {self._frame!r}', code='FRAME_MISMATCH'
            )
        if marker.kind != Marker.TRIANGLE_LIST:
            raise InputError(f'marker {marker.name!r}: type {marker.kind} is not TRIANGLE_LIST', code='ANATOMY_REFUSED')
        if not len(marker.points) or len(marker.points) % 3:
            raise InputError(
                f'marker {marker.name!r}: {len(marker.points)} points are no whole triangles', code='ANATOMY_REFUSED'
            )
        if not np.isfinite(marker.points).all():
            raise InputError(f'surface {marker.name!r} has NaN or Inf', code='NOT_FINITE')
        return np.asarray(marker.points, float)


def merge_corners(corners: Array) -> tuple[np.ndarray, np.ndarray]:
    """Find equal corners: the first of each (v,), and for each corner (n,) which it is.

    They are sorted by a 64-bit product of their coordinates' bits, and compared; should two differ that have the same
    product, by the coordinates themselves.
    """
    bits = np.ascontiguousarray(corners + 0.0, '<f8').view(np.uint64)  # -0.0 equals 0.0
    keys = (bits * _ODD).sum(axis=1, dtype=np.uint64)
    keys = (keys ^ (keys >> np.uint64(29))) * _ODD[0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(corners[first][inverse], corners):
        _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)


def _fits(before: _Known, corners: Array) -> bool:
    """Whether the same corners coincide as before."""
    return len(before.inverse) == len(corners) and np.array_equal(corners[before.first][before.inverse], corners)


def _placed(marker: RawMarker) -> tuple[Array | None, Array]:
    """The marker's pose and scale, None for the pose where neither moves anything."""
    if not (np.isfinite(marker.scale).all() and (marker.scale > 0.0).all()):
        raise InputError(
            f'marker {marker.name!r}: scale {marker.scale.tolist()} must be above 0', code='ANATOMY_REFUSED'
        )
    if not np.isfinite(marker.position).all():
        raise InputError(f'marker {marker.name!r}: its position has NaN or Inf', code='NOT_FINITE')
    quat = check_quaternion(tuple(marker.quat_xyzw.tolist()), name=f'marker {marker.name!r}')
    if not marker.position.any() and abs(quat[3]) == 1.0 and (marker.scale == 1.0).all():
        return None, marker.scale
    return make_transform(rotation_from_quat(quat), marker.position), marker.scale


def _same(before: Surface, now: Surface) -> bool:
    plain = (before.name, before.colour, before.opacity) == (now.name, now.colour, now.opacity)
    return plain and before.faces is now.faces and np.array_equal(before.vertices_anatomy, now.vertices_anatomy)
