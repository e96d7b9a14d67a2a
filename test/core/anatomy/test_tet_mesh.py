import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.anatomy.tet_mesh import largest_part, make_tet_mesh
from twin_nodes.core.errors import InputError

CUBE = np.array([[x, y, z] for z in (0.0, 1.0) for y in (0.0, 1.0) for x in (0.0, 1.0)]) * 0.02
KUHN = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])


def test_volume_faces_and_angles_of_a_cube():
    mesh = make_tet_mesh('cube', CUBE, KUHN, np.arange(6))
    assert mesh.volume == pytest.approx(8e-6, rel=1e-12)
    assert mesh.volume_of(3) == pytest.approx(8e-6 / 6.0, rel=1e-12)
    assert len(mesh.outer_faces) == 12
    surface = mesh.surface('cube')
    assert surface.is_watertight and not surface.report.flipped
    assert surface.volume == pytest.approx(8e-6, rel=1e-12)
    assert np.degrees(mesh.quality.min_dihedral) == pytest.approx(45.0)
    assert np.degrees(mesh.quality.max_dihedral) == pytest.approx(90.0)
    assert mesh.quality.parts == 1


def test_turns_a_mesh_that_is_inside_out_as_a_whole():
    mesh = make_tet_mesh('cube', CUBE, KUHN[:, [1, 0, 2, 3]])
    assert (mesh.volumes > 0.0).all()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(6)))
def test_the_order_of_nodes_and_elements_changes_nothing(nodes, tets):
    place = np.argsort(nodes)
    mesh = make_tet_mesh('cube', CUBE[list(nodes)], place[KUHN][list(tets)])
    assert mesh.volume == pytest.approx(8e-6, rel=1e-12)
    assert len(mesh.outer_nodes) == 8


def test_drops_unused_nodes():
    mesh = make_tet_mesh('one', np.vstack([CUBE, CUBE + 1.0]), KUHN + 8)
    assert len(mesh.nodes) == 8 and mesh.tets.max() == 7


@pytest.mark.parametrize(
    ('nodes', 'tets', 'match'),
    [
        (CUBE * 1000, KUHN, r'diagonal 34\.64 m is above 5 m: millimetres\?'),
        (CUBE * 1e-3, KUHN, 'metres read as millimetres'),
        (np.where(CUBE[7] == CUBE, np.nan, CUBE), KUHN, '7 of 8 nodes have NaN or Inf'),
        (CUBE, KUHN + 5, '6 of 6 tetrahedra use nodes outside 0 … 7'),
        (CUBE, -KUHN, '6 of 6 tetrahedra use nodes outside'),
        (CUBE, np.vstack([KUHN[:4], KUHN[4:, [1, 0, 2, 3]]]), '2 of 6 tetrahedra are inverted and 0 have no volume'),
        (CUBE, np.vstack([KUHN, [[0, 1, 2, 3]]]), '0 of 7 tetrahedra are inverted and 1 have no volume .*number 6'),
        (CUBE, np.vstack([KUHN, [[0, 1, 1, 7]]]), '1 have no volume'),
        (np.vstack([CUBE, CUBE + 0.1]), np.vstack([KUHN, KUHN[:2] + 8]), r'2 parts .*\(elements: 6, 2\)'),
        (CUBE, KUHN.astype(float), 'float64, not integers'),
        (CUBE, KUHN[:0], 'nothing to use'),
        (CUBE[:, :2], KUHN, r'got \(8, 2\)'),
    ],
)
def test_refuses_with_counts(nodes, tets, match):
    with pytest.raises(InputError, match=match) as caught:
        make_tet_mesh('x', nodes, tets)
    assert caught.value.code == 'ANATOMY_REFUSED'


@pytest.mark.parametrize('labels', [np.ones(5, int), np.full(6, 0.5), np.full(6, -1), np.full(6, np.nan)])
def test_refuses_labels_that_are_none(labels):
    with pytest.raises(InputError, match='labels'):
        make_tet_mesh('x', CUBE, KUHN, labels)


def test_keeps_the_largest_part():
    both = make_tet_mesh(
        'x', np.vstack([CUBE * 0.5 + 0.1, CUBE]), np.vstack([KUHN, KUHN + 8]), np.arange(12), allow_parts=True
    )
    kept = largest_part(both)
    assert kept.volume == pytest.approx(8e-6) and kept.labels.tolist() == [6, 7, 8, 9, 10, 11]
