"""The moving edges of an arm as messages that are made once and filled anew: ten edges at hundreds of hertz."""

from collections.abc import Callable, Iterable

from geometry_msgs.msg import TransformStamped

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS


class EdgeMessages:
    """Keeps one message for each edge.

    Args:
        frame_of: Frame of a link.
    """

    def __init__(self, frame_of: Callable[[str], str]) -> None:
        self._frame_of = frame_of
        self._messages: dict[str, TransformStamped] = {}

    def fill(self, stamp_ns: int, edges: Iterable[tuple[str, str, Array]]) -> list[TransformStamped]:
        """Return the messages of edges (parent, child, parent_T_child) at an instant; valid until the next call."""
        seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
        filled = []
        for parent, child, pose in edges:
            message = self._messages.get(child)
            if message is None:
                message = self._messages[child] = TransformStamped(child_frame_id=self._frame_of(child))
                message.header.frame_id = self._frame_of(parent)
            message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
            translation, rotation = message.transform.translation, message.transform.rotation
            translation.x, translation.y, translation.z = pose[:3, 3].tolist()
            rotation.x, rotation.y, rotation.z, rotation.w = quat_of(pose)
            filled.append(message)
        return filled
