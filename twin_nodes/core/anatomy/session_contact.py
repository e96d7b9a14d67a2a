"""Tools that push: tissue may touch a tool's tip and shaft and slide along them, but neither enter nor stick.

A tool is a capsule. Each place of an outer triangle that it meets, or nearly meets, gets a plane that the place may not
pass (`elastic.barriers`); the solver finds which of them push. A triangle may be touched in several places: with one
that wanders, it would tilt to and fro for ever. Contact is free of friction. A direction is kept while it turns little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import contact_kernels
from twin_nodes.core.anatomy.elastic.barriers import Barriers
from twin_nodes.core.anatomy.elastic.loads import Springs
from twin_nodes.core.anatomy.session_config import ContactConfig
from twin_nodes.core.geometry.se3 import Array

_Key = tuple[str, int, int]  # tool, triangle, number of the place

LEAST_RADIUS = 0.4  # of the edge of a tetrahedron: a thinner tool would slip through a triangle
_SAME_WAY = np.cos(0.08)
_SAME_PLACE = 0.15  # of a triangle
_MOST_PLACES = 4  # of one triangle
_FACING = 0.2  # least share of the push that goes inward
_STILL = 1e-4  # a tool's surface that moved less against the tissue is where it was [m]
_NEAR = 0.15  # of the radius: a place so near may touch within the frame
_LIFTED = 0.3  # of the radius: a place that is farther off is forgotten


@dataclass(frozen=True, eq=False)
class Capsule:
    """Tip and shaft of a tool in the anatomy.

    Args:
        tool: Its name.
        tip: Centre of the ball at the tip [m], shape (3,).
        end: The other end of the axis [m], shape (3,).
        radius: [m].
    """

    tool: str
    tip: Array
    end: Array
    radius: float


@dataclass(eq=False)
class _Touch:
    """A place of a triangle that a tool touches.

    Args:
        nodes: Nodes of the triangle, shape (3,).
        weights: Their shares in the place, shape (3,).
        push: Unit vector in which the tool pushes, shape (3,).
        target: Where the place would just touch the tool [m], shape (3,).
    """

    nodes: NDArray[np.int64]
    weights: Array
    push: Array
    target: Array

    def gap(self, x: Array) -> float:
        """Return how far the place is from the tool along the push [m]; negative inside it."""
        found: float = contact_kernels.gap(x, self.nodes, self.weights, self.push, self.target)
        return found


@dataclass(frozen=True)
class ContactState:
    """What a tool does to the tissue.

    Args:
        places: Number of places that it touches.
        force: On the tissue [N], shape (3,).
    """

    places: int
    force: tuple[float, float, float]


class Contacts:
    """The contacts of all tools with one surface.

    Args:
        faces: Outer triangles as node numbers, outward, shape (k, 3).
        stiffness: Of a contact [N/m].

    Attributes:
        states: By tool what it did to the tissue in the last state of rest.
        solved: The planes of that state; where the tissue went since, others may be near.
    """

    def __init__(self, faces: NDArray[np.int32], stiffness: float) -> None:
        self._faces, self._stiffness = np.ascontiguousarray(faces, np.int64), stiffness
        self._touches: dict[_Key, _Touch] = {}
        self._tips = np.zeros(0)
        self.solved = Barriers()
        self.states: Mapping[str, ContactState] = {}

    def __len__(self) -> int:
        return len(self._touches)

    def clear(self) -> None:
        """Touch nothing."""
        self._touches.clear()
        self._tips = np.zeros(0)
        self.states = {}

    def change(self, faces: NDArray[np.int32]) -> None:
        """Go on with another surface of the same nodes, as after a resection."""
        self._faces = np.ascontiguousarray(faces, np.int64)
        self.clear()

    def update(self, capsules: Sequence[Capsule], x: Array, held: NDArray[np.int64]) -> bool:
        """Find what the tools touch where the nodes are now; return whether that is other than was solved for.

        Args:
            capsules: The tools that push.
            x: Nodes [m], shape (n, 3).
            held: Nodes that are held; tools do not push them.
        """
        found: dict[_Key, _Touch] = {}
        usable = np.ones(len(self._faces), bool)
        if len(held):
            usable = np.asarray(np.isin(self._faces, held, invert=True).all(axis=1))
        for capsule in capsules:
            self._touch(capsule, x, usable, found)
        changed = any(self._is_other(key, touch, x) for key, touch in found.items())
        self._touches = {key: found[key] for key in sorted(found)}
        self._tips = np.concatenate([capsule.tip for capsule in capsules]) if capsules else np.zeros(0)
        return changed

    def _is_other(self, key: _Key, touch: _Touch, x: Array) -> bool:
        known, gap = self._touches.get(key), touch.gap(x)
        if known is None:
            return gap < -_STILL
        moved = abs(float(touch.push @ (touch.target - known.target)))
        return min(gap, known.gap(x)) < 0.0 and moved > _STILL

    def say(self, x: Array) -> None:
        """Take in where the nodes came to rest (n, 3) [m]: `states` says what the tools do there."""
        self.states = self._states(x)

    def barriers(self) -> Barriers:
        """Return the planes that the tissue may not pass, and keep them in `solved`."""
        touches = list(self._touches.values())
        self.solved = Barriers(controls=self._tips)
        if not touches:
            return self.solved
        self.solved = Barriers(
            np.array([touch.nodes for touch in touches], np.int64), np.array([touch.weights for touch in touches]),
            np.array([touch.push for touch in touches]), np.array([touch.target for touch in touches]),
            self._stiffness, self._tips,
        )  # fmt: skip
        return self.solved

    def springs(self, x: Array) -> Springs:
        """Return the springs that stand for those that push where the nodes are (n, 3) [m]."""
        planes = self.barriers()
        on = np.flatnonzero(planes.gaps(x) < 0.0)
        if not len(on):
            return Springs()
        nodes, push = planes.nodes[on], planes.push[on]
        return Springs(
            np.concatenate([nodes, nodes[:, :1]], axis=1), np.pad(planes.weights[on], ((0, 0), (0, 1))),
            planes.targets[on], self._stiffness * push[:, :, None] * push[:, None, :],
        )  # fmt: skip

    def _states(self, x: Array) -> Mapping[str, ContactState]:
        forces: dict[str, Array] = {}
        counts: dict[str, int] = {}
        for (tool, _, _), touch in self._touches.items():
            gap = touch.gap(x)
            if gap < 0.0:
                forces[tool] = forces.get(tool, np.zeros(3)) - self._stiffness * gap * touch.push
                counts[tool] = counts.get(tool, 0) + 1
        return {tool: ContactState(counts[tool], tuple(force.tolist())) for tool, force in forces.items()}

    def _touch(self, capsule: Capsule, x: Array, usable: NDArray[np.bool_], found: dict[_Key, _Touch]) -> None:
        radius, faces = capsule.radius, self._faces
        axis, places = np.empty((len(faces), 3)), np.empty((len(faces), 3))
        away = contact_kernels.near_capsule(capsule.tip, capsule.end, 2.0 * radius, x, faces, axis, places)
        before = [face for tool, face, _ in self._touches if tool == capsule.tool]
        near = away <= (1.0 + _NEAR) * radius  # what is beyond it may be met no more, but may still be touched
        near[before] |= np.isfinite(away[before])
        for face in np.flatnonzero(near & usable).tolist():
            kept = {}
            for number in range(_MOST_PLACES):
                known = self._touches.get((capsule.tool, face, number))
                touch = _pushed(faces[face], known.weights, x, capsule, known) if known is not None else None
                if touch is not None and touch.gap(x) <= _LIFTED * radius:
                    kept[number] = touch
            new = _met(faces[face], x, places[face], float(away[face]), capsule)
            if new is not None and len(kept) < _MOST_PLACES and not _is_known(new, kept):
                kept[next(number for number in range(_MOST_PLACES) if number not in kept)] = new
            found |= {(capsule.tool, face, number): touch for number, touch in kept.items()}


def _is_known(new: _Touch, kept: Mapping[int, _Touch]) -> bool:
    return any(np.abs(touch.weights - new.weights).max() < _SAME_PLACE for touch in kept.values())


def _met(nodes: NDArray[np.int64], x: Array, place: Array, away: float, capsule: Capsule) -> _Touch | None:
    """Return how a capsule meets the nearest place of a triangle that it did not touch there, or None."""
    if away > (1.0 + _NEAR) * capsule.radius:
        return None  # beyond the tool, or the far side of the organ
    weights = np.empty(3)
    contact_kernels.shares(x[nodes], place, weights)
    return _pushed(nodes, weights, x, capsule, None)


def _pushed(
    nodes: NDArray[np.int64], weights: Array, x: Array, capsule: Capsule, known: _Touch | None
) -> _Touch | None:
    """Return how a capsule pushes a place of a triangle, or None where it does not push inward."""
    before, push, target = np.zeros(3) if known is None else known.push, np.empty(3), np.empty(3)
    is_pushed = contact_kernels.pushed(
        x[nodes], weights, capsule.tip, capsule.end, capsule.radius, before, _SAME_WAY, _FACING, push, target
    )
    return _Touch(nodes, weights, push, target) if is_pushed else None


def capsule_of(tool: str, anatomy_T_tip: Array, config: ContactConfig) -> Capsule:
    """Return tip and shaft of a tool; the tip is the foremost point of the ball."""
    back = anatomy_T_tip[:3, :3] @ np.asarray(config.shaft_direction, float)
    back = back / np.linalg.norm(back)
    centre = anatomy_T_tip[:3, 3] + config.radius * back
    return Capsule(tool, centre, centre + config.shaft_length * back, config.radius)
