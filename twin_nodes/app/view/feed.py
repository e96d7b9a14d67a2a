"""From topics to the picture: what the view listens to and what becomes of it, live or from a bag."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, WrenchStamped
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from tf2_ros import Buffer, TransformException
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.view import messages
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.picture import Picture
from twin_nodes.app.view.records import Link, Moment
from twin_nodes.app.view.sites import MEASURED, PREDICTED
from twin_nodes.app.view.state import ViewState
from twin_nodes.app.view.surfaces import SurfaceReader
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.conversions import matrix_of, pose_from, stamp_to_ns
from twin_nodes.ros.qos import DIAGNOSTICS, EVENTS, LATCHED, MEASUREMENT_SUBSCRIPTION
from twin_nodes.ros.ties import tie_from


@dataclass(frozen=True, eq=False)
class Input:
    """A topic that the view takes.

    Args:
        topic: Its name, relative to the namespace.
        kind: Its message class.
        qos: How it is subscribed.
        take: Called with the message, or its bytes when `raw`, and the moment.
        raw: Whether the message is taken as bytes.
    """

    topic: str
    kind: type
    qos: QoSProfile
    take: Callable[[Any, Moment], None]
    raw: bool = False


class ViewFeed:
    """Takes messages and draws pictures from them; needs no node.

    Args:
        config: What is shown.
    """

    def __init__(self, config: ViewConfig) -> None:
        self._config = config
        self._surfaces = SurfaceReader(config.anatomy_frame)
        self.restart()
        self.inputs = tuple(self._inputs())

    def restart(self) -> None:
        """Forget everything, as when another place of a bag is looked at."""
        self.state = ViewState(self._config)
        self.buffer = Buffer()
        self._target_names: dict[str, dict[int, str]] = {}

    def picture(self, moment: Moment) -> Picture:
        """Look up all frames and return the picture of this moment."""
        fixed, note = self._fixed_frame()
        config = self._config
        frames = {config.tracker_frame, config.patient_frame, config.anatomy_frame}
        frames |= {frame for tool in config.tools for frame in (tool, f'{tool}_tip')}
        frames |= self.state.model_frames() | self.state.overlays.frames
        frames |= {frame for site in self.state.sites.values() for frame in site.frames}
        poses = {frame: found for frame in frames if (found := self._lookup(fixed, frame)) is not None}
        self.state.on_poses(poses, fixed, note, moment)
        return self.state.picture(moment)

    def _inputs(self) -> Iterator[Input]:
        config, pose = self._config, PoseWithCovarianceStamped
        stream = MEASUREMENT_SUBSCRIPTION
        for tool in dict.fromkeys((*config.tools, config.patient_frame)):
            yield Input(f'{tool}/filtered_cp', pose, stream, partial(self._on_sample, tool))
        for tool in config.tools:
            tie = partial(self._on_tie, tool, f'{tool}_tip')
            yield Input(f'calibration/{tool}', pose, LATCHED, tie)
            yield Input(f'{tool}/predicted_cp', PoseStamped, stream, partial(self._on_prediction, tool))
        tie = partial(self._on_tie, config.patient_frame, config.anatomy_frame)
        yield Input('registration', pose, LATCHED, tie)
        yield Input('registration/targets', PointCloud2, LATCHED, partial(self._on_targets, 'registration'))
        yield Input('anatomy/surface', MarkerArray, LATCHED, self._on_surface, raw=True)
        yield Input('anatomy/targets', PointCloud2, LATCHED, partial(self._on_targets, 'anatomy'))
        for topic in config.models:
            yield Input(topic, MarkerArray, LATCHED, partial(self._on_model, topic))
        yield Input('guidance/clearance', PointCloud2, stream, self._on_clearance)
        yield Input('guidance/fixture', WrenchStamped, stream, self._on_fixture)
        yield Input('guidance/predicted_tip', PoseStamped, stream, partial(self._on_prediction, config.tools[0]))
        yield Input('guidance/routes', MarkerArray, LATCHED, self._on_routes, raw=True)
        yield Input('guidance/regions', MarkerArray, LATCHED, self._on_regions, raw=True)
        yield Input('guidance/events', DiagnosticArray, EVENTS, self._on_events)
        yield Input('registration/events', DiagnosticArray, EVENTS, self._on_events)
        yield Input('link/state', DiagnosticArray, stream, self._on_link)
        for site in config.sites:
            yield from self._site_inputs(site)
        yield Input('/diagnostics', DiagnosticArray, DIAGNOSTICS, self._on_diagnostics)

    def _site_inputs(self, site: str) -> Iterator[Input]:
        stream = MEASUREMENT_SUBSCRIPTION
        for arm in self._config.tools:
            for kind in (MEASURED, PREDICTED):
                take = partial(self._on_site_pose, site, arm, kind)
                yield Input(f'{site}/{arm}/{kind}', PoseStamped, stream, take)
            yield Input(f'{site}/{arm}/compensation/mode', String, LATCHED, partial(self._on_mode, site, arm))
        reader = SurfaceReader(self._config.anatomy_frame)
        yield Input(
            f'{site}/anatomy/surface', MarkerArray, LATCHED, partial(self._on_site_surface, site, reader), raw=True
        )
        for source in ('guidance', 'compensation'):
            take_regions = partial(self._on_site_regions, site, source)
            yield Input(f'{site}/{source}/regions', MarkerArray, LATCHED, take_regions, raw=True)
        yield Input(f'{site}/anatomy/measured_cp', PoseStamped, stream, partial(self._on_site_anatomy, site))
        yield Input(f'{site}/link/state', DiagnosticArray, stream, partial(self._on_site_link, site))

    def on_tf(self, message: Any, *, static: bool) -> None:
        """Take the edges of a tf message; a live node has a listener for that."""
        insert = self.buffer.set_transform_static if static else self.buffer.set_transform
        for edge in message.transforms:
            insert(edge, 'bag')

    def _on_sample(self, tool: str, message: Any, _moment: Moment) -> None:
        pose = pose_from(message, frame=None)
        assert pose.covariance is not None
        self.state.on_tool_sample(tool, pose.frame, pose.pose, pose.covariance, pose.stamp_ns)

    def _on_tie(self, parent: str, child: str, message: Any, _moment: Moment) -> None:
        tie = tie_from(message, frame=parent)
        if tie.withdrawn:
            self.state.forget_link(parent, child)
        else:
            self.state.on_link(Link(parent, child, tie.covariance, tie.stamp_ns), tie.pose)

    def _on_prediction(self, tool: str, message: Any, moment: Moment) -> None:
        frame, pose, stamp_ns = messages.pose_of(message)
        self.state.overlays.on_prediction(tool, frame, pose, stamp_ns, moment)

    def _on_surface(self, data: bytes, moment: Moment) -> None:
        self.state.on_surfaces(self._surfaces.read(data))
        self.state.streams.on_message('surface', moment)

    def _on_targets(self, source: str, message: Any, moment: Moment) -> None:
        targets = messages.targets_of(message, self._target_names.get(source, {}))
        self.state.overlays.on_targets(source, targets)
        if source == 'anatomy':
            self.state.streams.on_message('targets', moment)

    def _on_model(self, topic: str, message: Any, _moment: Moment) -> None:
        self.state.on_model(topic, messages.model_of(message, topic=topic))

    def _on_clearance(self, message: Any, moment: Moment) -> None:
        self.state.on_clearance(messages.clearance_of(message, anatomy_frame=self._config.anatomy_frame), moment)

    def _on_fixture(self, message: Any, moment: Moment) -> None:
        self.state.overlays.on_fixture(*messages.force_of(message), moment)

    def _on_routes(self, data: bytes, _moment: Moment) -> None:
        self.state.overlays.on_routes(messages.routes_of(data))

    def _on_regions(self, data: bytes, _moment: Moment) -> None:
        self.state.overlays.on_regions(messages.regions_of(data))

    def _on_events(self, message: Any, _moment: Moment) -> None:
        for event in messages.events_of(message):
            self.state.on_event(event)

    def _on_link(self, message: Any, moment: Moment) -> None:
        self.state.on_checks(messages.checks_of(message), moment)
        self.state.streams.on_message('link', moment)

    def _on_site_pose(self, site: str, arm: str, kind: str, message: Any, moment: Moment) -> None:
        self.state.sites[site].on_pose(arm, kind, *messages.pose_of(message), moment)

    def _on_site_anatomy(self, site: str, message: Any, moment: Moment) -> None:
        self.state.sites[site].on_anatomy(*messages.pose_of(message), moment)

    def _on_site_surface(self, site: str, reader: SurfaceReader, data: bytes, _moment: Moment) -> None:
        self.state.on_site_surfaces(site, tuple(reader.read(data)))

    def _on_site_regions(self, site: str, source: str, data: bytes, _moment: Moment) -> None:
        self.state.sites[site].on_regions(source, messages.regions_of(data))

    def _on_mode(self, site: str, arm: str, message: Any, _moment: Moment) -> None:
        self.state.sites[site].on_mode(arm, message.data)

    def _on_site_link(self, site: str, message: Any, moment: Moment) -> None:
        checks = messages.checks_of(message)
        self.state.sites[site].on_link(messages.link_text(checks))
        self.state.on_checks(checks, moment)
        self.state.streams.on_message('link', moment)

    def _on_diagnostics(self, message: Any, moment: Moment) -> None:
        checks = messages.checks_of(message)
        for check in checks:
            names = messages.target_names(check)
            source = check.node.removesuffix('_node')
            if names and names != self._target_names.get(source):
                self._target_names[source] = names
                self.state.overlays.rename(source, names)
        self.state.on_checks(checks, moment)

    def _fixed_frame(self) -> tuple[str, str]:
        wanted, tracker = self._config.fixed_frame, self._config.tracker_frame
        if wanted == tracker or self.buffer.can_transform(wanted, tracker, Time()):
            return wanted, ''
        return tracker, f'no transform from {wanted} to {tracker} yet'

    def _lookup(self, fixed: str, frame: str) -> tuple[Array, int] | None:
        """Return the newest pose and its stamp; a frame that is not there is left out, never guessed."""
        if frame == fixed:
            return None
        try:
            edge = self.buffer.lookup_transform(fixed, frame, Time())
        except TransformException:
            return None
        transform = edge.transform
        return matrix_of(transform.translation, transform.rotation, name=frame), stamp_to_ns(edge.header.stamp)
