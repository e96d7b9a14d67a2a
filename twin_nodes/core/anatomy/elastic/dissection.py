"""Compiled kernel: the order in which the nodes of a mesh are eliminated (nested dissection, George 1973).

Halves are cut at the median along the direction that needs the fewest nodes between them; those nodes are the least
vertex cover of the cut edges (maximum matching, Kőnig 1931). Positions make graph partitioners unnecessary.
"""

from typing import Any

import numpy as np
from numba import njit

# axes of the box and diagonals of its faces and of itself: lattices are cut best along them
_AXES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1],
     [1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]], float)  # fmt: skip


@njit(cache=True, nogil=True)
def _separate(nodes: Any, values: Any, indptr: Any, indices: Any, side: Any, room: Any, stamp: int) -> int:
    """Cut nodes at the median of their values: mark `side` 0, 1 or 2 (between); return the count between them.

    room[0] is mates, [1] stamps, [2] a stack, [3] cursors, [4] the position of a node in the segment plus one.
    """
    mate, seen, stack, at, place = room[0], room[1], room[2], room[3], room[4]
    order = np.argsort(values, kind='mergesort')
    for rank in range(len(nodes)):
        node = nodes[order[rank]]
        side[node] = 0 if rank < len(nodes) // 2 else 1
        place[node] = 1
        mate[node] = -1
    for node in nodes:
        if side[node] == 0:
            stamp = _augment(node, indptr, indices, side, place, mate, seen, stack, at, stamp)
    # Kőnig: from the free nodes of side 0 along alternating paths; the cover is the unreached there, the reached here
    stamp += 1
    for node in nodes:
        if side[node] == 0 and mate[node] < 0 and seen[node] != stamp:
            top = 0
            stack[0] = node
            seen[node] = stamp
            while top >= 0:
                own = stack[top]
                top -= 1
                for k in range(indptr[own], indptr[own + 1]):
                    other = indices[k]
                    if place[other] == 1 and side[other] == 1 and seen[other] != stamp:
                        seen[other] = stamp
                        if mate[other] >= 0 and seen[mate[other]] != stamp:
                            seen[mate[other]] = stamp
                            top += 1
                            stack[top] = mate[other]
    between = 0
    for node in nodes:
        reached = seen[node] == stamp
        if (side[node] == 0 and mate[node] >= 0 and not reached) or (side[node] == 1 and reached):
            between += 1
            place[node] = 2
    for node in nodes:
        if place[node] == 2:
            side[node] = 2
        place[node] = 0
    room[5, 0] = stamp
    return between


@njit(cache=True, nogil=True)
def _augment(
    root: int, indptr: Any, indices: Any, side: Any, place: Any, mate: Any, seen: Any, stack: Any, at: Any, stamp: int
) -> int:
    """Add one edge to the matching by an augmenting path, if there is one (Kuhn 1955); return the stamp used."""
    stamp += 1
    depth = 0
    stack[0] = root
    at[root] = indptr[root]
    while depth >= 0:
        node = stack[depth]
        if at[node] >= indptr[node + 1]:
            depth -= 1
            continue
        other = indices[at[node]]
        at[node] += 1
        if place[other] != 1 or side[other] != 1 or seen[other] == stamp:
            continue
        seen[other] = stamp
        if mate[other] >= 0:
            depth += 1
            stack[depth] = mate[other]
            at[mate[other]] = indptr[mate[other]]
            continue
        for level in range(depth, -1, -1):
            own = stack[level]
            before = mate[own]
            mate[own], mate[other] = other, own
            other = before
        break
    return stamp


@njit(cache=True, nogil=True)
def dissect(points: Any, indptr: Any, indices: Any, leaf: int) -> tuple[Any, Any, Any]:
    """Order the nodes of a graph.

    Args:
        points: Position of each node, shape (n, 3).
        indptr: Start of each node's neighbours, shape (n + 1,).
        indices: Neighbours.
        leaf: Parts of at most so many nodes are cut no further.

    Returns:
        Nodes in the order of elimination (n,), the first position of each group (g + 1,), and the parent of each group
        (g,), -1 for the last one; a group comes after all groups below it.
    """
    n = len(points)
    order = np.arange(n)
    side = np.zeros(n, np.int8)
    best_side = np.zeros(n, np.int8)
    room = np.zeros((6, n + 1), np.int64)
    lows, highs, parents = [0], [n], [-1]
    starts, ups, stamp = [0], [-1], 0
    starts.pop()
    ups.pop()
    ends = [0]
    ends.pop()
    while len(lows) > 0:
        low, high, parent = lows.pop(), highs.pop(), parents.pop()
        nodes = order[low:high].copy()
        if high - low <= leaf:
            starts.append(low)
            ends.append(high)
            ups.append(parent)
            continue
        least = n + 1
        for axis in range(len(_AXES)):
            values = points[nodes] @ _AXES[axis]
            between = _separate(nodes, values, indptr, indices, side, room, stamp)
            stamp = room[5, 0]
            if between < least:
                least = between
                for node in nodes:
                    best_side[node] = side[node]
        if least == 0:  # parts that do not touch: one node joins them, so that the groups stay a tree
            best_side[nodes[-1]] = 2
        at = low
        cuts = [low, low, low]
        for which in range(3):
            for node in nodes:
                if best_side[node] == which:
                    order[at] = node
                    at += 1
            cuts[which] = at
        group = len(starts)
        starts.append(cuts[1])
        ends.append(high)
        ups.append(parent)
        if cuts[0] > low:
            lows.append(low)
            highs.append(cuts[0])
            parents.append(group)
        if cuts[1] > cuts[0]:
            lows.append(cuts[0])
            highs.append(cuts[1])
            parents.append(group)
    return _sorted_groups(order, np.array(starts), np.array(ends), np.array(ups))


@njit(cache=True, nogil=True)
def _sorted_groups(order: Any, starts: Any, ends: Any, ups: Any) -> tuple[Any, Any, Any]:
    by_place = np.argsort(starts, kind='mergesort')
    rank = np.empty(len(starts), np.int64)
    rank[by_place] = np.arange(len(starts))
    first = np.append(starts[by_place], ends.max())
    parent = ups[by_place]
    for g in range(len(parent)):
        if parent[g] >= 0:
            parent[g] = rank[parent[g]]
    return order, first, parent
