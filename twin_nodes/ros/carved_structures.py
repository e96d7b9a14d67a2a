"""Guarded structures that a drill carves: what tells their distances follows `anatomy/removed`."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.anatomy.removed import RemovedMessage
from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver, State
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.anatomy_changes import AnatomyChanges
from twin_nodes.core.guidance.carved import CarvedGrid, DirtyBox
from twin_nodes.core.guidance.clearance import Field
from twin_nodes.core.guidance.moving_surface import CarvedMoving, MovingSurface
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.clouds import CUT
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, LATCHED, REPLAY_SUBSCRIPTION, SNAPSHOT
from twin_nodes.ros.removed import removed_from

REMOVED = 'anatomy/removed'
_PERIOD_NS = NANOSECONDS // 5


class CarvedStructures:
    """Keeps what is gone and hands out grids of what is left.

    Args:
        node: The node that it is part of.
        health: Its health.
        frame: Frame of the anatomy.
        on_grid: Called with the name of a structure and its grid whenever that has changed.
        on_original: Called when the structures as they were have come.
        changes: Counts what is gone from its stamp on, and brings the grids up to date with the poses; without it what
            comes counts at once, and `apply` is to be called.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        frame: str,
        on_grid: Callable[[str, Field], None],
        on_original: Callable[[], None],
        changes: AnatomyChanges | None = None,
    ) -> None:
        self._changes = AnatomyChanges(ordered=False) if changes is None else changes
        self._changes.follow(self.apply)
        self._health, self._frame, self._on_grid, self._on_original = health, frame, on_grid, on_original
        self._receiver = RemovedReceiver(self._on_removed, self._on_back)
        self._affine = np.eye(4)
        self._dirty: dict[int, DirtyBox] = {}
        self._grids: dict[int, tuple[str, CarvedGrid | CarvedMoving]] = {}
        self._originals: dict[str, Marker] = {}
        self._last_ns = -_PERIOD_NS
        node.create_subscription(MarkerArray, 'anatomy/surface/original', self._on_originals, LATCHED)
        node.create_subscription(PointCloud2, 'anatomy/removed/snapshot', self._on_message, SNAPSHOT)
        # every delta counts: who loses one knows a hole too few until the next snapshot
        qos = REPLAY_SUBSCRIPTION if is_replay(node) else COMMAND_SUBSCRIPTION
        node.create_subscription(PointCloud2, REMOVED, self._on_message, qos)
        if changes is not None:
            follow_progress(node, REMOVED, partial(changes.progress, REMOVED))
        self._jump = on_jump_back(node, self._start_again)

    def original(self, marker: Marker) -> Marker | None:
        """Return a structure's marker as it was before the drill; None while that is still to come."""
        return self._originals.get(marker.ns) if marker.text == CUT else marker

    def first(self, marker: Marker) -> Marker | None:
        """Return a structure's marker as in `anatomy/surface/original`; None while that is still to come."""
        return self._originals.get(marker.ns)

    def watch(self, grids: Mapping[int, tuple[str, Field]]) -> None:
        """Follow these structures, by number; what is gone already is applied with the next `apply`."""
        self._grids = {
            index: (name, CarvedMoving(grid) if isinstance(grid, MovingSurface) else CarvedGrid(grid))
            for index, (name, grid) in grids.items()
        }
        whole = DirtyBox()
        gone = np.argwhere(self._receiver.voxels)
        if len(gone):
            whole.low, whole.high = gone.min(axis=0), gone.max(axis=0)
            self._dirty = dict.fromkeys(self._grids, whole)

    @property
    def gone(self) -> int:
        """How many voxels are gone."""
        return self._receiver.total

    def cut(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which voxels of a box around what is gone are gone, (ni, nj, nk), and its anatomy_T_index (4, 4)."""
        voxels = self._receiver.voxels
        index = np.argwhere(voxels) if self._receiver.total else np.zeros((1, 3), int)
        low, high = index.min(axis=0), index.max(axis=0) + 1
        affine = self._affine.copy()
        affine[:3, 3] += affine[:3, :3] @ low
        return voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] != 0, affine

    def apply(self, now_ns: int) -> None:
        """Bring the grids up to date, at most five times a second of the stamps of poses, or of another clock."""
        if not self._dirty or self._last_ns <= now_ns < self._last_ns + _PERIOD_NS:
            return
        self._last_ns = now_ns
        dirty, self._dirty = self._dirty, {}
        for index, box in dirty.items():
            if index in self._grids:
                name, carved = self._grids[index]
                self._on_grid(name, carved.update(self._receiver.voxels, self._affine, box.low, box.high))

    def _on_originals(self, message: MarkerArray) -> None:
        self._originals = {marker.ns: marker for marker in message.markers}
        self._on_original()

    def _on_message(self, cloud: PointCloud2) -> None:
        try:
            message = removed_from(cloud, frame=self._frame)
        except InputError as error:
            self._health.warn(error.code or 'ANATOMY_REFUSED', str(error))
            return
        import scipy.ndimage  # noqa: F401  (the first cut has no time for 0.1 s of it; a snapshot comes at the start)

        self._changes.add(REMOVED, message.stamp_ns, partial(self._take, message))

    def _take(self, message: RemovedMessage) -> None:
        try:
            state = self._receiver.take(message)
            self._affine = message.anatomy_T_index
        except InputError as error:
            self._health.warn(error.code or 'ANATOMY_REFUSED', str(error))
            return
        values = {'voxels_gone': self._receiver.total, 'sequence': self._receiver.sequence}
        if state is State.CURRENT:
            self._health.set('removed', OK, 'OK', 'as the anatomy has it', values)
        else:
            text = 'waiting for the first snapshot' if state is State.WAITING else 'deltas were lost'
            self._health.set('removed', WARN, 'REMOVED_BEHIND', f'{text}; the next snapshot closes the gap', values)

    def _on_removed(self, message: RemovedMessage, _voxels: object) -> None:
        """Note which structures lost something where."""
        for index in np.unique(message.structures).tolist():
            if index in self._grids:
                self._dirty.setdefault(index, DirtyBox()).add(message)

    def _on_back(self) -> None:
        """Bring all grids back as they were."""
        self._dirty.clear()
        for name, carved in self._grids.values():
            self._on_grid(name, carved.reset())

    def _start_again(self) -> None:
        self._receiver.reset()
        self._last_ns = -_PERIOD_NS
        self._on_back()
