"""The CRTK topics of one simulated arm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.simulate.psm import OperatingState, SimulatedArm, SimulatedArmConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_stamped
from twin_nodes.ros.crtk import CrtkPoseInput, crtk_messages, joint_state, read_joints
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.qos import LATCHED, MEASUREMENT

# no deadline or lifespan is asked of the sender: one that states none would not be heard at all
COMMAND_SUBSCRIPTION = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.VOLATILE,
)


def check_age(stamp_ns: int, now_ns: int, limit: float) -> None:
    """Refuse a command that is not fresh, as that for joints: the arm would jump back to where a hand once was.

    Raises:
        InputError: STAMP_STALE.
    """
    age = (now_ns - stamp_ns) / NANOSECONDS
    if age > limit:
        raise InputError(f'stamp is {age:.3f} s old, limit {limit} s', code='STAMP_STALE')


class SimulatedArmTopics:
    """Publishes the state of a simulated arm and takes its commands, with the names and types of CRTK.

    Out: measured_js, setpoint_js, goal_js, measured_cp, setpoint_cp and measured_cv in the reference frame and below
    local/ in the base, jaw/measured_js, jaw/setpoint_js, operating_state (with crtk_msgs), and truth/measured_cp, where
    the tip really is in the base. In: servo_, interpolate_ and move_ of jp, cp, local/…_cp and jaw/…_jp, poses also as
    TransformStamped of older stacks; state_command (with crtk_msgs).

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
        max_age: Older commands are refused [s].
    """

    def __init__(
        self, node: Node, health: Health, name: str, model: RobotModel, config: SimulatedArmConfig,
        rng: np.random.Generator, reference: str, base: Array, *, takes_commands: bool,
        max_age: float,
    ) -> None:  # fmt: skip
        self.name, self.base, self.simulated = name, base, SimulatedArm(model, config, rng)
        self._node, self._health, self._reference = node, health, reference
        self._base_frame = f'{name}_base'
        # joint limits are those of the controller, and a command is fresh or nothing
        limits = JointsConfig(max_age=max_age, angle_margin=0.0, length_margin=0.0)
        self._max_age = max_age
        self._reader = JointReader(self.simulated.chain, limits, arm=name)
        self._joints = self._publishers(
            JointState, 'measured_js', 'setpoint_js', 'goal_js', 'jaw/measured_js', 'jaw/setpoint_js'
        )
        self._poses = self._publishers(
            PoseStamped, 'measured_cp', 'setpoint_cp', 'local/measured_cp', 'local/setpoint_cp', 'truth/measured_cp'
        )
        self._twists = self._publishers(TwistStamped, 'measured_cv', 'local/measured_cv')
        self._messages = crtk_messages()
        self._said: tuple[OperatingState, bool, bool] | None = None
        self._operating = self._operating_output()
        self._poses_in: list[CrtkPoseInput] = []
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
        node, qos = self._node, COMMAND_SUBSCRIPTION
        for word in ('servo', 'interpolate', 'move'):
            for topic, take in ((f'{word}_jp', self._servo_jp), (f'jaw/{word}_jp', self._servo_jaw)):
                node.create_subscription(JointState, f'{self.name}/{topic}', self._guarded(take), qos)
            for topic, local in ((f'{word}_cp', False), (f'local/{word}_cp', True)):
                taken = self._guarded(partial(self._take_cp, local=local, far=word == 'move'))
                self._poses_in.append(CrtkPoseInput(node, f'{self.name}/{topic}', taken, qos, at_once=True))

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

    def _take_cp(self, message: Any, *, local: bool, far: bool) -> None:
        frame = self._base_frame if local else self._reference
        said = bool(message.header.frame_id)  # clients of CRTK leave it out: the topic says the frame
        now_ns = self._now_ns()
        record = pose_from(message, frame=frame if said else None, now_ns=now_ns)
        check_age(record.stamp_ns, now_ns, self._max_age)
        self.simulated.servo_cp(record.pose if local else inverse(self.base) @ record.pose, far=far)

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
            'goal_js': joint_state(stamp_ns, reference, names, arm.goal),
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
        self._say_twist(stamp_ns, measured)
        self._say_state(stamp_ns, base)

    def _say_twist(self, stamp_ns: int, measured: Array) -> None:
        """Publish the velocity of the tip, along the axes of the base and of the reference frame."""
        twist = self.simulated.chain.jacobian(measured) @ self.simulated.velocity
        turn = self.base[:3, :3]
        for topic, frame, (linear, angular) in (
            ('local/measured_cv', self._base_frame, (twist[:3], twist[3:])),
            ('measured_cv', self._reference, (turn @ twist[:3], turn @ twist[3:])),
        ):
            message = TwistStamped()
            message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame
            message.twist.linear.x, message.twist.linear.y, message.twist.linear.z = map(float, linear)
            message.twist.angular.x, message.twist.angular.y, message.twist.angular.z = map(float, angular)
            self._twists[topic].publish(message)

    def _say_state(self, stamp_ns: int, frame: str) -> None:
        arm = self.simulated
        now = (arm.state, arm.is_homed, arm.is_busy)
        if self._operating is None or self._messages is None or now == self._said:
            return
        self._said = now
        message = self._messages.OperatingState(state=str(arm.state), is_homed=arm.is_homed, is_busy=arm.is_busy)
        message.header = pose_stamped(stamp_ns, frame, np.eye(4)).header
        self._operating.publish(message)
