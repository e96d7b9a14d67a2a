import re

import numpy as np
import pytest
import yaml

from twin_nodes.app.cli import main
from twin_nodes.app.offline_hand_eye import calibrate_hand_eye, calibrate_time
from twin_nodes.app.offline_streams import open_stream
from twin_nodes.core.calibration.temporal_trial import StreamNoise, rigid_trial
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, quat_from_rotation
from twin_nodes.io.results import read_result
from twin_nodes.io.time_offsets import read_offset, write_offset


def write_table(path, stream, poses, mark=','):
    lines = []
    for stamp, pose in zip(stream.stamps_ns, poses, strict=True):
        values = [*pose[:3, 3], *quat_from_rotation(pose[:3, :3])]
        lines.append(mark.join([f'{stamp // 10**9}.{stamp % 10**9:09d}', *(f'{value:.12g}' for value in values)]))
    path.write_text('\n'.join(lines))


@pytest.fixture
def recorded(tmp_path):
    """A trial written as a CSV and as a TUM table of the target in the camera."""
    noises = (StreamNoise(), StreamNoise(1e-3, 3e-3))
    trial = rigid_trial(np.random.default_rng(1), seconds=15.0, rates_hz=(100.0, 30.0), noises=noises)
    hand, eye = tmp_path / 'hand.csv', tmp_path / 'camera.txt'
    write_table(hand, trial.first, trial.first.poses)
    write_table(eye, trial.second, inverse(trial.second.poses), ' ')
    return trial, hand, eye


def test_hand_eye_command_writes_what_it_found(recorded, tmp_path, capsys):
    trial, hand, eye = recorded
    out, target = tmp_path / 'hand_eye.yaml', tmp_path / 'target.yaml'
    words = [
        'calibrate',
        'hand-eye',
        str(hand),
        str(eye),
        '--invert-eye',
        '-o',
        str(out),
        '--target-output',
        str(target),
    ]
    assert main([*words, '--hand-frame', 'flange', '--eye-frame', 'camera']) == 0
    text = capsys.readouterr().out
    assert 'verdict             accept' in text and 'to be added' in text
    stored = read_result(out, kind='hand_eye', usable=True)
    assert (stored.parent_frame, stored.child_frame) == ('flange', 'camera')
    error = pose_error(stored.parent_T_child, trial.hand_T_eye)
    assert error @ np.linalg.solve(stored.covariance, error) < 30.0
    assert abs(stored.errors['time_offset_ns'] - trial.offset_ns) < 1e6
    standing = read_result(target, kind='robot_world')
    assert np.linalg.norm(pose_error(standing.parent_T_child, trial.base_T_target)[:3]) < 2e-3


def test_time_command_writes_whole_nanoseconds(recorded, tmp_path, capsys):
    trial, hand, eye = recorded
    out = tmp_path / 'offset.yaml'
    # the inverse turns at the same speed, but not as one rigid body with its axes: the tie is sought from poses
    assert main(['calibrate', 'time', str(hand), str(hand), '-o', str(out)]) == 0
    assert read_offset(out).offset_ns == 0
    report = calibrate_time(open_stream(hand), open_stream(eye, invert=True))
    assert report.stored.low_ns <= report.stored.offset_ns <= report.stored.high_ns
    assert abs(report.stored.offset_ns - trial.offset_ns) < 1e6
    assert '95 % interval' in report.text


@pytest.mark.parametrize('wrong', ['--invert-eye', ''])
def test_poses_the_wrong_way_round_are_told(recorded, tmp_path, capsys, wrong):
    trial, hand, eye = recorded
    if wrong:
        write_table(eye, trial.second, trial.second.poses)
    assert main(['calibrate', 'hand-eye', str(hand), str(eye), *filter(None, [wrong])]) == 1
    said = ''.join(capsys.readouterr())
    assert 'the other way round the poses of camera.txt fit' in said
    assert ('leave --invert-eye out' if wrong else 'add --invert-eye') in said


def rewritten(path, *, order=(0, 1, 2, 3), scale=1.0):
    rows = np.loadtxt(path, delimiter=',')
    rows[:, 1:4] *= scale
    rows[:, 4:] = rows[:, 4:][:, order]
    np.savetxt(path, rows, delimiter=',', fmt='%.9f')


@pytest.mark.parametrize(
    ('change', 'said'),
    [({'order': (3, 0, 1, 2)}, 'read as w x y z the poses of hand.csv fit'),
     ({'scale': 100.0}, r'positions of \S+ are 10+ times too large for those of')],
)  # fmt: skip
def test_an_order_and_a_unit_that_would_fit_are_told(recorded, capsys, change, said):
    _, hand, eye = recorded
    rewritten(hand, **change)
    assert main(['calibrate', 'hand-eye', str(hand), str(eye), '--invert-eye']) == 1
    assert re.search(said, ''.join(capsys.readouterr()))


