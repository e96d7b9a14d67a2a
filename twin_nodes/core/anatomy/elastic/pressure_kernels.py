"""Compiled kernels of pressure: the energy of what it encloses, and the stiffness of its turning with the faces."""

from typing import Any

from numba import njit

from twin_nodes.core.anatomy.elastic.load_kernels import block_at


@njit(cache=True, nogil=True)
def add_follower(x: Any, faces: Any, pascal: Any, force: Any) -> None:
    """Add the force of pressure on faces to `force` (n, 3) [N]; the arguments are of `Pressure`."""
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        share = -pascal[f] / 6.0
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            normal = (x[b, i] - x[a, i]) * (x[c, j] - x[a, j]) - (x[b, j] - x[a, j]) * (x[c, i] - x[a, i])
            for node in (a, b, c):
                force[node, k] += share * normal


@njit(cache=True, nogil=True)
def cone_gradient(x: Any, faces: Any, pascal: Any, origin: Any, gradient: Any) -> float:
    """Add the gradient of Σ p V to `gradient` (n, 3) [N], V being the cone of a face over an origin; return Σ p V [J].

    Args:
        x: Nodes [m], shape (n, 3).
        faces: Triangles, outward, shape (k, 3).
        pascal: Pressure on each [Pa], shape (k,).
        origin: Apex [m], shape (3,).
        gradient: Added to.
    """
    total = 0.0
    for f in range(len(faces)):
        share = pascal[f] / 6.0
        for corner in range(3):
            a, b, c = faces[f, corner], faces[f, (corner + 1) % 3], faces[f, (corner + 2) % 3]
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                bi, bj, ci, cj = x[b, i] - origin[i], x[b, j] - origin[j], x[c, i] - origin[i], x[c, j] - origin[j]
                pull = share * (bi * cj - bj * ci)
                gradient[a, k] += pull
                if corner == 0:
                    total += pull * (x[a, k] - origin[k])
    return total


@njit(cache=True, nogil=True)
def rim_gradient(x: Any, rim: Any, pascal: Any, middle: Any, origin: Any, gradient: Any) -> float:
    """Add the gradient of Σ p/6 s · (m × t) along a rim to `gradient` (n, 3) [N]; return the sum [J].

    Args:
        x: Nodes [m], shape (n, 3).
        rim: Nodes s and t of each edge, shape (e, 2).
        pascal: Pressure on the one side less that on the other [Pa], shape (e,).
        middle: m, its middle over the origin when it was last looked at [m], shape (e, 3).
        origin: Of s, m and t [m], shape (3,).
        gradient: Added to.
    """
    total = 0.0
    for e in range(len(rim)):
        s, t, share = rim[e, 0], rim[e, 1], pascal[e] / 6.0
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            at_s = share * (middle[e, i] * (x[t, j] - origin[j]) - middle[e, j] * (x[t, i] - origin[i]))
            at_t = share * ((x[s, i] - origin[i]) * middle[e, j] - (x[s, j] - origin[j]) * middle[e, i])
            gradient[s, k] += at_s
            gradient[t, k] += at_t
            total += at_s * (x[s, k] - origin[k])
    return total


@njit(cache=True, nogil=True)
def cross_blocks(pairs: Any, arms: Any, number: Any, indptr: Any, indices: Any, blocks: Any) -> int:
    """Add the blocks [arm]× at (s, t) and their transposes at (t, s); return how many the pattern does not couple.

    Args:
        pairs: Nodes s and t, shape (q, 2).
        arms: [N/m], shape (q, 3).
        number: Free node of each node, -1 for a fixed one, shape (n,).
        indptr: Of the pattern.
        indices: Of the pattern.
        blocks: Receives the blocks (b, 3, 3) [N/m].
    """
    astray = 0
    for q in range(len(pairs)):
        for side in range(2):
            row, column = number[pairs[q, side]], number[pairs[q, 1 - side]]
            if row < 0 or column < 0:
                continue
            at = block_at(indptr, indices, row, column)
            if at < 0:
                astray += 1
                continue
            sign = 1.0 if side == 0 else -1.0
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                blocks[at, i, j] -= sign * arms[q, k]
                blocks[at, j, i] += sign * arms[q, k]
    return astray
