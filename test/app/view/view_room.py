"""A small room with known truth that speaks as the real nodes do, over real DDS: for the tests of the view.

Run it by itself beside `python -m twin_nodes.nodes.view_node` to look at the page.
"""

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from scipy.spatial import cKDTree
from sensor_msgs.msg import PointCloud2
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view import geometry
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp, transform_points
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, cloud_from_array, surface_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, transform_stamped
from twin_nodes.ros.qos import DIAGNOSTICS, EVENTS, LATCHED, MEASUREMENT

TOOL = 'drill'
NAMES = ('temporal_bone', 'facial_nerve', 'sigmoid_sinus')
COLOURS = ((0.92, 0.88, 0.78, 1.0), (0.98, 0.85, 0.25, 1.0), (0.35, 0.45, 0.95, 1.0))
# supine: anterior (-y of LPS) points up, superior (+z) along -x of the world
WORLD_R_ANATOMY = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
WORLD_T_TRACKER = geometry.look_at(np.array([0.25, -1.35, 1.5]), np.array([0.0, 0.0, 0.9]), np.array([0.0, 0.0, 1.0]))
WORLD_T_ANATOMY0 = make_transform(WORLD_R_ANATOMY, [0.0, 0.0, 0.9])
PATIENT_T_ANATOMY = inverse(make_transform(rotation_exp([np.pi / 2, 0.0, 0.0]), [0.035, -0.075, 0.055]))
TOOL_T_TIP = make_transform(np.eye(3), [0.0, 0.0, -0.14])
COVARIANCE = np.diag([0.11e-3**2] * 3 + [0.002**2] * 3)


def bone() -> tuple[np.ndarray, np.ndarray]:
    """A bumpy ellipsoid of about 5000 triangles."""
    mesh = geometry.sphere(np.zeros(3), 1.0, rings=104)
    x, y, z = mesh.vertices.T
    bumps = 1.0 + 0.05 * np.sin(5 * x + 1) * np.sin(4 * y) + 0.04 * np.cos(6 * z + 2 * x)
    return mesh.vertices * bumps[:, None] * [0.034, 0.040, 0.030], mesh.faces


