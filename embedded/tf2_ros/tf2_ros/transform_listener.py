"""Fills a buffer from /tf and /tf_static."""

import contextlib
import threading
import time
import weakref

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_py.exceptions import TransformException

from .buffer import Buffer

DEFAULT_TF_TOPIC = '/tf'
DEFAULT_STATIC_TF_TOPIC = '/tf_static'
WARN_EVERY_S = 5.0
MAX_FRAMES_WARNED = 256
STOP_WITHIN_S = 5.0


class TransformListener:
    """Puts into a buffer what others broadcast; what must not go in is dropped, counted and warned of.

    Args:
        buffer: Where transforms go. A jump back of the node's clock clears it.
        node: The node that subscribes.
        spin_thread: Spin the node in a thread of its own.
        qos: QoS profile or depth for the moving transforms; reliable, volatile, depth 100 when not given.
        static_qos: QoS profile or depth for the static transforms; transient local, depth 100 when not given.
        tf_topic: Topic of the moving transforms.
        tf_static_topic: Topic of the static transforms.
    """

    def __init__(
        self,
        buffer: Buffer,
        node: Node,
        *,
        spin_thread: bool = False,
        qos: QoSProfile | int | None = None,
        static_qos: QoSProfile | int | None = None,
        tf_topic: str = DEFAULT_TF_TOPIC,
        tf_static_topic: str = DEFAULT_STATIC_TF_TOPIC,
    ) -> None:
        if qos is None:
            qos = QoSProfile(depth=100, durability=DurabilityPolicy.VOLATILE, history=HistoryPolicy.KEEP_LAST)
        if static_qos is None:
            static_qos = QoSProfile(
                depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST
            )
        self.buffer = buffer
        self.node = node
        self.dropped = 0
        self._warned: dict[str, float] = {}
        # so that a callback of the node which waits for a transform does not keep it out
        self.group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(TFMessage, tf_topic, self.callback, qos, callback_group=self.group)
        self.tf_static_sub = node.create_subscription(
            TFMessage, tf_static_topic, self.static_callback, static_qos, callback_group=self.group
        )
        if hasattr(buffer, 'watch_clock'):
            buffer.watch_clock(node.get_clock())
        if spin_thread:
            self._spin_in_thread()

    def _spin_in_thread(self) -> None:
        self.executor = executor = SingleThreadedExecutor(context=self.node.context)
        executor.add_node(self.node)

        def spin() -> None:
            with contextlib.suppress(ExternalShutdownException):
                executor.spin()

        self.dedicated_listener_thread = threading.Thread(target=spin, name='tf2_listener', daemon=True)
        self._stop_spinning = weakref.finalize(self, _stop, executor, self.dedicated_listener_thread)
        self.dedicated_listener_thread.start()

    def callback(self, data: TFMessage) -> None:
        """Take moving transforms in."""
        for transform in data.transforms:
            try:
                self.buffer.set_transform(transform, 'default_authority')
            except TransformException as error:
                self._drop(transform.child_frame_id, error, self.tf_sub.topic_name)

    def static_callback(self, data: TFMessage) -> None:
        """Take static transforms in."""
        for transform in data.transforms:
            try:
                self.buffer.set_transform_static(transform, 'default_authority')
            except TransformException as error:
                self._drop(transform.child_frame_id, error, self.tf_static_sub.topic_name)

    def _drop(self, frame: str, error: TransformException, topic: str) -> None:
        """Count a dropped transform; warn once in a while per frame, naming who publishes on the topic."""
        self.dropped += 1
        now = time.monotonic()
        if now - self._warned.get(frame, -WARN_EVERY_S) < WARN_EVERY_S:
            return
        if len(self._warned) >= MAX_FRAMES_WARNED:
            self._warned.clear()
        self._warned[frame] = now
        publishers = sorted({info.node_name for info in self.node.get_publishers_info_by_topic(topic)})
        self.node.get_logger().warning(
            f'Dropped a transform from {topic} (publishers: {", ".join(publishers) or "none any more"}): {error} '
            f'[{self.dropped} dropped so far]'
        )

    def unregister(self) -> None:
        """Stop listening."""
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)


def _stop(executor: SingleThreadedExecutor, thread: threading.Thread) -> None:
    """End the spinning thread: one that still waits in the middleware while Python ends takes the process down."""
    if thread is threading.current_thread():
        executor.shutdown(timeout_sec=0.0)
        return
    executor.shutdown(timeout_sec=STOP_WITHIN_S)
    thread.join(timeout=STOP_WITHIN_S)
