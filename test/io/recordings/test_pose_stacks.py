"""Matrices in one file, as lines and as arrays: the same poses from each, or a refusal."""

import io
import json

import numpy as np
import pytest
from recording_texts import in_millimetres, known_poses
from scipy.io import savemat

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings import open_recording
from twin_nodes.io.recordings.pose_csv import read_pose_csv

POSES = known_poses()
WRITTEN = in_millimetres(POSES)
STAMPS = 1.7e9 + 0.05 * np.arange(len(POSES))


def lines(rows, mark=' ', head='', stamps=False):
    text = [mark.join([*([f'{stamp:.6f}'] if stamps else []), *(f'{value:.9f}' for value in row)])
            for stamp, row in zip(STAMPS if stamps else range(len(rows)), rows, strict=True)]  # fmt: skip
    return '\n'.join([*([head] if head else []), *text]) + '\n'


FLAT, THREE = WRITTEN.reshape(-1, 16), WRITTEN[:, :3].reshape(-1, 12)
CELLS = [f'{row}{column}' for row in range(4) for column in range(4)]
TEXTS = {
    '16 a line': lines(FLAT),
    'with stamps': lines(FLAT, ',', stamps=True),
    'with titles': lines(FLAT, ',', 'time,' + ','.join(f'a{cell}' for cell in CELLS), stamps=True),
    'named cells': lines(FLAT, ';', 'timestamp;' + ';'.join(f'm{cell}' for cell in CELLS), stamps=True),
    'counted from 1': lines(
        np.concatenate([THREE[:, [3, 7, 11]], THREE[:, [0, 1, 2, 4, 5, 6, 8, 9, 10]]], axis=1), ',',
        't,tx,ty,tz,' + ','.join(f'R{r}{c}' for r in '123' for c in '123'), stamps=True),
    '12 a line': lines(THREE),
    '12 with stamps': lines(THREE, '\t', stamps=True),
    'four lines each': '\n\n'.join(lines(matrix) for matrix in WRITTEN),
    'by column': lines(np.swapaxes(WRITTEN, 1, 2).reshape(-1, 16)),
    'decimal commas': lines(FLAT, ';').replace('.', ','),
}  # fmt: skip


@pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)
def test_lines_of_matrices(tmp_path, text):
    path = tmp_path / 'poses.txt'
    path.write_text(text)
    table = read_pose_csv(path)
    np.testing.assert_allclose(table.poses, POSES, atol=1e-8)
    step = 50_000_000 if text[0] not in '-0' and '1700000000' in text else 10**9
    assert np.diff(table.stamps_ns).tolist() == [step] * (len(POSES) - 1)
    assert any('one second apart' in note for note in table.notes) == (step == 10**9)
    assert len(open_recording(path).tracked('tool')[0]) == len(POSES)


def test_a_matrix_is_never_read_as_a_quaternion(tmp_path):
    """A position below 0.14 m beside a row of the rotation has norm 1, as a quaternion has."""
    near = POSES.copy()
    near[:, :3, 3] = [0.05, 0.02, 0.1]
    path = tmp_path / 'near.txt'
    path.write_text(lines(near[:, :3].reshape(-1, 12), stamps=True))
    np.testing.assert_allclose(read_pose_csv(path).poses, near, atol=1e-8)


def array_bytes(kind):
    stream = io.BytesIO()
    if kind == 'npy':
        np.save(stream, WRITTEN)
    elif kind == 'npz':
        np.savez(stream, poses=WRITTEN, stamps=STAMPS, other=np.zeros(3))
    elif kind == 'mat':
        savemat(stream, {'T': np.moveaxis(WRITTEN, 0, 2), 'time': STAMPS})
    elif kind == 'cell.mat':
        cells = np.empty((1, len(WRITTEN)), dtype=object)
        for index, matrix in enumerate(WRITTEN):
            cells[0, index] = matrix
        savemat(stream, {'poses': cells})
    else:
        entries = [{'timestamp': t, 'matrix': m.tolist()} for t, m in zip(STAMPS, WRITTEN, strict=True)]
        stream.write(json.dumps({'poses': entries}).encode())
    return stream.getvalue()


@pytest.mark.parametrize('kind', ['npy', 'npz', 'mat', 'cell.mat', 'json'])
def test_arrays_of_matrices(tmp_path, kind):
    path = tmp_path / f'poses.{kind}'
    path.write_bytes(array_bytes(kind))
    stamps, poses = open_recording(path).tracked('tool')
    np.testing.assert_allclose(poses, POSES, atol=1e-12)
    assert stamps[1] - stamps[0] == (10**9 if kind in ('npy', 'cell.mat') else pytest.approx(5e7, abs=200))


@pytest.mark.parametrize(
    ('name', 'data', 'said'),
    [
        ('a.npy', b'\x93NUMPY\x01', 'cannot be read'),
        ('a.json', b'{"poses": [1, 2]}', 'no stacks of 4×4 matrices'),
        ('a.json', b'[[[', 'cannot be read'),
        ('a.mat', b'MATLAB 7.3 MAT-file', '-v7'),
        ('a.mat', b'MATLAB 5.0 MAT-file' + bytes(200), 'cannot be read|no stacks'),
    ],
)
def test_arrays_of_something_else(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        open_recording(tmp_path / name)


def test_two_stacks_in_one_file_are_not_chosen_from(tmp_path):
    np.savez(tmp_path / 'two.npz', a=WRITTEN, b=WRITTEN)
    with pytest.raises(InputError, match=r'2 stacks.*a \(40, 4, 4\), b'):
        open_recording(tmp_path / 'two.npz')


def test_what_is_no_pose_is_left_out_and_said(tmp_path):
    broken = WRITTEN.copy()
    broken[3], broken[7], broken[9], broken[11, :3, 0] = 0.0, np.nan, np.eye(4), -broken[11, :3, 0]
    np.save(tmp_path / 'poses.npy', broken)
    recording = open_recording(tmp_path / 'poses.npy')
    kept = [index for index in range(len(POSES)) if index not in (3, 7, 9, 11)]
    np.testing.assert_allclose(recording.tracked('tool')[1], POSES[kept], atol=1e-12)
    assert any('4 of 40 matrices are no pose, number 3: written as zeros' in note for note in recording.notes)
    np.save(tmp_path / 'mirrored.npy', WRITTEN * np.array([-1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match='left-handed'):
        open_recording(tmp_path / 'mirrored.npy')


def test_three_decimals_are_made_square_and_a_stretch_is_not(tmp_path):
    np.save(tmp_path / 'rounded.npy', np.round(WRITTEN, 3))
    poses = open_recording(tmp_path / 'rounded.npy').tracked('tool')[1]
    assert len(poses) == len(POSES)
    np.testing.assert_allclose(np.swapaxes(poses[:, :3, :3], 1, 2) @ poses[:, :3, :3], np.tile(np.eye(3), (40, 1, 1)),
                               atol=1e-12)  # fmt: skip
    stretched = WRITTEN.copy()
    stretched[:, :3, :3] *= 1.002
    np.save(tmp_path / 'stretched.npy', stretched)
    with pytest.raises(InputError, match='RᵀR differs from I'):
        open_recording(tmp_path / 'stretched.npy')
