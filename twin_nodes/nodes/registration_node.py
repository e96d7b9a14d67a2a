"""registration_node: ties patient and anatomy by touched landmarks and a swabbed surface, and watches that tie."""

import hashlib
import sys
from collections import deque
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import square_root
from twin_nodes.core.geometry.pairing import REPLAY_CAPACITY, Unpaired
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.geometry.synchroniser import Together
from twin_nodes.core.geometry.ties import Tie, TieStream, TipShare
from twin_nodes.core.registration.combined import SwabResult
from twin_nodes.core.registration.drift import DriftFinding, DriftState, Watched
from twin_nodes.core.registration.paired_points import PairedPointResult
from twin_nodes.core.registration.procedure import Procedure, SwabUpdate, Update
from twin_nodes.core.registration.session import LandmarkSession, SessionUpdate
from twin_nodes.core.registration.tip_share import share_of_tip
from twin_nodes.core.stamps import ALL_NS
from twin_nodes.io.landmarks import read_landmarks
from twin_nodes.io.results import StoredResult, read_result, utc_date, write_result
from twin_nodes.nodes.registration_config import RegistrationNodeConfig
from twin_nodes.nodes.swab_input import SwabInput
from twin_nodes.ros.checked import checked_tie
from twin_nodes.ros.clock import live_clock
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import latched
from twin_nodes.ros.registration_output import DRIFT_LEVELS, RegistrationOutput, drift_values
from twin_nodes.ros.registration_values import landmark_values, standing_of, swab_standing_of, swab_values
from twin_nodes.ros.run import run_node
from twin_nodes.ros.synchroniser import Synchroniser


