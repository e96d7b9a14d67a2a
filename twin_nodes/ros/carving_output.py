"""What carving tells: voxels that went, the surface that is left, and what is in front of the drill.

Everything is due by the stamps of the poses, so that a replay gives the same messages.
"""

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.carving import Carver, CarveStep
from twin_nodes.core.anatomy.carving_config import LiveCarvingConfig
from twin_nodes.core.anatomy.removed import RemovedSender
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.tip_stream import TipPose
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.carved_tissue import CarvedTissue
from twin_nodes.ros.clouds import CUT, cloud_from_array, without_points
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import LATCHED, SNAPSHOT, latched, measurement
from twin_nodes.ros.removed import removed_cloud

SURFACE_DELTA_DTYPE = np.dtype(
    [(name, np.float32) for name in 'xyz'] + [(name, np.uint32) for name in ('structure', 'brick')]
)
_REPORT_S = 0.2


class CarvingOutput:
    """Publishes what a `Carver` has done.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        carver: What carves.
        surfaces: The structures; label n of the volume is the n-th of them.
        markers: Their markers as they began, in the same order.
        tissue: Where what is carved deforms: it shows itself, and what the drill has made of it.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: LiveCarvingConfig,
        frame: str,
        carver: Carver,
        surfaces: list[Surface],
        markers: list[Marker],
        tissue: CarvedTissue | None,
    ) -> None:
        self._health, self._config, self._frame = health, config, frame
        self._carver, self._surfaces, self._markers, self._tissue = carver, surfaces, markers, tissue
        bricks = carver.volume.surface.bricks_of
        self._bricks = [bricks(surface.vertices[surface.triangles].mean(axis=1)) for surface in surfaces]
        self._bare = [without_points(marker) for marker in markers]
        replay = is_replay(node)
        self._sender = RemovedSender(carver.volume, _first_session(node), [marker.id for marker in markers])
        create = node.create_publisher
        self._deltas = create(PointCloud2, 'anatomy/removed', measurement(replay=replay))
        self._snapshots = create(PointCloud2, 'anatomy/removed/snapshot', SNAPSHOT)
        self._patches = create(PointCloud2, 'anatomy/surface/delta', measurement(replay=replay))
        if tissue is None:
            self._surface = create(MarkerArray, 'anatomy/surface', latched(replay=replay))
            self._original = create(MarkerArray, 'anatomy/surface/original', LATCHED)
            self._original.publish(MarkerArray(markers=markers))
        self._begin()

    def _begin(self) -> None:
        """Tell that nothing is carved."""
        self._due = dict.fromkeys(('snapshot', 'surface', 'report'), 0)
        self._sent = {'snapshot': -1, 'surface': 0}
        self._send_snapshot()
        if self._tissue is None:
            self._surface.publish(MarkerArray(markers=self._markers))
        self._health.set('carving', OK, 'OK', 'nothing is carved yet')

    def restart(self) -> None:
        """Tell that all is whole again."""
        self._sender.restart()
        for name in self._config.protected:
            self._health.clear(f'cut {name}')
        self._begin()

    def removed(self, step: CarveStep) -> int | None:
        """Tell what a step took away; return the stamp of the message [ns], None where it took nothing."""
        delta = self._sender.delta(step.stamp_ns, step.removal)
        if delta is None:
            return None
        self._deltas.publish(removed_cloud(delta, self._frame))
        self._say_cuts(step)
        return delta.stamp_ns

    def _say_cuts(self, step: CarveStep) -> None:
        volume = self._carver.volume
        for label in step.removal.counts:
            name = self._surfaces[label - 1].name
            if name in self._config.protected:
                mm3 = float(volume.counts[label]) * volume.voxel_volume * 1e9
                message = f'{name}: the burr has covered {mm3:.2f} mm³ of it'
                self._health.set(f'cut {name}', ERROR, 'STRUCTURE_CUT', message, {'removed_mm3': mm3})

    def publish_due(self, newest: TipPose, *, drilling: bool, all_due: bool = False) -> None:
        """Publish what is due at the stamp of the newest pose, or all of it."""
        periods = {'snapshot': self._config.snapshot_period, 'surface': self._config.surface_period,
                   'report': _REPORT_S}  # fmt: skip
        for name, period in periods.items():
            if not (all_due or newest.stamp_ns >= self._due[name]):
                continue
            self._due[name] = newest.stamp_ns + round(period * NANOSECONDS)
            if name == 'report':
                self._report(newest, drilling=drilling)
            else:
                {'snapshot': self._send_snapshot, 'surface': self._send_surface}[name]()

    def _send_snapshot(self) -> None:
        if self._sent['snapshot'] == self._sender.sequence:
            return
        self._sent['snapshot'] = self._sender.sequence
        chunks = self._sender.snapshot()
        if len(chunks) > SNAPSHOT.depth:
            self._health.set(
                'snapshot', ERROR, 'ANATOMY_REFUSED',
                f'what is removed takes {len(chunks)} chunks, {SNAPSHOT.depth} are kept for late joiners: use larger '
                'voxels',
            )  # fmt: skip
        for chunk in chunks:
            self._snapshots.publish(removed_cloud(chunk, self._frame))

    def _send_surface(self) -> None:
        """Publish each structure with the cavity's wall where bricks were touched."""
        if self._sent['surface'] == self._sender.sequence:
            return
        self._sent['surface'] = self._sender.sequence
        surface = self._carver.volume.surface
        shown = []
        for index, (bare, whole) in enumerate(zip(self._bare, self._surfaces, strict=True)):
            keys = sorted(key for key in surface.meshes if key[0] == index + 1)
            kept = self._kept(index, keys) if keys else np.arange(len(whole.triangles))
            bare.text = CUT if keys else ''
            if self._tissue is not None:
                self._tissue.show(index, kept, keys)
            else:
                corners = whole.vertices[whole.triangles[kept].ravel()]
                shown.append((bare, np.concatenate([corners, surface.corners(keys).reshape(-1, 3)])))
        if self._tissue is None:
            self._surface.publish(marker_array_bytes(shown))

    def _kept(self, index: int, keys: list[tuple[int, tuple[int, int, int]]]) -> np.ndarray:
        """Return the triangles of a structure that lie in no brick that was touched, as numbers (k,)."""
        bricks, touched = self._bricks[index], np.array([brick for _, brick in keys])
        base = int(max(bricks.max(), touched.max())) + 2

        def number(rows: np.ndarray) -> np.ndarray:
            return ((rows[:, 0] + 1) * base + rows[:, 1] + 1) * base + rows[:, 2] + 1

        return np.flatnonzero(~np.isin(number(bricks), number(touched)))

    def _report(self, newest: TipPose, *, drilling: bool) -> None:
        """Publish the bricks that changed, and say what went and what is left in front."""
        if self._tissue is not None:
            self._tissue.settle()
        surface = self._carver.volume.surface
        changed = surface.take_changes()
        if changed:
            points = [self._patch(key) for key in changed]
            cloud = cloud_from_array(newest.stamp_ns, self._frame, np.concatenate(points))
            self._patches.publish(cloud)
        self._say_state(newest, drilling=drilling)

    def _patch(self, key: tuple[int, tuple[int, int, int]]) -> np.ndarray:
        """Return a brick's triangles, three points each; a brick that is empty now is one point of NaN."""
        corners = self._carver.volume.surface.corners([key]).reshape(-1, 3)
        points = np.zeros(max(1, len(corners)), SURFACE_DELTA_DTYPE)
        shape = self._carver.volume.surface.dirty.shape
        points['structure'], points['brick'] = self._markers[key[0] - 1].id, int(np.ravel_multi_index(key[1], shape))
        for axis, name in enumerate('xyz'):
            points[name] = corners[:, axis] if len(corners) else np.nan
        return points

    def _say_state(self, item: TipPose, *, drilling: bool) -> None:
        volume, values = self._carver.volume, {}
        for label, surface in enumerate(self._surfaces, 1):
            values[f'removed_{surface.name}_mm3'] = float(volume.counts[label]) * volume.voxel_volume * 1e9
        pose = item.tip.start_T_end
        if self._tissue is not None:
            pose, sigma = self._tissue.at_rest(pose)
            values['tissue_sigma_mm'] = 1e3 * sigma
        for depth in self._carver.depths(pose):
            if depth.label <= len(self._surfaces):
                name = self._surfaces[depth.label - 1].name
                for word, metres in (('ahead', depth.ahead), ('nearest', depth.nearest)):
                    if np.isfinite(metres):
                        values[f'{word}_{name}_mm'] = metres * 1e3
        values |= {'sequence': self._sender.sequence, 'drilling': drilling}
        total = volume.removed * volume.voxel_volume * 1e9
        self._health.set('carving', OK, 'OK', f'{total:.1f} mm³ removed', values)


def _first_session(node: Node) -> int:
    """Return a number greater than that of any earlier start; in a replay always the same."""
    return 1 if is_replay(node) else max(1, int(node.get_clock().now().nanoseconds // NANOSECONDS) & 0xFFFF_FFFF)