def tube(points: np.ndarray, radius: float, *, sides: int = 24, rings: int = 104) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube of about 5000 triangles along a smooth curve through points (k, 3)."""
    knots = np.linspace(0.0, 1.0, len(points))
    s = np.linspace(0.0, 1.0, rings)
    centre = np.stack([np.polyval(np.polyfit(knots, points[:, i], len(points) - 1), s) for i in range(3)], axis=1)
    tangent = np.gradient(centre, axis=0)
    vertices = []
    for point, direction in zip(centre, tangent, strict=True):
        angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], axis=1)
        vertices.append(point + radius * ring @ geometry.rotation_to(direction).T)
    row, column = (grid.ravel() for grid in np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing='ij'))
    a, b = row * sides + column, row * sides + (column + 1) % sides
    faces = np.vstack([np.stack([a, b, a + sides], axis=1), np.stack([b, b + sides, a + sides], axis=1)])
    return np.vstack(vertices), faces


STRUCTURES = (
    bone(),
    tube(
        np.array([[0.030, 0.004, 0.014], [0.012, 0.0, 0.004], [0.006, 0.006, -0.008], [0.010, 0.008, -0.034]]), 0.0014
    ),
    tube(
        np.array([[0.012, 0.045, 0.020], [0.016, 0.024, 0.006], [0.004, 0.018, -0.014], [-0.010, 0.01, -0.030]]), 0.004
    ),
)


class FakeRoom(Node):
    """Publishes what tracker, calibration, registration, anatomy and guidance publish; `step` is one frame."""

    def __init__(self, **kwargs) -> None:
        super().__init__('room', **kwargs)
        self.lost = False
        self.silent = False
        self._trees = [cKDTree(vertices) for vertices, _ in STRUCTURES]
        self._tf = TransformBroadcaster(self)
        self._static = StaticTransformBroadcaster(self)
        self._samples = {
            name: self.create_publisher(PoseWithCovarianceStamped, f'{name}/filtered_cp', MEASUREMENT)
            for name in (TOOL, 'patient')
        }
        self._calibration = self.create_publisher(PoseWithCovarianceStamped, f'calibration/{TOOL}', LATCHED)
        self._registration = self.create_publisher(PoseWithCovarianceStamped, 'registration', LATCHED)
        self._surface = self.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
        self._clearance = self.create_publisher(PointCloud2, 'guidance/clearance', MEASUREMENT)
        self._events = self.create_publisher(DiagnosticArray, 'guidance/events', EVENTS)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', DIAGNOSTICS)
        self.publish_ties()

    @property
    def now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def publish_ties(self) -> None:
        stamp = self.now_ns
        self._static.sendTransform(
            [
                transform_stamped(stamp, 'world', 'tracker', WORLD_T_TRACKER),
                transform_stamped(stamp, TOOL, f'{TOOL}_tip', TOOL_T_TIP),
                transform_stamped(stamp, 'patient', 'anatomy', PATIENT_T_ANATOMY),
            ]
        )
        self._calibration.publish(pose_with_covariance(stamp, TOOL, TOOL_T_TIP, COVARIANCE * 0.3))
        self._registration.publish(pose_with_covariance(stamp, 'patient', PATIENT_T_ANATOMY, COVARIANCE * 2.0))
        self._surface.publish(
            MarkerArray(
                markers=[
                    surface_marker(stamp, 'anatomy', name, index, vertices, faces, colour)
                    for index, (name, (vertices, faces), colour) in enumerate(
                        zip(NAMES, STRUCTURES, COLOURS, strict=True)
                    )
                ]
            )
        )

    def step(self, t: float) -> None:
        """Publish one frame at t [s] of the path: the drill goes to the nerve and back, the patient breathes."""
        stamp = self.now_ns
        breath = make_transform(np.eye(3), [0.0, 0.0, 0.003 * np.sin(2 * np.pi * t / 4.0)])
        tracker_T_patient = inverse(WORLD_T_TRACKER) @ breath @ WORLD_T_ANATOMY0 @ inverse(PATIENT_T_ANATOMY)
        anatomy_T_tip = make_transform(rotation_exp([np.pi / 2 + 0.35, 0.0, -0.6]), path(t))
        tracker_T_tool = tracker_T_patient @ PATIENT_T_ANATOMY @ anatomy_T_tip @ inverse(TOOL_T_TIP)
        edges = [transform_stamped(stamp, 'tracker', 'patient', tracker_T_patient)]
        self._samples['patient'].publish(pose_with_covariance(stamp, 'tracker', tracker_T_patient, COVARIANCE))
        if not self.lost and not self.silent:
            edges.append(transform_stamped(stamp, 'tracker', TOOL, tracker_T_tool))
            self._samples[TOOL].publish(pose_with_covariance(stamp, 'tracker', tracker_T_tool, COVARIANCE))
            self._clearance.publish(self.clearance(stamp, anatomy_T_tip))
        self._tf.sendTransform(edges)

    def clearance(self, stamp: int, anatomy_T_tip: np.ndarray) -> PointCloud2:
        rows = np.zeros(len(NAMES), CLEARANCE_DTYPE)
        for index, (tree, (vertices, _)) in enumerate(zip(self._trees, STRUCTURES, strict=True)):
            distance, nearest = tree.query(transform_points(anatomy_T_tip, np.zeros(3)))
            distance -= 0.002
            zone = 2 if distance < 0.0 else 1 if distance < 0.003 else 0
            probability = 1.0 / (1.0 + np.exp(distance / 2e-4))
            shown = 0 if index == 0 else zone
            rows[index] = (*vertices[nearest], distance, 4e-4, probability, -1.0, index, shown, 0, 0.0, distance)
        return cloud_from_array(stamp, 'anatomy', rows)

    def say(self, name: str, level: bytes, code: str, message: str) -> None:
        """Publish one diagnostic."""
        self._diagnostics.publish(self._array([(name, level, code, message)]))

    def report(self) -> None:
        """Publish the diagnostics of all nodes, as once a second."""
        ok = DiagnosticStatus.OK
        tool = (f'tracker: tool {TOOL}', ok, 'OK', 'tracked')
        if self.lost:
            tool = (f'tracker: tool {TOOL}', DiagnosticStatus.ERROR, 'TOOL_LOST', 'hidden from the tracker')
        self._diagnostics.publish(
            self._array(
                [
                    ('tracker: source', ok, 'OK', 'simulator, 60 Hz'),
                    tool,
                    ('calibration: state', ok, 'OK', f'{TOOL}: tip known to 0.06 mm'),
                    ('registration: state', ok, 'OK', '8 of 8 landmarks, FRE 0.27 mm'),
                    ('anatomy: state', ok, 'OK', '3 structures'),
                    ('guidance: chain', ok, 'OK', 'whole: tool, patient, anatomy'),
                ]
            )
        )

    def alarm(self, code: str, message: str, level: bytes = DiagnosticStatus.WARN) -> None:
        self._events.publish(self._array([(f'guidance: {code.lower()}', level, code, message)]))

    def _array(self, rows: list[tuple[str, bytes, str, str]]) -> DiagnosticArray:
        array = DiagnosticArray()
        array.header.stamp = ns_to_stamp(self.now_ns)
        array.status = [
            DiagnosticStatus(name=name, level=level, message=message, values=[KeyValue(key='code', value=code)])
            for name, level, code, message in rows
        ]
        return array


def path(t: float) -> np.ndarray:
    """Tip in the anatomy [m]: comes from outside, nears the nerve, sways, and starts again after 12 s."""
    phase = 0.5 - 0.5 * np.cos(2 * np.pi * t / 12.0)
    outside, inside = np.array([0.030, -0.052, 0.026]), np.array([0.0105, -0.0035, 0.0045])
    sway = 0.0012 * np.array([np.sin(9 * t), 0.0, np.cos(7 * t)])
    return outside + phase * (inside - outside) + sway


def main() -> None:
    import argparse
    import time

    import rclpy

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hold', type=float, help='stay at this time of the path [s]')
    parser.add_argument('--lose', action='store_true', help='the tracker does not see the drill after 5 s')
    options = parser.parse_args()
    rclpy.init()
    room = FakeRoom()
    start = time.monotonic()
    for frame in range(10**9):
        t = frame / 60.0
        room.lost = options.lose and t > 5.0
        room.step(t if options.hold is None else min(t, options.hold))
        if frame % 60 == 0:
            room.report()
        if frame % 720 == 300:
            room.alarm('STRUCTURE_NEAR', 'facial_nerve: 2.8 mm, below 3.0 mm')
        rclpy.spin_once(room, timeout_sec=0.0)
        time.sleep(max(0.0, start + frame / 60.0 - time.monotonic()))


if __name__ == '__main__':
    main()
