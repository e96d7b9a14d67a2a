"""Noticing that time jumped back, as when a bag begins again."""

from collections.abc import Callable

from rclpy.clock import JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node


def on_jump_back(node: Node, forget: Callable[[], None]) -> JumpHandle:
    """Call `forget` whenever the clock of a node goes back; keep the handle as long as that shall hold."""
    any_step_back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
    return node.get_clock().create_jump_callback(any_step_back, post_callback=lambda _jump: forget())
