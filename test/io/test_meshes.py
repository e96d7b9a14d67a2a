import lzma
import resource
import struct
import zlib

import lz4.block
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.meshes import read_surface, write_surface

POINTS = np.array([(x, y, z) for x in (0.0, 20.0) for y in (0.0, 40.0) for z in (0.0, 60.0)])
FACES = np.array([(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
                  (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)])  # fmt: skip
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def rows(values):
    return ''.join(' '.join(str(value) for value in row) + '\n' for row in values)


def ply_text(points=POINTS, faces=FACES, *, announced=None):
    return (
        f'ply\nformat ascii 1.0\ncomment made for a test\nelement vertex {len(points)}\nproperty float x\n'
        f'property float y\nproperty float z\nelement face {announced or len(faces)}\n'
        'property list uchar int vertex_indices\nend_header\n' + rows(points) + rows((len(f), *f) for f in faces)
    ).encode()


def ply_binary(order, *, quads=False):
    header = (
        f'ply\nformat binary_{"little" if order == "<" else "big"}_endian 1.0\nelement vertex 8\nproperty float nx\n'
        'property double x\nproperty double y\nproperty double z\nelement face FACES\n'
        'property list uchar int vertex_index\nproperty uchar flag\nend_header\n'
    )
    polygons = [*QUADS[:3], *FACES[6:]] if quads else FACES
    body = b''.join(struct.pack(order + 'f3d', 1.0, *point) for point in POINTS)
    body += b''.join(struct.pack(f'{order}B{len(f)}iB', len(f), *f, 7) for f in polygons)
    return header.replace('FACES', str(len(polygons))).encode() + body


def stl_binary(announced=12):
    triangles = POINTS[FACES]
    return b'solid looks like text'.ljust(80) + struct.pack('<I', announced) + b''.join(
        struct.pack('<12fH', 0, 0, 0, *triangle.ravel(), 0) for triangle in triangles
    )  # fmt: skip


def stl_text():
    facets = ''.join(
        'facet normal 0 0 0\nouter loop\n' + ''.join(f'vertex {x:e} {y} {z}\n' for x, y, z in triangle) +
        'endloop\nendfacet\n' for triangle in POINTS[FACES])  # fmt: skip
    return f'solid box\n{facets}endsolid box\n'.encode()


def obj():
    faces = ''.join('f ' + ' '.join(f'{index - 8}/{index + 1}/1' for index in quad) + '\n' for quad in QUADS)
    return ('# box\nvn 0 0 1\n' + ''.join(f'v {x} {y} {z}\n' for x, y, z in POINTS) + faces).encode()


def vtk_text(version='3.0'):
    head = f'# vtk DataFile Version {version}\nbox\nASCII\nDATASET POLYDATA\nPOINTS 8 float\n{rows(POINTS)}'
    if version == '5.1':
        offsets = ' '.join(str(4 * n) for n in range(7))
        body = f'POLYGONS 7 24\nOFFSETS vtktypeint64\n{offsets}\nCONNECTIVITY vtktypeint64\n{rows(QUADS)}'
    else:
        body = f'POLYGONS 6 30\n{rows((4, *quad) for quad in QUADS)}'
    return (head + body + 'CELL_DATA 6\nSCALARS s float 1\nLOOKUP_TABLE default\n1 2 3 4 5 6\n').encode()


def vtk_binary():
    return (
        b'# vtk DataFile Version 3.0\nbox\nBINARY\nDATASET POLYDATA\nPOINTS 8 double\n' + POINTS.astype('>f8').tobytes()
        + b'\nPOLYGONS 12 48\n' + np.insert(FACES, 0, 3, axis=1).astype('>i4').tobytes() + b'\n'
    )  # fmt: skip


def vtk_strips():
    """The same box, its four sides as one strip."""
    strip = (10, 1, 0, 5, 4, 7, 6, 3, 2, 1, 0)
    ends = [(4, 0, 2, 6, 4), (4, 1, 5, 7, 3)]
    head = f'# vtk DataFile Version 3.0\nbox\nASCII\nDATASET POLYDATA\nPOINTS 8 float\n{rows(POINTS)}'
    return (head + f'POLYGONS 2 10\n{rows(ends)}TRIANGLE_STRIPS 1 11\n{rows([strip])}').encode()


def vtk_tetrahedra():
    # Six tetrahedra around the diagonal 0-7 fill the box.
    around = [1, 3, 2, 6, 4, 5, 1]
    cells = [(0, around[n + 1], around[n], 7) for n in range(6)]
    head = f'# vtk DataFile Version 2.0\nbox\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS 8 float\n{rows(POINTS)}'
    return (head + f'CELLS 6 30\n{rows((4, *cell) for cell in cells)}CELL_TYPES 6\n{rows([[10]] * 6)}').encode()


def vtp_text():
    return (
        '<?xml version="1.0"?><VTKFile type="PolyData" byte_order="LittleEndian"><PolyData><Piece NumberOfPoints="8" '
        f'NumberOfPolys="12"><Points><DataArray type="Float64" NumberOfComponents="3" format="ascii">{rows(POINTS)}'
        f'</DataArray></Points><Polys><DataArray type="Int64" Name="connectivity" format="ascii">{rows(FACES)}'
        '</DataArray><DataArray type="Int64" Name="offsets" format="ascii">'
        f'{" ".join(str(3 * n + 3) for n in range(12))}</DataArray></Polys></Piece></PolyData></VTKFile>'
    ).encode()


FILES = {
    'text.ply': ply_text(),
    'quads.ply': ply_text(faces=QUADS),
    'little.ply': ply_binary('<'),
    'big.ply': ply_binary('>'),
    'mixed.ply': ply_binary('<', quads=True),
    'binary.stl': stl_binary(),
    'text.STL': stl_text(),
    'box.obj': obj(),
    'text.vtk': vtk_text(),
    'new.vtk': vtk_text('5.1'),
    'binary.vtk': vtk_binary(),
    'strips.vtk': vtk_strips(),
    'tetrahedra.vtk': vtk_tetrahedra(),
    'box.vtp': vtp_text(),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize('name', FILES)
def test_every_format_gives_the_same_box(tmp_path, name):
    surface = read_surface(write(tmp_path, name, FILES[name]), unit='mm')
    assert surface.volume == pytest.approx(0.02 * 0.04 * 0.06, rel=1e-6)
    assert surface.is_watertight
    assert not surface.report.flipped
    assert (len(surface.vertices), len(surface.triangles)) == (8, 12)
    np.testing.assert_allclose(surface.bounds, [(0, 0, 0), (0.02, 0.04, 0.06)], atol=1e-9)


def test_ras_is_turned_to_lps_without_mirroring(tmp_path):
    surface = read_surface(write(tmp_path, 'box.ply', ply_text()), unit='mm', space='RAS')
    np.testing.assert_allclose(surface.bounds, [(-0.02, -0.04, 0), (0, 0, 0.06)], atol=1e-9)
    assert surface.volume > 0.0
    assert not surface.report.flipped


def test_a_file_that_names_its_axes_is_believed(tmp_path):
    path = write(tmp_path, 'box.ply', ply_text().replace(b'made for a test', b'SPACE=RAS'))
    with pytest.raises(InputError, match='the file says SPACE=RAS'):
        read_surface(path, unit='mm')
    assert read_surface(path, unit='mm', space='RAS').is_watertight


def test_writing_and_reading_gives_the_same_bits(tmp_path):
    surface = read_surface(write(tmp_path, 'box.ply', ply_text()), unit='mm', name='box')
    write_surface(tmp_path / 'again.ply', surface)
    again = read_surface(tmp_path / 'again.ply', unit='m', name='box')
    assert again.vertices.tobytes() == surface.vertices.tobytes()
    assert again.triangles.tobytes() == surface.triangles.tobytes()


def test_wrong_unit_is_asked_for(tmp_path):
    with pytest.raises(InputError, match='millimetres') as caught:
        read_surface(write(tmp_path, 'box.ply', ply_text()), unit='m')
    assert caught.value.code == 'ANATOMY_REFUSED'
    with pytest.raises(ConfigError, match='must be m or mm'):
        read_surface(tmp_path / 'box.ply', unit='cm')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('nan.ply', ply_text(points=np.vstack([POINTS[:-1], [(np.nan, 0, 0)]])), '1 of 8 vertices have NaN'),
        ('range.ply', ply_text(faces=[*FACES, (0, 1, 8)]), '1 of 13 triangles use vertices outside'),
        ('huge.ply', ply_text(announced=100_000_000), '100000000 elements are announced'),
        ('lies.ply', ply_text(announced=1000), 'needs at least'),
        ('cut.ply', ply_binary('<')[:-10], 'file'),
        ('noend.ply', b'ply\nformat ascii 1.0\n', 'no PLY header'),
        ('type.ply', ply_text().replace(b'float y', b'half y'), 'half'),
        ('huge.stl', stl_binary(100_000_000), '100000000 elements are announced'),
        ('lies.stl', stl_binary(13), 'needs at least 734 bytes'),
        ('empty.stl', b'', 'no'),
        ('empty.obj', b'', '0 vertices and 0 triangles'),
        ('flat.obj', b'v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n', 'no area'),
        ('word.obj', b'v a b c\n', 'not readable as OBJ'),
        ('huge.vtk', vtk_text().replace(b'POLYGONS 6 30', b'POLYGONS 100000000 400000000'), '100000000 elements'),
        ('short.vtk', vtk_text().replace(b'POINTS 8', b'POINTS 9'), '27 numbers are announced, 24'),
        ('cells.vtk', vtk_text().replace(b'\n4 0 1 3 2', b'\n99 0 1 3 2'), '6 cells do not fit the 30 numbers'),
        ('image.vtk', b'# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\n', 'is no surface'),
        ('bomb.vtp', b'<!DOCTYPE x [<!ENTITY a "aaaa">]><VTKFile/>', 'document type'),
        ('ends.vtp', vtp_text().replace(b'>3 6 9', b'>3 6 99'), 'offsets of Polys do not grow'),
        ('box.3ds', b'', "'.3ds' is none of"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as caught:
        read_surface(path, unit='mm')
    assert caught.value.code == 'ANATOMY_REFUSED'
    assert str(path) in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        read_surface(tmp_path / 'none.ply', unit='mm')


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(name=st.sampled_from(sorted(FILES)), cut=st.floats(0.0, 1.0), flips=st.lists(st.tuples(
    st.floats(0.0, 0.999), st.integers(0, 255)), max_size=4))  # fmt: skip
def test_damaged_files_give_a_surface_or_one_clear_error(tmp_path, name, cut, flips):
    content = bytearray(FILES[name][: int(cut * len(FILES[name]) + 1)])
    for where, value in flips:
        content[int(where * len(content))] = value
    try:
        surface = read_surface(write(tmp_path, name, bytes(content)), unit='mm')
    except InputError as error:
        assert error.code == 'ANATOMY_REFUSED'
    else:
        assert np.isfinite(surface.vertices).all()
        assert surface.triangles.max() < len(surface.vertices)


def test_real_files(shared_data):
    stylus = read_surface(shared_data / 'plus_tracker/CADModels/Stylus/Stylus_Example.stl', unit='mm')
    assert stylus.is_watertight
    needle = read_surface(shared_data / 'plus_tracker/CADModels/Stylus/needle_20cm.vtk', unit='mm')
    assert needle.is_watertight
    liver = read_surface(shared_data / 'liver_synthetic_stereo/synthetic_liver/liver-H07.ply', unit='mm')
    assert liver.is_watertight
    assert 0.8e-3 < liver.volume < 2e-3
    # PROVENANCE: centre (136.571, 151.973, -95.518), radius 8.119 mm.
    ball = read_surface(shared_data / 'fiducial_spheres/CT_Level_1.vtp', unit='mm')
    centre = 1e-3 * np.array([136.571, 151.973, -95.518])
    assert np.median(np.linalg.norm(ball.vertices - centre, axis=1)) == pytest.approx(8.119e-3, abs=0.05e-3)


OFF = b"""OFF
# a box in millimetres
8 6 0
0 0 0
10 0 0
0 20 0
10 20 0
0 0 30
10 0 30
0 20 30
10 20 30
"""
SIDES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]


@pytest.mark.parametrize('between', [b' ', b'\n'])
def test_off_with_faces_on_one_line_and_on_several(tmp_path, between):
    faces = b'\n'.join(b'4' + between + between.join(b'%d' % corner for corner in side) for side in SIDES)
    surface = read_surface(write(tmp_path, 'box.off', OFF + faces + b'\n'), unit='mm')
    assert surface.is_watertight and surface.volume == pytest.approx(6e-6)
    with pytest.raises(InputError, match='faces'):
        read_surface(write(tmp_path, 'cut.off', OFF + faces[:30]), unit='mm')


def test_vtk_headers_with_blank_lines_and_faces_in_an_unstructured_grid(tmp_path):
    text = vtk_text().decode().replace('\nASCII\n', '\nASCII\n\n').replace('DATASET', '\nDATASET')
    assert read_surface(write(tmp_path, 'a.vtk', text.encode()), unit='mm').is_watertight
    grid = (
        '# vtk DataFile Version 2.0\nx\nASCII\nDATASET UNSTRUCTURED_GRID\n'
        + text[text.index('POINTS') : text.index('POLYGONS')].rstrip()
        + '\nCELLS 1 9\n8 0 1 2 3 4 5 6 7\nCELL_TYPES 1\n11\nCELL_DATA 1\nPEDIGREE_IDS x vtkIdType\n0\n'
    )
    surface = read_surface(write(tmp_path, 'voxel.vtk', grid.encode()), unit='mm')
    assert surface.is_watertight and len(surface.triangles) == 12


def appended_vtp(compressor=''):
    """Return a VTP file of a tetrahedron with raw appended data, as ParaView writes it."""
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], '<f4')
    corners = np.array([0, 2, 1, 0, 1, 3, 1, 2, 3, 0, 3, 2], '<i8')
    blob, places = b'', []
    for array in (points, np.array([3, 6, 9, 12], '<i8'), corners):
        data = array.tobytes()
        places.append(len(blob))
        if compressor:
            packed = {
                'vtkZLibDataCompressor': zlib.compress,
                'vtkLZMADataCompressor': lzma.compress,
                'vtkLZ4DataCompressor': lambda raw: lz4.block.compress(raw, store_size=False),
            }[compressor](data)
            blob += np.array([1, len(data), 0, len(packed)], '<u4').tobytes() + packed
        else:
            blob += np.array([len(data)], '<u4').tobytes() + data
    kind = f' compressor="{compressor}"' if compressor else ''
    array = '<DataArray type="{}" Name="{}" format="appended" offset="{}"/>'
    return (
        f'<?xml version="1.0"?><VTKFile type="PolyData" byte_order="LittleEndian" header_type="UInt32"{kind}>'
        '<PolyData><Piece NumberOfPoints="4" NumberOfPolys="4"><Points>'
        f'<DataArray type="Float32" NumberOfComponents="3" format="appended" offset="{places[0]}"/></Points><Polys>'
        f'{array.format("Int64", "offsets", places[1])}{array.format("Int64", "connectivity", places[2])}</Polys>'
        '</Piece></PolyData><AppendedData encoding="raw">_'
    ).encode() + blob + b'</AppendedData></VTKFile>'  # fmt: skip


