"""Recordings in archives."""

import gzip
import zipfile

import numpy as np
import pytest
from recording_texts import IDENTITY_MM, in_millimetres, known_poses, plus_frame

from twin_nodes.app.check import inspect
from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings import open_recording, packed_recording

POSES = known_poses()
PLUS = (
    'ObjectType = Image\nNDims = 3\n'
    + plus_frame(0, '1.5', StylusToTrackerTransform=IDENTITY_MM)
    + 'ElementDataFile = LOCAL\n'
)


def archive(path, members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as zipped:
        for name, text in members.items():
            zipped.writestr(name, text)
    return path


def matrices():
    rows = {}
    for index, matrix in enumerate(in_millimetres(POSES)):
        name = f'pivot/{1378476417000000000 + index * 10**9}.txt'
        rows[name] = '\n'.join(' '.join(repr(value) for value in row) for row in matrix.tolist())
    return rows


def test_one_recording_in_an_archive(tmp_path):
    zipped = archive(
        tmp_path / 'a.zip', {'run/README.txt': 'hello', 'run/a.igs.mha': PLUS, '__MACOSX/run/._a.mha': 'x'}
    )
    packed = tmp_path / 'a.igs.mha.gz'
    packed.write_bytes(gzip.compress(PLUS.encode()))
    for path in (zipped, packed):
        recording = open_recording(path)
        assert (recording.path, recording.kind, recording.devices) == (path, 'plus_sequence', ('StylusToTracker',))
        assert 'plus_sequence' in inspect(path)


def test_a_folder_of_matrices_in_an_archive(tmp_path):
    path = archive(tmp_path / 'pivot.zip', {**matrices(), 'pivot/PROVENANCE.txt': 'from somewhere'})
    stamps, poses = open_recording(path).tracked('tool')
    np.testing.assert_allclose(poses, POSES, atol=1e-12)
    assert stamps[1] - stamps[0] == 10**9
    assert 'matrix_folder' in inspect(path)


def test_archives_that_are_refused(tmp_path, monkeypatch):
    two = archive(tmp_path / 'two.zip', {'a.mha': PLUS, 'b.mha': PLUS})
    with pytest.raises(InputError, match=r'2 recordings in it \(a.mha, b.mha\)'):
        open_recording(two)
    parted = archive(
        tmp_path / 'parted.zip',
        {f'{"ab"[at % 2]}/{name[6:]}': text for at, (name, text) in enumerate(matrices().items())},
    )
    with pytest.raises(InputError, match='several folders'):
        open_recording(parted)
    out = archive(tmp_path / 'out.zip', {'../../evil.mha': PLUS})
    assert open_recording(out).devices == ('StylusToTracker',)
    assert not (tmp_path.parent / 'evil.mha').exists()
    broken = tmp_path / 'broken.zip'
    broken.write_bytes(two.read_bytes()[:60])
    with pytest.raises(InputError, match='damaged archive'):
        open_recording(broken)
    monkeypatch.setattr(packed_recording, 'MAX_BYTES', 100)
    packed = tmp_path / 'bomb.mha.gz'
    packed.write_bytes(gzip.compress(bytes(10_000)))
    with pytest.raises(InputError, match='more than 100 bytes'):
        open_recording(packed)
    with pytest.raises(InputError, match='limit 10000 and 100 bytes'):
        open_recording(two)
