"""Virtual fixtures over topics: the wrench at the predicted tip, and how far its speed is scaled."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import PoseArray, WrenchStamped
from rclpy.node import Node
from std_msgs.msg import Float64

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.errors import InputError, TwinError
from twin_nodes.core.guidance.advisor import Advice
from twin_nodes.core.guidance.clearance import Structure
from twin_nodes.core.guidance.fixtures.config import FixtureConfig
from twin_nodes.core.guidance.fixtures.mixer import FixtureMixer, velocity_scale
from twin_nodes.core.guidance.fixtures.shapes import FixtureShape, ForbiddenRegion, PathGuide
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import LATCHED, measurement

ROUTE = 'route'
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
        self._margin = config.safe_distance + tip_radius
        self._mixer = FixtureMixer(config)
        self._shapes: dict[str, FixtureShape] = {}
        self._last_ns: int | None = None
        qos = measurement(replay=is_replay(node))
        self._wrench = node.create_publisher(WrenchStamped, 'guidance/fixture', qos)
        self._scale = node.create_publisher(Float64, 'guidance/velocity_scale', qos)
        node.create_subscription(PoseArray, 'guidance/route', self._on_route, LATCHED)

    def watch(self, structures: Sequence[Structure]) -> None:
        """Take the guarded structures; the route stays."""
        route = self._shapes.get(ROUTE)
        self._shapes = {f'{one.name} region': ForbiddenRegion(one.grid, self._margin) for one in structures}
        if route is not None:
            self._shapes[ROUTE] = route
        self._mixer.set(self._shapes)

    def set_grid(self, name: str, grid: DistanceGrid) -> None:
        """Give a structure another grid, as when it was carved: the fixture moves over without a jerk."""
        known = self._shapes.get(f'{name} region')
        if isinstance(known, ForbiddenRegion) and known.grid is not grid:
            self._shapes[f'{name} region'] = ForbiddenRegion(grid, self._margin)
            self._mixer.set(self._shapes)

    def reset(self) -> None:
        """Forget the motion, as after a jump of the clock."""
        self._mixer.reset()
        self._last_ns = None

    def _on_route(self, message: PoseArray) -> None:
        """Take the chosen route as a guide; one without poses ends it."""
        self._shapes.pop(ROUTE, None)
        try:
            if message.header.frame_id != self._frame:
                raise InputError(f'guidance/route is in {message.header.frame_id!r}, not in {self._frame!r}')
            points = np.array([(one.position.x, one.position.y, one.position.z) for one in message.poses])
            if len(points):
                self._shapes[ROUTE] = PathGuide(points, self._config.path_radius)
        except TwinError as error:
            self._health.warn('PROTOCOL', f'guidance/route: {error}')
        self._mixer.set(self._shapes)

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
