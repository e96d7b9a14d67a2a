"""Compiled kernels of limited-memory quasi-Newton steps."""

from typing import Any

import numpy as np
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


@njit(cache=True, nogil=True)
def middle(along: Any, inner: Any, found: Any) -> None:
    """Fill M (2 m, 2 m) of limited-memory BFGS written out (Byrd, Nocedal and Schnabel 1994, equation 2.6).

    Args:
        along: Of step i and change j, shape (m, m); only the upper triangle R is asked.
        inner: Of the changes, Yᵀ H₀ Y, shape (m, m).
        found: Receives [[R⁻ᵀ (D + Yᵀ H₀ Y) R⁻¹, -R⁻ᵀ], [-R⁻¹, 0]].
    """
    m = len(along)
    inverse, bent = np.zeros((m, m)), np.zeros((m, m))
    for j in range(m):
        for i in range(j, -1, -1):
            total = 1.0 if i == j else 0.0
            for k in range(i + 1, j + 1):
                total -= along[i, k] * inverse[k, j]
            inverse[i, j] = total / along[i, i]
    for i in range(m):
        for j in range(m):
            for k in range(j + 1):
                bent[i, j] += (inner[i, k] + (along[i, i] if i == k else 0.0)) * inverse[k, j]
    for i in range(m):
        for j in range(m):
            total = 0.0
            for k in range(i + 1):
                total += inverse[k, i] * bent[k, j]
            found[i, j] = total
            found[i, m + j] = -inverse[j, i]
            found[m + i, j] = -inverse[i, j]
            found[m + i, m + j] = 0.0
