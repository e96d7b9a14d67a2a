"""Files that say where the tags sit on a body."""

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.marker_bodies import read_bodies, read_marker_bodies

LINE = '7 0 0 0 -10 -10 0 10 -10 0 10 10 0 -10 10 0'
SHORT = '8, -10 -10 5, 10 -10 5, 10 10 5, -10 10 5'
YAML = """
unit: mm
dictionary: tag36h11
bodies:
  drill:
    tags:
      3: {size: 20, centre: [0, 0, 5], rpy_deg: [0, 0, 90]}
      4: {corners: [[0, 0, 0], [20, 0, 0], [20, 20, 0], [0, 20, 0]]}
  board:
    charuco: {columns: 5, rows: 7, square: 30, marker: 22}
    dictionary: 4X4_50
"""


def written(tmp_path, text, name='tool.txt'):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_text_with_and_without_centres(tmp_path):
    (body,) = read_marker_bodies(written(tmp_path, f'# pointer\n{LINE}\n\n{SHORT}\n'))
    assert body.name == 'tool' and list(body.tags) == [7, 8]
    np.testing.assert_allclose(body.tags[8][2], [0.01, 0.01, 0.005])


def test_yaml_in_its_unit(tmp_path):
    drill, board = read_marker_bodies(written(tmp_path, YAML, 'bodies.yaml'))
    np.testing.assert_allclose(drill.tags[3][0], [0.01, -0.01, 0.005], atol=1e-12)  # a quarter turn about z
    assert drill.dictionary == 'APRILTAG_36H11' and board.dictionary == '4X4_50'
    assert board.board.square == pytest.approx(0.03) and len(board.board.corners()) == 24


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('', 'no tag in it'),
        ('7 1 2 3', r'tool\.txt:1: 4 numbers, expected an id and 12'),
        ('a b c', 'expected numbers'),
        (LINE.replace('7', '7.5', 1), 'expected an id'),
        (LINE.replace('-10', 'nan', 1), 'expected an id of 0 or above and finite'),
        (f'{LINE}\n{LINE}', 'txt:2: tag 7 twice'),
        (LINE.replace('7 0 0 0', '7 9 0 0'), 'the centre lies 9.00 mm'),
        (SHORT.replace('10 10 5', '10 30 5'), 'square'),
    ],
)
def test_text_that_is_wrong_is_refused_with_its_line(tmp_path, text, match):
    with pytest.raises(ConfigError, match=match):
        read_marker_bodies(written(tmp_path, text))


@pytest.mark.parametrize(
    ('old', 'new', 'match'),
    [
        ('unit: mm', 'unit: cm', "unit='cm': expected m or mm"),
        ('unit: mm\n', '', 'unit=None'),
        ('size: 20', 'size: -20', 'expected a number above 0'),
        ('size: 20', 'sise: 20', "unknown key 'sise'; did you mean 'size'"),
        ('tag36h11', 'tag36h12', 'is none of'),
        ('      3:', '      x:', 'expected an id'),
        ('columns: 5', 'columns: 5.5', 'whole numbers'),
        ('marker: 22', 'marker: 32', '0 < marker < square'),
        ('bodies:', 'body:', 'expected `bodies:`'),
        ('[20, 20, 0]', '[20, 20]', 'expected 4 x 3 finite numbers'),
    ],
)
def test_yaml_that_is_wrong_is_refused_with_its_key(tmp_path, old, new, match):
    assert old in YAML
    with pytest.raises(ConfigError, match=match):
        read_marker_bodies(written(tmp_path, YAML.replace(old, new, 1), 'bodies.yaml'))


def test_a_name_in_two_files_is_refused(tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    with pytest.raises(ConfigError, match="body 'tool' is in another file too"):
        read_bodies([written(tmp_path, LINE), written(other, SHORT)])


def test_bodies_of_the_real_videos(shared_data):
    folder = shared_data / 'aruco_video'
    sizes = {body.name: len(body.tags) for body in read_bodies(sorted(folder.glob('[prt]*_0.txt')))}
    assert sizes == {'tag_0': 1}
    assert {body.name: len(body.tags) for body in read_bodies([folder / 'pointer.txt', folder / 'reference.txt'])} == {
        'pointer': 6, 'reference': 12,
    }  # fmt: skip
