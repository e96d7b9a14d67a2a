"""What a rigid registration says of a deforming organ: it was made on what is seen, and holds there.

A registration fits the organ at rest to the part that is seen. So it is this part that has moved little as a whole
since, by shift and turn, and not the organ's centre of mass, which goes wherever the rest bends to. Along a smooth
surface the points do not tell how it slid; that part is known from here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.geometry.se3 import Array

_THIN = 1e-3  # a part whose turns are known so much worse than its shifts is a point or a line


def outer_area(compliance: Compliance) -> Array:
    """Return the area of each node of the outside at rest [m²], shape (b,)."""
    corners = compliance.model.rest[compliance.outer][compliance.faces]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = np.repeat(areas / 3.0, 3)
    return np.asarray(np.bincount(compliance.faces.ravel(), weights=share, minlength=len(compliance.outer)))


def motion_of_part(compliance: Compliance, area: Array, seen: NDArray[np.bool_]) -> Array:
    """Return how a part of the outside moves as a whole by pose and modes: its least-squares rigid motion.

    Args:
        compliance: The organ.
        area: Of each node of the outside [m²], shape (b,).
        seen: Which of these are of the part, shape (b,).

    Returns:
        Shift of the part's middle [m] and turn times the organ's radius [m], by shift and scaled turn of the organ
        and amounts of the modes, shape (6, 6 + r); of no rows where the part is too small for that.
    """
    nodes = compliance.outer[seen]
    none = np.zeros((0, 6 + compliance.count))
    weights = area[seen]
    if len(nodes) < 3 or not weights.sum() > 0.0:
        return none
    weights = weights / weights.sum()
    rest = compliance.model.rest[nodes]
    middle = weights @ rest
    moved = motions((rest - middle) / compliance.radius)
    weighted = (moved * weights[:, None, None]).reshape(-1, 6)
    gram = weighted.T @ moved.reshape(-1, 6)
    if np.linalg.eigvalsh(gram)[0] < _THIN:
        return none
    bent = np.linalg.solve(gram, weighted.T @ compliance.modes[nodes].reshape(-1, compliance.count))
    carried = np.eye(6)
    carried[:3, 3:] = motions((middle - compliance.centre)[None] / compliance.radius)[0, :, 3:]
    return np.concatenate([carried, bent], axis=1)


def motions(arms: Array) -> Array:
    """Return by how much places at arms (p, 3) move by shifts and turns, shape (p, 3, 6)."""
    rows = np.zeros((len(arms), 3, 6))
    rows[:, :, :3] = np.eye(3)
    x, y, z = arms.T
    rows[:, 1, 3], rows[:, 2, 3] = -z, y
    rows[:, 0, 4], rows[:, 2, 4] = z, -x
    rows[:, 0, 5], rows[:, 1, 5] = -y, x
    return rows
