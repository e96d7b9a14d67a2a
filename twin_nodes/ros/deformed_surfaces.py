"""`anatomy/surface` of a body that deforms: the surfaces ride on the tetrahedra and are sent at a bounded rate.

Making half a million points for a message takes 0.1 s in Python. So the points are made once, each vertex once however
many triangles share it, and only their coordinates are set; and the surfaces are decimated to what a message may hold.
"""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.decimation import decimate
from twin_nodes.core.anatomy.session_body import embed
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.clouds import surface_marker

DEFORMED = 'deformed'  # text of a marker whose surface has left the place that it had in the scan
_FIRST_TOLERANCE = 1e-4


@dataclass(eq=False)
class _Riding:
    """A surface that rides on the tetrahedra: its marker, its points, and where they are on the body.

    What of it lies outside of the tetrahedra, which cut corners, keeps its distance `off` [m] (p, 3) to them.
    """

    marker: Marker
    vertices: list[Point]
    points: MaterialPoints
    off: Array
    sent: Array

    def at(self, positions: Array) -> Array:
        """Return where the vertices are [m], shape (p, 3), for nodes at positions (n, 3)."""
        return np.asarray(self.points.at(positions) + self.off)


class DeformedSurfaces:
    """The surfaces of a body.

    Args:
        mesh: Its tetrahedra at rest.
        surfaces: The structures; those that are no part of the body stay as they are.
        markers: Their markers, in the same order.
        most: Triangles of all deforming surfaces together.
    """

    def __init__(self, mesh: TetMesh, surfaces: list[Surface], markers: list[Marker], most: int) -> None:
        tied = [embed(mesh, surface.vertices) for surface in surfaces]
        riding = [index for index, points in enumerate(tied) if points is not None]
        total = sum(len(surfaces[index].triangles) for index in riding)
        self.tolerance = 0.0
        self.names = [surfaces[index].name for index in riding]
        self._markers, self._riding = list(markers), []
        for index in riding:
            surface, points = surfaces[index], tied[index]
            if total > most and surface.is_watertight:
                surface, tolerance = _coarser(surface, max(20, most * len(surface.triangles) // total))
                points, self.tolerance = embed(mesh, surface.vertices), max(self.tolerance, tolerance)
            assert points is not None
            self._markers[index] = self._ride(markers[index], surface, points, mesh.nodes)

    def _ride(self, marker: Marker, surface: Surface, points: MaterialPoints, rest: Array) -> Marker:
        colour = (marker.color.r, marker.color.g, marker.color.b, marker.color.a)
        nothing = np.empty((0, 3), np.int64)
        other = surface_marker(0, marker.header.frame_id, marker.ns, marker.id, np.empty((0, 3)), nothing, colour)
        vertices = [Point(x=x, y=y, z=z) for x, y, z in surface.vertices.tolist()]
        other.points = [vertices[vertex] for vertex in surface.triangles.ravel().tolist()]
        self._riding.append(_Riding(other, vertices, points, surface.vertices - points.at(rest), surface.vertices))
        return other

    @property
    def markers(self) -> list[Marker]:
        """All structures as last moved; a new list, the same markers."""
        return list(self._markers)

    def moved(self, positions: Array) -> float:
        """Return the largest motion of a vertex since the surfaces were last moved [m]."""
        return max(
            (float(np.linalg.norm(one.at(positions) - one.sent, axis=1).max()) for one in self._riding),
            default=0.0,
        )

    def move(self, positions: Array, *, deformed: bool = True) -> None:
        """Bring the markers to where the nodes are [m], shape (n, 3)."""
        for one in self._riding:
            one.sent = one.at(positions)
            one.marker.text = DEFORMED if deformed else ''
            for vertex, (x, y, z) in zip(one.vertices, one.sent.tolist(), strict=True):
                vertex.x, vertex.y, vertex.z = x, y, z


def _coarser(surface: Surface, most: int) -> tuple[Surface, float]:
    """Decimate a surface to so many triangles, with the least tolerance [m] that does it; return both."""
    tolerance, limit = _FIRST_TOLERANCE, surface.diagonal / 30.0
    while True:
        coarse, _ = decimate(surface, tolerance)
        if len(coarse.triangles) <= most or tolerance >= limit:
            return coarse, tolerance
        tolerance *= 1.6
