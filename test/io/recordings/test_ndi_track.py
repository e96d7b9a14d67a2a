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


CAPI = 'ToolInfo,Frame#,PortHandle,Face#,TransformStatus,Q0,Qx,Qy,Qz,Tx,Ty,Tz,Error,#Markers,Marker0.Status,Tx,Ty,Tz'
SEEN = '0.70710678,0.70710678,0,0,10.5,-20,-1500,0.1,1,OK,1,2,3'


def test_the_combined_api_sample(tmp_path):
    """NDI's sample writes Enabled for a tool that is seen, and Missing with empty fields for one that is not."""
    path = tmp_path / 'capi.csv'
    gone = 'Missing,,,,,,,,,1,Missing,,,'
    path.write_text('\n'.join([
        f'#Tools,{CAPI},{CAPI}',
        f'2,449 s/n:3A,60,Port:10,0,Enabled,{SEEN},450 s/n:3B,60,Port:11,0,{gone}',
        f'2,449 s/n:3A,120,Port:10,0,PartiallyOutOfVolume,{SEEN},450 s/n:3B,121,Port:11,0,Enabled,{SEEN}',
    ]))  # fmt: skip
    recording = open_recording(path)
    assert recording.devices == ('port_10', 'port_11')
    stamps, poses = recording.tracked('port_10')
    assert stamps == (10**9,)
    np.testing.assert_allclose(poses[0, :3, 3], [0.0105, -0.02, -1.5])
    assert [frame.poses['port_11'].reason for frame in recording.frames] == ['Missing', '']
    assert recording.frames[1].poses['port_10'].reason == 'PartiallyOutOfVolume'


def test_the_clock_of_the_camera_is_believed_where_it_runs(tmp_path):
    path = tmp_path / 'capi.csv'
    head = '#Tools,' + CAPI.replace('Face#,', 'Face#,timespec_s,timespec_ns,')
    for second, stamps in (
        (1_700_000_000, (1_700_000_000_250_000_000, 1_700_000_000_266_000_000)),
        (0, (10**9, 2 * 10**9)),
    ):
        rest = (250_000_000, 266_000_000) if second else (0, 0)
        rows = [f'1,a s/n:1,{60 * (at + 1)},Port:3,0,{second},{rest[at]},Enabled,{SEEN}' for at in range(2)]
        path.write_text('\n'.join([head, *rows]))
        recording = open_recording(path)
        assert recording.tracked('port_3')[0] == stamps
        assert any('60 Hz' in note for note in recording.notes) == (second == 0)


def test_a_row_for_each_tool(tmp_path):
    path = tmp_path / 'rows.csv'
    rows = [
        f'{frame},Port:{port},0,Enabled,{SEEN}'
        for frame in (60, 61, 62)
        for port in (10, 11)
        if (frame, port) != (61, 11)
    ]
    path.write_text('\n'.join([CAPI.replace('ToolInfo,', '').replace('PortHandle', 'ToolHandle'), *rows]))
    recording = open_recording(path)
    assert [len(recording.tracked(tool)[0]) for tool in ('port_10', 'port_11')] == [3, 2]
    assert [frame.frame_number for frame in recording.frames] == [60, 61, 62]
    assert recording.frames[1].poses['port_11'].reason == 'no row'


def test_angles_of_tool_tracker_are_degrees_about_z_y_x(tmp_path):
    path = tmp_path / 'track.csv'
    path.write_text(
        'Tools,Port 1,Frame,Face,State,Rz,Ry,Rx,Tx,Ty,Tz,Error\n'
        '1,p,60,1,OK,90,0,0,1,2,3,0\n1,p,61,1,OK,90,0,90,1,2,3,0\n'
    )
    recording = open_recording(path)
    poses = recording.tracked('port_1')[1]
    np.testing.assert_allclose(poses[0, :3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(poses[1, :3, :3], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert any('degrees' in note for note in recording.notes)


def test_sensors_of_a_wave(tmp_path):
    path = tmp_path / 'wave.tsv'
    head = 'Time [s],MeasId [Meas],' + ','.join(f'Sensor {n} Id,Sensor {n} Status,X,Y,Z,Q0,Qx,Qy,Qz' for n in (1, 2))
    rows = [f'{at / 100},{at},1,OK,{at + 1},2,3,1,0,0,0,2,{"OK" if at else "BAD_FIT"},7,8,9,1,0,0,0' for at in range(3)]
    path.write_text('\n'.join([head, *rows]).replace(',', '\t'))
    recording = open_recording(path)
    assert recording.devices == ('sensor_1', 'sensor_2')
    stamps, poses = recording.tracked('sensor_1')
    assert stamps == (0, 10_000_000, 20_000_000)
    np.testing.assert_allclose(poses[:, 0, 3], [0.001, 0.002, 0.003])
    assert recording.frames[0].poses['sensor_2'].reason == 'BAD_FIT'
