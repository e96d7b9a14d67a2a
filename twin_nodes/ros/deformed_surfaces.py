"""`anatomy/surface` of a body that deforms: the surfaces ride on the tetrahedra and are sent at a bounded rate.

They stay arrays all the way to the wire (`marker_bytes`): 20 000 triangles cost some milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.decimation import decimate
from twin_nodes.core.anatomy.session_body import embed
from twin_nodes.core.anatomy.session_remaining import Remaining
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.anatomy.targets import MaterialPoints, at_nodes
from twin_nodes.core.anatomy.tet_mesh import TetMesh
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.ros.clouds import without_points

DEFORMED = 'deformed'  # text of a marker whose surface has left the place that it had in the scan
_FIRST_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Patch:
    """Triangles that ride on the tetrahedra.

    What of them lies outside of the tetrahedra, which cut corners, keeps its distance to them.

    Args:
        points: Where the vertices are on the body, (p,) of them.
        off: Their distance to it [m], shape (p, 3).
        triangles: Shape (t, 3).
    """

    points: MaterialPoints
    off: Array
    triangles: NDArray[np.integer]

    def at(self, positions: Array) -> Array:
        """Return where the vertices are [m], shape (p, 3), for nodes at positions (n, 3)."""
        return np.asarray(self.points.at(positions) + self.off)

    def without(self, gone: NDArray[np.bool_]) -> 'Patch':
        """Return the triangles of which no vertex (p,) is gone."""
        return Patch(self.points, self.off, self.triangles[~gone[self.triangles].any(axis=1)])


@dataclass(eq=False)
class _Riding:
    """A structure that rides: its marker without points, its patches as they began and now, and what was sent."""

    marker: Marker
    whole: Patch
    patches: list[Patch]
    sent: list[Array]

    def moved(self, positions: Array) -> float:
        if len(self.sent) != len(self.patches):
            return np.inf
        return max(
            (
                float(np.linalg.norm(patch.at(positions) - sent, axis=1).max(initial=0.0))
                for patch, sent in zip(self.patches, self.sent, strict=True)
            ),
            default=0.0,
        )

    def corners(self) -> Array:
        found = [sent[patch.triangles.ravel()] for patch, sent in zip(self.patches, self.sent, strict=True)]
        return np.concatenate([np.empty((0, 3)), *found])


class DeformedSurfaces:
    """The surfaces of a body.

    Args:
        mesh: Its tetrahedra at rest.
        surfaces: The structures; those that are no part of the body stay as they are.
        markers: Their markers, in the same order.
        most: Triangles of all deforming surfaces together.
    """

    def __init__(self, mesh: TetMesh, surfaces: list[Surface], markers: list[Marker], most: int) -> None:
        self._mesh, self._surfaces = mesh, surfaces
        self._tied = [embed(mesh, surface.vertices) for surface in surfaces]
        riding = [index for index, points in enumerate(self._tied) if points is not None]
        total = sum(len(surfaces[index].triangles) for index in riding)
        self.tolerance = 0.0
        self.names = [surfaces[index].name for index in riding]
        self._bare = [without_points(marker) for marker in markers]
        self._still = [surface.vertices[surface.triangles.ravel()] for surface in surfaces]
        self._riding: dict[int, _Riding] = {}
        self._carved: set[int] = set()
        self._still_changed = False
        for index in riding:
            surface, points = surfaces[index], self._tied[index]
            if total > most and surface.is_watertight:
                surface, tolerance = _coarser(surface, max(20, most * len(surface.triangles) // total))
                points, self.tolerance = embed(mesh, surface.vertices), max(self.tolerance, tolerance)
            assert points is not None
            patch = Patch(points, surface.vertices - points.at(mesh.nodes), surface.triangles)
            self._riding[index] = _Riding(self._bare[index], patch, [patch], [surface.vertices])

    @property
    def shown(self) -> list[tuple[Marker, Array]]:
        """All structures as last moved: markers without points, and the corners of their triangles [m], (3 t, 3)."""
        return [
            (bare, self._riding[index].corners() if index in self._riding else self._still[index])
            for index, bare in enumerate(self._bare)
        ]

    def moved(self, positions: Array) -> float:
        """Return the largest motion of a vertex since the surfaces were last moved [m]; infinite for a new patch."""
        if self._still_changed:
            return np.inf
        return max((one.moved(positions) for one in self._riding.values()), default=0.0)

    def move(self, positions: Array, *, deformed: bool = True) -> None:
        """Bring the surfaces to where the nodes are [m], shape (n, 3)."""
        self._still_changed = False
        for one in self._riding.values():
            one.sent = [patch.at(positions) for patch in one.patches]
            one.marker.text = DEFORMED if deformed else ''

    def leave(self, left: Remaining) -> None:
        """Show what is left of the body: triangles of what is gone go, and where it was cut come those of the tissue.

        The new triangles belong to the structure that lost most.
        """
        lost: dict[int, int] = {}
        for index, one in self._riding.items():
            if index in self._carved:  # the drill's surface shows what is gone
                continue
            kept = one.whole.without(~left.holds(one.whole.points))
            lost[index] = len(one.whole.triangles) - len(kept.triangles)
            one.patches, one.sent = [kept], []
        if not left.is_whole and lost and max(lost.values()) > 0:
            cut = _cut_faces(self._mesh, left)
            one = self._riding[max(lost, key=lambda index: lost[index])]
            one.patches.append(cut)

    def carve(self, index: int, kept: NDArray[np.integer], bricks: list[Patch]) -> None:
        """Show a structure as a drill has left it.

        Args:
            index: Number of the structure; it rides on the body.
            kept: Triangles of the structure that the drill has not met, as numbers (k,).
            bricks: What is left where it was.
        """
        points, surface = self._tied[index], self._surfaces[index]
        assert points is not None
        base = Patch(points, surface.vertices - points.at(self._mesh.nodes), surface.triangles[kept])
        self._riding[index].patches, self._riding[index].sent = [base, *bricks], []
        self._carved.add(index)

    def restore(self) -> None:
        """Show all as it began."""
        self._carved.clear()
        for one in self._riding.values():
            one.patches, one.sent = [one.whole], []

    def rides(self, index: int) -> bool:
        """Whether a structure is part of the body."""
        return index in self._riding

    def patch(self, vertices: Array, triangles: NDArray[np.integer]) -> Patch:
        """Tie further triangles, at rest, to the body."""
        points = embed(self._mesh, vertices, anywhere=True)
        assert points is not None
        return Patch(points, vertices - points.at(self._mesh.nodes), triangles)

    def show_still(self, index: int, corners: Array, *, text: str) -> None:
        """Show other corners (3 t, 3) [m] of a structure that is no part of the body."""
        self._still[index], self._bare[index].text = corners, text
        self._still_changed = True


def _cut_faces(mesh: TetMesh, left: Remaining) -> Patch:
    """Return the triangles of what is left that were inside before."""

    def keys(faces: NDArray[np.integer]) -> NDArray[np.int64]:
        a, b, c = np.sort(faces.astype(np.int64), axis=1).T
        return np.asarray((a << 42) | (b << 21) | c)

    faces = left.faces[~np.isin(keys(left.faces), keys(mesh.outer_faces))]
    nodes, triangles = np.unique(faces, return_inverse=True)
    return Patch(at_nodes(nodes), np.zeros((len(nodes), 3)), triangles.reshape(-1, 3))


def _coarser(surface: Surface, most: int) -> tuple[Surface, float]:
    """Decimate a surface to so many triangles, with the least tolerance [m] that does it; return both."""
    tolerance, limit = _FIRST_TOLERANCE, surface.diagonal / 30.0
    while True:
        coarse, _ = decimate(surface, tolerance)
        if len(coarse.triangles) <= most or tolerance >= limit:
            return coarse, tolerance
        tolerance *= 1.6
