"""Signs of a distance grid that hold where a surface crosses itself or folds.

The pseudo-normal of the nearest triangle tells inside from outside only where the surface does not cross itself
(Bærentzen and Aanæs 2005). A net that was relaxed over a noisy mask does so here and there, and one wrong node gave all
nodes behind it the wrong sign. Distances themselves are right: two neighbours whose distances add up to more than the
step between them have no surface between them, so they are on one side. What hangs together so has one sign, and the
winding number of the surface about the deepest node tells which (Jacobson, Kavan, Sorkine-Hornung 2013).
"""

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy import distance_sign_kernels
from twin_nodes.core.geometry.se3 import Array

_ROUNDING = 1e-4  # of half a step; values are float32


def settle_signs(values: NDArray[np.float32], origin: Array, spacing: float, corners: Array) -> bool:
    """Mend the signs of a grid in place; return whether there was something to mend.

    Args:
        values: Signed distances [m] at the nodes, their sizes right, shape (nx, ny, nz).
        origin: Position of node (0, 0, 0) [m].
        spacing: Distance between nodes [m].
        corners: Triangles [m] of a closed surface, shape (m, 3, 3).
    """
    clear = 0.5 * spacing * (1.0 + _ROUNDING)
    if not distance_sign_kernels.disagree(values, clear):
        return False
    from scipy.ndimage import label

    part, count = label(np.abs(values) > clear)
    places = origin + spacing * distance_sign_kernels.deepest(values, part, count)
    distance_sign_kernels.settle(values, part, are_inside(places, corners), clear, spacing)
    return True


def are_inside(points: Array, corners: Array) -> NDArray[np.bool_]:
    """Whether points [m] (n, 3) lie inside a closed surface, whether it crosses itself or not; slow."""
    return np.asarray(distance_sign_kernels.winding(np.ascontiguousarray(points, float), corners) > 0.5)
