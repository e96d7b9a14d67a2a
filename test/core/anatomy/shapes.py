"""Surfaces with known truth."""

import numpy as np

BOX_FACES = np.array(
    [
        (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
        (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
    ]
)  # fmt: skip


def box(half):
    """Vertices and triangles of a box with half sizes (3,) around the origin."""
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    return np.array(corners) * half, BOX_FACES


def box_distance(points, half):
    """Exact signed distance to that box."""
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0.0), axis=1) + np.minimum(q.max(axis=1), 0.0)


def sphere(radius, *, rings=64):
    """A sphere as a grid of longitudes and latitudes around the origin."""
    return revolve(lambda v: radius * np.sin(np.pi * v), lambda v: -radius * np.cos(np.pi * v), rings, poles=True)


def torus(major, minor, *, rings=48):
    """A torus around z."""
    return revolve(
        lambda v: major + minor * np.cos(2 * np.pi * v), lambda v: minor * np.sin(2 * np.pi * v), rings, poles=False
    )


def torus_distance(points, major, minor):
    """Exact signed distance to that torus."""
    return np.hypot(np.hypot(points[:, 0], points[:, 1]) - major, points[:, 2]) - minor


def revolve(radius, height, rings, *, poles):
    """Turn a profile around z, as separate points per corner: `make_surface` merges them."""
    columns = 2 * rings
    v, u = np.meshgrid(np.arange(rings + 1) / rings, np.arange(columns + 1) % columns / columns, indexing='ij')
    v = v if poles else v % 1.0
    r = radius(v)
    if poles:
        r[0] = r[-1] = 0.0
    points = np.stack([r * np.cos(2 * np.pi * u), r * np.sin(2 * np.pi * u), height(v)], axis=-1).reshape(-1, 3)
    i, j = (index.ravel() for index in np.meshgrid(np.arange(rings), np.arange(columns), indexing='ij'))
    a, b = i * (columns + 1) + j, (i + 1) * (columns + 1) + j
    return points, np.concatenate([np.stack([a, a + 1, b + 1], 1), np.stack([a, b + 1, b], 1)])
