"""anatomy_node: surfaces from files, one bad one among good ones, and wrong units asked about."""

import nrrd
import numpy as np
import pytest
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.io.meshes import write_surface
from twin_nodes.nodes.anatomy_node import AnatomyNode
from twin_nodes.ros.clouds import surface_from_marker

RADIUS = 0.02


@pytest.fixture
def ball(tmp_path):
    """Writes a ball as PLY; in millimetres with scale 1000, with NaN when asked."""

    def write(name='ball', scale=1.0, nan=False):
        path = tmp_path / f'{name}.ply'
        vertices, triangles = superellipsoid(np.array([0.01, 0.02, 0.03]), np.full(3, RADIUS), exponent=1.0)
        vertices = vertices * scale
        if nan:
            vertices[3, 1] = np.nan
        lines = ['ply', 'format ascii 1.0', f'element vertex {len(vertices)}',
                 *(f'property double {axis}' for axis in 'xyz'), f'element face {len(triangles)}',
                 'property list uchar int vertex_indices', 'end_header']  # fmt: skip
        lines += [' '.join(map(repr, row)) for row in vertices.tolist()]
        lines += [f'3 {a} {b} {c}' for a, b, c in triangles.tolist()]
        path.write_text('\n'.join(lines) + '\n')
        return str(path)

    return write


