import resource

import numpy as np
import pytest

from twin_nodes.core.anatomy.tet_mesh import make_tet_mesh
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.tet_formats import read_vtk_node_fields
from twin_nodes.io.tet_meshes import read_tets, write_tets

CUBE = np.array([[x, y, z] for z in (0.0, 1.0) for y in (0.0, 1.0) for x in (0.0, 1.0)]) * 20.0
KUHN = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])
LABELS = np.array([1, 1, 2, 2, 3, 3])


def rows(table):
    return '\n'.join(' '.join(str(value) for value in row) for row in table)


def msh_1(nodes=CUBE, tets=KUHN, count=None):
    numbered = [(3 * n + 2, *node) for n, node in enumerate(nodes)]  # numbers with gaps, as gmsh writes them
    elements = [(n + 1, 4, LABELS[n % 6], 1, 4, *(3 * tet + 2)) for n, tet in enumerate(tets)]
    elements.append((99, 2, 7, 1, 3, 2, 5, 8))  # a triangle between
    return f'$NOD\n{len(nodes)}\n{rows(numbered)}\n$ENDNOD\n$ELM\n{count or len(elements)}\n{rows(elements)}\n$ENDELM\n'


def msh_2(nodes=CUBE, tets=KUHN):
    numbered = [(n + 1, *node) for n, node in enumerate(nodes)]
    elements = [(n + 1, 4, 2, LABELS[n % 6], 1, *(tet + 1)) for n, tet in enumerate(tets)]
    return (
        f'$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n{len(nodes)}\n{rows(numbered)}\n$EndNodes\n$Elements\n'
        f'{len(elements)}\n{rows(elements)}\n$EndElements\n'
    )


def vtk_ascii(nodes=CUBE, tets=KUHN, count=None):
    cells = np.column_stack([np.full(len(tets), 4), tets])
    return (
        f'# vtk DataFile Version 2.0\ncube\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {count or len(nodes)} float\n'
        f'{rows(nodes)}\nCELLS {len(tets)} {cells.size}\n{rows(cells)}\nCELL_TYPES {len(tets)}\n'
        f'{rows(np.full((len(tets), 1), 10))}\nCELL_DATA {len(tets)}\nSCALARS mat_id int 1\nLOOKUP_TABLE default\n'
        f'{rows(LABELS[:, None])}\n'
    )


@pytest.mark.parametrize(('ending', 'text'), [('msh', msh_1()), ('msh', msh_2()), ('vtk', vtk_ascii())])
def test_formats_give_the_same_mesh(tmp_path, ending, text):
    path = tmp_path / f'cube.{ending}'
    path.write_text(text)
    mesh = read_tets(path, unit='mm')
    assert mesh.volume == pytest.approx(8e-6) and len(mesh.nodes) == 8
    assert mesh.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ('ending', 'kind'),
    [('vtk', 'vtk'), ('mesh', 'medit'), ('vtu', 'vtu'), ('msh', 'gmsh'), ('msh', 'gmsh22'), ('meshb', 'medit'),
     ('avs', 'avsucd'), ('inp', 'avsucd'), ('ele', 'tetgen'), ('vol', 'netgen'), ('su2', 'su2')],
)  # fmt: skip
def test_what_meshio_writes_is_read(tmp_path, ending, kind):
    import meshio

    path = tmp_path / f'cube.{ending}'
    meshio.Mesh(CUBE, [('tetra', KUHN)]).write(path, file_format=kind)
    assert read_tets(path, unit='mm').volume == pytest.approx(8e-6)


def test_xdmf_with_its_numbers_in_it_is_read(tmp_path):
    def item(kind, values):
        rows, columns = values.shape
        numbers = ' '.join(map(str, values.ravel().tolist()))
        return (
            f'<DataItem DataType="{kind}" Dimensions="{rows} {columns}" Format="XML" Precision="8">{numbers}</DataItem>'
        )

    path = tmp_path / 'cube.xdmf'
    path.write_text(
        '<Xdmf Version="3.0"><Domain><Grid Name="Grid">'
        f'<Geometry GeometryType="XYZ">{item("Float", np.asarray(CUBE, float))}</Geometry>'
        f'<Topology TopologyType="Tetrahedron" NumberOfElements="{len(KUHN)}">{item("Int", KUHN)}</Topology>'
        '</Grid></Domain></Xdmf>'
    )
    assert read_tets(path, unit='mm').volume == pytest.approx(8e-6)


def test_round_trip_keeps_bits_labels_and_regions(tmp_path):
    mesh = make_tet_mesh('cube', CUBE * 1e-3 / 3.0, KUHN, LABELS)
    regions = {'low': np.array([0, 1, 2]), 'high': np.array([7])}
    write_tets(tmp_path / 'a.vtk', mesh, regions=regions)
    write_tets(tmp_path / 'b.vtk', mesh, regions=regions)
    again = read_tets(tmp_path / 'a.vtk', unit='m')
    assert again.nodes.tobytes() == mesh.nodes.tobytes() and again.tets.tobytes() == mesh.tets.tobytes()
    assert again.labels.tolist() == LABELS.tolist()
    fields = read_vtk_node_fields(tmp_path / 'a.vtk')
    assert {name: np.flatnonzero(marks).tolist() for name, marks in fields.items()} == {'low': [0, 1, 2], 'high': [7]}
    assert (tmp_path / 'a.vtk').read_bytes() == (tmp_path / 'b.vtk').read_bytes()


