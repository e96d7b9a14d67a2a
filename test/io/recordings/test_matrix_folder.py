import numpy as np
import pytest

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
    assert '1 of 3 matrices are no pose, the first 2' in recording.notes[-1]
