"""Publishes the poses of one tool; messages are made once and filled anew, for 4 tools at 400 Hz."""

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from rclpy.node import Node

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.qos import measurement


class PoseOutput:
    """`<tool>/measured_cp`, `<tool>/filtered_cp` and the tool's edge on tf.

    Attribute `sigma` holds the standard deviation of the last filtered position [m], root of the trace.

    Args:
        node: The publishing node.
        tool: Name of the tool: topic prefix and child frame.
        frame: Parent frame, the tracker.
        replay: Whether a recording is replayed, so that no pose may be lost.
    """

    def __init__(self, node: Node, tool: str, frame: str, *, replay: bool = False) -> None:
        self.sigma = 0.0
        self._measured = PoseStamped()
        self._filtered = PoseWithCovarianceStamped()
        self._edge = TransformStamped(child_frame_id=tool)
        for message in (self._measured, self._filtered, self._edge):
            message.header.frame_id = frame
        qos = measurement(replay=replay)
        self._publishers = (
            node.create_publisher(PoseStamped, f'{tool}/measured_cp', qos),
            node.create_publisher(PoseWithCovarianceStamped, f'{tool}/filtered_cp', qos),
        )
        self._publish_measured, self._publish_filtered = (publisher.publish for publisher in self._publishers)

    def listeners(self) -> tuple[int, int]:
        """Return how many subscribers of the measured and of the filtered pose are connected."""
        measured, filtered = self._publishers
        return measured.get_subscription_count(), filtered.get_subscription_count()

    def publish_measured(self, stamp_ns: int, tracker_T_tool: Array) -> None:
        """Publish the pose as measured."""
        _stamp(self._measured.header.stamp, stamp_ns)
        _fill(self._measured.pose.position, self._measured.pose.orientation, tracker_T_tool)
        self._publish_measured(self._measured)

    def publish_filtered(self, stamp_ns: int, tracker_T_tool: Array, covariance: Array) -> TransformStamped:
        """Publish the filtered pose and return its edge for tf."""
        message, edge = self._filtered, self._edge
        _stamp(message.header.stamp, stamp_ns)
        _fill(message.pose.pose.position, message.pose.pose.orientation, tracker_T_tool)
        message.pose.covariance = np.ascontiguousarray(covariance, dtype=np.float64).reshape(36)
        self.sigma = float(covariance[0, 0] + covariance[1, 1] + covariance[2, 2]) ** 0.5
        self._publish_filtered(message)
        edge.header.stamp = message.header.stamp
        edge.transform.rotation = message.pose.pose.orientation
        position, translation = message.pose.pose.position, edge.transform.translation
        translation.x, translation.y, translation.z = position.x, position.y, position.z
        return edge


def _stamp(stamp: Any, stamp_ns: int) -> None:
    stamp.sec, stamp.nanosec = divmod(stamp_ns, NANOSECONDS)


def _fill(position: Any, orientation: Any, pose: Array) -> None:
    position.x, position.y, position.z = pose[0, 3].item(), pose[1, 3].item(), pose[2, 3].item()
    orientation.x, orientation.y, orientation.z, orientation.w = quat_of(pose)
