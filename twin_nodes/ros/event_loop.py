"""rclpy's EventsExecutor around one node: half the processor time of the wait set, and the order in which things came.

What it lacks in rclpy 9.1.2 is put right here: an exception of a callback leaves the other messages of its event in the
queue, a callback with `MessageInfo` is handed one tuple, signals do not end a wait, and publishers that are destroyed
while it listens to their events bring the process down (ros2/rclpy issue 1644).
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.subscription import Subscription

try:
    from rclpy.experimental.events_executor import EventsExecutor
except ImportError:  # ROS 2 before Kilted
    EventsExecutor = None  # type: ignore[assignment]
WAIT_S = 0.1  # a signal is seen after this at the latest


class EventLoop:
    """Calls back what a node has when it is made; what it makes later is served too, but its errors end `spin_once`.

    Args:
        node: The node; not simulated time, which a replay needs in the order of the wait set.
        on_error: Called with each exception that a callback raises.
    """

    def __init__(self, node: Node, on_error: Callable[[Exception], None]) -> None:
        self._on_error, self._interrupted = on_error, False
        for entity in (
            *node.subscriptions,
            *node.timers,
        ):  # of a service the error must come out: no answer is sent then
            self._guard(entity)
        self._executor = EventsExecutor(context=node.context)
        self._executor.add_node(node)
        self._executor.spin_once(0.0)  # takes up what the node has: the threads of its timers are there from now on

    @staticmethod
    def serves(node: Node) -> bool:
        """Whether a node has only what this loop can call back, and the environment does not ask for the wait set."""
        if EventsExecutor is None or os.environ.get('TWIN_EXECUTOR') == 'wait_set':
            return False
        with_info = Subscription.CallbackType.WithMessageInfo
        simulated = node.get_parameter('use_sim_time').value
        return not simulated and not any(one._callback_type is with_info for one in node.subscriptions)

    def _guard(self, entity: Any) -> None:
        callback = entity.callback

        @wraps(callback)
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except (KeyboardInterrupt, ExternalShutdownException):
                self._interrupted = True
            except Exception as error:
                self._on_error(error)

        entity.callback = guarded

    def spin_once(self) -> None:
        """Wait for an event and call back.

        Raises:
            KeyboardInterrupt: one came while a callback ran, or while it waited.
        """
        self._executor.spin_once(WAIT_S)
        if self._interrupted:
            raise KeyboardInterrupt

    def shutdown(self) -> None:
        """Listen to nothing any more; call this before the node is destroyed."""
        self._executor.shutdown()
