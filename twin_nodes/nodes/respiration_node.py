"""respiration_node: from markers on the skin and sparse fixes to where a hidden target will be, and a gate."""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Bool

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.guidance.respiration.config import RespirationConfig
from twin_nodes.core.guidance.respiration.session import RespirationSession, TargetForecast
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.stamp_order import StampOrder
from twin_nodes.ros.checked import checked_pose
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.conversions import pose_with_covariance
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import latched, measurement, measurement_subscription
from twin_nodes.ros.run import run_node


@dataclass(frozen=True)
class RespirationNodeConfig:
    """Settings of respiration_node."""

    markers: tuple[str, ...] = setting('Names of the tracked markers on the skin.')
    frame: str = setting('Frame of the markers, the fixes and the target.', 'tracker')
    ahead: float = setting(
        'How far ahead the target is published; 0 for now. Set it to the latency from tracker to treatment.', 0.3,
        unit='s', minimum=0.0, maximum=5.0,
    )  # fmt: skip
    planned: tuple[float, ...] = setting(
        'Planned position of the target, for the gate; empty for no gate.', (), unit='m', minimum=-10.0, maximum=10.0
    )
    fix_wait: float = setting(
        'A fix counts once the markers are this far past its stamp: longer than it takes to arrive.', 0.5, unit='s',
        minimum=0.0, maximum=10.0,
    )  # fmt: skip
    respiration: RespirationConfig = group(RespirationConfig)

    def __post_init__(self) -> None:
        if len(self.planned) not in (0, 3):
            raise ConfigError(f'planned={list(self.planned)} must have 3 numbers, or none')
        if self.ahead > self.respiration.breathing.horizons[-1]:
            raise ConfigError(
                f'ahead={self.ahead} s is beyond the last of respiration.breathing.horizons, '
                f'{self.respiration.breathing.horizons[-1]} s'
            )


class RespirationNode(Node):
    """Connects the markers and the fixes to one `RespirationSession`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('respiration', **kwargs)
        self.config = declare_config(self, RespirationNodeConfig)
        self.health = Health(self)
        replay = is_replay(self)
        self._now_ns = live_clock(self)
        self._reset()
        self._target = self.create_publisher(
            PoseWithCovarianceStamped, 'respiration/target', measurement(replay=replay)
        )
        self._gate = self.create_publisher(Bool, 'respiration/gate', latched(replay=replay))
        qos = measurement_subscription(replay=replay)
        for marker in self.config.markers:
            self.create_subscription(
                PoseWithCovarianceStamped, f'{marker}/filtered_cp', self._marker_callback(marker), qos
            )
        self.create_subscription(PoseWithCovarianceStamped, 'respiration/fix', self._on_fix, qos)
        self._jump = on_jump_back(self, self._reset)
        if not replay:
            period = self.config.respiration.breathing.max_gap
            self._watch = self.create_timer(period, self._on_watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _reset(self) -> None:
        planned = np.array(self.config.planned) if self.config.planned else None
        self._session = RespirationSession(self.config.respiration, self.config.markers, planned)
        self._order: StampOrder[tuple[str, Array]] = StampOrder(self.config.markers)
        self._fixes: deque[tuple[int, Array]] = deque()
        self._heard: set[str] = set()
        self._open: bool | None = None
        self.health.set('state', WARN, 'LEARNING', 'no sample of the markers yet')

    def _checked(self, message: PoseWithCovarianceStamped) -> StampedCovariance | None:
        return checked_pose(message, frame=self.config.frame, now_ns=self._now_ns(), health=self.health)

    def _marker_callback(self, marker: str) -> Callable[[PoseWithCovarianceStamped], None]:
        def on_marker(message: PoseWithCovarianceStamped) -> None:
            record = self._checked(message)
            if record is not None:
                self._heard.add(marker)
                self._take(self._order.add(marker, record.stamp_ns, (marker, record.pose[:3, 3])))

        return on_marker

    def _on_watch(self) -> None:
        """Wait no longer for a marker that was not heard since the last time; without it there is no target."""
        for marker in self.config.markers:
            if marker not in self._heard:
                self._take(self._order.silent(marker))
                self._close(f'marker {marker} is not seen')
        self._heard.clear()

    def _on_fix(self, message: PoseWithCovarianceStamped) -> None:
        record = self._checked(message)
        if record is not None:
            self._fixes.append((record.stamp_ns, record.pose[:3, 3]))

    def _take(self, frames: list[tuple[int, list[tuple[str, Array]]]]) -> None:
        for stamp_ns, samples in frames:
            try:
                for marker, position in samples:
                    self._session.add_marker(marker, stamp_ns, position)
            except InputError as error:
                self.health.warn('OUT_OF_ORDER', str(error))
                continue
            self._take_fixes(stamp_ns)
            self._publish(self._session.forecast())

    def _take_fixes(self, stamp_ns: int) -> None:
        while self._fixes and self._fixes[0][0] + self.config.fix_wait * NANOSECONDS <= stamp_ns:
            fix_ns, position = self._fixes.popleft()
            try:
                self._session.add_fix(fix_ns, position)
            except (InputError, DegenerateGeometryError) as error:
                self.health.warn('FIX_UNUSED', str(error))

    def _publish(self, forecast: TargetForecast | None) -> None:
        if forecast is None:
            self._close(self._missing())
            return
        position, covariance = forecast.at(self.config.ahead)
        whole = np.zeros((6, 6))
        whole[:3, :3] = covariance
        stamp_ns = forecast.stamp_ns + round(self.config.ahead * NANOSECONDS)
        pose = make_transform(np.eye(3), position)
        self._target.publish(pose_with_covariance(stamp_ns, self.config.frame, pose, whole))
        sigma_mm = 1e3 * float(np.sqrt(np.trace(covariance)))
        values: dict[str, object] = {'target_sigma_mm': sigma_mm, 'fixes': self._session.fixes}
        if forecast.gate is not None:
            self._say_gate(forecast.gate.open)
            values['gate_probability'] = forecast.gate.probability
            values['gate_change_in_s'] = '' if forecast.gate.change_in is None else forecast.gate.change_in
        self.health.set('state', OK, 'OK', f'target {self.config.ahead:g} s ahead, σ {sigma_mm:.2f} mm', values)

    def _missing(self) -> str:
        if self._session.learning < 1.0:
            return f'learning the breath: {100.0 * self._session.learning:.0f} %'
        needed = self.config.respiration.correlation.min_fixes
        if self._session.fixes < needed:
            return f'{self._session.fixes} of {needed} fixes of the target on respiration/fix'
        return 'a marker is missing, or its motion is being learned again'

    def _close(self, reason: str) -> None:
        self.health.set('state', WARN, 'LEARNING', reason)
        if self.config.planned:
            self._say_gate(False)

    def _say_gate(self, is_open: bool) -> None:
        if is_open is not self._open:
            self._open = is_open
            self._gate.publish(Bool(data=is_open))


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RespirationNode))


if __name__ == '__main__':
    main()
