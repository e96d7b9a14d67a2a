"""Tissue in the jaws of a tool: a patch of the surface goes where the tip goes, shift and turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.session_config import GraspConfig
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points

_LEAST_NODES = 4  # also where the mesh is coarser than the jaws: one node alone would be pulled out like a thread


@dataclass(frozen=True, eq=False)
class Grasp:
    """A patch that is held.

    Args:
        nodes: Its nodes, shape (h,).
        places_tip: Where they are in the frame of the tip [m], shape (h, 3).
        began: Where they were when it began, in the anatomy [m], shape (h, 3).
    """

    nodes: NDArray[np.int64]
    places_tip: Array
    began: Array

    def places(self, anatomy_T_tip: Array) -> Array:
        """Return where the nodes are now in the anatomy [m], shape (h, 3)."""
        return np.asarray(transform_points(anatomy_T_tip, self.places_tip))


def take(
    positions: Array, outer: NDArray[np.int32], anatomy_T_tip: Array, taken: NDArray[np.int64], config: GraspConfig
) -> Grasp:
    """Take hold of the surface nearest to the tip.

    Args:
        positions: Where all nodes are now [m], shape (n, 3).
        outer: Nodes of the surface, shape (b,).
        anatomy_T_tip: The tip, shape (4, 4).
        taken: Nodes that other tools hold.
        config: Settings.

    Raises:
        InputError: GRASP_MISSED where the surface is out of reach, or held already.
    """
    free = np.setdiff1d(outer, taken).astype(np.int64)
    away = np.linalg.norm(positions[free] - anatomy_T_tip[:3, 3], axis=1)
    first = int(np.argmin(away)) if len(away) else -1
    if first < 0 or away[first] > config.reach:
        distance = f'{1e3 * away[first]:.1f} mm' if first >= 0 else 'held by others'
        raise InputError(
            f'the tissue nearest to the tip is {distance} away, reach {1e3 * config.reach:.1f} mm: nothing is held',
            code='GRASP_MISSED',
        )
    from_first = np.linalg.norm(positions[free] - positions[free[first]], axis=1)
    order = np.argsort(from_first, kind='stable')
    count = min(max(int(np.sum(from_first <= config.radius)), _LEAST_NODES), config.max_nodes)
    nodes = np.sort(free[order[:count]])
    began = positions[nodes].copy()
    return Grasp(nodes, transform_points(inverse(anatomy_T_tip), began), began)


def check_pull(grasp: Grasp, rest: Array, places: Array, config: GraspConfig) -> None:
    """Refuse a grasp whose tissue must have slipped out.

    Raises:
        InputError: GRASP_LOST.
    """
    pulled = float(np.linalg.norm(places.mean(axis=0) - rest[grasp.nodes].mean(axis=0)))
    if pulled > config.max_pull:
        raise InputError(
            f'the patch would be {1e3 * pulled:.0f} mm from where it lay, max_pull is {1e3 * config.max_pull:.0f} mm',
            code='GRASP_LOST',
        )
