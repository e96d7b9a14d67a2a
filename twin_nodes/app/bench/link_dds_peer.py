"""One of the two processes whose stock DDS crosses the emulated link: `near` gives commands, `far` takes them."""

import json
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.executors import Executor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

RATE_HZ = 200.0
DRAIN_S = 5.0  # Fast DDS repairs after its heartbeat of 3 s
DEADLINE_S = 40.0
# name: reliable, depth
TOPICS = {'best_effort': (False, 10), 'reliable': (True, 10), 'reliable_1000': (True, 1000)}


def main() -> None:
    """Run `near SECONDS` or `far`, and print when each command was given or came."""
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init()
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
    node = rclpy.create_node(f'bench_{sys.argv[1]}')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    times: dict[str, dict[int, float]] = {name: {} for name in TOPICS}
    if sys.argv[1] == 'far':

        def keep(name: str) -> object:
            return lambda message: times[name].setdefault(int(message.pose.position.x), time.monotonic())

        for name in TOPICS:
            node.create_subscription(PoseStamped, name, keep(name), _qos(name))
        while not stopped:
            executor.spin_once(timeout_sec=0.1)
    else:
        _give(node, executor, times, float(sys.argv[2]))
    print(json.dumps(times), flush=True)
    node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()


def _qos(name: str) -> 'QoSProfile':
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    reliable, depth = TOPICS[name]
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(reliability=policy, depth=depth)


def _give(node: 'Node', executor: 'Executor', times: dict[str, dict[int, float]], seconds: float) -> None:
    """Publish the same commands on all topics, once the other side is there."""
    from geometry_msgs.msg import PoseStamped

    publishers = {name: node.create_publisher(PoseStamped, name, _qos(name)) for name in TOPICS}
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and not all(each.get_subscription_count() for each in publishers.values()):
        executor.spin_once(timeout_sec=0.1)
    due = time.monotonic() + 1.0  # the other side's match takes another way
    for number in range(round(seconds * RATE_HZ)):
        due += 1.0 / RATE_HZ
        while (left := due - time.monotonic()) > 0.0:
            time.sleep(left)
        message = PoseStamped()
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = 'PSM1_base'
        message.pose.position.x, message.pose.orientation.w = float(number), 1.0
        for name, publisher in publishers.items():
            times[name][number] = time.monotonic()
            publisher.publish(message)
    time.sleep(DRAIN_S)


if __name__ == '__main__':
    main()
