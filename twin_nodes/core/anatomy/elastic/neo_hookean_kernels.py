"""Compiled kernels of the neo-Hookean law for BLOCK tetrahedra at a time, each number of them side by side.

What does not move of a block lies in LINES lines of BLOCK numbers: the inverse edge matrices at rest (3, 3), and μ and
λ times the volume that is left. So the machine's vector instructions take it as it is, and no more has to be read.
"""

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.elastic.law_kernels import NEO_HOOKEAN

BLOCK, LINES = 16, 11
_B, _LINES = BLOCK, LINES


@njit(cache=True, nogil=True)
def pack(inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any, lines: Any) -> None:
    """Write the blocks of all tetrahedra, the stiffness of other laws as 0.

    Args:
        inverse: Inverse edge matrices at rest [1/m], shape (m, 3, 3).
        volume: Volumes at rest [m³], shape (m,).
        weight: Share of the stiffness that is left, shape (m,).
        laws: Number of the law, shape (m,).
        parameters: Of the laws, shape (m, 7).
        lines: Receives the blocks, zeros before, shape (blocks, LINES, BLOCK).
    """
    for t in range(len(inverse)):
        block, k = t // _B, t % _B
        for a in range(3):
            for b in range(3):
                lines[block, 3 * a + b, k] = inverse[t, a, b]
        if laws[t] == NEO_HOOKEAN:
            share = weight[t] * volume[t]
            lines[block, 9, k], lines[block, 10, k] = share * parameters[t, 0], share * parameters[t, 1]


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def energy_gradient(x: Any, tets: Any, lines: Any, gradient: Any) -> float:
    """Add ∂E/∂x (n, 3) [N] of all tetrahedra to `gradient`; return E [J].

    Args:
        x: Nodes [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
        lines: See `pack`.
        gradient: Receives the gradient.
    """
    total = 0.0
    edges = np.zeros(9 * _B)
    for block in range(len(lines)):
        low, high = block * _B, min(block * _B + _B, len(tets))
        _gather(x, tets, low, high, edges)
        total += _energy_forces(lines[block].ravel(), edges)
        _scatter(tets, low, high, edges, gradient)
    return total


