"""What registration_node says: the tie, the targets and the field of expected errors, and the events of its watch."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from tf2_ros import StaticTransformBroadcaster

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.core.registration.drift import DriftFinding, DriftState
from twin_nodes.core.registration.tre import target_errors, tre_field
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.clouds import cloud_from_array
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, transform_stamped
from twin_nodes.ros.health import ERROR, OK, WARN
from twin_nodes.ros.progress import ProgressOutput, is_replay
from twin_nodes.ros.qos import EVENTS, latched
from twin_nodes.ros.ties import withdrawal
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_cloud

EVENTS_TOPIC = 'registration/events'
_PAIRS = ('xx', 'xy', 'xz', 'yy', 'yz', 'zz')
TARGETS_DTYPE = np.dtype(
    [(axis, np.float32) for axis in 'xyz'] + [(f'cov_{pair}', np.float32) for pair in _PAIRS] + [('id', np.uint32)]
)
TRE_DTYPE = np.dtype([(name, np.float32) for name in ('x', 'y', 'z', 'tre')])
DRIFT_LEVELS = {DriftState.OK: OK, DriftState.SUSPECT: WARN, DriftState.DRIFTED: ERROR}
MAX_FIELD_POINTS = 20_000


class _Progress:
    """How far the registration has come, and with it the share of the tip in it."""

    def __init__(self, node: Node) -> None:
        self._registration, self._share = ProgressOutput(node, 'registration'), ProgressOutput(node, TIP_SHARE)

    def shared(self, stamp_ns: int) -> None:
        self._share.result(stamp_ns)

    def result(self, stamp_ns: int) -> None:
        self._registration.result(stamp_ns)

    def say(self, done_ns: int) -> None:
        self._share.say(done_ns)
        self._registration.say(done_ns)

    def reset(self) -> None:
        self._share.reset()
        self._registration.reset()


class RegistrationOutput:
    """The publishers of a registration.

    Args:
        node: The node.
        patient: Frame of the reference body.
        anatomy: Frame of the anatomy.
        names: Of the targets.
        targets_anatomy: Their positions [m], shape (n, 3).
    """

    def __init__(self, node: Node, patient: str, anatomy: str, names: tuple[str, ...], targets_anatomy: Array) -> None:
        state = latched(replay=is_replay(node))
        self._node, self._patient, self._anatomy = node, patient, anatomy
        self._names, self._positions = names, targets_anatomy
        self._vertices = np.empty((0, 3))
        self._last: tuple[int, Array, Array] | None = None
        self._registration = node.create_publisher(PoseWithCovarianceStamped, 'registration', state)
        self._targets = node.create_publisher(PointCloud2, 'registration/targets', state)
        self._field = node.create_publisher(PointCloud2, 'registration/tre', state)
        self._events = node.create_publisher(DiagnosticArray, EVENTS_TOPIC, EVENTS)
        self._share = node.create_publisher(PointCloud2, TIP_SHARE, state)
        self.progress = _Progress(node)
        self._tf = StaticTransformBroadcaster(node)

    def set_surface(self, vertices_anatomy: Array) -> None:
        """Take the surface over which the expected error is told, thinned to some thousand points (n, 3) [m]."""
        self._vertices = vertices_anatomy[:: 1 + len(vertices_anatomy) // MAX_FIELD_POINTS]
        if self._last is not None:
            self._publish_field(*self._last)

    def publish_share(self, share: TipShare, tool: str) -> None:
        """Say how the error of a tool's tip is in the registration of that stamp, which follows."""
        self._share.publish(tip_share_cloud(share, tool))
        self.progress.shared(share.stamp_ns)

    def publish(self, stamp_ns: int, patient_T_anatomy: Array, covariance: Array, *, settled: bool = True) -> None:
        """Publish a registration, and where its targets are; the field only once it is settled."""
        self._registration.publish(pose_with_covariance(stamp_ns, self._patient, patient_T_anatomy, covariance))
        self.progress.result(stamp_ns)
        self._tf.sendTransform(transform_stamped(stamp_ns, self._patient, self._anatomy, patient_T_anatomy))
        self._publish_targets(stamp_ns, patient_T_anatomy, covariance)
        if settled:
            self._last = (stamp_ns, patient_T_anatomy, covariance)
            self._publish_field(*self._last)

    def withdraw(self) -> None:
        """Say that the last registration no longer holds."""
        stamp_ns = clock_ns(self._node)
        self._registration.publish(withdrawal(stamp_ns, self._patient))
        self._last = None
        if self._names:
            self._targets.publish(cloud_from_array(stamp_ns, self._patient, np.zeros(0, TARGETS_DTYPE)))
        if len(self._vertices):
            self._field.publish(cloud_from_array(stamp_ns, self._anatomy, np.zeros(0, TRE_DTYPE)))

    def tre_values(self, patient_T_anatomy: Array, covariance: Array) -> dict[str, object]:
        """Return the expected error at each target for a diagnostic [mm]."""
        errors = target_errors(patient_T_anatomy, covariance, self._names, self._positions).rms
        return {f'tre {name} mm': error * 1e3 for name, error in errors.items()}

    def tre_errors(self, patient_T_anatomy: Array, covariance: Array) -> dict[str, float]:
        """Return the expected error at each target for a result file [m]."""
        errors = target_errors(patient_T_anatomy, covariance, self._names, self._positions).rms
        return {f'tre_{name}_m': error for name, error in errors.items()}

    def publish_event(self, finding: DriftFinding) -> None:
        """Publish that the watch has come to another state."""
        status = DiagnosticStatus(
            name=f'{self._node.get_name()}: drift', level=DRIFT_LEVELS[finding.state], message=finding.message
        )
        values = {'code': finding.state.code, **drift_values(finding)}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = ns_to_stamp(finding.stamp_ns)
        message.header.frame_id = self._patient
        self._events.publish(message)

    def _publish_targets(self, stamp_ns: int, patient_T_anatomy: Array, covariance: Array) -> None:
        if not self._names:
            return
        errors = target_errors(patient_T_anatomy, covariance, self._names, self._positions)
        points = np.zeros(len(self._names), TARGETS_DTYPE)
        for column, axis in enumerate('xyz'):
            points[axis] = errors.positions_patient[:, column]
        for pair in _PAIRS:
            points[f'cov_{pair}'] = errors.covariances[:, 'xyz'.index(pair[0]), 'xyz'.index(pair[1])]
        points['id'] = np.arange(len(points))
        self._targets.publish(cloud_from_array(stamp_ns, self._patient, points))

    def _publish_field(self, stamp_ns: int, patient_T_anatomy: Array, covariance: Array) -> None:
        if not len(self._vertices):
            return
        points = np.zeros(len(self._vertices), TRE_DTYPE)
        for column, axis in enumerate('xyz'):
            points[axis] = self._vertices[:, column]
        points['tre'] = tre_field(patient_T_anatomy, covariance, self._vertices)
        self._field.publish(cloud_from_array(stamp_ns, self._anatomy, points))


def drift_values(finding: DriftFinding) -> dict[str, object]:
    """Return what a finding says in numbers, for a diagnostic."""
    return {
        'checked': finding.what,
        'distance_mm': round(finding.distance * 1e3, 3),
        'expected_mm': round(finding.expected * 1e3, 3),
        'chance': f'{finding.chance:.2g}',
        'evidence': round(finding.evidence, 2),
    }
