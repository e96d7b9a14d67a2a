"""The last steps of a quasi-Newton method, which mend the direction of an old factor (Liu, Bouaziz and Kavan 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twin_nodes.core.anatomy.elastic import vector_kernels
from twin_nodes.core.geometry.se3 import Array

CURVED = 1e-8


class History:
    """Pairs of steps and changes of the gradient.

    Args:
        size: Length of a vector.
        depth: Number of pairs that are kept.
    """

    def __init__(self, size: int, depth: int) -> None:
        self._steps, self._changes = np.zeros((depth, size)), np.zeros((depth, size))
        self._rho, self._share = np.zeros(depth), np.zeros(depth)
        self._count, self._newest = 0, -1

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget all pairs."""
        self._count, self._newest = 0, -1

    def add(self, step: Array, change: Array) -> bool:
        """Keep a pair if the energy curves upward along it; return whether it was kept."""
        along = float(np.dot(step, change))
        if not along > CURVED * float(np.linalg.norm(step)) * float(np.linalg.norm(change)):
            return False
        self._newest = (self._newest + 1) % len(self._rho)
        self._steps[self._newest], self._changes[self._newest] = step, change
        self._rho[self._newest] = 1.0 / along
        self._count = min(self._count + 1, len(self._rho))
        return True

    def apply(self, solve: Callable[[Array], Array], right: Array) -> Array:
        """Return the inverse stiffness times `right`, `solve` being that of the old factor; `right` is written over."""
        pairs = (self._steps, self._changes, self._rho, self._count, self._newest, self._share)
        vector_kernels.first_loop(*pairs, right)
        result = solve(right)
        vector_kernels.second_loop(*pairs, result)
        return result
