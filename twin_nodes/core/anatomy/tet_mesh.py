"""Tetrahedra of soft tissue: cleaned once, checked once, then believed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy import tet_kernels
from twin_nodes.core.anatomy.refusal import check_extent, check_mesh, refusal
from twin_nodes.core.anatomy.surface import Surface, make_surface
from twin_nodes.core.anatomy.tet_neighbours import Neighbours, neighbours_of
from twin_nodes.core.geometry.se3 import Array

ZERO_VOLUME = 1e-9  # of the cube of the longest edge: flatter than any element that can be computed with


@dataclass(frozen=True)
class TetQuality:
    """How good the elements of a mesh are.

    Args:
        min_dihedral: Smallest dihedral angle [rad].
        max_dihedral: Largest dihedral angle [rad].
        min_volume: Smallest volume of an element [m³].
        parts: Number of parts that hang together by nodes.
    """

    min_dihedral: float
    max_dihedral: float
    min_volume: float
    parts: int


@dataclass(frozen=True, eq=False)
class TetMesh:
    """Tetrahedra in the anatomy frame; `make_tet_mesh` builds one from untrusted arrays.

    Args:
        nodes: Positions in the anatomy frame [m], float64, shape (n, 3); each is used.
        tets: Indices of nodes, int32, shape (m, 4); each element has a positive volume.
        labels: Label of each element, which says its material, int32, shape (m,).
    """

    nodes: Array
    tets: NDArray[np.int32]
    labels: NDArray[np.int32]

    @cached_property
    def volumes(self) -> Array:
        """Volume of each element [m³], shape (m,)."""
        return np.asarray(tet_kernels.signed_volumes(self.nodes, self.tets))

    @property
    def volume(self) -> float:
        """Volume of the whole mesh [m³]."""
        return float(self.volumes.sum())

    def volume_of(self, label: int) -> float:
        """Return the volume [m³] of the elements of one label."""
        return float(self.volumes[self.labels == label].sum())

    @cached_property
    def outer_faces(self) -> NDArray[np.int32]:
        """Outer triangles, outward, as indices of nodes, shape (k, 3)."""
        return np.ascontiguousarray(tet_kernels.outer_faces(self.tets), np.int32)

    @cached_property
    def outer_nodes(self) -> NDArray[np.int32]:
        """Indices of the nodes on the outside, ascending, shape (b,)."""
        return np.unique(self.outer_faces)

    @cached_property
    def neighbours(self) -> Neighbours:
        """Which elements lie beside one another."""
        return neighbours_of(self.tets)

    @cached_property
    def quality(self) -> TetQuality:
        """The angles, the smallest element and the number of parts."""
        angles = tet_kernels.dihedral_range(self.nodes, self.tets)
        parts = tet_kernels.parts_of(self.tets, len(self.nodes))
        least, most = float(angles[:, 0].min()), float(angles[:, 1].max())
        return TetQuality(least, most, float(self.volumes.min()), int(parts.max()) + 1)

    def surface(self, name: str) -> Surface:
        """Return the outside as a surface."""
        return make_surface(name, self.nodes, self.outer_faces)


def make_tet_mesh(
    name: str,
    nodes: ArrayLike,
    tets: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    allow_parts: bool = False,
) -> TetMesh:
    """Check and clean untrusted arrays: drop nodes that are not used, turn a mesh whose elements are all inverted.

    Args:
        name: Name for messages.
        nodes: Positions in the anatomy frame [m], shape (n, 3).
        tets: Indices of nodes, shape (m, 4).
        labels: Label of each element, shape (m,); 1 for all when not given.
        allow_parts: Whether the mesh may consist of parts that do not hang together.

    Raises:
        InputError: ANATOMY_REFUSED for wrong shapes, NaN or Inf, indices out of range, elements that are inverted, flat
            or name a node twice, parts that do not hang together, or a size that no anatomy has; with the counts.
    """
    points, corners = np.asarray(nodes, dtype=np.float64), np.asarray(tets)
    where = f'tetrahedra {name!r}'
    check_mesh(where, points, corners, words=('nodes', 'tetrahedra'), corners=4)
    count = len(corners)
    marks = np.ones(count, np.int32) if labels is None else _check_labels(where, np.asarray(labels), count)
    used, compact = np.unique(corners.astype(np.int64), return_inverse=True)
    points = np.ascontiguousarray(points[used])
    corners = np.ascontiguousarray(compact.reshape(corners.shape), dtype=np.int32)
    check_extent(where, points)
    corners = _oriented(where, points, corners)
    parts = tet_kernels.parts_of(corners, len(points))
    if not allow_parts and parts.max() > 0:
        sizes = ', '.join(str(size) for size in np.sort(np.bincount(parts))[::-1][:8])
        raise refusal(where, f'{int(parts.max()) + 1} parts do not hang together (elements: {sizes}): keep one')
    return TetMesh(points, corners, marks)


def largest_part(mesh: TetMesh) -> TetMesh:
    """Return the part with the largest volume of a mesh that need not hang together."""
    parts = tet_kernels.parts_of(mesh.tets, len(mesh.nodes))
    kept = parts == int(np.argmax(np.bincount(parts, weights=mesh.volumes)))
    used, compact = np.unique(mesh.tets[kept], return_inverse=True)
    tets = np.ascontiguousarray(compact.reshape(-1, 4), np.int32)
    return TetMesh(np.ascontiguousarray(mesh.nodes[used]), tets, mesh.labels[kept])


def _check_labels(where: str, labels: NDArray[Any], count: int) -> NDArray[np.int32]:
    if labels.shape != (count,):
        raise refusal(where, f'{labels.shape} labels for {count} tetrahedra')
    whole = np.issubdtype(labels.dtype, np.integer) or bool((labels == np.round(labels)).all())
    if not whole or labels.min() < 0 or labels.max() >= 2**31:
        raise refusal(where, f'labels {labels.min():g} … {labels.max():g} are no whole numbers of 0 or more')
    return np.ascontiguousarray(labels, dtype=np.int32)


def _oriented(where: str, nodes: Array, tets: NDArray[np.int32]) -> NDArray[np.int32]:
    """Turn a mesh that is inside out as a whole; refuse one with some bad elements."""
    volumes = tet_kernels.signed_volumes(nodes, tets)
    if (volumes < 0.0).all():
        tets = np.ascontiguousarray(tets[:, [0, 2, 1, 3]])
        volumes = -volumes
    corners = nodes[tets]
    longest = np.max(
        [np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a in range(4) for b in range(a)], axis=0
    )
    flat = int(np.sum(np.abs(volumes) <= ZERO_VOLUME * longest**3))
    inverted = int(np.sum(volumes < -ZERO_VOLUME * longest**3))
    if flat or inverted:
        worst = int(np.argmin(volumes))
        raise refusal(
            where,
            f'{inverted} of {len(tets)} tetrahedra are inverted and {flat} have no volume (worst: number {worst} with '
            f'{volumes[worst]:.3g} m³): mesh it anew',
        )
    return tets
