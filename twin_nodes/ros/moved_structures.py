"""Guarded structures that deform: they follow `anatomy/surface/moved`, or surfaces that are shown anew."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.moving_surface import MovingSurface
from twin_nodes.ros.health import ERROR, OK, Health
from twin_nodes.ros.moved_surface import MOVED, MovedPart, moved_from
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import REPLAY_DEPTH, SNAPSHOT

_REPLAY = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    depth=REPLAY_DEPTH,
)


@dataclass
class _Gathered:
    """The parts of one instant of one structure, as they come."""

    stamp_ns: int
    places: Array
    sigma: Array
    beyond: Array | None = None
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.places)

    def add(self, part: MovedPart) -> bool:
        """Take a part; True when all are here."""
        new = np.isnan(self.places[part.vertices, 0])
        self.places[part.vertices], self.sigma[part.vertices] = part.places, part.sigma
        if part.beyond is not None:
            if self.beyond is None:
                self.beyond = np.zeros(len(self.places))
            self.beyond[part.vertices] = part.beyond
        self.left -= int(new.sum())
        return self.left == 0


class MovedStructures:
    """Keeps a `MovingSurface` for each structure that deforms.

    Args:
        node: The node that it is part of.
        health: Its health.
        frame: Frame of the anatomy.
        changes: Counts each motion from its stamp on.
        on_first: Called when a structure is heard of for the first time: it needs to be watched otherwise.
    """

    def __init__(
        self, node: Node, health: Health, frame: str, changes: AnatomyChanges, on_first: Callable[[], None]
    ) -> None:
        self._health, self._frame, self._changes, self._on_first = health, frame, changes, on_first
        self._gathering: dict[int, _Gathered] = {}
        self._newest: dict[int, _Gathered] = {}  # complete, as last done
        self._surfaces: dict[int, MovingSurface] = {}
        node.create_subscription(PointCloud2, MOVED, self._on_moved, _REPLAY if is_replay(node) else SNAPSHOT)
        follow_progress(node, MOVED, partial(changes.progress, MOVED))

    def deforms(self, number: int) -> bool:
        """Whether a structure is known to deform, by its number."""
        return number in self._newest

    @property
    def is_alive(self) -> bool:
        """Whether anything comes on the topic."""
        return bool(self._newest)

    def follow(self, number: int, rest: Surface) -> MovingSurface:
        """Return the structure as it is now, and keep it so.

        Args:
            number: Of the structure.
            rest: As in `anatomy/surface/original`.

        Raises:
            InputError: holes, or another number of vertices than what moves.
        """
        surface = MovingSurface(rest)
        newest = self._newest[number]
        surface.move(newest.places, newest.sigma, beyond=newest.beyond)
        self._surfaces[number] = surface
        return surface

    def reset(self) -> None:
        """Forget what was half said, after a jump of the clock; the maker begins anew from the scan."""
        self._gathering.clear()

    def _on_moved(self, cloud: PointCloud2) -> None:
        try:
            parts = list(moved_from(cloud, frame=self._frame))
        except InputError as error:
            self._health.warn(error.code or 'ANATOMY_REFUSED', str(error))
            return
        for part in parts:
            gathered = self._gathering.get(part.structure)
            if gathered is None or gathered.stamp_ns != part.stamp_ns or len(gathered.places) != part.count:
                gathered = _Gathered(part.stamp_ns, np.full((part.count, 3), np.nan), np.zeros(part.count))
                self._gathering[part.structure] = gathered
            if gathered.add(part):
                del self._gathering[part.structure]
                self._take(part.structure, gathered)

    def _take(self, number: int, gathered: _Gathered) -> None:
        if number in self._newest:
            self._changes.add(MOVED, gathered.stamp_ns, partial(self._move, number, gathered))
            return
        self._newest[number] = gathered
        self._changes.add(MOVED, gathered.stamp_ns, lambda: None)
        self._on_first()

    def _move(self, number: int, gathered: _Gathered) -> None:
        self._newest[number] = gathered
        surface = self._surfaces.get(number)
        if surface is None:
            return
        check = f'moved {surface.name}'
        try:
            surface.move(gathered.places, gathered.sigma, beyond=gathered.beyond)
        except InputError as error:
            self._health.count(error.code or 'ANATOMY_REFUSED')
            self._health.set(check, ERROR, error.code or 'ANATOMY_REFUSED', str(error))
            return
        sigma = 1e3 * float(gathered.sigma.max())
        text = 'all of it was cut off' if surface.is_gone else 'where the anatomy has it'
        self._health.set(check, OK, 'OK', text, {'sigma_max_mm': sigma})
