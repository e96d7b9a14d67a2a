"""Tools that push: tissue may touch a tool's tip and shaft and slide along them, but neither enter nor stick.

A tool is a capsule. Each outer triangle that it meets bears a spring along the direction in which the tool pushes; the
spring is kept as long as it pushes, and let go when it would pull (active set, Wriggers 2006, section 6.3). Contact is
free of friction. A direction is kept while it turns little, as each new one costs the factor an update.
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

_SAME_WAY = np.cos(0.08)
_SAME_PLACE = 0.05  # of a triangle
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
    """A triangle that a tool touches.

    Args:
        nodes: Its nodes, shape (3,).
        weights: Of the place of it that is touched, shape (3,).
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
        places: Number of triangles that it touches.
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
        self._touches: dict[tuple[str, int], _Touch] = {}
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
        found: dict[tuple[str, int], _Touch] = {}
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
        for (tool, _), touch in self._touches.items():
            pressed = self._stiffness * max(-touch.gap(x), 0.0) * touch.push
            forces[tool] = forces.get(tool, np.zeros(3)) + pressed
            counts[tool] = counts.get(tool, 0) + 1
        return {tool: ContactState(counts[tool], tuple(force.tolist())) for tool, force in forces.items()}

    def _touch(
        self, capsule: Capsule, x: Array, usable: NDArray[np.bool_], found: dict[tuple[str, int], _Touch]
    ) -> None:
        radius, faces = capsule.radius, self._faces
        axis, places = np.empty((len(faces), 3)), np.empty((len(faces), 3))
        away = near_capsule(capsule.tip, capsule.end, 2.0 * radius, x, faces, axis, places)
        for face in np.flatnonzero(np.isfinite(away) & usable).tolist():
            known = self._touches.get((capsule.tool, face))
            touch = _met(faces[face], x, axis[face], places[face], float(away[face]), radius, known)
            if touch is not None:
                found[capsule.tool, face] = touch


def _met(
    nodes: NDArray[np.int64], x: Array, axis: Array, place: Array, away: float, radius: float, known: _Touch | None
) -> _Touch | None:
    """Return how a capsule meets a triangle, or None where it does not."""
    corners = x[nodes]
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= max(float(np.linalg.norm(normal)), 1e-300)
    outside = float((axis - place) @ normal) >= 0.0
    if known is None and away > radius - (_ENTERED if outside else 0.0):
        return None  # beyond the tool, or the far side of the organ
    push = (place - axis) / away if away > 1e-9 else -normal
    push = push if outside or away <= 1e-9 else -push
    if push @ normal > -_FACING:
        return None
    weights = _shares(corners, place)
    if known is not None and np.abs(known.weights - weights).max() < _SAME_PLACE:
        weights = known.weights
    way = known.push if known is not None and known.push @ push > _SAME_WAY else push
    return _Touch(nodes, weights, way, axis + radius * push)


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
