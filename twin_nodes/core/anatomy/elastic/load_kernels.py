"""Compiled kernels of springs, and of planes that push one way."""

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def spring_gradient(x: Any, nodes: Any, weights: Any, targets: Any, stiffness: Any, gradient: Any) -> float:
    """Add the gradient (n, 3) [N] of springs to `gradient`; return their energy [J]. The arguments are of `Springs`."""
    total = 0.0
    for s in range(len(nodes)):
        dx, dy, dz = -targets[s, 0], -targets[s, 1], -targets[s, 2]
        for a in range(4):
            dx += weights[s, a] * x[nodes[s, a], 0]
            dy += weights[s, a] * x[nodes[s, a], 1]
            dz += weights[s, a] * x[nodes[s, a], 2]
        k = stiffness[s]
        fx = k[0, 0] * dx + k[0, 1] * dy + k[0, 2] * dz
        fy = k[1, 0] * dx + k[1, 1] * dy + k[1, 2] * dz
        fz = k[2, 0] * dx + k[2, 1] * dy + k[2, 2] * dz
        total += 0.5 * (fx * dx + fy * dy + fz * dz)
        for a in range(4):
            gradient[nodes[s, a], 0] += weights[s, a] * fx
            gradient[nodes[s, a], 1] += weights[s, a] * fy
            gradient[nodes[s, a], 2] += weights[s, a] * fz
    return total


@njit(cache=True, nogil=True)
def plane_gradient(
    x: Any, nodes: Any, weights: Any, push: Any, targets: Any, stiffness: float, share: float, gradient: Any
) -> float:
    """Add a share of the gradient (n, 3) [N] of planes to `gradient`; return their energy [J]. See `Barriers`."""
    total = 0.0
    for c in range(len(nodes)):
        gap = 0.0
        for k in range(3):
            place = -targets[c, k]
            for corner in range(3):
                place += weights[c, corner] * x[nodes[c, corner], k]
            gap += push[c, k] * place
        if gap < 0.0:
            total += 0.5 * stiffness * gap * gap
            for corner in range(3):
                pull = share * stiffness * gap * weights[c, corner]
                for k in range(3):
                    gradient[nodes[c, corner], k] += pull * push[c, k]
    return total


@njit(cache=True, nogil=True)
def block_at(indptr: Any, indices: Any, row: int, column: int) -> int:
    """Return the number of the block of a row and a column in a pattern of sorted rows, -1 where there is none."""
    low, high = indptr[row], indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low if low < indptr[row + 1] and indices[low] == column else -1


@njit(cache=True, nogil=True)
def spring_blocks(nodes: Any, weights: Any, stiffness: Any, number: Any, indptr: Any, indices: Any, blocks: Any) -> int:
    """Add the Hessian of springs to blocks; return how many pairs of nodes the pattern does not couple.

    Args:
        nodes: Of `Springs`, as the two that follow.
        weights: See `Springs`.
        stiffness: See `Springs`.
        number: Free node of each node, -1 for a fixed one, shape (n,).
        indptr: Of the pattern.
        indices: Of the pattern.
        blocks: Receives the blocks (b, 3, 3) [N/m].
    """
    astray = 0
    for s in range(len(nodes)):
        for a in range(4):
            row = number[nodes[s, a]]
            if row < 0 or weights[s, a] == 0.0:
                continue
            for b in range(4):
                column = number[nodes[s, b]]
                if column < 0 or weights[s, b] == 0.0:
                    continue
                at = block_at(indptr, indices, row, column)
                if at < 0:
                    astray += 1
                    continue
                both = weights[s, a] * weights[s, b]
                for i in range(3):
                    for j in range(3):
                        blocks[at, i, j] += both * stiffness[s, i, j]
    return astray
