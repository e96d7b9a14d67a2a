"""The vertices of the structures that ride on a body that deforms, for `anatomy/surface/moved`."""

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.session_body import embed
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.moved_surface import MAX_ROWS, moved_clouds, numbering


@dataclass(frozen=True, eq=False)
class _Riding:
    """A structure's number, where its vertices are on the body in the order of the messages, and off it [m] (n, 3)."""

    structure: int
    points: MaterialPoints
    off: Array


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
        self._sent = mesh.nodes

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
            [(one.structure, one.points.at(positions) + one.off, one.points.at(axis)) for one in self._riding],
        )  # fmt: skip
