"""Pose in, advice out: the time across processes, with guidance_node as a user starts it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.bench.tracking_processes import environment
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.conversions import pose_with_covariance, stamp_to_ns
from twin_nodes.ros.qos import LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION

STRUCTURES = 3
RADIUS = 0.02
COVARIANCE = np.diag([4e-9] * 3 + [1.2e-7] * 3)
READY_S = 60.0
WARM = 30


class AdviceHop:
    """A guidance_node of its own process and DDS domain, fed and heard from here."""

    def __init__(self, domain: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        command = [sys.executable, '-m', 'twin_nodes.nodes.guidance_node', '--ros-args', '-p', 'tool:=drill',
                   '-p', f'cache_dir:={folder}', '-p', 'grid_spacing:=0.002']  # fmt: skip
        self._process = subprocess.Popen(
            command, env=environment(domain, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[], domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('bench_guidance', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._tool = self._node.create_publisher(PoseWithCovarianceStamped, 'drill/filtered_cp', MEASUREMENT)
        self._patient = self._node.create_publisher(PoseWithCovarianceStamped, 'patient/filtered_cp', MEASUREMENT)
        self._ties = [
            self._node.create_publisher(PoseWithCovarianceStamped, topic, LATCHED)
            for topic in ('calibration/drill', 'registration')
        ]
        self._surface = self._node.create_publisher(MarkerArray, 'anatomy/surface', LATCHED)
        self._heard: dict[int, int] = {}
        self._node.create_subscription(PointCloud2, 'guidance/clearance', self._on_advice, MEASUREMENT_SUBSCRIPTION)

    def __enter__(self) -> 'AdviceHop':
        """Say what the node needs."""
        for publisher, frame in zip(self._ties, ('drill', 'patient'), strict=True):
            publisher.publish(pose_with_covariance(1, frame, np.eye(4), COVARIANCE))
        markers = MarkerArray()
        for index in range(STRUCTURES):
            vertices, triangles = superellipsoid(np.array([0.05 * index, 0.0, 0.0]), np.full(3, RADIUS))
            markers.markers.append(
                surface_marker(1, 'anatomy', f's{index}', index, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
            )
        self._surface.publish(markers)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the node."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._folder.cleanup()

    def _on_advice(self, message: PointCloud2) -> None:
        self._heard[stamp_to_ns(message.header.stamp)] = time.monotonic_ns()

    def latencies(self, count: int, rate_hz: float) -> Array | None:
        """Times from saying a tool pose to hearing its advice [s], shape (heard,); None when none ever comes."""
        deadline = time.monotonic() + READY_S
        while len(self._heard) < WARM:
            if time.monotonic() > deadline:
                return None
            self._say(1.0 / rate_hz)
        sent: dict[int, int] = {}
        for _ in range(count):
            stamp_ns, at_ns = self._say(1.0 / rate_hz)
            sent[stamp_ns] = at_ns
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
        return np.array([(self._heard[stamp] - at) * 1e-9 for stamp, at in sent.items() if stamp in self._heard])

    def _say(self, period: float) -> tuple[int, int]:
        """Say one instant, and hear what comes until the next is due; the stamp and when the tool was said [ns]."""
        stamp_ns, due = time.time_ns(), time.monotonic() + period
        shift = 0.01 * np.sin(2.0 * np.pi * 0.5 * stamp_ns * 1e-9)
        self._patient.publish(pose_with_covariance(stamp_ns, 'tracker', np.eye(4), COVARIANCE))
        pose = make_transform(np.eye(3), [0.0, RADIUS + 0.012 + shift, 0.0])
        message = pose_with_covariance(stamp_ns, 'tracker', pose, COVARIANCE)
        at_ns = time.monotonic_ns()
        self._tool.publish(message)
        while (left := due - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)
        return stamp_ns, at_ns
