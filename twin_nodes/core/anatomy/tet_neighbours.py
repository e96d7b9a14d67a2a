"""Which tetrahedra lie beside one another, and where the outside of a part of them is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])  # of a tetrahedron, outward


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The faces of a mesh.

    Args:
        pairs: The two tetrahedra at each inner face, shape (q, 2).
        inner: The face as the first and as the second of them has it, outward, shape (q, 2, 3).
        outer: Outer faces, outward, shape (k, 3).
        behind: The tetrahedron of each of them, shape (k,).
        count: Number of tetrahedra.
    """

    pairs: NDArray[np.int64]
    inner: NDArray[np.int64]
    outer: NDArray[np.int64]
    behind: NDArray[np.int64]
    count: int

    def parts(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of the part, joined by faces, of each chosen tetrahedron (m,); -1 for the others."""
        both = chosen[self.pairs].all(axis=1)
        a, b = self.pairs[both].T
        graph = sparse.coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(self.count, self.count))
        found = np.asarray(connected_components(graph, directed=False)[1], np.int64)
        kept = np.full(self.count, -1, np.int64)
        kept[chosen] = np.unique(found[chosen], return_inverse=True)[1].ravel()
        return kept

    def old_outside(self, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the outer faces that are left, shape (k, 3)."""
        return self.outer[alive[self.behind]]

    def new_outside(self, alive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the faces that were inside, outward (c, 3), and what lay behind each and is gone (c,)."""
        first = alive[self.pairs[:, 0]]
        cut = first != alive[self.pairs[:, 1]]
        side = np.where(first[cut], 0, 1)
        rows = np.arange(len(side))
        return self.inner[cut][rows, side], self.pairs[cut][rows, 1 - side]


def neighbours_of(tets: NDArray[np.int32]) -> Neighbours:
    """Return the faces of a mesh of positively oriented tetrahedra (m, 4)."""
    faces = np.asarray(tets, np.int64)[:, FACES].reshape(-1, 3)
    key = np.sort(faces, axis=1)
    order = np.lexsort((key[:, 2], key[:, 1], key[:, 0]))
    same = (key[order[1:]] == key[order[:-1]]).all(axis=1)
    first, second = np.sort(np.stack([order[:-1][same], order[1:][same]]), axis=0)
    alone = np.ones(len(faces), bool)
    alone[first] = alone[second] = False
    outer = np.flatnonzero(alone)
    return Neighbours(
        np.column_stack([first // 4, second // 4]), np.stack([faces[first], faces[second]], axis=1), faces[outer],
        outer // 4, len(tets),
    )  # fmt: skip
