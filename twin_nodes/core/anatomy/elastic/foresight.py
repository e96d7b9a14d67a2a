"""Where a body will be, from how it moved with its contacts in the last frames."""

from __future__ import annotations

from collections import deque

import numpy as np

from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.geometry.se3 import Array

RIDGE = 1e-4
GRAVITY_LENGTH = 1e-3  # [s²]: by which 10 m/s² weigh as much as a movement of 1 cm


class Foresight:
    """A start for the next frame: the contacts' movement as a mix of the last ones, the body's as the same mix.

    It is exact for a body that answers linearly, stands still when the contacts do, and turns back with them.

    Args:
        depth: Number of movements that are kept.
    """

    def __init__(self, depth: int) -> None:
        self._moves: deque[tuple[Array, Array]] = deque(maxlen=max(depth, 1))
        self._use = depth > 0
        self._last: tuple[Array, Array, Array] | None = None

    def clear(self) -> None:
        """Forget all movements."""
        self._moves.clear()
        self._last = None

    def start(self, loads: Loads, x: Array) -> Array:
        """Return where the nodes will be about [m] (n, 3), given where they are."""
        kind, controls = _controls(loads)
        if self._last is None or not self._use or not np.array_equal(kind, self._last[0]):
            self.clear()
            return x
        change = controls - self._last[1]
        if not self._moves or not np.any(change):
            return x
        past = np.stack([move[0] for move in self._moves])
        inner = past @ past.T
        strongest = float(np.trace(inner))
        if strongest <= 0.0:
            return x
        share = np.linalg.solve(inner + RIDGE * strongest * np.eye(len(inner)), past @ change)
        share = np.clip(share, -2.0, 2.0)
        ahead = x.copy()
        for part, (_, move) in zip(share, self._moves, strict=True):
            ahead += part * move
        return ahead

    def keep(self, loads: Loads, x: Array) -> None:
        """Remember the state that a frame ended with."""
        kind, controls = _controls(loads)
        if self._last is not None and np.array_equal(kind, self._last[0]):
            change = controls - self._last[1]
            if np.any(change):
                self._moves.append((change, x - self._last[2]))
        self._last = (kind, controls, x)


def _controls(loads: Loads) -> tuple[Array, Array]:
    """Return what must stay alike between frames, and what may move."""
    springs = loads.springs
    kind = np.concatenate([[len(loads.held), len(loads.barriers.controls)], loads.held, springs.nodes.ravel()])
    controls = np.concatenate(
        [loads.held_at.ravel(), springs.targets.ravel(), GRAVITY_LENGTH * loads.gravity, loads.barriers.controls]
    )
    return kind, controls
