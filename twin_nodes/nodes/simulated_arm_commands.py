"""The commands that one simulated arm takes, with the names and types of CRTK."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty, Float64

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.statics import SPACES, tip_from_space
from twin_nodes.core.simulate.psm import SimulatedArm
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, stamp_to_ns
from twin_nodes.ros.crtk import CrtkPoseInput, read_joints, six_from
from twin_nodes.ros.health import OK, WARN, Health

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


class SimulatedArmCommands:
    """Gives a simulated arm what is commanded on its topics; what it cannot do is refused, and the arm stays.

    In: servo_, interpolate_ and move_ of jp, jr, cp, cr and jaw/…_jp; servo_jv, servo_jf; servo_cv and servo_cf, also
    below body/ and spatial/; all of the tip also below local/; hold, free, trajectory_j/set_ratio. Poses may come as
    TransformStamped of older stacks. Steps (jr, cr) are added to the set point, those of the tip along the axes of the
    frame of the topic.

    Args:
        node: The node.
        health: Counts refused commands.
        name: Name of the arm.
        simulated: The arm.
        reference: Frame of the commands that are not local.
        base: reference_T_base, shape (4, 4).
        max_age: Older commands are refused [s].
        unstamped: Whether a stamp of 0 is read as now.
    """

    def __init__(
        self, node: Node, health: Health, name: str, simulated: SimulatedArm, *, reference: str, base: Array,
        max_age: float, unstamped: bool,
    ) -> None:  # fmt: skip
        self.name, self.base, self.simulated = name, base, simulated
        self._node, self._health, self._reference = node, health, reference
        self._max_age, self._unstamped = max_age, unstamped
        # joint limits are those of the controller, and a command is fresh or nothing
        limits = JointsConfig(max_age=max_age, angle_margin=0.0, length_margin=0.0)
        self._reader = JointReader(simulated.chain, limits, arm=name)
        self._poses: list[CrtkPoseInput] = []

    def listen(self) -> None:
        """Take commands from now on."""
        for word in ('servo', 'interpolate', 'move'):
            far = word == 'move'
            self._take(JointState, f'{word}_jp', partial(self._positions, far=far))
            self._take(JointState, f'{word}_jr', partial(self._steps, far=far))
            self._take(JointState, f'jaw/{word}_jp', self._jaw)
            for space in ('', 'local/'):
                self._take(PoseStamped, f'{space}{word}_cr', partial(self._pose, space=space, far=far, step=True))
                taken = self.guarded(partial(self._pose, space=space, far=far, step=False))
                topic = f'{self.name}/{space}{word}_cp'
                self._poses.append(CrtkPoseInput(self._node, topic, taken, COMMAND_SUBSCRIPTION, at_once=True))
        self._take(JointState, 'servo_jv', self._velocities)
        self._take(JointState, 'servo_jf', self._efforts)
        for space in SPACES:
            self._take(TwistStamped, f'{space}servo_cv', partial(self._six, space=space))
            self._take(WrenchStamped, f'{space}servo_cf', partial(self._six, space=space))
        for word in ('hold', 'free'):  # nothing pulls at the arm: without effort it stays as well
            self._take(Empty, word, lambda _message: self.simulated.hold())
        for word in ('set_ratio', 'set_ratio_v'):
            self._take(Float64, f'trajectory_j/{word}', lambda message: self.simulated.set_ratio(message.data))

    def _take(self, kind: type, topic: str, take: Callable[[Any], None]) -> None:
        self._node.create_subscription(kind, f'{self.name}/{topic}', self.guarded(take), COMMAND_SUBSCRIPTION)

    def guarded(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a callback that counts and tells what is refused."""

        def on_message(message: Any) -> None:
            if self._unstamped and hasattr(message, 'header') and stamp_to_ns(message.header.stamp) == 0:
                message.header.stamp = ns_to_stamp(self._now_ns())
            try:
                take(message)
            except InputError as error:
                self._health.warn(error.code or 'JOINTS_WRONG', f'{self.name}: {error}')
                self._health.set(f'arm {self.name}', WARN, error.code or 'JOINTS_WRONG', str(error))
            else:
                self._health.set(f'arm {self.name}', OK, 'OK', 'follows commands')

        return on_message

    def _now_ns(self) -> int:
        return clock_ns(self._node)

    def _names(self, message: JointState) -> list[str]:
        """Return the names; clients of CRTK leave them out, and mean the order of measured_js."""
        return list(message.name or self.simulated.chain.names)

    def _positions(self, message: JointState, *, far: bool) -> None:
        message.name = self._names(message)
        positions = read_joints(message, self._reader, now_ns=self._now_ns()).positions
        self.simulated.servo_jp(positions, far=far)

    def _values(self, message: JointState, values: Any, what: str) -> Array:
        return self._reader.read_values(
            stamp_to_ns(message.header.stamp), self._names(message), values, what=what,
            frame=message.header.frame_id, now_ns=self._now_ns(),
        )  # fmt: skip

    def _steps(self, message: JointState, *, far: bool) -> None:
        self.simulated.servo_jp(self.simulated.setpoint + self._values(message, message.position, 'steps'), far=far)

    def _velocities(self, message: JointState) -> None:
        self.simulated.servo_jv(self._values(message, message.velocity, 'velocities'))

    def _efforts(self, message: JointState) -> None:
        self.simulated.servo_jf(self._values(message, message.effort, 'efforts'))

    def _frame(self, message: Any, space: str) -> str | None:
        """Return the frame that a message must name; clients of CRTK leave it out: the topic says the frame."""
        if not message.header.frame_id:
            return None
        frames = {'': self._reference, 'body/': self.name}
        return frames.get(space, f'{self.name}_base')

    def _pose(self, message: Any, *, space: str, far: bool, step: bool) -> None:
        now_ns = self._now_ns()
        record = pose_from(message, frame=self._frame(message, space), now_ns=now_ns)
        check_age(record.stamp_ns, now_ns, self._max_age)
        base = self.base if space == '' else np.eye(4)
        if not step:
            self.simulated.servo_cp(inverse(base) @ record.pose, far=far)
            return
        tip, turn = base @ self.simulated.chain.forward(self.simulated.setpoint), record.pose[:3, :3]
        stepped = make_transform(turn @ tip[:3, :3], tip[:3, 3] + record.pose[:3, 3])
        self.simulated.servo_cp(inverse(base) @ stepped, far=far)

    def _six(self, message: TwistStamped | WrenchStamped, *, space: str) -> None:
        is_twist = isinstance(message, TwistStamped)
        name = f'{space}servo_{"cv" if is_twist else "cf"}'
        stamp_ns, values = six_from(message, frame=self._frame(message, space), name=name)
        check_age(stamp_ns, self._now_ns(), self._max_age)
        along_tip = space == 'body/'
        if not along_tip:
            tip = self.simulated.chain.forward(self.simulated.setpoint)
            matrix = tip_from_space(space, tip, self.base[:3, :3])
            values = matrix @ values if is_twist else np.linalg.solve(matrix.T, values)
        (self.simulated.servo_cv if is_twist else self.simulated.servo_cf)(values, along_tip=along_tip)

    def _jaw(self, message: JointState) -> None:
        if len(message.position) != 1:
            raise InputError(f'jaw/servo_jp has {len(message.position)} positions, expected 1', code='JOINTS_WRONG')
        self.simulated.servo_jaw(float(message.position[0]))
