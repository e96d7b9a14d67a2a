"""Hexahedra, wedges and pyramids cut into tetrahedra that fit those of their neighbours."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.geometry.se3 import Array

Cells = NDArray[np.int64]
FACES: dict[str, tuple[tuple[int, ...], ...]] = {
    'tetra': ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    'hexahedron': ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    'wedge': ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),
    'pyramid': ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}
CORNERS = {'tetra': 4, 'pyramid': 5, 'wedge': 6, 'hexahedron': 8}


def split_solids(nodes: Array, solids: dict[str, Cells]) -> tuple[Array, Cells, Cells]:
    """Cut solid cells into tetrahedra without a gap between neighbours.

    Each face with four corners is cut from its least corner, so that both neighbours cut it alike, and each cell is
    coned from its own least corner (Dompierre et al. 1999, "How to subdivide pyramids, prisms and hexahedra into
    tetrahedra"). A cell that is so crooked that a piece of it would be inverted, or that has a tetrahedron of the file
    at a face which cuts it the other way, is coned from a new node at its middle. A kind of which most cells are inside
    out (the makers of wedges do not agree) is turned.

    Args:
        nodes: Positions, shape (n, 3).
        solids: By kind, a key of `FACES`: corners in the order of VTK, shape (m, 4), (m, 5), (m, 6) or (m, 8).

    Returns:
        The nodes with the new ones, shape (n + k, 3); tetrahedra, shape (t, 4); and the cell that each comes from,
        counted over the kinds in the order of `solids`, shape (t,).
    """
    edges = _edges(solids.get('tetra', np.empty((0, 4), np.int64)), len(nodes))
    points, pieces, parents, first = [np.asarray(nodes, np.float64)], [], [], 0
    count = len(nodes)
    for kind, cells in solids.items():
        tets, owners = (cells, np.arange(len(cells))) if kind == 'tetra' else _split(kind, cells)
        sense = _sense(points, tets)
        if kind != 'tetra' and len(cells):
            again = _crossed(kind, cells, edges, len(nodes))
            again[owners[sense * _volumes(np.concatenate(points), tets) <= 0.0]] = True
            if again.any():
                coned, of_cell = _coned(kind, cells[again], edges, len(nodes), count)
                kept = ~again[owners]
                tets = np.concatenate([tets[kept], coned])
                owners = np.concatenate([owners[kept], np.flatnonzero(again)[of_cell]])
                points.append(nodes[cells[again]].mean(axis=1))
                count += int(again.sum())
        pieces.append(tets[:, [0, 2, 1, 3]] if sense < 0.0 else tets)
        parents.append(owners + first)
        first += len(cells)
    if not pieces:
        return points[0], np.empty((0, 4), np.int64), np.empty(0, np.int64)
    return np.concatenate(points), np.concatenate(pieces), np.concatenate(parents)


def outer_triangles(tets: Cells) -> Cells:
    """Return the triangles that belong to one tetrahedron only, outward, shape (k, 3)."""
    triangles = np.concatenate([tets[:, face] for face in FACES['tetra']])
    _, inverse, uses = np.unique(np.sort(triangles, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(triangles[uses[inverse.ravel()] == 1])


def _split(kind: str, cells: Cells) -> tuple[Cells, Cells]:
    """Cone each cell from its least corner; cells with corners that fall together lose the flat pieces."""
    least = np.argmin(cells, axis=1)
    pieces, owners = [np.empty((0, 4), np.int64)], [np.empty(0, np.int64)]
    for corner in range(cells.shape[1]):
        rows = np.flatnonzero(least == corner)
        for face in FACES[kind]:
            if corner in face or len(rows) == 0:
                continue
            for a, b, c in _from_least(cells[rows][:, face]):
                pieces.append(np.column_stack([a, c, b, cells[rows, corner]]))
                owners.append(rows)
    return _without_flat(np.concatenate(pieces), np.concatenate(owners))


def _coned(kind: str, cells: Cells, edges: Cells, nodes: int, first: int) -> tuple[Cells, Cells]:
    """Cone cells from new nodes, numbered from `first`, with the diagonals that the neighbours have."""
    pieces, owners = [], []
    rows = np.arange(len(cells))
    for face in FACES[kind]:
        corners = cells[:, face]
        if len(face) == 4:
            turned = _turn_to_least(corners)
            crossed = _is_crossed(turned, edges, nodes)
            corners = np.where(crossed[:, None], np.roll(turned, -1, axis=1), turned)
        for n in range(1, len(face) - 1):
            pieces.append(np.column_stack([corners[:, 0], corners[:, n + 1], corners[:, n], first + rows]))
            owners.append(rows)
    return _without_flat(np.concatenate(pieces), np.concatenate(owners))


def _turn_to_least(faces: Cells) -> Cells:
    turn = (np.argmin(faces, axis=1)[:, None] + np.arange(faces.shape[1])) % faces.shape[1]
    return np.take_along_axis(faces, turn, axis=1)


def _from_least(faces: Cells) -> list[tuple[Cells, Cells, Cells]]:
    turned = _turn_to_least(faces)
    return [(turned[:, 0], turned[:, n], turned[:, n + 1]) for n in range(1, faces.shape[1] - 1)]


def _edges(tets: Cells, nodes: int) -> Cells:
    pairs = np.concatenate([tets[:, [a, b]] for a in range(4) for b in range(a)])
    return np.unique(_edge_keys(pairs[:, 0], pairs[:, 1], nodes))


def _edge_keys(a: Cells, b: Cells, nodes: int) -> Cells:
    return np.minimum(a, b) * np.int64(nodes) + np.maximum(a, b)


def _is_crossed(turned: Cells, edges: Cells, nodes: int) -> NDArray[Any]:
    """Whether a tetrahedron has the diagonal that does not begin at the least corner, and none the other."""
    other = np.isin(_edge_keys(turned[:, 1], turned[:, 3], nodes), edges)
    return other & ~np.isin(_edge_keys(turned[:, 0], turned[:, 2], nodes), edges)


def _crossed(kind: str, cells: Cells, edges: Cells, nodes: int) -> NDArray[Any]:
    found = np.zeros(len(cells), np.bool_)
    if len(edges):
        for face in FACES[kind]:
            if len(face) == 4:
                found |= _is_crossed(_turn_to_least(cells[:, face]), edges, nodes)
    return found


def _without_flat(tets: Cells, owners: Cells) -> tuple[Cells, Cells]:
    whole = (np.diff(np.sort(tets, axis=1), axis=1) > 0).all(axis=1)
    return tets[whole], owners[whole]


def _volumes(nodes: Array, tets: Cells) -> Array:
    a, b, c = (nodes[tets[:, corner]] - nodes[tets[:, 0]] for corner in (1, 2, 3))
    return np.asarray(np.einsum('ij,ij->i', np.cross(a, b), c) / 6.0)


def _sense(points: list[Array], tets: Cells) -> float:
    """Return -1 where most of a kind is inside out, else 1."""
    negative = _volumes(np.concatenate(points), tets) < 0.0
    return -1.0 if len(tets) and negative.mean() > 0.5 else 1.0
