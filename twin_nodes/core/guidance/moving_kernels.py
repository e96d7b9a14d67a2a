"""Compiled kernels of exact signed distances from a surface that moves, by the tree of `moving_tree_kernels`."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.anatomy.triangle_kernels import closest_on_triangle
from twin_nodes.core.guidance.cavity_kernels import in_cavity
from twin_nodes.core.guidance.moving_tree_kernels import Tree, refit

STACK = 64
FAR = 0.01  # m; beyond it a distance is only a lower bound, by the share below of what is beyond
_SLACK = 0.02


@njit(cache=True)
def _gap(px: float, py: float, pz: float, boxes: Any, node: int) -> float:
    """Squared distance from a point to a box."""
    x = max(boxes[node, 0] - px, px - boxes[node, 3], 0.0)
    y = max(boxes[node, 1] - py, py - boxes[node, 4], 0.0)
    z = max(boxes[node, 2] - pz, pz - boxes[node, 5], 0.0)
    return float(x * x + y * y + z * z)


@njit(cache=True)
def slack(distance: float) -> float:
    """Return by how much a distance may be found too far [m]."""
    return max(_SLACK * (distance - FAR), 0.0)


@njit(cache=True)
def _within(best: float, exact: bool) -> float:
    """Return the squared distance within which a nearer triangle is still sought, when `best` is found."""
    if exact or best <= FAR * FAR:
        return best
    distance = math.sqrt(best)
    return float((distance - slack(distance)) ** 2)


@njit(cache=True)
def nearest(
    px: float, py: float, pz: float, seed: int, exact: bool, tree: Tree, nodes: Any, gaps: Any
) -> tuple[float, int, int, float, float, float]:
    """Find the triangle that is nearest to a point: exactly up to `FAR`, beyond it one that is farther by `slack`.

    Args:
        px: Point [m].
        py: Point [m].
        pz: Point [m].
        seed: A triangle that may be near, such as the last one found: the nearer, the less is looked at.
        exact: Find the nearest beyond `FAR` too.
        tree: The surface; the blocks that are looked into are brought up to date.
        nodes: Room for the nodes that wait, int64, shape (STACK,).
        gaps: Room for their squared distances, shape (STACK,).

    Returns:
        Squared distance [m²], triangle, feature as in `triangle_kernels`, and the nearest point [m].
    """
    corners, boxes, stale, levels = tree.corners, tree.boxes, tree.stale, tree.levels
    m, first, blocks = len(corners), (1 << levels) - 1, (1 << tree.top) - 1
    block = (((seed + 1) << tree.top) - 1) // m
    if stale[block]:
        refit(block, tree)
    found = seed
    best, feature, qx, qy, qz = closest_on_triangle(px, py, pz, corners[seed])
    limit = _within(best, exact)
    nodes[0], gaps[0] = 0, 0.0
    depth = 1
    while depth > 0:
        depth -= 1
        if gaps[depth] >= limit:
            continue
        node = nodes[depth]
        if blocks <= node <= 2 * blocks and stale[node - blocks]:
            refit(node - blocks, tree)
        if node >= first:
            leaf = node - first
            for t in range((leaf * m) >> levels, ((leaf + 1) * m) >> levels):
                if t == seed:
                    continue
                squared, kind, x, y, z = closest_on_triangle(px, py, pz, corners[t])
                if squared < best:
                    best, found, feature, qx, qy, qz = squared, t, kind, x, y, z
                    limit = _within(best, exact)
            continue
        left, right = 2 * node + 1, 2 * node + 2
        near, far = _gap(px, py, pz, boxes, left), _gap(px, py, pz, boxes, right)
        if near > far:
            left, right, near, far = right, left, far, near
        if far < limit:
            nodes[depth], gaps[depth] = right, far
            depth += 1
        if near < limit:
            nodes[depth], gaps[depth] = left, near
            depth += 1
    return best, found, feature, qx, qy, qz


@njit(cache=True)
def _unit_normal(vertices: Any, triangles: Any, t: int) -> tuple[float, float, float]:
    """Return the unit normal of a triangle; zeros where it has no area."""
    a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    length = math.sqrt(x * x + y * y + z * z)
    if length == 0.0:
        return 0.0, 0.0, 0.0
    return x / length, y / length, z / length


@njit(cache=True)
def pseudo_normal(t: int, feature: int, tree: Tree) -> Any:
    """Return a normal of a feature whose side tells inside from outside (Bærentzen and Aanæs 2005), not of length 1.

    It is made from the vertices: a neighbour may lie in a stale block.

    Args:
        t: Triangle.
        feature: Its face, vertex or edge, as in `triangle_kernels`.
        tree: The surface.
    """
    vertices, triangles, starts = tree.vertices, tree.triangles, tree.starts
    x, y, z = _unit_normal(vertices, triangles, t)
    if feature >= 4:
        ox, oy, oz = _unit_normal(vertices, triangles, tree.across[t, feature - 4])
        return x + ox, y + oy, z + oz
    if feature == 0:
        return x, y, z
    vertex = triangles[t, feature - 1]
    x = y = z = 0.0
    for at in range(starts[vertex], starts[vertex + 1]):
        other, corner = tree.ring[at] // 3, tree.ring[at] % 3
        p = vertices[vertex]
        q, r = vertices[triangles[other, (corner + 1) % 3]], vertices[triangles[other, (corner + 2) % 3]]
        ux, uy, uz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
        wx, wy, wz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        area = math.sqrt(nx * nx + ny * ny + nz * nz)
        if area > 0.0:
            angle = math.atan2(area, ux * wx + uy * wy + uz * wz) / area
            x, y, z = x + angle * nx, y + angle * ny, z + angle * nz
    return x, y, z


@njit(cache=True)
def signed(
    px: float, py: float, pz: float, seed: int, tree: Tree, nodes: Any, gaps: Any
) -> tuple[float, float, float, float, int]:
    """Return the signed distance [m], its gradient (three numbers, of length 1) and the nearest triangle.

    Beyond `FAR` the distance is the least that it can be; inside, the greatest depth. Where something is gone it is the
    greater of that and the distance to the wall of the cavity; the triangle is then of the surface as it was.
    """
    distance, gx, gy, gz, t = _signed_whole(px, py, pz, seed, tree, nodes, gaps)
    if tree.cavity.values.size > 0 and distance < FAR:
        free, hx, hy, hz = in_cavity(px, py, pz, tree.cavity)
        if free > distance:
            return free, hx, hy, hz, t
    return distance, gx, gy, gz, t


@njit(cache=True)
def _signed_whole(
    px: float, py: float, pz: float, seed: int, tree: Tree, nodes: Any, gaps: Any
) -> tuple[float, float, float, float, int]:
    """Return what `signed` does for a surface that is whole.

    The side of a triangle tells inside from outside only if it is the nearest: beyond a thin plate its far side is
    about as near, and faces away.
    """
    within_box = _gap(px, py, pz, tree.boxes, 0) == 0.0
    squared, t, feature, qx, qy, qz = nearest(px, py, pz, seed, within_box, tree, nodes, gaps)
    nx, ny, nz = pseudo_normal(t, feature, tree)
    gx, gy, gz = px - qx, py - qy, pz - qz
    distance = math.sqrt(squared)
    if distance > 1e-9:
        sign = -1.0 if within_box and gx * nx + gy * ny + gz * nz < 0.0 else 1.0
        scale = sign / distance
        least = distance - slack(distance) if sign > 0.0 else -distance
        return least, scale * gx, scale * gy, scale * gz, t
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    scale = 1.0 / length if length > 0.0 else 0.0
    return 0.0, scale * nx, scale * ny, scale * nz, t


@njit(cache=True)
def signed_many(points: Any, tree: Tree, distances: Any, gradients: Any) -> None:
    """Write distances (k,) and gradients (k, 3) of points (k, 3), each begun at the triangle of the one before."""
    nodes, gaps = np.empty(STACK, np.int64), np.empty(STACK)
    seed = 0
    for k in range(len(points)):
        distances[k], gradients[k, 0], gradients[k, 1], gradients[k, 2], seed = signed(
            points[k, 0], points[k, 1], points[k, 2], seed, tree, nodes, gaps
        )
