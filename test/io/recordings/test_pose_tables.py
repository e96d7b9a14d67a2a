"""Tables of poses as other tools write them: units of stamps, several tools, JIGSAWS, rows of a tool that is lost."""

import re

import numpy as np
import pytest

from twin_nodes.app.check import inspect
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.io.recordings.marker_csv import read_marker_csv
from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.recordings.pose_csv import parse_pose_table, parse_pose_tables, read_pose_csv

COUNT = 40
EPOCH_NS = 1_600_000_000_123_456_000
TIMES = np.arange(COUNT) * 10_000_000  # ns, 100 Hz
VECTORS = np.stack([0.5 * np.sin(TIMES * 1e-9), 0.3 * TIMES * 1e-9, 0.2 * np.cos(TIMES * 1e-9)], axis=1)
PLACES = np.stack([0.1 + 0.02 * np.sin(5e-9 * TIMES), np.full(COUNT, 0.02), 0.3 + 1e-10 * TIMES], axis=1)
POSES = make_transform(rotation_exp(VECTORS), PLACES)


def quaternions():
    angles = np.linalg.norm(VECTORS, axis=1, keepdims=True)
    return np.hstack([np.sin(angles / 2.0) * VECTORS / angles, np.cos(angles / 2.0)])


def table(header, *columns):
    rows = [
        ','.join(cell if isinstance(cell, str) else repr(cell) for cell in row) for row in zip(*columns, strict=True)
    ]
    return '\n'.join([header, *rows]).encode()


def numbers(*arrays):
    return [column.tolist() for array in arrays for column in array.T]


