"""Tools that push: tissue may touch a tool's tip and shaft and slide along them, but neither enter nor stick.

A tool is a capsule. Where it meets an outer triangle, that place of the tissue bears a spring along the direction in
which the tool pushes; the spring is kept while it pushes, and let go when it would pull (active set, Wriggers 2006,
section 6.3). A triangle may be touched in several places: with one that wanders, it would tilt to and fro for ever.
Contact is free of friction. A direction is kept while it turns little, as each new one costs the factor an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.contact_kernels import near_capsule
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
_ENTERED = 1e-5  # a place that is not touched yet may be so far inside the tool [m]


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
        return float(self.push @ (self.weights @ x[self.nodes] - self.target))


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
    """

    def __init__(self, faces: NDArray[np.int32], stiffness: float) -> None:
        self._faces, self._stiffness = np.ascontiguousarray(faces, np.int64), stiffness
        self._touches: dict[_Key, _Touch] = {}
        self.states: Mapping[str, ContactState] = {}

    def __len__(self) -> int:
        return len(self._touches)

    def clear(self) -> None:
        """Touch nothing."""
        self._touches.clear()
        self.states = {}

    def change(self, faces: NDArray[np.int32]) -> None:
        """Go on with another surface of the same nodes, as after a resection."""
        self._faces = np.ascontiguousarray(faces, np.int64)
        self.clear()

    def update(self, capsules: Sequence[Capsule], x: Array, held: NDArray[np.int64]) -> bool:
        """Find what the tools touch where the nodes are now; return whether that is other than before.

        Args:
            capsules: The tools that push.
            x: Nodes [m], shape (n, 3).
            held: Nodes that are held; tools do not push them.
        """
        found: dict[_Key, _Touch] = {}
        usable = np.isin(self._faces, held, invert=True).min(axis=1)
        for capsule in capsules:
            self._touch(capsule, x, usable, found)
        changed = found.keys() != self._touches.keys() or any(
            abs(touch.push @ (touch.target - self._touches[key].target)) > _STILL for key, touch in found.items()
        )
        self._touches = found
        return changed

    def release(self, x: Array) -> bool:
        """Let go what a spring would pull; return whether anything was. `states` says what the others do."""
        kept = {key: touch for key, touch in self._touches.items() if touch.gap(x) <= 0.0}
        let_go = len(kept) < len(self._touches)
        self._touches = kept
        self.states = self._states(x)
        return let_go

    def springs(self) -> Springs:
        """Return the springs that stand for the contacts."""
        touches = [self._touches[key] for key in sorted(self._touches)]
        if not touches:
            return Springs()
        nodes = np.array([touch.nodes for touch in touches], np.int64)
        weights = np.array([touch.weights for touch in touches])
        push = np.array([touch.push for touch in touches])
        return Springs(
            np.concatenate([nodes, nodes[:, :1]], axis=1), np.pad(weights, ((0, 0), (0, 1))),
            np.array([touch.target for touch in touches]), self._stiffness * push[:, :, None] * push[:, None, :],
        )  # fmt: skip

    def _states(self, x: Array) -> Mapping[str, ContactState]:
        forces: dict[str, Array] = {}
        counts: dict[str, int] = {}
        for (tool, _, _), touch in self._touches.items():
            pressed = self._stiffness * max(-touch.gap(x), 0.0) * touch.push
            forces[tool] = forces.get(tool, np.zeros(3)) + pressed
            counts[tool] = counts.get(tool, 0) + 1
        return {tool: ContactState(counts[tool], tuple(force.tolist())) for tool, force in forces.items()}

    def _touch(self, capsule: Capsule, x: Array, usable: NDArray[np.bool_], found: dict[_Key, _Touch]) -> None:
        radius, faces = capsule.radius, self._faces
        axis, places = np.empty((len(faces), 3)), np.empty((len(faces), 3))
        away = near_capsule(capsule.tip, capsule.end, 2.0 * radius, x, faces, axis, places)
        for face in np.flatnonzero(np.isfinite(away) & usable).tolist():
            kept = {}
            for number in range(_MOST_PLACES):
                known = self._touches.get((capsule.tool, face, number))
                touch = _pushed(faces[face], known.weights, x, capsule, known) if known is not None else None
                if touch is not None:
                    kept[number] = touch
            new = _met(faces[face], x, places[face], float(away[face]), capsule)
            if new is not None and len(kept) < _MOST_PLACES and not _is_known(new, kept):
                kept[next(number for number in range(_MOST_PLACES) if number not in kept)] = new
            found |= {(capsule.tool, face, number): touch for number, touch in kept.items()}


def _is_known(new: _Touch, kept: Mapping[int, _Touch]) -> bool:
    return any(np.abs(touch.weights - new.weights).max() < _SAME_PLACE for touch in kept.values())


def _met(nodes: NDArray[np.int64], x: Array, place: Array, away: float, capsule: Capsule) -> _Touch | None:
    """Return how a capsule meets the nearest place of a triangle that it did not touch there, or None."""
    if away > capsule.radius - _ENTERED:
        return None  # beyond the tool, or the far side of the organ
    return _pushed(nodes, _shares(x[nodes], place), x, capsule, None)


def _pushed(
    nodes: NDArray[np.int64], weights: Array, x: Array, capsule: Capsule, known: _Touch | None
) -> _Touch | None:
    """Return how a capsule pushes a place of a triangle, or None where it does not push inward."""
    corners = x[nodes]
    place = weights @ corners
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= max(float(np.linalg.norm(normal)), 1e-300)
    way = capsule.end - capsule.tip
    share = float((place - capsule.tip) @ way) / max(float(way @ way), 1e-300)
    axis = capsule.tip + min(max(share, 0.0), 1.0) * way
    away = float(np.linalg.norm(place - axis))
    if away > 2.0 * capsule.radius:
        return None
    push = (place - axis) / away if away > 1e-9 else -normal
    if (axis - place) @ normal < 0.0 and away > 1e-9:
        push = -push  # the axis is inside the tissue
    if push @ normal > -_FACING:
        return None
    kept = known.push if known is not None and known.push @ push > _SAME_WAY else push
    return _Touch(nodes, weights, kept, axis + capsule.radius * push)


def _shares(corners: Array, place: Array) -> Array:
    """Return the barycentric coordinates of a point of a triangle, shape (3,)."""
    a, b, c = corners[1] - corners[0], corners[2] - corners[0], place - corners[0]
    aa, ab, bb, ca, cb = a @ a, a @ b, b @ b, c @ a, c @ b
    scale = aa * bb - ab * ab
    if scale <= 0.0:
        return np.array([1.0, 0.0, 0.0])
    second, third = (bb * ca - ab * cb) / scale, (aa * cb - ab * ca) / scale
    found = np.clip([1.0 - second - third, second, third], 0.0, 1.0)
    return np.asarray(found / found.sum())


def capsule_of(tool: str, anatomy_T_tip: Array, config: ContactConfig) -> Capsule:
    """Return tip and shaft of a tool; the tip is the foremost point of the ball."""
    back = anatomy_T_tip[:3, :3] @ np.asarray(config.shaft_direction, float)
    back = back / np.linalg.norm(back)
    centre = anatomy_T_tip[:3, 3] + config.radius * back
    return Capsule(tool, centre, centre + config.shaft_length * back, config.radius)
