"""Meshes as other programs write them: pieces inside out, points apart by rounding, headers in other spellings."""

import struct

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.meshes import read_surface
from twin_nodes.io.tet_meshes import read_tets

BOX = np.array([(x, y, z) for x in (0.0, 20.0) for y in (0.0, 40.0) for z in (0.0, 60.0)])
FACES = np.array([(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
                  (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)])  # fmt: skip
VOLUME = 20 * 40 * 60 * 1e-9
TETS = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])


def rows(values):
    return ''.join(' '.join(f'{value:g}' for value in row) + '\n' for row in values)


def off(path, pieces, word='OFF', extra=''):
    """Write boxes: (points, inside out)."""
    points = np.concatenate([box for box, _ in pieces])
    faces = np.concatenate([8 * n + (FACES[:, ::-1] if inverted else FACES) for n, (_, inverted) in enumerate(pieces)])
    listed = ''.join(f'{" ".join(f"{value:g}" for value in point)}{extra}\n' for point in points)
    path.write_text(f'{word}\n{len(points)} {len(faces)} 0\n{listed}' + rows(np.insert(faces, 0, 3, axis=1)))
    return path


def inner(share):
    return (BOX - BOX.mean(axis=0)) * share + BOX.mean(axis=0)


@pytest.mark.parametrize(
    ('pieces', 'share', 'turned'),
    [
        ([(BOX, False), (BOX + 100.0, True)], 2.0, 1),  # one of two is inside out
        ([(BOX, True), (BOX + 100.0, True), (BOX - 100.0, False)], 3.0, None),
        ([(BOX, False), (inner(0.5), True)], 1.0 - 0.125, 0),  # a hollow stays one
        ([(BOX, True), (inner(0.5), False)], 1.0 - 0.125, 0),  # all is inside out
        ([(BOX, False), (inner(0.5), True), (inner(0.25), False)], 1.0 - 0.125 + 0.25**3, 0),  # a piece in a hollow
        ([(BOX, False), (inner(0.5), True), (inner(0.25), True)], 1.0 - 0.125 + 0.25**3, 1),
    ],
)
def test_pieces_that_are_inside_out_are_turned_and_hollows_stay(tmp_path, pieces, share, turned):
    surface = read_surface(off(tmp_path / 'a.off', pieces), unit='mm')
    assert surface.is_watertight
    assert surface.volume == pytest.approx(share * VOLUME)
    assert turned is None or surface.report.turned_pieces == turned


@pytest.mark.parametrize(
    ('pieces', 'millilitres'),
    [
        ([(BOX, False), (inner(0.5), False)], '6'),  # a lesion in the file of its organ, or a hollow turned outwards
        ([(BOX, True), (inner(0.5), True)], '6'),  # all is inside out
        ([(BOX, False), (inner(0.5), True), (inner(0.25), False), (inner(0.1), False)], '0.048'),
    ],
)
def test_a_piece_in_a_piece_that_is_turned_alike_is_refused(tmp_path, pieces, millilitres):
    with pytest.raises(InputError, match=rf'1 of {len(pieces)} closed pieces lie inside .*\({millilitres} ml would'):
        read_surface(off(tmp_path / 'a.off', pieces), unit='mm')


def test_pieces_that_reach_into_one_another_or_lie_in_a_dent_are_no_hollows(tmp_path):
    shifted = inner(0.5) + np.array([0.0, 0.0, 30.0])  # a half of it sticks out
    surface = read_surface(off(tmp_path / 'a.off', [(BOX, False), (shifted, False)]), unit='mm')
    assert surface.volume == pytest.approx(1.125 * VOLUME) and surface.report.turned_pieces == 0
    bent = np.where(
        BOX[:, 2:] > 30.0, BOX + np.array([0.0, 300.0, 0.0]), BOX
    )  # a slanted box: its bounds hold the small one
    small = inner(0.1) + np.array([0.0, 100.0, 25.0])
    surface = read_surface(off(tmp_path / 'b.off', [(bent, False), (small, True)]), unit='mm')
    assert surface.report.turned_pieces == 1 and surface.volume == pytest.approx(1.001 * VOLUME)


def test_points_apart_by_rounding_are_one(tmp_path):
    corners = (BOX + 300.0)[FACES].astype(np.float32)
    other = np.nextafter(corners, np.float32(1e9))
    mixed = np.where(np.random.default_rng(0).random(corners.shape) < 0.5, corners, other)
    body = b''.join(struct.pack('<12fH', 0, 0, 0, *triangle.ravel(), 0) for triangle in mixed)
    (tmp_path / 'a.stl').write_bytes(b'\0' * 80 + struct.pack('<I', len(mixed)) + body)
    surface = read_surface(tmp_path / 'a.stl', unit='mm')
    assert surface.is_watertight and len(surface.vertices) == 8
    assert surface.volume == pytest.approx(VOLUME, rel=1e-4)
    assert surface.report.merged_vertices == 36 - 8