def test_ras_is_turned_to_lps(tmp_path):
    (tmp_path / 'cube.msh').write_text(msh_1())
    mesh = read_tets(tmp_path / 'cube.msh', unit='mm', space='RAS')
    np.testing.assert_allclose(mesh.nodes.min(axis=0), (-0.02, -0.02, 0.0))
    assert mesh.volume == pytest.approx(8e-6)


MSH_4 = '$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Nodes\n1 {0} 1 {0}\n3 1 0 {0}\n1\n2\n$EndNodes\n'
BAD = np.where(np.arange(24).reshape(8, 3) == 5, np.nan, CUBE)


@pytest.mark.parametrize(
    ('ending', 'text', 'match'),
    [
        ('vtk', vtk_ascii(count=100_000_000), '100000000 elements are announced'),
        ('vtk', vtk_ascii(count=10_000_000), 'needs at least|are there'),
        ('vtk', vtk_ascii()[:200], 'CELLS|numbers|announced'),
        ('vtk', vtk_ascii(tets=np.vstack([KUHN[:5], KUHN[5:, [1, 0, 2, 3]]])), '1 of 6 tetrahedra are inverted'),
        ('vtk', vtk_ascii(tets=np.vstack([KUHN[:5], [[0, 1, 2, 3]]])), '1 have no volume'),
        ('vtk', vtk_ascii(nodes=BAD), '1 of 8 nodes have NaN or Inf'),
        ('vtk', vtk_ascii(tets=KUHN + 4), '6 of 6 cells use a node outside'),
        ('vtk', vtk_ascii().replace('UNSTRUCTURED_GRID', 'POLYDATA'), 'has no tetrahedra'),
        ('msh', msh_1(count=100_000_000), '100000000 elements are announced'),
        ('msh', msh_1(count=5000), '5000 rows are announced, 7 are there'),
        ('msh', msh_1()[:200], 'the file is cut'),
        ('msh', msh_2().replace('$EndElements', ''), 'the file is cut'),
        ('msh', msh_1(tets=KUHN + 3), 'use a node that is not there'),
        ('mesh', 'MeshVersionFormatted 2\nDimension 3\nVertices\n100000000\n0 0 0 1\n', 'elements are announced'),
        ('msh', 'nothing', 'no gmsh header'),
        ('msh', MSH_4.format(100_000_000), '100000000 elements are announced'),
        ('msh', MSH_4.format(10_000_000), 'needs at least'),
        ('inp', '*NODE\n1, 0, 0, 0\n*ELEMENT, TYPE=C3D4\n1, 1, 2, 3, 4\n', 'which is not there'),
        ('stl', 'solid', 'none of .vtk, .msh'),
        ('avs', '100000000 8 0 0 0\n1 0 0 0\n', '100000000 elements are announced'),
        ('inp', '8 10000000 0 0 0\n1 0 0 0\n', 'needs at least'),
        ('su2', 'NDIME= 3\nNELEM= 100000000\n', '100000000 elements are announced'),
        ('vol', 'mesh3d\nvolumeelements\n100000000\n', '100000000 elements are announced'),
        ('ele', '100000000 4 0\n1 1 2 3 4\n', '100000000 elements are announced'),
        ('xdmf', '<!DOCTYPE x [<!ENTITY a "b">]><Xdmf/>', 'DOCTYPE is refused'),
        ('xdmf', '<Xdmf><DataItem Format="HDF">../other/mesh.h5:/data0</DataItem></Xdmf>', 'put that file beside it'),
    ],
)
def test_bad_files_are_refused_at_once_with_counts(tmp_path, ending, text, match):
    path = tmp_path / f'bad.{ending}'
    path.write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path.with_suffix('.node').write_text('1 3 0 0\n1 0 0 0\n')
    with pytest.raises(InputError, match=match):
        read_tets(path, unit='mm')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_millimetres_taken_for_metres_are_refused(tmp_path):
    (tmp_path / 'cube.msh').write_text(msh_1())
    with pytest.raises(InputError, match=r'millimetres\?'):
        read_tets(tmp_path / 'cube.msh', unit='m')
    with pytest.raises(ConfigError, match='unit'):
        read_tets(tmp_path / 'cube.msh', unit='cm')


def test_parts_that_do_not_hang_together_are_refused_with_their_sizes(tmp_path):
    (tmp_path / 'two.msh').write_text(msh_1(np.vstack([CUBE, CUBE + 50.0]), np.vstack([KUHN, KUHN[:4] + 8])))
    with pytest.raises(InputError, match=r'2 parts do not hang together \(elements: 6, 4\)'):
        read_tets(tmp_path / 'two.msh', unit='mm')
    assert read_tets(tmp_path / 'two.msh', unit='mm', allow_parts=True).quality.parts == 2