@njit(cache=True, nogil=True)
def _gather(x: Any, tets: Any, low: int, high: int, w: Any) -> None:
    """Write the edges of tetrahedra low … high, coordinate by edge."""
    for k in range(high - low):
        t = low + k
        n0, n1, n2, n3 = np.uint32(tets[t, 0]), np.uint32(tets[t, 1]), np.uint32(tets[t, 2]), np.uint32(tets[t, 3])
        ox, oy, oz = x[n0, 0], x[n0, 1], x[n0, 2]
        w[k], w[_B + k], w[2 * _B + k] = x[n1, 0] - ox, x[n2, 0] - ox, x[n3, 0] - ox
        w[3 * _B + k], w[4 * _B + k], w[5 * _B + k] = x[n1, 1] - oy, x[n2, 1] - oy, x[n3, 1] - oy
        w[6 * _B + k], w[7 * _B + k], w[8 * _B + k] = x[n1, 2] - oz, x[n2, 2] - oz, x[n3, 2] - oz


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _energy_forces(line: Any, w: Any) -> float:
    """Write the forces on the ends of the edges over the edges of a block; return its energy [J]."""
    total = 0.0
    for k in range(_B):
        e00, e01, e02 = w[k], w[_B + k], w[2 * _B + k]
        e10, e11, e12 = w[3 * _B + k], w[4 * _B + k], w[5 * _B + k]
        e20, e21, e22 = w[6 * _B + k], w[7 * _B + k], w[8 * _B + k]
        b00, b01, b02 = line[k], line[_B + k], line[2 * _B + k]
        b10, b11, b12 = line[3 * _B + k], line[4 * _B + k], line[5 * _B + k]
        b20, b21, b22 = line[6 * _B + k], line[7 * _B + k], line[8 * _B + k]
        mu, lam = line[9 * _B + k], line[10 * _B + k]
        f00 = e00 * b00 + e01 * b10 + e02 * b20
        f01 = e00 * b01 + e01 * b11 + e02 * b21
        f02 = e00 * b02 + e01 * b12 + e02 * b22
        f10 = e10 * b00 + e11 * b10 + e12 * b20
        f11 = e10 * b01 + e11 * b11 + e12 * b21
        f12 = e10 * b02 + e11 * b12 + e12 * b22
        f20 = e20 * b00 + e21 * b10 + e22 * b20
        f21 = e20 * b01 + e21 * b11 + e22 * b21
        f22 = e20 * b02 + e21 * b12 + e22 * b22
        c00, c01, c02 = f11 * f22 - f12 * f21, f12 * f20 - f10 * f22, f10 * f21 - f11 * f20
        c10, c11, c12 = f21 * f02 - f22 * f01, f22 * f00 - f20 * f02, f20 * f01 - f21 * f00
        c20, c21, c22 = f01 * f12 - f02 * f11, f02 * f10 - f00 * f12, f00 * f11 - f01 * f10
        j = f00 * c00 + f01 * c01 + f02 * c02
        square = f00 * f00 + f01 * f01 + f02 * f02 + f10 * f10 + f11 * f11 + f12 * f12
        square += f20 * f20 + f21 * f21 + f22 * f22
        # λ/2 (J - α)² - μ²/(2 λ) = (J - 1) (λ/2 (J - 1) - μ), without the cancellation
        total += 0.5 * mu * (square - 3.0) + (j - 1.0) * (0.5 * lam * (j - 1.0) - mu)
        slope = lam * (j - 1.0) - mu
        p00, p01, p02 = mu * f00 + slope * c00, mu * f01 + slope * c01, mu * f02 + slope * c02
        p10, p11, p12 = mu * f10 + slope * c10, mu * f11 + slope * c11, mu * f12 + slope * c12
        p20, p21, p22 = mu * f20 + slope * c20, mu * f21 + slope * c21, mu * f22 + slope * c22
        w[k] = p00 * b00 + p01 * b01 + p02 * b02
        w[_B + k] = p10 * b00 + p11 * b01 + p12 * b02
        w[2 * _B + k] = p20 * b00 + p21 * b01 + p22 * b02
        w[3 * _B + k] = p00 * b10 + p01 * b11 + p02 * b12
        w[4 * _B + k] = p10 * b10 + p11 * b11 + p12 * b12
        w[5 * _B + k] = p20 * b10 + p21 * b11 + p22 * b12
        w[6 * _B + k] = p00 * b20 + p01 * b21 + p02 * b22
        w[7 * _B + k] = p10 * b20 + p11 * b21 + p12 * b22
        w[8 * _B + k] = p20 * b20 + p21 * b21 + p22 * b22
    return total


@njit(cache=True, nogil=True)
def _scatter(tets: Any, low: int, high: int, w: Any, gradient: Any) -> None:
    """Add the forces of a block to `gradient` (n, 3)."""
    for k in range(high - low):
        t = low + k
        n0, n1, n2, n3 = np.uint32(tets[t, 0]), np.uint32(tets[t, 1]), np.uint32(tets[t, 2]), np.uint32(tets[t, 3])
        a0, a1, a2 = w[k], w[_B + k], w[2 * _B + k]
        b0, b1, b2 = w[3 * _B + k], w[4 * _B + k], w[5 * _B + k]
        c0, c1, c2 = w[6 * _B + k], w[7 * _B + k], w[8 * _B + k]
        gradient[n1, 0] += a0
        gradient[n1, 1] += a1
        gradient[n1, 2] += a2
        gradient[n2, 0] += b0
        gradient[n2, 1] += b1
        gradient[n2, 2] += b2
        gradient[n3, 0] += c0
        gradient[n3, 1] += c1
        gradient[n3, 2] += c2
        gradient[n0, 0] -= a0 + b0 + c0
        gradient[n0, 1] -= a1 + b1 + c1
        gradient[n0, 2] -= a2 + b2 + c2
