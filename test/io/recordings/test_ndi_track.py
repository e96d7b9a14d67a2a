"""Exports of NDI's own programs, and tables of poses, as recordings."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings import open_recording

GROUP = 'Frame,Face,State,Q0,Qx,Qy,Qz,Tx,Ty,Tz,Error,Markers'
HEADER = f'Tools,Port 1,{GROUP},State,Tx,Ty,Tz,Port 2,{GROUP}'
LOST = '{},,Missing,,,,,,,,,'


def row(frame, seen=True):
    first = f'{frame},0,OK,0.70710678,0.70710678,0,0,10.5,-20,-1500,0.1,4'
    return f'2,01,{first if seen else LOST.format(frame)},OK,1,2,3,02,{first.replace("10.5", "99")}'


@pytest.mark.parametrize('separator', [',', '\t', ';'])
def test_each_tool_is_read_and_what_is_missing_is_lost(tmp_path, separator):
    text = '\n'.join([HEADER, row(600), row(601, seen=False), row(602)]).replace(',', separator)
    text = text.replace('.', ',') if separator == ';' else text
    path = tmp_path / 'track.csv'
    path.write_text(text)
    recording = open_recording(path)
    assert (recording.kind, recording.devices) == ('ndi_track', ('port_1', 'port_2'))
    stamps, poses = recording.tracked('port_1')
    assert stamps == (10_000_000_000, 10_033_333_333)
    np.testing.assert_allclose(poses[0, :3, 3], [0.0105, -0.02, -1.5])
    np.testing.assert_allclose(poses[0, :3, :3], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-7)
    assert len(recording.tracked('port_2')[0]) == 3
    assert recording.frames[1].poses['port_1'].reason == 'Missing'
    assert any('60 Hz' in note for note in recording.notes)


def test_a_column_of_time_is_believed_and_rows_without_frame_left_out(tmp_path):
    path = tmp_path / 'track.csv'
    path.write_text('\n'.join(['Time,' + HEADER, '1.5,' + row(7), 'end of file', '1.75,' + row(8)]))
    recording = open_recording(path)
    assert [frame.stamp_ns for frame in recording.frames] == [1_500_000_000, 1_750_000_000]
    assert any('1 rows' in note for note in recording.notes)
    path.write_text(HEADER + '\nnothing\n')
    with pytest.raises(InputError, match='no row with a frame number'):
        open_recording(path)


@pytest.mark.parametrize(
    'text',
    ['Time;X [mm];Y [mm];Z [mm];Q0;Qx;Qy;Qz\n0,5;10,5;-20;30;1;0;0;0\n0,75;11;-20;30;1;0;0;0\n',
     't,x,y,z,qx,qy,qz,qw\n0.5,0.0105,-0.02,0.03,0,0,0,1\n0.75,0.011,-0.02,0.03,0,0,0,1\n'],
)  # fmt: skip
def test_a_table_of_poses_is_a_recording_of_one_tool(tmp_path, text):
    path = tmp_path / 'poses.csv'
    path.write_text(text)
    recording = open_recording(path)
    stamps, poses = recording.tracked('tool')
    assert (recording.kind, stamps) == ('pose_table', (500_000_000, 750_000_000))
    np.testing.assert_allclose(poses[:, :3, 3], [[0.0105, -0.02, 0.03], [0.011, -0.02, 0.03]])
    path.write_text('a,b\n1,2\n')
    with pytest.raises(InputError, match=r'no recording that is known.*as a table'):
        open_recording(path)
