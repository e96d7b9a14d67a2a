"""`MarkerArray` read from the bytes that came over the wire, its points as an array.

A surface of 20 000 triangles has 60 000 corners: as `Point` objects they take 40 ms to make, as a view of the bytes
nothing. The layout is that of plain CDR (OMG DDSI-RTPS 2.5, section 10, and DDS-XTypes 1.3, section 7.4.1): each value
is aligned to its size, counted from the end of the four bytes in front.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_ORDERS = {b'\x00\x00': '>', b'\x00\x01': '<'}  # plain CDR, big-endian and little-endian
_MAX_MARKERS = 10_000


@dataclass(frozen=True, eq=False)
class RawMarker:
    """What a surface or a line needs of a Marker.

    Args:
        stamp_ns: Stamp of its header.
        frame: Frame of its header.
        name: Its `ns`.
        index: Its `id`.
        kind: Its `type`.
        action: Its action.
        position: Of its pose [m], shape (3,).
        quat_xyzw: Of its pose, shape (4,).
        scale: Shape (3,).
        colour: Red, green, blue, opacity in [0, 1].
        points: In the frame of its pose, unscaled, shape (n, 3); a view of the bytes.
        text: Its text.
    """

    stamp_ns: int
    frame: str
    name: str
    index: int
    kind: int
    action: int
    position: Array
    quat_xyzw: Array
    scale: Array
    colour: tuple[float, float, float, float]
    points: Array
    text: str


class _Reader:
    """Takes values off the front, each aligned to its size."""

    def __init__(self, data: bytes) -> None:
        order = _ORDERS.get(bytes(data[:2]))
        if order is None or len(data) < 4:
            raise InputError(f'MarkerArray: the encoding {bytes(data[:2]).hex()} is not plain CDR', code='PROTOCOL')
        self._data, self._order, self._at = memoryview(data)[4:], order, 0

    def _take(self, size: int, align: int) -> int:
        start = self._at + -self._at % align
        if size < 0 or start + size > len(self._data):
            raise InputError(
                f'MarkerArray: {size} bytes at byte {start} are wanted of {len(self._data)}: the message is cut',
                code='PROTOCOL',
            )
        self._at = start + size
        return start

    def unpack(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        size = struct.calcsize(kind)
        return struct.unpack_from(f'{self._order}{count}{kind}', self._data, self._take(size * count, size))

    def count(self) -> int:
        return int(self.unpack('I')[0])

    def text(self) -> str:
        size = self.count()
        start = self._take(size, 1)
        return bytes(self._data[start : start + max(size - 1, 0)]).decode(errors='replace')

    def array(self, count: int, kind: str) -> np.ndarray:
        dtype = np.dtype(self._order + kind)
        if not count:
            return np.empty(0, dtype)
        start = self._take(count * dtype.itemsize, dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, start)


def read_markers(data: bytes) -> list[RawMarker]:
    """Read a serialised MarkerArray.

    Raises:
        InputError: PROTOCOL for bytes that are none.
    """
    reader = _Reader(data)
    count = reader.count()
    if count > _MAX_MARKERS:
        raise InputError(f'MarkerArray: {count} markers are above the limit of {_MAX_MARKERS}', code='PROTOCOL')
    return [_marker(reader) for _ in range(count)]


def _marker(reader: _Reader) -> RawMarker:
    stamp_ns, frame = _header(reader)
    name = reader.text()
    index, kind, action = reader.unpack('i', 3)
    pose = np.array(reader.unpack('d', 7))
    scale = np.array(reader.unpack('d', 3))
    red, green, blue, opacity = reader.unpack('f', 4)
    reader.unpack('i'), reader.unpack('I'), reader.unpack('B')  # lifetime, frame_locked
    points = reader.array(3 * reader.count(), 'f8').reshape(-1, 3)
    reader.array(4 * reader.count(), 'f4')  # colours of corners
    reader.text()  # texture
    _header(reader)
    reader.text()
    reader.array(reader.count(), 'u1')
    reader.array(2 * reader.count(), 'f4')  # places in the texture
    text = reader.text()
    reader.text()  # mesh
    reader.text()
    reader.array(reader.count(), 'u1')
    reader.unpack('B')
    colour = (red, green, blue, opacity)
    return RawMarker(stamp_ns, frame, name, index, kind, action, pose[:3], pose[3:], scale, colour, points, text)


def _header(reader: _Reader) -> tuple[int, str]:
    seconds, nanoseconds = reader.unpack('i')[0], reader.unpack('I')[0]
    return seconds * NANOSECONDS + nanoseconds, reader.text()
