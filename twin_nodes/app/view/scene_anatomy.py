"""The anatomy in 3-D: structures coloured by zone, with labels that say the same by sign and word."""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.panel import distance_text
from twin_nodes.app.view.records import DistancePicture, Picture, Surface, Zone
from twin_nodes.app.view.scene_nodes import Node, add_label, add_mesh
from twin_nodes.core.geometry.se3 import Array

SEE_THROUGH = 0.32
MAX_LABELS = 8


class AnatomyScene:
    """The structures as meshes coloured by zone, each with a label that says the same in words."""

    def __init__(self, scene: viser.SceneApi) -> None:
        self._scene = scene
        self._frame = Node(scene.add_frame('/anatomy', show_axes=False, visible=False))
        self._meshes: dict[int, Node] = {}
        self._labels: dict[int, Node] = {}
        self._surfaces: dict[int, Surface] = {}
        self._version = 0

    def show(self, picture: Picture) -> bool:
        """Bring the structures up to date; returns whether they are new ones."""
        renewed = False
        if picture.surfaces_version != self._version:
            renewed = not self._reshape(picture.surfaces)
            if renewed:
                self._replace(picture.surfaces)
            self._version = picture.surfaces_version
        self._frame.place(picture.fixed_T_anatomy)
        for row in picture.distances:
            if row.index in self._meshes:
                self._show_row(row)
        return renewed

    def style(self, index: int, *, visible: bool, opacity: float) -> None:
        """Set visibility and opacity of a structure."""
        if index in self._meshes:
            self._meshes[index].set(visible=visible, opacity=None if opacity >= 0.995 else opacity)
            if index in self._labels:
                self._labels[index].set(visible=visible)

    def _show_row(self, row: DistancePicture) -> None:
        look = style.ZONES[row.zone]
        self._meshes[row.index].set(color=style.structure_colour(row.zone, self._surfaces[row.index].colour))
        if row.index in self._labels:
            number = f'  {distance_text(row)}' if row.row is not None else ''
            word = look.word if row.zone in (Zone.NEAR, Zone.INSIDE) else ''
            self._labels[row.index].set(text=' '.join(f'{look.sign} {row.name} {word}'.split()) + number)

    def _reshape(self, surfaces: tuple[Surface, ...]) -> bool:
        """Give known structures their new shape and keep what the viewer chose; False when they are other ones."""
        if {s.index: s.name for s in surfaces} != {index: s.name for index, s in self._surfaces.items()}:
            return False
        for surface in surfaces:
            known, handle = self._surfaces[surface.index], self._meshes[surface.index].handle
            if not np.array_equal(known.vertices_anatomy, surface.vertices_anatomy):
                handle.vertices = surface.vertices_anatomy.astype(np.float32)
            if not np.array_equal(known.faces, surface.faces):
                handle.faces = surface.faces.astype(np.uint32)
            self._surfaces[surface.index] = surface
        return True

    def _replace(self, surfaces: tuple[Surface, ...]) -> None:
        for node in (*self._meshes.values(), *self._labels.values()):
            node.handle.remove()
        self._meshes, self._labels = {}, {}
        self._surfaces = {surface.index: surface for surface in surfaces}
        for surface in surfaces:
            mesh = geometry.Mesh(surface.vertices_anatomy, surface.faces)
            colour = style.structure_colour(Zone.WITHDRAWN, surface.colour)
            opacity = default_opacity(surface, surfaces)
            name = f'/anatomy/{surface.index}'
            self._meshes[surface.index] = Node(
                add_mesh(self._scene, name, mesh, colour, opacity=None if opacity >= 0.995 else opacity)
            )
        for surface, point in zip(surfaces, label_points(surfaces[:MAX_LABELS]), strict=False):
            name = f'/anatomy/{surface.index}_label'
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
    """Return where each structure's name hangs: a corner of its mesh, as far from the other names as can be."""
    points: list[Array] = []
    for surface in surfaces:
        vertices = surface.vertices_anatomy
        others = points or [surface.vertices_anatomy.mean(axis=0) + np.array([0.0, 0.0, -1.0])]
        room = np.min([np.linalg.norm(vertices - other, axis=1) for other in others], axis=0)
        points.append(vertices[int(np.argmax(room))])
    return points
