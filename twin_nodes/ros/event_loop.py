"""rclpy's EventsExecutor around one node: half the processor time of the wait set, and the order in which things came.

What it lacks in rclpy 9.1.2 is put right here: an exception of a callback leaves the other messages of its event in the
queue, a callback with `MessageInfo` is handed one tuple, signals do not end a wait, and publishers that are destroyed
while it listens to their events bring the process down (ros2/rclpy issue 1644).
"""

import contextlib
import os
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from twin_nodes.ros.progress import is_replay

try:
    from rclpy.experimental.events_executor import EventsExecutor
except ImportError:  # ROS 2 before Kilted
    EventsExecutor = None  # type: ignore[assignment]
ENDS = (KeyboardInterrupt, ExternalShutdownException)
WAIT_S = 0.1  # a signal is seen after this at the latest


class EventLoop:
    """Calls back what a node has when it is made; what it makes later is served too, but its errors end `spin_once`.

    Args:
        node: The node; not simulated time, which a replay needs in the order of the wait set.
        on_error: Called with each exception that a callback raises; None lets it come out of `spin_once`.
    """

    def __init__(self, node: Node, on_error: Callable[[Exception], None] | None = None) -> None:
        self._on_error = on_error
        self._raised: BaseException | None = None
        self._executor = EventsExecutor(context=node.context)
        self.add_node(node)

    def add_node(self, node: Node) -> None:
        """Serve another node too."""
        for entity in [*node.subscriptions, *node.timers]:  # a service that fails must give no answer: it is left as is
            self._guard(entity)
        self._executor.add_node(node)
        self._executor.spin_once(0.0)  # takes up what the node has: the threads of its timers are there from now on

    @staticmethod
    def serves(node: Node) -> bool:
        """Whether there is this loop, the node lives in real time, and nobody asks for the wait set."""
        if EventsExecutor is None or os.environ.get('TWIN_EXECUTOR') == 'wait_set':
            return False
        return not is_replay(node)

    def _guard(self, entity: Any) -> None:
        callback = entity.callback

        @wraps(callback)  # its parameters say whether MessageInfo is wanted
        def guarded(*args: Any) -> None:
            try:
                callback(*(args[0] if args and type(args[0]) is tuple else args))
            except BaseException as error:
                if self._on_error is not None and not isinstance(error, ENDS) and isinstance(error, Exception):
                    self._on_error(error)
                else:
                    self._raised = error

        entity.callback = guarded

    def spin_once(self, timeout_sec: float = WAIT_S) -> None:
        """Wait for an event and call back.

        Args:
            timeout_sec: How long to wait [s].

        Raises:
            KeyboardInterrupt: one came while a callback ran, or while it waited.
            Exception: of a callback, where `on_error` is None.
        """
        self._executor.spin_once(timeout_sec)
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def end_on_interrupt(self) -> None:
        """Let Ctrl-C end the wait instead of raising in whatever Python runs: the executor would call that fatal.

        A second one raises, where a callback does not come to its end.
        """
        with contextlib.suppress(ValueError):  # not the main thread: signals are not ours
            signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self._raised = KeyboardInterrupt()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def shutdown(self) -> None:
        """Listen to nothing any more; call this before the node is destroyed."""
        self._executor.shutdown()


class WaitSet:
    """The executor of a node that need not be prompt, and of every replay."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor | None = None) -> None:
        self._executor = executor if executor is not None else SingleThreadedExecutor()
        self._executor.add_node(node)
        self.add_node = self._executor.add_node
        self.spin_once = self._executor.spin_once
        self.shutdown = self._executor.shutdown
