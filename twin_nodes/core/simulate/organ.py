"""A watertight, smooth body without any symmetry, about as large as a liver lobe, with exact points on it."""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.shapes import Mesh

_SEMI_AXES = np.array([0.095, 0.075, 0.060])
_BUMPS = 14


def organ_points(directions: Array, *, seed: int = 3) -> Array:
    """Return the points of the body [m] (n, 3) in unit directions (n, 3) seen from its origin."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(_BUMPS, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    heights, widths = rng.uniform(-0.22, 0.26, _BUMPS), rng.uniform(3.0, 14.0, _BUMPS)
    swell = 1.0 + np.sum(heights * np.exp(widths * (directions @ centres.T - 1.0)), axis=1)
    ellipsoid = 1.0 / np.linalg.norm(directions / _SEMI_AXES, axis=1)
    return np.asarray(directions * (ellipsoid * swell)[:, None])


def organ(vertices: int, *, seed: int = 3) -> Mesh:
    """Mesh the body with about so many vertices, evenly spread by direction.

    Returns:
        Vertices [m] (n, 3) and outward triangles (m, 3).
    """
    directions, triangles = _sphere(max(1, round(np.sqrt((vertices - 2) / 10.0))))
    return organ_points(directions, seed=seed), triangles


def sample_organ(count: int, rng: np.random.Generator, *, view: Array | None = None, seed: int = 3) -> Array:
    """Draw points on the body (not on its mesh) [m], shape (count, 3), nearly even over its area.

    Args:
        count: Number of points.
        rng: Source of chance.
        view: Direction from which the body is seen, shape (3,): only the nearest 35 % of it; all when not given.
        seed: Of the body.
    """
    pool = rng.normal(size=(12 * count, 3))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    points = organ_points(pool, seed=seed)
    density = np.linalg.norm(points, axis=1) ** 2  # area of a patch per solid angle, but for its slant
    points = points[rng.uniform(0.0, density.max(), len(points)) < density]
    if view is not None:
        depth = points @ (np.asarray(view, float) / np.linalg.norm(view))
        points = points[depth >= np.quantile(depth, 0.65)]
    return np.asarray(points[:count])


def _sphere(parts: int) -> tuple[Array, NDArray[np.int32]]:
    """Divide each edge of an icosahedron into parts; return unit vertices and outward triangles."""
    from scipy.spatial import ConvexHull

    golden = (1.0 + np.sqrt(5.0)) / 2.0
    base = np.array([[0.0, a, b * golden] for a in (-1.0, 1.0) for b in (-1.0, 1.0)], float)
    corners = np.vstack([np.roll(base, shift, axis=1) for shift in range(3)])
    faces = ConvexHull(corners).simplices
    i, j = np.meshgrid(np.arange(parts + 1), np.arange(parts + 1), indexing='ij')
    keep = i + j <= parts
    weights = np.stack([i[keep], j[keep], parts - i[keep] - j[keep]], axis=1) / parts
    dots = np.vstack([weights @ corners[face] for face in faces])
    dots /= np.linalg.norm(dots, axis=1, keepdims=True)
    dots = dots[np.unique(np.round(dots, 9), axis=0, return_index=True)[1]]
    triangles = ConvexHull(dots).simplices
    a, b, c = (dots[triangles[:, corner]] for corner in range(3))
    inward = np.einsum('ij,ij->i', a, np.cross(b, c)) < 0.0
    triangles[inward] = triangles[inward][:, ::-1]
    return dots, np.ascontiguousarray(triangles, np.int32)
