"""Hexahedra, wedges and pyramids cut into tetrahedra: the volume stays, and neighbours fit."""

import numpy as np
import pytest

from twin_nodes.core.anatomy.solid_cells import CORNERS, outer_triangles, split_solids

SHAPES = {
    'hexahedron': [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
    'wedge': [[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1]],
    'pyramid': [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]],
}
VOLUMES = {'hexahedron': 1.0, 'wedge': 0.5, 'pyramid': 1 / 3}


def volumes(nodes, tets):
    a, b, c = (nodes[tets[:, n]] - nodes[tets[:, 0]] for n in (1, 2, 3))
    return np.einsum('ij,ij->i', np.cross(a, b), c) / 6.0


@pytest.mark.parametrize('kind', SHAPES)
def test_any_numbering_gives_the_same_volume_with_no_piece_inside_out(kind):
    rng = np.random.default_rng(2)
    shape = np.array(SHAPES[kind], float)
    for _ in range(50):
        order = rng.permutation(len(shape))
        nodes = np.empty_like(shape)
        nodes[order] = shape
        out, tets, parents = split_solids(nodes, {kind: order[None]})
        sizes = volumes(out, tets)
        assert (sizes > 0.0).all() and sizes.sum() == pytest.approx(VOLUMES[kind])
        assert len(out) == len(nodes) and (parents == 0).all()


def test_neighbours_fit_for_any_numbering():
    rng = np.random.default_rng(3)
    axis = np.arange(4)
    grid = np.array([[x, y, z] for z in axis for y in axis for x in axis], float)
    corner = np.array([x + 4 * y + 16 * z for z in range(3) for y in range(3) for x in range(3)])
    cells = corner[:, None] + np.array([0, 1, 5, 4, 16, 17, 21, 20])
    for _ in range(5):
        order = rng.permutation(len(grid))
        nodes = np.empty_like(grid)
        nodes[order] = grid + 0.05 * rng.standard_normal(grid.shape)
        out, tets, _ = split_solids(nodes, {'hexahedron': order[cells]})
        outside = outer_triangles(tets)
        assert len(outside) == 2 * 6 * 9  # a gap inside would add triangles
        assert (volumes(out, tets) > 0.0).all()


def test_a_brick_takes_the_diagonals_of_tetrahedra_at_its_face():
    nodes = np.array([*SHAPES['hexahedron'], [2.0, 0.5, 0.5]])
    brick = np.arange(8)[None]
    for diagonal in ([[1, 2, 6, 8], [1, 6, 5, 8]], [[1, 2, 5, 8], [2, 6, 5, 8]]):
        solids = {'tetra': np.array(diagonal), 'hexahedron': brick}
        out, tets, parents = split_solids(nodes, solids)
        assert len(outer_triangles(tets)) == 2 * 5 + 4
        assert volumes(out, tets[parents == 2]).sum() == pytest.approx(1.0)
        assert (volumes(out, tets) > 0.0).all()


def test_a_kind_that_is_inside_out_is_turned_and_a_collapsed_corner_left_out():
    shape = np.array(SHAPES['hexahedron'], float)
    out, tets, _ = split_solids(shape, {'hexahedron': np.array([[4, 5, 6, 7, 0, 1, 2, 3]])})
    assert volumes(out, tets).sum() == pytest.approx(1.0)
    out, tets, _ = split_solids(shape, {'hexahedron': np.array([[0, 1, 2, 2, 4, 5, 6, 6]])})
    assert volumes(out, tets).sum() == pytest.approx(0.5) and (volumes(out, tets) > 0.0).all()


def test_no_cells_give_no_tetrahedra():
    assert len(split_solids(np.zeros((0, 3)), {})[1]) == 0
    assert set(CORNERS) == {*SHAPES, 'tetra'}
