"""The clock of ROS as nodes read it."""

from collections.abc import Callable

from rclpy.node import Node

from twin_nodes.ros.progress import is_replay


def clock_ns(node: Node) -> int:
    """Return the time of a node's clock [ns]."""
    return int(node.get_clock().now().nanoseconds)


def live_clock(node: Node) -> Callable[[], int | None]:
    """Return what tells the time [ns] that no stamp may be ahead of.

    In a replay it tells None: /clock then comes on a topic of its own and may be behind the samples.
    """
    if is_replay(node):
        return lambda: None
    return lambda: clock_ns(node)
