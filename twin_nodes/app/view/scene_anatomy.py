"""The anatomy in 3-D: structures coloured by zone, with labels that say the same by sign and word."""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.clip import ClipPlane, cut
from twin_nodes.app.view.panel import distance_text
from twin_nodes.app.view.picture import DistancePicture, Picture
from twin_nodes.app.view.records import Surface
from twin_nodes.app.view.scene_nodes import Node, add_label, add_line, add_mesh
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.zones import Zone

SEE_THROUGH = 0.32
MAX_LABELS = 8
RIM_THICKNESS = 0.0005
_NO_FACES = np.zeros((1, 3), np.uint32)  # viser draws no mesh without a face


class AnatomyScene:
    """The structures as meshes coloured by zone, each with a label that says the same in words.

    Args:
        scene: The viser scene.
        root: Where in it.
    """

    def __init__(self, scene: viser.SceneApi, root: str = '/anatomy') -> None:
        self._scene, self._root = scene, root
        self._frame = Node(scene.add_frame(root, show_axes=False, visible=False))
        self._meshes: dict[int, Node] = {}
        self._rims: dict[int, Node] = {}
        self._labels: dict[int, Node] = {}
        self._surfaces: dict[int, Surface] = {}
        self._hidden: set[int] = set()
        self._version = 0
        self._clip: ClipPlane | None = None

    def show(self, picture: Picture) -> bool:
        """Bring the structures up to date; returns whether they are new ones."""
        renewed = self.shape(picture.surfaces, picture.surfaces_version)
        self._frame.place(picture.fixed_T_anatomy)
        for row in picture.distances:
            if row.index in self._meshes:
                self._show_row(row)
        named = {target.name for target in picture.overlays.targets}  # have a label of their own
        for index, label in self._labels.items():
            label.set(visible=index not in self._hidden and self._surfaces[index].name not in named)
        return renewed

    def shape(self, surfaces: tuple[Surface, ...], version: int) -> bool:
        """Give the structures their shapes; returns whether they are new ones."""
        if version == self._version:
            return False
        self._version = version
        if {s.index: s.name for s in surfaces} == {index: s.name for index, s in self._surfaces.items()}:
            self._reshape(surfaces)
            return False
        self._replace(surfaces)
        return True

    def place(self, fixed_T_anatomy: Array | None) -> None:
        """Put the whole anatomy somewhere, or hide it."""
        self._frame.place(fixed_T_anatomy)

    def style(self, index: int, *, visible: bool, opacity: float) -> None:
        """Set visibility and opacity of a structure."""
        if index not in self._meshes:
            return
        (self._hidden.discard if visible else self._hidden.add)(index)
        self._meshes[index].set(visible=visible, opacity=None if opacity >= 0.995 else opacity)
        self._show_rim(index)

    def clip(self, plane: ClipPlane | None) -> None:
        """Cut all structures along a plane, or none."""
        if plane == self._clip:
            return
        self._clip = plane
        for surface in self._surfaces.values():
            self._send(surface, faces_too=True)

    def _show_row(self, row: DistancePicture) -> None:
        look = style.ZONES[row.zone]
        self._meshes[row.index].set(color=style.structure_colour(row.zone, self._surfaces[row.index].colour))
        if row.index in self._labels:
            number = f'  {distance_text(row)}' if row.row is not None else ''
            word = look.word if row.zone in (Zone.NEAR, Zone.INSIDE) else ''
            self._labels[row.index].set(text=' '.join(f'{look.sign} {row.name} {word}'.split()) + number)

    def _reshape(self, surfaces: tuple[Surface, ...]) -> None:
        """Give known structures their new shape and keep what the viewer chose."""
        for surface in surfaces:
            known = self._surfaces[surface.index]
            if known is not surface:
                self._surfaces[surface.index] = surface
                self._send(surface, faces_too=known.faces is not surface.faces)

    def _send(self, surface: Surface, *, faces_too: bool) -> None:
        """Send a structure's shape; while only its vertices move, only those."""
        handle = self._meshes[surface.index].handle
        if self._clip is None:
            vertices, faces, rim = surface.vertices_anatomy, surface.faces, np.empty((0, 2, 3))
        else:
            vertices, faces, rim = cut(surface.vertices_anatomy, surface.faces, self._clip)
            faces_too = True
        handle.vertices = vertices.astype(np.float32)
        if faces_too:
            handle.faces = faces.astype(np.uint32) if len(faces) else _NO_FACES
        if len(rim):
            self._rims[surface.index].handle.points = rim.astype(np.float32)
            self._rims[surface.index].handle.colors = np.full(rim.shape, style.RIM, np.uint8)
        self._show_rim(surface.index, empty=not len(rim))

    def _show_rim(self, index: int, *, empty: bool = False) -> None:
        self._rims[index].set(visible=self._clip is not None and not empty and index not in self._hidden)

    def _replace(self, surfaces: tuple[Surface, ...]) -> None:
        for node in (*self._meshes.values(), *self._rims.values(), *self._labels.values()):
            node.handle.remove()
        self._meshes, self._rims, self._labels, self._hidden = {}, {}, {}, set()
        self._surfaces = {surface.index: surface for surface in surfaces}
        for surface in surfaces:
            mesh = geometry.Mesh(surface.vertices_anatomy, surface.faces)
            colour = style.structure_colour(Zone.WITHDRAWN, surface.colour)
            opacity = default_opacity(surface, surfaces)
            name = f'{self._root}/{surface.index}'
            self._meshes[surface.index] = Node(
                add_mesh(self._scene, name, mesh, colour, opacity=None if opacity >= 0.995 else opacity)
            )
            self._rims[surface.index] = Node(add_line(self._scene, f'{name}_rim', style.RIM, RIM_THICKNESS))
            if self._clip is not None:
                self._send(surface, faces_too=True)
        for surface, point in zip(surfaces, label_points(surfaces[:MAX_LABELS]), strict=False):
            name = f'{self._root}/{surface.index}_label'
            self._labels[surface.index] = Node(add_label(self._scene, name, surface.name, point))


def default_opacity(surface: Surface, surfaces: tuple[Surface, ...]) -> float:
    """Return the opacity to start with: see-through where a structure encloses another, else as the anatomy says."""
    if surface.opacity < 0.995:
        return max(surface.opacity, 0.05)
    low, high = surface.vertices_anatomy.min(axis=0), surface.vertices_anatomy.max(axis=0)
    for other in surfaces:
        centre = other.vertices_anatomy.mean(axis=0)
        size = np.ptp(other.vertices_anatomy, axis=0)
        if other is not surface and (centre > low).all() and (centre < high).all() and size.max() < (high - low).max():
            return SEE_THROUGH
    return 1.0


def label_points(surfaces: tuple[Surface, ...]) -> list[Array]:
    """Return where each structure's name hangs: a corner of its mesh, as far from the other names as can be.

    The first, mostly the one around the others, hangs at its back, where no tool comes in from the front.
    """
    points: list[Array] = []
    for surface in surfaces:
        vertices = surface.vertices_anatomy
        others = points or [vertices.mean(axis=0) - np.array([0.0, 10.0, 10.0]) * np.ptp(vertices, axis=0).max()]
        room = np.min([np.linalg.norm(vertices - other, axis=1) for other in others], axis=0)
        points.append(vertices[int(np.argmax(room))])
    return points
