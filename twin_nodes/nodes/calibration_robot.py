"""The part of calibration_node that finds where the base of an arm stands in a tracker or camera."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster

from twin_nodes.core.calibration.tie_session import TieSessionConfig
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.robot.base_registration import BaseRegistration, BaseRegistrationConfig
from twin_nodes.core.robot.base_session import BaseSession, BaseUpdate, body_T_tip, sigmas
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.stamps import ALL_NS, NANOSECONDS
from twin_nodes.io.base_ties import stored_base
from twin_nodes.io.results import utc_date, write_result
from twin_nodes.nodes.calibration_streams import DEEP, KINDS
from twin_nodes.ros.clock import clock_ns, live_clock
from twin_nodes.ros.conversions import pose_from, pose_with_covariance, transform_stamped
from twin_nodes.ros.crtk import read_joints
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import latched, measurement_subscription
from twin_nodes.ros.ties import withdrawal

ASKED = 'move all joints through half their range, the wrist about two axes'


@dataclass(frozen=True)
class PairedJointsConfig(JointsConfig):
    """Joint states that are paired with poses by their stamps: what waited while the base was solved for counts."""

    max_age: float = setting('Older messages are not used.', 10.0, unit='s', minimum=0.001, maximum=60.0)


@dataclass(frozen=True)
class RobotBaseConfig:
    """Settings of the mode robot."""

    arm: str = setting('The arm: its joints are `<arm>/measured_js`; the tool is a body fixed to its tip.', '')
    model: str = setting('A published model (psm_classic, …), or a URDF or xacro file.', 'psm_classic')
    tip: str = setting('Link that the body is fixed to; empty for the tip of the model.', '')
    body_topic: str = setting('Last part of the topic of the poses of the body.', 'filtered_cp')
    body_type: str = setting('Type of the poses of the body.', 'PoseWithCovarianceStamped', choices=tuple(KINDS))
    joints: PairedJointsConfig = group(PairedJointsConfig)
    registration: BaseRegistrationConfig = group(BaseRegistrationConfig)


class RobotBaseCalibration:
    """Connects the joints of an arm and a body on its tip to one `BaseSession`.

    Out: `calibration/<arm>_base`, the base in the tracker or camera; `calibration/<tool>`, the tip in the body; both
    latched with their covariances, and on /tf_static.

    Args:
        node: The node that this is a part of.
        health: Its health.
        tool: The body on the tip.
        frame: Frame of its poses: of the tracker or camera.
        result_file: Where the base is written, or ''.
        config: Settings.
        session: How long, how often, clocks and error limits.
    """

    def __init__(
        self, node: Node, health: Health, *, tool: str, frame: str, result_file: str, config: RobotBaseConfig,
        session: TieSessionConfig,
    ) -> None:  # fmt: skip
        if not config.arm:
            raise ConfigError('robot.arm must be given in the mode robot: whose base is wanted')
        self._node, self._health, self._config = node, health, config
        self._tool, self._frame, self._file = tool, frame, result_file
        from twin_nodes.core.robot.chain import SerialChain  # compiled kinematics, which other modes do not load
        from twin_nodes.io.urdf import open_robot

        try:
            self._chain = SerialChain(open_robot(config.model), tip=config.tip)
        except InputError as error:
            raise ConfigError(f'arm {config.arm}: {error}', code=error.code) from None
        self._reader = JointReader(self._chain, config.joints, arm=config.arm)
        self._session = BaseSession(self._chain, session, config.registration)
        replay = is_replay(node)
        self._now_ns = live_clock(node)
        self._said: BaseUpdate | None = None
        self._published: BaseRegistration | None = None
        self._finished = False
        kind, quality = PoseWithCovarianceStamped, latched(replay=replay)
        self._base = node.create_publisher(kind, f'calibration/{config.arm}_base', quality)
        self._tip = node.create_publisher(kind, f'calibration/{tool}', quality)
        self._progress = ProgressOutput(node, f'calibration/{tool}')
        self._tf = StaticTransformBroadcaster(node)
        self._service = node.create_service(Trigger, '~/restart', self._on_restart)
        health.set('state', WARN, 'CALIBRATING', self._session.update.message)
        quality = measurement_subscription(replay=True) if replay else DEEP
        node.create_subscription(JointState, f'{config.arm}/measured_js', self._on_joints, quality)
        node.create_subscription(KINDS[config.body_type], f'{tool}/{config.body_topic}', self._on_body, quality)
        self._jump = on_jump_back(node, self._reset)

    def _on_joints(self, message: JointState) -> None:
        try:
            sample = read_joints(message, self._reader, now_ns=self._now_ns())
        except InputError as error:
            self._health.warn(error.code or 'JOINTS_WRONG', f'{self._config.arm}/measured_js: {error}')
            return
        self._session.add_joints(sample.stamp_ns, sample.positions)

    def _on_body(self, message: Any) -> None:
        try:
            record = pose_from(message, frame=self._frame)
            update = self._session.add_body(record.stamp_ns, record.pose)
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        if update is not self._said:
            self._said = update
            self._take(record.stamp_ns, update)
        self._progress.say(ALL_NS if self._finished else record.stamp_ns)

    def _take(self, stamp_ns: int, update: BaseUpdate) -> None:
        if update.usable and update.result is not None:
            self._publish(stamp_ns, update.result)
        elif self._published is not None and update.result is None:
            self._withdraw(stamp_ns)
        self._report(update)
        if update.done and update.result is not None:
            self._finish(update, update.result)

    def _publish(self, stamp_ns: int, result: BaseRegistration) -> None:
        self._published = result
        arm, tip, covariance = self._config.arm, *body_T_tip(result)
        base = pose_with_covariance(stamp_ns, self._frame, result.reference_T_base, result.covariance)
        self._base.publish(base)
        self._tip.publish(pose_with_covariance(stamp_ns, self._tool, tip, covariance))
        self._progress.result(stamp_ns)
        self._tf.sendTransform(
            [
                transform_stamped(stamp_ns, self._frame, f'{arm}_base', result.reference_T_base),
                transform_stamped(stamp_ns, self._tool, f'{self._tool}_tip', tip),
            ]
        )

    def _withdraw(self, stamp_ns: int) -> None:
        self._published, self._finished = None, False
        self._base.publish(withdrawal(stamp_ns, self._frame))
        self._tip.publish(withdrawal(stamp_ns, self._tool))

    def _report(self, update: BaseUpdate) -> None:
        values: dict[str, object] = {
            'turn_deg': float(np.degrees(update.turn)),
            'second_axis_deg': float(np.degrees(update.span)),
            'seconds': update.duration,
            'samples': f'{update.samples[0]} {update.samples[1]}',
        }
        result = update.result
        if result is not None:
            position, rotation = sigmas(result)
            values |= {
                'position_sigma_mm': position * 1e3,
                'rotation_sigma_deg': float(np.degrees(rotation)),
                'residual_mm': result.position_rms * 1e3,
                'residual_without_offsets_mm': result.position_rms_before * 1e3,
                'clock_offset_ms': update.offset_ns / NANOSECONDS * 1e3,
                'cannot_be_told': ' '.join(result.unseen),
                'verdict': str(result.verdict),
            }
            values |= {f'offset_{offset.name}': offset.value for offset in result.offsets}
            values |= {f'sigma_{offset.name}': offset.sigma for offset in result.offsets}
        if not update.usable:
            self._health.set('state', WARN, 'CALIBRATING', update.message, values)
        elif result is not None and result.offsets:
            self._health.set('state', WARN, 'ROBOT_OFFSET', update.message, values)
        else:
            self._health.set('state', OK, 'OK', update.message, values)

    def _finish(self, update: BaseUpdate, result: BaseRegistration) -> None:
        if self._finished:
            return
        self._finished = True
        self._node.get_logger().info(f'{self._config.arm}: {update.message}')
        if not self._file:
            return
        digest = hashlib.sha256(self._session.data()).hexdigest()
        stored = stored_base(result, self._config.arm, self._frame, date=utc_date(), data_sha256=digest)
        try:
            write_result(Path(self._file), stored)
        except ConfigError as error:
            self._node.get_logger().error(str(error))

    def _reset(self) -> None:
        self._session.reset()
        self._reader.reset()
        self._finished, self._said, self._published = False, None, None
        self._progress.reset()

    def _on_restart(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        self._withdraw(clock_ns(self._node))
        response.success, response.message = True, ASKED
        self._health.set('state', WARN, 'CALIBRATING', f'started again: {ASKED}')
        return response
