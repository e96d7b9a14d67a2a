"""What a swab needs besides the tip: the surface from anatomy/surface, and the clouds of other sensors."""

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.pairing import Pair, PairingConfig, StampedCovariance, Unpaired, stream_pairing
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.registration.procedure import Procedure, SwabUpdate
from twin_nodes.core.registration.surface_target import MARGIN, SPACING, SurfaceTarget
from twin_nodes.io.grids import cached_grid, user_cache
from twin_nodes.ros.checked import checked_pose
from twin_nodes.ros.clouds import array_from_cloud, surface_from_marker
from twin_nodes.ros.conversions import check_header
from twin_nodes.ros.health import ERROR, OK
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import measurement_subscription
from twin_nodes.ros.registration_output import RegistrationOutput
from twin_nodes.ros.surface_feed import SurfaceFeed

_CLOUDS_WAITING = 64
_FINEST = 160  # cells along the longest side: a spacing that a large organ does not need


def prepare_target(surface: Surface) -> SurfaceTarget:
    """Prepare a closed surface for registration; its grid is kept on disk.

    Raises:
        InputError: ANATOMY_REFUSED when the surface has holes.
    """
    spacing = max(SPACING, surface.diagonal / _FINEST)
    return SurfaceTarget.from_grid(surface, cached_grid(user_cache(), surface, spacing, MARGIN))


class SwabInput:
    """Hands surface and clouds of a node to its procedure.

    Args:
        node: A node with `health`.
        structure: Name of the surface.
        anatomy_frame: Frame that it must be in.
        procedure: Takes both.
        output: Tells the expected errors over the surface.
    """

    def __init__(
        self, node: Node, structure: str, anatomy_frame: str, procedure: Procedure, output: RegistrationOutput
    ) -> None:
        self._node, self._structure, self._frame = node, structure, anatomy_frame
        self._procedure, self._output = procedure, output
        node.health.set('surface', ERROR, 'ANATOMY_REFUSED', f'waiting for {structure!r} in anatomy/surface')
        self._feed = SurfaceFeed(node, self._on_surface)

    def _on_surface(self, message: MarkerArray) -> None:
        health, names = self._node.health, [marker.ns for marker in message.markers]
        try:
            if names.count(self._structure) != 1:
                raise InputError(f'structure {self._structure!r} is not once in anatomy/surface: {", ".join(names)}')
            marker = message.markers[names.index(self._structure)]
            if marker.header.frame_id != self._frame:
                raise InputError(f'{marker.ns}: frame is {marker.header.frame_id!r}, not {self._frame!r}')
            target = prepare_target(make_surface(marker.ns, *surface_from_marker(marker)))
        except (InputError, ConfigError) as error:
            health.set('surface', ERROR, 'ANATOMY_REFUSED', str(error))
            return
        self._procedure.set_target(target)
        self._output.set_surface(target.surface.vertices)
        health.set('surface', OK, 'OK', f'{self._structure} may be swabbed: call ~/swab with true')

    def follow_clouds(
        self,
        topic: str,
        patient: str,
        tracker_frame: str,
        pairing: PairingConfig,
        on_swabbed: Callable[[SwabUpdate], None],
    ) -> None:
        """Take clouds in the frame of the patient, or in that of the tracker with the patient's pose at their stamp."""
        replay = is_replay(self._node)
        self._patient, self._tracker_frame, self._on_swabbed = patient, tracker_frame, on_swabbed
        self._pairing = stream_pairing(pairing, replay=replay)
        self._clouds: dict[int, Array] = {}
        qos = measurement_subscription(replay=replay)
        self._node.create_subscription(PointCloud2, topic, self.on_cloud, qos)
        self._node.create_subscription(PoseWithCovarianceStamped, f'{patient}/filtered_cp', self._on_patient, qos)

    def on_cloud(self, message: PointCloud2) -> None:
        """Take one cloud; it counts while a swab is open."""
        if not self._procedure.swabbing:
            return
        health = self._node.health
        frame = message.header.frame_id
        try:
            stamp_ns = check_header(message.header, frame=None, name='surface points')
            points = points_of(message)
            if frame not in (self._patient, self._tracker_frame):
                raise InputError(
                    f'surface points: frame is {frame!r}, expected {self._patient!r} or {self._tracker_frame!r}',
                    code='FRAME_MISMATCH',
                )
        except InputError as error:
            health.warn(error.code or 'NOT_FINITE', str(error))
            return
        if frame == self._patient:
            self._hand_on(stamp_ns, points)
            return
        self._clouds[stamp_ns] = points
        while len(self._clouds) > _CLOUDS_WAITING:
            del self._clouds[next(iter(self._clouds))]
            health.count('NO_TRANSFORM')
        self._settle(self._pairing.add_sample(StampedCovariance(stamp_ns, np.eye(4), np.zeros((6, 6)))))

    def _on_patient(self, message: PoseWithCovarianceStamped) -> None:
        if self._procedure.swabbing:
            pose = checked_pose(message, frame=self._tracker_frame, now_ns=None, health=self._node.health)
            if pose is not None:
                self._settle(self._pairing.add_reference(pose))

    def _settle(self, settled: list[Pair | Unpaired]) -> None:
        for item in settled:
            points = self._clouds.pop(item.stamp_ns, None)
            if isinstance(item, Unpaired) or points is None:
                self._node.health.count('NO_TRANSFORM')
            else:
                self._hand_on(item.stamp_ns, transform_points(inverse(item.reference.pose), points))

    def _hand_on(self, stamp_ns: int, points_patient: Array) -> None:
        update = self._procedure.add_cloud(stamp_ns, points_patient)
        if update is not None:
            self._on_swabbed(update)


def points_of(message: PointCloud2) -> Array:
    """Return the finite points (n, 3) [m] of a cloud.

    Raises:
        InputError: Sizes that do not agree, or no fields x, y, z.
    """
    rows = array_from_cloud(message)
    if not {'x', 'y', 'z'} <= set(rows.dtype.names or ()):
        raise InputError(f'surface points: fields {", ".join(rows.dtype.names or ())} lack x, y, z')
    points = np.stack([rows[axis].astype(float) for axis in 'xyz'], axis=1)
    return np.asarray(points[np.isfinite(points).all(axis=1)])
