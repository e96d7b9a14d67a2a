"""Cells of mesh files under the numbers of VTK: what is a face, what a solid, and what is made of them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.refusal import refusal
from twin_nodes.core.anatomy.solid_cells import CORNERS, outer_triangles, split_solids
from twin_nodes.core.geometry.se3 import Array

_TETRA, _WEDGE, _HEXAHEDRON, _PYRAMID = 'tetra', 'wedge', 'hexahedron', 'pyramid'
SOLIDS = {10: _TETRA, 12: _HEXAHEDRON, 13: _WEDGE, 14: _PYRAMID, 24: _TETRA, 25: _HEXAHEDRON, 26: _WEDGE,
          27: _PYRAMID, 29: _HEXAHEDRON, 32: _WEDGE, 33: _HEXAHEDRON, 37: _PYRAMID, 11: _HEXAHEDRON}  # fmt: skip
_VOXEL, _PIXEL, _STRIP, _POLYGON = 11, 8, 6, 7
_FACES = {5: 3, 9: 4, _PIXEL: 4, 22: 3, 23: 4, 28: 4, 34: 3, _STRIP: 0, _POLYGON: 0}  # corners; 0 for all
_BARE = {0, 1, 2, 3, 4, 21, 35}  # points and lines
_NAMES = {0: 'empty cell', 1: 'vertex', 2: 'polyvertex', 3: 'line', 4: 'polyline', 5: 'triangle', 6: 'strip',
          7: 'polygon', 8: 'pixel', 9: 'quad', 10: 'tetra', 11: 'voxel', 12: 'hexahedron', 13: 'wedge', 14: 'pyramid',
          21: 'line', 22: 'triangle', 23: 'quad', 28: 'quad',
          34: 'triangle', 35: 'line', 15: 'pentagonal prism', 16: 'hexagonal prism', 42: 'polyhedron'}  # fmt: skip
OF_MESHIO = {'vertex': 1, 'line': 3, 'line3': 21, 'triangle': 5, 'triangle6': 22, 'triangle7': 34, 'quad': 9,
             'quad8': 23, 'quad9': 28, 'tetra': 10, 'tetra10': 24, 'hexahedron': 12, 'hexahedron20': 25,
             'hexahedron24': 33, 'hexahedron27': 29, 'wedge': 13, 'wedge15': 26, 'wedge18': 32, 'pyramid': 14,
             'pyramid13': 27, 'pyramid14': 37, 'polygon': 7}  # fmt: skip
OF_GMSH = {1: 3, 2: 5, 3: 9, 4: 10, 5: 12, 6: 13, 7: 14, 8: 21, 9: 22, 10: 28, 11: 24, 12: 29, 13: 32, 14: 37, 15: 1,
           16: 23, 17: 25, 18: 26, 19: 27}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells as a file holds them.

    Args:
        points: In the unit of the file, shape (n, 3).
        kinds: Type of each cell, the number that VTK gives it, shape (m,).
        offsets: Where the corners of each cell begin, and the end, shape (m + 1,).
        corners: Indices of points, one cell after the other.
        labels: Of each cell, shape (m,), or None.
    """

    points: Array
    kinds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    corners: NDArray[np.int64]
    labels: NDArray[Any] | None = None


def check_grid(grid: Grid) -> None:
    """Refuse offsets and corners that do not fit.

    Raises:
        InputError: ANATOMY_REFUSED with the counts.
    """
    offsets, corners = grid.offsets, grid.corners
    if len(offsets) != len(grid.kinds) + 1 or (grid.labels is not None and len(grid.labels) != len(grid.kinds)):
        raise refusal(f'{len(grid.kinds)} cell types for {len(offsets) - 1} cells')
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(corners) or (np.diff(offsets) < 0).any():
        raise refusal(f'offsets do not fit the {len(corners)} corners')
    astray = (corners < 0) | (corners >= len(grid.points))
    if astray.any():
        count = len(np.unique(np.searchsorted(offsets, np.flatnonzero(astray), side='right')))
        raise refusal(f'{count} of {len(grid.kinds)} cells use a node outside 0 … {len(grid.points) - 1}')