class RegistrationNode(Node):
    """Connects the paired poses of tool and patient to one `Procedure`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('registration', **kwargs)
        self.config = config = declare_config(self, RegistrationNodeConfig)
        self.health = Health(self)
        replay = is_replay(self)
        self._now_ns = live_clock(self)
        targets = config.targets_file
        names, positions = read_landmarks(targets, minimum=1) if targets else ((), np.empty((0, 3)))
        self._output = RegistrationOutput(self, config.patient, config.anatomy_frame, names, positions)
        self._tip = TieStream(ordered=replay)
        self._used_tip: Tie | None = None
        self._tip_error = np.zeros((3, 3))
        self._pending: deque[Together | Unpaired] = deque()
        self._done = False
        self._session = (
            LandmarkSession(*read_landmarks(config.landmarks_file), config.session) if config.landmarks_file else None
        )
        self._procedure = Procedure(self._session, config.swab, config.drift)
        if config.registration_file:
            self._publish_file(Path(config.registration_file))
        else:
            self.health.set('state', WARN, 'NOT_CALIBRATED', f'waiting for the calibration of {config.tool}')
        if self._session is None and not config.structure:
            return
        self._reset_service = self.create_service(Trigger, '~/reset', self._on_reset)
        tool, patient = config.tool, config.patient
        state = latched(replay=replay)
        self.create_subscription(PoseWithCovarianceStamped, f'calibration/{tool}', self._on_calibration, state)
        follow_progress(self, f'calibration/{tool}', self._on_calibration_progress)
        if config.structure:
            self._swab_service = self.create_service(SetBool, '~/swab', self._on_swab)
            self._swab_input = SwabInput(self, config.structure, config.anatomy_frame, self._procedure, self._output)
            if config.cloud_topic:
                self._swab_input.follow_clouds(
                    config.cloud_topic, config.patient, config.tracker_frame, config.pairing, self._on_swabbed
                )
        self._streams = Synchroniser(
            self, f'{tool}/filtered_cp', (f'{patient}/filtered_cp',), self._take, health=self.health,
            frame=config.tracker_frame, config=config.pairing, on_unpaired=self._take_unpaired,
        )  # fmt: skip
        self._jump = on_jump_back(self, self._on_jump)

    def _publish_file(self, path: Path) -> None:
        result = read_result(path, kind='registration', parent=self.config.patient, usable=True)
        pose, covariance = result.parent_T_child, result.covariance
        share = result.tip_share
        if share is None:  # that of an earlier file must not stand
            share = TipShare(0, np.zeros(3), np.zeros((6, 3)))
        self._output.publish_share(share, result.tool or self.config.tool)
        self._output.publish(0, pose, covariance)  # known beforehand: it holds at all times
        self._output.progress.say(ALL_NS)
        self._done = True
        fiducials = round(result.errors.get('fiducials_count', 0.0))
        self._procedure.watch(
            Watched(pose, covariance, result.errors.get('fle_m', 0.0), max(3 * fiducials - 6, 0)), swabbed=True
        )
        message = f'from {path.name}, measured {result.date}, {result.verdict}'
        self.health.set('state', OK, 'OK', message, self._output.tre_values(pose, covariance))

    def _on_calibration(self, message: PoseWithCovarianceStamped) -> None:
        tie = checked_tie(message, frame=self.config.tool, now_ns=self._now_ns(), health=self.health)
        if tie is None:
            return
        self._tip.add(tie)
        self._drain()
        if self._procedure.watching:
            return
        if tie.withdrawn:
            self.health.set('state', WARN, 'NOT_CALIBRATED', f'waiting for the calibration of {self.config.tool}')
        elif self._session is None or not self._session.dwells:
            self.health.set('state', WARN, 'NOT_REGISTERED', self._to_do(), landmark_values(self._session, None))

    def _to_do(self) -> str:
        if self._session is None:
            return f'call ~/swab with true, slide the tip over {self.config.structure}, call it with false'
        return f'touch the landmarks: {", ".join(self._session.names)}'

    def _on_calibration_progress(self, done_ns: int, newest_ns: int) -> None:
        self._tip.progress(done_ns, newest_ns)
        self._drain()

    def _take(self, together: Together) -> None:
        self._pending.append(together)
        self._drain()

    def _take_unpaired(self, unpaired: Unpaired) -> None:
        self._pending.append(unpaired)
        self._drain()

    def _drain(self) -> None:
        pending = self._pending
        while pending and (self._tip.settled(pending[0].stamp_ns) or len(pending) > REPLAY_CAPACITY):
            item = pending.popleft()
            if isinstance(item, Together):
                self._take_one(item)
            self._output.progress.say(ALL_NS if self._done else item.stamp_ns)

    def _take_one(self, item: Together) -> None:
        tip = self._tip.at(item.stamp_ns)
        if tip is None:
            return
        if tip is not self._used_tip:
            self._use_tip(tip)
        (patient,) = item.references.values()
        patient_T_tool = inverse(patient.pose) @ item.sample.pose
        tip_patient = transform_points(patient_T_tool, tip.pose[:3, 3])
        sigma = float(np.sqrt(np.trace(item.sample.covariance[:3, :3])))
        update = self._procedure.add(item.stamp_ns, tip_patient, patient_T_tool[:3, :3] @ self._tip_error, sigma)
        if update is not None:
            self._on_update(update)

    def _use_tip(self, tip: Tie) -> None:
        """Take a new tip; when it lies beyond the error of the one before, what was touched is to be touched again."""
        before, self._used_tip = self._used_tip, tip
        self._tip_error = square_root(tip.covariance[:3, :3])
        if before is None or self._procedure.watching:
            return
        moved = float(np.linalg.norm(tip.pose[:3, 3] - before.pose[:3, 3]))
        if moved > 3.0 * float(np.trace(before.covariance[:3, :3])) ** 0.5:
            self._procedure.reset()
            message = f'the tip was calibrated anew, {moved * 1e3:.2f} mm off: touch all landmarks again'
            self.health.set('state', WARN, 'NOT_REGISTERED', message, landmark_values(self._session, None))

    def _share(self, stamp_ns: int, shared: Array) -> TipShare | None:
        """Return how the error of the tip is in a registration, for those that use the same tip."""
        if self._used_tip is None or shared.shape[1] != 3 or not self._tip_error.any():
            return None
        return TipShare(stamp_ns, self._used_tip.pose[:3, 3], share_of_tip(shared, self._tip_error))

    def _publish_share(self, stamp_ns: int, shared: Array) -> None:
        share = self._share(stamp_ns, shared)
        if share is not None:
            self._output.publish_share(share, self.config.tool)

    def _on_update(self, update: Update) -> None:
        if isinstance(update, DriftFinding):
            self._on_drift(update)
        elif isinstance(update, SwabUpdate):
            self._on_swabbed(update)
        else:
            self._on_landmarks(update)

    def _on_landmarks(self, update: SessionUpdate) -> None:
        result = update.result
        values = landmark_values(self._session, update)
        if result is not None:
            values |= self._output.tre_values(result.patient_T_anatomy, result.covariance)
        if update.usable and result is not None:
            self._publish_share(update.stamp_ns, update.shared)
            self._output.publish(
                update.stamp_ns, result.patient_T_anatomy, result.covariance, settled=not update.provisional
            )
        self._done = update.complete and not update.provisional
        if update.final and not update.provisional and result is not None:
            errors = {'fre_m': result.fre_rms, 'fle_m': result.fle_rms, 'fiducials_count': float(len(result.names))}
            touched = np.array([dwell.position_patient for dwell in self._session.dwells])
            self._write(result, errors, touched, update.shared)
        self.health.set('state', *standing_of(update), update.message, values)
        self.get_logger().info(update.message, throttle_duration_sec=1.0)

    def _on_swabbed(self, update: SwabUpdate) -> None:
        result, values = update.result, swab_values(update)
        if result is not None:
            values |= self._output.tre_values(result.patient_T_anatomy, result.covariance)
        if update.usable and result is not None and not update.provisional:
            self._publish_share(update.stamp_ns, result.shared)
            self._output.publish(update.stamp_ns, result.patient_T_anatomy, result.covariance)
            self._done = True
            errors = {
                'surface_rms_m': result.surface.rms, 'surface_sigma_m': result.sigma,
                'inlier_share_ratio': result.surface.inlier_share, 'points_count': float(update.points),
            }  # fmt: skip
            points = self._procedure.cloud.points
            self._write(result, errors, points, result.shared)
        self.health.set('state', *swab_standing_of(update), update.message, values)
        self.get_logger().info(update.message, throttle_duration_sec=1.0)

    def _on_drift(self, finding: DriftFinding) -> None:
        before = self.health.code('drift')
        self.health.set(
            'drift', DRIFT_LEVELS[finding.state], finding.state.code, finding.message, drift_values(finding)
        )
        if finding.state.code != before and (before or finding.state is not DriftState.OK):
            self._output.publish_event(finding)
        if finding.state is DriftState.OK:
            self.get_logger().info(finding.message)
        else:
            self.get_logger().warning(finding.message)

    def _write(
        self, result: PairedPointResult | SwabResult, errors: dict[str, float], points: Array, shared: Array
    ) -> None:
        if not self.config.result_file:
            return
        pose, covariance = result.patient_T_anatomy, result.covariance
        stored = StoredResult(
            kind='registration',
            parent_frame=self.config.patient,
            child_frame=self.config.anatomy_frame,
            parent_T_child=pose,
            covariance=covariance,
            errors=errors | self._output.tre_errors(pose, covariance),
            verdict=str(result.verdict),
            date=utc_date(),
            tool=self.config.tool,
            reasons=result.reasons,
            data_sha256=hashlib.sha256(points.tobytes()).hexdigest(),
            tip_share=self._share(0, shared),
        )
        try:
            write_result(Path(self.config.result_file), stored)
        except ConfigError as error:
            self.get_logger().error(str(error))

    def _on_swab(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Open a swab, or close it and say what it gives."""
        try:
            if request.data:
                self._procedure.begin_swab()
                response.success, response.message = True, f'slide the tip over {self.config.structure}'
                return response
            update = self._procedure.end_swab()
        except (InputError, DegenerateGeometryError) as error:
            response.success, response.message = False, str(error)
            return response
        self._on_update(update)
        response.success = update.usable if isinstance(update, SwabUpdate) else update.state is DriftState.OK
        response.message = update.message
        return response

    def _reset(self) -> None:
        self._procedure.reset()
        self._streams.reset()
        self._pending.clear()
        self._done = False
        self._output.progress.reset()

    def _on_jump(self) -> None:
        self._tip.reset()
        if not self.config.registration_file:
            self._reset()

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        self._output.withdraw()
        self.health.clear('drift')
        message = f'started again: {self._to_do()}'
        self.health.set('state', WARN, 'NOT_REGISTERED', message, landmark_values(self._session, None))
        response.success, response.message = True, self._to_do()
        return response


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RegistrationNode))


if __name__ == '__main__':
    main()
