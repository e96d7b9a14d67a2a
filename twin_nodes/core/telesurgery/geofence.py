"""The geofence of the local twin: a commanded point is brought back to the allowed side, always, in every mode."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.command import Vector

if TYPE_CHECKING:  # its kernels take seconds to load, and a node that was killed is to be back soon
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid

_ROUNDS = 8
_PUSH = 1e-6  # beyond the boundary, so that rounding does not leave it inside


class Fence(Protocol):
    """A region that must not be entered."""

    def clearance(self, point: Vector) -> tuple[float, Vector]:
        """Return the signed distance of a point [m], negative inside, and the unit direction that leads out."""
        ...


class HalfSpace:
    """Everything below a plane.

    Args:
        point: A point of the plane [m].
        normal: Unit normal to the allowed side.
    """

    def __init__(self, point: Vector, normal: Vector) -> None:
        length = sum(n * n for n in normal) ** 0.5
        if abs(length - 1.0) > 1e-6:
            raise ConfigError(f'normal={normal} has length {length:g}; it must be a unit vector')
        self._normal = normal
        self._offset = sum(n * p for n, p in zip(normal, point, strict=True))

    def clearance(self, point: Vector) -> tuple[float, Vector]:
        """Return the distance to the plane and its normal."""
        n = self._normal
        return n[0] * point[0] + n[1] * point[1] + n[2] * point[2] - self._offset, n


class GridFence:
    """A structure of the anatomy with a margin.

    Args:
        grid: Its distance grid.
        margin: Distance to keep [m].
    """

    def __init__(self, grid: 'DistanceGrid', margin: float) -> None:
        self._grid = grid
        self._margin = margin

    def clearance(self, point: Vector) -> tuple[float, Vector]:
        """Return the distance to the surface less the margin, and the direction away from it."""
        here = np.array([point])
        gap = float(self._grid.query(here).distances[0])
        away = (here[0] - self._grid.closest_points(here)[0]) * (1.0 if gap >= 0.0 else -1.0)
        length = float(np.linalg.norm(away))
        x, y, z = (away / length).tolist() if length > 1e-9 else (0.0, 0.0, 1.0)
        return gap - self._margin, (x, y, z)


class Geofence:
    """All fences together.

    Args:
        fences: The regions that must not be entered.
    """

    def __init__(self, fences: Sequence[Fence] = ()) -> None:
        self._fences = tuple(fences)
        self.touches = 0

    def set(self, fences: Sequence[Fence]) -> None:
        """Take other regions from now on, as the twin changes."""
        self._fences = tuple(fences)

    def keep_out(self, point: Vector, stay: Vector) -> Vector:
        """Return the point itself where it is allowed, else one on the boundary; `stay` where none is found."""
        inside = [fence for fence in self._fences if fence.clearance(point)[0] < 0.0]
        if not inside:
            return point
        self.touches += 1
        for _ in range(_ROUNDS):
            worst = 0.0
            for fence in self._fences:
                gap, way = fence.clearance(point)
                if gap < 0.0:
                    worst = min(worst, gap)
                    push = _PUSH - gap
                    point = (point[0] + push * way[0], point[1] + push * way[1], point[2] + push * way[2])
            if worst == 0.0:
                return point
        return stay
