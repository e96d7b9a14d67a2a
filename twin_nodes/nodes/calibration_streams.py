"""The part of calibration_node that ties two streams: hand-eye, or the offset of two clocks alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster

from twin_nodes.core.calibration.hand_eye import HandEyeResult
from twin_nodes.core.calibration.temporal import CONFIDENCE, OffsetResult
from twin_nodes.core.calibration.tie_session import TieSession, TieSessionConfig, TieUpdate
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.stamps import ALL_NS, NANOSECONDS
from twin_nodes.io.results import StoredResult, utc_date, write_result
from twin_nodes.io.time_offsets import StoredOffset, write_offset
from twin_nodes.ros.clock import clock_ns, live_clock
from twin_nodes.ros.conversions import pose_from, pose_with_covariance, transform_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import latched, measurement_subscription
from twin_nodes.ros.ties import withdrawal

KINDS: dict[str, Any] = {'PoseWithCovarianceStamped': PoseWithCovarianceStamped, 'PoseStamped': PoseStamped}
# While the ties are solved for, half a second at most, no sample may be lost.
DEEP = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=500)


@dataclass(frozen=True)
class StreamsConfig:
    """Settings of the modes hand_eye and time."""

    eye: str = setting('The eye (hand_eye) or the other device (time): its poses are `<eye>/<eye_topic>`.', '')
    eye_topic: str = setting('Last part of the topic of its poses.', 'filtered_cp')
    eye_type: str = setting('Type of the poses of the eye.', 'PoseWithCovarianceStamped', choices=tuple(KINDS))
    eye_frame: str = setting('Frame of the poses of the eye; empty for any.', '')
    inverted: bool = setting('Whether they hold the target in the eye, as cameras say, and not the eye in it.', False)
    child_frame: str = setting('Frame of the eye on tf; empty for `<tool>_optical`.', '')
    target_frame: str = setting('Frame of the target on tf; empty to leave it off.', '')
    target_file: str = setting('Where base_T_target is written; empty for nowhere.', '')
    offset_file: str = setting('Where the offset of the clocks is written; empty for nowhere.', '')
    session: TieSessionConfig = group(TieSessionConfig)


class StreamCalibration:
    """Connects two streams of poses to one `TieSession`.

    Args:
        node: The node that this is a part of.
        health: Its health.
        tool: The hand, or the device whose clock counts.
        tracker_frame: Frame of its poses.
        result_file: Where hand_T_eye is written, or ''.
        config: Settings.
        ties: Whether the ties are sought, and not the offset alone.
    """

    def __init__(
        self, node: Node, health: Health, *, tool: str, tracker_frame: str, result_file: str, config: StreamsConfig,
        ties: bool,
    ) -> None:  # fmt: skip
        if not config.eye:
            raise ConfigError('streams.eye must be given in the modes hand_eye and time: whose poses are compared')
        if config.eye == tool:
            raise ConfigError(f'streams.eye={config.eye!r} is the tool itself: two different streams are needed')
        self._node, self._health, self._config, self._ties = node, health, config, ties
        self._tool, self._frame, self._file = tool, tracker_frame, result_file
        self._child = config.child_frame or f'{tool}_optical'
        self._session = TieSession(config.session, ties=ties)
        replay = is_replay(node)
        self._now_ns = live_clock(node)
        self._said: object = None
        self._finished = False
        topic = f'calibration/{tool}'
        kind, quality = PoseWithCovarianceStamped, latched(replay=replay)
        self._tie = node.create_publisher(kind, topic, quality) if ties else None
        self._target = node.create_publisher(kind, f'{topic}/target', quality) if ties else None
        self._progress = ProgressOutput(node, topic)
        self._tf = StaticTransformBroadcaster(node)
        self._services = (
            node.create_service(Trigger, '~/restart', self._on_restart),
            node.create_service(Trigger, '~/accept', self._on_accept),
        )
        health.set('state', WARN, 'CALIBRATING', self._session.update.message)
        quality = measurement_subscription(replay=True) if replay else DEEP
        node.create_subscription(PoseWithCovarianceStamped, f'{tool}/filtered_cp', self._on_hand, quality)
        node.create_subscription(KINDS[config.eye_type], f'{config.eye}/{config.eye_topic}', self._on_eye, quality)
        self._jump = on_jump_back(node, self._reset)

    def _on_eye(self, message: Any) -> None:
        if self._finished:
            return
        try:
            # its clock may be of its own: a stamp ahead of ours is no fault here
            record = pose_from(message, frame=self._config.eye_frame or None)
            self._session.add_eye(record.stamp_ns, inverse(record.pose) if self._config.inverted else record.pose)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))

    def _on_hand(self, message: PoseWithCovarianceStamped) -> None:
        if self._finished:
            return
        try:
            record = pose_from(message, frame=self._frame, now_ns=self._now_ns())
            update = self._session.add_hand(record.stamp_ns, record.pose)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self._take(record.stamp_ns, update)

    def _take(self, stamp_ns: int, update: TieUpdate) -> None:
        result = update.ties or update.offset
        if update is not self._said:
            self._said = update
            if update.usable and update.ties is not None:
                self._publish(stamp_ns, update.ties)
            self._report(update)
        self._progress.say(stamp_ns)
        if update.done and result is not None:
            self._finish(update)

    def _publish(self, stamp_ns: int, ties: HandEyeResult) -> None:
        assert self._tie is not None and self._target is not None
        self._tie.publish(pose_with_covariance(stamp_ns, self._tool, ties.hand_T_eye, ties.covariance))
        self._target.publish(pose_with_covariance(stamp_ns, self._frame, ties.base_T_target, ties.target_covariance))
        self._progress.result(stamp_ns)
        edges = [transform_stamped(stamp_ns, self._tool, self._child, ties.hand_T_eye)]
        if self._config.target_frame:
            edges.append(transform_stamped(stamp_ns, self._frame, self._config.target_frame, ties.base_T_target))
        self._tf.sendTransform(edges)

    def _report(self, update: TieUpdate) -> None:
        values: dict[str, object] = {
            'turn_deg': float(np.degrees(update.turn)),
            'second_axis_deg': float(np.degrees(update.span)),
            'seconds': update.duration,
            'samples': f'{update.samples[0]} {update.samples[1]}',
        }
        if update.ties is not None:
            ties = update.ties
            values |= {
                'position_sigma_mm': ties.position_sigma * 1e3,
                'rotation_sigma_deg': float(np.degrees(ties.rotation_sigma)),
                'residual_mm': float(np.median(ties.position_residuals)) * 1e3,
                'residual_deg': float(np.degrees(np.median(ties.rotation_residuals))),
                'outliers': len(ties.outliers),
                'verdict': str(ties.verdict),
            }
        level, code = (OK, 'OK') if update.usable else (WARN, 'CALIBRATING')
        self._health.set('state', level, code, update.message, values)
        clock = _clock(update)
        if clock is not None:
            offset_ns, sigma = clock
            half = CONFIDENCE * sigma
            offset = offset_ns / NANOSECONDS
            values = {
                'offset_ms': f'{offset * 1e3:.4f}', 'sigma_ms': sigma * 1e3, 'low_ms': f'{(offset - half) * 1e3:.4f}',
                'high_ms': f'{(offset + half) * 1e3:.4f}', 'offset_ns': offset_ns,
            }  # fmt: skip
            message = f'{offset * 1e3:.2f} ± {sigma * 1e3:.2f} ms, added to the stamps of {self._config.eye}'
            self._health.set('clock', level, code, message, values)

    def _finish(self, update: TieUpdate) -> None:
        self._finished = True
        self._progress.say(ALL_NS)
        self._node.get_logger().info(update.message)
        data = self._session.data()
        try:
            if update.ties is not None:
                self._write_ties(update.ties, hashlib.sha256(data).hexdigest())
            clock = _clock(update)
            if self._config.offset_file and clock is not None:
                result: HandEyeResult | OffsetResult | None = update.ties or update.offset
                assert result is not None
                half = round(CONFIDENCE * clock[1] * NANOSECONDS)
                stored = StoredOffset(
                    self._tool, self._config.eye, clock[0], clock[1], clock[0] - half, clock[0] + half,
                    str(result.verdict), utc_date(), result.reasons, (hashlib.sha256(data).hexdigest(),),
                )  # fmt: skip
                write_offset(Path(self._config.offset_file), stored)
        except ConfigError as error:
            self._node.get_logger().error(str(error))

    def _write_ties(self, ties: HandEyeResult, sha256: str) -> None:
        frames = (self._tool, self._child), (self._frame, self._config.target_frame or 'target')
        for kind, file, (parent, child), pose, covariance in (
            ('hand_eye', self._file, frames[0], ties.hand_T_eye, ties.covariance),
            ('robot_world', self._config.target_file, frames[1], ties.base_T_target, ties.target_covariance),
        ):
            if file:
                write_result(
                    Path(file),
                    StoredResult(
                        kind, parent, child, pose, covariance, ties.figures(), str(ties.verdict), utc_date(),
                        reasons=ties.reasons, data_sha256=sha256,
                    ),
                )  # fmt: skip

    def _reset(self) -> None:
        self._session.reset()
        self._finished, self._said = False, None
        self._progress.reset()

    def _on_restart(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        now_ns = clock_ns(self._node)
        if self._tie is not None and self._target is not None:
            self._tie.publish(withdrawal(now_ns, self._tool))
            self._target.publish(withdrawal(now_ns, self._frame))
        response.success, response.message = True, 'move the body'
        self._health.set('state', WARN, 'CALIBRATING', 'started again: move the body')
        return response

    def _on_accept(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            update = self._session.accept()
        except DegenerateGeometryError as error:
            response.success, response.message = False, str(error)
            return response
        if not self._finished:
            self._take(clock_ns(self._node), update)
        response.success, response.message = True, update.message
        return response


def _clock(update: TieUpdate) -> tuple[int, float] | None:
    """The offset [ns] and its sigma [s], where one was sought and found."""
    if update.offset is not None:
        return update.offset.offset_ns, update.offset.sigma
    if update.ties is not None and update.ties.offset_sigma > 0.0:
        return update.ties.offset_ns, update.ties.offset_sigma
    return None