def test_recordings_of_one_tool_need_no_name(recorded, tmp_path):
    trial, hand, _ = recorded
    stamps = [f'{stamp // 10**9}.{stamp % 10**9:09d}' for stamp in trial.first.stamps_ns.tolist()]
    head = 'Tools,Port 1,Frame,State,Q0,Qx,Qy,Qz,Tx,Ty,Tz'
    rows = [
        ','.join(['1', 'p', str(number), 'OK', *map(repr, quat_from_rotation(pose[:3, :3])[[3, 0, 1, 2]].tolist()),
                  *map(repr, (1e3 * pose[:3, 3]).tolist())])
        for number, pose in enumerate(trial.first.poses)
    ]  # fmt: skip
    table = tmp_path / 'ndi.csv'
    table.write_text('\n'.join([f'Time,{head}', *(f'{at},{row}' for at, row in zip(stamps, rows, strict=True))]))
    read = open_stream(table)
    assert read.name == 'port_1'
    np.testing.assert_allclose(read.stream.poses, open_stream(hand).stream.poses, atol=1e-9)
    two = tmp_path / 'two.csv'
    doubled = [f'{head},{head[6:].replace("1", "2", 1)}', *(f'{row},{row[2:]}' for row in rows)]
    two.write_text('\n'.join(f'{at},{row}' for at, row in zip(['Time', *stamps], doubled, strict=True)))
    with pytest.raises(InputError, match='name the tool, one of port_1, port_2'):
        open_stream(two)


def test_known_offset_is_taken(recorded):
    trial, hand, eye = recorded
    report = calibrate_hand_eye(open_stream(hand), open_stream(eye, invert=True), offset=trial.offset_ns * 1e-9)
    assert report.result.offset_sigma == 0.0
    assert '(given)' in report.text


def test_check_knows_tables_and_offsets(recorded, tmp_path, capsys):
    _, hand, _ = recorded
    assert main(['check', str(hand)]) == 0
    assert 'table of poses, good: hand.csv, 1500 poses over 15.0 s at 100 Hz' in capsys.readouterr().out
    out = tmp_path / 'offset.yaml'
    calibrate_time(open_stream(hand), open_stream(hand), output=out)
    assert main(['check', str(out)]) == 0
    assert 'time offset, accept: 0.000 ms' in capsys.readouterr().out
    other = tmp_path / 'other.csv'
    other.write_text('a,b\n1,2\n')
    assert main(['check', str(other)]) == 1
    assert 'as a table: ' in capsys.readouterr().err


def test_errors_are_one_line(recorded, tmp_path, capsys):
    _, hand, _ = recorded
    assert main(['calibrate', 'hand-eye', str(hand), str(tmp_path / 'none.csv')]) == 1
    assert 'none.csv: cannot be read' in capsys.readouterr().err
    with pytest.raises(InputError):
        open_stream(hand, device='Stylus')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'offset_ns': 1.5}, 'whole nanoseconds'),
        ({'offset_ns': 10}, 'outside low_ns'),
        ({'sigma_s': -1.0}, 'sigma_s'),
        ({'verdict': 'good'}, 'none of accept'),
        ({'kind': 'hand_eye'}, 'kind time_offset'),
        ({'offsets': 1}, 'unknown key'),
    ],
)
def test_damaged_offset_files_are_refused(tmp_path, change, message):
    good = {
        'format': 1, 'kind': 'time_offset', 'first': 'a', 'second': 'b', 'offset_ns': 3, 'low_ns': 1, 'high_ns': 5,
        'sigma_s': 1e-9, 'verdict': 'accept', 'date': '2026-01-31T12:00:00+00:00',
    }  # fmt: skip
    path = tmp_path / 'offset.yaml'
    path.write_text(yaml.safe_dump(good))
    offset = read_offset(path)
    write_offset(path, offset)
    assert read_offset(path) == offset
    path.write_text(yaml.safe_dump(good | change))
    with pytest.raises(ConfigError, match=message):
        read_offset(path)


def test_commands_on_real_archives(shared_data, capsys):
    archive = str(shared_data / 'handeye_asl' / 'prime_sense_color_w_vicon_1.zip')
    words = ['calibrate', 'hand-eye', archive, archive, '--hand-member', '*vicon*', '--eye-member', '*W_camera*']
    assert main(words) == 0
    assert 'verdict             warn' in capsys.readouterr().out
