"""What robot_node tells of an arm from its model where the robot tells nothing, and the robot's operating state."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointSample
from twin_nodes.core.robot.statics import tip_from_space
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.conversions import pose_stamped
from twin_nodes.ros.crtk import (
    NO_CRTK_MSGS,
    CrtkOutput,
    crtk_messages,
    matrix_message,
    read_joints,
    six_stamped,
)
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.qos import latched

READY = 'ENABLED'


class ToldOfArm:
    """Topics of CRTK that the model can tell: tip and set point of the tip, its velocity, its Jacobians.

    measured_cp and setpoint_cp, in the frame of the base's place and below local/ in the base; measured_cv alike, where
    the robot sends joint velocities; body/jacobian and spatial/jacobian. Each one only where nobody else tells it.

    Args:
        node: The node.
        arm: Name of the arm.
        chain: Its joints.
        base_frame: Frame of its base.
        reader: Checks setpoint_js; one of its own, for its stamps.
        health: Counts what is refused.
        qos: Of what is told.
        taken: Of what is taken.
        at_once: Whether all is told from the start and whoever else does.
    """

    def __init__(
        self, node: Node, arm: str, chain: SerialChain, base_frame: str, *, reader: JointReader, health: Health,
        qos: QoSProfile, taken: QoSProfile, at_once: bool,
    ) -> None:  # fmt: skip
        self._node, self._arm, self._chain, self._base_frame = node, arm, chain, base_frame
        self._reader, self._health = reader, health
        self._now_ns = live_clock(node)
        self._place: tuple[str, Array] | None = None

        def output(kind: Any, topic: str) -> CrtkOutput:
            return CrtkOutput(node, kind, f'{arm}/{topic}', qos, at_once=at_once)

        self._outputs = {
            f'{space}{topic}': output(kind, f'{space}{topic}')
            for topic, kind in (
                ('measured_cp', PoseStamped),
                ('setpoint_cp', PoseStamped),
                ('measured_cv', TwistStamped),
            )
            for space in ('', 'local/')
        }
        self._jacobians = {space: output(Float64MultiArray, f'{space}jacobian') for space in ('body/', 'spatial/')}
        node.create_subscription(JointState, f'{arm}/setpoint_js', self._on_setpoint, taken)

    def say(self, sample: JointSample, base_T_tip: Array, place: tuple[str, Array] | None) -> None:
        """Tell what a joint state says of the tip.

        Args:
            sample: The joints.
            base_T_tip: The tip [m], shape (4, 4).
            place: Frame in which the base stands and frame_T_base, None where that is not known: then all is told in
                the base.
        """
        self._place = place
        self._say_pose('measured_cp', sample.stamp_ns, base_T_tip)
        if any([output.is_wanted for output in self._rates_told(sample)]):  # each one is asked, so that each one looks
            self._say_rates(sample, base_T_tip)

    def _rates_told(self, sample: JointSample) -> list[CrtkOutput]:
        twists = [self._outputs[topic] for topic in ('measured_cv', 'local/measured_cv')]
        return [*self._jacobians.values(), *(twists if sample.velocities is not None else [])]

    def _say_pose(self, topic: str, stamp_ns: int, base_T_tip: Array) -> None:
        frame, pose = self._base_frame, base_T_tip
        if self._place is not None:
            frame, pose = self._place[0], self._place[1] @ base_T_tip
        self._outputs[topic].send(pose_stamped(stamp_ns, frame, pose))
        self._outputs[f'local/{topic}'].send(pose_stamped(stamp_ns, self._base_frame, base_T_tip))

    def _say_rates(self, sample: JointSample, base_T_tip: Array) -> None:
        jacobian = self._chain.jacobian(sample.positions)
        turn = np.eye(3) if self._place is None else self._place[1][:3, :3]
        for space, output in self._jacobians.items():
            told = np.linalg.solve(tip_from_space(space, base_T_tip, turn), jacobian)
            output.send(matrix_message(np.asarray(told, float)))
        if sample.velocities is None:
            return
        twist = jacobian @ sample.velocities
        frames = {'': self._base_frame if self._place is None else self._place[0], 'local/': self._base_frame}
        for space, frame in frames.items():
            told = np.linalg.solve(tip_from_space(space, base_T_tip, turn), twist)
            self._outputs[f'{space}measured_cv'].send(six_stamped(TwistStamped, sample.stamp_ns, frame, told))

    def _on_setpoint(self, message: JointState) -> None:
        if not message.position:  # an arm that is moved by forces has no set point of its joints
            return
        if all(self._outputs[topic].others_speak for topic in ('setpoint_cp', 'local/setpoint_cp')):
            return
        try:
            sample = read_joints(message, self._reader, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'JOINTS_WRONG', f'{self._arm}/setpoint_js: {error}')
            return
        self._say_pose('setpoint_cp', sample.stamp_ns, self._chain.forward(sample.positions))


class OperatingState:
    """Says in the health what `<arm>/operating_state` says, where crtk_msgs is installed.

    Args:
        node: The node.
        health: Its health.
        arm: Name of the arm.
        replay: Whether a recording is replayed.
    """

    def __init__(self, node: Node, health: Health, arm: str, *, replay: bool) -> None:
        self._health, self._check = health, f'operating state {arm}'
        messages = crtk_messages()
        if messages is None:
            health.set(self._check, OK, 'CRTK_MSGS_ABSENT', NO_CRTK_MSGS)
            return
        topic = f'{arm}/operating_state'
        node.create_subscription(messages.OperatingState, topic, self.take, latched(replay=replay))

    def take(self, message: Any) -> None:
        """Take a message of crtk_msgs/OperatingState."""
        homed, busy = 'homed' if message.is_homed else 'not homed', ', busy' if message.is_busy else ''
        ready = message.state == READY and message.is_homed
        values = {'state': message.state, 'is_homed': int(message.is_homed), 'is_busy': int(message.is_busy)}
        level, code = (OK, 'OK') if ready else (WARN, 'ROBOT_STATE')
        self._health.set(self._check, level, code, f'{message.state}, {homed}{busy}', values)
