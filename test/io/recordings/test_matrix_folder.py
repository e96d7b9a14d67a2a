import json

import numpy as np
import pytest
from recording_texts import in_millimetres, known_poses

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings import open_recording


def test_stamps_come_from_the_names(tmp_path):
    for stamp, x in (('1378476418747859600', 20.0), ('1378476417807806000', 10.0)):
        matrix = np.eye(4)
        matrix[0, 3] = x
        np.savetxt(tmp_path / f'{stamp}.txt', matrix)
    (tmp_path / 'README.txt').write_text('not a matrix')
    recording = open_recording(tmp_path)
    stamps, poses = recording.tracked('tool')
    assert stamps == (1378476417807806000, 1378476418747859600)
    assert poses[:, 0, 3].tolist() == [0.01, 0.02]
    assert recording.notes == ('README.txt holds no 4×4 matrix and was left out',)


def test_left_handed_matrix_is_lost_with_the_reason(tmp_path):
    np.savetxt(tmp_path / 'a.txt', np.diag([1.0, 1.0, -1.0, 1.0]))
    reading = open_recording(tmp_path).frames[0].poses['tool']
    assert reading.tracker_T_tool is None
    assert 'left-handed' in reading.reason


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'no text file \(\.txt, .* with a 4×4 matrix'):
        open_recording(tmp_path)


def test_names_that_are_no_stamps(tmp_path):
    for name in ('9999999999999999999', '1'):
        np.savetxt(tmp_path / f'{name}.txt', np.eye(4))
    recording = open_recording(tmp_path)
    assert [frame.stamp_ns for frame in recording.frames] == [0, 10**9]
    assert 'no stamps' in recording.notes[0]


def test_metres_three_rows_and_other_endings_are_recognised_and_said(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = [0.3, -0.1, 1.9]
    np.savetxt(tmp_path / '1378476418747859600.csv', matrix[:3], delimiter=',')
    np.savetxt(tmp_path / '1378476419747859600.dat', matrix)
    recording = open_recording(tmp_path)
    np.testing.assert_allclose(recording.tracked('tool')[1], [matrix, matrix])
    assert recording.notes == ('positions taken as metres: all are below 10',)


def test_a_matrix_that_is_no_pose_is_counted_and_named(tmp_path):
    matrix = np.eye(4)
    matrix[2, 3] = 900.0
    for name in ('1', '2', '3'):
        np.savetxt(tmp_path / f'{name}.txt', np.full((4, 4), np.nan) if name == '2' else matrix)
    recording = open_recording(tmp_path)
    assert len(recording.tracked('tool')[0]) == 2
    assert '1 of 3 matrices are no pose, the first 2' in recording.notes[0]
    assert [frame.stamp_ns for frame in recording.frames] == [0, 10**9, 2 * 10**9]  # names that count are no stamps


def text(matrix, mark=' '):
    return '\n'.join(mark.join(repr(value) for value in row) for row in matrix.tolist())


DIALECTS = {
    'transposed': ('.txt', lambda m: text(m.T).encode()),
    'byte order mark': ('.txt', lambda m: b'\xef\xbb\xbf' + text(m).replace('\n', '\r\n').encode()),
    '16 bits': ('.txt', lambda m: text(m).encode('utf-16')),
    'brackets': ('.txt', lambda m: str(m.tolist()).encode()),
    'comments': ('.csv', lambda m: b'# tracker_T_tool\n' + text(m, ', ').encode()),
    'decimal commas': ('.txt', lambda m: text(m, '\t').replace('.', ',').encode()),
    'json': ('.json', lambda m: json.dumps(m.tolist()).encode()),
}


@pytest.mark.parametrize(('ending', 'write'), DIALECTS.values(), ids=DIALECTS)
def test_other_ways_to_write_a_matrix(tmp_path, ending, write):
    for index, matrix in enumerate(in_millimetres(known_poses())):
        (tmp_path / f'pose_{index}{ending}').write_bytes(write(matrix))
    np.testing.assert_allclose(open_recording(tmp_path).tracked('tool')[1], known_poses(), atol=1e-12)


@pytest.mark.parametrize(
    ('name', 'step'),
    [(lambda i: f'{1700000000000000 + i * 50_000}', 50_000_000), (lambda i: f'{1700000000 + i / 20:.3f}', 50_000_000),
     (lambda i: f'frame_{1700000000000000000 + i * 10**8}', 10**8), (lambda i: f'{i:04d}', 10**9),
     (lambda i: f'calib.tracking.{i}', 10**9), (lambda i: f'pose-{i}', 10**9)],
)  # fmt: skip
def test_stamps_in_names_of_any_unit_and_names_that_count(tmp_path, name, step):
    for index, matrix in enumerate(in_millimetres(known_poses(12))):
        (tmp_path / f'{name(index)}.txt').write_text(text(matrix))
    stamps, poses = open_recording(tmp_path).tracked('tool')
    assert np.diff(stamps).tolist() == [step] * 11
    np.testing.assert_allclose(poses, known_poses(12), atol=1e-12)


def test_a_tool_that_was_not_seen_is_lost(tmp_path):
    for index, matrix in enumerate(in_millimetres(known_poses(12))):
        (tmp_path / f'{index}.txt').write_text(text({3: np.eye(4), 5: np.zeros((4, 4))}.get(index, matrix)))
    recording = open_recording(tmp_path)
    assert [frame.poses['tool'].reason for frame in recording.frames][3:6] == [
        'written as the identity',
        '',
        'written as zeros',
    ]


def test_folders_in_the_folder_are_named(tmp_path):
    for name in ('pointer', 'reference'):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match='name one of the folders in it: pointer, reference'):
        open_recording(tmp_path)
