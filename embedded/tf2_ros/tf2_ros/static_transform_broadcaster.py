"""Sends static transforms on /tf_static, latched."""

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from .transform_broadcaster import as_list


class StaticTransformBroadcaster:
    """Publishes transforms that hold at all times; who comes late gets them too.

    Args:
        node: The node that publishes.
        qos: QoS profile or depth; transient local, depth 1 when not given.
    """

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST)
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', qos)
        self._transforms: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish all static transforms sent so far with these; a frame sent again takes its new place."""
        for one in as_list(transform):
            self._transforms[one.child_frame_id] = one
        self.pub_tf.publish(TFMessage(transforms=list(self._transforms.values())))