@pytest.mark.parametrize('compressor', ['', 'vtkZLibDataCompressor', 'vtkLZ4DataCompressor', 'vtkLZMADataCompressor'])
def test_raw_appended_data_is_read_packed_or_not(tmp_path, compressor):
    data = appended_vtp(compressor)
    surface = read_surface(write(tmp_path, 'a.vtp', data), unit='mm')
    assert surface.is_watertight and surface.volume == pytest.approx(1e-6 / 6)
    with pytest.raises(InputError, match=r'announced|LZ|readable'):
        read_surface(write(tmp_path, 'cut.vtp', data[: data.index(b'_') + 60]), unit='mm')


def test_packed_data_is_not_unpacked_beyond_what_is_announced(tmp_path):
    packed = zlib.compress(bytes(300_000_000))
    head = np.array([1, 300_000_000, 0, len(packed)], '<u4').tobytes()
    data = appended_vtp('vtkZLibDataCompressor')
    start = data.index(b'_', data.index(b'<AppendedData')) + 1
    path = write(tmp_path, 'bomb.vtp', data[:start] + head + packed + b'</AppendedData></VTKFile>')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match='are announced'):
        read_surface(path, unit='mm')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_obj_lines_that_go_on_and_texture_lists_of_ply(tmp_path):
    text = b'v 0 0 0\nv 10 0 0\nv 0 10 0\nv 0 0 10\nf 1 3 \\\n2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n'
    assert read_surface(write(tmp_path, 'a.obj', text), unit='mm').is_watertight
    ply = ply_text().replace(b'end_header', b'property list uchar float texcoord\nend_header')
    head, rows = ply.split(b'end_header\n')
    lines = [line + b' 2 0.25 0.5' if line.split()[:1] in ([b'4'], [b'3']) and len(line.split()) > 3 else line
             for line in rows.split(b'\n')]  # fmt: skip
    assert read_surface(write(tmp_path, 'a.ply', head + b'end_header\n' + b'\n'.join(lines)), unit='mm').is_watertight


@pytest.mark.parametrize(
    ('after', 'refused'), [(' 1', ''), (' 1.0 0.5 0.25', ''), (' 2', '2'), (' 0', '0'), (' -1', '-1')]
)
def test_obj_weights_other_than_one_are_refused_and_colours_are_not_weights(tmp_path, after, refused):
    text = f'v 0 0 0\nv 10 0 0\nv 0 10 0{after}\nv 0 0 10\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n'.encode()
    if refused:
        with pytest.raises(InputError, match=rf'vertex 3 has a weight \(w\) of {refused}: .*x y z'):
            read_surface(write(tmp_path, 'a.obj', text), unit='mm')
    else:
        volume = read_surface(write(tmp_path, 'a.obj', text), unit='mm').volume
        assert volume == pytest.approx(1e-9 * 10.0**3 / 6.0)
