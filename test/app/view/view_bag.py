"""A small bag with known truth: a drill that comes near at 4 s and is hidden from 5.2 s to 6.5 s."""

from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view import geometry
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, cloud_from_array, surface_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, transform_stamped

TOOL = 'drill'
START_NS = 1_700_000_000_000_000_000
RATE = 25
NEAR_S, LOST_S, SEEN_S = 4.0, 5.2, 6.5
LATCHED = (OfferedQos(durability='transient_local'),)
KINDS = {
    '/tf': (TFMessage, 'tf2_msgs/msg/TFMessage', ()),
    '/tf_static': (TFMessage, 'tf2_msgs/msg/TFMessage', LATCHED),
    '/drill/filtered_cp': (PoseWithCovarianceStamped, 'geometry_msgs/msg/PoseWithCovarianceStamped', ()),
    '/patient/filtered_cp': (PoseWithCovarianceStamped, 'geometry_msgs/msg/PoseWithCovarianceStamped', ()),
    '/calibration/drill': (PoseWithCovarianceStamped, 'geometry_msgs/msg/PoseWithCovarianceStamped', LATCHED),
    '/registration': (PoseWithCovarianceStamped, 'geometry_msgs/msg/PoseWithCovarianceStamped', LATCHED),
    '/anatomy/surface': (MarkerArray, 'visualization_msgs/msg/MarkerArray', LATCHED),
    '/guidance/clearance': (PointCloud2, 'sensor_msgs/msg/PointCloud2', ()),
    '/guidance/events': (DiagnosticArray, 'diagnostic_msgs/msg/DiagnosticArray', LATCHED),
    '/diagnostics': (DiagnosticArray, 'diagnostic_msgs/msg/DiagnosticArray', ()),
}
COVARIANCE = np.diag([1e-8] * 3 + [1e-6] * 3)


def distance(t: float) -> float:
    """The distance to the nerve at t [s]."""
    return 0.01 - 0.008 * np.sin(np.pi * t / 8.0)


def write_bag(path: Path, *, seconds: float, log_ahead_ns: int = 0) -> Path:
    """Write it; `log_ahead_ns` is how far the clock of the recorder is ahead of the stamps."""
    with BagWriter(path, chunk_bytes=4096) as writer:
        handles = {topic: writer.add_topic(topic, name, qos=qos) for topic, (_, name, qos) in KINDS.items()}

        def put(topic: str, stamp_ns: int, message) -> None:
            writer.write(handles[topic], stamp_ns + log_ahead_ns, serialize_message(message))

        _ties(put)
        for frame in range(round(seconds * RATE) + 1):
            _frame(put, frame / RATE)
    return path


def _ties(put) -> None:
    edges = [
        transform_stamped(START_NS, 'world', 'tracker', make_transform(np.eye(3), [0.0, 0.0, 1.0])),
        transform_stamped(START_NS, TOOL, f'{TOOL}_tip', make_transform(np.eye(3), [0.0, 0.0, -0.1])),
        transform_stamped(START_NS, 'patient', 'anatomy', np.eye(4)),
    ]
    put('/tf_static', START_NS, TFMessage(transforms=edges))
    put('/calibration/drill', START_NS, pose_with_covariance(START_NS, TOOL, edges_pose(-0.1), COVARIANCE))
    put('/registration', START_NS, pose_with_covariance(START_NS, 'patient', np.eye(4), COVARIANCE))


def edges_pose(z: float) -> np.ndarray:
    return make_transform(np.eye(3), [0.0, 0.0, z])


def _frame(put, t: float) -> None:
    stamp = START_NS + round(t * 1e9)
    hidden = LOST_S <= t < SEEN_S
    edges = [transform_stamped(stamp, 'tracker', 'patient', np.eye(4))]
    put('/patient/filtered_cp', stamp, pose_with_covariance(stamp, 'tracker', np.eye(4), COVARIANCE))
    if not hidden:
        pose = make_transform(np.eye(3), [0.02 + 0.01 * t, 0.0, 0.1 + distance(t)])
        edges.append(transform_stamped(stamp, 'tracker', TOOL, pose))
        put('/drill/filtered_cp', stamp, pose_with_covariance(stamp, 'tracker', pose, COVARIANCE))
        rows = np.zeros(1, CLEARANCE_DTYPE)
        rows['distance'] = rows['distance_now'] = distance(t)
        rows['sigma'], rows['time_to_contact'], rows['zone'] = 1e-4, -1.0, int(t >= NEAR_S)
        put('/guidance/clearance', stamp, cloud_from_array(stamp, 'anatomy', rows))
    put('/tf', stamp, TFMessage(transforms=edges))
    if round(t * RATE) % RATE == 0:
        ball = geometry.sphere(np.zeros(3), 0.01 + 1e-4 * t)
        marker = surface_marker(stamp, 'anatomy', 'nerve', 0, ball.vertices, ball.faces, (1.0, 0.9, 0.2, 1.0))
        put('/anatomy/surface', stamp, MarkerArray(markers=[marker]))
    if round(t * RATE) % 10 == 0:
        level = DiagnosticStatus.ERROR if hidden else DiagnosticStatus.OK
        put('/diagnostics', stamp, _array(stamp, f'tracker: tool {TOOL}', level, 'TOOL_LOST' if hidden else 'OK'))
    if round(t * RATE) == round(NEAR_S * RATE):
        put('/guidance/events', stamp, _array(stamp, 'guidance: nerve', DiagnosticStatus.WARN, 'STRUCTURE_NEAR'))


def _array(stamp: int, name: str, level: bytes, code: str) -> DiagnosticArray:
    values = [KeyValue(key='code', value=code)]
    array = DiagnosticArray(status=[DiagnosticStatus(name=name, level=level, message=code.lower(), values=values)])
    array.header.stamp = ns_to_stamp(stamp)
    return array
