"""What tools that hold tissue feel: the force of each patch, by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.reduced_patch import patch_forces
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class Pull:
    """What tissue does to the tool that holds it: force [N] (3,) and torque about its tip [Nm] (3,), in the anatomy."""

    force: Array
    torque: Array


def pulls(model: ElasticModel, loads: Loads, x: Array, grasps: Sequence[tuple[str, int, Array]]) -> dict[str, Pull]:
    """Return what each tool feels.

    Args:
        model: The body, at rest in the shape from which tools move it.
        loads: What acts; the held nodes are those of the grasps, one after the other.
        x: Where the nodes are [m], shape (n, 3).
        grasps: Tool, number of its nodes, and where its tip is [m] (3,).
    """
    if not grasps:
        return {}
    forces, start, found = -patch_forces(model, loads, x), 0, {}
    for name, count, tip in grasps:
        mine, places = forces[start : start + count], x[loads.held[start : start + count]]
        found[name] = Pull(mine.sum(axis=0), np.cross(places - tip, mine).sum(axis=0))
        start += count
    return found
