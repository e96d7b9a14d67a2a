"""Scenes for the planning of routes: vessels about a target, under a domed skin."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.shapes import tube

TARGET = np.array([0.0, 0.0, -0.03])


@dataclass(frozen=True, eq=False)
class RouteScene:
    """Vessels to keep away from, points on the skin [m], shape (n, 3), and the target [m], shape (3,)."""

    vessels: tuple[DistanceGrid, ...]
    skin: Array
    target: Array


def route_scene(rng: np.random.Generator, *, vessels: int = 5, spacing: float = 0.002) -> RouteScene:
    """Draw a scene whose target lies free: no vessel comes nearer to it than 6 mm.

    Args:
        rng: Source of chance.
        vessels: Number of vessels.
        spacing: Of the distance grids [m].
    """
    grids: list[DistanceGrid] = []
    while len(grids) < vessels:
        surface = make_surface(f'vessel {len(grids)}', *tube(_path(rng), rng.uniform(0.002, 0.005)))
        if np.linalg.norm(surface.vertices - TARGET, axis=1).min() > 0.006:
            grids.append(DistanceGrid.from_surface(surface, spacing, 0.02))
    return RouteScene(tuple(grids), skin_points(0.03, 0.0005), TARGET)


def skin_points(radius: float, spacing: float) -> Array:
    """Points of a domed skin 7 cm above the origin, within a radius [m], shape (n, 3)."""
    line = np.arange(-radius, radius + spacing, spacing)
    x, y = (part.ravel() for part in np.meshgrid(line, line))
    inside = x**2 + y**2 <= radius**2
    return np.column_stack([x[inside], y[inside], 0.07 - 5.0 * (x[inside] ** 2 + y[inside] ** 2)])


def _path(rng: np.random.Generator) -> Array:
    along, aside = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
    way = np.linspace(-0.05, 0.05, 24)[:, None]
    path: Array = rng.uniform(-0.04, 0.04, 3) * [1.0, 1.0, 0.6] + way * along + (20.0 * way) ** 2 * 0.01 * aside
    return path
