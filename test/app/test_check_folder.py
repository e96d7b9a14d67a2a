"""`twin check FOLDER`: one thing that many files make, or each thing in it; texts that are no recording."""

import numpy as np
import pytest

from twin_nodes.app.check import check, inspect
from twin_nodes.app.check_folder import MOST_FILES
from twin_nodes.core.errors import InputError

MATRIX = '1 0 0 10\n0 1 0 -20\n0 0 1 30\n0 0 0 1\n'
TRACE = 'pub_time(ms) delay(ms)\n' + ''.join(f'{10 * row} {20 + row % 3}\n' for row in range(50))
STL = 'solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n'


def points(count):
    return ''.join('{:.3f} {:.3f} {:.3f}\n'.format(*row) for row in np.random.default_rng(1).normal(0, 40, (count, 3)))


@pytest.fixture
def mixed(tmp_path):
    """A download as others pack it: a licence, a trace of a link, points, a mesh that is open, a foreign file."""
    (tmp_path / 'LICENSE').write_text('MIT\n')
    (tmp_path / 'README.md').write_text('# data\n')
    (tmp_path / 'tool.rom').write_bytes(bytes(20))
    inner = tmp_path / 'link' / 'n78'
    inner.mkdir(parents=True)
    (inner / 'run01.txt').write_text(TRACE)
    (tmp_path / 'organ.xyz').write_text(points(50))
    (tmp_path / 'broken.stl').write_text(STL)
    (tmp_path / '.hidden').mkdir()
    (tmp_path / '.hidden' / 'more.xyz').write_text(points(9))
    return tmp_path


def test_each_thing_in_a_folder_is_told(mixed, capsys):
    assert check(mixed) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('folder, 2 that can be used, 1 refused, 3 of no known kind')
    told = '\n'.join(lines)
    assert 'link/n78/run01.txt: trace of a link, good: 50 delays over 0.5 s, half within 21.0 ms' in told
    assert 'organ.xyz: points, good: 50' in told
    assert 'broken.stl: refused: ' in told
    assert 'of no known kind: LICENSE, README.md, tool.rom' in told
    assert 'hidden' not in told
    assert lines.index(next(line for line in lines if 'refused:' in line)) > 2, 'what can be used comes first'


def test_a_folder_of_matrices_is_one_recording_where_nothing_else_lies_in_it(tmp_path):
    for number in range(3):
        (tmp_path / f'{number}.txt').write_text(MATRIX.replace('30', str(30 + number)))
    (tmp_path / 'README.txt').write_text('poses\n')
    assert inspect(tmp_path).startswith('recording (matrix_folder), good: 3 frames')
    (tmp_path / 'organ.xyz').write_text(points(50))
    told = inspect(tmp_path)
    assert told.startswith('folder, 4 that can be used')
    assert '1.txt: one rigid transform, good: turns by 0.0°, shifts by 38.2 mm' in told


def test_folders_in_a_folder_that_are_one_thing_are_told_as_one(tmp_path):
    for side in ('left', 'right'):
        (tmp_path / 'poses' / side).mkdir(parents=True)
        for number in range(2):
            (tmp_path / 'poses' / side / f'{number}.txt').write_text(MATRIX)
    told = inspect(tmp_path)
    assert 'poses/left: recording (matrix_folder), good: 2 frames' in told
    assert told.count('recording') == 2


def test_corner_files_are_told_by_side(tmp_path):
    for side in ('left', 'right'):
        (tmp_path / side).mkdir()
        for number in (10, 20, 30):
            (tmp_path / side / f'{side}-{number}.png.points.txt').write_text('1.5 2.5\n' * 20)
    (tmp_path / 'chessboard_5_4_3.txt').write_text('0 0 0\n' * 20)
    assert inspect(tmp_path).startswith('corners of a board in pictures, good: 3 left, 3 right')


def test_nothing_that_can_be_used_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / 'broken.stl').write_text(STL)
    (tmp_path / 'notes.txt').write_text('words\n')
    with pytest.raises(InputError, match=r'nothing in it can be used; .*1 refused, 1 of no known kind: broken\.stl'):
        inspect(tmp_path)
    with pytest.raises(InputError, match='0 that can be used, 0 refused, 0 of no known kind'):
        empty = tmp_path / 'empty'
        empty.mkdir()
        inspect(empty)


def test_a_folder_of_many_files_is_bounded(tmp_path):
    for number in range(MOST_FILES + 5):
        (tmp_path / f'{number:04}.rom').touch()
    (tmp_path / '0000.xyz').write_text(points(8))
    told = inspect(tmp_path)
    assert f'only the first {MOST_FILES} looked at' in told
    assert told.endswith(', …')


@pytest.mark.parametrize(
    ('name', 'text', 'told'),
    [
        ('a.txt', MATRIX, 'one rigid transform, good'),
        ('a.txt', TRACE, 'trace of a link, good'),
        ('a.txt', '900 0 320\n0 910 240\n0 0 1\n', 'camera, good, but it does not say the size of its image'),
        ('a.txt', points(20), 'points, good: 20'),
        ('a.csv', 'x,y,z\n1,2,3\n4,5,7\n1,1,1\n8,2,1\n3,3,9\n0,0,4\n', 'points, good: 6'),
        ('ping.log', 'PING 127.0.0.1\n' + ''.join(
            f'[17000000{row:02}.5] 64 bytes from 127.0.0.1: icmp_seq={row} ttl=64 time=0.04{row} ms\n'
            for row in range(1, 9)), 'trace of a link, good: 8 round trips'),
    ],
)  # fmt: skip
def test_texts_that_are_no_recording(tmp_path, name, text, told):
    file = tmp_path / name
    file.write_text(text)
    assert inspect(file).startswith(told)


@pytest.mark.parametrize('text', ['1 0 0\n0 1 0\n0 0 1\n', 'two 2\n', '2 0 0 1\n0 1 0 1\n0 0 1 1\n0 0 0 1\n', ''])
def test_texts_of_no_known_kind_are_refused(tmp_path, text):
    file = tmp_path / 'a.txt'
    file.write_text(text)
    with pytest.raises(InputError, match=r'a\.txt'):
        inspect(file)


def test_samples_of_a_record_point_to_its_header(tmp_path):
    (tmp_path / '100.dat').write_bytes(bytes(64))
    with pytest.raises(InputError):
        inspect(tmp_path / '100.dat')
    (tmp_path / '100.hea').write_text('100 1 100 16\n100.dat 16 1 16 0 0 0 0 RESP\n')
    assert 'the samples of 100.hea' in inspect(tmp_path / '100.dat')
