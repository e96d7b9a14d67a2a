"""The live view as a node: takes tf, poses, distances and diagnostics, and draws them on a page of this machine."""

import sys
import time
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2
from tf2_ros import Buffer, TransformException, TransformListener
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.messages import checks_of, clearance_of, events_of, model_of, surfaces_of
from twin_nodes.app.view.page import ViserView
from twin_nodes.app.view.records import Link, Moment
from twin_nodes.app.view.server import is_loopback
from twin_nodes.app.view.state import ViewState
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.conversions import matrix_of, pose_from, stamp_to_ns
from twin_nodes.ros.health import OK, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import DIAGNOSTICS, EVENTS, LATCHED, MEASUREMENT_SUBSCRIPTION
from twin_nodes.ros.run import run_node
from twin_nodes.ros.ties import tie_from


class ViewNode(Node):
    """Serves the live view; publishes nothing but its own health."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('view', **kwargs)
        self._config = config = declare_config(self, ViewConfig)
        self.state = ViewState(config)
        self.view = ViserView(config)
        self.health = Health(self, hardware_id=self.view.url)
        self.health.set('page', OK, 'OK', f'served on {self.view.url}')
        self.get_logger().info(f'live view on {self.view.url}')
        if not is_loopback(config.host):
            self.get_logger().warning(f'host {config.host}: anyone on that network can see the view')
        self._frames = [config.tracker_frame, config.patient_frame, config.anatomy_frame]
        self._frames += [frame for tool in config.tools for frame in (tool, f'{tool}_tip')]
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, self)
        for tool in dict.fromkeys((*config.tools, config.patient_frame)):
            self._listen(PoseWithCovarianceStamped, f'{tool}/filtered_cp', partial(self._on_sample, tool))
        for tool in config.tools:
            tie = partial(self._on_tie, tool, f'{tool}_tip')
            self._listen(PoseWithCovarianceStamped, f'calibration/{tool}', tie, LATCHED)
        tie = partial(self._on_tie, config.patient_frame, config.anatomy_frame)
        self._listen(PoseWithCovarianceStamped, 'registration', tie, LATCHED)
        self._listen(MarkerArray, 'anatomy/surface', self._on_surface, LATCHED)
        for topic in config.models:
            self._listen(MarkerArray, topic, partial(self._on_model, topic), LATCHED)
        self._listen(PointCloud2, 'guidance/clearance', self._on_clearance)
        self._listen(DiagnosticArray, 'guidance/events', self._on_events, EVENTS)
        self._listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, DIAGNOSTICS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # the page lives on when simulated time stands
        self.create_timer(1.0 / config.update_rate_hz, self._on_timer, clock=steady)

    def destroy_node(self) -> None:
        """Stop serving, then end the node."""
        if hasattr(self, 'view'):
            self.view.stop()
        super().destroy_node()

    def _listen(self, kind: type, topic: str, callback: Any, qos: Any = MEASUREMENT_SUBSCRIPTION) -> None:
        def on_message(message: Any) -> None:
            try:
                callback(message)
            except InputError as error:
                self.state.count_dropped()
                self.health.warn(error.code or 'CALLBACK_FAILED', f'{topic}: {error}')

        self.create_subscription(kind, topic, on_message, qos)

    def _moment(self) -> Moment:
        return Moment(self.get_clock().now().nanoseconds, time.monotonic_ns())

    def _on_sample(self, tool: str, message: PoseWithCovarianceStamped) -> None:
        pose = pose_from(message, frame=None)
        assert pose.covariance is not None
        self.state.on_tool_sample(tool, pose.frame, pose.pose, pose.covariance, pose.stamp_ns)

    def _on_tie(self, parent: str, child: str, message: PoseWithCovarianceStamped) -> None:
        tie = tie_from(message, frame=parent)
        if tie.withdrawn:
            self.state.forget_link(parent, child)
        else:
            self.state.on_link(Link(parent, child, tie.covariance, tie.stamp_ns), tie.pose)

    def _on_surface(self, message: MarkerArray) -> None:
        self.state.on_surfaces(surfaces_of(message, anatomy_frame=self._config.anatomy_frame))

    def _on_model(self, topic: str, message: MarkerArray) -> None:
        self.state.on_model(topic, model_of(message, topic=topic))

    def _on_clearance(self, message: PointCloud2) -> None:
        self.state.on_clearance(clearance_of(message, anatomy_frame=self._config.anatomy_frame), self._moment())

    def _on_events(self, message: DiagnosticArray) -> None:
        for event in events_of(message):
            self.state.on_event(event)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.state.on_checks(checks_of(message), self._moment())

    def _on_timer(self) -> None:
        moment = self._moment()
        fixed, note = self._fixed_frame()
        poses = {}
        for frame in {*self._frames, *self.state.model_frames()}:
            found = self._lookup(fixed, frame)
            if found is not None:
                poses[frame] = found
        self.state.on_poses(poses, fixed, note, moment)
        self.view.render(self.state.picture(moment))

    def _fixed_frame(self) -> tuple[str, str]:
        wanted, tracker = self._config.fixed_frame, self._config.tracker_frame
        if wanted == tracker or self._buffer.can_transform(wanted, tracker, Time()):
            return wanted, ''
        return tracker, f'no transform from {wanted} to {tracker} yet'

    def _lookup(self, fixed: str, frame: str) -> tuple[Array, int] | None:
        """Return the newest pose and its stamp; a frame that is not there is left out, never guessed."""
        if frame == fixed:
            return None
        try:
            edge = self._buffer.lookup_transform(fixed, frame, Time())
        except TransformException:
            return None
        transform = edge.transform
        return matrix_of(transform.translation, transform.rotation, name=frame), stamp_to_ns(edge.header.stamp)


def main() -> int:
    """Run the node."""
    return run_node(ViewNode)


if __name__ == '__main__':
    sys.exit(main())
