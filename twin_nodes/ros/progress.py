"""How far a node has come with the stamps of a replay, for those that need what it finds.

`<result>/progress` (sensor_msgs/TimeReference, latched, in replay only): header.stamp is the instant up to which all
samples were worked through, time_ref the stamp of the newest result, source the name of the node. A result on its own
topic may arrive later than this; the stamp of the newest one says whether any is still missing.
"""

from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import TimeReference

from twin_nodes.core.stamps import ALL_NS
from twin_nodes.ros.conversions import ns_to_stamp, stamp_to_ns
from twin_nodes.ros.qos import LATCHED


def is_replay(node: Node) -> bool:
    """Whether the node takes its time from /clock, as when a recording is replayed."""
    return bool(node.get_parameter('use_sim_time').value)


class ProgressOutput:
    """Says how far a node has come; silent when live.

    Args:
        node: The node.
        result: Topic of its results.
    """

    def __init__(self, node: Node, result: str) -> None:
        self._newest_ns = self._done_ns = 0
        self._source = node.get_name()
        self._publisher = (
            node.create_publisher(TimeReference, f'{result}/progress', LATCHED) if is_replay(node) else None
        )
        self.say(0)

    def result(self, stamp_ns: int) -> None:
        """Note the stamp of a result that was just published."""
        self._newest_ns = stamp_ns

    def say(self, done_ns: int) -> None:
        """Say that all samples up to a stamp have been worked through."""
        self._done_ns = done_ns
        if self._publisher is not None:
            message = TimeReference(time_ref=ns_to_stamp(self._newest_ns), source=self._source)
            message.header.stamp = ns_to_stamp(done_ns)
            self._publisher.publish(message)

    def begin(self, stamp_ns: int) -> None:
        """Say once that there is more, after the end."""
        if self._done_ns == ALL_NS:
            self.say(stamp_ns)

    def end(self) -> None:
        """Say once that nothing more will come of what was heard: the streams have ended, or pause."""
        if self._done_ns != ALL_NS:
            self.say(ALL_NS)

    def reset(self) -> None:
        """Begin again."""
        self._newest_ns = 0
        self.say(0)


def follow_progress(node: Node, result: str, on_progress: Callable[[int, int], None]) -> None:
    """Subscribe to the progress of a result, in replay only; the callback gets both stamps [ns]."""
    if is_replay(node):
        node.create_subscription(
            TimeReference,
            f'{result}/progress',
            lambda message: on_progress(stamp_to_ns(message.header.stamp), stamp_to_ns(message.time_ref)),
            LATCHED,
        )
