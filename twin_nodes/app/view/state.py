"""What the view knows: updated by records, asked for a picture. No ROS, no viser, no clock of its own."""

import itertools
import operator
from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.distances import DistanceState
from twin_nodes.app.view.framing import site_offsets, up_axis
from twin_nodes.app.view.overlays import OverlayState
from twin_nodes.app.view.picture import (
    DistancePicture,
    LinkPicture,
    ModelPicture,
    Picture,
    SubsystemPicture,
    ToolPicture,
)
from twin_nodes.app.view.records import Check, Clearance, Event, Level, Link, ModelShape, Moment, Surface
from twin_nodes.app.view.sites import SiteState
from twin_nodes.app.view.streams import Streams
from twin_nodes.app.view.subsystems import ROBOTS, SUBSYSTEMS, Measured, Subsystems
from twin_nodes.app.view.tool import ToolState
from twin_nodes.core.geometry.covariance import point_covariance
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points

CLOCK_JUMP_NS = 100_000_000

Poses = Mapping[str, tuple[Array, int]]

_versions = itertools.count(1)  # over all states: a page that changes from one to another draws anew


class ViewState:
    """The last word on every frame, tool, structure, subsystem and link, with its age.

    Nothing old is passed off as new: whatever falls silent loses its value in the picture and says why.

    Args:
        config: Names of tools and frames, limits on age and memory.
    """

    def __init__(self, config: ViewConfig) -> None:
        self._config = config
        self._stale_after_ns = round(config.stale_after_s * 1e9)
        self._tools = {name: ToolState(name, self._stale_after_ns) for name in config.tools}
        self._patient = ToolState(config.patient_frame, self._stale_after_ns, has_tip=False)
        self._bodies = {config.patient_frame: self._patient, **self._tools}
        self._subsystems = Subsystems(SUBSYSTEMS if config.tracking else ROBOTS)
        self._events: deque[Event] = deque(maxlen=config.alarm_count)
        self._surfaces: tuple[Surface, ...] = ()
        self._surfaces_version = 0
        self._links: dict[tuple[str, str], tuple[Link, Array]] = {}
        self._clearances = DistanceState(self._stale_after_ns)
        self.overlays = OverlayState(self._stale_after_ns)
        self.streams = Streams()
        offsets = site_offsets(len(config.sites), config.site_gap, up_axis(config.up))
        self.sites = {
            name: SiteState(name, config.tools, config.anatomy_frame, offset, self._stale_after_ns)
            for name, offset in zip(config.sites, offsets, strict=True)
        }
        self._poses: dict[str, tuple[Array, int]] = {}
        self._fixed_frame, self._frame_note = config.fixed_frame, 'no transform yet'
        self._trail: deque[Array] = deque(maxlen=max(config.trail_points, 1))
        self._trail_frame = ''
        self._trail_version = next(_versions)
        self._last_ros_ns: int | None = None
        self._dropped = 0
        self._models: dict[str, tuple[ModelShape, ...]] = {}

    def on_model(self, topic: str, shapes: Iterable[ModelShape]) -> None:
        """Take a whole model in place of the one that the topic held."""
        self._models[topic] = tuple(shapes)

    def model_frames(self) -> set[str]:
        """Return the frames that models hang on."""
        return {shape.frame for shapes in self._models.values() for shape in shapes}

    def on_poses(self, poses: Poses, fixed_frame: str, note: str, moment: Moment) -> None:
        """Take the newest poses from tf.

        Args:
            poses: By frame, its pose in fixed_frame, shape (4, 4), and the stamp [ns]; unknown frames are left out.
            fixed_frame: The frame that stands still.
            note: Why it is not the configured one; '' when it is.
            moment: Now.
        """
        self._notice_clock_jump(moment)
        if fixed_frame != self._fixed_frame:
            self._clear_trail()
        self._fixed_frame, self._frame_note = fixed_frame, note
        self._poses = dict(poses)
        for name, body in self._bodies.items():
            if name in poses:
                body.on_pose(poses[name][0], poses[name][1], moment)
        for name, tool in self._tools.items():
            tip = poses.get(f'{name}_tip')
            tool.fixed_T_tip = tip[0] if tip is not None else None
        self._extend_trail(moment)

    def on_tool_sample(self, tool: str, parent: str, tracker_T_tool: Array, covariance: Array, stamp_ns: int) -> None:
        """Take a filtered pose with its covariance (6, 6): error of the link, and the rate for a tool."""
        if tool in self._bodies:
            self._bodies[tool].on_sample(covariance, stamp_ns)
        self.on_link(Link(parent, tool, covariance, stamp_ns), tracker_T_tool)

    def on_link(self, link: Link, parent_T_child: Array) -> None:
        """Take the pose and covariance of a tie such as a calibration or a registration."""
        if link.child in {self._config.tracker_frame, self._config.patient_frame, self._config.anatomy_frame} or any(
            link.child in (name, f'{name}_tip') for name in self._config.tools
        ):
            self._links[link.parent, link.child] = (link, parent_T_child)

    def forget_link(self, parent: str, child: str) -> None:
        """Show a tie no longer: its maker has withdrawn it."""
        self._links.pop((parent, child), None)

    def on_surfaces(self, surfaces: Iterable[Surface]) -> None:
        """Take the structures of the anatomy, all at once."""
        surfaces = tuple(surfaces)
        if len(surfaces) == len(self._surfaces) and all(map(operator.is_, surfaces, self._surfaces)):
            return
        self._surfaces = surfaces
        self._surfaces_version = next(_versions)

    def on_site_surfaces(self, site: str, surfaces: tuple[Surface, ...]) -> None:
        """Take the structures of one site of telesurgery."""
        self.sites[site].on_surfaces(surfaces, next(_versions))

    def on_clearance(self, clearance: Clearance, moment: Moment) -> None:
        """Take the distances of one sample; an older stamp than the last is not news."""
        self._clearances.on_clearance(clearance, moment)
        self.streams.on_message('guidance', moment, clearance.stamp_ns)

    def on_checks(self, checks: Iterable[Check], moment: Moment) -> None:
        """Take diagnostics; a change of level or code enters the time line."""
        for check in checks:
            event = self._subsystems.on_check(check, moment)
            if event is not None:
                self.on_event(event)
            name = check.check.removeprefix('tool ')
            if check.check.startswith('tool ') and name in self._bodies:
                self._bodies[name].on_check(check)

    def on_event(self, event: Event) -> None:
        """Add an entry to the time line, unless it is there already."""
        for known in self._events:
            if known.code == event.code and known.text == event.text and abs(known.stamp_ns - event.stamp_ns) < 5e8:
                return
        self._events.append(event)

    def count_dropped(self) -> None:
        """Count a message that could not be used."""
        self._dropped += 1

    def picture(self, moment: Moment) -> Picture:
        """Return everything that the page shows now."""
        tools = tuple(tool.picture(moment) for tool in self._tools.values())
        patient = self._patient.picture(moment)
        distances = self._clearances.pictures(self._surfaces, (tools[0], patient), moment)
        links = self._link_pictures(tools[0], moment)
        poses = {frame: pose for frame, (pose, _) in self._poses.items()} | {self._fixed_frame: np.eye(4)}
        return Picture(
            moment=moment,
            fixed_frame=self._fixed_frame,
            frame_note=self._frame_note,
            fixed_T_tracker=self._pose(self._config.tracker_frame),
            fixed_T_patient=self._pose(self._config.patient_frame),
            fixed_T_anatomy=self._pose(self._config.anatomy_frame),
            tools=tools,
            patient=patient,
            surfaces=self._surfaces,
            surfaces_version=self._surfaces_version,
            distances=distances,
            subsystems=self._subsystem_pictures(tools[0], distances, links, moment),
            links=links,
            events=tuple(sorted(self._events, key=lambda event: event.stamp_ns, reverse=True)),
            trail_frame=self._trail_frame,
            trail=np.array(self._trail).reshape(-1, 3),
            trail_version=self._trail_version,
            dropped=self._dropped,
            models=tuple(self._model(shape, moment) for shapes in self._models.values() for shape in shapes),
            sites=tuple(site.picture(poses, moment) for site in self.sites.values()),
            overlays=self.overlays.picture(
                poses, {tool.name: (tool.fixed_T_tip if tool.live else None, tool.age_s) for tool in tools}, moment
            ),
        )

    def _subsystem_pictures(
        self,
        tool: ToolPicture,
        distances: tuple[DistancePicture, ...],
        links: tuple[LinkPicture, ...],
        moment: Moment,
    ) -> tuple[SubsystemPicture, ...]:
        """Bring together what the nodes say of themselves and what was measured of their outputs here."""
        nearest = min((row.row for row in distances if row.row is not None), key=lambda row: row.distance, default=None)
        ties = {link.child: link for link in links}
        anatomy, guidance = self.streams.of('targets', 'surface'), self.streams.of('guidance')
        link, robot = self.streams.of('link'), self.streams.of('robot')
        measured = {
            'tracker': Measured(tool.rate_hz, tool.age_s, tool.sigma),
            'calibration': Measured.of_tie(ties.get(f'{tool.name}_tip')),
            'registration': Measured.of_tie(ties.get(self._config.anatomy_frame)),
            'anatomy': Measured(
                anatomy.rate_hz(moment), anatomy.age_s(moment), self.overlays.largest_target_sigma(), 'targets '
            ),
            'guidance': Measured(guidance.rate_hz(moment), guidance.age_s(moment), nearest.sigma if nearest else None),
            'link': Measured(link.rate_hz(moment), link.age_s(moment), None),
            'robot': Measured(robot.rate_hz(moment), robot.age_s(moment), None),
        }
        return self._subsystems.pictures(moment, measured)

    def _model(self, shape: ModelShape, moment: Moment) -> ModelPicture:
        pose = self._pose(shape.frame)
        stamp_ns = self._poses.get(shape.frame, (None, 0))[1]
        live = stamp_ns == 0 or moment.ros_ns - stamp_ns <= self._stale_after_ns
        return ModelPicture(shape, None if pose is None else pose @ shape.frame_T_shape, live)

    def _pose(self, frame: str) -> Array | None:
        if frame == self._fixed_frame and self._poses:
            return np.eye(4)
        known = self._poses.get(frame)
        return known[0] if known is not None else None

    def _link_pictures(self, tool: ToolPicture, moment: Moment) -> tuple[LinkPicture, ...]:
        tip = tool.fixed_T_tip
        return tuple(
            _link_picture(link, parent_T_child, self._pose(link.child), tip, moment)
            for link, parent_T_child in self._links.values()
        )

    def _extend_trail(self, moment: Moment) -> None:
        if self._config.trail_points == 0:
            return
        guided = self._tools[self._config.tools[0]]
        lost = guided.lost_reason(moment) or self._patient_lost(moment)
        tip = None if lost else guided.fixed_T_tip
        fixed_T_patient = self._pose(self._config.patient_frame)
        frame = self._config.patient_frame if fixed_T_patient is not None else self._fixed_frame
        if frame != self._trail_frame:
            self._clear_trail()
            self._trail_frame = frame
        if tip is None:
            return
        point = tip[:3, 3]
        if fixed_T_patient is not None:
            point = transform_points(inverse(fixed_T_patient), point)
        if not self._trail or np.linalg.norm(point - self._trail[-1]) >= self._config.trail_step:
            self._trail.append(point)
            self._trail_version = next(_versions)

    def _patient_lost(self, moment: Moment) -> str:
        return self._patient.lost_reason(moment) if self._patient.fixed_T_tool is not None else ''

    def _clear_trail(self) -> None:
        self._trail.clear()
        self._trail_version = next(_versions)

    def _notice_clock_jump(self, moment: Moment) -> None:
        last, self._last_ros_ns = self._last_ros_ns, moment.ros_ns
        if last is None or moment.ros_ns >= last - CLOCK_JUMP_NS:
            return
        self._clear_trail()
        self._clearances.clear()
        self.overlays.clear()
        self.streams.clear()
        for body in self._bodies.values():
            body.clear()
        kept = [event for event in self._events if event.stamp_ns <= moment.ros_ns]
        self._events.clear()
        self._events.extend(kept)
        back_s = (last - moment.ros_ns) / 1e9
        self._events.append(Event(moment.ros_ns, Level.WARN, 'CLOCK_JUMP', f'time jumped back by {back_s:.1f} s'))


def _link_picture(
    link: Link, parent_T_child: Array, fixed_T_child: Array | None, fixed_T_tip: Array | None, moment: Moment
) -> LinkPicture:
    """Say what the link's error does to the tip: the lever from the child frame turns angle into distance."""
    point_child = np.zeros(3)
    if fixed_T_child is not None and fixed_T_tip is not None:
        point_child = transform_points(inverse(fixed_T_child), fixed_T_tip[:3, 3])
    covariance = point_covariance(parent_T_child, link.covariance, point_child)
    return LinkPicture(
        link.parent,
        link.child,
        float(np.sqrt(max(np.trace(covariance), 0.0))),
        float(np.sqrt(max(np.trace(link.covariance[3:, 3:]), 0.0))),
        (moment.ros_ns - link.stamp_ns) / 1e9 if link.stamp_ns else None,
    )
