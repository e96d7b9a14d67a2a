"""registration_node: ties patient and anatomy by landmarks that the tool's tip touches, and says what is missing."""

import hashlib
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_srvs.srv import Trigger
from tf2_ros import StaticTransformBroadcaster

from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.pairing import (
    REPLAY_CAPACITY,
    Pair,
    PairingConfig,
    StampedCovariance,
    Unpaired,
    stream_pairing,
)
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.geometry.ties import Tie, TieStream
from twin_nodes.core.registration.paired_points import PairedPointResult
from twin_nodes.core.registration.session import LandmarkSession, LandmarkSessionConfig, SessionUpdate
from twin_nodes.core.registration.tre import target_errors
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.results import StoredResult, read_result, utc_date, write_result
from twin_nodes.ros.conversions import StampedPose, pose_from, pose_with_covariance, transform_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import ALL_NS, ProgressOutput, follow_progress, is_replay
from twin_nodes.ros.qos import latched, measurement_subscription
from twin_nodes.ros.run import run_node
from twin_nodes.ros.ties import tie_from, withdrawal


@dataclass(frozen=True)
class RegistrationNodeConfig:
    """Settings of registration_node."""

    tool: str = setting('The calibrated tool that touches the landmarks.')
    patient: str = setting('Reference body on the patient.', 'patient')
    tracker_frame: str = setting('Frame of the poses.', 'tracker')
    anatomy_frame: str = setting('Frame of the landmarks.', 'anatomy')
    landmarks_file: str = setting(
        'Landmarks: YAML (name: [x, y, z] in metres), a PLUS configuration, or `room` for the simulated room.', ''
    )
    targets_file: str = setting(
        'Targets whose expected error (TRE) is told: YAML as the landmarks; empty for none.', ''
    )
    registration_file: str = setting('A result of `twin register`, published instead of collecting.', '')
    result_file: str = setting('Where a complete live result is written; empty for nowhere.', '')
    session: LandmarkSessionConfig = group(LandmarkSessionConfig)
    pairing: PairingConfig = group(PairingConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not (self.landmarks_file or self.registration_file):
            raise ConfigError('give landmarks_file to register live, or registration_file to use a result')


class RegistrationNode(Node):
    """Connects the paired poses of tool and patient to one `LandmarkSession`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('registration', **kwargs)
        self.config = declare_config(self, RegistrationNodeConfig)
        self.health = Health(self)
        self._replay = replay = is_replay(self)
        state = latched(replay=replay)
        self._registration = self.create_publisher(PoseWithCovarianceStamped, 'registration', state)
        self._progress = ProgressOutput(self, 'registration')
        self._tf = StaticTransformBroadcaster(self)
        self._tip = TieStream(ordered=replay)
        self._used_tip: Tie | None = None
        self._tip_error = np.zeros((3, 3))
        self._pending: deque[Pair | Unpaired] = deque()
        self._done = False
        targets = self.config.targets_file
        self._targets = read_landmarks(targets, minimum=1) if targets else ((), np.empty((0, 3)))
        if self.config.registration_file:
            self._publish_file(Path(self.config.registration_file))
            return
        names, positions = read_landmarks(self.config.landmarks_file)
        self._session = LandmarkSession(names, positions, self.config.session)
        self._pairing = stream_pairing(self.config.pairing, replay=replay)
        self.health.set('state', WARN, 'NOT_CALIBRATED', f'waiting for the calibration of {self.config.tool}')
        self._reset_service = self.create_service(Trigger, '~/reset', self._on_reset)
        qos = measurement_subscription(replay=replay)
        tool, patient = self.config.tool, self.config.patient
        subscribe = self.create_subscription
        subscribe(PoseWithCovarianceStamped, f'calibration/{tool}', self._on_calibration, state)
        follow_progress(self, f'calibration/{tool}', self._on_calibration_progress)
        subscribe(PoseWithCovarianceStamped, f'{patient}/filtered_cp', self._on_patient, qos)
        subscribe(PoseWithCovarianceStamped, f'{tool}/filtered_cp', self._on_tool, qos)
        self._jump = on_jump_back(self, self._on_jump)

    def _publish_file(self, path: Path) -> None:
        result = read_result(path, kind='registration', parent=self.config.patient, usable=True)
        self._publish(0, result.parent_T_child, result.covariance)  # known beforehand: it holds at all times
        self._progress.say(ALL_NS)
        self._done = True
        message = f'from {path.name}, measured {result.date}, {result.verdict}'
        self.health.set('state', OK, 'OK', message, self._tre_values(result.parent_T_child, result.covariance))

    def _tre_values(self, patient_T_anatomy: Array, covariance: Array) -> dict[str, object]:
        errors = target_errors(patient_T_anatomy, covariance, *self._targets).rms
        return {f'tre {name} mm': error * 1e3 for name, error in errors.items()}

    def _now_ns(self) -> int | None:
        return None if self._replay else int(self.get_clock().now().nanoseconds)

    def _checked(self, message: PoseWithCovarianceStamped, frame: str) -> StampedPose | None:
        try:
            return pose_from(message, frame=frame, now_ns=self._now_ns())
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', str(error))
            return None

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        try:
            tie = tie_from(message, frame=self.config.tool, now_ns=self._now_ns())
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self._tip.add(tie)
        self._drain()
        if tie.withdrawn and not self._done:
            self.health.set('state', WARN, 'NOT_CALIBRATED', f'waiting for the calibration of {self.config.tool}')
        elif not self._done and not self._session.dwells:
            names = ', '.join(self._session.names)
            self.health.set('state', WARN, 'NOT_REGISTERED', f'touch the landmarks: {names}', self._values(None))

    def _on_calibration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._tip.progress(done_ns, newest_ns)
        self._drain()

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        record = self._checked(message, self.config.tracker_frame)
        if record is not None and not self._done:
            assert record.covariance is not None
            self._take(self._pairing.add_reference(StampedCovariance(record.stamp_ns, record.pose, record.covariance)))

    def _on_tool(self, message: PoseWithCovarianceStamped) -> None:
        record = self._checked(message, self.config.tracker_frame)
        if record is not None and not self._done:
            assert record.covariance is not None
            self._take(self._pairing.add_sample(StampedCovariance(record.stamp_ns, record.pose, record.covariance)))

    def _take(self, settled: list[Pair | Unpaired]) -> None:
        self._pending.extend(settled)
        self._drain()

    def _drain(self) -> None:
        pending = self._pending
        while pending and (self._tip.settled(pending[0].stamp_ns) or len(pending) > REPLAY_CAPACITY):
            item = pending.popleft()
            if not self._done:
                self._take_one(item)
                self._progress.say(ALL_NS if self._done else item.stamp_ns)

    def _take_one(self, item: Pair | Unpaired) -> None:
        if isinstance(item, Unpaired):
            self.health.count('NO_TRANSFORM')
            return
        tip = self._tip.at(item.stamp_ns)
        if tip is None:
            return
        if tip is not self._used_tip:
            self._use_tip(tip)
        patient_T_tool = inverse(item.reference.pose) @ item.sample.pose
        tip_patient = transform_points(patient_T_tool, tip.pose[:3, 3])
        update = self._session.add(item.stamp_ns, tip_patient, patient_T_tool[:3, :3] @ self._tip_error)
        if update is not None:
            self._on_update(update)

    def _use_tip(self, tip: Tie) -> None:
        """Take a new tip; when it lies beyond the error of the one before, what was touched is to be touched again."""
        before, self._used_tip = self._used_tip, tip
        self._tip_error = square_root(tip.covariance[:3, :3])
        if before is None:
            return
        moved = float(np.linalg.norm(tip.pose[:3, 3] - before.pose[:3, 3]))
        if moved > 3.0 * float(np.trace(before.covariance[:3, :3])) ** 0.5:
            self._session.reset()
            message = f'the tip was calibrated anew, {moved * 1e3:.2f} mm off: touch all landmarks again'
            self.health.set('state', WARN, 'NOT_REGISTERED', message, self._values(None))

    def _on_update(self, update: SessionUpdate) -> None:
        if update.usable and update.result is not None:
            self._publish(update.stamp_ns, update.result.patient_T_anatomy, update.result.covariance)
        self._done = update.complete and not update.provisional
        if update.final and not update.provisional and update.result is not None and self.config.result_file:
            self._write(update.result)
        if update.usable:
            level, code = (OK, 'OK') if not update.match.missing else (WARN, 'NOT_REGISTERED')
            if update.result is not None and update.result.reasons:
                level, code = WARN, 'REGISTRATION_POOR'
        else:
            level, code = WARN, 'REGISTRATION_REFUSED' if update.result is not None else 'NOT_REGISTERED'
        self.health.set('state', level, code, update.message, self._values(update))
        self.get_logger().info(update.message, throttle_duration_sec=1.0)

    def _write(self, result: PairedPointResult) -> None:
        positions = np.array([dwell.position_patient for dwell in self._session.dwells])
        errors = target_errors(result.patient_T_anatomy, result.covariance, *self._targets).rms
        stored = StoredResult(
            kind='registration',
            parent_frame=self.config.patient,
            child_frame=self.config.anatomy_frame,
            parent_T_child=result.patient_T_anatomy,
            covariance=result.covariance,
            errors={'fre_m': result.fre_rms, 'fle_m': result.fle_rms, 'fiducials_count': float(len(result.names))}
            | {f'tre_{name}_m': error for name, error in errors.items()},
            verdict=str(result.verdict),
            date=utc_date(),
            tool=self.config.tool,
            reasons=result.reasons,
            data_sha256=hashlib.sha256(positions.tobytes()).hexdigest(),
        )
        try:
            write_result(Path(self.config.result_file), stored)
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _values(self, update: SessionUpdate | None) -> dict[str, object]:
        total = len(self._session.names)
        if update is None:
            return {'landmarks_found': 0, 'landmarks': total}
        values: dict[str, object] = {
            'landmarks_found': len(update.found),
            'landmarks': total,
            'dwells': len(self._session.dwells),
            'missing': ', '.join(update.match.missing),
        }
        if update.result is not None:
            values['fre_mm'] = update.result.fre_rms * 1e3
            values |= {f'residual {name} mm': length * 1e3 for name, length in update.result.residuals.items()}
            values |= {f'left out {name} mm': length * 1e3 for name, length in update.result.excluded.items()}
            values |= self._tre_values(update.result.patient_T_anatomy, update.result.covariance)
        return values

    def _publish(self, stamp_ns: int, patient_T_anatomy: Array, covariance: Array) -> None:
        patient, anatomy = self.config.patient, self.config.anatomy_frame
        self._registration.publish(pose_with_covariance(stamp_ns, patient, patient_T_anatomy, covariance))
        self._progress.result(stamp_ns)
        self._tf.sendTransform(transform_stamped(stamp_ns, patient, anatomy, patient_T_anatomy))

    def _reset(self) -> None:
        self._session.reset()
        self._pairing.reset()
        self._pending.clear()
        self._done = False
        self._progress.reset()

    def _on_jump(self) -> None:
        self._tip.reset()
        self._reset()

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        self._registration.publish(withdrawal(int(self.get_clock().now().nanoseconds), self.config.patient))
        self.health.set('state', WARN, 'NOT_REGISTERED', 'started again: touch the landmarks', self._values(None))
        response.success, response.message = True, 'touch the landmarks again'
        return response


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RegistrationNode))


if __name__ == '__main__':
    main()
