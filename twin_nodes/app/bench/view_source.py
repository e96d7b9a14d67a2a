"""The room of bench `view`, in a process of its own: a liver that deforms, a drill that moves, diagnostics.

The x of the tip in the world tells when its pose was sent, so that whoever sees it knows how old it is.
"""

import os
import sys
import time

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view.geometry import sphere
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, cloud_from_array, surface_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, transform_stamped
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.qos import DIAGNOSTICS, LATCHED, MEASUREMENT

TOOL = 'drill'
TRIANGLES = 20_000
SURFACE_HZ, POSE_HZ = 30, 60
PHASES = 30
METRES_PER_SECOND, WRAP_S = 1e-3, 100.0
COVARIANCE = np.diag([1e-8] * 3 + [1e-6] * 3)


def liver_phases(triangles: int = TRIANGLES, phases: int = PHASES) -> list[bytes]:
    """A closed surface of so many triangles, breathing and waving, as serialised messages."""
    ball = sphere(np.zeros(3), 1.0, rings=round(triangles / 48))
    x, y, z = ball.vertices.T
    found = []
    for phase in np.linspace(0.0, 2.0 * np.pi, phases, endpoint=False):
        bumps = 1.0 + 0.08 * np.sin(5.0 * x + phase) * np.sin(4.0 * y) + 0.05 * np.cos(6.0 * z + 2.0 * phase)
        vertices = ball.vertices * bumps[:, None] * [0.09, 0.06, 0.05]
        marker = surface_marker(0, 'anatomy', 'liver', 0, vertices[:0], ball.faces[:0], (0.6, 0.2, 0.2, 1.0))
        found.append(marker_array_bytes([(marker, vertices[ball.faces.ravel()])]))
    return found


class Room(Node):
    """Publishes the room; `step` is one frame of POSE_HZ."""

    def __init__(self) -> None:
        super().__init__('bench_room')
        self._tf, self._static = TransformBroadcaster(self), StaticTransformBroadcaster(self)
        pose = PoseWithCovarianceStamped
        self._samples = {name: self.create_publisher(pose, f'{name}/filtered_cp', MEASUREMENT)
                         for name in (TOOL, 'patient')}  # fmt: skip
        self._surface = self.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
        self._clearance = self.create_publisher(PointCloud2, 'guidance/clearance', MEASUREMENT)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', DIAGNOSTICS)
        self._phases = liver_phases()
        self._rows = np.zeros(1, CLEARANCE_DTYPE)
        fixed = (('world', 'tracker'), (TOOL, f'{TOOL}_tip'), ('patient', 'anatomy'))
        stamp = self.get_clock().now().nanoseconds
        self._static.sendTransform([transform_stamped(stamp, parent, child, np.eye(4)) for parent, child in fixed])

    def step(self, frame: int) -> None:
        """Send one frame."""
        stamp = self.get_clock().now().nanoseconds
        sent = time.monotonic() % WRAP_S
        tip = make_transform(np.eye(3), [METRES_PER_SECOND * sent, 0.0, 0.06])
        for name, pose in ((TOOL, tip), ('patient', np.eye(4))):
            self._samples[name].publish(pose_with_covariance(stamp, 'tracker', pose, COVARIANCE))
        self._tf.sendTransform(
            [transform_stamped(stamp, 'tracker', name, pose) for name, pose in ((TOOL, tip), ('patient', np.eye(4)))]
        )
        self._rows['distance'] = 0.01 + 0.002 * np.sin(frame / 60.0)
        self._rows['sigma'], self._rows['time_to_contact'] = 1e-4, -1.0
        self._clearance.publish(cloud_from_array(stamp, 'anatomy', self._rows))
        if frame % (POSE_HZ // SURFACE_HZ) == 0:
            self._surface.publish(self._phases[frame // 2 % len(self._phases)])
        if frame % POSE_HZ == 0:
            self._diagnostics.publish(self._health(stamp))

    def _health(self, stamp: int) -> DiagnosticArray:
        values = [KeyValue(key='code', value='OK')]
        array = DiagnosticArray(status=[DiagnosticStatus(name='anatomy: deforming', message='at rest', values=values)])
        array.header.stamp = ns_to_stamp(stamp)
        return array


def main() -> None:
    """Publish until the process is ended."""
    rclpy.init()
    room = Room()
    start, frame = time.monotonic(), 0
    while rclpy.ok():
        room.step(frame)
        frame += 1
        rclpy.spin_once(room, timeout_sec=0.0)
        late = time.monotonic() - (start + frame / POSE_HZ)
        if late > 1.0:
            start += late  # a machine that stood still is not made up for
        time.sleep(max(0.0, -late))


if __name__ == '__main__':
    main()