@pytest.fixture
def volume(tmp_path):
    """A cube of label 2 in a box of label 1, voxels of 1 mm, written as NRRD."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:16, 4:16, 4:16] = 1
    labels[7:13, 7:13, 7:13] = 2
    path = tmp_path / 'labels.nrrd'
    header = {'space': 'left-posterior-superior', 'space directions': np.eye(3), 'space origin': [-9.5] * 3}
    nrrd.write(str(path), labels, header)
    return str(path)


def surfaces(start, probe, **parameters):
    """Start the node and return it with vertices and triangles by structure."""
    latched = probe.listen_latched(MarkerArray, 'anatomy/surface')
    node = start(AnatomyNode, **parameters)
    probe.until(lambda: latched, node, what='the surfaces')
    assert {marker.header.frame_id for marker in latched[0].markers} == {'anatomy'}
    return node, {marker.ns: surface_from_marker(marker) for marker in latched[0].markers}


def test_a_mesh_is_published_where_it_is(start, probe, ball):
    node, found = surfaces(start, probe, structures=['ball'], files=[ball()])
    vertices, triangles = found['ball']
    distance = np.linalg.norm(vertices - [0.01, 0.02, 0.03], axis=1)
    np.testing.assert_allclose(distance, RADIUS, atol=1e-9)
    surface = make_surface('ball', vertices, triangles)
    assert surface.is_watertight and surface.volume == pytest.approx(4.0 / 3.0 * np.pi * RADIUS**3, rel=0.03)
    probe.until_code('anatomy: structure ball', 'OK', node)


def test_millimetres_are_brought_to_metres_when_said_and_asked_about_when_not(start, probe, ball):
    path = ball('mm', scale=1000.0)
    _, found = surfaces(start, probe, structures=['ball'], files=[path], mesh_unit='mm')
    np.testing.assert_allclose(np.linalg.norm(found['ball'][0] - [0.01, 0.02, 0.03], axis=1), RADIUS, atol=1e-9)
    with pytest.raises(ConfigError, match='no structure could be read'):
        start(AnatomyNode, structures=['ball'], files=[path])
    probe.until_code('anatomy: structure ball', 'ANATOMY_REFUSED')
    assert 'millimetre' in probe.status('anatomy: structure ball').message


def test_one_bad_structure_does_not_take_the_good_ones_with_it(start, probe, ball, tmp_path):
    (tmp_path / 'cut.ply').write_bytes(b'ply\nformat binary_little_endian 1.0\nelement vertex 900000000\n')
    bad = {'nan': ball('nan', nan=True), 'cut': str(tmp_path / 'cut.ply'), 'gone': str(tmp_path / 'gone.stl'),
           'odd': __file__}  # fmt: skip
    node, found = surfaces(
        start, probe, structures=['ball', *bad, 'nerve'], files=[ball(), *bad.values(), 'room:nerve']
    )
    assert set(found) == {'ball', 'nerve'}
    reasons = {'nan': 'NaN', 'cut': 'cut.ply', 'gone': 'no file', 'odd': 'test_anatomy_node'}
    for name, words in reasons.items():
        probe.until_code(f'anatomy: structure {name}', 'ANATOMY_REFUSED', node)
        assert words in probe.status(f'anatomy: structure {name}').message


def test_labels_become_surfaces_in_metres(start, probe, volume):
    _, found = surfaces(start, probe, structures=['bone', 'nerve'], files=[volume, volume], labels=[1, 2])
    nerve = make_surface('nerve', *found['nerve'])
    assert nerve.is_watertight
    # voxels 7 … 12 at -9.5 + i mm: a cube of 6 mm around the origin. Its corners are rounded and its faces bulge by
    # less than half a voxel, so that the volume stays that of the voxels
    assert nerve.volume == pytest.approx(0.006**3, rel=0.01)
    np.testing.assert_allclose(nerve.bounds.mean(axis=0), [0.0] * 3, atol=1e-5)
    np.testing.assert_allclose(nerve.bounds, [[-0.003] * 3, [0.003] * 3], atol=5e-4)
    np.testing.assert_allclose(found['bone'][0].max(axis=0), [0.006] * 3, atol=5e-4)


@pytest.mark.parametrize(('labels', 'match'), [([7], 'label'), ([0], 'background'), ([], 'background')], ids=str)
def test_a_label_that_is_none_is_refused(start, probe, volume, labels, match):
    given = {'labels': labels} if labels else {}
    with pytest.raises(ConfigError, match='no structure could be read'):
        start(AnatomyNode, structures=['nerve'], files=[volume], **given)
    probe.until_code('anatomy: structure nerve', 'ANATOMY_REFUSED')
    assert match in probe.status('anatomy: structure nerve').message


def test_the_simulated_room_is_available(start, probe):
    room = Room(RoomConfig())
    _, found = surfaces(start, probe, structures=['n'], files=['room:nerve'])
    expected = make_surface('n', *room.structures['nerve'])
    assert len(found['n'][1]) == len(expected.triangles)
    with pytest.raises(ConfigError):
        start(AnatomyNode, structures=['n'], files=['room:brain'])
    probe.until_code('anatomy: structure n', 'ANATOMY_REFUSED')
    assert 'bone, nerve, artery' in probe.status('anatomy: structure n').message


def test_what_write_surface_wrote_is_read_to_the_bit(start, probe, tmp_path):
    surface = make_surface('ball', *superellipsoid(np.zeros(3), np.full(3, RADIUS), exponent=1.0))
    write_surface(tmp_path / 'ball.ply', surface)
    _, found = surfaces(start, probe, structures=['ball'], files=[str(tmp_path / 'ball.ply')])
    vertices, triangles = found['ball']
    np.testing.assert_array_equal(vertices[triangles], surface.vertices[surface.triangles])


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'structures': ['a', 'b'], 'files': ['x.ply']}, 'files has 1 entries for 2 structures'),
        ({'structures': ['a', 'a'], 'files': ['x.ply', 'y.ply']}, 'a name stands twice'),
        ({'structures': ['a'], 'files': ['x.ply'], 'labels': [1, 2]}, 'labels has 2 entries'),
        ({'structures': ['a'], 'files': ['x.ply'], 'mesh_unit': 'cm'}, 'none of m, mm'),
        ({'structures': ['a']}, 'files has 0 entries for 1 structures'),
        ({}, 'give `case`'),
        ({'case': 'x', 'files': ['y.ply']}, 'of no use with a case'),
        ({'case': 'no_such_folder'}, 'no case'),
        ({'structures': ['a'], 'files': ['x.ply'], 'deforming__enabled': True}, 'deforming needs tetrahedra'),
        ({'case': 'x', 'deforming__target_places': [1.0]}, '1 numbers for 0 names'),
    ],
    ids=str,
)
def test_a_wrong_configuration_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(AnatomyNode, **settings)
