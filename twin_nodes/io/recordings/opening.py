"""Opening any recording: the content decides, not the name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.matrix_folder import read_matrix_folder
from twin_nodes.io.recordings.motive_csv import is_motive_csv, read_motive_csv
from twin_nodes.io.recordings.ndi_csv import read_ndi_csv
from twin_nodes.io.recordings.ndi_track import is_ndi_track, read_ndi_track
from twin_nodes.io.recordings.packed_recording import is_packed, read_packed
from twin_nodes.io.recordings.plus_sequence import read_plus_sequence
from twin_nodes.io.recordings.pose_csv import read_pose_tables
from twin_nodes.io.recordings.recording import RecordedFrame, Recording, describe_stamps, tracked
from twin_nodes.io.recordings.ros_echo import is_echo

KINDS = (
    'a PLUS sequence (.igs.mha, .mha, .nrrd), a CSV of NDI or Motive, a table of poses or matrices (.csv, .txt, .npy, '
    '.mat, .json), or a folder of 4×4 text files, also zipped'
)
TABLE_TOOL = 'tool'
TABLES = ('.csv', '.tsv', '.tum', '.txt', '.dat')
ECHOES = ('.yaml', '.yml', '.log')
STACKS = ('.npy', '.npz', '.mat', '.json')


def open_recording(path: Path | str) -> Recording:
    """Read a recording of any kind that is known.

    Raises:
        InputError: The path does not exist, cannot be read, or is none of the kinds.
    """
    path = Path(path)
    try:
        return _reader_of(path)(path)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None


def is_pose_table(path: Path | str) -> bool:
    """Whether a file is, by its first bytes, a table of poses and no recording of another kind.

    Raises:
        InputError: It cannot be read, or is none of the kinds.
    """
    try:
        return _reader_of(Path(path)) is _of_table
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None


def _reader_of(path: Path) -> Callable[[Path], Recording]:
    if path.is_dir():
        return read_matrix_folder
    with path.open('rb') as stream:
        start = _as_utf8(stream.read(4096))
    if not start:
        raise InputError(f'{path.name} is empty; expected {KINDS}')
    if is_packed(start, path):
        return partial(read_packed, read=open_recording)
    if start.startswith(b'NRRD') or b'ObjectType' in start or b'Seq_Frame' in start or b'NDims' in start:
        return read_plus_sequence
    if b'\0' not in start and b'hour' in start.lower():
        return read_ndi_csv
    if is_motive_csv(start):
        return read_motive_csv
    if b'\0' not in start and is_ndi_track(start):
        return read_ndi_track
    if path.suffix.lower() in ECHOES and is_echo(start.decode('utf-8', 'replace')):
        return _of_table
    if path.suffix.lower() in STACKS or (b'\0' not in start and path.suffix.lower() in TABLES):
        return _of_table
    raise InputError(f'{path.name} is no recording that is known; expected {KINDS}')


def _as_utf8(start: bytes) -> bytes:
    """Return the first bytes of a file, those of a text of 16 bits as one of 8 bits."""
    if start[:2] not in (b'\xff\xfe', b'\xfe\xff'):
        return start
    return start[: len(start) & ~1].decode('utf-16', errors='replace').encode()


def _of_table(path: Path) -> Recording:
    """Return a table of poses as a recording of its tools, as it was written."""
    try:
        tables = read_pose_tables(path)
    except InputError as error:
        raise InputError(f'{path.name} is no recording that is known; expected {KINDS}; as a table: {error}') from None
    frames: list[RecordedFrame] = []
    by_stamp: dict[int, list[int]] = {}
    for tool, table in tables.items():
        name = tool or TABLE_TOOL
        for stamp, pose in zip(table.stamps_ns.tolist(), table.poses, strict=True):
            shared = next((at for at in by_stamp.get(stamp, ()) if name not in frames[at].poses), None)
            if shared is None:
                by_stamp.setdefault(stamp, []).append(len(frames))
                frames.append(RecordedFrame(stamp, None, len(frames), {name: tracked(name, pose)}))
            else:
                frames[shared].poses[name] = tracked(name, pose)
    if len(tables) > 1:
        frames = [
            replace(frame, frame_number=index) for index, frame in enumerate(sorted(frames, key=lambda f: f.stamp_ns))
        ]
    one = next(iter(tables.values()))
    notes = (*dict.fromkeys(note for table in tables.values() for note in table.notes),
             *describe_stamps([frame.stamp_ns for frame in frames]))  # fmt: skip
    devices = tuple(tool or TABLE_TOOL for tool in tables)
    return Recording(path, 'pose_table', tuple(frames), devices, one.sha256, notes)
