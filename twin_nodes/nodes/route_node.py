"""route_node: routes from an entry region to a target, planned again when the anatomy changes, and followed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Float64, Int32
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.guidance.routes.reach import ReachConfig, RobotReach
from twin_nodes.core.guidance.routes.session import RouteEvent, RouteSession, RouteSessionConfig
from twin_nodes.io.grids import cached_grid, user_cache
from twin_nodes.ros.arm_reach import ArmPlace
from twin_nodes.ros.carved_structures import CarvedStructures
from twin_nodes.ros.clouds import surface_from_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_from
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import EVENTS, LATCHED, measurement, measurement_subscription
from twin_nodes.ros.route_markers import route_markers, route_poses
from twin_nodes.ros.run import run_node
from twin_nodes.ros.surface_feed import SurfaceFeed

_PERIOD_S = 0.1


@dataclass(frozen=True)
class RouteNodeConfig:
    """Settings of route_node."""

    skin: str = setting('The structure through whose surface the tool goes in.')
    guard: tuple[str, ...] = setting('Structures that must not be touched.')
    tissues: tuple[str, ...] = setting('Structures that should be spared.', ())
    anatomy_frame: str = setting('Frame of the structures.', 'anatomy')
    grid_spacing: float = setting('Node distance of the distance grids.', 0.001, unit='m', minimum=1e-4, maximum=0.01)
    grid_margin: float = setting('Reach of the grids beyond the surface.', 0.03, unit='m', minimum=0.001, maximum=0.2)
    cache_dir: str = setting('Folder that keeps distance grids; empty for the user cache.', '')
    session: RouteSessionConfig = group(RouteSessionConfig)
    reach: ReachConfig = group(ReachConfig)

    def __post_init__(self) -> None:
        """Check the relations between the settings."""
        if not self.guard:
            raise ConfigError('guard=[] must name at least one structure')
        twice = set(self.guard) & set(self.tissues)
        if twice:
            raise ConfigError(f'{", ".join(sorted(twice))}: guarded and spared; name it once')


def arm_reach(config: RouteNodeConfig) -> RobotReach | None:
    """Return the reach of the arm that holds the tool, None where a hand does.

    Raises:
        ConfigError: A model that is not there or refused.
    """
    if not config.reach.arm:
        return None
    from twin_nodes.core.robot.chain import SerialChain  # compiled kinematics, which a hand does not need
    from twin_nodes.io.urdf import open_robot

    try:
        chain = SerialChain(open_robot(config.reach.model), tip=config.reach.tip)
    except InputError as error:
        raise ConfigError(f'reach of {config.reach.arm}: {error}', code=error.code) from None
    return RobotReach(config.reach, chain, np.array(config.session.target))


class RouteNode(Node):
    """Connects the anatomy and the tip to one `RouteSession`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('route', **kwargs)
        self.config = declare_config(self, RouteNodeConfig)
        self.health = Health(self)
        self._session = RouteSession(self.config.session, arm_reach(self.config))
        arm = self.config.reach.arm
        self._arm = ArmPlace(self, self.health, self.config.reach, self.config.anatomy_frame) if arm else None
        self._surface: MarkerArray | None = None
        self._known: dict[str, bytes] = {}
        self._stamp_ns = 0
        replay = is_replay(self)
        self._routes = self.create_publisher(MarkerArray, 'guidance/routes', LATCHED)
        self._poses = self.create_publisher(PoseArray, 'guidance/route', LATCHED)
        self._deviation = self.create_publisher(Float64, 'guidance/route/deviation', measurement(replay=replay))
        self._events = self.create_publisher(DiagnosticArray, 'guidance/events', EVENTS)
        self.health.set('plan', WARN, 'NO_ROUTE', self._session.plan.reason)
        self._carved = CarvedStructures(self, self.health, self.config.anatomy_frame, self._on_grid, self._on_original)
        self._surfaces = SurfaceFeed(self, self._on_surface)
        qos = measurement_subscription(replay=replay)
        self.create_subscription(PoseWithCovarianceStamped, 'guidance/tip', self._on_tip, qos)
        self.create_subscription(Int32, 'guidance/route/choose', self._on_choose, 1)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(_PERIOD_S, self._on_timer, clock=self._steady)

    def _on_original(self) -> None:
        if self._surface is not None:
            self._on_surface(self._surface)

    def _on_surface(self, message: MarkerArray) -> None:
        self._surface = message
        wanted = {*self.config.guard, *self.config.tissues, self.config.skin}
        missing = wanted - {marker.ns for marker in message.markers}
        if missing:
            text = f'structures {", ".join(sorted(missing))} are not in anatomy/surface'
            self.health.set('anatomy', ERROR, 'ANATOMY_REFUSED', text)
            return
        watched = {}
        for shown in message.markers:
            marker = self._carved.original(shown) if shown.ns in wanted else None
            if marker is not None and self._take(marker) and marker.ns in self.config.guard:
                watched[marker.id] = (marker.ns, self._session.grid_of(marker.ns))
        if watched:
            self._carved.watch(watched)

    def _take(self, marker: Marker) -> bool:
        """Take in one structure; whether it is new."""
        vertices, triangles = surface_from_marker(marker)
        content = vertices.tobytes() + triangles.tobytes()
        if self._known.get(marker.ns) == content:
            return False
        try:
            if marker.header.frame_id != self.config.anatomy_frame:
                raise InputError(f'{marker.ns}: frame is {marker.header.frame_id!r}, not {self.config.anatomy_frame!r}')
            self._use(make_surface(marker.ns, vertices, triangles))
        except (InputError, ConfigError) as error:
            self.health.set(f'structure {marker.ns}', ERROR, 'ANATOMY_REFUSED', str(error))
            return False
        self._known[marker.ns] = content
        return True

    def _use(self, surface: Surface) -> None:
        if surface.name == self.config.skin:
            self._session.set_skin(surface)
        if surface.name in self.config.guard:
            self._session.set_guarded({surface.name: self._grid(surface)})
        if surface.name in self.config.tissues:
            self._session.set_tissues({surface.name: self._grid(surface)})

    def _grid(self, surface: Surface) -> DistanceGrid:
        folder = Path(self.config.cache_dir) if self.config.cache_dir else user_cache()
        return cached_grid(folder, surface, self.config.grid_spacing, self.config.grid_margin)

    def _on_grid(self, name: str, grid: DistanceGrid) -> None:
        self._session.set_guarded({name: grid})

    def _on_timer(self) -> None:
        """Plan again when something has changed; what came in the meantime is planned for together."""
        self._carved.apply(self._steady.now().nanoseconds)
        placed = self._arm.look() if self._arm is not None else None
        if placed is not None:
            self._session.place_arm(placed)
        elif self._session.needs_arm:
            text = f'waiting for the place of {self.config.reach.arm} in {self.config.anatomy_frame} on tf'
            self.health.set('plan', WARN, 'NO_ROUTE', text)
        if not self._session.is_stale:
            return
        started_ns = self._steady.now().nanoseconds
        self._say(self._session.replan())
        took_ms = (self._steady.now().nanoseconds - started_ns) * 1e-6
        plan = self._session.plan
        frame = self.config.anatomy_frame
        self._routes.publish(route_markers(plan, frame))
        self._poses.publish(route_poses(plan, frame))
        if plan.routes:
            best = plan.routes[plan.chosen]
            values = {'routes': len(plan.routes), 'margin_mm': 1e3 * best.margin, 'planned_in_ms': took_ms}
            self.health.set('plan', OK, 'OK', f'{len(plan.routes)} routes, planned in {took_ms:.0f} ms', values)
        else:
            self.health.set('plan', WARN, 'NO_ROUTE', plan.reason)

    def _on_tip(self, message: PoseWithCovarianceStamped) -> None:
        try:
            record = pose_from(message, frame=self.config.anatomy_frame)
            self._stamp_ns = record.stamp_ns
            if record.covariance is not None:
                self._session.set_error(record.pose[:3, 3], record.covariance)
            followed = self._session.follow(record.pose[:3, 3])
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', str(error))
            return
        if followed is not None:
            progress, events = followed
            self._deviation.publish(Float64(data=progress.deviation))
            self._say(events)

    def _on_choose(self, message: Int32) -> None:
        try:
            self._session.choose(message.data)
        except InputError as error:
            self.health.warn('PROTOCOL', f'guidance/route/choose: {error}')
            return
        self._poses.publish(route_poses(self._session.plan, self.config.anatomy_frame))
        self._routes.publish(route_markers(self._session.plan, self.config.anatomy_frame))

    def _say(self, events: list[RouteEvent]) -> None:
        for event in events:
            status = DiagnosticStatus(name='guidance: route', level=WARN if event.bad else OK, message=event.message)
            status.values = [KeyValue(key='code', value=event.code)]
            message = DiagnosticArray(status=[status])
            message.header.stamp = ns_to_stamp(self._stamp_ns)
            message.header.frame_id = self.config.anatomy_frame
            self._events.publish(message)


def main() -> None:
    """Run the node."""
    sys.exit(run_node(RouteNode))


if __name__ == '__main__':
    main()
