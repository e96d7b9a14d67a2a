"""What is left of a body when tissue is taken away: beyond a plane, or by a drill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_LEAST = 0.15  # a tetrahedron of which less is left is gone


@dataclass(frozen=True)
class Loose:
    """Parts of what is left that hang on the rest by no face and are not held in place.

    Args:
        parts: Their number.
        volume: Their volume at rest [m³].
    """

    parts: int = 0
    volume: float = 0.0


class Remaining:
    """The share of each tetrahedron that is left.

    What hangs on the rest by an edge or a corner alone is a hinge of which nothing can be said. Such a piece goes too
    when it is small and nothing holds it in place (`crumbs`); a greater one stays, and is told (`loose`).

    Args:
        mesh: The tetrahedra.
        share: 0 … 1, shape (m,); all when not given.
        held: Nodes that are held in place.
        crumb: Share of the volume of the mesh below which a loose piece goes.

    Attributes:
        share: What is left, 0 … 1, shape (m,); 0 below `_LEAST`.
        crumbs: What went as it was loose.
        loose: What is loose and stays.
    """

    def __init__(
        self, mesh: TetMesh, share: Array | None = None, *, held: NDArray[np.int64] | None = None, crumb: float = 0.0
    ) -> None:
        self.mesh, self._held, self._crumb = mesh, held, crumb
        left = np.ones(len(mesh.tets)) if share is None else np.clip(np.asarray(share, float), 0.0, 1.0)
        self.share = np.where(left < _LEAST, 0.0, left)
        self.crumbs = self.loose = Loose()
        if (self.share == 0.0).any() and self.share.any():
            self._let_go()

    def _let_go(self) -> None:
        mesh, alive = self.mesh, self.share > 0.0
        part = mesh.neighbours.parts(alive)
        volumes = np.bincount(part[alive], weights=mesh.volumes[alive])
        if len(volumes) == 1:
            return
        held = np.zeros(len(volumes), bool)
        if self._held is not None and len(self._held):
            in_place = np.zeros(len(mesh.nodes), bool)
            in_place[self._held] = True
            held[part[alive & in_place[mesh.tets].any(axis=1)]] = True
        if not held.any():
            held[np.argmax(volumes)] = True  # the body itself is held by what is about it alone
        small = ~held & (volumes < self._crumb * mesh.volume)
        self.crumbs = Loose(int(small.sum()), float(volumes[small].sum()))
        self.loose = Loose(int((~held & ~small).sum()), float(volumes[~held & ~small].sum()))
        self.share = np.where(alive & small[part], 0.0, self.share)

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
        near = self.mesh.neighbours
        faces = np.concatenate([near.old_outside(self.alive), near.new_outside(self.alive)[0]])
        return np.ascontiguousarray(faces, np.int32)

    def wetted(self, faces: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the triangles that a fluid reaches which lay on some outer faces, outward, shape (w, 3).

        It acts on what is left of those, and fills the place of what is gone wherever that bordered on it: the new
        faces there are its border too. A hollow that nothing but tissue ever closed in stays dry.

        Args:
            faces: Outer faces of the whole mesh on which it lay, shape (p, 3).
        """
        near = self.mesh.neighbours
        wet = np.isin(_keys(np.sort(near.outer, axis=1)), _keys(np.sort(faces, axis=1)))
        cut, behind = near.new_outside(self.alive)
        gone = near.parts(~self.alive)
        reached = np.zeros(int(gone.max(initial=-1)) + 1, bool)
        beside = near.behind[wet & ~self.alive[near.behind]]
        reached[gone[beside]] = True
        return np.concatenate([near.outer[wet & self.alive[near.behind]], cut[reached[gone[behind]]]])

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
        return Remaining(self.mesh, np.where(gone, 0.0, self.share), held=self._held, crumb=self._crumb)

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
    """Return a number for each row of nodes, shape (m,); different rows hardly ever share one (64 bits)."""
    rows = tets.astype(np.uint64)
    found = rows[:, 0]
    for column in range(1, rows.shape[1]):
        found = (found * np.uint64(0x9E3779B97F4A7C15)) ^ (rows[:, column] + (found >> np.uint64(29)))
    return np.asarray(found, np.uint64)
