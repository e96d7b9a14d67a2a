"""Compiled kernels over all tetrahedra: energy and forces, and the Hessian in 3 by 3 blocks."""

import math
from typing import Any

import numpy as np
from numba import njit

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


@njit(cache=True, nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def energy_gradient(
    x: Any, tets: Any, inverse: Any, volume: Any, weight: Any, laws: Any, parameters: Any, gradient: Any
) -> float:
    """Add ∂E/∂x (n, 3) [N] of all tetrahedra to `gradient`; return E [J], infinite where a law has no value.

    Args:
        x: Nodes [m], shape (n, 3).
        tets: Node indices, shape (m, 4).
        inverse: Inverse edge matrices at rest [1/m], shape (m, 3, 3).
        volume: Volumes at rest [m³], shape (m,).
        weight: Share of the stiffness that is left, shape (m,).
        laws: Number of the law, shape (m,).
        parameters: Of the laws, shape (m, 7).
        gradient: Receives the gradient.
    """
    total = 0.0
    f, p, work = np.empty((3, 3)), np.empty((3, 3)), room()
    for t in range(len(tets)):
        share = weight[t] * volume[t]
        if share == 0.0:
            continue
        n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        b00, b01, b02 = inverse[t, 0, 0], inverse[t, 0, 1], inverse[t, 0, 2]
        b10, b11, b12 = inverse[t, 1, 0], inverse[t, 1, 1], inverse[t, 1, 2]
        b20, b21, b22 = inverse[t, 2, 0], inverse[t, 2, 1], inverse[t, 2, 2]
        ox, oy, oz = x[n0, 0], x[n0, 1], x[n0, 2]
        e00, e10, e20 = x[n1, 0] - ox, x[n1, 1] - oy, x[n1, 2] - oz
        e01, e11, e21 = x[n2, 0] - ox, x[n2, 1] - oy, x[n2, 2] - oz
        e02, e12, e22 = x[n3, 0] - ox, x[n3, 1] - oy, x[n3, 2] - oz
        f00 = e00 * b00 + e01 * b10 + e02 * b20
        f01 = e00 * b01 + e01 * b11 + e02 * b21
        f02 = e00 * b02 + e01 * b12 + e02 * b22
        f10 = e10 * b00 + e11 * b10 + e12 * b20
        f11 = e10 * b01 + e11 * b11 + e12 * b21
        f12 = e10 * b02 + e11 * b12 + e12 * b22
        f20 = e20 * b00 + e21 * b10 + e22 * b20
        f21 = e20 * b01 + e21 * b11 + e22 * b21
        f22 = e20 * b02 + e21 * b12 + e22 * b22
        if laws[t] == NEO_HOOKEAN:
            mu, lam = parameters[t, 0], parameters[t, 1]
            c00, c01, c02 = f11 * f22 - f12 * f21, f12 * f20 - f10 * f22, f10 * f21 - f11 * f20
            c10, c11, c12 = f21 * f02 - f22 * f01, f22 * f00 - f20 * f02, f20 * f01 - f21 * f00
            c20, c21, c22 = f01 * f12 - f02 * f11, f02 * f10 - f00 * f12, f00 * f11 - f01 * f10
            j = f00 * c00 + f01 * c01 + f02 * c02
            square = f00 * f00 + f01 * f01 + f02 * f02 + f10 * f10 + f11 * f11 + f12 * f12
            square += f20 * f20 + f21 * f21 + f22 * f22
            # λ/2 (J - α)² - μ²/(2 λ) = (J - 1) (λ/2 (J - 1) - μ), without the cancellation
            total += share * (0.5 * mu * (square - 3.0) + (j - 1.0) * (0.5 * lam * (j - 1.0) - mu))
            slope, mu = share * (lam * (j - 1.0) - mu), share * mu
            p00, p01, p02 = mu * f00 + slope * c00, mu * f01 + slope * c01, mu * f02 + slope * c02
            p10, p11, p12 = mu * f10 + slope * c10, mu * f11 + slope * c11, mu * f12 + slope * c12
            p20, p21, p22 = mu * f20 + slope * c20, mu * f21 + slope * c21, mu * f22 + slope * c22
        else:
            f[0, 0], f[0, 1], f[0, 2] = f00, f01, f02
            f[1, 0], f[1, 1], f[1, 2] = f10, f11, f12
            f[2, 0], f[2, 1], f[2, 2] = f20, f21, f22
            density = stress(laws[t], parameters[t], f, p, work)
            if not density < 1e300:
                return math.inf
            total += share * density
            p00, p01, p02 = share * p[0, 0], share * p[0, 1], share * p[0, 2]
            p10, p11, p12 = share * p[1, 0], share * p[1, 1], share * p[1, 2]
            p20, p21, p22 = share * p[2, 0], share * p[2, 1], share * p[2, 2]
        for k in range(3):
            q0, q1, q2 = (b00, b01, b02) if k == 0 else ((b10, b11, b12) if k == 1 else (b20, b21, b22))
            node = n1 if k == 0 else (n2 if k == 1 else n3)
            gx = p00 * q0 + p01 * q1 + p02 * q2
            gy = p10 * q0 + p11 * q1 + p12 * q2
            gz = p20 * q0 + p21 * q1 + p22 * q2
            gradient[node, 0] += gx
            gradient[node, 1] += gy
            gradient[node, 2] += gz
            gradient[n0, 0] -= gx
            gradient[n0, 1] -= gy
            gradient[n0, 2] -= gz
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
