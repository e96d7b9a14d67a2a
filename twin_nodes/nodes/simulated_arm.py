"""The CRTK topics of one simulated arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.robot.statics import SPACES, tip_from_space, wrench_behind
from twin_nodes.core.simulate.arm_drive import OperatingState
from twin_nodes.core.simulate.psm import SimulatedArm, SimulatedArmConfig
from twin_nodes.nodes.simulated_arm_commands import SimulatedArmCommands
from twin_nodes.ros.conversions import matrix_of, pose_stamped
from twin_nodes.ros.crtk import (
    NO_CRTK_MSGS,
    crtk_messages,
    crtk_services,
    joint_state,
    matrix_message,
    six_stamped,
)
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.qos import LATCHED, MEASUREMENT

TELL_NS = 1_000_000_000
LOOK_NS = 100_000_000  # between two looks at who listens


class SimulatedArmTopics:
    """Publishes the state of a simulated arm and takes its commands, with the names and types of CRTK.

    Out: measured_js, setpoint_js, goal_js, jaw/measured_js, jaw/setpoint_js; measured_cp, setpoint_cp and goal_cp in
    the reference frame and below local/ in the base; measured_cv, setpoint_cv and measured_cf in these two, below body/
    along the axes of the tip and below spatial/ at the origin of the base; body/jacobian, spatial/jacobian;
    trajectory_j/ratio; operating_state (with crtk_msgs); and truth/measured_cp, where the tip really is in the base.
    In: see `SimulatedArmCommands`, and with crtk_msgs state_command and the services of the kinematics.

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
        unstamped: Whether a command with stamp 0 is taken as one of now.
    """

    def __init__(
        self, node: Node, health: Health, name: str, model: RobotModel, config: SimulatedArmConfig,
        rng: np.random.Generator, reference: str, base: Array, *, takes_commands: bool,
        max_age: float, unstamped: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.base, self.simulated = name, base, SimulatedArm(model, config, rng)
        self._node, self._health, self._reference = node, health, reference
        self._base_frame = f'{name}_base'
        self._frames = {'': reference, 'body/': name, 'local/': self._base_frame, 'spatial/': self._base_frame}
        self._joints = self._publishers(
            JointState, 'measured_js', 'setpoint_js', 'goal_js', 'jaw/measured_js', 'jaw/setpoint_js'
        )
        poses = [f'{space}{topic}_cp' for space in ('', 'local/') for topic in ('measured', 'setpoint', 'goal')]
        self._poses = self._publishers(PoseStamped, *poses, 'truth/measured_cp')
        self._twists = self._publishers(TwistStamped, *(f'{s}{t}_cv' for s in SPACES for t in ('measured', 'setpoint')))
        self._wrenches = self._publishers(WrenchStamped, *(f'{space}measured_cf' for space in SPACES))
        self._jacobians = self._publishers(Float64MultiArray, 'body/jacobian', 'spatial/jacobian')
        self._ratio = node.create_publisher(Float64, f'{name}/trajectory_j/ratio', LATCHED)
        self._said_ratio = 0.0
        self._messages = crtk_messages()
        self._said: tuple[OperatingState, bool, bool] | None = None
        self._said_ns = self._looked_ns = 0
        self._wanted: set[str] = set()
        self._commands = SimulatedArmCommands(
            node, health, name, self.simulated, reference=reference, base=base, max_age=max_age, unstamped=unstamped
        )
        self._operating = self._operating_output()
        if takes_commands:
            self._commands.listen()

    def _publishers(self, kind: Any, *topics: str) -> dict[str, Any]:
        return {topic: self._node.create_publisher(kind, f'{self.name}/{topic}', MEASUREMENT) for topic in topics}

    def _operating_output(self) -> Any:
        """Speak what needs crtk_msgs, or say that it is missing."""
        services = crtk_services()
        if self._messages is None or services is None:
            self._health.set(f'operating state {self.name}', OK, 'CRTK_MSGS_ABSENT', NO_CRTK_MSGS)
            return None
        self._node.create_subscription(
            self._messages.StringStamped, f'{self.name}/state_command',
            self._on_state_command, MEASUREMENT,
        )  # fmt: skip
        for space in ('', 'local/'):
            base = self.base if space == '' else np.eye(4)
            for topic in ('forward_kinematics', 'query_cp'):
                kind, name = services.QueryForwardKinematics, f'{self.name}/{space}{topic}'
                self._node.create_service(kind, name, self._forward(base))
            kind, name = services.QueryInverseKinematics, f'{self.name}/{space}inverse_kinematics'
            self._node.create_service(kind, name, self._inverse(base))
        return self._node.create_publisher(self._messages.OperatingState, f'{self.name}/operating_state', LATCHED)

    def _on_state_command(self, message: Any) -> None:
        """Take a state command, and tell the state anew: clients wait for that even where it is as they want it."""
        self._commands.guarded(lambda taken: self.simulated.command(taken.string))(message)
        self._said = None

    def _forward(self, base: Array) -> Callable[[Any, Any], Any]:
        """Answer where joint positions put the tip, or fewer of them the frame of the last joint among them."""

        def answer(request: Any, response: Any) -> Any:
            chain, jp = self.simulated.chain, np.array(request.jp, float)
            response.result = bool(0 < len(jp) <= len(chain) and np.isfinite(jp).all())
            if not response.result:
                response.message = f'{len(jp)} joint positions, expected 1 to {len(chain)}, and none of them NaN'
                return response
            whole = np.concatenate([jp, np.zeros(len(chain) - len(jp))])
            pose = chain.forward(jp) if len(jp) == len(chain) else chain.frames(whole)[len(jp) - 1]
            response.cp = pose_stamped(0, '', base @ pose).pose
            return response

        return answer

    def _inverse(self, base: Array) -> Callable[[Any, Any], Any]:
        """Answer the joint positions near the given ones that reach a pose."""

        def answer(request: Any, response: Any) -> Any:
            chain, start = self.simulated.chain, np.array(request.jp, float)
            try:
                pose = inverse(base) @ matrix_of(request.cp.position, request.cp.orientation)
                found = chain.inverse(pose, start if len(start) else self.simulated.setpoint)
            except InputError as error:
                response.message = str(error)
                return response
            response.jp, response.result = found.positions.tolist(), found.converged
            if not found.converged:
                response.message = f'out of reach: {found.position_error * 1e3:.2f} mm are left'
            return response

        return answer

    def publish(self, stamp_ns: int) -> None:
        """Publish the state at an instant; all stamps are the same, as CRTK asks."""
        arm, names, reference = self.simulated, self.simulated.chain.names, self._reference
        measured = arm.measured_js()
        effort, wanted = arm.efforts_at(arm.velocity), arm.efforts_at(arm.setpoint_velocity)
        local, setpoint = arm.measured_cp(measured), arm.chain.forward(arm.setpoint)
        joints = {
            'measured_js': joint_state(stamp_ns, reference, names, measured, arm.velocity, effort),
            'setpoint_js': joint_state(stamp_ns, reference, names, arm.setpoint, arm.setpoint_velocity, wanted),
            'goal_js': joint_state(stamp_ns, reference, names, arm.goal),
            'jaw/measured_js': joint_state(stamp_ns, reference, ('jaw',), [arm.jaw]),
            'jaw/setpoint_js': joint_state(stamp_ns, reference, ('jaw',), [arm.jaw_goal]),
        }
        for topic, message in joints.items():
            self._joints[topic].publish(message)
        poses = [('measured', local), ('setpoint', setpoint)]
        self._look(stamp_ns)
        if self._wanted & {'goal_cp', 'local/goal_cp'}:
            poses.append(('goal', arm.chain.forward(arm.goal)))
        for kind, pose in poses:
            self._poses[f'{kind}_cp'].publish(pose_stamped(stamp_ns, reference, self.base @ pose))
            self._poses[f'local/{kind}_cp'].publish(pose_stamped(stamp_ns, self._base_frame, pose))
        self._poses['truth/measured_cp'].publish(pose_stamped(stamp_ns, self._base_frame, arm.true_tip()))
        if self._wanted - {'goal_cp', 'local/goal_cp'}:
            self._say_rates(stamp_ns, measured, local, effort)
        self._say_state(stamp_ns, self._base_frame)

    def _look(self, stamp_ns: int) -> None:
        """Note now and then which of the topics that cost most somebody listens to."""
        if abs(stamp_ns - self._looked_ns) < LOOK_NS:
            return
        self._looked_ns = stamp_ns
        told = {**self._twists, **self._wrenches, **self._jacobians}
        told |= {topic: self._poses[topic] for topic in ('goal_cp', 'local/goal_cp')}
        self._wanted = {topic for topic, publisher in told.items() if publisher.get_subscription_count()}

    def _say_rates(self, stamp_ns: int, measured: Array, tip: Array, effort: Array) -> None:
        """Publish velocity and force of the tip and the Jacobians, those that somebody listens to."""
        arm = self.simulated
        jacobian = arm.chain.jacobian(measured)
        sixes = [
            (TwistStamped, self._twists, 'measured_cv', jacobian @ arm.velocity),
            (TwistStamped, self._twists, 'setpoint_cv', arm.chain.jacobian(arm.setpoint) @ arm.setpoint_velocity),
        ]
        if self._wanted & self._wrenches.keys():
            sixes.append((WrenchStamped, self._wrenches, 'measured_cf', wrench_behind(jacobian, effort)))
        for space in SPACES:
            matrix = tip_from_space(space, tip, self.base[:3, :3])
            for kind, publishers, topic, values in sixes:
                if f'{space}{topic}' in self._wanted:
                    said = np.linalg.solve(matrix, values) if kind is TwistStamped else matrix.T @ values
                    publishers[f'{space}{topic}'].publish(six_stamped(kind, stamp_ns, self._frames[space], said))
            if f'{space}jacobian' in self._wanted:
                told = matrix_message(np.asarray(np.linalg.solve(matrix, jacobian), float))
                self._jacobians[f'{space}jacobian'].publish(told)

    def _say_state(self, stamp_ns: int, frame: str) -> None:
        arm = self.simulated
        if arm.ratio != self._said_ratio:
            self._said_ratio = arm.ratio
            self._ratio.publish(Float64(data=arm.ratio))
        now = (arm.state, arm.is_homed, arm.is_busy)
        fresh = stamp_ns - self._said_ns < TELL_NS  # the Python client does not ask for what was said before it came
        if self._operating is None or self._messages is None or (now == self._said and fresh):
            return
        self._said, self._said_ns = now, stamp_ns
        message = self._messages.OperatingState(state=str(arm.state), is_homed=arm.is_homed, is_busy=arm.is_busy)
        message.header = pose_stamped(stamp_ns, frame, np.eye(4)).header
        self._operating.publish(message)
