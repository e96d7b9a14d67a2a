"""`anatomy/surface` for nodes that measure to the structures as they were before the drill.

While a drill works, what is shown changes every second or two, and its hundred thousand points take longer to decode
than a pose lasts. What is gone comes on `anatomy/removed`; here a carved surface is told by its bytes and not decoded.
The same goes for a deformed one where `anatomy/surface/moved` says where it is.
"""

import struct
from collections.abc import Callable

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from visualization_msgs.msg import MarkerArray

from twin_nodes.ros.clouds import CUT
from twin_nodes.ros.deformed_surfaces import DEFORMED
from twin_nodes.ros.qos import LATCHED


def _as_cdr(text: str) -> bytes:
    return struct.pack('<I', len(text) + 1) + text.encode() + b'\0'


_CUT_TEXT, _DEFORMED_TEXT = _as_cdr(CUT), _as_cdr(DEFORMED)


class SurfaceFeed:
    """Hands on the surfaces, and of the carved ones only the first.

    Args:
        node: The node that listens.
        take: Called with each message that is handed on.
        is_moved: Whether the motion of deformed surfaces is known otherwise, so that these are left out too.
    """

    def __init__(
        self, node: Node, take: Callable[[MarkerArray], None], *, is_moved: Callable[[], bool] = lambda: False
    ) -> None:
        self._take, self._is_moved = take, is_moved
        self._heard = self._ambiguous = False
        node.create_subscription(MarkerArray, 'anatomy/surface', self._on_bytes, LATCHED, raw=True)

    def _on_bytes(self, data: bytes) -> None:
        known = _CUT_TEXT in data or (_DEFORMED_TEXT in data and self._is_moved())
        if self._heard and not self._ambiguous and known:
            return
        message = deserialize_message(data, MarkerArray)
        self._heard = True
        self._ambiguous = any(
            marker.ns in (CUT, DEFORMED) for marker in message.markers
        )  # the name would look like the text
        self._take(message)
