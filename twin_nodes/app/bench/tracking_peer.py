"""The peer of bench `tracking`: the same path made of pyigtl and rclpy, as pyigtl's README uses it.

`OpenIGTLinkClient.wait_for_message` per tool, without any pause of our own. pyigtl looks for a message every 10 ms,
keeps the newest of each device only and checks no CRC; there is no gate, no filter and no tf here, so it does less.
"""

import os
import sys

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import pyigtl
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from twin_nodes.app.bench.tracking_sender import POSITION_NOISE_M, ROTATION_NOISE_RAD, STAMP_STEP_NS, TOOLS
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.ros.qos import MEASUREMENT

_MM_PER_M = 1000.0


class Peer(Node):
    """Publishes the TRANSFORM messages of a server as `<tool>/filtered_cp`.

    Args:
        port: TCP port of the server on 127.0.0.1.
    """

    def __init__(self, port: int, **kwargs: object) -> None:
        super().__init__('bench_peer', **kwargs)
        self._client = pyigtl.OpenIGTLinkClient('127.0.0.1', port)
        self._publishers = {
            tool: self.create_publisher(PoseWithCovarianceStamped, f'{tool}/filtered_cp', MEASUREMENT) for tool in TOOLS
        }
        self._message = PoseWithCovarianceStamped()
        self._message.header.frame_id = 'tracker'
        variances = [POSITION_NOISE_M**2 / 3.0] * 3 + [ROTATION_NOISE_RAD**2 / 3.0] * 3
        for axis, variance in enumerate(variances):
            self._message.pose.covariance[7 * axis] = variance

    def run(self) -> None:
        """Pass messages on until shutdown."""
        while rclpy.ok():
            for tool in TOOLS:
                message = self._client.wait_for_message(tool, timeout=1.0)
                if message is not None:
                    self._publish(tool, message)

    def _publish(self, tool: str, transform: pyigtl.TransformMessage) -> None:
        stamp_ns = round(transform.timestamp * 1e9 / STAMP_STEP_NS) * STAMP_STEP_NS
        header, pose = self._message.header, self._message.pose.pose
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        x, y, z = (transform.matrix[:3, 3] / _MM_PER_M).tolist()
        pose.position.x, pose.position.y, pose.position.z = x, y, z
        orientation = pose.orientation
        orientation.x, orientation.y, orientation.z, orientation.w = quat_of(transform.matrix)
        self._publishers[tool].publish(self._message)


def main() -> None:
    """Run the peer: PORT, then ROS arguments."""
    rclpy.init()
    peer = Peer(int(sys.argv[1]))
    try:
        peer.run()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        peer.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
