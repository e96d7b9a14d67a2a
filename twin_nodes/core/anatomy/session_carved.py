"""A drill in tissue that deforms: it meets it where it is now, the voxels have it where it was in the scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array

_CANDIDATES = 48  # tetrahedra whose centres are nearest; one of them holds the point
_BESIDE = 0.005  # how far from the tissue a place still goes along with it [m]


class CarvedBody:
    """Brings poses of a drill back to the scan, and tells what it leaves of each tetrahedron.

    Args:
        mesh: Tetrahedra at rest.
    """

    def __init__(self, mesh: TetMesh) -> None:
        self.mesh = mesh
        self._rest = cKDTree(mesh.nodes[mesh.tets].mean(axis=1))
        self._gone = np.zeros(len(mesh.tets))

    def reset(self) -> None:
        """Nothing is carved."""
        self._gone[:] = 0.0

    @property
    def share(self) -> Array:
        """What is left of each tetrahedron, 0 … 1, shape (m,)."""
        return np.asarray(np.clip(1.0 - self._gone / self.mesh.volumes, 0.0, 1.0))

    def take(self, centres_scan: Array, voxel_volume: float) -> None:
        """Hear which voxels went: their centres in the scan [m], shape (n, 3), and the volume of one [m³]."""
        found, shares = self._hosts(self.mesh.nodes, self._rest, centres_scan)
        inside = shares.min(axis=1) > -1e-6
        np.add.at(self._gone, found[inside], voxel_volume)

    def at_rest(self, anatomy_T_tip: Array, positions: Array, sigma: Array) -> tuple[Array, float]:
        """Return the pose of a drill as it would be in the scan, and σ of the tissue about it along an axis [m].

        In the tissue it goes along with the tetrahedron around the tip, shift and turn; beside it less and less, and
        from `_BESIDE` on not at all.

        Args:
            anatomy_T_tip: Where the drill is, shape (4, 4).
            positions: Where the nodes are now [m], shape (n, 3).
            sigma: Root of the trace of the covariance of each node [m], shape (n,).
        """
        tip = anatomy_T_tip[:3, 3]
        centres = positions[self.mesh.tets].mean(axis=1)
        away = np.sum((centres - tip) ** 2, axis=1)
        near = np.argpartition(away, min(_CANDIDATES, len(away) - 1))[:_CANDIDATES]
        shares = _barycentric(positions[self.mesh.tets[near]], tip[None, None])[0]
        best = int(np.argmax(shares.min(axis=1)))
        tet, share = self.mesh.tets[near[best]], np.maximum(shares[best], 0.0)
        share = share / share.sum()
        off = tip - share @ positions[tet]
        along = max(0.0, 1.0 - float(np.linalg.norm(off)) / _BESIDE)
        if along == 0.0:
            return anatomy_T_tip, 0.0
        turn = _rotation(self.mesh.nodes[tet], positions[tet])
        found = anatomy_T_tip.copy()
        moved = share @ self.mesh.nodes[tet] + turn.T @ off
        found[:3, 3] = tip + along * (moved - tip)
        if along > 0.5:
            found[:3, :3] = turn.T @ anatomy_T_tip[:3, :3]
        return found, along * float(share @ sigma[tet]) / np.sqrt(3.0)

    def _hosts(self, nodes: Array, tree: cKDTree, points: Array) -> tuple[NDArray[np.int64], Array]:
        """Return the tetrahedron of each point (n,) and its barycentric coordinates (n, 4)."""
        count = min(_CANDIDATES, len(self.mesh.tets))
        near = np.asarray(tree.query(points, k=count)[1]).reshape(len(points), count)
        shares = _barycentric(nodes[self.mesh.tets[near]], points[:, None])
        best = np.argmax(shares.min(axis=2), axis=1)
        rows = np.arange(len(points))
        return np.asarray(near[rows, best], np.int64), np.asarray(shares[rows, best])


def _barycentric(corners: Array, points: Array) -> Array:
    """Return the barycentric coordinates (n, k, 4) of points (n, 1, 3) in tetrahedra (n, k, 4, 3), or (k, 4, 3)."""
    first = corners[..., 0, :]
    edges = np.swapaxes(corners[..., 1:, :] - first[..., None, :], -1, -2)
    rest = np.linalg.solve(edges, (points - first)[..., None])[..., 0]
    return np.concatenate([1.0 - rest.sum(axis=-1, keepdims=True), rest], axis=-1)


def _rotation(rest: Array, now: Array) -> Array:
    """Return how a tetrahedron (4, 3) has turned, shape (3, 3): the polar part of its deformation (Higham 1986)."""
    deformed = (now[1:] - now[0]).T @ np.linalg.inv((rest[1:] - rest[0]).T)
    left, _, right = np.linalg.svd(deformed)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return np.asarray(left @ right)
