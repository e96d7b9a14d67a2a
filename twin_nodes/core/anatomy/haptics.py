"""Tissue in the jaws of a tool at the rate of the hand: a reduced model, watched by the frames of the full one.

A grasp follows a patch that was learned (`elastic.reduced_patch`), and only where it was learned: jaws that close
elsewhere, a state outside its span, and tissue that lies elsewhere than it says (by a cloud, a cut, another tool) are
told, and the last frame of the full model stands in, with its own stamp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.reduced import ReducedModel
from twin_nodes.core.anatomy.elastic.reduced_patch import LearnedPatch
from twin_nodes.core.config import setting
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points

_KEPT = 2048  # answers that a frame of the full model may be compared with


@dataclass(frozen=True)
class HapticConfig:
    """When a reduced model may speak."""

    max_offset: float = setting(
        'Jaws that close farther from the middle of a learned patch hold something else.', 0.004, unit='m',
        minimum=0.0005, maximum=0.05,
    )  # fmt: skip
    region: float = setting(
        'Nodes of the surface so far around the patch are told.', 0.015, unit='m', minimum=0.0, maximum=0.2
    )
    max_apart: float = setting(
        'Where a node of the region lies farther from that of the full model at the same stamp, the full model counts.',
        0.001, unit='m', minimum=1e-5, maximum=0.05,
    )  # fmt: skip


class HapticState(StrEnum):
    """What an answer rests on."""

    FREE = 'free'  # the jaws are open
    REDUCED = 'reduced'
    ELSEWHERE = 'elsewhere'  # no patch was learned where the jaws closed
    OUTSIDE = 'outside'  # beyond what was learned
    APART = 'apart'  # the full model says otherwise


CODES = {
    HapticState.FREE: 'OK',
    HapticState.REDUCED: 'OK',
    HapticState.ELSEWHERE: 'REDUCED_ELSEWHERE',
    HapticState.OUTSIDE: 'REDUCED_OUTSIDE',
    HapticState.APART: 'REDUCED_APART',
}


@dataclass(frozen=True, eq=False)
class Touched:
    """The tissue about the jaws.

    Args:
        nodes: Which nodes, shape (s,).
        positions: Where they are in the anatomy [m], shape (s, 3).
        displacement: Of each from the scan [m], shape (s, 3).
    """

    nodes: NDArray[np.int64]
    positions: Array
    displacement: Array


@dataclass(frozen=True, eq=False)
class HapticAnswer:
    """What the hand should feel.

    Args:
        stamp_ns: Of the pose of the tip.
        state: What it rests on; with any but REDUCED and FREE the full model's last frame counts.
        patch: Name of the patch, '' for none.
        touched: The tissue about the jaws; None unless REDUCED.
        force: On the tool [N], in the anatomy, shape (3,).
        torque: On the tool about its tip [Nm], shape (3,).
        outside: How far outside of what was learned, as a share of its range; 0 within.
    """

    stamp_ns: int
    state: HapticState
    patch: str
    touched: Touched | None
    force: Array
    torque: Array
    outside: float

    @property
    def is_full(self) -> bool:
        """Whether the last frame of the full model counts in place of this."""
        return self.state not in (HapticState.FREE, HapticState.REDUCED)


@dataclass(eq=False)
class _Patch:
    name: str
    model: ReducedModel
    middle: Array
    region: NDArray[np.int64]
    rest: Array


class HapticSession:
    """Follows one tool.

    Args:
        patches: Learned patches of one body, by name.
        outer: Nodes of its surface, shape (b,).
        config: Settings.
    """

    def __init__(self, patches: Mapping[str, LearnedPatch], outer: NDArray[np.integer], config: HapticConfig) -> None:
        self.config = config
        self._patches = [_patch(name, one, outer, config.region) for name, one in patches.items()]
        self.reset()

    def reset(self) -> None:
        """Forget what was held, as after a jump of the clock."""
        self._closed = self._missed = False
        self._held: _Patch | None = None
        self._places_tip = np.zeros((0, 3))
        self._apart = 0.0
        self._said: deque[tuple[int, Array]] = deque(maxlen=_KEPT)
        for patch in self._patches:
            patch.model.reset()

    @property
    def region(self) -> NDArray[np.int64]:
        """Nodes that are told, of the patch in the jaws, else of all patches, shape (s,)."""
        if self._held is not None:
            return self._held.region
        return np.unique(np.concatenate([patch.region for patch in self._patches]))

    @property
    def apart(self) -> float:
        """How far the region lay from the full model at its last frame [m]."""
        return self._apart

    def set_grip(self, *, closed: bool) -> None:
        """Hear that the jaws close or open; what they hold is settled by the next pose."""
        if closed is not self._closed:
            self._closed, self._held, self._missed = closed, None, False
            self._said.clear()

    def lose(self) -> None:
        """Hear that the tool is not seen: what it holds is not known any more until the jaws close anew."""
        self._held, self._missed = None, self._closed
        self._said.clear()

    def update(self, stamp_ns: int, anatomy_T_tip: Array) -> HapticAnswer:
        """Bring the tissue to where the tip is.

        Args:
            stamp_ns: Of the pose.
            anatomy_T_tip: Shape (4, 4).
        """
        if not self._closed:
            return self._none(stamp_ns, HapticState.FREE)
        if self._held is None and not self._missed:
            self._take(anatomy_T_tip)
        patch = self._held
        if patch is None:
            return self._none(stamp_ns, HapticState.ELSEWHERE)
        held_at = transform_points(anatomy_T_tip, self._places_tip)
        state = patch.model.update(held_at)
        force, torque = patch.model.wrench(state, held_at, anatomy_T_tip[:3, 3])
        self._said.append((stamp_ns, state.positions))
        found = HapticState.REDUCED if state.in_span else HapticState.OUTSIDE
        if found is HapticState.REDUCED and self._apart > self.config.max_apart:
            found = HapticState.APART
        if found is not HapticState.REDUCED:
            return self._none(stamp_ns, found, state.outside)
        touched = Touched(patch.region, state.positions, state.positions - patch.rest)
        return HapticAnswer(stamp_ns, found, patch.name, touched, -force, -torque, state.outside)

    def compare(self, stamp_ns: int, nodes: NDArray[np.integer], positions: Array) -> float:
        """Hold a frame of the full model beside what was said for the same stamp; return how far they are apart [m].

        Frames of stamps for which nothing was said change nothing.

        Args:
            stamp_ns: Of the frame; 0 is the state of the scan.
            nodes: Nodes of the frame, ascending (k,).
            positions: Where they are [m], shape (k, 3).
        """
        patch = self._held
        if patch is None:
            known = [(one.region, one.rest) for one in self._patches] if not self._closed else []
        else:
            known = [(patch.region, said) for at, said in self._said if at == stamp_ns]
        gaps = [gap for region, places in known for gap in _gap(region, places, nodes, positions)]
        self._apart = max(gaps, default=self._apart)
        return self._apart

    def _take(self, anatomy_T_tip: Array) -> None:
        away = [float(np.linalg.norm(anatomy_T_tip[:3, 3] - patch.middle)) for patch in self._patches]
        best = int(np.argmin(away)) if away else -1
        self._missed = best < 0 or away[best] > self.config.max_offset
        if self._missed:
            return
        patch = self._held = self._patches[best]
        patch.model.reset()
        self._places_tip = transform_points(inverse(anatomy_T_tip), patch.model.basis.rest[patch.model.held])

    def _none(self, stamp_ns: int, state: HapticState, outside: float = 0.0) -> HapticAnswer:
        name = self._held.name if self._held is not None else ''
        return HapticAnswer(stamp_ns, state, name, None, np.zeros(3), np.zeros(3), outside)


def _patch(name: str, learned: LearnedPatch, outer: NDArray[np.integer], reach: float) -> _Patch:
    rest, model = learned.basis.rest, ReducedModel.restored(learned.basis)
    middle = rest[model.held].mean(axis=0)
    near = outer[np.linalg.norm(rest[outer] - middle, axis=1) <= reach]
    region = np.unique(np.concatenate([near.astype(np.int64), model.held]))
    model.show(region)
    return _Patch(name, model, middle, region, rest[region])


def _gap(region: NDArray[np.int64], places: Array, nodes: NDArray[np.integer], positions: Array) -> list[float]:
    """Return the greatest distance of the nodes of a region (s, 3) from those of a frame [m]; none without a node."""
    _, here, there = np.intersect1d(region, nodes, assume_unique=True, return_indices=True)
    return [float(np.linalg.norm(places[here] - positions[there], axis=1).max())] if len(here) else []
