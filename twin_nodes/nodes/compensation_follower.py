"""The follower's side of compensation_node: commands of the bridge in, set points of the robot out."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String

from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.geofence import Geofence, HalfSpace
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.ros.compensation_messages import commands_from, pose_message, state_message
from twin_nodes.ros.conversions import pose_from, quat_of
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION, command

if TYPE_CHECKING:
    from twin_nodes.nodes.compensation_node import CompensationNodeConfig

Input = tuple[type[Any], str, Callable[[Any], None], QoSProfile]
SAID = {
    Mode.CONNECTED: (OK, 'OK', 'follows'),
    Mode.DEGRADED: (WARN, 'LINK_DEGRADED', 'commands come late or in gaps'),
    Mode.CATCH_UP: (OK, 'OK', 'catches up, as the operator asked'),
    Mode.HOLD: (WARN, 'RESUME_NEEDED', 'stands until the operator asks for replay or discard'),
    Mode.OUTAGE: (ERROR, 'LINK_LOST', 'no valid command: stands'),
}
_DIVERGENCE_NS = NANOSECONDS


class FollowerSide:
    """Plays what comes over the bridge; begins when the robot has said where it stands.

    Args:
        node: The node.
        config: Its settings.
    """

    def __init__(self, node: Node, config: 'CompensationNodeConfig') -> None:
        self._node, self._config = node, config
        self._health: Health = node.health  # type: ignore[attr-defined]
        self.follower: Follower | None = None
        self._heard_ns: int | None = None
        arm = config.arm
        qos = command(1.0 / config.rate)
        self._setpoint = node.create_publisher(PoseStamped, f'{arm}/servo_cp', qos)
        self._jaw = node.create_publisher(JointState, f'{arm}/jaw/servo_jp', qos)
        self._state = node.create_publisher(JointState, f'{arm}/compensation/state_js', MEASUREMENT)
        self._mode = node.create_publisher(String, f'{arm}/compensation/mode', LATCHED)
        self._said = ''
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / config.rate, self.tick, clock=steady)
        self._health.set('mode', WARN, 'ROBOT_SILENT', f'waits for {arm}/measured_cp')

    def inputs(self) -> list[Input]:
        """Return what to subscribe to."""
        arm = self._config.arm
        return [
            (JointState, f'{arm}/compensation/command_js', self.on_command, COMMAND_SUBSCRIPTION),
            (JointState, f'{arm}/compensation/backlog_js', self.on_backlog, COMMAND_SUBSCRIPTION),
            (PoseStamped, f'{arm}/measured_cp', self.on_measured, MEASUREMENT_SUBSCRIPTION),
            (Float64, f'{arm}/compensation/divergence', self.on_divergence, MEASUREMENT_SUBSCRIPTION),
        ]

    def _ros_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def on_measured(self, message: PoseStamped) -> None:
        """Begin where the robot stands."""
        if self.follower is not None:
            return
        try:
            pose = pose_from(message, frame=self._config.base_frame).pose
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        x, y, z = pose[:3, 3].tolist()
        planes = self._config.planes
        fences = [
            HalfSpace((planes[i], planes[i + 1], planes[i + 2]), (planes[i + 3], planes[i + 4], planes[i + 5]))
            for i in range(0, len(planes), 6)
        ]
        self.follower = Follower(self._config.follower, (x, y, z), quat_xyzw=quat_of(pose), fence=Geofence(fences))

    def on_command(self, message: JointState) -> None:
        """Take a command."""
        self._take(message, backlog=False)

    def on_backlog(self, message: JointState) -> None:
        """Take motion of an outage."""
        self._take(message, backlog=True)

    def _take(self, message: JointState, *, backlog: bool) -> None:
        if self.follower is None:
            return
        now_ns = time.monotonic_ns()
        try:
            commands = commands_from(message, now_ns, self._ros_ns(), backlog=backlog)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        commands = tuple(self._allowed(item, now_ns) for item in commands)
        self.follower.receive(commands, now_ns, publisher='bridge', backlog=backlog)

    def _allowed(self, item: Command, now_ns: int) -> Command:
        """Take the request for replay out of a command while nobody says how twin and reality stand."""
        if item.action != 'replay' or self._config.replay_blind:
            return item
        known = self._heard_ns is not None and now_ns - self._heard_ns < _DIVERGENCE_NS
        if not known:
            self._health.count('TWIN_DIVERGED')
        return item if known else item._replace(action='')

    def on_divergence(self, message: Float64) -> None:
        """Take how far twin and reality are apart [m]."""
        if self.follower is not None:
            self._heard_ns = time.monotonic_ns()
            self.follower.monitor.update(self._heard_ns, message.data)

    def tick(self) -> None:
        """Tell the robot where to be, and the leader how it stands."""
        if self.follower is None:
            return
        now_ns, ros_ns = time.monotonic_ns(), self._ros_ns()
        point = self.follower.tick(now_ns)
        self._setpoint.publish(pose_message(ros_ns, self._config.base_frame, point.position, point.quat_xyzw))
        jaw = JointState(name=['jaw'], position=[point.jaw])
        state = state_message(self.follower.state(now_ns), ros_ns)
        jaw.header.stamp = state.header.stamp
        self._jaw.publish(jaw)
        self._state.publish(state)
        self._say(point)

    def _say(self, point: SetPoint) -> None:
        assert self.follower is not None
        for code, total in self.follower.guard.counts.items():
            self._health.set_count(code, total)
        if point.mode.value == self._said:
            return
        self._said = point.mode.value
        self._mode.publish(String(data=self._said))
        level, code, text = SAID[point.mode]
        values = {'mode': self._said, 'divergence_mm': 1e3 * self.follower.monitor.distance}
        self._health.set('mode', level, code, text, values)
