"""Fewer triangles under a limit of the error, which is then measured."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import decimation_kernels
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array

_SHARES = (0.25, 0.4, 0.55, 0.7, 0.85, *(1.0,) * 20)
_THIN = 0.3  # of three times volume over area (the radius of a ball): the limit for a small piece
_ENOUGH = 0.005  # of the triangles: a round that takes fewer is the last


@dataclass(frozen=True)
class DecimationReport:
    """What decimation did.

    Args:
        triangles_before: Triangles before.
        triangles_after: Triangles after.
        hausdorff: Largest distance [m] of the vertices and centres of each surface to the other.
        rms: Root mean square of the same distances [m].
        volume_change: Volume after over volume before, less 1.
    """

    triangles_before: int
    triangles_after: int
    hausdorff: float
    rms: float
    volume_change: float


def decimate(surface: Surface, tolerance: float) -> tuple[Surface, DecimationReport]:
    """Collapse edges while the distance to the planes of the triangles that went stays within a tolerance.

    A piece thinner than the tolerance has a limit of its own, so that it keeps its shape. Each piece gets its volume
    back by a move along its normals.

    Args:
        surface: A watertight surface.
        tolerance: Largest error [m]; 0 leaves the surface as it is.

    Raises:
        ConfigError: a tolerance below 0 or not finite.
        InputError: ANATOMY_REFUSED when the surface is not closed.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0.0):
        raise ConfigError(f'tolerance={tolerance} m must be 0 or more')
    if not surface.is_watertight:
        raise InputError(
            f'surface {surface.name!r} is not closed ({surface.report.open_edges} open edges): repair it first',
            code='ANATOMY_REFUSED',
        )
    if tolerance == 0.0:
        count = len(surface.triangles)
        return surface, DecimationReport(count, count, 0.0, 0.0, 0.0)
    part = _parts(surface.triangles, len(surface.vertices))
    volumes, areas = _sizes(surface.vertices, surface.triangles, part)
    limits = np.minimum(tolerance, _THIN * 3.0 * np.abs(volumes) / areas)[part]
    points, triangles = _collapsed(surface, limits)
    points = _with_volumes(points, triangles, part, volumes)
    less = make_surface(surface.name, points, triangles)
    if not less.is_watertight:  # a fold that fell together: the surface as it was is the better answer
        less = surface
    hausdorff, rms = measure(surface, less)
    report = DecimationReport(
        len(surface.triangles), len(less.triangles), hausdorff, rms, less.volume / surface.volume - 1.0
    )
    return less, report


def measure(first: Surface, second: Surface) -> tuple[float, float]:
    """Return the largest and the root mean square distance [m] of each surface's vertices and centres to the other."""
    both = np.concatenate([_gaps(first, second), _gaps(second, first)])
    return float(both.max()), math.sqrt(float(np.mean(both**2)))


def _gaps(first: Surface, second: Surface) -> Array:
    """Distances [m] of the vertices and centres of the first surface to the second."""
    points = np.vstack([first.vertices, first.vertices[first.triangles].mean(axis=1)])
    corners = np.ascontiguousarray(second.vertices[second.triangles])
    left = np.arange(len(points))
    distances = np.full(len(points), np.inf)
    reach = 0.5 * math.sqrt(first.area / len(first.triangles))
    while len(left):
        distances[left] = decimation_kernels.gaps(points[left], corners, reach)
        left = left[np.isinf(distances[left])]
        reach *= 4.0
    return distances


def _collapsed(surface: Surface, limits: Array) -> tuple[Array, NDArray[np.int32]]:
    origin = surface.bounds.mean(axis=0)  # quadrics lose digits far from the origin
    points = surface.vertices - origin
    triangles = surface.triangles.copy()
    quadrics = decimation_kernels.plane_quadrics(points, triangles)
    for share in _SHARES:
        done, triangles = decimation_kernels.collapse(points, quadrics, triangles, limits, share)
        if share == 1.0 and done < _ENOUGH * len(triangles):
            break
    return points + origin, triangles


def _parts(triangles: NDArray[np.int32], vertices: int) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(vertices, vertices))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _sizes(points: Array, triangles: NDArray[np.int32], part: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the volume [m³] and area [m²] of each part."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    origin = points.mean(axis=0)
    owner, count = part[triangles[:, 0]], int(part.max()) + 1
    volumes = np.bincount(owner, np.sum((a - origin) * normal, axis=1) / 6.0, count)
    areas = np.bincount(owner, 0.5 * np.linalg.norm(normal, axis=1), count)
    return np.asarray(volumes, float), np.asarray(areas, float)


def _with_volumes(points: Array, triangles: NDArray[np.int32], part: NDArray[np.int64], wanted: Array) -> Array:
    """Move each part along its normals until it has its volume."""
    for _ in range(3):
        volumes, areas = _sizes(points, triangles, part)
        a, b, c = (points[triangles[:, corner]] for corner in range(3))
        normals = np.zeros_like(points)
        for corner in range(3):
            np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        steps = np.divide(wanted - volumes, areas, out=np.zeros_like(areas), where=areas > 0.0)
        points = points + steps[part][:, None] * normals / np.where(length > 0.0, length, 1.0)
    return points