@pytest.mark.parametrize(
    ('name', 'stamps', 'said'),
    [
        ('t', [f'{ns * 1e-9:.2f}' for ns in TIMES], ''),
        ('time_ms', (TIMES // 1_000_000).tolist(), ''),
        ('Time (us)', (TIMES // 1_000).tolist(), ''),
        ('timestamp', (TIMES // 1_000_000).tolist(), 'milliseconds: whole numbers 10 apart'),
        ('timestamp', (TIMES // 1_000).tolist(), r'microseconds: whole numbers 1e\+04 apart'),
        ('timestamp', ((EPOCH_NS + TIMES) // 1_000_000).tolist(), r'milliseconds: they are about 1.6e\+12'),
        ('timestamp', ((EPOCH_NS + TIMES) // 1_000).tolist(), r'microseconds: they are about 1.6e\+15'),
        ('timestamp', (EPOCH_NS + TIMES).tolist(), ''),
    ],
)
def test_the_unit_of_the_stamps_is_known_or_said(name, stamps, said):
    data = table(f'{name},x,y,z,qx,qy,qz,qw', stamps, *numbers(PLACES, quaternions()))
    found, poses, notes = parse_pose_table(data, 'a.csv')
    np.testing.assert_array_equal(np.diff(found), 10_000_000)
    np.testing.assert_allclose(poses, POSES, atol=1e-12)
    assert len(notes) == bool(said)
    if said:
        assert re.search(said, notes[0])


def test_slow_stamps_of_few_poses_and_with_fractions_stay_seconds():
    for stamps in (np.arange(10) * 5, np.arange(COUNT) * 5.25):
        count = len(stamps)
        data = table('t,x,y,z,qx,qy,qz,qw', stamps.tolist(), *numbers(PLACES[:count], quaternions()[:count]))
        found, _, notes = parse_pose_table(data, 'a.csv')
        np.testing.assert_array_equal(found, (stamps * 1_000_000_000).astype(np.int64))
        assert len(notes) == (count > 20)  # asks whether they are seconds


def test_headers_of_bags_and_of_plots_name_the_columns_in_any_order():
    stamps = EPOCH_NS + TIMES
    turned = numbers(quaternions())
    of_bag = 'field.pose.{}'
    fields = ['orientation.w', 'orientation.x', 'orientation.y', 'orientation.z', *(f'position.{a}' for a in 'xyz')]
    columns = [turned[3], *turned[:3], *numbers(PLACES)]
    for head, extra in (
        (['%time', 'field.header.seq', 'field.header.stamp', 'field.header.frame_id'],
         [(stamps + 5).tolist(), list(range(COUNT)), stamps.tolist(), ['tracker'] * COUNT]),
        (['header.stamp.sec', 'header.stamp.nanosec', 'header.frame_id'],
         [(stamps // 10**9).tolist(), (stamps % 10**9).tolist(), ['tracker'] * COUNT]),
    ):  # fmt: skip
        data = table(','.join([*head, *map(of_bag.format, fields)]), *extra, *columns)
        found, poses, notes = parse_pose_table(data, 'a.csv')
        np.testing.assert_array_equal(found, stamps)
        np.testing.assert_allclose(poses, POSES, atol=1e-12)
        assert notes == ()
    plot = ['__time', *('/PSM1/measured_cp/pose/' + name.replace('.', '/') for name in fields)]
    (tool,) = tables = parse_pose_tables(table(','.join(plot), (stamps * 1e-9).tolist(), *columns), 'a.csv')
    assert tool == 'PSM1'
    np.testing.assert_allclose(tables[tool][1], POSES, atol=1e-12)


def test_several_tools_are_never_mixed_and_one_is_named(tmp_path):
    names = [f'{arm}_{column}' for arm in ('PSM1', 'PSM2') for column in ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')]
    other = PLACES + 0.5
    stamps = (TIMES * 1e-9).tolist()
    file = tmp_path / 'two.csv'
    file.write_bytes(table(','.join(['t', *names]), stamps, *numbers(PLACES, quaternions(), other, quaternions())))
    with pytest.raises(InputError, match=r'poses of PSM1, PSM2: name one, as two\.csv#PSM1'):
        read_pose_csv(file)
    with pytest.raises(InputError, match="no tool 'PSM3'"):
        read_pose_csv(f'{file}#PSM3')
    chosen = read_pose_csv(f'{file}#PSM2')
    assert chosen.name == 'two.csv#PSM2'
    np.testing.assert_allclose(chosen.poses[:, :3, 3], other, atol=1e-12)
    recording = open_recording(file)
    assert recording.devices == ('PSM1', 'PSM2') and len(recording.frames) == COUNT
    np.testing.assert_allclose(recording.tracked('PSM2')[1][:, :3, 3], other, atol=1e-12)
    assert '2 tables of poses, name one as two.csv#PSM1' in inspect(file)
    rows = [np.repeat(part, 2, axis=0) for part in (TIMES[:, None] * 1e-9, PLACES, quaternions())]
    long = table('t,tool,x,y,z,qx,qy,qz,qw', *numbers(rows[0]), ['L', 'R'] * COUNT, *numbers(*rows[1:]))
    found = parse_pose_tables(long, 'long.csv')
    assert {tool: len(part[0]) for tool, part in found.items()} == {'L': COUNT, 'R': COUNT}
    same = table('t,x,y,z,qx,qy,qz,qw,x,y,z,qx,qy,qz,qw', stamps,
                 *numbers(PLACES, quaternions(), other, quaternions()))  # fmt: skip
    _, poses, notes = parse_pose_table(same, 'same.csv')
    np.testing.assert_allclose(poses, POSES, atol=1e-12)
    assert 'twice' in notes[0]


def test_rows_of_a_tool_that_was_not_seen_are_no_poses():
    places, turned = PLACES.copy(), quaternions()
    lost = np.isin(np.arange(COUNT), [0, 1, 7, 20, 21])
    places[lost], turned[lost] = 0.0, (0.0, 0.0, 0.0, 1.0)
    stamps = (TIMES * 1e-9).tolist()
    found, poses, notes = parse_pose_table(
        table('t,x,y,z,qx,qy,qz,qw', stamps, *numbers(places, turned)), 'a.csv'
    )  # fmt: skip
    np.testing.assert_array_equal(found, TIMES[~lost])
    np.testing.assert_allclose(poses, POSES[~lost], atol=1e-12)
    assert notes == ('5 rows of zeros left out: a tool that was not seen',)
    start = PLACES - PLACES[0]
    turned[0] = (0.0, 0.0, 0.0, 1.0)
    _, poses, notes = parse_pose_table(table('t,x,y,z,qx,qy,qz,qw', stamps, *numbers(start, turned)), 'a.csv')
    assert len(poses) == COUNT and notes == ()  # a motion that begins at the origin


@pytest.mark.parametrize(
    ('header', 'why'),
    [('t,x,y,z,rx,ry,rz', 'no column qx, qy, qz, qw'), ('frame,x,y,z,qx,qy,qz,qw', 'no column with the time')],
)
def test_what_is_missing_is_said_and_it_is_taken_for_nothing_else(tmp_path, header, why):
    file = tmp_path / 'a.csv'
    columns = [list(range(COUNT)), *numbers(PLACES, quaternions())][: header.count(',') + 1]
    file.write_bytes(table(header, *columns))
    with pytest.raises(InputError, match=why):
        inspect(file)


def jigsaws_lines():
    turns = POSES[:, :3, :3].reshape(COUNT, 9)
    arm = np.hstack([PLACES, turns, np.zeros((COUNT, 6)), np.full((COUNT, 1), 0.3)])
    rows = np.hstack([arm, arm, arm, np.hstack([PLACES + 0.1, arm[:, 3:]])])
    return ['   ' + '   '.join(f'{value: .6f}' for value in row) + '  ' for row in rows]


def test_kinematics_of_jigsaws_are_four_tools_at_30_hz(tmp_path):
    file = tmp_path / 'Suturing_B001.txt'
    lines = jigsaws_lines()
    lines[5] = lines[5].replace(f'{POSES[5, 0, 0]: .6f}', ' 0.100000')
    file.write_text('\n'.join(lines) + '\n')
    recording = open_recording(file)
    assert recording.devices == ('master_left', 'master_right', 'slave_left', 'slave_right')
    assert any('taken as 30 Hz' in note for note in recording.notes)
    assert any('1 lines left out; line 6' in note for note in recording.notes)
    stamps, poses = recording.tracked('slave_right')
    kept = np.arange(COUNT) != 5
    np.testing.assert_allclose(np.diff(stamps)[:3], 1e9 / 30, atol=1)
    np.testing.assert_allclose(poses[:, :3, 3], PLACES[kept] + 0.1, atol=1e-6)
    np.testing.assert_allclose(poses[:, :3, :3], POSES[kept, :3, :3], atol=1e-5)
    file.write_text('\n'.join(' '.join(['0.5'] * 76) for _ in range(5)))
    with pytest.raises(InputError, match='line 1 of 76 numbers holds no pose of master_left'):
        open_recording(file)


def test_times_of_markers_since_1970_do_not_overflow(tmp_path):
    for stamps, unit in (((EPOCH_NS + TIMES).tolist(), 'ns'), (((EPOCH_NS + TIMES) // 1000).tolist(), 'us')):
        file = tmp_path / 'm.csv'
        file.write_bytes(table('timestamp,x,y,z', stamps, *numbers(PLACES)))
        trace = read_marker_csv(file)
        np.testing.assert_allclose(np.diff(trace.stamps_ns), 1e7, atol=1000)
        assert any(f'times taken as {unit}' in note for note in trace.notes)
    file.write_bytes(table('time_s,x,y,z', (EPOCH_NS + TIMES).tolist(), *numbers(PLACES)))
    with pytest.raises(InputError, match='does not fit 64 bits'):
        read_marker_csv(file)
