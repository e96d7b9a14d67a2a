"""Which 3 by 3 blocks of the Hessian are not zero, and how the Cholesky factor of that pattern is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.dissection import dissect
from twin_nodes.core.geometry.se3 import Array

Index = NDArray[np.int64]
LEAF = 16
CHUNK = 96


@dataclass(frozen=True, eq=False)
class BlockPattern:
    """The pattern of a symmetric matrix of 3 by 3 blocks over the free nodes of a mesh.

    Args:
        points: Positions of the free nodes at rest [m], shape (f, 3).
        indptr: Start of each block row, shape (f + 1,).
        indices: Block columns, ascending in each row, shape (b,).
        slots: Block of each pair of nodes of each tetrahedron, -1 where one of them is fixed, shape (m, 4, 4).
        diagonal: Block of each free node with itself, shape (f,).
    """

    points: Array
    indptr: Index
    indices: Index
    slots: NDArray[np.int32]
    diagonal: Index

    @cached_property
    def layout(self) -> FactorLayout:
        """The layout of the factor."""
        return make_layout(self)


def make_pattern(nodes: Array, tets: NDArray[np.int32], free: NDArray[np.bool_]) -> BlockPattern:
    """Find the blocks that the tetrahedra couple.

    Args:
        nodes: Positions at rest [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
        free: Whether each node may move, shape (n,).
    """
    count = int(free.sum())
    number = np.where(free, np.cumsum(free) - 1, -1)[tets]
    rows, columns = np.repeat(number, 4, axis=1), np.tile(number, (1, 4))
    key = rows.astype(np.int64) * count + columns
    key[(rows < 0) | (columns < 0)] = -1
    own = np.arange(count, dtype=np.int64) * (count + 1)
    found = np.unique(np.concatenate([key.ravel(), own]))
    found = found[found >= 0]
    slots = np.where(key < 0, -1, np.searchsorted(found, key)).astype(np.int32).reshape(-1, 4, 4)
    indptr = np.zeros(count + 1, np.int64)
    if count:
        np.cumsum(np.bincount(found // count, minlength=count), out=indptr[1:])
    indices = found % max(count, 1)
    return BlockPattern(np.ascontiguousarray(nodes[free]), indptr, indices, slots, np.searchsorted(found, own))


@dataclass(frozen=True, eq=False)
class FactorLayout:
    """Dense groups of columns of a multifrontal Cholesky factor (Duff and Reid 1983).

    Args:
        order: Free node at each place of the elimination, shape (f,).
        first: First place of each group, shape (g + 1,).
        parent: Group that takes a group's update, -1 for the last, shape (g,).
        row_start: Start of each group's rows, shape (g + 1,).
        rows: Places below the group that it touches, ascending in each group.
        local: Position of each of `rows` in the front of the parent.
        entry_start: Start of each group's matrix blocks, shape (g + 1,).
        entries: Matrix block, row and column in the front, shape (e, 3).
        panel_start: Start of each group's values, shape (g + 1,).
        largest: Places in the largest front.
        stack: Greatest number of values that wait for their parents.
    """

    order: Index
    first: Index
    parent: Index
    row_start: Index
    rows: Index
    local: Index
    entry_start: Index
    entries: Index
    panel_start: Index
    largest: int
    stack: int

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return 3 * len(self.order)

    @property
    def values(self) -> int:
        """Number of values that are kept."""
        return int(self.panel_start[-1])

    @cached_property
    def tile_start(self) -> Index:
        """Start of each group's values in a factor that is kept in tiles, shape (g + 1,)."""
        from twin_nodes.core.anatomy.elastic import tile_kernels

        start = np.zeros(len(self.first), np.int64)
        tile_kernels.tile_starts(self.first, self.row_start, start)
        return start


def make_layout(pattern: BlockPattern, *, leaf: int = LEAF) -> FactorLayout:
    """Order the nodes and find where the factor is not zero."""
    if len(pattern.points) == 0:
        none, one = np.zeros(0, np.int64), np.zeros(1, np.int64)
        return FactorLayout(none, one, none, one, none, none, one, np.zeros((0, 3), np.int64), one, 0, 0)
    order, first, parent = dissect(pattern.points, pattern.indptr, pattern.indices, leaf)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows, local = _rows(pattern, order, place, first, parent)
    entry_start, entries = _entries(pattern, place, first, rows)
    row_start = np.zeros(len(parent) + 1, np.int64)
    np.cumsum([len(part) for part in rows], out=row_start[1:])
    own, below = np.diff(first), np.diff(row_start)
    panel_start = np.zeros(len(parent) + 1, np.int64)
    np.cumsum([panel_size(int(n), int(m)) for n, m in zip(own, below, strict=True)], out=panel_start[1:])
    return FactorLayout(
        order, first, parent, row_start, np.concatenate(rows), np.concatenate(local), entry_start, entries,
        panel_start, int((own + below).max()), _stack(parent, below),
    )  # fmt: skip


def panel_size(own: int, below: int) -> int:
    """Return the number of values of a group with so many nodes and rows: chunks of columns, each from its top down."""
    total, columns, height = 0, 3 * own, 3 * (own + below)
    for at in range(0, columns, CHUNK):
        total += min(CHUNK, columns - at) * (height - at)
    return total


def _rows(
    pattern: BlockPattern, order: Index, place: Index, first: Index, parent: Index
) -> tuple[list[Index], list[Index]]:
    rows: list[Index] = []
    waiting: dict[int, list[Index]] = {}
    for group in range(len(parent)):
        low, high = int(first[group]), int(first[group + 1])
        nodes = order[low:high]
        touched = [place[pattern.indices[pattern.indptr[node] : pattern.indptr[node + 1]]] for node in nodes]
        found = np.unique(np.concatenate([*touched, *waiting.pop(group, [])]))
        rows.append(found[found >= high])
        waiting.setdefault(int(parent[group]), []).append(rows[-1])
    local = []
    for group, part in enumerate(rows):
        up = int(parent[group])
        if up < 0:
            local.append(part)
            continue
        low, high = int(first[up]), int(first[up + 1])
        below = high - low + np.searchsorted(rows[up], part)
        local.append(np.where(part < high, part - low, below))
    return rows, local


def _entries(pattern: BlockPattern, place: Index, first: Index, rows: list[Index]) -> tuple[Index, Index]:
    row = place[np.repeat(np.arange(len(place)), np.diff(pattern.indptr))]
    column = place[pattern.indices]
    lower = np.flatnonzero(row >= column)
    group = np.searchsorted(first, column[lower], side='right') - 1
    lower = lower[np.argsort(group, kind='stable')]
    group = np.sort(group, kind='stable')
    start = np.searchsorted(group, np.arange(len(rows) + 1))
    entries = np.empty((len(lower), 3), np.int64)
    entries[:, 0], entries[:, 2] = lower, column[lower] - first[group]
    for g, part in enumerate(rows):
        chosen = slice(int(start[g]), int(start[g + 1]))
        at = row[lower[chosen]]
        own = int(first[g + 1] - first[g])
        entries[chosen, 1] = np.where(at < first[g + 1], at - first[g], own + np.searchsorted(part, at))
    return start, entries


def _stack(parent: Index, below: Index) -> int:
    """Return the greatest sum of squared update sizes that wait at one time."""
    waiting, most = 0, 0
    children: dict[int, int] = {}
    for group in range(len(parent)):
        size = int(9 * below[group] ** 2)
        most = max(most, waiting + size)
        waiting += size - children.pop(group, 0)
        children[int(parent[group])] = children.get(int(parent[group]), 0) + size
    return most
