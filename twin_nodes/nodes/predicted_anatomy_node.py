"""predicted_anatomy_node: the anatomy of the leader's twin, carried on to now and dented by the predicted tool."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import ColorRGBA
from tf2_ros import TransformBroadcaster
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import (
    Array,
    check_quaternion,
    inverse,
    make_transform,
    rotation_from_quat,
    transform_points,
)
from twin_nodes.core.telesurgery.predicted_anatomy import (
    PredictedAnatomyConfig as CoreConfig,
)
from twin_nodes.core.telesurgery.predicted_anatomy import (
    PredictedContact,
    PredictedPose,
    deepest,
)
from twin_nodes.io.grids import cached_grid, user_cache
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_stamped, transform_stamped
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.marker_reading import RawMarker, read_markers
from twin_nodes.ros.parameters import declare_config
from twin_nodes.ros.qos import LATCHED, MEASUREMENT, MEASUREMENT_SUBSCRIPTION
from twin_nodes.ros.run import run_node

_SMALLEST = 2e-5  # a dent that changed by less is not drawn again [m]


@dataclass(frozen=True)
class PredictedAnatomyConfig:
    """Settings of predicted_anatomy_node."""

    base_frame: str = setting('Frame in which the tool and the pose of the anatomy are told.')
    anatomy_frame: str = setting('Frame of the anatomy.', 'anatomy')
    tool: str = setting('Topic of the predicted tool, *_cp.', 'PSM1/predicted_cp')
    rate: float = setting('Pictures per second.', 20.0, unit='Hz', minimum=1.0, maximum=200.0)
    grid_spacing: float = setting('Of the distance grids.', 0.0005, unit='m', minimum=5e-5, maximum=0.01)
    grid_margin: float = setting('How far they reach.', 0.01, unit='m', minimum=0.0, maximum=0.2)
    cache_dir: str = setting("Folder where distance grids are kept; '' for the user's cache.", '')
    prediction: CoreConfig = group(CoreConfig)


@dataclass
class _Structure:
    marker: Marker
    corners: Array
    grid: DistanceGrid | None
    contact: PredictedContact
    drawn: Array


class PredictedAnatomyNode(Node):
    """Publishes the predicted pose at once and the dented surfaces when they have changed."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('predicted_anatomy', **kwargs)
        self.config = config = declare_config(self, PredictedAnatomyConfig)
        self.health = Health(self)
        self._pose = PredictedPose(config.prediction)
        self._structures: dict[str, _Structure] = {}
        self._tool: Array | None = None
        self._fresh = False
        self._predicted = self.create_publisher(PoseStamped, 'anatomy/predicted_cp', MEASUREMENT)
        self._surfaces = self.create_publisher(MarkerArray, 'anatomy/predicted', LATCHED)
        self._tf = TransformBroadcaster(self)
        listen = self.create_subscription
        listen(MarkerArray, 'anatomy/surface', self._on_surface, LATCHED, raw=True)
        listen(PoseStamped, 'anatomy/measured_cp', self._on_anatomy, MEASUREMENT_SUBSCRIPTION)
        listen(PoseStamped, config.tool, self._on_tool, MEASUREMENT_SUBSCRIPTION)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / config.rate, self._on_timer, clock=steady)

    def _now_ns(self) -> int:
        return clock_ns(self)

    def _checked(self, message: PoseStamped) -> tuple[int, Array] | None:
        try:
            found = pose_from(message, frame=self.config.base_frame, now_ns=self._now_ns())
        except InputError as error:
            self.health.warn(error.code or 'NOT_FINITE', str(error))
            return None
        return found.stamp_ns, found.pose

    def _on_anatomy(self, message: PoseStamped) -> None:
        found = self._checked(message)
        if found is not None:
            self._pose.see(*found, self._now_ns())

    def _on_tool(self, message: PoseStamped) -> None:
        found = self._checked(message)
        if found is not None:
            self._tool = found[1]

    def _on_surface(self, data: bytes) -> None:
        kept = {}
        try:
            for raw in read_markers(data):
                turn = rotation_from_quat(check_quaternion(raw.quat_xyzw, name=raw.name))
                corners = transform_points(make_transform(turn, raw.position), raw.points * raw.scale)
                known = self._structures.get(raw.name)
                if known is None or not np.array_equal(known.corners, corners):
                    contact = known.contact if known is not None else PredictedContact(self.config.prediction)
                    contact.measured(raw.stamp_ns)
                    known = _Structure(_marker(raw), corners, self._grid(raw, corners), contact, np.zeros(3))
                    self._fresh = True
                kept[raw.name] = known
        except InputError as error:
            self.health.warn(error.code or 'ANATOMY_REFUSED', str(error))
            return
        self._structures = kept

    def _grid(self, raw: RawMarker, corners: Array) -> DistanceGrid | None:
        config = self.config
        folder = Path(config.cache_dir) if config.cache_dir else user_cache()
        try:
            if raw.frame != config.anatomy_frame or raw.kind != Marker.TRIANGLE_LIST:
                raise InputError(f'{raw.name}: not triangles in frame {config.anatomy_frame!r}')
            vertices, index = np.unique(corners, axis=0, return_inverse=True)
            surface = make_surface(raw.name, vertices, index.reshape(-1, 3).astype(np.int32))
            return cached_grid(folder, surface, config.grid_spacing, config.grid_margin)
        except (InputError, ConfigError) as error:
            self.health.set(f'structure {raw.name}', WARN, 'ANATOMY_REFUSED', f'no contact with it: {error}')
            return None

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        pose = self._pose.at(now_ns)
        if pose is None:
            self.health.set('anatomy', WARN, 'ANATOMY_UNPLACED', 'waits for anatomy/measured_cp')
            return
        frame = f'{self.config.anatomy_frame}_predicted'
        self._predicted.publish(pose_stamped(now_ns, self.config.base_frame, pose))
        self._tf.sendTransform(transform_stamped(now_ns, self.config.base_frame, frame, pose))
        if self._tool is not None:
            tip = transform_points(inverse(pose), self._tool[None, :3, 3])[0]
            for structure in self._structures.values():
                if structure.grid is not None:
                    structure.contact.touch(now_ns, tip, structure.grid)
        self._draw(now_ns, frame)
        name, depth = deepest({name: one.contact for name, one in self._structures.items()})
        text = f'{name} pushed in by {1e3 * depth:.1f} mm' if name else 'nothing touched'
        self.health.set('anatomy', OK, 'OK', text, {'dent_mm': 1e3 * depth})

    def _draw(self, now_ns: int, frame: str) -> None:
        """Publish the surfaces as they are predicted when one has changed."""
        changed = self._fresh
        for one in self._structures.values():
            push = one.contact.now.push if one.contact.now is not None else np.zeros(3)
            changed |= float(np.abs(push - one.drawn).max()) > _SMALLEST
        if not changed:
            return
        self._fresh = False
        drawn = []
        for one in self._structures.values():
            one.drawn = one.contact.now.push if one.contact.now is not None else np.zeros(3)
            marker = one.marker
            marker.header.frame_id, marker.header.stamp = frame, ns_to_stamp(now_ns)
            drawn.append((marker, one.corners + one.contact.displacement(one.corners)))
        self._surfaces.publish(marker_array_bytes(drawn))


def _marker(raw: RawMarker) -> Marker:
    """Return what is drawn of a surface; its corners come with each picture."""
    marker = Marker(ns=raw.name, id=raw.index, type=Marker.TRIANGLE_LIST, action=Marker.ADD, text=raw.text)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = ColorRGBA(**dict(zip('rgba', raw.colour, strict=True)))
    return marker


def main() -> None:
    """Run the node."""
    sys.exit(run_node(PredictedAnatomyNode))


if __name__ == '__main__':
    main()
