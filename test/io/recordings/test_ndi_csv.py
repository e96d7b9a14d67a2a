import datetime

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.tracking.reading import ToolStatus
from twin_nodes.io.recordings import open_recording

HEADER = 'Sample:,Hour,Minutes,Seconds,ms,Xa,Ya,Za,qoa,qxa,qya,qza,Xb,Yb,Zb,qob,qxb,qyb,qzb'
PREAMBLE = 'Test Date: \r\nday, month, year, hour, minute, second, milliseconds\r\n{date} \r\n\r\n'
SEEN = '100.0 , -60.5 , -158.25, 0.5 , 0.5 , 0.5, -0.5'
MISSING = '-3.697314E28, -3.697314E28, -3.697314E28, -3.697314E28, -3.697314E28, -3.697314E28, -3.697314E28'
ZEROS = '0, 0, 0, 0, 0, 0, 0'


def write(tmp_path, *rows, date='2, 2, 2021, 23, 59 , 58 , 821', header=HEADER):
    path = tmp_path / 'aurora.csv'
    path.write_bytes((PREAMBLE.format(date=date) + header + '\r\n' + '\r\n'.join(rows)).encode() + b'\r\n')
    return path


def epoch_ns(*date):
    return int(datetime.datetime(*date, tzinfo=datetime.UTC).timestamp()) * 10**9


def test_reads_pose_in_metres_and_quaternion_wxyz(tmp_path):
    recording = open_recording(write(tmp_path, f'1, 23 , 59 , 59, 26,{SEEN}, {ZEROS}, '))
    (frame,) = recording.frames
    assert recording.devices == ('A', 'B')
    assert frame.stamp_ns == epoch_ns(2021, 2, 2, 23, 59, 59) + 26_000_000
    pose = frame.poses['A'].tracker_T_tool
    np.testing.assert_allclose(pose[:3, 3], [0.1, -0.0605, -0.15825], rtol=1e-12)
    # w = x = y = ½, z = −½ turns x into −z: first column is (0, 0, −1)
    np.testing.assert_allclose(pose[:3, 0], [0.0, 0.0, -1.0], atol=1e-12)


def test_zeros_are_lost_and_never_a_pose_at_the_origin(tmp_path):
    recording = open_recording(write(tmp_path, f'1, 23, 59, 59, 26,{ZEROS}, 0, 0, 0, 1, 0, 0, 0, '))
    for reading in recording.frames[0].poses.values():
        assert reading.status is ToolStatus.LOST
        assert reading.reason == 'written as zeros'


def test_midnight_goes_on(tmp_path):
    rows = [f'1, 23, 59, 59, 900,{SEEN}, {SEEN}, ', f'2, 0, 0, 0, 100,{SEEN}, {SEEN}, ']
    first, second = open_recording(write(tmp_path, *rows)).frames
    assert second.stamp_ns - first.stamp_ns == 200_000_000


def test_decimal_commas_with_semicolons(tmp_path):
    path = tmp_path / 'aurora.csv'
    values = '100,5;-60,0;-158,0;0,5;0,5;0,5;-0,5'
    path.write_text(HEADER.replace(',', ';') + f'\n1;10;00;01;250;{values};{values};;\n')
    recording = open_recording(path)
    assert recording.frames[0].poses['A'].tracker_T_tool[0, 3] == pytest.approx(0.1005)
    assert any('no date' in note for note in recording.notes)


def test_a_last_line_that_is_cut_loses_what_may_be_cut(tmp_path):
    path = write(tmp_path, f'1, 23, 59, 59, 26,{SEEN}, {SEEN}, ')
    path.write_bytes(path.read_bytes() + b'2, 23, 59, 59, 66,' + SEEN.encode() + b', 1, 2, 3, 0.5, 0.5, 0.5, -0.49')
    last = open_recording(path).frames[-1]
    assert last.poses['A'].status is ToolStatus.TRACKED
    assert last.poses['B'].reason == 'values are missing'


def test_more_values_than_names_and_odd_rows(tmp_path):
    rows = [f'1, 23, 59, 59, 26,{SEEN}, {SEEN}, 9, 9, 9', '', '2, x, 59, 59, 30, 1', '3, 23, 59, 59, 888,']
    recording = open_recording(write(tmp_path, *rows))
    assert len(recording.frames) == 1
    assert len(recording.notes) == 2


@pytest.mark.parametrize(
    ('values', 'reason'),
    [('1, 2, 3, 0.5, 0, 0, 0', 'norm 0.5'), ('nan, 2, 3, 1, 0, 0, 0', 'NaN'), ('a, 2, 3, 1, 0, 0, 0', 'unreadable')],
)
def test_bad_values_are_lost_with_the_reason(tmp_path, values, reason):
    recording = open_recording(write(tmp_path, f'1, 23, 59, 59, 26,{values}, {SEEN}, '))
    assert reason in recording.frames[0].poses['A'].reason
    assert recording.frames[0].poses['B'].status is ToolStatus.TRACKED


@pytest.mark.parametrize(
    ('header', 'device'),
    [('Sample,Hour,Minute,Second,Millisecond,Tx1,Ty1,Tz1,Q01,Qx1,Qy1,Qz1', '1'),
     ('Sample:,Hour,Minutes,Seconds,ms,X,Y,Z,qo,qx,qy,qz', 'tool'),
     ('Sample:,Hour,Minutes,Seconds,ms,X_AA,Y_AA,Z_AA,q0_AA,qx_AA,qy_AA,qz_AA', 'AA')],
)  # fmt: skip
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_titles_and_texts_of_other_programs(tmp_path, header, device, encoding):
    path = write(tmp_path, f'1, 23, 59, 59, 26,{SEEN},', f'2, 23, 59, 59, 66,{MISSING}', header=header)
    path.write_bytes(path.read_text().encode(encoding))
    recording = open_recording(path)
    assert recording.devices == (device,)
    assert [frame.poses[device].status for frame in recording.frames] == [ToolStatus.TRACKED, ToolStatus.LOST]
    assert recording.frames[0].poses[device].tracker_T_tool[0, 3] == pytest.approx(0.1)


def test_header_without_sensors_is_refused(tmp_path):
    with pytest.raises(InputError, match='no header line'):
        open_recording(write(tmp_path, '1, 2, 3', header='Hour,Minutes,Seconds,ms,temperature'))


def test_real_recording(shared_data):
    recording = open_recording(shared_data / 'em_aurora_snake' / 'NDIdata_snakeravenTest_2_2_21.csv')
    assert len(recording.frames) == 158
    seen = {device: len(recording.tracked(device)[0]) for device in recording.devices}
    assert seen == {'A': 156, 'B': 154, 'C': 149, 'D': 157}
    for device in recording.devices:
        positions = recording.tracked(device)[1][:, :3, 3]
        assert np.linalg.norm(positions, axis=1).min() > 0.1
        assert np.ptp(positions, axis=0).max() < 0.5e-3
