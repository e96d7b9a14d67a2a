"""The moving edges of an arm as the bytes of a TFMessage: ten edges at up to 1 kHz.

As messages they take 0.1 ms to be turned into bytes, each number by its own. Only stamps and numbers change, so the
bytes are made once and filled anew. The layout is that of plain CDR, as in `marker_bytes`.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS

_FRONT = 4  # bytes before the first value; alignment counts from their end
_STAMP, _NUMBERS = struct.Struct('<iI'), struct.Struct('<7d')


@dataclass(frozen=True, eq=False)
class _Layout:
    """The bytes of some edges, and where stamp and numbers of each stand in them."""

    data: bytearray
    places: tuple[tuple[int, int], ...]


class EdgeMessages:
    """Writes edges; keeps the layout of those that are sent together.

    Args:
        frame_of: Frame of a link.
    """

    def __init__(self, frame_of: Callable[[str], str]) -> None:
        self._frame_of = frame_of
        self._layouts: dict[tuple[tuple[str, str], ...], _Layout] = {}

    def fill(self, stamp_ns: int, edges: Iterable[tuple[str, str, Array]]) -> bytes:
        """Return the TFMessage of edges (parent, child, parent_T_child) at an instant, for `Publisher.publish`."""
        edges = tuple(edges)
        names = tuple((parent, child) for parent, child, _ in edges)
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layouts[names] = self._lay_out(names)
        seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
        for (stamp_at, numbers_at), (_, _, pose) in zip(layout.places, edges, strict=True):
            _STAMP.pack_into(layout.data, stamp_at, seconds, nanoseconds)
            _NUMBERS.pack_into(layout.data, numbers_at, *pose[:3, 3].tolist(), *quat_of(pose))
        return bytes(layout.data)

    def _lay_out(self, names: tuple[tuple[str, str], ...]) -> _Layout:
        places, at = [], 4  # after the number of edges
        message = TFMessage()
        for parent, child in names:
            edge = TransformStamped(child_frame_id=self._frame_of(child))
            edge.header.frame_id = self._frame_of(parent)
            message.transforms.append(edge)
            at = _aligned(at, 4)
            stamp_at, at = at, at + _STAMP.size
            for text in (edge.header.frame_id, edge.child_frame_id):
                at = _aligned(at, 4) + 4 + len(text.encode()) + 1
            at = _aligned(at, 8)
            places.append((_FRONT + stamp_at, _FRONT + at))
            at += _NUMBERS.size
        return _Layout(bytearray(serialize_message(message)), tuple(places))


def _aligned(at: int, size: int) -> int:
    return at + -at % size
