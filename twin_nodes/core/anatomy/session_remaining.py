"""What is left of a body when tissue is taken away: beyond a plane, or by a drill."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.anatomy.tet_kernels import outer_faces
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_LEAST = 0.15  # a tetrahedron of which less is left is gone


class Remaining:
    """The share of each tetrahedron that is left.

    Args:
        mesh: The tetrahedra.
        share: 0 … 1, shape (m,); all when not given.
    """

    def __init__(self, mesh: TetMesh, share: Array | None = None) -> None:
        self.mesh = mesh
        left = np.ones(len(mesh.tets)) if share is None else np.clip(np.asarray(share, float), 0.0, 1.0)
        self.share = np.where(left < _LEAST, 0.0, left)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is gone."""
        return bool((self.share == 1.0).all())

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which tetrahedra are there, shape (m,)."""
        return np.asarray(self.share > 0.0)

    @cached_property
    def faces(self) -> NDArray[np.int32]:
        """The outer triangles of what is left, outward, shape (k, 3)."""
        return np.ascontiguousarray(outer_faces(self.mesh.tets[self.alive]), np.int32)

    @property
    def volume(self) -> float:
        """Volume at rest of what is gone [m³]."""
        return float(self.mesh.volumes @ (1.0 - self.share))

    def beyond(self, normal: Array, offset: float, positions: Array) -> Remaining:
        """Return what is left when the tissue goes that is now beyond a plane, n · x + d > 0.

        A tetrahedron goes when its centre is beyond.

        Args:
            normal: n in the anatomy, of any length but 0, shape (3,).
            offset: d, in the length of the normal times metres.
            positions: Where the nodes are now [m], shape (n, 3).

        Raises:
            InputError: RESECTION_REFUSED for a plane that is none, beyond which nothing or everything is.
        """
        length = float(np.linalg.norm(normal))
        if not (np.isfinite(normal).all() and np.isfinite(offset) and length > 1e-9):
            raise InputError(
                f'the plane {np.asarray(normal).tolist()}, {offset:g} has no direction: give a x + b y + c z + d = 0 '
                'with (a, b, c) towards what is taken away',
                code='RESECTION_REFUSED',
            )
        centres = positions[self.mesh.tets].mean(axis=1)
        gone = (centres @ (np.asarray(normal) / length) + offset / length > 0.0) & self.alive
        if not gone.any() or gone[self.alive].all():
            which = 'all' if gone.any() else 'none'
            raise InputError(
                f'{which} of the {int(self.alive.sum())} tetrahedra that are left lie beyond the plane: is it in the '
                'frame of the anatomy, in metres, and does its normal point to what is taken away?',
                code='RESECTION_REFUSED',
            )
        return Remaining(self.mesh, np.where(gone, 0.0, self.share))

    def holds(self, points: MaterialPoints) -> NDArray[np.bool_]:
        """Return which points of the tissue are left, shape (p,)."""
        return np.asarray(self.alive[self.tets_of(points)])

    def tets_of(self, points: MaterialPoints) -> NDArray[np.int64]:
        """Return the tetrahedron of each point, shape (p,)."""
        order, keys = self._index
        found = np.searchsorted(keys, _keys(points.nodes), sorter=order)
        return np.asarray(order[np.minimum(found, len(order) - 1)])

    @cached_property
    def _index(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        keys = _keys(self.mesh.tets)
        return np.argsort(keys, kind='stable'), keys


def _keys(tets: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return a number for each row of four nodes, shape (m,); different rows hardly ever share one (64 bits)."""
    rows = tets.astype(np.uint64)
    found = rows[:, 0]
    for column in range(1, 4):
        found = (found * np.uint64(0x9E3779B97F4A7C15)) ^ (rows[:, column] + (found >> np.uint64(29)))
    return np.asarray(found, np.uint64)
