"""What hangs together, by union and find with path halving (Tarjan and van Leeuwen 1984); the root is the least."""

from typing import Any

from numba import njit


@njit(cache=True)
def root_of(parent: Any, item: int) -> int:
    """Return the root of an item, and halve the way to it."""
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


@njit(cache=True)
def join_all(parent: Any, items: Any) -> None:
    """Make items (k,) hang together: parent (n,) leads to the least of those that do."""
    root = root_of(parent, items[0])
    for number in range(1, len(items)):
        other = root_of(parent, items[number])
        if other < root:
            parent[root] = other
            root = other
        else:
            parent[other] = root
