"""Listens to a running twin and keeps what a report or a demo needs, every message of it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.ros.clouds import array_from_cloud
from twin_nodes.ros.conversions import StampedPose, pose_from, stamp_to_ns
from twin_nodes.ros.qos import DIAGNOSTICS, EVENTS, LATCHED, REPLAY_SUBSCRIPTION
from twin_nodes.ros.ties import tie_from


@dataclass(frozen=True)
class Said:
    """One diagnostic as it was published."""

    stamp_ns: int
    name: str
    level: bytes
    code: str
    message: str
    values: dict[str, str]


@dataclass
class Observations:
    """All that was heard, by topic or tool, in order of arrival."""

    measured: dict[str, list[StampedPose]] = field(default_factory=lambda: defaultdict(list))
    filtered: dict[str, list[StampedPose]] = field(default_factory=lambda: defaultdict(list))
    tips: list[StampedPose] = field(default_factory=list)
    clearances: list[tuple[int, np.ndarray]] = field(default_factory=list)
    calibration: Tie | None = None
    registration: Tie | None = None
    room_start_ns: int | None = None
    latest: dict[str, Said] = field(default_factory=dict)
    changes: list[Said] = field(default_factory=list)
    events: list[Said] = field(default_factory=list)

    def check(self, name: str) -> Said | None:
        """Return how a check, such as 'registration: state', stood last."""
        return self.latest.get(name)


class Observer(Node):
    """Subscribes, without loss, to what a scene publishes.

    Args:
        tools: Names of the tools.
        tool: The guided one.
    """

    def __init__(self, tools: tuple[str, ...], tool: str, **kwargs: object) -> None:
        super().__init__('observer', **kwargs)
        self.seen = Observations()
        subscribe = self.create_subscription
        for name in tools:
            subscribe(PoseStamped, f'{name}/measured_cp', self._append(self.seen.measured[name]), REPLAY_SUBSCRIPTION)
            subscribe(
                PoseWithCovarianceStamped,
                f'{name}/filtered_cp',
                self._append(self.seen.filtered[name]),
                REPLAY_SUBSCRIPTION,
            )
        subscribe(PoseWithCovarianceStamped, 'guidance/tip', self._append(self.seen.tips), REPLAY_SUBSCRIPTION)
        subscribe(PointCloud2, 'guidance/clearance', self._on_clearance, REPLAY_SUBSCRIPTION)
        subscribe(PoseWithCovarianceStamped, f'calibration/{tool}', self._on_calibration, LATCHED)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, LATCHED)
        subscribe(Header, 'room/start', self._on_room_start, LATCHED)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, DIAGNOSTICS)
        subscribe(DiagnosticArray, 'guidance/events', self._on_events, EVENTS)

    @staticmethod
    def _append(kept: list[StampedPose]) -> Any:
        return lambda message: kept.append(pose_from(message, frame=None))

    def _on_clearance(self, message: PointCloud2) -> None:
        self.seen.clearances.append((stamp_to_ns(message.header.stamp), array_from_cloud(message)))

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        tie = tie_from(message, frame=None)
        self.seen.calibration = None if tie.withdrawn else tie

    def _on_registration(self, message: PoseWithCovarianceStamped) -> None:
        tie = tie_from(message, frame=None)
        self.seen.registration = None if tie.withdrawn else tie

    def _on_room_start(self, message: Header) -> None:
        self.seen.room_start_ns = stamp_to_ns(message.stamp)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for said in _said(message):
            before = self.seen.latest.get(said.name)
            if before is None or (before.level, before.code) != (said.level, said.code):
                self.seen.changes.append(said)
            self.seen.latest[said.name] = said

    def _on_events(self, message: DiagnosticArray) -> None:
        self.seen.events += _said(message)


def _said(message: DiagnosticArray) -> list[Said]:
    stamp_ns = stamp_to_ns(message.header.stamp)
    found = []
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        found.append(Said(stamp_ns, status.name, status.level, values.pop('code', ''), status.message, values))
    return found


def positions(poses: list[StampedPose]) -> Array:
    """Return the positions [m] (n, 3) of poses."""
    return np.array([pose.pose[:3, 3] for pose in poses]).reshape(-1, 3)
