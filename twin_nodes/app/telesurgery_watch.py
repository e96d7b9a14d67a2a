"""Listens to both sites of a telesurgery and keeps what judges it, with the times at which it was so.

What moves is timed by the stamps of who moves it (the instant of a set point, of a step of the robot), what arrives by
the instant at which it was passed on: neither depends on when this node is heard.
"""

from collections import deque
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from twin_nodes.app.observer import Said
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.qos import DIAGNOSTICS, LATCHED, MEASUREMENT

KEEP = 2_000_000
# as the sites take them, but so many that a listener which has to wait for its turn loses none
EVERY_ONE = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=5000)


class Track:
    """Points with times, in order."""

    def __init__(self, keep: int = KEEP) -> None:
        self.times: deque[int] = deque(maxlen=keep)
        self.points: deque[tuple[float, float, float]] = deque(maxlen=keep)

    def add(self, time_ns: int, point: tuple[float, float, float]) -> None:
        """Append a point [m] at a time [ns]."""
        self.times.append(time_ns)
        self.points.append(point)

    def arrays(self, first: int = 0) -> tuple[Array, Array]:
        """Return times [s] (n,) since the first of them and points [m] (n, 3), from an index on."""
        times = np.array(self.times, dtype=np.int64)[first:]
        return (times - times[0]) * 1e-9 if len(times) else times.astype(float), self.array(first)

    def array(self, first: int = 0) -> Array:
        """Return the points [m], shape (n, 3), from an index on."""
        return np.array(self.points, dtype=float).reshape(-1, 3)[first:]

    def since(self, time_ns: int) -> tuple[Array, Array]:
        """Return times [s] since then (n,) and points [m] (n, 3) of what was sent from then on."""
        found = []
        for at, point in zip(reversed(self.times), reversed(self.points), strict=False):
            if at < time_ns:
                break
            found.append(((at - time_ns) * 1e-9, *point))
        table = np.array(found[::-1], dtype=float).reshape(-1, 4)
        return table[:, 0], table[:, 1:]


class TelesurgeryWatch(Node):
    """Subscribes to what both sites publish; all times are of this machine's clock.

    Args:
        arm: Name of the arm.
        leader: Namespace of the surgeon's site.
        follower: Namespace of the patient's site.
        keep: How many messages of each kind are kept.
    """

    def __init__(
        self,
        arm: str = 'PSM1',
        *,
        leader: str = '/leader',
        follower: str = '/follower',
        keep: int = KEEP,
        **kwargs: Any,
    ) -> None:
        super().__init__('telesurgery_watch', **kwargs)
        self.said, self.come, self.told = Track(keep), Track(keep), Track(keep)
        self.robot, self.shown = Track(keep), Track(keep)
        self.seen_ages: deque[float] = deque(maxlen=keep)
        self.transits: deque[float] = deque(maxlen=keep)
        self.forces: deque[float] = deque(maxlen=keep)
        self.apart: deque[float] = deque(maxlen=keep)
        self.modes: list[tuple[int, str]] = []
        self.asked: list[tuple[int, str]] = []
        self.checks: dict[str, Said] = {}
        self.changes: list[Said] = []
        listen = self.create_subscription
        command = f'{arm}/compensation/command_js'
        listen(JointState, f'{leader}/{command}', self._on_said, EVERY_ONE)
        listen(JointState, f'{follower}/{command}', self._on_come, EVERY_ONE)
        listen(PoseStamped, f'{follower}/{arm}/servo_cp', self._into(self.told), EVERY_ONE)
        listen(PoseStamped, f'{follower}/{arm}/setpoint_cp', self._into(self.robot), EVERY_ONE)
        listen(PoseStamped, f'{leader}/{arm}/predicted_cp', self._into(self.shown), EVERY_ONE)
        listen(PoseStamped, f'{leader}/{arm}/measured_cp', self._on_seen, EVERY_ONE)
        listen(WrenchStamped, f'{leader}/{arm}/fixture', self._on_force, EVERY_ONE)
        listen(String, f'{follower}/{arm}/compensation/mode', self._on_mode, LATCHED)
        listen(String, f'{leader}/{arm}/compensation/resume', self._on_asked, MEASUREMENT)
        listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, DIAGNOSTICS)

    @property
    def mode(self) -> str:
        """The mode of the follower, '' before it was told."""
        return self.modes[-1][1] if self.modes else ''

    @staticmethod
    def _point(message: PoseStamped) -> tuple[float, float, float]:
        at = message.pose.position
        return at.x, at.y, at.z

    def _into(self, track: Track) -> Any:
        return lambda message: track.add(stamp_to_ns(message.header.stamp), self._point(message))

    def _on_said(self, message: JointState) -> None:
        self.said.add(stamp_to_ns(message.header.stamp), tuple(message.position[1:4]))

    def _on_come(self, message: JointState, info: dict[str, int]) -> None:
        self.come.add(info['source_timestamp'], tuple(message.position[1:4]))
        self.transits.append((info['source_timestamp'] - stamp_to_ns(message.header.stamp)) * 1e-9)

    def _on_seen(self, message: PoseStamped, info: dict[str, int]) -> None:
        """Keep how old the robot is that the surgeon sees, and how far it is from the predicted one."""
        self.seen_ages.append((info['source_timestamp'] - stamp_to_ns(message.header.stamp)) * 1e-9)
        if self.shown.points:
            self.apart.append(float(np.linalg.norm(np.subtract(self.shown.points[-1], self._point(message)))))

    def _on_force(self, message: WrenchStamped) -> None:
        force = message.wrench.force
        self.forces.append(float(np.linalg.norm([force.x, force.y, force.z])))

    def _on_mode(self, message: String, info: dict[str, int]) -> None:
        self.modes.append((info['source_timestamp'], message.data))

    def _on_asked(self, message: String, info: dict[str, int]) -> None:
        self.asked.append((info['source_timestamp'], message.data))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            said = Said(stamp_ns, status.name, status.level, values.pop('code', ''), status.message, values)
            before = self.checks.get(said.name)
            if before is None or before.code != said.code:
                self.changes.append(said)
            self.checks[said.name] = said
