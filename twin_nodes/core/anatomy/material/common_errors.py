"""Errors that many points share, such as that of the registration: taken out of the residuals once, not point by point.

With residuals r over their own errors and the shared ones a ~ N(0, 1), r = r0 + W a has the covariance 1 + W Wᵀ. For
W = U S Vᵀ its inverse root is 1 - U (1 - 1/√(1 + S²)) Uᵀ, which residuals and derivatives are multiplied by: an error
that could be shared weighs no more than it deserves, however many points tell of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.geometry.se3 import Array

if TYPE_CHECKING:
    from twin_nodes.core.anatomy.material.stiffness_states import SeenState

_LEAST = 1e-6


class CommonErrors:
    """The shared errors of several states.

    Args:
        states: What was seen.
        roots: Inverse roots of the covariances of the points of each, shape (s, 3, 3).
    """

    def __init__(self, states: Sequence[SeenState], roots: Sequence[Array]) -> None:
        ways = _ways(states, roots)
        values, vectors = np.linalg.eigh(ways.T @ ways)
        kept = values > _LEAST
        sizes = np.sqrt(values[kept])
        self._axes = ways @ (vectors[:, kept] / sizes)
        self._shares = 1.0 - 1.0 / np.sqrt(1.0 + values[kept])

    def whitened(self, rows: Array) -> Array:
        """Return residuals (r,) or their derivatives (r, k) with the shared errors taken out."""
        if not len(self._shares):
            return rows
        inside = self._axes.T @ rows
        weighted = self._shares[:, None] * inside if inside.ndim == 2 else self._shares * inside
        return np.asarray(rows - self._axes @ weighted)


def _ways(states: Sequence[SeenState], roots: Sequence[Array]) -> Array:
    """Return how all residuals change by each shared error, shape (r, k): one block for a group, one for each state."""
    total = sum(state.count for state in states)
    blocks: dict[tuple[int, int], Array] = {}
    start = 0
    for number, (state, root) in enumerate(zip(states, roots, strict=True)):
        here = slice(start, start + 3 * len(state.seen))
        for key, ways in (((0, state.group), state.shared), ((1, number), state.own)):
            if ways is None or not ways.size:
                continue
            block = blocks.setdefault(key, np.zeros((total, ways.shape[2])))
            block[here] = np.einsum('sij,sjk->sik', root, ways).reshape(-1, ways.shape[2])
        start += state.count
    return np.concatenate(list(blocks.values()), axis=1) if blocks else np.zeros((total, 0))
