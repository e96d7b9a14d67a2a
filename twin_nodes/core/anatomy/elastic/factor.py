"""The Cholesky factor of a stiffness matrix of 3 by 3 blocks.

It needs nothing but scipy's BLAS, gives the same bits on each run of one machine, lets other threads run while it
works, and its two half solves let springs and contacts be added without a new factor (`low_rank`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from twin_nodes.core.anatomy.elastic import blas, cholesky_kernels
from twin_nodes.core.anatomy.elastic.pattern import CHUNK, BlockPattern
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array


class CholeskyFactor:
    """A factor K = L Lᵀ. Vectors are in the order of the free nodes, (3 f,) or rows (k, 3 f), f64 in and out.

    Args:
        pattern: Of the matrix.
        blocks: Its values, shape (b, 3, 3).
        dtype: float32 for a preconditioner, float64 for exact solves.

    Raises:
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE where the matrix is not positive definite.
    """

    def __init__(self, pattern: BlockPattern, blocks: Array, dtype: DTypeLike = np.float32) -> None:
        self.layout = layout = pattern.layout
        self._blas = (blas.addresses(np.dtype(dtype)), blas.LETTERS, blas.constants(dtype))
        self.values: NDArray[Any] = np.empty(layout.values, dtype)
        front = np.empty((3 * layout.largest) ** 2, dtype)
        stack = np.empty(layout.stack, dtype)
        failed = cholesky_kernels.factor(
            blocks, layout.first, layout.row_start, layout.local, layout.parent, layout.entry_start, layout.entries,
            layout.panel_start, *self._blas, front, stack, self.values,
        )  # fmt: skip
        if failed:
            raise DegenerateGeometryError(
                f'the stiffness matrix is not positive definite (group {failed} of {len(layout.parent)}): '
                'fix some nodes, or start from a state that is stable',
                code='NOT_POSITIVE_DEFINITE',
            )
        self._parts = (self.values, layout.first, layout.row_start, layout.rows, layout.panel_start)
        self._room = np.empty((2, 3 * layout.largest + CHUNK), dtype)
        self._vector = np.empty(layout.size, dtype)

    @property
    def memory(self) -> int:
        """Bytes that are kept."""
        return int(self.values.nbytes)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Unknown of the free nodes at each unknown in the order of elimination, shape (3 f,)."""
        return np.asarray((3 * self.layout.order[:, None] + np.arange(3)).ravel())

    def forward(self, right: Array) -> NDArray[Any]:
        """Return L⁻¹ right in the order of elimination and the type of the factor, shape (3 f,) or (k, 3 f).

        One right side is answered in a buffer that the next call writes over.
        """
        if right.ndim == 1:
            self._vector[:] = right[self.places]
            cholesky_kernels.forward(*self._parts, *self._blas, self._vector, self._room)
            return self._vector
        many = right[:, self.places].astype(self.values.dtype)
        cholesky_kernels.forward_many(*self._parts, *self._blas, many, *self._many_room(len(many)))
        return np.asarray(many)

    def backward(self, half: NDArray[Any]) -> Array:
        """Return L⁻ᵀ half in the order of the free nodes; `half` is written over."""
        if half.ndim == 1:
            cholesky_kernels.backward(*self._parts, *self._blas, half, self._room)
        else:
            cholesky_kernels.backward_many(*self._parts, *self._blas, half, *self._many_room(len(half)))
        result = np.empty(half.shape)
        result[..., self.places] = half
        return result

    def solve(self, right: Array) -> Array:
        """Return K⁻¹ right, shape (3 f,) or (k, 3 f)."""
        return self.backward(self.forward(np.asarray(right, np.float64)))

    def log_determinant(self) -> float:
        """Return ln det K."""
        total = cholesky_kernels.log_determinant(
            self.values, self.layout.first, self.layout.row_start, self.layout.panel_start
        )
        return float(total)

    def _many_room(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.empty((count, 3 * self.layout.largest), self.values.dtype), np.empty(
            (count, CHUNK), self.values.dtype
        )
