"""Compiled kernels of limited-memory quasi-Newton steps."""

from typing import Any

from numba import njit


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def first_loop(steps: Any, changes: Any, rho: Any, count: int, newest: int, share: Any, q: Any) -> None:
    """Run the first loop of L-BFGS over pairs (k, n), newest first (Nocedal and Wright 2006, algorithm 7.4)."""
    for back in range(count):
        i = (newest - back) % len(rho)
        total = 0.0
        for j in range(len(q)):
            total += steps[i, j] * q[j]
        total *= rho[i]
        share[i] = total
        for j in range(len(q)):
            q[j] -= total * changes[i, j]


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def second_loop(steps: Any, changes: Any, rho: Any, count: int, newest: int, share: Any, r: Any) -> None:
    """Run the second loop, oldest pair first."""
    for back in range(count - 1, -1, -1):
        i = (newest - back) % len(rho)
        total = 0.0
        for j in range(len(r)):
            total += changes[i, j] * r[j]
        total = share[i] - rho[i] * total
        for j in range(len(r)):
            r[j] += total * steps[i, j]


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def mix(rows: Any, at: Any, share: Any, mixed: Any) -> None:
    """Add to each of `mixed` (c, n) the rows (3 k, n) of three nodes `at` (c, 3) by shares (c, 3, 3) of the axes."""
    for c in range(len(at)):
        for a in range(3):
            for axis in range(3):
                weight, row = share[c, a, axis], rows[3 * at[c, a] + axis]
                if weight != 0.0:
                    for j in range(len(row)):
                        mixed[c, j] += weight * row[j]
