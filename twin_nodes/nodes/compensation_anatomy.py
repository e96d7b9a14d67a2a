"""The structures and the pose of the anatomy for the compensation: surfaces, what is carved, and where it all is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.anatomy_fences import AnatomyFences
from twin_nodes.ros.conversions import pose_from
from twin_nodes.ros.health import ERROR, OK, WARN, Health
from twin_nodes.ros.qos import LATCHED, MEASUREMENT_SUBSCRIPTION

if TYPE_CHECKING:
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid
    from twin_nodes.ros.carved_structures import CarvedStructures

_APPLY_S = 0.1


@dataclass(frozen=True)
class AnatomyFeedConfig:
    """The local twin's anatomy, as walls."""

    enabled: bool = setting('Whether anatomy is listened to; a site without any starts sooner.', True)
    guard: tuple[str, ...] = setting(
        'No robot moves while one of these structures, or the pose of the anatomy, is not known; the others that come '
        'are kept out of too.',
        (),
    )
    frame: str = setting('Frame of the anatomy.', 'anatomy')
    pose: str = setting('Topic of the pose of the anatomy in base_frame, *_cp.', 'anatomy/measured_cp')
    silent_after: float = setting('The pose is not known any more after this silence.', 0.5, unit='s', minimum=0.05,
                                  maximum=60.0)  # fmt: skip
    margin: float = setting('Distance of the tip to keep from each surface.', 0.002, unit='m', minimum=0.0,
                            maximum=0.05)  # fmt: skip
    grid_spacing: float = setting('Of the distance grids.', 0.0005, unit='m', minimum=5e-5, maximum=0.01)
    grid_margin: float = setting('How far they reach.', 0.01, unit='m', minimum=0.0, maximum=0.2)
    cache_dir: str = setting("Folder where distance grids are kept; '' for the user's cache.", '')

    def __post_init__(self) -> None:
        if self.guard and not self.enabled:
            raise ConfigError(f'guard={list(self.guard)} needs enabled: true')


