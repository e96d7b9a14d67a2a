"""The structures that are guarded, from the topics of the anatomy: as they are, as they are carved, as they deform."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.clearance import Field, Structure
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.core.guidance.precise_grid import precise_grid
from twin_nodes.ros.carved_structures import CarvedStructures
from twin_nodes.ros.clouds import corners_of, surface_from_marker
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.deformed_surfaces import DEFORMED
from twin_nodes.ros.guidance_plan import PlanConfig
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.moved_structures import MovedStructures
from twin_nodes.ros.surface_feed import SurfaceFeed


class GuardConfig(Protocol):
    """Those settings of guidance_node that say what is guarded."""

    @property
    def anatomy_frame(self) -> str: ...  # noqa: D102
    @property
    def guard(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def plan(self) -> PlanConfig: ...  # noqa: D102
    @property
    def near_distances(self) -> tuple[float, ...]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class _Shown:
    """A deforming surface that is only shown: which corners of its marker are its vertices, and where it is."""

    surface: MovingSurface
    first: NDArray[np.int64]
    index: NDArray[np.int64]

    def vertices_of(self, corners: Array) -> Array | None:
        """Return the vertices of a marker with these triangles; None for a marker with others."""
        if len(corners) != len(self.index):
            return None
        vertices = corners[self.first]
        return vertices if np.array_equal(vertices[self.index], corners) else None


class GuardedStructures:
    """Follows the anatomy and says what is to be watched.

    A structure that keeps its shape is measured by a distance grid, near it by its triangles, until the drill takes of
    it: then by a grid that follows the drill. One that deforms is measured by its triangles: where
    `anatomy/surface/moved` puts them, else where `anatomy/surface` shows them.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: What is guarded.
        make_grid: Makes the distance grid of a surface, or finds it.
        changes: Counts each change from its stamp on.
        on_structures: Called with all structures when there are others; their zones start anew.
        on_field: Called with a structure's name and what tells its distances when that has changed.
        on_plan: Called with the planned surface when it has come.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: GuardConfig,
        make_grid: Callable[[Surface], DistanceGrid],
        changes: AnatomyChanges,
        on_structures: Callable[[list[Structure]], None],
        on_field: Callable[[str, Field], None],
        on_plan: Callable[[Field], None],
    ) -> None:
        self._health, self._config, self._changes = health, config, changes
        self._make_grid, self._on_structures, self._on_plan = make_grid, on_structures, on_plan
        self._planned: tuple[object, ...] = ()
        self.indices: dict[str, int] = {}
        self._surface: MarkerArray | None = None
        self._watched: list[tuple[object, ...]] = []
        self._shown: dict[int, _Shown] = {}
        self._others: dict[int, int] = {}  # how often a shown surface came with other triangles
        frame = config.anatomy_frame
        self.carved = CarvedStructures(node, health, frame, on_field, self._look_again, changes)
        self.moved = MovedStructures(node, health, frame, changes, self._look_again)
        self._feed = SurfaceFeed(node, self._on_surface, is_moved=lambda: self.moved.is_alive)

    def reset(self) -> None:
        """Forget what was half said, after a jump of the clock."""
        self.moved.reset()

    def _look_again(self) -> None:
        if self._surface is not None:
            self._on_surface(self._surface)

    def _on_surface(self, message: MarkerArray) -> None:
        names = [marker.ns for marker in message.markers]
        if len({topic_name(name) for name in names}) < len(names):
            self._health.warn('ANATOMY_REFUSED', f'anatomy/surface: two structures share a name or a topic: {names}')
            return
        self._surface = message
        guard = self._config.guard
        self._look_at_plan(message)
        watched = [self._as_it_was(marker) for marker in message.markers if self._guards(marker.ns)]
        if None in watched:
            return  # carved or moved already: the structures as they were are on their way
        known = [self._key(marker) for marker in watched]
        if known == self._watched:
            return  # what is shown has changed, not what is measured to
        structures = self._structures(watched)
        missing = sorted(set(guard) - {structure.name for structure in structures})
        if missing:
            text = f'guarded structures {", ".join(missing)} are not in anatomy/surface'
            self._health.set('anatomy', ERROR, 'ANATOMY_REFUSED', text)
        elif structures:
            self._health.set('anatomy', OK, 'OK', f'{len(structures)} structures watched')
        if structures:
            self._watched = known
            fields = {self.indices[one.name]: (one.name, one.grid) for one in structures}
            # where a surface is only shown, nothing tells where it was in the scan, and so what of it is gone
            shown = {marker.id for marker in watched if self._is_only_shown(marker)}
            self.carved.watch({at: one for at, one in fields.items() if at not in shown})
            self._on_structures(structures)

    def _guards(self, name: str) -> bool:
        return not self._is_plan(name) and (not self._config.guard or name in self._config.guard)

    def _is_plan(self, name: str) -> bool:
        return bool(self._config.plan.structure) and name == self._config.plan.structure

    def _look_at_plan(self, message: MarkerArray) -> None:
        """Take the planned surface as scanned, however it is carved."""
        for marker in message.markers:
            first = self._as_it_was(marker) if self._is_plan(marker.ns) else None
            if first is None:
                continue
            key = self._key(first)
            if key == self._planned:
                continue
            try:
                self._on_plan(self._field(first))
                self._planned = key
                self._health.set('plan', OK, 'OK', f'depths are to {marker.ns}')
            except (InputError, ConfigError) as error:
                self._health.set('plan', ERROR, 'ANATOMY_REFUSED', str(error))

    def _as_it_was(self, marker: Marker) -> Marker | None:
        """Return what distances begin with: the structure as scanned where it is carved or moves, else as shown."""
        if self.moved.deforms(marker.id):
            return self.carved.first(marker)
        if marker.text == DEFORMED:
            return marker
        return self.carved.original(marker)

    def _key(self, marker: Marker) -> tuple[object, ...]:
        """Return by what a structure is known to be the one that is watched; one that is shown anew moves here."""
        deforms = self.moved.deforms(marker.id)
        if self._is_only_shown(marker):
            if not self._move_shown(marker):
                self._others[marker.id] = self._others.get(marker.id, 0) + 1
            return (marker.ns, marker.id, marker.header.frame_id, DEFORMED, self._others[marker.id])
        return (marker.ns, marker.id, marker.header.frame_id, deforms, corners_of(marker).tobytes())

    def _move_shown(self, marker: Marker) -> bool:
        """Move a surface that is only shown; False when its triangles are others than before."""
        shown = self._shown.get(marker.id)
        vertices = shown.vertices_of(corners_of(marker)) if shown is not None else None
        if shown is None or vertices is None:
            return False

        def move() -> None:
            try:
                shown.surface.move(vertices)
                self._health.set(f'moved {marker.ns}', OK, 'OK', 'where anatomy/surface shows it')
            except InputError as error:
                self._health.set(f'moved {marker.ns}', ERROR, error.code or 'ANATOMY_REFUSED', str(error))

        self._changes.add('anatomy/surface', stamp_to_ns(marker.header.stamp), move)
        return True

    def _structures(self, watched: list[Marker]) -> list[Structure]:
        limits = dict(zip(self._config.guard, self._config.near_distances, strict=False))
        structures = []
        for marker in watched:
            try:
                field = self._field(marker)
            except (InputError, ConfigError) as error:
                self._health.set(f'structure {marker.ns}', ERROR, 'ANATOMY_REFUSED', str(error))
                continue
            self._health.clear(f'structure {marker.ns}')
            structures.append(Structure(marker.ns, field, limits.get(marker.ns, float('nan'))))
            self.indices[marker.ns] = marker.id
        return structures

    def _is_only_shown(self, marker: Marker) -> bool:
        return marker.text == DEFORMED and not self.moved.deforms(marker.id)

    def _field(self, marker: Marker) -> Field:
        config = self._config
        if marker.header.frame_id != config.anatomy_frame:
            raise InputError(f'{marker.ns}: frame is {marker.header.frame_id!r}, not {config.anatomy_frame!r}')
        surface = make_surface(marker.ns, *surface_from_marker(marker))
        if self.moved.deforms(marker.id):
            return self.moved.follow(marker.id, surface)
        if self._is_only_shown(marker):
            return self._show(marker, surface)
        return precise_grid(self._make_grid(surface), surface)

    def _show(self, marker: Marker, surface: Surface) -> MovingSurface:
        """Begin to follow a surface by its markers alone."""
        moving = MovingSurface(surface)
        _, first, index = np.unique(corners_of(marker), axis=0, return_index=True, return_inverse=True)
        if len(first) == len(surface.vertices):
            self._shown[marker.id] = _Shown(moving, first, index.ravel())
        return moving


def topic_name(structure: str) -> str:
    """Turn the name of a structure into one that a topic may have."""
    cleaned = ''.join(letter if letter.isascii() and letter.isalnum() else '_' for letter in structure)
    return cleaned if cleaned[:1].isalpha() else f's_{cleaned}'
