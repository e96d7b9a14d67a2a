"""`anatomy/surface` for nodes that measure to the structures as they were before the drill.

While a drill works, what is shown changes every second or two, and its hundred thousand points take longer to decode
than a pose lasts. What is gone comes on `anatomy/removed`; here a carved surface is told by its bytes and not decoded.
"""

import struct
from collections.abc import Callable

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from visualization_msgs.msg import MarkerArray

from twin_nodes.ros.clouds import CUT
from twin_nodes.ros.qos import LATCHED

_CUT_TEXT = struct.pack('<I', len(CUT) + 1) + CUT.encode() + b'\0'  # a string as CDR has it


class SurfaceFeed:
    """Hands on the surfaces, and of the carved ones only the first.

    Args:
        node: The node that listens.
        take: Called with each message that is handed on.
    """

    def __init__(self, node: Node, take: Callable[[MarkerArray], None]) -> None:
        self._take = take
        self._heard = self._ambiguous = False
        node.create_subscription(MarkerArray, 'anatomy/surface', self._on_bytes, LATCHED, raw=True)

    def _on_bytes(self, data: bytes) -> None:
        if self._heard and not self._ambiguous and _CUT_TEXT in data:
            return
        message = deserialize_message(data, MarkerArray)
        self._heard = True
        self._ambiguous = any(marker.ns == CUT for marker in message.markers)  # the name would look like the text
        self._take(message)
