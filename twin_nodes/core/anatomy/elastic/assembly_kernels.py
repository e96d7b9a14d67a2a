"""Compiled kernels over all tetrahedra: energy and forces, and the Hessian in 3 by 3 blocks."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.elastic import neo_hookean_kernels as neo_hookean
from twin_nodes.core.anatomy.elastic.law_kernels import NEO_HOOKEAN, principal_moduli, room, stress, svd

# `weight` of a tetrahedron scales its stiffness: 1 as it is, 0 removed, between them softened.


@njit(cache=True, nogil=True)
def shape_matrices(points: Any, tets: Any) -> tuple[Any, Any]:
    """Return the inverse edge matrices of the tetrahedra at rest [1/m] (m, 3, 3), F = Σ edge ⊗ row, and volumes [m³].

    Args:
        points: Nodes at rest [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
    """
    inverse = np.empty((len(tets), 3, 3))
    volume = np.empty(len(tets))
    edge = np.empty((3, 3))
    for t in range(len(tets)):
        for k in range(3):
            for i in range(3):
                edge[i, k] = points[tets[t, k + 1], i] - points[tets[t, 0], i]
        cof = inverse[t]
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            for a in range(3):
                b, c = (a + 1) % 3, (a + 2) % 3
                cof[a, i] = edge[j, b] * edge[k, c] - edge[k, b] * edge[j, c]
        det = edge[0, 0] * cof[0, 0] + edge[1, 0] * cof[0, 1] + edge[2, 0] * cof[0, 2]
        volume[t] = det / 6.0
        if det != 0.0:
            for a in range(3):
                for i in range(3):
                    cof[a, i] /= det
    return inverse, volume


@njit(cache=True, nogil=True)
def gradients(x: Any, tets: Any, inverse: Any, t: int, f: Any) -> None:
    """Write the deformation gradient (3, 3) of one tetrahedron."""
    for i in range(3):
        o = x[tets[t, 0], i]
        e0, e1, e2 = x[tets[t, 1], i] - o, x[tets[t, 2], i] - o, x[tets[t, 3], i] - o
        for j in range(3):
            f[i, j] = e0 * inverse[t, 0, j] + e1 * inverse[t, 1, j] + e2 * inverse[t, 2, j]


def in_blocks(inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any) -> tuple[Any, Any]:
    """Return what `energy_gradient` asks of the tetrahedra: the blocks of `neo_hookean.pack`, and those of other laws.

    The arguments are those of `energy_gradient`.
    """
    lines = np.zeros((-(-len(inverse) // neo_hookean.BLOCK), neo_hookean.LINES, neo_hookean.BLOCK))
    neo_hookean.pack(inverse, volume, weight, laws, parameters, lines)
    return lines, np.flatnonzero((laws != NEO_HOOKEAN) & (weight * volume != 0.0))


@njit(cache=True, nogil=True)
def energy_gradient(
    x: Any, tets: Any, lines: Any, others: Any, inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any,
    gradient: Any,
) -> float:  # fmt: skip
    """Add ∂E/∂x (n, 3) [N] of all tetrahedra to `gradient`; return E [J], infinite where a law has no value.

    Args:
        x: Nodes [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
        lines: See `in_blocks`.
        others: See `in_blocks`.
        inverse: Inverse edge matrices at rest [1/m], shape (m, 3, 3).
        volume: Volumes at rest [m³], shape (m,).
        weight: Share of the stiffness that is left, shape (m,).
        laws: Number of the law, shape (m,).
        parameters: Of the laws, shape (m, 7).
        gradient: Receives the gradient.
    """
    total = 0.0
    if len(others) < len(tets):
        total += neo_hookean.energy_gradient(x, tets, lines, gradient)
    f, p, work = np.empty((3, 3)), np.empty((3, 3)), room()
    for t in others:
        share = weight[t] * volume[t]
        gradients(x, tets, inverse, t, f)
        density = stress(laws[t], parameters[t], f, p, work)
        if not density < 1e300:
            return math.inf
        total += share * density
        for a in range(3):
            for i in range(3):
                force = p[i, 0] * inverse[t, a, 0] + p[i, 1] * inverse[t, a, 1] + p[i, 2] * inverse[t, a, 2]
                gradient[tets[t, a + 1], i] += share * force
                gradient[tets[t, 0], i] -= share * force
    return total


@njit(cache=True, nogil=True)
def element_gradients(
    x: Any, tets: Any, inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any, out: Any
) -> bool:
    """Write each tetrahedron's own part of ∂E/∂x (m, 4, 3) [N]; return whether all laws have a value.

    The arguments are those of `energy_gradient`.
    """
    f, p, work = np.empty((3, 3)), np.empty((3, 3)), room()
    fine = True
    for t in range(len(tets)):
        out[t] = 0.0
        share = weight[t] * volume[t]
        if share == 0.0:
            continue
        gradients(x, tets, inverse, t, f)
        if not stress(laws[t], parameters[t], f, p, work) < 1e300:
            fine = False
            continue
        for a in range(3):
            for i in range(3):
                force = p[i, 0] * inverse[t, a, 0] + p[i, 1] * inverse[t, a, 1] + p[i, 2] * inverse[t, a, 2]
                out[t, a + 1, i] += share * force
                out[t, 0, i] -= share * force
    return fine


@njit(cache=True, nogil=True)
def hessian_blocks(
    x: Any, tets: Any, inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any, project: float, slots: Any,
    blocks: Any,
) -> int:  # fmt: skip
    """Add ∂²E/∂x² of all tetrahedra to blocks (b, 3, 3) [N/m]; return how many tetrahedra had no value.

    Args:
        x: Nodes [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
        inverse: Inverse edge matrices at rest [1/m], shape (m, 3, 3).
        volume: Volumes at rest [m³], shape (m,).
        weight: Share of the stiffness that is left, shape (m,).
        laws: Number of the law, shape (m,).
        parameters: Of the laws, shape (m, 7).
        project: Share of the negative eigenvalues of each tetrahedron that is taken away.
        slots: Block of each pair of nodes of each tetrahedron, -1 for none, shape (m, 4, 4).
        blocks: Receives the blocks.
    """
    bad = 0
    f, u, v, s = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    slope, stretch, plane, work = np.empty(3), np.empty((3, 3)), np.zeros((2, 3, 3)), np.empty((3, 3, 3))
    shape, inner, half = np.empty((4, 3)), np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(tets)):
        share = weight[t] * volume[t]
        if share == 0.0:
            continue
        gradients(x, tets, inverse, t, f)
        svd(f, u, s, v)
        if not principal_moduli(laws[t], parameters[t], s, project, slope, stretch, plane, work):
            bad += 1
            continue
        for j in range(3):
            shape[0, j] = 0.0
            for a in range(3):
                shape[a + 1, j] = inverse[t, a, 0] * v[0, j] + inverse[t, a, 1] * v[1, j] + inverse[t, a, 2] * v[2, j]
                shape[0, j] -= shape[a + 1, j]
        for a in range(4):
            for b in range(a, 4):
                if slots[t, a, b] < 0:
                    continue
                for i in range(3):
                    for j in range(3):
                        if i == j:
                            k, o = (i + 1) % 3, (i + 2) % 3
                            value = stretch[i, i] * shape[a, i] * shape[b, i]
                            value += plane[0, i, k] * shape[a, k] * shape[b, k]
                            value += plane[0, i, o] * shape[a, o] * shape[b, o]
                        else:
                            value = stretch[i, j] * shape[a, i] * shape[b, j]
                            value += plane[1, i, j] * shape[a, j] * shape[b, i]
                        inner[i, j] = share * value
                for i in range(3):
                    for j in range(3):
                        half[i, j] = u[i, 0] * inner[0, j] + u[i, 1] * inner[1, j] + u[i, 2] * inner[2, j]
                here, there = slots[t, a, b], slots[t, b, a]
                for i in range(3):
                    for j in range(3):
                        value = half[i, 0] * u[j, 0] + half[i, 1] * u[j, 1] + half[i, 2] * u[j, 2]
                        blocks[here, i, j] += value
                        if a != b:
                            blocks[there, j, i] += value
    return bad


@njit(cache=True, nogil=True)
def volumes(x: Any, tets: Any, out: Any) -> None:
    """Write the signed volume of each tetrahedron [m³], shape (m,)."""
    for t in range(len(tets)):
        n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        ox, oy, oz = x[n0, 0], x[n0, 1], x[n0, 2]
        ax, ay, az = x[n1, 0] - ox, x[n1, 1] - oy, x[n1, 2] - oz
        bx, by, bz = x[n2, 0] - ox, x[n2, 1] - oy, x[n2, 2] - oz
        cx, cy, cz = x[n3, 0] - ox, x[n3, 1] - oy, x[n3, 2] - oz
        out[t] = (ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)) / 6.0
