"""Finds the nearest place on a surface that deforms, from the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle

_WALK = 40
_FAN = 32
_BLOCK = 128


@njit(cache=True)
def face_of_vertex(faces: Any, count: int) -> Any:
    """Return one triangle at each vertex, shape (count,)."""
    found = np.zeros(count, np.int32)
    for f in range(len(faces)):
        for k in range(3):
            found[faces[f, k]] = f
    return found


@njit(cache=True, fastmath=True)
def nearest_vertices(points: Any, vertices: Any, found: Any) -> None:
    """Find the vertex nearest to each point by looking at all.

    Args:
        points: Shape (n, 3), float32.
        vertices: In columns, shape (3, b), float32.
        found: Filled, shape (n,).
    """
    squared = np.empty(vertices.shape[1], np.float32)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for v in range(vertices.shape[1]):
            squared[v] = (vertices[0, v] - x) ** 2 + (vertices[1, v] - y) ** 2 + (vertices[2, v] - z) ** 2
        best = 0
        for v in range(1, vertices.shape[1]):
            if squared[v] < squared[best]:
                best = v
        found[p] = best


@njit(cache=True)
def walk(points: Any, vertices: Any, faces: Any, across: Any, seeds: Any, places: Any) -> None:
    """Walk over edges and around vertices to the nearest triangle, as long as it is nearer.

    Args:
        points: Points [m], shape (n, 3).
        vertices: Deformed vertices [m], shape (b, 3).
        faces: Shape (k, 3).
        across: Triangle beyond each edge ab, bc, ca, shape (k, 3).
        seeds: Where to start, filled with the nearest triangles, shape (n,).
        places: Filled with the barycentric coordinates of the nearest places, shape (n, 3).
    """
    corners = np.empty((3, 3))
    for p in range(len(points)):
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        chosen = seeds[p]
        _take(vertices, faces, chosen, corners)
        best, kind, qx, qy, qz = closest_on_triangle(px, py, pz, corners)
        for _ in range(_WALK):
            start, feature = chosen, kind
            if feature == 0:
                break
            if feature >= 4:
                t = across[start, feature - 4]
                _take(vertices, faces, t, corners)
                squared, other, sx, sy, sz = closest_on_triangle(px, py, pz, corners)
                if squared < best:
                    best, chosen, kind, qx, qy, qz = squared, t, other, sx, sy, sz
            else:
                vertex, t = faces[start, feature - 1], start
                for _ in range(_FAN):
                    corner = 0
                    while corner < 2 and faces[t, corner] != vertex:
                        corner += 1
                    t = across[t, corner]
                    if t == start:
                        break
                    _take(vertices, faces, t, corners)
                    squared, other, sx, sy, sz = closest_on_triangle(px, py, pz, corners)
                    if squared < best:
                        best, chosen, kind, qx, qy, qz = squared, t, other, sx, sy, sz
            if chosen == start:
                break
        seeds[p] = chosen
        _take(vertices, faces, chosen, corners)
        _shares(qx, qy, qz, corners, places[p])


@njit(cache=True)
def _take(vertices: Any, faces: Any, face: int, corners: Any) -> None:
    for k in range(3):
        for axis in range(3):
            corners[k, axis] = vertices[faces[face, k], axis]


@njit(cache=True)
def _shares(x: float, y: float, z: float, corners: Any, place: Any) -> None:
    """Fill in the barycentric coordinates of a point of a triangle."""
    d00 = d01 = d11 = d20 = d21 = 0.0
    q = (x, y, z)
    for axis in range(3):
        a = corners[1, axis] - corners[0, axis]
        b = corners[2, axis] - corners[0, axis]
        c = q[axis] - corners[0, axis]
        d00 += a * a
        d01 += a * b
        d11 += b * b
        d20 += c * a
        d21 += c * b
    area = d00 * d11 - d01 * d01
    v = (d11 * d20 - d01 * d21) / area if area > 0.0 else 0.0
    w = (d00 * d21 - d01 * d20) / area if area > 0.0 else 0.0
    place[0], place[1], place[2] = 1.0 - v - w, v, w


@njit(cache=True)
def vertex_normals(vertices: Any, faces: Any, normals: Any) -> None:
    """Fill in unit normals of the vertices, weighted by area, shape (b, 3)."""
    normals[:] = 0.0
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for vertex in (i, j, k):
            normals[vertex, 0] += nx
            normals[vertex, 1] += ny
            normals[vertex, 2] += nz
    for v in range(len(normals)):
        size = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if size > 0.0:
            normals[v] /= size


@njit(cache=True)
def crowd(points: Any, reach: float, crowds: Any) -> None:
    """Fill in how many points share the neighbourhood of each: Σ exp(-d²/2 reach²), shape (n,).

    Cells of the size of the reach stand for their points, so that it takes time linear in these.
    """
    low = np.array([points[:, axis].min() for axis in range(3)])
    size = np.ones(3, np.int64)
    for axis in range(3):
        size[axis] = int((points[:, axis].max() - low[axis]) / reach) + 1
    total = size[0] * size[1] * size[2]
    count, centre = np.zeros(total), np.zeros((total, 3))
    for p in range(len(points)):
        i, j, k = (int((points[p, 0] - low[0]) / reach), int((points[p, 1] - low[1]) / reach),
                   int((points[p, 2] - low[2]) / reach))  # fmt: skip
        cell = (i * size[1] + j) * size[2] + k
        count[cell] += 1.0
        centre[cell] += points[p]
    for p in range(len(points)):
        i, j, k = (int((points[p, 0] - low[0]) / reach), int((points[p, 1] - low[1]) / reach),
                   int((points[p, 2] - low[2]) / reach))  # fmt: skip
        sum_ = 0.0
        for a in range(max(i - 2, 0), min(i + 3, size[0])):
            for b in range(max(j - 2, 0), min(j + 3, size[1])):
                for c in range(max(k - 2, 0), min(k + 3, size[2])):
                    cell = (a * size[1] + b) * size[2] + c
                    n = count[cell]
                    if n > 0.0:
                        squared = 0.0
                        for axis in range(3):
                            squared += (centre[cell, axis] / n - points[p, axis]) ** 2
                        sum_ += n * np.exp(-0.5 * squared / reach**2)
        crowds[p] = max(sum_, 1.0)


@njit(cache=True, fastmath={'reassoc', 'nnan', 'nsz'})
def covered(vertices: Any, points: Any, reach: float) -> Any:
    """Return which vertices (b, 3) have a point (n, 3) within reach [m], shape (b,)."""
    found = np.zeros(len(vertices), np.bool_)
    if not len(points):
        return found
    limit, low, high = reach * reach, np.empty(3), np.empty(3)
    for axis in range(3):
        low[axis], high[axis] = points[:, axis].min() - reach, points[:, axis].max() + reach
    columns = np.ascontiguousarray(points.T)
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        if not (low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]):
            continue
        for begin in range(0, len(points), _BLOCK):
            nearest = np.inf
            for p in range(begin, min(begin + _BLOCK, len(points))):  # no way out of it: many are taken at once
                dx, dy, dz = columns[0, p] - x, columns[1, p] - y, columns[2, p] - z
                nearest = min(nearest, dx * dx + dy * dy + dz * dz)
            if nearest <= limit:
                found[v] = True
                break
    return found
