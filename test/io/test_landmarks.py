"""Landmark files: what is written is read, in its order; what is no landmark is refused by name."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.io.landmarks import read_landmarks, write_landmarks
from twin_nodes.io.whole_files import MAX_FILE_BYTES

names = st.text(st.characters(categories=['L', 'N', 'P', 'S', 'Zs']), min_size=1, max_size=12)
points = st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=3).map(np.array)


@given(st.dictionaries(names, points, min_size=3, max_size=10))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_to_the_bit_and_in_order(tmp_path_factory, landmarks):
    path = tmp_path_factory.mktemp('landmarks') / 'l.yaml'
    write_landmarks(path, landmarks)
    read_names, positions = read_landmarks(str(path))
    assert read_names == tuple(landmarks)
    np.testing.assert_array_equal(positions, np.array(list(landmarks.values())))


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_landmarks_or_a_config_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('bytes') / 'l.yaml'
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r'l\.yaml'):
        read_landmarks(str(path))


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('', 'expected `landmarks:`'),
        ('landmarks: [1, 2]', 'expected `landmarks:`'),
        ('landmarks: {}', '0 landmarks, at least 3'),
        ('landmarks: {a: [0, 0, 0], b: [0.1, 0, 0]}', '2 landmarks, at least 3'),
        ('landmarks: {a: [0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}', 'landmark a=.* three finite numbers'),
        ('landmarks: {a: [0, 0, .inf], b: [0.1, 0, 0], c: [0, 0.1, 0]}', 'landmark a=.* three finite numbers'),
        ('landmarks: {a: [0, 0, true], b: [0.1, 0, 0], c: [0, 0.1, 0]}', 'landmark a=.* three finite numbers'),
        ('landmarks: {a: "1 2 3", b: [0.1, 0, 0], c: [0, 0.1, 0]}', 'landmark a=.* three finite numbers'),
        ('landmarks: {a: [0, 0, 0], b: [120.5, 0, 0], c: [0, 0.1, 0]}', 'landmark b=.*millimetres'),
        ('landmarks: {a: [0, 0, 0], a: [0.2, 0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}', "'a' stands twice"),
        ('landmarks: {1: [0, 0, 0], "1": [0.2, 0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}', "'1' stands twice"),
        ('landmarks: [', 'not readable as YAML'),
    ],
)
def test_a_file_that_holds_no_landmarks_is_refused(tmp_path, text, match):
    path = tmp_path / 'l.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=match):
        read_landmarks(str(path))


def test_a_missing_or_huge_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='there is no file'):
        read_landmarks(str(tmp_path / 'nowhere.yaml'))
    path = tmp_path / 'huge.yaml'
    path.write_bytes(b'#' * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match='above'):
        read_landmarks(str(path))


def test_a_billion_laughs_does_not_take_the_memory(tmp_path):
    lines = ['a0: &a0 [0, 0, 0]'] + [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 12)]
    path = tmp_path / 'laughs.yaml'
    path.write_text('\n'.join([*lines, 'landmarks: {a: *a11, b: [0, 0, 0], c: [0, 0, 0.1]}']))
    with pytest.raises(ConfigError, match='laughs') as caught:
        read_landmarks(str(path))
    assert len(str(caught.value)) < 1000


def test_the_simulated_room_has_landmarks():
    landmark_names, positions = read_landmarks('room')
    room = Room(RoomConfig())
    assert landmark_names == tuple(room.landmarks)
    np.testing.assert_array_equal(positions, np.array(list(room.landmarks.values())))


def test_the_phantom_of_a_plus_configuration_has_its_eight(shared_data):
    path = shared_data / 'plus_tracker' / 'ConfigFiles' / 'PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml'
    landmark_names, positions = read_landmarks(str(path))
    assert len(landmark_names) == 8 and positions.shape == (8, 3)
    assert np.abs(positions).max() < 0.3


def test_an_xml_that_is_no_plus_configuration_is_refused(tmp_path):
    path = tmp_path / 'other.xml'
    path.write_text('<html/>')
    with pytest.raises(ConfigError, match=r'other\.xml'):
        read_landmarks(str(path))


PLACES = np.array([[12.5, -3.25, 40.0], [-20.0, 8.5, 31.25], [4.0, 60.5, -12.75]])
MARKS = ['nasion', 'left tragus', 'F-3']


def rows(mark, scale=1.0, comma=False, flip=1.0):
    lines = [mark.join([name, f'{flip * scale * x:.5f}', f'{flip * scale * y:.5f}', f'{scale * z:.5f}'])
             for name, (x, y, z) in zip(MARKS, PLACES.tolist(), strict=True)]  # fmt: skip
    return '\n'.join(lines).replace('.', ',') if comma else '\n'.join(lines)


def markups(system):
    flip = np.array([-1.0, -1.0, 1.0]) if system == 'RAS' else 1.0
    points = [{'id': str(at), 'label': name, 'position': place}
              for at, (name, place) in enumerate(zip(MARKS, (PLACES * flip).tolist(), strict=True))]  # fmt: skip
    points.append({'id': '9', 'label': 'unset', 'position': [0, 0, 0], 'positionStatus': 'undefined'})
    return json.dumps({'markups': [{'coordinateSystem': system, 'coordinateUnits': 'mm', 'controlPoints': points}]})


TABLES = {
    'plain.csv': 'name,x,y,z\n' + rows(','),
    'untitled.csv': rows(','),
    'semicolons.csv': 'Name;X [mm];Y [mm];Z [mm]\n' + rows(';', comma=True),
    'metres.csv': 'name,x_m,y_m,z_m\n' + rows(',', 1e-3),
    'small metres.csv': rows(',', 1e-3),
    'cm.tsv': 'label\tx [cm]\ty [cm]\tz [cm]\n' + rows('\t', 0.1),
    'slicer.fcsv': '# Markups\n# CoordinateSystem = LPS\n# columns = label,x,y,z\n' + rows(','),
    'old slicer.fcsv': '# CoordinateSystem = 0\n# columns = label,x,y,z\n' + rows(',', flip=-1.0),
    'slicer.mrk.json': markups('LPS'),
    'ras.mrk.json': markups('RAS'),
}


@pytest.mark.parametrize('name', TABLES)
def test_landmarks_of_other_tools(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name])
    found, positions = read_landmarks(str(tmp_path / name))
    assert found == tuple(MARKS)
    np.testing.assert_allclose(positions, PLACES * 1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [('a.csv', '', 'no line with a name'), ('a.csv', 'name,x,y\na,1,2\n', 'line 2: .*expected a name and x, y, z'),
     ('a.csv', rows(',') + '\nF-3,1,2,3', "'F-3' stands twice"), ('a.json', '{"markups": 1}', 'a.json'),
     ('a.json', '[', 'not readable as JSON'),
     ('a.json', '{"markups": [{"controlPoints": [{"position": 3}]}]}', 'a.json')],
)  # fmt: skip
def test_tables_that_hold_no_landmarks(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_landmarks(str(tmp_path / name))
