"""The follower's side of compensation_node: commands of the bridge in, set points of the robot out."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command, Vector
from twin_nodes.core.telesurgery.follower import Follower, SetPoint
from twin_nodes.core.telesurgery.geofence import Fence, Geofence, HalfSpace
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.nodes.compensation_anatomy import AnatomyFeed
from twin_nodes.nodes.compensation_task import TaskFeed
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.compensation_messages import commands_from, pose_message, state_message
from twin_nodes.ros.conversions import pose_from
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
_STALL_NS = 50_000_000
_LATE_NS = 20_000_000  # a set point that comes so long after its tick could move a robot that has to stand
_STRAYED_NS = NANOSECONDS  # longer than a robot takes to come to a place where it was told to stand
_AGREED = (Mode.CONNECTED, Mode.DEGRADED)
_STANDS = (Mode.OUTAGE, Mode.HOLD)


class FollowerSide:
    """Plays what comes over the bridge; begins when the robot has said where it stands.

    Args:
        node: The node.
        config: Its settings.
    """

    def __init__(self, node: Node, config: 'CompensationNodeConfig') -> None:
        self._node, self._config = node, config
        self._health: Health = node.health  # type: ignore[attr-defined]
        self.anatomy = AnatomyFeed(node, self._health, config.anatomy, config.base_frame)
        planes = config.planes
        fences: list[Fence] = [
            HalfSpace((planes[i], planes[i + 1], planes[i + 2]), (planes[i + 3], planes[i + 4], planes[i + 5]))
            for i in range(0, len(planes), 6)
        ]
        self._fence = Geofence([*fences, self.anatomy.fences])
        assists = config.follower.assistance.enabled
        self._task = TaskFeed(node, self._health, config) if assists else None
        self.follower: Follower | None = None
        self._heard_ns: int | None = None
        self._told = (0, 0.0)
        self._robot_ns = self._tick_ns = self._there_ns = 0
        self._silent_ns = round(config.robot_silent * NANOSECONDS)
        self._robot: Vector = (0.0, 0.0, 0.0)
        self._point: SetPoint | None = None
        self._agreed: Array | None = None
        arm = config.arm
        qos = command(1.0 / config.rate)
        self._setpoint = node.create_publisher(PoseStamped, f'{arm}/servo_cp', qos)
        self._jaw = node.create_publisher(JointState, f'{arm}/jaw/servo_jp', qos)
        self._state = node.create_publisher(JointState, f'{arm}/compensation/state_js', MEASUREMENT)
        self._mode = node.create_publisher(String, f'{arm}/compensation/mode', LATCHED)
        self._said = ''
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / config.rate, self.tick, clock=steady)
        self._say_timer = node.create_timer(0.1, self.anatomy.say, clock=steady)
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
        return clock_ns(self._node)

    def on_measured(self, message: PoseStamped) -> None:
        """Watch where the robot is, and begin there."""
        try:
            pose = pose_from(message, frame=self._config.base_frame).pose
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        x, y, z = pose[:3, 3].tolist()
        self._robot, self._robot_ns = (x, y, z), time.monotonic_ns()
        if self.follower is None:
            self.follower = Follower(self._config.follower, (x, y, z), quat_xyzw=quat_of(pose), fence=self._fence)
            self._said = ''

    def on_command(self, message: JointState) -> None:
        """Take a command."""
        self._take(message, backlog=False)

    def on_backlog(self, message: JointState) -> None:
        """Take motion of an outage."""
        self._take(message, backlog=True)

    def _take(self, message: JointState, *, backlog: bool) -> None:
        if self.follower is None or self._refused():
            return
        now_ns = time.monotonic_ns()
        try:
            commands = commands_from(message, now_ns, self._ros_ns(), backlog=backlog)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        commands = tuple(self._allowed(item, now_ns) for item in commands)
        self.follower.receive(commands, now_ns, publisher='bridge', backlog=backlog)

    def _refused(self) -> bool:
        """Whether no command may pass: walls that are not known, or a robot that is not where it was told to be."""
        if self.anatomy.missing:
            self._health.count('GEOFENCE_MISSING')
            return True
        if self._deviation() > self._config.max_deviation:
            self._health.count('ROBOT_DEVIATES')
            return True
        return False

    def _deviation(self) -> float:
        """Return how far the robot is from where it was told to be [m]."""
        return math.dist(self._point.position, self._robot) if self._point is not None else 0.0

    def _allowed(self, item: Command, now_ns: int) -> Command:
        """Take the request for replay out of a command while nobody says how twin and reality stand."""
        if item.action not in ('replay', 'follow') or self._knows(now_ns):
            return item
        self._health.count('TWIN_DIVERGED')
        return item._replace(action='')

    def _knows(self, now_ns: int) -> bool:
        """Whether somebody says how twin and reality stand, or nobody needs to."""
        heard = self._heard_ns is not None and now_ns - self._heard_ns < _DIVERGENCE_NS
        return heard or self._config.replay_blind

    def on_divergence(self, message: Float64) -> None:
        """Take how far twin and reality are apart [m]."""
        self._heard_ns = time.monotonic_ns()
        self._told = (self._heard_ns, message.data)
        if self.follower is not None:
            self.follower.monitor.update(self._heard_ns, message.data)

    def _diverge(self, now_ns: int) -> None:
        """Measure ourselves by how much the anatomy has moved at the tip since the leader's twin last knew of it."""
        pose = self.anatomy.pose
        if self.follower is None or pose is None or not self.anatomy.fences.names:
            return
        if self._agreed is None or self.follower.mode in _AGREED:
            self._agreed = pose
        tip = np.array([*self._robot, 1.0])
        moved = float(np.linalg.norm((pose @ inverse(self._agreed) @ tip - tip)[:3]))
        self._heard_ns = now_ns
        told_ns, told = self._told
        fresh = told_ns and now_ns - told_ns < _DIVERGENCE_NS
        # a NaN, which says that it is not known, is not below anything
        self.follower.monitor.update(now_ns, told if fresh and not told <= moved else moved)

    def tick(self) -> None:
        """Tell the robot where to be, and the leader how it stands."""
        now_ns, ros_ns = time.monotonic_ns(), self._ros_ns()
        stalled = now_ns - self._tick_ns > _STALL_NS  # what waits in the queue is heard before the robot is judged
        self._tick_ns = now_ns
        if self.follower is None:
            return
        if not stalled and now_ns - self._robot_ns > self._silent_ns:
            self._let_go('robot-silent', 'ROBOT_SILENT', f'{self._config.arm}/measured_cp has stopped')
            return
        if self._strayed(now_ns, stalled=stalled):
            self._let_go('robot-strayed', 'ROBOT_DEVIATES', 'the robot did not come where it was told to stand')
            return
        self._diverge(now_ns)
        if self._task is not None:
            self._task.look(self.follower, self._robot)
        if not self._knows(now_ns):
            self.follower.standing.lapse()
        point = self.follower.tick(now_ns)
        self._say(point)  # before it moves: who watches must never see motion under an old mode
        pose = pose_message(ros_ns, self._config.base_frame, point.position, point.quat_xyzw)
        state = state_message(self.follower.state(now_ns), ros_ns)
        jaw = JointState(name=['jaw'], position=[point.jaw])
        jaw.header.stamp = state.header.stamp
        if time.monotonic_ns() - now_ns > _LATE_NS:  # we were stopped since: what was computed is not of now
            self.follower.withdraw()
            return
        self._point = point
        self._setpoint.publish(pose)
        self._jaw.publish(jaw)
        self._state.publish(state)

    def _strayed(self, now_ns: int, *, stalled: bool) -> bool:
        """Whether a robot that is to stand has been elsewhere so long that it cannot come: no command would pass."""
        stands = self._point is not None and self._point.mode in _STANDS
        if stalled or not stands or self._deviation() <= self._config.max_deviation:
            self._there_ns = now_ns
        return now_ns - self._there_ns > _STRAYED_NS

    def _let_go(self, said: str, code: str, text: str) -> None:
        """Tell the robot nothing: it begins anew, in hold, where it will say that it stands."""
        self.follower = self._point = self._agreed = None
        self._said = said
        self._mode.publish(String(data='outage'))
        self._health.set('mode', ERROR, code, text)

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
