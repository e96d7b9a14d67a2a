"""Compiled kernels that relax a surface net within its voxels and keep its volume.

A net is the quads of `net_kernels`; its vertices are moved, its quads stay.
"""

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.corner_kernels import corners_at
from twin_nodes.core.anatomy.part_kernels import join_all, root_of


@njit(cache=True)
def neighbours_of(quads: Any, vertices: int) -> Any:
    """Return the neighbours along the edges as starts (vertices + 1,) and ends (4 · quads,)."""
    starts, corners = corners_at(quads, vertices)
    ends = np.empty(len(corners), np.int32)
    for place in range(len(corners)):
        quad, corner = divmod(corners[place], 4)
        ends[place] = quads[quad, (corner + 1) & 3]
    return starts, ends


@njit(cache=True)
def relax(points: Any, corners: Any, starts: Any, ends: Any, rounds: int, weights: Any, reach: float) -> None:
    """Move each vertex towards the mean of its neighbours, by turns with each weight, at most `reach` voxels away.

    A negative weight in between takes back the shrinking (Taubin 1995).
    """
    moved = np.empty_like(points)
    most = np.float32(reach)
    for number in range(rounds):
        weight = weights[number % len(weights)]
        for v in range(len(points)):
            first, last = starts[v], starts[v + 1]
            x, y, z = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for e in range(first, last):
                p = points[ends[e]]
                x += p[0]
                y += p[1]
                z += p[2]
            share = np.float32(weight / (last - first))
            keep = np.float32(1.0 - weight)
            moved[v, 0] = min(max(keep * points[v, 0] + share * x, corners[v, 0] - most), corners[v, 0] + most)
            moved[v, 1] = min(max(keep * points[v, 1] + share * y, corners[v, 1] - most), corners[v, 1] + most)
            moved[v, 2] = min(max(keep * points[v, 2] + share * z, corners[v, 2] - most), corners[v, 2] + most)
        points[:] = moved


@njit(cache=True)
def parts_of_net(quads: Any, vertices: int) -> tuple[Any, int]:
    """Number the closed pieces of the net: piece of each vertex (vertices,), and how many there are."""
    parent = np.arange(vertices)
    for q in range(len(quads)):
        join_all(parent, quads[q])
    part = np.empty(vertices, np.int32)
    count = 0
    for v in range(vertices):  # a root is the least of its piece, so it is numbered before the others
        if parent[v] == v:
            part[v] = count
            count += 1
        else:
            part[v] = part[root_of(parent, v)]
    return part, count


@njit(cache=True)
def volumes_of_net(points: Any, quads: Any, part: Any, normals: Any, volumes: Any, areas: Any) -> None:
    """Write the enclosed volume and the area of each piece, and the area vectors summed at the vertices into normals.

    The volume is that of quads cut by the fan around their middle, by the divergence theorem.
    """
    normals[:] = 0.0
    volumes[:] = 0.0
    areas[:] = 0.0
    ox, oy, oz = points[0, 0], points[0, 1], points[0, 2]
    for q in range(len(quads)):
        a, b, c, d = points[quads[q, 0]], points[quads[q, 1]], points[quads[q, 2]], points[quads[q, 3]]
        ux, uy, uz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        vx, vy, vz = d[0] - b[0], d[1] - b[1], d[2] - b[2]
        nx, ny, nz = 0.5 * (uy * vz - uz * vy), 0.5 * (uz * vx - ux * vz), 0.5 * (ux * vy - uy * vx)
        piece = part[quads[q, 0]]
        areas[piece] += np.sqrt(nx * nx + ny * ny + nz * nz)
        mx = 0.25 * (a[0] + b[0] + c[0] + d[0]) - ox
        my = 0.25 * (a[1] + b[1] + c[1] + d[1]) - oy
        mz = 0.25 * (a[2] + b[2] + c[2] + d[2]) - oz
        volumes[piece] += (nx * mx + ny * my + nz * mz) / 3.0
        for corner in range(4):
            v = quads[q, corner]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz


@njit(cache=True)
def offset(points: Any, corners: Any, normals: Any, part: Any, distances: Any, reach: float) -> None:
    """Move each vertex by the distance of its piece [voxels] along its normal, at most `reach` from its corner."""
    for v in range(len(points)):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length == 0.0:
            continue
        step = distances[part[v]] / length
        for axis in range(3):
            moved = points[v, axis] + step * normals[v, axis]
            points[v, axis] = min(max(moved, corners[v, axis] - reach), corners[v, axis] + reach)


@njit(cache=True)
def split_quads(points: Any, quads: Any, turned: bool) -> Any:
    """Cut each quad along its shorter diagonal, shape (2 · quads, 3)."""
    triangles = np.empty((2 * len(quads), 3), np.int32)
    for q in range(len(quads)):
        a, b, c, d = quads[q, 0], quads[q, 1], quads[q, 2], quads[q, 3]
        first, second = 0.0, 0.0
        for axis in range(3):
            first += (points[a, axis] - points[c, axis]) ** 2
            second += (points[b, axis] - points[d, axis]) ** 2
        if turned:
            b, d = d, b
        if first <= second:
            triangles[2 * q] = a, b, c
            triangles[2 * q + 1] = a, c, d
        else:
            triangles[2 * q] = a, b, d
            triangles[2 * q + 1] = b, c, d
    return triangles
