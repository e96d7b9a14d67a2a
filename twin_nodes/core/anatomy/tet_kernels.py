"""Compiled kernels of tetrahedra: volumes, dihedral angles, outer faces, connected parts."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.part_kernels import join_all, root_of

_EDGES = np.array([[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 0, 2], [2, 3, 0, 1]])
_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


@njit(cache=True)
def signed_volumes(nodes: Any, tets: Any) -> Any:
    """Return the volumes [m³] (m,), positive where the corner 3 lies on the side of (1-0) × (2-0)."""
    volumes = np.empty(len(tets))
    for t in range(len(tets)):
        a, b, c, d = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
        ux, uy, uz = nodes[b, 0] - nodes[a, 0], nodes[b, 1] - nodes[a, 1], nodes[b, 2] - nodes[a, 2]
        vx, vy, vz = nodes[c, 0] - nodes[a, 0], nodes[c, 1] - nodes[a, 1], nodes[c, 2] - nodes[a, 2]
        wx, wy, wz = nodes[d, 0] - nodes[a, 0], nodes[d, 1] - nodes[a, 1], nodes[d, 2] - nodes[a, 2]
        volumes[t] = ((uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz) / 6.0
    return volumes


@njit(cache=True)
def dihedral_range(nodes: Any, tets: Any) -> Any:
    """Return the smallest and the largest dihedral angle [rad] of each tetrahedron, shape (m, 2)."""
    angles = np.empty((len(tets), 2))
    for t in range(len(tets)):
        least, most = math.pi, 0.0
        for e in range(6):
            p, q = nodes[tets[t, _EDGES[e, 0]]], nodes[tets[t, _EDGES[e, 1]]]
            r, s = nodes[tets[t, _EDGES[e, 2]]], nodes[tets[t, _EDGES[e, 3]]]
            ex, ey, ez = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            ux, uy, uz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
            vx, vy, vz = s[0] - p[0], s[1] - p[1], s[2] - p[2]
            ax, ay, az = ey * uz - ez * uy, ez * ux - ex * uz, ex * uy - ey * ux
            bx, by, bz = ey * vz - ez * vy, ez * vx - ex * vz, ex * vy - ey * vx
            cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            angle = math.atan2(math.sqrt(cx * cx + cy * cy + cz * cz), ax * bx + ay * by + az * bz)
            least, most = min(least, angle), max(most, angle)
        angles[t, 0], angles[t, 1] = least, most
    return angles


def outer_faces(tets: Any) -> Any:
    """Return the faces that one tetrahedron alone has, outward where it is positively oriented, shape (k, 3)."""
    faces = tets[:, _FACES].reshape(-1, 3)
    key = np.sort(faces, axis=1).astype(np.int64)
    count = int(tets.max()) + 1 if len(tets) else 1
    if count < 2_000_000:  # three indices fit one integer
        _, first, uses = np.unique(
            (key[:, 0] * count + key[:, 1]) * count + key[:, 2], return_index=True, return_counts=True
        )
    else:
        _, first, uses = np.unique(key, axis=0, return_index=True, return_counts=True)
    return faces[np.sort(first[uses == 1])]


@njit(cache=True)
def parts_of(tets: Any, count: int) -> Any:
    """Number the parts that hang together by nodes; part of each tetrahedron (m,), in order of first appearance."""
    parent = np.arange(count)
    for t in range(len(tets)):
        join_all(parent, tets[t])
    number = np.full(count, -1, np.int64)
    parts = np.empty(len(tets), np.int64)
    found = 0
    for t in range(len(tets)):
        root = root_of(parent, tets[t, 0])
        if number[root] < 0:
            number[root] = found
            found += 1
        parts[t] = number[root]
    return parts
