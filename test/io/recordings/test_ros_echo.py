"""What people print of topics into files."""

import json

import numpy as np
import pytest
from recording_texts import known_poses

from twin_nodes.core.geometry.se3 import quat_from_rotation
from twin_nodes.io.recordings import open_recording
from twin_nodes.io.recordings.pose_csv import read_pose_csv, read_pose_tables

POSES = known_poses(12)
SECONDS, STEP = 1_700_000_000, 50_000_000


def numbers(index):
    return [*POSES[index, :3, 3].tolist(), *quat_from_rotation(POSES[index, :3, :3]).tolist()]


def document(index, kind='pose', child=''):
    x, y, z, qx, qy, qz, qw = map(repr, numbers(index))
    names = ('position', 'orientation') if kind == 'pose' else ('translation', 'rotation')
    frames = f'  frame_id: tracker\n{f"child_frame_id: {child}" if child else ""}\n'
    return (
        f'header:\n  stamp:\n    sec: {SECONDS}\n    nanosec: {index * STEP}\n{frames}{kind}:\n'
        f'  {names[0]}:\n    x: {x}\n    y: {y}\n    z: {z}\n'
        f'  {names[1]}:\n    x: {qx}\n    y: {qy}\n    z: {qz}\n    w: {qw}\n---\n'
    )


def csv_line(index, *frames):
    return ','.join([str(SECONDS), str(index * STEP), *frames, *map(repr, numbers(index))])


TEXTS = {
    'echo.yaml': ''.join(document(at) for at in range(12)),
    'echo.txt': ''.join(document(at).replace(' sec:', ' secs:').replace('nanosec:', 'nsecs:') for at in range(12)),
    'transforms.log': ''.join(document(at, 'transform', 'drill') for at in range(12)),
    'echo.csv': '\n'.join(csv_line(at, 'tracker') for at in range(12)),
    'transforms.csv': '\n'.join(csv_line(at, 'tracker', 'drill') for at in range(12)),
    'with_covariance.csv': '\n'.join(f'{csv_line(at, "tracker")},' + ','.join(['0.0'] * 36) for at in range(12)),
    'messages.json': json.dumps([
        {'header': {'stamp': {'sec': SECONDS, 'nanosec': at * STEP}, 'frame_id': 'a'},
         'pose': {'position': dict(zip('xyz', numbers(at)[:3], strict=True)),
                  'orientation': dict(zip('xyzw', numbers(at)[3:], strict=True))}} for at in range(12)]),
}  # fmt: skip


@pytest.mark.parametrize('name', TEXTS)
def test_the_same_poses_from_each(tmp_path, name):
    path = tmp_path / name
    path.write_text(TEXTS[name])
    table = read_pose_csv(path)
    np.testing.assert_allclose(table.poses, POSES, atol=1e-12)
    assert table.stamps_ns.tolist() == [SECONDS * 10**9 + at * STEP for at in range(12)]
    assert len(open_recording(path).frames) == 12


def test_two_children_are_two_tools(tmp_path):
    path = tmp_path / 'tf.csv'
    path.write_text('\n'.join(csv_line(at, 'tracker', child) for at in range(6) for child in ('drill', 'probe')))
    assert list(read_pose_tables(path)) == ['drill', 'probe']
    path = tmp_path / 'tf.yaml'
    path.write_text(''.join(document(at, 'transform', child) for at in range(6) for child in ('drill', 'probe')))
    assert {name: len(table.poses) for name, table in read_pose_tables(path).items()} == {'drill': 6, 'probe': 6}


def test_poses_that_are_none_are_left_out(tmp_path):
    path = tmp_path / 'echo.yaml'
    path.write_text(TEXTS['echo.yaml'].replace(repr(numbers(3)[0]), '.nan') + 'A message was lost!!!\n---\n')
    assert len(read_pose_csv(path).poses) == 11
