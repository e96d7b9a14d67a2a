"""Scene nodes that send only what changed, and the few kinds of them that the room is built from."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.core.geometry.se3 import Array, quat_from_rotation

LABEL_SCALE = 0.85
_LINE = np.zeros((1, 2, 3), np.float32)


class Node:
    """A scene node that sends a property only when it changed.

    Args:
        handle: The viser handle.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._sent: dict[str, Any] = {}
        self._pose: Array | None = None

    def set(self, **properties: Any) -> None:
        """Assign properties of the handle that differ from those sent last."""
        for name, value in properties.items():
            if self._sent.get(name) != value:
                setattr(self.handle, name, value)
                self._sent[name] = value

    def place(self, fixed_T_node: Array | None) -> None:
        """Put the node at a pose (4, 4), or hide it where there is none."""
        self.set(visible=fixed_T_node is not None)
        if fixed_T_node is None or (self._pose is not None and np.array_equal(self._pose, fixed_T_node)):
            return
        quat = quat_from_rotation(fixed_T_node[:3, :3])
        self.handle.wxyz = (quat[3], quat[0], quat[1], quat[2])
        self.handle.position = fixed_T_node[:3, 3]
        self._pose = fixed_T_node


def add_mesh(
    scene: viser.SceneApi,
    name: str,
    mesh: geometry.Mesh,
    colour: style.Colour,
    *,
    opacity: float | None = None,
    side: Literal['double', 'back'] = 'double',
) -> Any:
    """Add a mesh seen from both sides, or only from within."""
    return scene.add_mesh_simple(
        name, mesh.vertices, mesh.faces, color=colour, opacity=opacity, side=side, cast_shadow=False,
        receive_shadow=False,
    )  # fmt: skip


def add_line(scene: viser.SceneApi, name: str, colour: style.Colour, thickness: float) -> Any:
    """Add a line, hidden until it has points; thickness in metres."""
    return scene.add_line_segments(name, _LINE, colour, thickness=thickness, visible=False)


def add_label(scene: viser.SceneApi, name: str, text: str, position: Array, *, below: bool = False) -> Any:
    """Add a label above a position, or below it."""
    anchor: Any = 'top-center' if below else 'bottom-center'
    return scene.add_label(name, text, position=position, anchor=anchor, font_screen_scale=LABEL_SCALE)
