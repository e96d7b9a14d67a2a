"""A box cut into tetrahedra, the plainest body that laws and solvers can be checked on."""

import itertools

import numpy as np

from twin_nodes.core.anatomy.tet_mesh import TetMesh, make_tet_mesh
from twin_nodes.core.geometry.se3 import Array


def tet_box(cells: tuple[int, int, int], size: tuple[float, float, float], *, jitter: float = 0.0) -> TetMesh:
    """Cut a box with a corner at the origin into six tetrahedra for each cell (Kuhn 1960).

    Args:
        cells: Number of cells along x, y and z.
        size: Lengths [m].
        jitter: By how much inner nodes are moved at random (seeded), as a share of a cell.
    """
    axes = [np.arange(count + 1) for count in cells]
    grid = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)
    inner = np.all((grid > 0) & (grid < np.array(cells)), axis=1)
    shift = np.random.default_rng(0).uniform(-jitter, jitter, grid.shape) * inner[:, None]
    nodes: Array = (grid + shift) * (np.array(size) / np.array(cells))
    first = np.stack(np.meshgrid(*[np.arange(count) for count in cells], indexing='ij'), axis=-1).reshape(-1, 3)
    parts = []
    for order in itertools.permutations(range(3)):
        corners = [first]
        for axis in order:
            corners.append(corners[-1] + np.eye(3, dtype=int)[axis])
        if np.linalg.det(np.eye(3)[list(order)]) < 0.0:
            corners[2], corners[3] = corners[3], corners[2]
        strides = np.array([(cells[1] + 1) * (cells[2] + 1), cells[2] + 1, 1])
        parts.append(np.stack([corner @ strides for corner in corners], axis=1))
    return make_tet_mesh('box', nodes, np.concatenate(parts))
