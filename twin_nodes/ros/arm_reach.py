"""The reach of an arm for the planning of routes: its kinematics, and where it stands in the anatomy, from tf."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.routes.reach import ReachConfig
from twin_nodes.ros.conversions import matrix_of
from twin_nodes.ros.health import OK, WARN, Health


class ArmPlace:
    """Where the base of an arm stands in the anatomy.

    Args:
        node: The node.
        health: Says why it is not known.
        config: The arm.
        anatomy_frame: Frame of the anatomy.
    """

    def __init__(self, node: Node, health: Health, config: ReachConfig, anatomy_frame: str) -> None:
        self._health, self._arm, self._anatomy = health, config.arm, anatomy_frame
        self._base = config.base_frame or f'{config.arm}_base'
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def look(self) -> Array | None:
        """Return anatomy_T_base, shape (4, 4), or None where tf does not know it."""
        try:
            edge = self._buffer.lookup_transform(self._anatomy, self._base, Time())
            pose = matrix_of(edge.transform.translation, edge.transform.rotation, name=self._base)
        except (TransformException, InputError) as error:
            self._health.set('arm', WARN, 'NOT_CALIBRATED', f'where {self._base} stands in the anatomy: {error}')
            return None
        self._health.set('arm', OK, 'OK', f'{self._arm} stands in the anatomy')
        return pose
