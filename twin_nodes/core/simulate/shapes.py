"""Watertight surfaces with known geometry: a rounded bone and tubes for nerves and vessels."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array

Mesh = tuple[Array, NDArray[np.int32]]


def superellipsoid(centre: Array, semi_axes: Array, *, exponent: float = 0.6, rings: int = 32) -> Mesh:
    """Mesh a superellipsoid (Barr 1981): an ellipsoid for exponent 1, a rounded box towards 0.

    Args:
        centre: Centre [m], shape (3,).
        semi_axes: Semi-axes [m], shape (3,).
        exponent: Squareness of both sections.
        rings: Number of rings between the poles; twice as many points on each.

    Returns:
        Vertices [m] (n, 3) and outward triangles (m, 3).
    """

    def power(value: Array) -> Array:
        return np.asarray(np.sign(value) * np.abs(value) ** exponent)

    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)[1:-1]
    longitude = np.linspace(-np.pi, np.pi, 2 * rings, endpoint=False)
    ring = np.stack(np.meshgrid(latitude, longitude, indexing='ij'), axis=-1).reshape(-1, 2)
    body = np.column_stack(
        [
            power(np.cos(ring[:, 0])) * power(np.cos(ring[:, 1])),
            power(np.cos(ring[:, 0])) * power(np.sin(ring[:, 1])),
            power(np.sin(ring[:, 0])),
        ]
    )
    unit = np.vstack([body, [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    return centre + unit * semi_axes, _closed_rings(rings, 2 * rings)


def tube(path: Array, radius: float, *, sides: int = 16) -> Mesh:
    """Mesh a tube with closed ends about a polyline.

    Args:
        path: Centre line [m], shape (k, 3), k ≥ 2.
        radius: Radius [m].
        sides: Corners of the cross-section.

    Returns:
        Vertices [m] (n, 3) and outward triangles (m, 3).
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent, np.array([0.0, 0.0, 1.0]) + 1e-3 * tangent[:, ::-1])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    circle = np.cos(angle)[None, :, None] * side[:, None, :] + np.sin(angle)[None, :, None] * up[:, None, :]
    body = (path[:, None, :] + radius * circle).reshape(-1, 3)
    vertices = np.vstack([body, path[0], path[-1]])
    triangles = _closed_rings(path.shape[0], sides)
    return vertices, _outward(vertices, triangles)


def _closed_rings(rings: int, sides: int) -> NDArray[np.int32]:
    """Join rings of points, the last two vertices closing the first and the last ring."""
    bottom, top = rings * sides, rings * sides + 1
    triangles = []
    for ring in range(rings - 1):
        for side in range(sides):
            a, b = ring * sides + side, ring * sides + (side + 1) % sides
            c, d = a + sides, b + sides
            triangles += [(a, b, d), (a, d, c)]
    for side in range(sides):
        following = (side + 1) % sides
        last = (rings - 1) * sides
        triangles += [(following, side, bottom), (last + side, last + following, top)]
    return np.array(triangles, dtype=np.int32)


def _outward(vertices: Array, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    corner = vertices[triangles]
    volume = float(np.einsum('ij,ij->', corner[:, 0], np.cross(corner[:, 1], corner[:, 2]))) / 6.0
    return triangles if volume > 0.0 else np.ascontiguousarray(triangles[:, ::-1])
