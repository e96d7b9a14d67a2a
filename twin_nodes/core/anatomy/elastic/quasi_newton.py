"""The last steps of a quasi-Newton method, which mend the direction of an old factor (Liu, Bouaziz and Kavan 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic import vector_kernels
from twin_nodes.core.geometry.se3 import Array

CURVED = 1e-8

Half = NDArray[np.float32]


class History:
    """Pairs of steps and changes of the gradient that goes with them, of forces that change smoothly.

    Args:
        size: Length of a vector.
        depth: Number of pairs that are kept.
    """

    def __init__(self, size: int, depth: int) -> None:
        self._steps, self._changes = np.zeros((depth, size)), np.zeros((depth, size))
        self._along = np.zeros((depth, depth))  # of step i and change j
        self._halves, self._is_half = np.zeros((depth, size), np.float32), np.zeros(depth, bool)
        self._rho, self._share = np.zeros(depth), np.zeros(depth)
        self._begun: tuple[Half, Array] | None = None
        self._open = False
        self._count, self._newest = 0, -1

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget all pairs."""
        self._count, self._newest = 0, -1
        self.pause()

    def pause(self) -> None:
        """Begin elsewhere than where the last step ended."""
        self._begun, self._open = None, False

    def add(self, step: Array, change: Array) -> bool:
        """Keep a pair if the energy curves upward along it; return whether it was kept."""
        along = float(np.dot(step, change))
        self._open = False
        if not along > CURVED * float(np.linalg.norm(step)) * float(np.linalg.norm(change)):
            return False
        self._newest = new = (self._newest + 1) % len(self._rho)
        self._steps[new], self._changes[new] = step, change
        self._rho[new], self._is_half[new] = 1.0 / along, False
        self._count = min(self._count + 1, len(self._rho))
        self._along[: self._count, new] = self._steps[: self._count] @ change
        self._open = self._begun is not None
        return True

    def apply(self, solve: Callable[[Array], Array], right: Array) -> Array:
        """Return the inverse stiffness times `right`, `solve` being that of the old factor; `right` is written over."""
        pairs = (self._steps, self._changes, self._rho, self._count, self._newest, self._share)
        vector_kernels.first_loop(*pairs, right)
        result = solve(right)
        vector_kernels.second_loop(*pairs, result)
        return result

    def pass_by(self, half: Half, pushed: Array, rows: Half) -> None:
        """Learn L⁻¹ of the last change from what the solver works out anyway on its way.

        Args:
            half: L⁻¹ of the forces that are out of balance here, shape (n,).
            pushed: How much each place is pushed here [N], shape (c,).
            rows: L⁻¹ of a unit push on each place, shape (c, n): of the step before the same ones.
        """
        if self._open and self._begun is not None:
            before, pushed_before = self._begun
            self._halves[self._newest] = before - half + (pushed - pushed_before).astype(np.float32) @ rows
            self._is_half[self._newest] = True
        self._begun, self._open = (half, pushed), False

    def halved(self) -> NDArray[np.int64]:
        """Return the pairs of which L⁻¹ of the change is known, the oldest first."""
        order = (self._newest + 1 - self._count + np.arange(self._count)) % len(self._rho)
        return np.asarray(order[self._is_half[order]])

    def pairs(self) -> tuple[Array, Half]:
        """Return steps and half-solved changes of all, (depth, n) both: to take a part of them would copy it."""
        return self._steps, self._halves

    def middle(self, chosen: NDArray[np.int64], inner: Array) -> Array:
        """Return M of the mended inverse written out: H = H₀ + [S, H₀Y] M [S, H₀Y]ᵀ, shape (2 m, 2 m).

        Byrd, Nocedal and Schnabel (1994), equation 2.6; with it H meets many right sides at the cost of one.

        Args:
            chosen: Pairs, the oldest first, shape (m,).
            inner: Yᵀ H₀ Y of them, shape (m, m).
        """
        middle = np.empty((2 * len(chosen), 2 * len(chosen)))
        vector_kernels.middle(self._along[np.ix_(chosen, chosen)], inner, middle)
        return middle
