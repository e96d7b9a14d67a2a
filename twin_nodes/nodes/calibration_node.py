"""calibration_node: finds the tip and axis of a tool, the ties of hand and eye, clocks' offsets, or the base of an arm.

While it collects it says what is missing; a known tip is published from its file.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster

from twin_nodes.core.calibration.pivot import PivotResult
from twin_nodes.core.calibration.session import PivotSession, PivotSessionConfig, PivotUpdate
from twin_nodes.core.calibration.spin import SpinResult
from twin_nodes.core.calibration.spin_session import SpinSession, SpinSessionConfig, SpinUpdate
from twin_nodes.core.calibration.tip_frame import tip_tie
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.pairing import PairingConfig, Unpaired
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.geometry.synchroniser import Together
from twin_nodes.core.stamps import ALL_NS
from twin_nodes.io.results import StoredResult, read_result, utc_date, write_result
from twin_nodes.io.tip_frames import stored_tip_frame
from twin_nodes.nodes.calibration_robot import RobotBaseCalibration, RobotBaseConfig
from twin_nodes.nodes.calibration_streams import StreamCalibration, StreamsConfig
from twin_nodes.ros.checked import checked_pose
from twin_nodes.ros.clock import clock_ns, live_clock
from twin_nodes.ros.conversions import pose_with_covariance, transform_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import latched, measurement_subscription
from twin_nodes.ros.run import run_node
from twin_nodes.ros.synchroniser import Synchroniser
from twin_nodes.ros.ties import withdrawal

MODES = ('tip', 'hand_eye', 'time', 'robot')


@dataclass(frozen=True)
class CalibrationNodeConfig:
    """Settings of calibration_node."""

    tool: str = setting(
        'The tool whose tip is wanted; the hand (hand_eye), the device whose clock counts (time), or a body on the tip '
        'of an arm (robot).'
    )
    mode: str = setting(
        'tip: pivot, and spin if wanted; hand_eye: where an eye sits on the tool; time: the offset of two clocks; '
        'robot: where the base of an arm stands.',
        'tip',
        choices=MODES,
    )
    reference: str = setting('Body that carries the dimple; empty when it rests in the tracker frame.', '')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    tip_file: str = setting(
        'A known tip, published instead of collecting: a result of `twin calibrate` or a PLUS configuration.', ''
    )
    result_file: str = setting('Where a live result is written; empty for nowhere.', '')
    session: PivotSessionConfig = group(PivotSessionConfig)
    spin: bool = setting(
        'Whether a turn about the shaft is asked for after the pivot, for the axis of the tool.', False
    )
    spinning: SpinSessionConfig = group(SpinSessionConfig)
    streams: StreamsConfig = group(StreamsConfig)
    robot: RobotBaseConfig = group(RobotBaseConfig)
    pairing: PairingConfig = group(PairingConfig)


class CalibrationNode(Node):
    """Connects the poses of one tool to a `PivotSession` and a `SpinSession`, or two streams to a `TieSession`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('calibration', **kwargs)
        self.config = declare_config(self, CalibrationNodeConfig)
        self.health = Health(self)
        replay = is_replay(self)
        self._now_ns = live_clock(self)
        if self.config.mode == 'robot':
            self._robot = RobotBaseCalibration(
                self, self.health, tool=self.config.tool, frame=self.config.tracker_frame,
                result_file=self.config.result_file, config=self.config.robot, session=self.config.streams.session,
            )  # fmt: skip
            return
        if self.config.mode != 'tip':
            self._streams = StreamCalibration(
                self, self.health, tool=self.config.tool, tracker_frame=self.config.tracker_frame,
                result_file=self.config.result_file, config=self.config.streams, ties=self.config.mode == 'hand_eye',
            )  # fmt: skip
            return
        topic = f'calibration/{self.config.tool}'
        self._calibration = self.create_publisher(PoseWithCovarianceStamped, topic, latched(replay=replay))
        self._progress = ProgressOutput(self, topic)
        self._tf = StaticTransformBroadcaster(self)
        self._finished = False
        self._published: PivotResult | SpinResult | None = None
        self._spin: SpinSession | None = None
        self._pivoted: StoredResult | None = None
        if self.config.tip_file:
            self._publish_file(Path(self.config.tip_file))
            return
        self._session = PivotSession(self.config.session)
        self._start_service = self.create_service(Trigger, '~/restart', self._on_restart)
        self.health.set('state', WARN, 'CALIBRATING', 'put the tip into a dimple and tilt the tool about it')
        tool, reference = (f'{name}/filtered_cp' for name in (self.config.tool, self.config.reference))
        if self.config.reference:
            self._together = Synchroniser(
                self, tool, (reference,), self._on_together, health=self.health, frame=self.config.tracker_frame,
                config=self.config.pairing, on_unpaired=self._on_unpaired,
            )  # fmt: skip
        else:
            qos = measurement_subscription(replay=replay)
            self.create_subscription(PoseWithCovarianceStamped, tool, self._on_tool, qos)
        self._jump = on_jump_back(self, self._reset)

    def _publish_file(self, path: Path) -> None:
        tool_T_tip, covariance, sigma = read_tip(path, self.config.tool)
        self._finished = True
        self._publish(0, tool_T_tip, covariance)  # known beforehand: it holds at all times
        self._progress.say(ALL_NS)
        message = f'tip from {path.name}, σ {sigma * 1e3:.2f} mm'
        self.health.set('state', OK, 'OK', message, {'tip_sigma_mm': sigma * 1e3})

    def _on_tool(self, message: PoseWithCovarianceStamped) -> None:
        if self._finished:
            return
        pose = checked_pose(message, frame=self.config.tracker_frame, now_ns=self._now_ns(), health=self.health)
        if pose is not None:
            self._take(pose.stamp_ns, pose.pose)

    def _on_together(self, together: Together) -> None:
        tracker_T_reference = together.references[f'{self.config.reference}/filtered_cp'].pose
        self._take(together.stamp_ns, inverse(tracker_T_reference) @ together.sample.pose)

    def _on_unpaired(self, unpaired: Unpaired) -> None:
        if not self._finished:
            self._progress.say(unpaired.stamp_ns)

    def _take(self, stamp_ns: int, reference_T_tool: Array) -> None:
        if self._finished:
            return
        if self._spin is not None:
            self._take_spin(stamp_ns, self._spin.add(stamp_ns, reference_T_tool))
            return
        update = self._session.add(stamp_ns, reference_T_tool)
        if update.result is not None and update.result is not self._published:
            self._published = update.result
            covariance = np.zeros((6, 6))
            covariance[:3, :3] = update.result.tip_covariance
            self._publish(stamp_ns, make_transform(np.eye(3), update.result.tip_tool), covariance)
        self._report(update)
        self._progress.say(stamp_ns)
        if update.done and update.result is not None:
            self._finish(update.result)

    def _report(self, update: PivotUpdate) -> None:
        values: dict[str, object] = {'tilt_deg': float(np.degrees(update.tilt)), 'poses': update.poses}
        if update.result is None:
            self.health.set('state', WARN, 'CALIBRATING', update.message, values)
            return
        values |= {
            'tip_sigma_mm': update.result.tip_sigma * 1e3,
            'rms_residual_mm': update.result.rms * 1e3,
            'outliers': len(update.result.outliers),
        }
        self.health.set('state', OK, 'OK', update.message, values)

    def _take_spin(self, stamp_ns: int, update: SpinUpdate) -> None:
        assert self._pivoted is not None and self._spin is not None
        values: dict[str, object] = {'spin_deg': float(np.degrees(update.spin)), 'poses': update.poses}
        if update.result is None:
            self.health.set('state', WARN, 'CALIBRATING', f'tip known; {update.message}', values)
        else:
            values |= {'axis_sigma_deg': float(np.degrees(update.result.axis_sigma))}
            values |= {f'pivot_{key}': value for key, value in self._pivoted.errors.items()}
            self.health.set('state', OK, 'OK', update.message, values)
        if update.result is not None and update.result is not self._published:
            self._published = update.result
            pose, covariance = tip_tie(
                self._pivoted.parent_T_child[:3, 3], self._pivoted.covariance[:3, :3], update.result
            )
            self._publish(stamp_ns, pose, covariance)
        self._progress.say(stamp_ns)
        if update.done and update.result is not None:
            self.get_logger().info(f'{self.config.tool}: {update.message}')
            digest = hashlib.sha256(self._spin.poses().tobytes()).hexdigest()
            self._end(stored_tip_frame(self._pivoted, update.result, date=utc_date(), data_sha256=digest, data_file=''))

    def _finish(self, result: PivotResult) -> None:
        message = f'tip of {self.config.tool} known to {result.tip_sigma * 1e3:.2f} mm'
        self.get_logger().info(f'{message}, residual {result.rms * 1e3:.2f} mm RMS')
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = result.tip_covariance
        stored = StoredResult(
            kind='tool_tip',
            parent_frame=self.config.tool,
            child_frame=f'{self.config.tool}_tip',
            parent_T_child=make_transform(np.eye(3), result.tip_tool),
            covariance=covariance,
            errors={'rms_residual_m': result.rms, 'tip_sigma_m': result.tip_sigma},
            verdict=str(result.verdict),
            date=utc_date(),
            tool=self.config.tool,
            reasons=result.reasons,
            data_sha256=hashlib.sha256(self._session.poses().tobytes()).hexdigest(),
        )
        if self.config.spin:
            self._pivoted = stored
            self._spin = SpinSession(self.config.spinning, result.tip_tool)
            self.health.set('state', WARN, 'CALIBRATING', 'tip known; now turn the tool about its shaft')
            return
        self._end(stored)

    def _end(self, stored: StoredResult) -> None:
        self._finished = True
        self._progress.say(ALL_NS)
        if not self.config.result_file:
            return
        try:
            write_result(Path(self.config.result_file), stored)
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _publish(self, stamp_ns: int, tool_T_tip: Array, covariance: Array) -> None:
        tool = self.config.tool
        self._calibration.publish(pose_with_covariance(stamp_ns, tool, tool_T_tip, covariance))
        self._progress.result(stamp_ns)
        self._tf.sendTransform(transform_stamped(stamp_ns, tool, f'{tool}_tip', tool_T_tip))

    def _reset(self) -> None:
        self._session.reset()
        self._finished = False
        self._published = self._spin = self._pivoted = None
        self._progress.reset()

    def _on_restart(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        self._calibration.publish(withdrawal(clock_ns(self), self.config.tool))
        self.health.set('state', WARN, 'CALIBRATING', 'started again: put the tip into a dimple and tilt the tool')
        response.success, response.message = True, 'tilt the tool about its tip'
        return response


def read_tip(path: Path, tool: str) -> tuple[Array, Array, float]:
    """Read the known tip of a tool: tool_T_tip (4, 4), covariance (6, 6), and σ of the tip [m].

    A PLUS configuration states one error for the tip; it is spread evenly over the axes, and 0.5 mm is taken where it
    states none.

    Raises:
        ConfigError: naming the file and what is wrong with it.
    """
    if path.suffix.lower() != '.xml':
        stored = read_result(path, kind='tool_tip', parent=tool, usable=True)
        return stored.parent_T_child, stored.covariance, float(np.sqrt(np.trace(stored.covariance[:3, :3])))
    from twin_nodes.io.recordings.plus_config import read_plus_config

    try:
        config = read_plus_config(path)
        tool_T_tip = config.stylus_T_tip
    except InputError as error:
        raise ConfigError(str(error)) from None
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.eye(3) * config.tip_sigma**2 / 3.0
    return tool_T_tip, covariance, config.tip_sigma


def main() -> None:
    """Run the node."""
    sys.exit(run_node(CalibrationNode))


if __name__ == '__main__':
    main()
