"""Models in 3-D: primitives that hang on tf frames, such as the links of a robot or the pegs of a board."""

from __future__ import annotations

import numpy as np
import viser

from twin_nodes.app.view import geometry, style
from twin_nodes.app.view.picture import ModelPicture
from twin_nodes.app.view.records import ModelShape
from twin_nodes.app.view.scene_nodes import Node, add_mesh


class ModelScene:
    """One node for each primitive; grey where its frame is old, hidden where it is not known."""

    def __init__(self, scene: viser.SceneApi) -> None:
        self._scene = scene
        self._nodes: dict[str, tuple[Node, ModelShape]] = {}

    def show(self, models: tuple[ModelPicture, ...]) -> None:
        """Bring all primitives up to date; those that are gone are removed."""
        for key in self._nodes.keys() - {model.shape.key for model in models}:
            self._nodes.pop(key)[0].handle.remove()
        for model in models:
            node = self._node(model.shape)
            node.place(model.fixed_T_shape)
            node.set(color=_colour(model.shape) if model.live else style.TOOL_LOST)

    def _node(self, shape: ModelShape) -> Node:
        known = self._nodes.get(shape.key)
        if known is not None and known[1] is shape:
            return known[0]
        if known is not None:
            known[0].handle.remove()
        node = Node(add_mesh(self._scene, f'/models/{shape.key}', model_mesh(shape), _colour(shape)))
        self._nodes[shape.key] = (node, shape)
        return node


def model_mesh(shape: ModelShape) -> geometry.Mesh:
    """Make the mesh of a primitive around the origin."""
    if shape.kind == 'sphere':
        return geometry.sphere(np.zeros(3), shape.size[0])
    if shape.kind == 'box':
        return geometry.box(np.array(shape.size), np.zeros(3))
    radius, length = shape.size
    half = np.array([0.0, 0.0, 0.5 * length])
    return geometry.frustum(-half, half, radius, radius)


def _colour(shape: ModelShape) -> style.Colour:
    red, green, blue = (round(255.0 * min(max(part, 0.0), 1.0)) for part in shape.colour)
    return red, green, blue
