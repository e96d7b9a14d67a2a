"""The vertices of the structures that ride on a body that deforms, for `anatomy/surface/moved`."""

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.session_body import embed
from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.moved_surface import MAX_ROWS, moved_clouds, numbering


@dataclass(frozen=True, eq=False)
class _Riding:
    """A structure's number, where its vertices are on the body in the order of the messages, and off it [m] (n, 3).

    `beyond` is how far each lay beyond what was cut off when it was [m], shape (n,); None: nothing was.
    """

    structure: int
    points: MaterialPoints
    off: Array
    beyond: Array | None = None

    def at(self, positions: Array) -> Array:
        """Return where the vertices are [m], shape (n, 3)."""
        return np.asarray(self.points.at(positions) + self.off)


class MovedVertices:
    """Says where the vertices are, in full resolution.

    Args:
        mesh: Tetrahedra of the body at rest.
        surfaces: The structures; those that are no part of the body are left out.
        markers: Their markers, in the same order.
    """

    def __init__(self, mesh: TetMesh, surfaces: list[Surface], markers: list[Marker]) -> None:
        self._riding: list[_Riding] = []
        for surface, marker in zip(surfaces, markers, strict=True):
            vertices = surface.vertices[numbering(surface)]
            points = embed(mesh, vertices)
            if points is not None:
                self._riding.append(_Riding(marker.id, points, vertices - points.at(mesh.nodes)))
        self._mesh, self._first = mesh, list(self._riding)
        self._sent = mesh.nodes

    def cut(self, left: Remaining, normal: Array, offset: float, positions: Array) -> None:
        """Take what a plane took away.

        What lies beyond any of the planes, each where the tissue was at its cut, is gone. Vertices in tissue that is
        gone go along with the nearest node that is left: the cut face begins on the edges to them.

        Args:
            left: What is left.
            normal: n in the anatomy, of any length but 0, shape (3,).
            offset: d of n · x + d > 0, beyond which it went.
            positions: Where the nodes were [m], shape (n, 3).
        """
        from scipy.spatial import cKDTree

        length = float(np.linalg.norm(normal))
        living = np.unique(self._mesh.tets[left.alive])
        tree, riding = cKDTree(positions[living]), []
        for first, one in zip(self._first, self._riding, strict=True):
            places = one.at(positions)
            height = places @ (np.asarray(normal) / length) + offset / length
            gone = np.flatnonzero(~left.holds(first.points))
            node = living[tree.query(places[gone])[1]]
            nodes, weights, off = one.points.nodes.copy(), one.points.weights.copy(), one.off.copy()
            nodes[gone], weights[gone] = node[:, None], np.eye(4)[0]
            off[gone] = places[gone] - positions[node]
            beyond = height if one.beyond is None else np.maximum(height, one.beyond)
            riding.append(_Riding(one.structure, MaterialPoints(nodes, weights), off, beyond))
        self._riding, self._sent = riding, np.full_like(self._sent, np.inf)

    def restore(self) -> None:
        """Nothing was cut off."""
        self._riding = list(self._first)

    @property
    def messages(self) -> int:
        """Messages of one instant, at least 1."""
        rows = sum(len(one.off) for one in self._riding)
        return max(1, -(-rows // MAX_ROWS))

    def moved(self, positions: Array) -> float:
        """Return the largest motion of a node since the vertices were last sent [m]; 0 where no structure rides."""
        if not self._riding:
            return 0.0
        return float(np.linalg.norm(positions - self._sent, axis=1).max())

    def clouds(self, stamp_ns: int, frame: str, positions: Array, sigma: Array) -> list[PointCloud2]:
        """Make the messages of one instant.

        Args:
            stamp_ns: Of the newest measurement behind it; 0 at rest.
            frame: Of the anatomy.
            positions: Nodes [m], shape (n, 3).
            sigma: Root of the trace of the covariance of each [m], shape (n,).
        """
        self._sent = positions
        axis = np.sqrt(1.0 / 3.0) * sigma
        return moved_clouds(
            stamp_ns, frame,
            [(one.structure, one.at(positions), one.points.at(axis)) for one in self._riding],
            {one.structure: one.beyond for one in self._riding if one.beyond is not None},
        )  # fmt: skip
