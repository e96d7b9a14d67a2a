"""The listener of bench `tracking`: notes when each `filtered_cp` reached a callback, in a process of its own.

It reads one JSON object per line on stdin and answers each with all that came since the last.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from twin_nodes.app.bench.tracking_sender import TOOLS
from twin_nodes.ros.conversions import stamp_to_ns

# best effort as our subscribers are, but deep: a stall of this process must show as time, not as a loss
LISTENING = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=1000)

Arrival = tuple[str, str, int, int]  # namespace, tool, stamp_ns, monotonic ns


class Receiver(Node):
    """Subscribes to `<namespace>/<tool>/filtered_cp` of several twins of the same path.

    Args:
        namespaces: Of the twins.
    """

    def __init__(self, namespaces: list[str], **kwargs: object) -> None:
        super().__init__('bench_receiver', **kwargs)
        self._arrivals: list[Arrival] = []
        for namespace in namespaces:
            for tool in TOOLS:
                topic = f'/{namespace}/{tool}/filtered_cp'
                self.create_subscription(PoseWithCovarianceStamped, topic, self._on_pose(namespace, tool), LISTENING)

    def _on_pose(self, namespace: str, tool: str) -> Callable[[PoseWithCovarianceStamped], None]:
        def note(message: PoseWithCovarianceStamped) -> None:
            now_ns = time.monotonic_ns()
            self._arrivals.append((namespace, tool, stamp_to_ns(message.header.stamp), now_ns))

        return note

    def take(self) -> list[Arrival]:
        """Return what came since the last call."""
        taken, self._arrivals = self._arrivals, []
        return taken


def _answer(receiver: Receiver) -> None:
    for _ in sys.stdin:
        print(json.dumps({'arrivals': receiver.take()}), flush=True)
    rclpy.try_shutdown()


def main() -> None:
    """Listen until stdin ends."""
    rclpy.init()
    receiver = Receiver(sys.argv[1:], enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(receiver)
    print(json.dumps({'ready': True}), flush=True)
    threading.Thread(target=_answer, args=(receiver,), daemon=True).start()
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        receiver.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
