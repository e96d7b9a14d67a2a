"""The bare hop of bench `tracking`: a publisher with nothing before it, for what the middleware alone takes.

A process of its own. It reads one JSON object per line on stdin and answers each with one on stdout, as the sender.
"""

import json
import os
import sys
import time

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node

from twin_nodes.app.bench.tracking_sender import STAMP_STEP_NS, TOOLS, Sent
from twin_nodes.ros.qos import MEASUREMENT


class Hop(Node):
    """Publishes one pose per tool, again and again."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('bench_hop', **kwargs)
        self._publishers = [
            self.create_publisher(PoseWithCovarianceStamped, f'{tool}/filtered_cp', MEASUREMENT) for tool in TOOLS
        ]

    def stream(self, rate_hz: float, seconds: float) -> Sent:
        """Publish the tools in bursts at absolute times; `sent_ns` is the instant before the first of a burst."""
        sent = Sent(accepted_ns=time.monotonic_ns())
        to_ros_ns = time.time_ns() - sent.accepted_ns
        message = PoseWithCovarianceStamped()
        for number in range(round(rate_hz * seconds)):
            due_ns = sent.accepted_ns + round(number / rate_hz * 1e9)
            time.sleep(max(0.0, (due_ns - time.monotonic_ns()) * 1e-9))
            stamp_ns = (due_ns + to_ros_ns) // STAMP_STEP_NS * STAMP_STEP_NS
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
            sent.stamps_ns.append(stamp_ns)
            sent.sent_ns.append(time.monotonic_ns())
            for publisher in self._publishers:
                publisher.publish(message)
        return sent


def main() -> None:
    """Serve the commands of the bench until stdin ends."""
    rclpy.init()
    hop = Hop(enable_rosout=False, start_parameter_services=False)
    print(json.dumps({'ready': True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(vars(hop.stream(command['rate_hz'], command['seconds']))), flush=True)
    hop.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
