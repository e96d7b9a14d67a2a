"""The CRTK topics of one simulated arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.simulate.psm import OperatingState, SimulatedArm, SimulatedArmConfig
from twin_nodes.ros.conversions import pose_from, pose_stamped
from twin_nodes.ros.crtk import crtk_messages, joint_state, read_joints
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.qos import LATCHED, MEASUREMENT

# no deadline or lifespan is asked of the sender: one that states none would not be heard at all
COMMAND_SUBSCRIPTION = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.VOLATILE,
)


class SimulatedArmTopics:
    """Publishes the state of a simulated arm and takes its commands, with the names and types of CRTK.

    Out: measured_js, setpoint_js, measured_cp and setpoint_cp in the reference frame and below local/ in the base,
    jaw/measured_js, jaw/setpoint_js, operating_state (with crtk_msgs), and truth/measured_cp, where the tip really is
    in the base. In: servo_jp, move_jp, servo_cp, move_cp, local/servo_cp, jaw/servo_jp, state_command (with crtk_msgs).

    Args:
        node: The node.
        health: Counts refused commands.
        name: Name of the arm.
        model: Its model.
        config: Its behaviour.
        rng: Draws its noise.
        reference: Frame of measured_cp.
        base: reference_T_base, shape (4, 4).
        takes_commands: Whether commands are taken; not while a script holds the arm.
    """

    def __init__(
        self, node: Node, health: Health, name: str, model: RobotModel, config: SimulatedArmConfig,
        rng: np.random.Generator, reference: str, base: Array, *, takes_commands: bool,
    ) -> None:  # fmt: skip
        self.name, self.base, self.simulated = name, base, SimulatedArm(model, config, rng)
        self._node, self._health, self._reference = node, health, reference
        self._base_frame = f'{name}_base'
        # joint limits are those of the controller, and a command is fresh or nothing
        self._reader = JointReader(self.simulated.chain, JointsConfig(angle_margin=0.0, length_margin=0.0), arm=name)
        self._joints = self._publishers(JointState, 'measured_js', 'setpoint_js', 'jaw/measured_js', 'jaw/setpoint_js')
        self._poses = self._publishers(
            PoseStamped, 'measured_cp', 'setpoint_cp', 'local/measured_cp', 'local/setpoint_cp', 'truth/measured_cp'
        )
        self._messages = crtk_messages()
        self._said: tuple[OperatingState, bool, bool] | None = None
        self._operating = self._operating_output()
        if takes_commands:
            self._listen()

    def _publishers(self, kind: Any, *topics: str) -> dict[str, Any]:
        return {topic: self._node.create_publisher(kind, f'{self.name}/{topic}', MEASUREMENT) for topic in topics}

    def _operating_output(self) -> Any:
        if self._messages is None:
            return None
        self._node.create_subscription(
            self._messages.StringStamped, f'{self.name}/state_command',
            self._guarded(lambda message: self.simulated.command(message.string)), MEASUREMENT,
        )  # fmt: skip
        return self._node.create_publisher(self._messages.OperatingState, f'{self.name}/operating_state', LATCHED)

    def _listen(self) -> None:
        takers: tuple[tuple[Any, str, Callable[[Any], None]], ...] = (
            (JointState, 'servo_jp', self._servo_jp),
            (JointState, 'move_jp', self._servo_jp),
            (PoseStamped, 'servo_cp', lambda message: self._servo_cp(message, local=False)),
            (PoseStamped, 'move_cp', lambda message: self._servo_cp(message, local=False)),
            (PoseStamped, 'local/servo_cp', lambda message: self._servo_cp(message, local=True)),
            (JointState, 'jaw/servo_jp', self._servo_jaw),
        )
        for kind, topic, take in takers:
            self._node.create_subscription(kind, f'{self.name}/{topic}', self._guarded(take), COMMAND_SUBSCRIPTION)

    def _guarded(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            try:
                take(message)
            except InputError as error:
                self._health.warn(error.code or 'JOINTS_WRONG', f'{self.name}: {error}')
                self._health.set(f'arm {self.name}', WARN, error.code or 'JOINTS_WRONG', str(error))
            else:
                self._health.set(f'arm {self.name}', OK, 'OK', 'follows commands')

        return on_message

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _servo_jp(self, message: JointState) -> None:
        if not message.name:  # clients of CRTK send positions alone, in the order of measured_js
            message.name = list(self.simulated.chain.names)
        self.simulated.servo_jp(read_joints(message, self._reader, now_ns=self._now_ns()).positions)

    def _servo_cp(self, message: PoseStamped, *, local: bool) -> None:
        frame = self._base_frame if local else self._reference
        said = bool(message.header.frame_id)  # clients of CRTK leave it out: the topic says the frame
        pose = pose_from(message, frame=frame if said else None, now_ns=self._now_ns()).pose
        self.simulated.servo_cp(pose if local else inverse(self.base) @ pose)

    def _servo_jaw(self, message: JointState) -> None:
        if len(message.position) != 1:
            raise InputError(f'jaw/servo_jp has {len(message.position)} positions, expected 1', code='JOINTS_WRONG')
        self.simulated.servo_jaw(float(message.position[0]))

    def publish(self, stamp_ns: int) -> None:
        """Publish the state at an instant; all stamps are the same, as CRTK asks."""
        arm, names = self.simulated, self.simulated.chain.names
        measured = arm.measured_js()
        local, setpoint = arm.measured_cp(measured), arm.chain.forward(arm.setpoint)
        base, reference = self._base_frame, self._reference
        joints = {
            'measured_js': joint_state(stamp_ns, reference, names, measured, arm.velocity),
            'setpoint_js': joint_state(stamp_ns, reference, names, arm.setpoint),
            'jaw/measured_js': joint_state(stamp_ns, reference, ('jaw',), [arm.jaw]),
            'jaw/setpoint_js': joint_state(stamp_ns, reference, ('jaw',), [arm.jaw_goal]),
        }
        poses = {
            'local/measured_cp': pose_stamped(stamp_ns, base, local),
            'local/setpoint_cp': pose_stamped(stamp_ns, base, setpoint),
            'measured_cp': pose_stamped(stamp_ns, reference, self.base @ local),
            'setpoint_cp': pose_stamped(stamp_ns, reference, self.base @ setpoint),
            'truth/measured_cp': pose_stamped(stamp_ns, base, arm.true_tip()),
        }
        for publishers, messages in ((self._joints, joints), (self._poses, poses)):
            for topic, message in messages.items():
                publishers[topic].publish(message)
        self._say_state(stamp_ns, base)

    def _say_state(self, stamp_ns: int, frame: str) -> None:
        arm = self.simulated
        now = (arm.state, arm.is_homed, arm.is_busy)
        if self._operating is None or self._messages is None or now == self._said:
            return
        self._said = now
        message = self._messages.OperatingState(state=str(arm.state), is_homed=arm.is_homed, is_busy=arm.is_busy)
        message.header = pose_stamped(stamp_ns, frame, np.eye(4)).header
        self._operating.publish(message)
