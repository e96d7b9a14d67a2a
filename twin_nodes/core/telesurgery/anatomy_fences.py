"""The structures of the local twin as one fence that follows the anatomy: told where it is, and what it is made of."""

from typing import TYPE_CHECKING

from twin_nodes.core.geometry.se3 import Array, inverse
from twin_nodes.core.telesurgery.command import Vector
from twin_nodes.core.telesurgery.geofence import GridFence

if TYPE_CHECKING:
    from twin_nodes.core.anatomy.distance_grid import DistanceGrid

Rows = tuple[Vector, Vector, Vector]
_NOWHERE: tuple[float, Vector] = (float('inf'), (0.0, 0.0, 1.0))


class AnatomyFences:
    """All structures together, as a `Fence`: the clearance is that of the nearest one.

    Args:
        margin: Distance to keep from each surface [m].
    """

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._fences: dict[str, GridFence] = {}
        self._rows: Rows | None = None
        self._shift: Vector = (0.0, 0.0, 0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """The structures that are known."""
        return tuple(self._fences)

    @property
    def is_placed(self) -> bool:
        """Whether it is known where the anatomy is."""
        return self._rows is not None

    def set_grid(self, name: str, grid: 'DistanceGrid') -> None:
        """Take a structure, or its new shape."""
        self._fences[name] = GridFence(grid, self._margin)

    def keep_only(self, names: set[str]) -> None:
        """Forget the structures that are no more."""
        self._fences = {name: fence for name, fence in self._fences.items() if name in names}

    def place(self, base_T_anatomy: Array) -> None:
        """Say where the anatomy is, shape (4, 4)."""
        back = inverse(base_T_anatomy)
        a, b, c = back[:3, :3].tolist()
        self._rows = ((a[0], a[1], a[2]), (b[0], b[1], b[2]), (c[0], c[1], c[2]))
        x, y, z = back[:3, 3].tolist()
        self._shift = (x, y, z)

    def clearance(self, point: Vector) -> tuple[float, Vector]:
        """Return the signed distance of a point of the base frame [m], less the margin, and the way out.

        Infinite while there is no structure, or nobody has said where the anatomy is.
        """
        rows = self._rows
        if rows is None or not self._fences:
            return _NOWHERE
        x, y, z = (
            row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + shift
            for row, shift in zip(rows, self._shift, strict=True)
        )
        gap, way = min((fence.clearance((x, y, z)) for fence in self._fences.values()), key=lambda found: found[0])
        a, b, c = rows
        return gap, (
            a[0] * way[0] + b[0] * way[1] + c[0] * way[2],
            a[1] * way[0] + b[1] * way[1] + c[1] * way[2],
            a[2] * way[0] + b[2] * way[1] + c[2] * way[2],
        )