def tets_of(grid: Grid) -> tuple[Array, NDArray[np.int64], NDArray[Any] | None]:
    """Return nodes, tetrahedra and labels; other solids are cut into tetrahedra, quadratic ones keep their corners.

    Raises:
        InputError: ANATOMY_REFUSED when there are no solids, with what is there instead, or solids that cannot be cut.
    """
    check_grid(grid)
    unknown = ~np.isin(grid.kinds, [*SOLIDS, *_FACES, *_BARE])
    solid = np.isin(grid.kinds, list(SOLIDS))
    if not solid.any() or unknown.any():
        found = ', '.join(f'{count} × {name}' for name, count in counted(grid.kinds[~solid]).most_common())
        raise refusal(
            f'no tetrahedra in the file, but {found or "no cells at all"}: split solid cells into tetrahedra, or build '
            'them from the surface (`twin build`)'
        )
    solids: dict[str, list[NDArray[np.int64]]] = {}
    order: dict[str, list[NDArray[np.int64]]] = {}
    for kind in np.unique(grid.kinds[solid]):
        name, rows = SOLIDS[int(kind)], np.flatnonzero(grid.kinds == kind)
        cells = _rows(grid, rows, CORNERS[name])
        solids.setdefault(name, []).append(cells[:, [0, 1, 3, 2, 4, 5, 7, 6]] if kind == _VOXEL else cells)
        order.setdefault(name, []).append(rows)
    joined = {
        name: np.concatenate(pieces) for name, pieces in sorted(solids.items(), key=lambda item: CORNERS[item[0]])
    }
    nodes, tets, parents = split_solids(grid.points, joined)
    if grid.labels is None:
        return nodes, tets, None
    cells_of = np.concatenate([row for name in joined for row in order[name]])
    return nodes, tets, grid.labels[cells_of[parents]]


def surface_of(grid: Grid) -> tuple[Array, NDArray[np.int64]]:
    """Return points and triangles: the faces of a file, or where it has only solids, their outside.

    Raises:
        InputError: ANATOMY_REFUSED for cells that are neither.
    """
    check_grid(grid)
    unknown = ~np.isin(grid.kinds, [*SOLIDS, *_FACES, *_BARE])
    if unknown.any():
        found = ', '.join(f'{count} × {name}' for name, count in counted(grid.kinds[unknown]).most_common())
        raise refusal(f'cells that are not read: {found}')
    triangles = [np.empty((0, 3), np.int64)]
    for kind in np.unique(grid.kinds):
        if int(kind) in _FACES:
            triangles += _triangles(grid, int(kind))
    faces = np.concatenate(triangles)
    if len(faces) or not np.isin(grid.kinds, list(SOLIDS)).any():
        return grid.points, faces
    nodes, tets, _ = tets_of(grid)
    return nodes, outer_triangles(tets)


def counted(kinds: NDArray[np.int64]) -> Counter[str]:
    """Count cells by the names of their types."""
    return Counter(SOLIDS.get(int(kind)) or _NAMES.get(int(kind), f'cell of type {int(kind)}') for kind in kinds)


def join(blocks: list[tuple[int, NDArray[Any]]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return kinds, offsets and corners of blocks of cells that are alike, each shape (m, corners)."""
    kinds = np.concatenate([np.full(len(block), kind, np.int64) for kind, block in blocks] or [np.empty(0, np.int64)])
    sizes = np.concatenate([np.full(len(b), b.shape[1], np.int64) for _, b in blocks] or [np.empty(0, np.int64)])
    corners = np.concatenate([block.ravel() for _, block in blocks] or [np.empty(0)]).astype(np.int64)
    return kinds, np.concatenate([[0], np.cumsum(sizes)]), corners


def _rows(grid: Grid, rows: NDArray[np.int64], corners: int) -> NDArray[np.int64]:
    if (np.diff(grid.offsets)[rows] < corners).any():
        name = SOLIDS.get(int(grid.kinds[rows[0]]), 'cell')
        raise refusal(f'a {name} with fewer than {corners} corners')
    return grid.corners[grid.offsets[rows][:, None] + np.arange(corners)]


def _triangles(grid: Grid, kind: int) -> list[NDArray[np.int64]]:
    """Cut the faces of one type into triangles."""
    rows = np.flatnonzero(grid.kinds == kind)
    sizes = np.diff(grid.offsets)[rows]
    pieces = []
    for size in [_FACES[kind]] if _FACES[kind] else np.unique(sizes):
        faces = _rows(grid, rows if _FACES[kind] else rows[sizes == size], int(size))
        if kind == _PIXEL:
            faces = faces[:, [0, 1, 3, 2]]
        for n in range(1, int(size) - 1):
            if kind == _STRIP:
                pieces.append(faces[:, [n - 1, n, n + 1] if n % 2 else [n, n - 1, n + 1]])
            else:
                pieces.append(faces[:, [0, n, n + 1]])
    return pieces