def test_a_true_hole_is_not_welded(tmp_path):
    open_box = np.delete(FACES, 3, axis=0)
    (tmp_path / 'a.off').write_text(f'OFF\n8 {len(open_box)} 0\n' + rows(BOX) + rows(np.insert(open_box, 0, 3, axis=1)))
    surface = read_surface(tmp_path / 'a.off', unit='mm')
    assert not surface.is_watertight and surface.report.open_edges == 3


@pytest.mark.parametrize(('word', 'extra'), [('NOFF', ' 0 0 1'), ('COFF', ' 255 0 0 255'), ('CNOFF', ' 0 0 1 9 9 9 9')])
def test_off_with_normals_and_colours(tmp_path, word, extra):
    surface = read_surface(off(tmp_path / 'a.off', [(BOX, False)], word, extra), unit='mm')
    assert surface.is_watertight and surface.volume == pytest.approx(VOLUME)


@pytest.mark.parametrize('change', [str.upper, lambda text: text.replace('solid', 'solid ' + 'name' * 600, 1)])
def test_ascii_stl_in_capitals_and_with_a_long_name(tmp_path, change):
    facets = ''.join(
        'facet normal 0 0 0\nouter loop\n'
        + ''.join(f'vertex {x:e} {y} {z}\n' for x, y, z in triangle)
        + 'endloop\nendfacet\n'
        for triangle in BOX[FACES]
    )
    (tmp_path / 'a.stl').write_text(change(f'solid box\n{facets}endsolid box\n'))
    assert read_surface(tmp_path / 'a.stl', unit='mm').volume == pytest.approx(VOLUME)


def test_clouds_and_images_are_no_surfaces(tmp_path):
    (tmp_path / 'a.off').write_text('OFF\n8 0 0\n' + rows(BOX))
    with pytest.raises(InputError, match='8 points and no triangle: a cloud'):
        read_surface(tmp_path / 'a.off', unit='mm')
    (tmp_path / 'a.vtk').write_text(
        '# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 2 2 2\n'
    )
    with pytest.raises(InputError, match='an image is read as NRRD'):
        read_surface(tmp_path / 'a.vtk', unit='mm')


def abaqus(kind):
    nodes = ''.join(f'{n + 1}, {x}, {y}, {z}\n' for n, (x, y, z) in enumerate(BOX))
    elements = ''.join(f'{n + 1}, ' + ', '.join(str(corner + 1) for corner in tet) + '\n' for n, tet in enumerate(TETS))
    return f'*Heading\n*Node\n{nodes}*Element, type={kind}, elset=liver\n{elements}'


@pytest.mark.parametrize('kind', ['C3D4', 'c3d4', 'C3D4H', 'C3D4T'])
def test_elements_of_abaqus_count_by_their_shape(tmp_path, kind):
    (tmp_path / 'a.inp').write_text(abaqus(kind))
    assert read_tets(tmp_path / 'a.inp', unit='mm').volume == pytest.approx(VOLUME)


@pytest.mark.parametrize(('ending', 'head'), [('bdf', 'BEGIN BULK\n'), ('bdf', ''), ('nas', '$ made\n'), ('fem', '')])
def test_bulk_data_with_and_without_its_header_and_with_properties(tmp_path, ending, head):
    nodes = ''.join(f'GRID,{n + 1},,{x},{y},{z}\n' for n, (x, y, z) in enumerate(BOX))
    tets = ''.join(f'CTETRA,{n + 1},{1 + n % 2},{",".join(str(c + 1) for c in tet)}\n' for n, tet in enumerate(TETS))
    (tmp_path / f'a.{ending}').write_text(f'{head}{nodes}{tets}ENDDATA\n')
    mesh = read_tets(tmp_path / f'a.{ending}', unit='mm')
    assert mesh.volume == pytest.approx(VOLUME)
    np.testing.assert_array_equal(mesh.labels, [1, 2, 1, 2, 1, 2])


def test_elements_that_are_there_twice_are_refused(tmp_path):
    doubled = np.concatenate([TETS, TETS[:2][:, [1, 2, 0, 3]]])
    nodes = ''.join(f'GRID,{n + 1},,{x},{y},{z}\n' for n, (x, y, z) in enumerate(BOX))
    tets = ''.join(f'CTETRA,{n + 1},1,{",".join(str(c + 1) for c in tet)}\n' for n, tet in enumerate(doubled))
    (tmp_path / 'a.bdf').write_text(f'BEGIN BULK\n{nodes}{tets}ENDDATA\n')
    with pytest.raises(InputError, match='2 of 8 tetrahedra are there twice'):
        read_tets(tmp_path / 'a.bdf', unit='mm')
