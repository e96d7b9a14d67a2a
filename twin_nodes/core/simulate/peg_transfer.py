"""Peg transfer: a board of twelve pegs, six rings, and an operator with two arms who follows a script.

The task of the Fundamentals of Laparoscopic Surgery: each ring is lifted off a peg on one side, handed over in the
air, and put on a peg of the other side. World frame: board in the plane z = 0, z up, x to the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, make_transform
from twin_nodes.core.simulate.motion import minimum_jerk

LEFT, RIGHT = 'left', 'right'
PEG_HEIGHT, PEG_RADIUS = 0.018, 0.0015
RING_RADIUS, RING_HEIGHT = 0.006, 0.008
LIFT = 0.035
OPEN, CLOSED = 0.6, 0.0
GRIP_REACH, PEG_REACH = 0.004, 0.004
MOVE_S, SHORT_S, GRIP_S = 0.6, 0.35, 0.15


def pegs(side: str) -> Array:
    """Return where the six pegs of a side stand, shape (6, 3)."""
    sign = -1.0 if side == LEFT else 1.0
    return np.array([[sign * x, y, 0.0] for y in (-0.02, 0.0, 0.02) for x in (0.02, 0.042)])


@dataclass(frozen=True)
class Move:
    """One step of the script of one arm.

    Args:
        side: Which arm.
        start: When it begins [s].
        length: How long it takes [s].
        target: Where the tip goes [m], or None to stay.
        jaw: Angle of the jaw during it [rad].
    """

    side: str
    start: float
    length: float
    target: tuple[float, float, float] | None
    jaw: float


REST = {LEFT: (-0.05, -0.035, 0.05), RIGHT: (0.05, -0.035, 0.05)}


def _by(point: Array, *, x: float = 0.0, z: float = 0.0) -> Array:
    return np.asarray(point + np.array([x, 0.0, z]))


def ring_script(index: int, start: float) -> list[Move]:
    """Return the moves by which one ring changes its side."""
    left, right = pegs(LEFT)[index], pegs(RIGHT)[index]
    grip_left = _by(left, x=-RING_RADIUS, z=0.5 * RING_HEIGHT)
    grip_right = _by(right, x=RING_RADIUS, z=0.5 * RING_HEIGHT)
    meet = np.array([-RING_RADIUS, 0.0, LIFT])
    moves: list[Move] = []
    clock = start

    def add(side: str, length: float, target: Array | None, jaw: float) -> None:
        nonlocal clock
        where = None if target is None else (float(target[0]), float(target[1]), float(target[2]))
        moves.append(Move(side, clock, length, where, jaw))
        clock += length

    def above(point: Array) -> Array:
        return np.array([point[0], point[1], LIFT])

    add(LEFT, MOVE_S, above(grip_left), OPEN)
    add(LEFT, SHORT_S, grip_left, OPEN)
    add(LEFT, GRIP_S, None, CLOSED)
    add(LEFT, SHORT_S, above(grip_left), CLOSED)
    add(LEFT, MOVE_S, meet, CLOSED)
    approach = _by(meet, x=2.0 * RING_RADIUS + 0.012)
    moves.append(Move(RIGHT, clock - MOVE_S, MOVE_S, tuple(approach), OPEN))
    add(RIGHT, SHORT_S, _by(meet, x=2.0 * RING_RADIUS), OPEN)
    add(RIGHT, GRIP_S, None, CLOSED)
    add(LEFT, GRIP_S, None, OPEN)
    add(LEFT, SHORT_S, _by(meet, x=-0.015), OPEN)
    moves.append(Move(LEFT, clock, MOVE_S, REST[LEFT], OPEN))
    add(RIGHT, MOVE_S, above(grip_right), CLOSED)
    add(RIGHT, SHORT_S, grip_right, CLOSED)
    add(RIGHT, GRIP_S, None, OPEN)
    add(RIGHT, SHORT_S, above(grip_right), OPEN)
    return moves


class Operator:
    """Follows the script: where each tip should be, and its jaw, at a time.

    Args:
        rings: How many rings are moved, at most six.
        speed: Pace; 1 takes about 5 s a ring.
    """

    def __init__(self, rings: int = 6, speed: float = 1.0) -> None:
        self._speed = speed
        self._moves: dict[str, list[Move]] = {LEFT: [], RIGHT: []}
        clock = MOVE_S
        self.ends: list[float] = []
        for index in range(rings):
            script = ring_script(index, clock)
            for move in script:
                self._moves[move.side].append(move)
            clock = max(move.start + move.length for move in script)
            self.ends.append(clock / speed)
        self._from = {side: self._starts(side) for side in (LEFT, RIGHT)}

    @property
    def duration(self) -> float:
        """How long the whole task takes [s]."""
        return self.ends[-1] if self.ends else 0.0

    def _starts(self, side: str) -> list[Array]:
        """Where each move begins: at the target of the last one before it."""
        at, found = np.array(REST[side]), []
        for move in self._moves[side]:
            found.append(at)
            at = at if move.target is None else np.array(move.target)
        return found

    def at(self, side: str, elapsed: float) -> tuple[Array, float]:
        """Return the position of the tip [m] (3,) and the angle of the jaw [rad] that the operator wants."""
        clock = elapsed * self._speed
        position, jaw = np.array(REST[side]), CLOSED
        for move, start in zip(self._moves[side], self._from[side], strict=True):
            if clock < move.start:
                break
            target = start if move.target is None else np.array(move.target)
            position = start + minimum_jerk((clock - move.start) / move.length) * (target - start)
            jaw = move.jaw
        return position, jaw


@dataclass(eq=False)
class Ring:
    """One ring: its pose [m] (4, 4), who holds it ('' for nobody), and how it lies in the tip of who does."""

    pose: Array
    holder: str = ''
    tip_T_ring: Array | None = None


class Board:
    """The rings, what holds them, and where they fell.

    Attributes: `rings`; `dropped`, how often one fell beside a peg.
    """

    def __init__(self, rings: int = 6) -> None:
        half = 0.5 * RING_HEIGHT
        self.rings = [Ring(make_transform(np.eye(3), _by(peg, z=half))) for peg in pegs(LEFT)[:rings]]
        self.dropped = 0

    def transferred(self) -> int:
        """Return how many rings lie on a peg of the right side."""
        return sum(
            not ring.holder
            and ring.pose[2, 3] < PEG_HEIGHT
            and float(np.linalg.norm(pegs(RIGHT)[:, :2] - ring.pose[:2, 3], axis=1).min()) < PEG_REACH
            for ring in self.rings
        )

    def update(self, tips: Mapping[str, Array], jaws: Mapping[str, float]) -> None:
        """Let the tips world_T_tip (4, 4) and jaws [rad] of both sides, or of one arm, act on the rings."""
        for ring in self.rings:
            if ring.holder and jaws[ring.holder] > 0.5 * OPEN:
                self._let_go(ring, tips, jaws)
            for side, tip in tips.items():
                near = abs(np.linalg.norm((tip - ring.pose)[:2, 3]) - RING_RADIUS) < GRIP_REACH
                level = abs(tip[2, 3] - ring.pose[2, 3]) < RING_HEIGHT
                if not ring.holder and jaws[side] < 0.25 * OPEN and near and level:
                    ring.holder, ring.tip_T_ring = side, inverse(tip) @ ring.pose
            if ring.holder and ring.tip_T_ring is not None:
                ring.pose = tips[ring.holder] @ ring.tip_T_ring

    def _let_go(self, ring: Ring, tips: Mapping[str, Array], jaws: Mapping[str, float]) -> None:
        """Give the ring to the other side if it holds on, else let it fall, on a peg or beside it."""
        other = RIGHT if ring.holder == LEFT else LEFT
        if other in tips and jaws[other] < 0.25 * OPEN:
            apart = np.linalg.norm(tips[other][:3, 3] - ring.pose[:3, 3])
            if abs(apart - RING_RADIUS) < GRIP_REACH:
                ring.holder, ring.tip_T_ring = other, inverse(tips[other]) @ ring.pose
                return
        everywhere = np.vstack([pegs(LEFT), pegs(RIGHT)])
        gaps = np.linalg.norm(everywhere[:, :2] - ring.pose[:2, 3], axis=1)
        on_peg = float(gaps.min()) < PEG_REACH
        self.dropped += not on_peg
        spot = everywhere[int(gaps.argmin()), :2] if on_peg else ring.pose[:2, 3]
        ring.holder, ring.tip_T_ring = '', None
        ring.pose = make_transform(np.eye(3), [*spot, 0.5 * RING_HEIGHT])
