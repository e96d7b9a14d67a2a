"""A Cholesky factor in 16 bits: what a solve reads is halved, and reading it is what a solve costs.

Of each value 8 bits are kept, a relative error of 0.2 % at most. As L̃ L̃ᵀ it stays positive definite, and as near to the
stiffness as a step needs that the pairs of the quasi-Newton method mend: the steps of a frame stay as many. It is
too coarse to take away again what was stiff in it, and for what is soft beside what is stiff (`preconditioner`): a held
node that is let go and bone in soft tissue ask for the factor itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic import tile_kernels
from twin_nodes.core.anatomy.elastic.factor import CholeskyFactor
from twin_nodes.core.anatomy.elastic.pattern import CHUNK
from twin_nodes.core.anatomy.elastic.tiles import FOLD, LANES
from twin_nodes.core.geometry.se3 import Array

_TOGETHER = 3  # right sides: the axes of a node pass through the same groups


class RoundedFactor:
    """A factor K ≈ L̃ L̃ᵀ; vectors as those of `CholeskyFactor`.

    Args:
        factor: The factor in float32.
    """

    def __init__(self, factor: CholeskyFactor) -> None:
        self.layout = layout = factor.layout
        self.places = factor.places
        self.values: NDArray[np.uint16] = np.empty(layout.tile_start[-1], np.uint16)
        tile_kernels.pack(
            factor.values, layout.first, layout.row_start, layout.panel_start, layout.tile_start, self.values
        )
        self._parts = (self.values, layout.first, layout.row_start, layout.rows, layout.tile_start)
        self._room = np.empty((_TOGETHER, 3 * layout.largest + LANES + CHUNK), np.float32)
        self._sums = np.empty((CHUNK, FOLD), np.float32)
        self._vector = np.empty((1, layout.size), np.float32)

    def forward(self, right: Array) -> NDArray[Any]:
        """Return L̃⁻¹ right in the order of elimination, shape (3 f,) or (k, 3 f).

        One right side is answered in a buffer that the next call writes over.
        """
        if right.ndim == 1:
            self._vector[0] = right[self.places]
            tile_kernels.forward(*self._parts, self._vector, self._room[:1])
            return np.asarray(self._vector[0])
        many = right[:, self.places].astype(np.float32)
        whole = len(many) - len(many) % _TOGETHER
        for low in range(0, whole, _TOGETHER):
            tile_kernels.forward(*self._parts, many[low : low + _TOGETHER], self._room)
        for low in range(whole, len(many)):
            tile_kernels.forward(*self._parts, many[low : low + 1], self._room[:1])
        return many

    def backward(self, half: NDArray[Any]) -> Array:
        """Return L̃⁻ᵀ half in the order of the free nodes; `half` (3 f,) is written over."""
        tile_kernels.backward(*self._parts, half, self._room[0], self._sums)
        result = np.empty(half.shape)
        result[self.places] = half
        return result
