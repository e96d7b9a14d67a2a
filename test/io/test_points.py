"""Point files as people write them: the points come out, the unit only where it is said, and nothing broken passes."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from twin_nodes.core.errors import InputError
from twin_nodes.core.simulate.organ import organ
from twin_nodes.io.meshes import write_surface
from twin_nodes.io.points import read_points

POINTS = np.round(np.random.default_rng(0).normal(0.0, 50.0, (40, 3)), 3)


def table(path, header='', *, rows=POINTS, sep=','):
    body = '\n'.join(sep.join(f'{value:.6g}' for value in row) for row in rows)
    path.write_text(f'{header}{body}\n')
    return path


@pytest.mark.parametrize(
    ('name', 'header', 'sep', 'unit'),
    [
        ('a.csv', 'x,y,z\n', ',', ''),
        ('a.csv', 'x_mm,y_mm,z_mm\n', ',', 'mm'),
        ('a.csv', '"X [m]";"Y [m]";"Z [m]"\n', ';', 'm'),
        ('a.csv', 'x (mm), y (mm), z (mm)\n', ',', 'mm'),
        ('a.xyz', '', ' ', ''),
        ('a.xyz', '40\n', ' ', ''),
        ('a.txt', '# unit: mm\n', '\t', 'mm'),
        ('a.pts', '// a comment\n\n', ' ', ''),
    ],
)
def test_tables(tmp_path, name, header, sep, unit):
    held = read_points(table(tmp_path / name, header, sep=sep))
    np.testing.assert_allclose(held.points, POINTS, atol=1e-3)
    assert held.unit == unit and len(held.sha256) == 64


def test_columns_are_found_by_their_names(tmp_path):
    rows = np.column_stack([np.arange(40), POINTS[:, ::-1], np.ones(40)])
    held = read_points(table(tmp_path / 'a.csv', 'time,z,y,x,quality\n', rows=rows))
    np.testing.assert_allclose(held.points, POINTS, atol=1e-3)
    slicer = '# Markups fiducial file version = 4.11\n# columns = id,x,y,z,ow\n'
    held = read_points(table(tmp_path / 'a.fcsv', slicer, rows=np.column_stack([np.arange(40), POINTS, np.zeros(40)])))
    np.testing.assert_allclose(held.points, POINTS, atol=1e-3)
    held = read_points(table(tmp_path / 'b.xyz', rows=np.column_stack([np.arange(1, 41), POINTS]), sep=' '))
    np.testing.assert_allclose(held.points, POINTS, atol=1e-3)
    assert 'counts the lines' in held.notes[0]


def test_arrays_and_meshes(tmp_path):
    from twin_nodes.core.anatomy.surface import make_surface

    np.save(tmp_path / 'a.npy', POINTS)
    np.testing.assert_array_equal(read_points(tmp_path / 'a.npy').points, POINTS)
    np.save(tmp_path / 'b.npy', POINTS.T)
    np.testing.assert_array_equal(read_points(tmp_path / 'b.npy').points, POINTS)
    np.savez(tmp_path / 'c.npz', points=POINTS, time=np.arange(40))
    np.testing.assert_array_equal(read_points(tmp_path / 'c.npz').points, POINTS)
    surface = make_surface('organ', *organ(500))
    write_surface(tmp_path / 'd.ply', surface)
    held = read_points(tmp_path / 'd.ply')
    np.testing.assert_array_equal(held.points, surface.vertices)
    assert held.unit == 'm'


def test_points_that_are_not_finite_are_left_out_and_counted(tmp_path):
    broken = POINTS.copy()
    broken[[3, 9], 1] = np.nan
    np.save(tmp_path / 'a.npy', broken)
    held = read_points(tmp_path / 'a.npy')
    assert len(held.points) == 38 and '2 of 40 points have NaN' in held.notes[0]
    np.save(tmp_path / 'b.npy', np.full((5, 3), np.inf))
    with pytest.raises(InputError, match='all 5 points') as failure:
        read_points(tmp_path / 'b.npy')
    assert failure.value.code == 'NOT_FINITE'


@pytest.mark.parametrize(
    ('name', 'content', 'match'),
    [
        ('a.csv', b'x,y\n1,2\n', 'lack one of x, y, z'),
        ('a.csv', b'hello\nworld\n', 'do not have three numbers'),
        ('a.xyz', b'1 2\n3 4\n', 'do not have three numbers'),
        ('a.ply', b'ply\nnonsense', 'PLY'),
        ('a.npy', b'\x00\x01', 'not readable as NPY'),
        ('a.jpg', b'', 'is none of'),
        ('a.csv', b'', 'array of shape'),
    ],
)
def test_what_holds_no_points_is_refused(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=match):
        read_points(tmp_path / name)
    with pytest.raises(InputError, match='no such file'):
        read_points(tmp_path / 'nowhere.csv')


def test_segmented_spheres_of_a_phantom(shared_data):
    held = read_points(shared_data / 'fiducial_spheres' / 'US_Sphere_2.vtp')
    assert len(held.points) == 1032


CLOUD = np.random.default_rng(6).normal([136.5, -151.9, 95.25], 8.0, (40, 3)).round(3)


def lines(mark, comma=False, before=None):
    rows = [mark.join([*([before(index)] if before else []), *(f'{value:.3f}' for value in point)])
            for index, point in enumerate(CLOUD)]  # fmt: skip
    return '\n'.join(rows).replace('.', ',') if comma else '\n'.join(rows)


SLICER = json.dumps({'markups': [{'coordinateSystem': 'LPS', 'coordinateUnits': 'mm', 'controlPoints': [
    *({'label': f'F-{at}', 'position': point} for at, point in enumerate(CLOUD.tolist())),
    {'label': 'open', 'position': [0.0, 0.0, 0.0], 'positionStatus': 'undefined'}]}]})  # fmt: skip
PCD = 'VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nPOINTS 40\nDATA '
DIALECTS = {
    'semicolons.csv': 'x;y;z\n' + lines(';', comma=True),
    'tabs.txt': lines('\t', comma=True),
    'blanks.txt': lines(' ', comma=True),
    'utf16.csv': ('x,y,z\n' + lines(',')).encode('utf-16'),
    'names.csv': lines(',', before=lambda at: f'F{at}'),
    'clock.csv': lines(',', before=lambda at: f'{0.1 * at:.1f}'),
    'cm.csv': 'x [cm],y [cm],z [cm]\n' + '\n'.join(','.join(f'{0.1 * v:.4f}' for v in point) for point in CLOUD),
    'um.csv': 'x_um,y_um,z_um\n' + '\n'.join(','.join(f'{1e3 * v:.0f}' for v in point) for point in CLOUD),
    'ras.fcsv': '# CoordinateSystem = RAS\n# columns = id,x,y,z\n'
                + '\n'.join(f'a,{-x:.3f},{-y:.3f},{z:.3f}' for x, y, z in CLOUD),
    'slicer.json': SLICER,
    'list.json': json.dumps(CLOUD.tolist()),
    'text.pcd': PCD + 'ascii\n' + lines(' ').replace('\n', ' 1\n') + ' 1\n',
    'binary.pcd': (PCD + 'binary\n').encode() + np.c_[CLOUD, np.ones(40)].astype('<f4').tobytes(),
}  # fmt: skip


@pytest.mark.parametrize('name', DIALECTS)
def test_the_same_points_from_each(tmp_path, name):
    text = DIALECTS[name]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_points(tmp_path / name)
    np.testing.assert_allclose(found.points, CLOUD, atol=2e-5 if name == 'binary.pcd' else 1e-9)
    assert found.unit == ('mm' if name.startswith(('cm', 'um', 'slicer')) else '')
    assert any('turned to LPS' in note for note in found.notes) == name.startswith('ras')


def test_arrays_of_matlab(tmp_path):
    savemat(tmp_path / 'a.mat', {'points': CLOUD.T, 'other': np.zeros((2, 2))})
    np.testing.assert_allclose(read_points(tmp_path / 'a.mat').points, CLOUD)


@pytest.mark.parametrize(
    ('form', 'body', 'said'),
    [('binary', b'\0' * 10, '40 points are announced, 0 are there'), ('binary_compressed', b'', 'is not read'),
     ('ascii', b'1 2\n', 'not readable')],
)  # fmt: skip
def test_clouds_that_are_cut_or_compressed_are_refused(tmp_path, form, body, said):
    (tmp_path / 'a.pcd').write_bytes(f'{PCD}{form}\n'.encode() + body)
    with pytest.raises(InputError, match=said):
        read_points(tmp_path / 'a.pcd')
