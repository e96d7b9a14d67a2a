"""The leader's side of compensation_node: the hand in, commands for the bridge and the predicted robot out."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_ros import TransformBroadcaster

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_from_quat
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import ACTIONS, Quaternion, Vector
from twin_nodes.core.telesurgery.leader import MOVED_ALONE, Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.passivity import FixtureRenderer
from twin_nodes.nodes.compensation_anatomy import AnatomyFeed
from twin_nodes.nodes.compensation_follower import SAID
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.compensation_messages import (
    BACKLOG_PER_MESSAGE,
    backlog_message,
    command_message,
    pose_message,
    state_from,
)
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, transform_stamped
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION, command

if TYPE_CHECKING:
    from twin_nodes.nodes.compensation_node import CompensationNodeConfig

Input = tuple[type[Any], str, Callable[[Any], None], QoSProfile]
_SILENT_NS = 300_000_000
_LET_GO_NS = 200_000_000  # of a silent hand: the robot has long stood, and does not go on without a request
_STILL: Vector = (0.0, 0.0, 0.0)
_SAY_S = 1.0
_DRAW_NS = 18_000_000  # of tf
_FIRST_MS = 1_577_836_800_000  # 2020-01-01


class LeaderSide:
    """Makes commands of the hand; begins when the follower has said where the robot stands.

    Args:
        node: The node.
        config: Its settings.
    """

    def __init__(self, node: Node, config: 'CompensationNodeConfig') -> None:
        self._node, self._config = node, config
        self._health: Health = node.health  # type: ignore[attr-defined]
        # one message a tick: the bridge tells messages of a topic apart by their stamps
        backlog = min(config.leader.backlog_per_packet, BACKLOG_PER_MESSAGE)
        self._core = replace(config.leader, backlog_per_packet=backlog)
        self.leader: Leader | None = None
        self.anatomy = AnatomyFeed(node, self._health, config.anatomy, config.base_frame)
        self.fixtures = FixtureRenderer(config.fixture, [self.anatomy.fences])
        self._hand: tuple[int, Vector, Array] | None = None
        self._felt: tuple[int, Vector] | None = None
        self._turn: Array | None = None
        self._quat: Quaternion | None = None
        self._pushed: Vector | None = None
        self._jaw = 1.0
        self._state_ns = 0
        self._silent_ns = round(config.hand_silent * NANOSECONDS)
        arm = config.arm
        qos = command(1.0 / config.rate)
        self._command = node.create_publisher(JointState, f'{arm}/compensation/command_js', qos)
        self._backlog = node.create_publisher(JointState, f'{arm}/compensation/backlog_js', qos)
        self._predicted = node.create_publisher(PoseStamped, f'{arm}/predicted_cp', MEASUREMENT)
        self._mode = node.create_publisher(String, f'{arm}/compensation/mode', LATCHED)
        self._fixture = node.create_publisher(WrenchStamped, f'{arm}/fixture', MEASUREMENT)
        self._tf = TransformBroadcaster(node)
        self._drawn: dict[str, int] = {}
        self._said = ''
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / config.rate, self.tick, clock=steady)
        self._say_timer = node.create_timer(_SAY_S, self._say_fixtures, clock=steady)
        self._health.set('mode', WARN, 'ROBOT_SILENT', 'waits for the follower')

    def inputs(self) -> list[Input]:
        """Return what to subscribe to."""
        arm = self._config.arm
        return [
            (PoseStamped, self._config.hand, self.on_hand, MEASUREMENT_SUBSCRIPTION),
            (JointState, self._config.hand_jaw, self.on_jaw, MEASUREMENT_SUBSCRIPTION),
            (JointState, f'{arm}/compensation/state_js', self.on_state, COMMAND_SUBSCRIPTION),
            (PoseStamped, f'{arm}/measured_cp', self.on_seen, MEASUREMENT_SUBSCRIPTION),
            (String, f'{arm}/compensation/resume', self.on_resume, MEASUREMENT),
        ]

    def _ros_ns(self) -> int:
        return clock_ns(self._node)

    def on_hand(self, message: PoseStamped) -> None:
        """Take where the hand is; one that was silent for long holds what it held, wherever it speaks again."""
        try:
            pose = pose_from(message, frame=None).pose
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        x, y, z = pose[:3, 3].tolist()
        now_ns = time.monotonic_ns()
        if self.leader is not None and self._hand is not None and now_ns - self._hand[0] > _LET_GO_NS:
            self.leader.release()
            self._turn = None
        self._hand = (now_ns, (x, y, z), pose[:3, :3])

    def on_seen(self, message: PoseStamped) -> None:
        """Show the robot as it came back over the link."""
        try:
            seen = pose_from(message, frame=self._config.base_frame)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        if self._is_due('seen'):
            frame = f'{self._config.arm}_seen'
            self._tf.sendTransform(transform_stamped(seen.stamp_ns, self._config.base_frame, frame, seen.pose))

    def _is_due(self, name: str) -> bool:
        """Whether the next of what need not come at the rate of the hand is due, such as tf for the display."""
        now_ns = time.monotonic_ns()
        due = now_ns - self._drawn.get(name, 0) >= _DRAW_NS
        if due:
            self._drawn[name] = now_ns
        return due

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
            # numbered by the clock, in ms: above those of a leader that ran here before
            first = max(self._ros_ns() // 1_000_000 - _FIRST_MS, 0)
            self.leader = Leader(self._core, state.position, first=first)
        self.leader.feedback(state, now_ns)

    def on_resume(self, message: String) -> None:
        """Pass on what the operator asks for."""
        if self.leader is None or message.data not in ACTIONS[1:]:
            text = f'{message.data!r} is none of {", ".join(ACTIONS[1:])}, or the follower is not there yet'
            self._health.warn('PROTOCOL', text)
            return
        state = self.leader.state
        if message.data == 'discard' and state is not None:
            begins = not state.played_ns  # a follower that begins anew, where the robot stands
            if begins or self.leader.apart() > MOVED_ALONE:
                self.leader.rebase(state.position)  # what the robot did by itself is not undone
        self.leader.request(message.data)

    def tick(self) -> None:
        """Send the command of now, show the predicted robot, and render the fixtures."""
        now_ns, ros_ns = time.monotonic_ns(), self._ros_ns()
        if self.leader is not None and self._hand is not None and now_ns - self._hand[0] <= self._silent_ns:
            _, hand, hand_R = self._hand
            quat = self._oriented(hand_R)
            made = self.leader.command(now_ns, hand, quat_xyzw=quat, jaw=self._jaw)
            self._command.publish(command_message(made, ros_ns))
            _, backlog = self.leader.packet()
            if backlog:
                self._backlog.publish(backlog_message(backlog, ros_ns, now_ns))
            self._show(ros_ns, quat)
            self._render(now_ns, ros_ns, hand)
        else:
            self._relax(ros_ns)
        self._say(now_ns)

    def _oriented(self, hand_R: Array) -> Quaternion:
        """Return the commanded orientation: the robot's own when the hand begins, then turned as the hand is."""
        assert self.leader is not None
        assert self.leader.state is not None
        if self._turn is None:
            held = self._quat if self._quat is not None else self.leader.state.quat_xyzw
            self._turn = hand_R.T @ rotation_from_quat(held)
        self._quat = quat_of(hand_R @ self._turn)
        return self._quat

    def _show(self, ros_ns: int, quat: Quaternion) -> None:
        assert self.leader is not None
        at, frame = self.leader.predicted(), self._config.base_frame
        self._predicted.publish(pose_message(ros_ns, frame, at, quat))
        if self._is_due('predicted'):
            pose = make_transform(rotation_from_quat(quat), at)
            self._tf.sendTransform(transform_stamped(ros_ns, frame, f'{self._config.arm}_predicted', pose))

    def _render(self, now_ns: int, ros_ns: int, hand: Vector) -> None:
        """Push the hand out of the walls that the predicted robot meets: no delay lies in this loop."""
        assert self.leader is not None
        before_ns, before = self._felt if self._felt is not None else (now_ns, hand)
        self._felt = (now_ns, hand)
        dt = (now_ns - before_ns) / NANOSECONDS
        if dt <= 0.0:
            return
        velocity = ((hand[0] - before[0]) / dt, (hand[1] - before[1]) / dt, (hand[2] - before[2]) / dt)
        self._push(ros_ns, self.fixtures.force(self.leader.predicted(), velocity, dt))

    def _relax(self, ros_ns: int) -> None:
        """Let go once when the hand has gone silent."""
        if self._felt is not None:
            self._felt = None
            self._push(ros_ns, _STILL)

    def _push(self, ros_ns: int, force: Vector) -> None:
        """Publish the force on the hand; zero seldom, once it has been said."""
        if force == _STILL and self._pushed == _STILL and not self._is_due('rest'):
            return
        self._pushed = force
        message = WrenchStamped()
        message.header.stamp, message.header.frame_id = ns_to_stamp(ros_ns), self._config.base_frame
        message.wrench.force.x, message.wrench.force.y, message.wrench.force.z = force
        self._fixture.publish(message)

    def _say_fixtures(self) -> None:
        self.anatomy.say()
        observer = self.fixtures.observer
        values = {'lowest_energy_uj': 1e6 * observer.lowest, 'energy_uj': 1e6 * observer.energy,
                  'dissipated_uj': 1e6 * observer.dissipated, 'steps': observer.steps,
                  'controlled': observer.controlled}  # fmt: skip
        walls = ', '.join(self.anatomy.fences.names) or 'none'
        self._health.set('fixture', OK, 'OK', f'walls felt: {walls}', values)

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