class AnatomyFeed:
    """Keeps `AnatomyFences` up to date from the topics of the site.

    Args:
        node: The node that listens.
        health: Its health.
        config: Settings.
        base_frame: Frame in which the tip and the pose of the anatomy are told.
    """

    def __init__(self, node: Node, health: Health, config: AnatomyFeedConfig, base_frame: str) -> None:
        self._health, self._config, self._base = health, config, base_frame
        self.fences = AnatomyFences(config.margin)
        self.pose: Array | None = None
        self._pose_ns = 0
        self._surface: MarkerArray | None = None
        self._known: dict[str, bytes] = {}
        self._refused: set[str] = set()
        self._shown: dict[str, int] = {}
        self._carved: CarvedStructures | None = None
        self._said = ''
        if config.enabled:
            self._listen(node)

    def _listen(self, node: Node) -> None:
        from twin_nodes.ros.carved_structures import CarvedStructures  # their kernels take seconds to load
        from twin_nodes.ros.surface_feed import SurfaceFeed

        config = self._config
        carved = CarvedStructures(node, self._health, config.frame, self.fences.set_grid, self._on_original)
        self._carved, self._feed = carved, SurfaceFeed(node, self._on_surface)
        self._regions = node.create_publisher(MarkerArray, 'compensation/regions', LATCHED)
        node.create_subscription(PoseStamped, config.pose, self._on_pose, MEASUREMENT_SUBSCRIPTION)
        self._timer = node.create_timer(_APPLY_S, lambda: carved.apply(time.monotonic_ns()))

    @property
    def missing(self) -> str:
        """Why the guarded structures cannot be kept out of, '' when they can."""
        absent = sorted(set(self._config.guard) - set(self.fences.names))
        if absent:
            return f'{", ".join(absent)} not in anatomy/surface'
        if not self._config.guard:
            return ''
        silent = (time.monotonic_ns() - self._pose_ns) / NANOSECONDS
        if self.pose is None or silent > self._config.silent_after:
            return f'nothing on {self._config.pose}' + (f' for {silent:.1f} s' if self.pose is not None else '')
        return ''

    def say(self) -> None:
        """State how the walls stand, when that has changed."""
        missing = self.missing
        now = missing.split(' for ')[0] or f'{len(self.fences.names)} {self.fences.is_placed}'
        if now == self._said:
            return
        self._said = now
        names = ', '.join(self.fences.names)
        if missing:
            self._health.set('geofence', ERROR, 'GEOFENCE_MISSING', missing)
        elif not names:
            self._health.set('geofence', WARN, 'OK', 'no structures to keep out of; planes and the workspace hold')
        elif not self.fences.is_placed:
            self._health.set('geofence', WARN, 'GEOFENCE_MISSING', f'{names}: nobody says where: {self._config.pose}')
        else:
            self._health.set('geofence', OK, 'OK', f'keeps {1e3 * self._config.margin:g} mm from {names}')

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            self.pose = pose_from(message, frame=self._base).pose
        except InputError as error:
            self._health.warn(error.code or 'NOT_FINITE', str(error))
            return
        self._pose_ns = time.monotonic_ns()
        self.fences.place(self.pose)

    def _on_original(self) -> None:
        if self._surface is not None:
            self._on_surface(self._surface)

    def _on_surface(self, message: MarkerArray) -> None:
        """Take in surfaces that are new or have changed; of carved ones, what they were and then what is gone."""
        from twin_nodes.ros.clouds import corners_of

        assert self._carved is not None
        self._surface = message
        guard = self._config.guard
        watched = {marker.ns: self._carved.original(marker) for marker in message.markers}
        if None in watched.values():
            return  # carved already: the structures as they were are on their way
        grids: dict[int, tuple[str, DistanceGrid]] = {}
        changed = False
        for name, marker in watched.items():
            assert marker is not None
            content = corners_of(marker).tobytes()
            if self._known.get(name) == content:
                continue
            grid = self._grid(marker, must=name in guard)
            if grid is not None:
                changed, self._known[name] = True, content
                self.fences.set_grid(name, grid)
                grids[marker.id] = (name, grid)
        self.fences.keep_only(set(watched))
        self._known = {name: content for name, content in self._known.items() if name in watched}
        for name in self._refused - set(watched):
            self._forgive(name)
        if changed:
            self._carved.watch(grids)
        self._show(watched)

    def _show(self, watched: Mapping[str, Marker | None]) -> None:
        """Say what the tip is kept out of, when that is other than it was."""
        from twin_nodes.ros.clouds import corners_of
        from twin_nodes.ros.region_markers import margin_marker

        kept = {name: marker for name, marker in watched.items() if marker is not None and name in self._known}
        shown = {name: marker.id for name, marker in kept.items()}
        if shown == self._shown:
            return
        self._shown = shown
        frame, margin = self._config.frame, self._config.margin
        markers = [Marker(action=Marker.DELETEALL)]
        markers[0].header.frame_id = frame
        for name, marker in kept.items():
            markers.append(margin_marker(frame, name, marker.id, corners_of(marker).mean(axis=0), margin))
        self._regions.publish(MarkerArray(markers=markers))

    def _grid(self, marker: Marker, *, must: bool) -> 'DistanceGrid | None':
        from twin_nodes.core.anatomy.surface import make_surface
        from twin_nodes.core.guidance.precise_grid import precise_grid
        from twin_nodes.io.grids import cached_grid, user_cache
        from twin_nodes.ros.clouds import surface_from_marker

        config = self._config
        folder = Path(config.cache_dir) if config.cache_dir else user_cache()
        try:
            if marker.header.frame_id != config.frame:
                raise InputError(f'{marker.ns}: frame is {marker.header.frame_id!r}, not {config.frame!r}')
            surface = make_surface(marker.ns, *surface_from_marker(marker))
            grid = precise_grid(cached_grid(folder, surface, config.grid_spacing, config.grid_margin), surface)
        except (InputError, ConfigError) as error:
            level = ERROR if must else WARN
            self._refused.add(marker.ns)
            self._health.set(f'structure {marker.ns}', level, 'ANATOMY_REFUSED', str(error))
            return None
        self._forgive(marker.ns)
        return grid

    def _forgive(self, name: str) -> None:
        """Say no more that a structure was refused: it is whole by now, or gone."""
        if name in self._refused:
            self._refused.discard(name)
            self._health.clear(f'structure {name}')
