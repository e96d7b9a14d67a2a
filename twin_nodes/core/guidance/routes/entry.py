"""Where a tool may go in: points on the skin, in groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class EntryRegion:
    """Points on the skin.

    Args:
        points: Points in the anatomy frame [m], shape (n, 3).
        groups: Index of the group of each, shape (n,).
        centres: Index of the point that stands for each group, shape (g,).
        radii: Distance of the farthest point of each group from its centre [m], shape (g,).
        nearby: Index of the point that stands for each and its neighbours, between a group and a point, shape (n,).
    """

    points: Array
    groups: NDArray[np.int64]
    centres: NDArray[np.int64]
    radii: Array
    nearby: NDArray[np.int64]


def entry_region(points: Array, *, fine: float, coarse: float) -> EntryRegion:
    """Thin points to a spacing and group them.

    Args:
        points: Points on the skin in the anatomy frame [m], shape (n, 3).
        fine: One point is kept in each cube of this size [m].
        coarse: Size of the groups [m].

    Raises:
        InputError: for no point, or points that are not finite.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1:] != (3,) or not len(points):
        raise InputError(f'entry points of shape {points.shape} must be (n, 3) with n at least 1 [m]')
    if not np.isfinite(points).all():
        raise InputError('entry points have NaN or Inf', code='NOT_FINITE')
    _, kept = np.unique(np.floor(points / fine).astype(np.int64), axis=0, return_index=True)
    points = points[np.sort(kept)]
    groups, centres = _grouped(points, coarse)
    cells, standing = _grouped(points, np.sqrt(fine * coarse))
    aside = np.linalg.norm(points - points[centres[groups]], axis=1)
    radii = np.zeros(len(centres))
    np.maximum.at(radii, groups, aside)
    return EntryRegion(points, groups, centres, radii, standing[cells])


def _grouped(points: Array, size: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group of each point (n,), by cubes of a size [m], and the point nearest to the mean of each group (g,)."""
    _, groups = np.unique(np.floor(points / size).astype(np.int64), axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    counts = np.bincount(groups)
    means = np.stack([np.bincount(groups, points[:, axis]) / counts for axis in range(3)], axis=1)
    order = np.lexsort((np.linalg.norm(points - means[groups], axis=1), groups))
    return groups, order[np.concatenate([[0], np.cumsum(counts)[:-1]])]


def entry_on_surface(surface: Surface, centre: Array, radius: float, *, fine: float, coarse: float) -> EntryRegion:
    """Take the part of a surface within a ball as the entry region.

    Args:
        surface: The skin, in the anatomy frame.
        centre: Centre of the ball [m], shape (3,).
        radius: Its radius [m].
        fine: Distance between the points [m].
        coarse: Size of the groups [m].

    Raises:
        InputError: when no part of the surface lies in the ball.
    """
    corners = surface.vertices[surface.triangles]
    near = np.linalg.norm(corners - centre, axis=2).min(axis=1) < radius + fine
    points = _spread(corners[near], fine) if near.any() else np.empty((0, 3))
    points = points[np.linalg.norm(points - centre, axis=1) <= radius]
    if not len(points):
        nearest = float(np.linalg.norm(surface.vertices - centre, axis=1).min())
        raise InputError(
            f'no part of {surface.name!r} lies within {1e3 * radius:.1f} mm of the entry centre; the nearest vertex is '
            f'{1e3 * nearest:.1f} mm away'
        )
    return entry_region(points, fine=fine, coarse=coarse)


def _spread(corners: Array, fine: float) -> Array:
    """Points on triangles, about half of `fine` apart, shape (n, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    points = []
    for parts in np.unique(np.ceil(2.0 * longest / fine).astype(int)):
        chosen = np.ceil(2.0 * longest / fine).astype(int) == parts
        i, j = np.meshgrid(np.arange(parts + 1), np.arange(parts + 1))
        keep = i + j <= parts
        u, v = i[keep] / parts, j[keep] / parts
        w = 1.0 - u - v
        whole = np.einsum('k,ni->nki', w, a[chosen]) + np.einsum('k,ni->nki', u, b[chosen])
        points.append((whole + np.einsum('k,ni->nki', v, c[chosen])).reshape(-1, 3))
    return np.concatenate(points)
