"""The leader's side of compensation_node: the hand in, commands for the bridge and the predicted robot out."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_ros import TransformBroadcaster

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_from_quat
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Quaternion, Vector
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.nodes.compensation_follower import SAID
from twin_nodes.ros.compensation_messages import (
    ACTIONS,
    BACKLOG_PER_MESSAGE,
    backlog_message,
    command_message,
    pose_message,
    state_from,
)
from twin_nodes.ros.conversions import pose_from, quat_of, transform_stamped
from twin_nodes.ros.health import ERROR, WARN, Health
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION, command

if TYPE_CHECKING:
    from twin_nodes.nodes.compensation_node import CompensationNodeConfig

Input = tuple[type[Any], str, Callable[[Any], None], QoSProfile]
_SILENT_NS = 300_000_000


class LeaderSide:
    """Makes commands of the hand; begins when the follower has said where the robot stands.

    Args:
        node: The node.
        config: Its settings.
    """

    def __init__(self, node: Node, config: 'CompensationNodeConfig') -> None:
        self._node, self._config = node, config
        self._health: Health = node.health  # type: ignore[attr-defined]
        self.leader: Leader | None = None
        self._hand: tuple[int, Vector, Quaternion] | None = None
        self._jaw = 1.0
        self._state_ns = 0
        self._silent_ns = round(config.hand_silent * NANOSECONDS)
        arm = config.arm
        qos = command(1.0 / config.rate)
        self._command = node.create_publisher(JointState, f'{arm}/compensation/command_js', qos)
        self._backlog = node.create_publisher(JointState, f'{arm}/compensation/backlog_js', qos)
        self._predicted = node.create_publisher(PoseStamped, f'{arm}/predicted_cp', MEASUREMENT)
        self._mode = node.create_publisher(String, f'{arm}/compensation/mode', LATCHED)
        self._tf = TransformBroadcaster(node)
        self._said = ''
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / config.rate, self.tick, clock=steady)
        self._health.set('mode', WARN, 'ROBOT_SILENT', 'waits for the follower')

    def inputs(self) -> list[Input]:
        """Return what to subscribe to."""
        arm = self._config.arm
        return [
            (PoseStamped, self._config.hand, self.on_hand, MEASUREMENT_SUBSCRIPTION),
            (JointState, self._config.hand_jaw, self.on_jaw, MEASUREMENT_SUBSCRIPTION),
            (JointState, f'{arm}/compensation/state_js', self.on_state, COMMAND_SUBSCRIPTION),
            (String, f'{arm}/compensation/resume', self.on_resume, MEASUREMENT),
        ]

    def _ros_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def on_hand(self, message: PoseStamped) -> None:
        """Take where the hand is."""
        try:
            pose = pose_from(message, frame=None).pose
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        x, y, z = pose[:3, 3].tolist()
        self._hand = (time.monotonic_ns(), (x, y, z), quat_of(pose))

    def on_jaw(self, message: JointState) -> None:
        """Take what the hand asks of the jaw."""
        if len(message.position) == 1 and -10.0 < message.position[0] < 10.0:
            self._jaw = message.position[0]
        else:
            self._health.warn('JOINTS_WRONG', f'{self._config.hand_jaw}: expected one position')

    def on_state(self, message: JointState) -> None:
        """Take how the follower stands."""
        now_ns = time.monotonic_ns()
        try:
            state = state_from(message, now_ns, self._ros_ns())
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self._state_ns = now_ns
        if self.leader is None:
            self.leader = Leader(self._config.leader, state.position)
        self.leader.feedback(state, now_ns)

    def on_resume(self, message: String) -> None:
        """Pass on what the operator asks for."""
        if self.leader is None or message.data not in ACTIONS[1:]:
            text = f'{message.data!r} is none of {", ".join(ACTIONS[1:])}, or the follower is not there yet'
            self._health.warn('PROTOCOL', text)
            return
        self.leader.request(message.data)

    def tick(self) -> None:
        """Send the command of now, and show the predicted robot."""
        now_ns, ros_ns = time.monotonic_ns(), self._ros_ns()
        if self.leader is not None and self._hand is not None and now_ns - self._hand[0] <= self._silent_ns:
            _, position, quat = self._hand
            made = self.leader.command(now_ns, position, quat_xyzw=quat, jaw=self._jaw)
            self._command.publish(command_message(made, ros_ns))
            _, backlog = self.leader.packet()
            for at in range(0, len(backlog), BACKLOG_PER_MESSAGE):
                part = backlog[at : at + BACKLOG_PER_MESSAGE]
                self._backlog.publish(backlog_message(part, ros_ns, now_ns))
            self._show(ros_ns, quat)
        self._say(now_ns)

    def _show(self, ros_ns: int, quat: Quaternion) -> None:
        assert self.leader is not None
        at, frame = self.leader.predicted(), self._config.base_frame
        self._predicted.publish(pose_message(ros_ns, frame, at, quat))
        pose = make_transform(rotation_from_quat(quat), at)
        self._tf.sendTransform(transform_stamped(ros_ns, frame, f'{self._config.arm}_predicted', pose))

    def _say(self, now_ns: int) -> None:
        if self.leader is None or self.leader.state is None:
            return
        silent = now_ns - self._state_ns > _SILENT_NS
        mode = 'outage' if silent else self.leader.state.mode
        if mode == self._said:
            return
        self._said = mode
        self._mode.publish(String(data=mode))
        level, code, text = (ERROR, 'LINK_LOST', 'the follower is silent') if silent else SAID[Mode(mode)]
        values = {'mode': mode, 'delay_ms': 1e3 * self.leader.delay, 'scale': self.leader.scaler.scale,
                  'backlog_s': self.leader.state.backlog}  # fmt: skip
        self._health.set('mode', level, code, text, values)