@pytest.mark.parametrize(
    ('name', 'nodes', 'tets', 'volume'),
    [
        ('cylinder.vtk', 354, 1348, 1.2246e-4),
        ('cylinder.mesh', 354, 1348, 1.2246e-4),
        ('elbow.mesh', 1823, 8161, 8.776e-4),
    ],
)
def test_real_meshes(shared_data, name, nodes, tets, volume):
    mesh = read_tets(shared_data / 'fem_meshes_sfepy' / name, unit='m')
    assert (len(mesh.nodes), len(mesh.tets)) == (nodes, tets)
    assert mesh.volume == pytest.approx(volume, rel=1e-3)


@pytest.mark.parametrize(('ending', 'kind'), [('vtk', 'vtk'), ('vtu', 'vtu'), ('msh', 'gmsh'), ('msh', 'gmsh22')])
def test_quadratic_tetrahedra_keep_their_corners(tmp_path, ending, kind):
    import meshio

    corners = np.array([[0, 0, 0], [30, 0, 0], [0, 30, 0], [0, 0, 30]], float)
    edges = [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)]
    nodes = np.concatenate([corners, [(corners[a] + corners[b]) / 2 for a, b in edges]])
    path = tmp_path / f'one.{ending}'
    meshio.Mesh(nodes, [('tetra10', [list(range(10))])]).write(path, file_format=kind)
    mesh = read_tets(path, unit='mm')
    assert len(mesh.nodes) == 4 and mesh.volume == pytest.approx(4.5e-6)


@pytest.mark.parametrize(('ending', 'kind'), [('vtk', 'vtk'), ('mesh', 'medit'), ('msh', 'gmsh'), ('msh', 'gmsh22')])
def test_what_is_there_instead_of_tetrahedra_is_counted(tmp_path, ending, kind):
    import meshio

    path = tmp_path / f'box.{ending}'
    meshio.Mesh(CUBE, [('quad', [[0, 1, 3, 2]])]).write(path, file_format=kind)
    with pytest.raises(InputError, match='no tetrahedra in the file, but 1 × quad'):
        read_tets(path, unit='mm')


BRICKS = np.array([[0, 1, 4, 3, 6, 7, 10, 9], [1, 2, 5, 4, 7, 8, 11, 10]])
TWO = np.array([[x, y, z] for z in (0.0, 20.0) for y in (0.0, 20.0) for x in (0.0, 10.0, 30.0)])


@pytest.mark.parametrize(
    ('ending', 'kind'),
    [('vtk', 'vtk42'), ('vtk', 'vtk51'), ('vtu', 'vtu'), ('mesh', 'medit'), ('msh', 'gmsh'), ('msh', 'gmsh22'),
     ('inp', 'abaqus'), ('bdf', 'nastran')],
)  # fmt: skip
def test_bricks_and_wedges_are_cut_into_tetrahedra(tmp_path, ending, kind):
    import meshio

    path = tmp_path / f'bricks.{ending}'
    wedges = [[1, 2, 4, 7, 8, 10], [2, 5, 4, 8, 11, 10]]
    for cells in ([('hexahedron', BRICKS)], [('hexahedron', BRICKS[:1]), ('wedge', np.array(wedges))]):
        if len(cells) > 1 and kind == 'gmsh':
            continue  # meshio does not write it without entities
        meshio.Mesh(TWO, cells).write(path, file_format=kind)
        mesh = read_tets(path, unit='mm')
        assert mesh.volume == pytest.approx(12e-6)
        surface = mesh.surface('bricks')
        assert surface.is_watertight and surface.volume == pytest.approx(12e-6)


@pytest.mark.parametrize(('ending', 'kind'), [('vtk', 'vtk42'), ('vtk', 'vtk51'), ('vtu', 'vtu')])
def test_labels_follow_the_pieces_of_a_brick(tmp_path, ending, kind):
    import meshio

    cells = [('tetra', KUHN), ('hexahedron', BRICKS + 8)]
    data = {'label': [np.full(6, 3), np.array([5, 7])]}
    nodes = np.concatenate([CUBE, TWO + np.array([20.0, 0.0, 0.0])])
    meshio.Mesh(nodes, cells, cell_data=data).write(tmp_path / f'a.{ending}', file_format=kind)
    mesh = read_tets(tmp_path / f'a.{ending}', unit='mm', allow_parts=True)
    assert [mesh.volume_of(label) for label in (3, 5, 7)] == pytest.approx([8e-6, 4e-6, 8e-6])


def test_results_that_gmsh_appends_for_some_cells_are_left_out(tmp_path):
    import meshio

    path = tmp_path / 'a.msh'
    meshio.Mesh(CUBE, [('tetra', KUHN)]).write(path, file_format='gmsh')
    with path.open('a') as stream:
        stream.write('$ElementData\n1\n"stress"\n1\n0.0\n3\n0\n1\n1\n3 1.5\n$EndElementData\n')
    assert read_tets(path, unit='mm').volume == pytest.approx(8e-6)
