"""Which ways an arm can go: its tip at the entry, half-way and at the target, the tool along the way, within limits.

The roll of the tool about its own axis is free. For a bent tool the chord stands for the way. Inverse kinematics is
asked for one entry of each neighbourhood, from the answer of the one before; its neighbours, a millimetre or two away,
share the answer. What was found is kept while entries, target and base stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_log

if TYPE_CHECKING:  # the compiled kinematics take 0.2 s to load, the settings need none of them
    from twin_nodes.core.robot.chain import SerialChain

STATIONS = (1.0, 0.5, 0.0)  # shares of the way from the entry, the target first: it is the hardest to reach
TOLERANCES = (1e-4, 1e-3)  # m, rad
RESTARTS = 6


@dataclass(frozen=True)
class ReachConfig:
    """The arm that holds the tool."""

    arm: str = setting('The arm that holds the tool; empty where a hand does: every way can be gone then.', '')
    model: str = setting('A published model (psm_classic, …), or a URDF or xacro file.', 'psm_classic')
    tip: str = setting('Link that is the tip of the tool; empty for that of the model.', '')
    base_frame: str = setting('Frame of its base on tf; empty for `<arm>_base`.', '')
    axis: tuple[float, ...] = setting('Axis of the tool in the tip link, out of the tip.', (0.0, 0.0, 1.0))
    rolls: int = setting('Rolls of the tool about its axis that are tried.', 8, minimum=1, maximum=72)
    base_moved: float = setting(
        'A base that moved in the anatomy by more than this, or turned so far that the target did, plans anew.',
        0.002, unit='m', minimum=1e-5, maximum=0.1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if len(self.axis) != 3 or not 0.99 < float(np.linalg.norm(self.axis)) < 1.01:
            raise ConfigError(f'axis={list(self.axis)} must be a unit vector of 3 numbers')


class RobotReach:
    """Tells which ways an arm can go to one target; see `RoutePlanner`.

    Args:
        config: The arm.
        chain: Its kinematics.
        target: Where the ways end, in the anatomy frame [m], shape (3,).
    """

    def __init__(self, config: ReachConfig, chain: SerialChain, target: Array) -> None:
        self._config, self._chain, self._target = config, chain, np.asarray(target, float)
        self._base_T_anatomy: Array | None = None
        self._known: tuple[Array, NDArray[np.bool_]] | None = None

    @property
    def is_placed(self) -> bool:
        """Whether it is known where the arm stands."""
        return self._base_T_anatomy is not None

    def place(self, anatomy_T_base: Array) -> bool:
        """Take where the base stands, shape (4, 4); True where it moved so far that the plan no longer holds."""
        placed = inverse(anatomy_T_base)
        if self._base_T_anatomy is not None:
            change = placed @ inverse(self._base_T_anatomy)
            far = float(np.linalg.norm((self._base_T_anatomy[:3, :3] @ self._target) + self._base_T_anatomy[:3, 3]))
            turned = float(np.linalg.norm(rotation_log(change[:3, :3])))
            if float(np.linalg.norm(change[:3, 3])) + turned * far <= self._config.base_moved:
                return False
        self._base_T_anatomy, self._known = placed, None
        return True

    def __call__(self, entries: Array, directions: Array, nearby: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which ways can be gone.

        Args:
            entries: In the anatomy frame [m], shape (n, 3).
            directions: Unit directions inwards, shape (n, 3).
            nearby: Index of the entry that stands for each, shape (n,).
        """
        if self._known is not None and np.array_equal(self._known[0], entries):
            return self._known[1]
        asked, back = np.unique(nearby, return_inverse=True)
        found = np.zeros(len(asked), dtype=bool)
        last = None
        for index, entry in enumerate(asked):
            answer = self._goes(entries[entry], directions[entry], last)
            found[index], last = answer is not None, answer if answer is not None else last
        reached = np.asarray(found[back.reshape(-1)])
        self._known = (entries.copy(), reached)
        return reached

    def _goes(self, entry: Array, direction: Array, start: Array | None) -> Array | None:
        """Positions at the target of a way that can be gone, None for one that cannot."""
        assert self._base_T_anatomy is not None
        axis = np.array(self._config.axis) / np.linalg.norm(self._config.axis)
        upright = self._base_T_anatomy[:3, :3] @ _turn(axis, direction)
        places = [entry + share * (self._target - entry) for share in STATIONS]
        points = [self._base_T_anatomy[:3, :3] @ place + self._base_T_anatomy[:3, 3] for place in places]
        for roll in 2.0 * np.pi * np.arange(self._config.rolls) / self._config.rolls:
            rotation = upright @ _about(axis, roll)
            q, answers = start, []
            for point in points:
                q = self._reach(make_transform(rotation, point), q)
                if q is None:
                    break
                answers.append(q)
            if len(answers) == len(points):
                return answers[0]
        return None

    def _reach(self, base_T_tip: Array, start: Array | None) -> Array | None:
        from twin_nodes.core.robot.chain import InverseConfig

        config = InverseConfig(position_tolerance=TOLERANCES[0], rotation_tolerance=TOLERANCES[1], restarts=RESTARTS)
        found = self._chain.inverse(base_T_tip, start, config)
        return found.positions if found.converged else None


def _about(axis: Array, angle: float) -> Array:
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    rotation: Array = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return rotation


def _turn(axis: Array, direction: Array) -> Array:
    """Rotation that brings an axis onto a direction by the shortest turn; both are unit vectors."""
    normal = np.cross(axis, direction)
    sine, cosine = float(np.linalg.norm(normal)), float(axis @ direction)
    if sine < 1e-9:
        normal, sine = np.cross(axis, np.eye(3)[np.abs(axis).argmin()]), 0.0
        normal /= np.linalg.norm(normal)
        return _about(normal, 0.0 if cosine > 0.0 else np.pi)
    return _about(normal / sine, float(np.arctan2(sine, cosine)))
