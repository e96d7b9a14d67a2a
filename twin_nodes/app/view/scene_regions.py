"""Where the tip may not go, in 3-D: planes, cones, depth stops, and structures with the margin of their fixtures.

A browser does not show one see-through body within another. So shapes have an outline that is not see-through, and of a
hull only the far wall is drawn: what it surrounds stands before it.
"""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.picture import RegionsPicture
from twin_nodes.app.view.records import Region, Regions, Surface
from twin_nodes.app.view.scene_nodes import Node, add_label, add_line, add_mesh
from twin_nodes.core.geometry.se3 import Array

SHAPE_OPACITY = 0.3
OUTLINE = 0.0006
HULL_PERIOD_NS = 500_000_000  # of a structure that deforms: its hull costs as much as the structure itself


class RegionScene:
    """The forbidden regions; a hull is made anew at most twice a second.

    Args:
        scene: The viser scene.
        root: Path in it.
    """

    def __init__(self, scene: viser.SceneApi, root: str = '') -> None:
        self._scene, self._root = scene, root
        self._shown: Regions | None = None
        self._shapes: list[tuple[Region, Node]] = []
        self._hulls: dict[int, Node] = {}
        self._of: dict[int, tuple[Surface, float]] = {}
        self._made_ns = 0

    def show(
        self,
        found: RegionsPicture | None,
        surfaces: tuple[Surface, ...],
        fixed_T_anatomy: Array | None,
        now_ns: int,
        *,
        visible: bool,
    ) -> None:
        """Bring them up to date.

        Args:
            found: What is forbidden.
            surfaces: The structures.
            fixed_T_anatomy: Where these are, shape (4, 4); None where that is not known.
            now_ns: Of a clock that never jumps.
            visible: Whether they are to be seen.
        """
        regions = found.regions if found is not None else None
        if regions is not self._shown:
            self._renew(regions)
        for shape, node in self._shapes:
            node.place(found.frames.get(shape.frame) if found is not None and visible else None)
        if visible and fixed_T_anatomy is not None:
            self._make_hulls(surfaces, now_ns)
        for hull in self._hulls.values():
            hull.place(fixed_T_anatomy if visible else None)

    def _renew(self, regions: Regions | None) -> None:
        for _, node in self._shapes:
            node.handle.remove()  # and with it its label
        self._shown, self._made_ns = regions, 0
        self._shapes = [
            (shape, self._draw(f'{self._root}/regions/{number}', shape))
            for number, shape in enumerate(regions.shapes if regions is not None else ())
        ]

    def _draw(self, path: str, shape: Region) -> Node:
        mesh = geometry.Mesh(shape.corners, np.arange(len(shape.corners)).reshape(-1, 3))
        node = Node(add_mesh(self._scene, path, mesh, style.FORBIDDEN, opacity=SHAPE_OPACITY))
        line = add_line(self._scene, f'{path}/outline', style.FORBIDDEN, OUTLINE)
        line.points = geometry.outline(shape.corners).astype(np.float32)
        line.colors = np.full(line.points.shape, style.FORBIDDEN, np.uint8)
        line.visible = True
        add_label(self._scene, f'{path}/label', shape.name, shape.corners[0], below=True)
        return node

    def _make_hulls(self, surfaces: tuple[Surface, ...], now_ns: int) -> None:
        """Make those whose structure or margin is another than it was."""
        margins = self._shown.margins if self._shown is not None else {}
        wanted = {one.index: (one, margins[one.index]) for one in surfaces if margins.get(one.index, 0.0) > 0.0}
        for index in self._hulls.keys() - wanted.keys():
            self._hulls.pop(index).handle.remove()
            del self._of[index]
        changed = [index for index, of in wanted.items() if not _same(self._of.get(index), of)]
        if not changed or 0 <= now_ns - self._made_ns < HULL_PERIOD_NS:
            return
        self._made_ns = now_ns
        for index in changed:
            self._make_hull(index, *wanted[index])

    def _make_hull(self, index: int, surface: Surface, margin: float) -> None:
        hull = geometry.inflated(geometry.Mesh(surface.vertices_anatomy, surface.faces), margin)
        known = self._of.get(index)
        self._of[index] = surface, margin
        if known is not None and known[0].faces is surface.faces:
            self._hulls[index].handle.vertices = hull.vertices.astype(np.float32)
            return
        if known is not None:
            self._hulls.pop(index).handle.remove()
        name = f'{self._root}/hulls/{index}'
        self._hulls[index] = Node(add_mesh(self._scene, name, hull, style.HULL, side='back'))


def _same(known: tuple[Surface, float] | None, wanted: tuple[Surface, float]) -> bool:
    return known is not None and known[0] is wanted[0] and known[1] == wanted[1]
