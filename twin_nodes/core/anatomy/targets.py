"""Points that move with the tissue: hidden targets, tracked implants, places that a tool touches or holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin_nodes.core.anatomy.target_kernels import locate
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MAX_OUTSIDE = 1.0


@dataclass(frozen=True, eq=False)
class MaterialPoints:
    """Points of the tissue as weighted means of the nodes of a tetrahedron.

    Args:
        nodes: The four nodes of each point, shape (p, 4).
        weights: Their barycentric coordinates, which sum to 1, shape (p, 4).
    """

    nodes: NDArray[np.int64]
    weights: Array

    def __len__(self) -> int:
        return len(self.nodes)

    def at(self, values: Array) -> Array:
        """Return the values (p, …) of a field that is given at the nodes (n, …)."""
        return np.asarray(np.einsum('pa,pa...->p...', self.weights, values[self.nodes]))


def attach(mesh: TetMesh, points_anatomy: ArrayLike, *, name: str = 'targets') -> MaterialPoints:
    """Tie points at rest to the tetrahedra around them.

    A point just outside, as a target on the surface is for a mesh that cuts corners, is tied to the tetrahedron next to
    it.

    Args:
        mesh: Tetrahedra at rest.
        points_anatomy: Points [m], shape (p, 3).
        name: For messages.

    Raises:
        InputError: for another shape, NaN, or a point farther outside than a tetrahedron reaches.
    """
    points = np.ascontiguousarray(points_anatomy, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'{name}: expected points of shape (p, 3), got {points.shape}', code='ANATOMY_REFUSED')
    if not np.isfinite(points).all():
        raise InputError(f'{name}: NaN or Inf in a point', code='NOT_FINITE')
    corners = mesh.nodes[mesh.tets]
    inverse = np.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1))
    found, shares = np.zeros(len(points), np.int64), np.zeros((len(points), 4))
    locate(points, mesh.nodes, mesh.tets, np.ascontiguousarray(inverse), found, shares)
    astray = np.flatnonzero(shares.min(axis=1) < -MAX_OUTSIDE)
    if len(astray):
        x, y, z = 1e3 * points[astray[0]]
        raise InputError(
            f'{name}: {len(astray)} of {len(points)} points lie outside the mesh, the first, number {astray[0]}, at '
            f'({x:.1f}, {y:.1f}, {z:.1f}) mm: another frame or another unit?',
            code='ANATOMY_REFUSED',
        )
    return MaterialPoints(mesh.tets[found].astype(np.int64), shares)


def at_nodes(nodes: ArrayLike) -> MaterialPoints:
    """Return nodes (p,) as points of the tissue."""
    index = np.asarray(nodes, np.int64)
    weights = np.zeros((len(index), 4))
    weights[:, 0] = 1.0
    return MaterialPoints(np.repeat(index[:, None], 4, axis=1), weights)
