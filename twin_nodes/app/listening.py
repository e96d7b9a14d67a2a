"""A node that only listens for a while: behind `twin why`, `twin frames` and `twin doctor`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from twin_nodes.core.errors import InputError


class Listener:
    """A quiet node in a context of its own.

    Args:
        name: Node name; the process id is added, so that two may run at once.
    """

    def __init__(self, name: str) -> None:
        self._context = Context()
        rclpy.init(context=self._context, args=[])
        self.node = Node(
            f'{name}_{os.getpid()}', context=self._context, enable_rosout=False, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Listen for some seconds, or until a condition holds; returns whether it held."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            if until():
                return True
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return until()


def message_class(type_name: str) -> Any:
    """Import the class of a message type, such as 'geometry_msgs/msg/PoseStamped'.

    Raises:
        InputError: when its package is not installed.
    """
    package, _, name = type_name.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError):
        raise InputError(f'messages of type {type_name!r} are not installed; install package {package!r}') from None
