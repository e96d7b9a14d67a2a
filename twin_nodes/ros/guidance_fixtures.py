"""Virtual fixtures over topics: the wrench at the predicted tip, and how far its speed is scaled."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseArray, WrenchStamped
from rclpy.node import Node
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import InputError, TwinError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.clearance import Field, Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.fixtures.mixer import FixtureMixer, velocity_scale
from twin_nodes.core.guidance.fixtures.shapes import (
    FixtureShape,
    ForbiddenRegion,
    PathGuide,
    PlaneGuard,
    planned_shapes,
)
from twin_nodes.core.guidance.task_state import TaskEstimate, TaskState
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import matrix_of, ns_to_stamp
from twin_nodes.ros.health import Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import LATCHED, measurement
from twin_nodes.ros.region_markers import region_markers

ROUTE = 'route'
PLANNED = ('planes', 'cones', 'stops')
_GAP = 0.2  # s between two advices, after which fixtures come anew


class GuidanceFixtures:
    """Keeps the fixtures of the guarded structures and of the chosen route, and publishes what they do.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        tip_radius: Radius of the ball at the tip [m].
    """

    def __init__(self, node: Node, health: Health, config: FixtureConfig, frame: str, tip_radius: float) -> None:
        self._health, self._config, self._frame = health, config, frame
        self._radius, self._margin = tip_radius, config.safe_distance + tip_radius
        self._mixer = FixtureMixer(config)
        self._regions: dict[str, FixtureShape] = {}
        self._route: dict[str, FixtureShape] = {}
        self._lines = {kind: np.array(getattr(config, kind), float).reshape(-1, 6) for kind in PLANNED}
        self._planned = {kind: planned_shapes(kind, lines, config) for kind, lines in self._lines.items()}
        self._structures: tuple[Structure, ...] = ()
        self._numbers: Mapping[str, int] = {}
        self._last_ns: int | None = None
        qos = measurement(replay=is_replay(node))
        self._wrench = node.create_publisher(WrenchStamped, 'guidance/fixture', qos)
        self._scale = node.create_publisher(Float64, 'guidance/velocity_scale', qos)
        self._shown = node.create_publisher(MarkerArray, 'guidance/regions', LATCHED)
        node.create_subscription(PoseArray, 'guidance/route', self._on_route, LATCHED)
        for kind in PLANNED:
            node.create_subscription(PoseArray, f'guidance/{kind}', partial(self._on_planned, kind), LATCHED)
        self._renew()
        self._show()

    def _renew(self) -> None:
        planned = {name: shape for shapes in self._planned.values() for name, shape in shapes.items()}
        self._mixer.set(self._regions | self._route | planned)

    def _show(self) -> None:
        """Say where the tip may not go."""
        self._shown.publish(
            region_markers(self._frame, self._lines, self._structures, self._numbers, self._config, self._margin)
        )

    def watch(self, structures: Sequence[Structure], numbers: Mapping[str, int]) -> None:
        """Take the guarded structures and their numbers by name; what is planned stays."""
        self._regions = {f'{one.name} region': ForbiddenRegion(one.grid, self._margin) for one in structures}
        self._structures, self._numbers = tuple(structures), dict(numbers)
        self._renew()
        self._show()

    def set_grid(self, name: str, grid: Field) -> None:
        """Give a structure another grid, as when it was carved: the fixture moves over without a jerk."""
        known = self._regions.get(f'{name} region')
        if isinstance(known, ForbiddenRegion) and known.grid is not grid:
            self._regions[f'{name} region'] = ForbiddenRegion(grid, self._margin)
            self._renew()

    def route_distance(self, point: Array) -> float:
        """Return the distance of a point (3,) from the chosen route [m]; infinite without one."""
        route = self._route.get(ROUTE)
        return route.distance(point) if isinstance(route, PathGuide) else math.inf

    def follow_task(self, found: TaskEstimate) -> None:
        """Weigh route and cones by the step of the task; what keeps the tool out stays as it is.

        The route leads a tool on its way, a cone where it takes hold or puts down.
        """
        way = found.weight(TaskState.REACH, TaskState.TRANSPORT, TaskState.FOLLOW)
        place = found.weight(TaskState.GRASP, TaskState.PLACE)
        self._mixer.weigh({ROUTE: way} | dict.fromkeys(self._planned['cones'], place))

    def reset(self) -> None:
        """Forget the motion, as after a jump of the clock."""
        self._mixer.reset()
        self._last_ns = None

    def _on_route(self, message: PoseArray) -> None:
        """Take the chosen route as a guide; one without poses ends it."""
        self._route = {}
        try:
            points = self._read_lines(message, 'guidance/route')[:, :3]
            if len(points):
                self._route[ROUTE] = PathGuide(points, self._config.path_radius)
        except TwinError as error:
            self._health.warn('PROTOCOL', f'guidance/route: {error}')
        self._renew()

    def _on_planned(self, kind: str, message: PoseArray) -> None:
        """Take planes, cones or stops in place of those before; a message that is refused leaves none of its kind."""
        self._planned[kind], self._lines[kind] = {}, np.zeros((0, 6))
        try:
            lines = self._read_lines(message, f'guidance/{kind}')
            self._planned[kind], self._lines[kind] = planned_shapes(kind, lines, self._config), lines
        except TwinError as error:
            self._health.warn('PROTOCOL', f'guidance/{kind}: {error}')
        self._renew()
        self._show()

    def _read_lines(self, message: PoseArray, topic: str) -> Array:
        """Return the origin [m] and the z axis of each pose, shape (n, 6)."""
        if message.header.frame_id != self._frame:
            raise InputError(f'{topic} is in {message.header.frame_id!r}, not in {self._frame!r}')
        poses = [matrix_of(one.position, one.orientation, name=topic) for one in message.poses]
        return np.array([[*pose[:3, 3], *pose[:3, 2]] for pose in poses]).reshape(-1, 6)

    def update(self, advice: Advice) -> None:
        """Publish the force at the predicted tip, and the scale of its speed."""
        position, velocity = advice.predicted[:3, 3].copy(), advice.velocity[:3]
        seconds = 0.0 if self._last_ns is None else (advice.stamp_ns - self._last_ns) / NANOSECONDS
        self._last_ns = advice.stamp_ns
        if not 0.0 < seconds <= _GAP:
            self._mixer.reset()
            return
        self._publish(advice.stamp_ns, self._mixer.update(position, velocity, seconds).force)
        if not self._scale.get_subscription_count():
            return
        scales = [
            velocity_scale(one.distance, -float(one.gradient @ velocity), self._config) for one in advice.clearances
        ]
        for shapes in self._planned.values():
            for shape in shapes.values():
                if isinstance(shape, PlaneGuard):
                    height = shape.height(position) - self._radius
                    scales.append(velocity_scale(height, -float(shape.normal @ velocity), self._config))
        self._scale.publish(Float64(data=min(scales)))

    def stop(self, stamp_ns: int) -> None:
        """Let go when the advice is withdrawn: a force from a stale pose is worse than none."""
        if self._last_ns is not None:
            self.reset()
            self._publish(stamp_ns, np.zeros(3))

    def _publish(self, stamp_ns: int, force: np.ndarray) -> None:
        message = WrenchStamped()
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), self._frame
        message.wrench.force.x, message.wrench.force.y, message.wrench.force.z = force.tolist()
        self._wrench.publish(message)
