"""Tables whose rotations are angles or vectors, that say where a tool was seen, and whose clocks run over."""

import numpy as np
import pytest
from recording_texts import known_poses

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import quat_from_rotation, rotation_exp, rotation_log
from twin_nodes.io.recordings import open_recording
from twin_nodes.io.recordings.pose_csv import parse_pose_table, parse_pose_tables

POSES = known_poses()


def table(head, turns, stamps=None, extra=None):
    stamps = 0.05 * np.arange(len(POSES)) if stamps is None else stamps
    rows = [head]
    for index, (stamp, pose, turn) in enumerate(zip(stamps, POSES, turns, strict=True)):
        cells = [repr(float(stamp)) if isinstance(stamp, float) else str(stamp), *map(repr, pose[:3, 3].tolist()),
                 *map(repr, np.ravel(turn).tolist())]  # fmt: skip
        rows.append(','.join([*cells, *([extra[index]] if extra else [])]))
    return '\n'.join(rows).encode()


def angles():
    found = []
    for pose in POSES:  # R = Rz(yaw) Ry(pitch) Rx(roll)
        m = pose[:3, :3]
        found.append([np.arctan2(m[2, 1], m[2, 2]), -np.arcsin(m[2, 0]), np.arctan2(m[1, 0], m[0, 0])])
    return np.array(found)


@pytest.mark.parametrize(
    ('unit', 'scale', 'said'),
    [('', 1.0, 'radians'), ('', 57.29577951308232, 'degrees'), ('_deg', 57.29577951308232, '')],
)
def test_roll_pitch_yaw(unit, scale, said):
    head = 't,x,y,z,' + ','.join(f'{name}{unit}' for name in ('roll', 'pitch', 'yaw'))
    _, poses, notes = parse_pose_table(table(head, scale * angles()), 'a.csv')
    np.testing.assert_allclose(poses, POSES, atol=1e-9)
    assert any('fixed x, y, z' in note and said in note for note in notes)


def test_rotation_vectors_and_angles_that_may_be_anything():
    vectors = rotation_log(POSES[:, :3, :3])
    _, poses, _ = parse_pose_table(table('t,tvec_x,tvec_y,tvec_z,rvec_x,rvec_y,rvec_z', vectors), 'a.csv')
    np.testing.assert_allclose(poses, POSES, atol=1e-9)
    with pytest.raises(InputError, match='a pose is a position and a quaternion'):
        parse_pose_table(table('t,x,y,z,rx,ry,rz', vectors), 'a.csv')


QUATERNIONS = [quat_from_rotation(pose[:3, :3]) for pose in POSES]
HEAD = 't,x,y,z,qx,qy,qz,qw'


@pytest.mark.parametrize(
    ('column', 'seen', 'unseen'),
    [('valid', '1', '0'), ('is_tracked', 'True', 'False'), ('visible', 'yes', 'no'), ('missing', '0', '1'),
     ('status', 'OK', 'BAD_FIT'), ('TransformStatus', 'Enabled', 'OutOfVolume'), ('State', 'tracked', 'lost')],
)  # fmt: skip
def test_a_pose_that_the_table_calls_lost_is_none(column, seen, unseen):
    extra = [unseen if index % 4 == 1 else seen for index in range(len(POSES))]
    _, poses, notes = parse_pose_table(table(f'{HEAD},{column}', QUATERNIONS, extra=extra), 'a.csv')
    np.testing.assert_allclose(poses, np.delete(POSES, range(1, 40, 4), axis=0), atol=1e-9)
    assert any(note.startswith('10 rows left out where the tool was not seen') for note in notes)


def test_numbers_of_a_status_are_told_and_leave_out_nothing():
    extra = ['8' if index % 4 == 1 else '0' for index in range(len(POSES))]
    _, poses, notes = parse_pose_table(table(f'{HEAD},status', QUATERNIONS, extra=extra), 'a.csv')
    assert len(poses) == len(POSES)
    assert any('status of 0, 8' in note for note in notes)


@pytest.mark.parametrize('lost', ['0,0,0,0,0,0,0', 'nan,nan,nan,nan,nan,nan,nan', ',,,,,,', 'MISSING,,,,,,'])
def test_a_tool_that_is_lost_most_of_the_time_is_read_where_it_was_seen(lost):
    lines = table(HEAD, QUATERNIONS).decode().splitlines()
    text = '\n'.join(line if index % 4 == 0 else f'{0.05 * (index - 1)},{lost}' for index, line in enumerate(lines))
    _, poses, notes = parse_pose_table(text.encode(), 'a.csv')
    np.testing.assert_allclose(poses, POSES[3::4], atol=1e-9)
    assert any(note.startswith('30 rows left out where the tool was not seen') for note in notes)


def test_flags_belong_to_their_tool():
    head = 't,' + ','.join(
        f'{tool}_{name}' for tool in ('a', 'b') for name in ['x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'valid']
    )
    row = '0.1,0.2,0.3,0,0,0,1'
    text = '\n'.join([head, *(f'{index},{row},{index % 2},{row},1' for index in range(8))])
    tables = parse_pose_tables(text.encode(), 'a.csv')
    assert [len(tables[tool][0]) for tool in ('a', 'b')] == [4, 8]


@pytest.mark.parametrize(
    ('first', 'turn', 'tick', 'said'),
    [(2**32 - 800, 2**32, 50, '32 bits'), (2**32 - 800_000, 2**32, 50_000, '32 bits'),
     (86_399.0, 86_400.0, 0.05, 'midnight')],
)  # fmt: skip
def test_a_clock_that_runs_over_goes_on(first, turn, tick, said):
    stamps = [(first + index * tick) % turn for index in range(len(POSES))]
    found, _, notes = parse_pose_table(table(HEAD, QUATERNIONS, stamps=stamps), 'a.csv')
    steps = np.diff(found)
    np.testing.assert_allclose(steps, 5e7, rtol=1e-6)
    assert any(said in note for note in notes)


@pytest.mark.parametrize('back', [0.3, 3600.0, 5000.0])
def test_other_steps_back_stay_as_they_were_written(back):
    stamps = [1e6 + 0.05 * index - (back if index >= 20 else 0.0) for index in range(len(POSES))]
    found, _, notes = parse_pose_table(table(HEAD, QUATERNIONS, stamps=stamps), 'a.csv')
    assert np.diff(found).min() < 0
    assert not any('run over' in note for note in notes)


def test_the_angles_of_a_known_turn(tmp_path):
    (tmp_path / 'a.csv').write_text('t,x,y,z,roll [deg],pitch [deg],yaw [deg]\n0,1,2,3,10,20,30\n1,1,2,3,10,20,30\n')
    pose = open_recording(tmp_path / 'a.csv').tracked('tool')[1][0]
    x, y, z = np.eye(3)
    wanted = rotation_exp(np.radians(30) * z) @ rotation_exp(np.radians(20) * y) @ rotation_exp(np.radians(10) * x)
    np.testing.assert_allclose(pose[:3, :3], wanted, atol=1e-12)


def test_a_still_sensor_in_millimetres_is_not_a_hundred_metres_away():
    rows = [f'{0.025 * at:.3f},{102.8 + 0.01 * (at % 3)},-60.0,-158.2,0,0,0,1' for at in range(40)]
    _, poses, notes = parse_pose_table('\n'.join([HEAD, *rows]).encode(), 'a.csv')
    np.testing.assert_allclose(poses[0, :3, 3], [0.1028, -0.06, -0.1582])
    assert any('they lie 198 from the origin' in note for note in notes)
