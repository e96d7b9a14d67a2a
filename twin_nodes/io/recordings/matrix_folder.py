"""A folder with one 4×4 matrix per file, text, JSON or numpy; the file name is the stamp, or any word.

What the numbers mean, by row or column, millimetres or metres, is found by `pose_matrices`. A stamp in a name is
seconds, or whole milli-, micro- or nanoseconds; names that count 1, 2, 3 are none.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus
from twin_nodes.io.recordings.pose_matrices import LAST, poses_of
from twin_nodes.io.recordings.pose_rows import nanoseconds_of, tick_of
from twin_nodes.io.recordings.pose_text import text_of
from twin_nodes.io.recordings.recording import MAX_SECONDS, RecordedFrame, Recording, describe_stamps, lost

MAX_FILE_BYTES = 4096
DEVICE = 'tool'
ENDINGS = ('.txt', '.csv', '.tsv', '.dat', '.mat', '.json', '.npy')
_PERIOD_NS = 10**9
_DIGITS = re.compile(r'(\d+)')
_STAMP = re.compile(r'(?:.*[^\d.])?(\d{1,19}(?:\.\d{1,9})?)$')
_EPOCH = 10**8  # a number in a name above this is no count


def read_matrix_folder(path: Path, *, device: str = DEVICE) -> Recording:
    """Read all files of a folder that hold 16 or 12 numbers, in the order of their stamps or names.

    Without stamps in the names the frames are one second apart, and a note says so. Files that hold no matrix are left
    out and noted, as are metres and matrices that are no pose. The hash is that of all the matrix files' names and
    contents.

    Raises:
        InputError: No file holds a 4×4 matrix.
    """
    found: list[tuple[str, list[float]]] = []
    notes: list[str] = []
    digest = hashlib.sha256()
    for file, data, values in _files(path):
        if values is None:
            notes.append(f'{file.name} holds no 4×4 matrix and was left out')
            continue
        digest.update(file.name.encode() + b'\0' + data)
        found.append((file.stem, values))
    if not found:
        raise InputError(f'{path}: no text file ({", ".join(ENDINGS)}) with a 4×4 matrix of 16 numbers{_below(path)}')
    matrices = poses_of(np.array([values for _, values in found]))
    notes += matrices.notes
    unusable = [(stem, why) for (stem, _), why in zip(found, matrices.reasons, strict=True) if why]
    if unusable:
        first = f'{unusable[0][0]}: {unusable[0][1]}'
        notes.append(f'{len(unusable)} of {len(found)} matrices are no pose, the first {first}')
    stamps = _stamps([stem for stem, _ in found], notes)
    readings = [
        lost(device, reason) if reason else ToolReading(device, ToolStatus.TRACKED, pose)
        for pose, reason in zip(matrices.poses, matrices.reasons, strict=True)
    ]
    frames = sorted(
        (
            RecordedFrame(stamp, None, index, {device: reading})
            for index, (stamp, reading) in enumerate(zip(stamps, readings, strict=True))
        ),
        key=lambda frame: frame.stamp_ns,
    )
    notes += describe_stamps([frame.stamp_ns for frame in frames])
    return Recording(path, 'matrix_folder', tuple(frames), (device,), digest.hexdigest(), tuple(notes))


def matrix_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold 16 or 12 numbers, in order."""
    return [file for file, _, values in _files(folder) if values is not None]


def matrix_of(file: Path) -> list[float] | None:
    """Return the 16 numbers of a file that holds them, or 12 with the last row; None where it holds something else."""
    with file.open('rb') as stream:
        return _numbers(stream.read(MAX_FILE_BYTES + 1), file.name)


def _files(folder: Path) -> Iterator[tuple[Path, bytes, list[float] | None]]:
    """Yield files that may hold a matrix, what they begin with, and their numbers, in order."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.is_file()]
    for file in sorted(files, key=_order):
        with file.open('rb') as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        yield file, data, _numbers(data, file.name)


def _below(folder: Path) -> str:
    """Return what to type where folders in the folder hold the files."""
    inner = sorted(child.name for child in folder.iterdir() if child.is_dir())
    return f'; name one of the folders in it: {", ".join(inner[:8])}' if inner else ''


def _order(file: Path) -> list[tuple[int, int, str]]:
    """Names in the order in which people count: pose_2 before pose_10."""
    return [(0, int(part), '') if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(file.stem) if part]


def _stamps(stems: Sequence[str], notes: list[str]) -> list[int]:
    """Return the stamps [ns] in the names of files, or one second apart."""
    matches = [_STAMP.fullmatch(stem) for stem in stems]
    times = [Decimal(match[1]) for match in matches if match]
    fractions = bool(times) and any(time % 1 for time in times)
    plain = all(re.fullmatch(r'[\d.]+', stem) for stem in stems)
    if len(times) == len(stems) and (plain or min(times) > _EPOCH) and (fractions or not _count(times)):
        tick, said = tick_of(sorted(times))
        if all(time < MAX_SECONDS * 10**9 for time in times):
            notes += [said] if said else []
            return [int(stamp) for stamp in nanoseconds_of(times, tick)]
    notes.append('file names are no stamps: frames are taken one second apart')
    return [index * _PERIOD_NS for index in range(len(stems))]


def _count(times: Sequence[Decimal]) -> bool:
    """Whether whole numbers only tell the order of the files."""
    return max(times) < _EPOCH and (len(times) < 2 or max(times) - min(times) < 100 * len(times))


def _numbers(data: bytes, name: str) -> list[float] | None:
    """Return 16 numbers of a file; None where it holds something else."""
    if len(data) > MAX_FILE_BYTES:
        return None
    try:
        if data.startswith(b'\x93NUMPY'):
            values = np.load(io.BytesIO(data), allow_pickle=False).astype(float).ravel().tolist()
        elif name.lower().endswith('.json'):
            values = [float(value) for value in np.ravel(json.loads(data))]
        else:
            values = _of_text(text_of(data, name))
    except (ValueError, TypeError, InputError):
        return None
    if len(values) == 12:
        values += LAST
    return values if len(values) == 16 else None


def _of_text(text: str) -> list[float]:
    """Return the numbers of a text; a comma is a decimal mark where something else parts sixteen or twelve of them."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(('#', '%', '//'))]
    bare = re.sub(r'[\[\](){}]', ' ', '\n'.join(lines)).strip()
    words = [word for word in re.split(r'[\s;]+', bare) if word]
    if '.' not in bare and ',' in bare and len(words) in (12, 16):
        return [float(word.replace(',', '.')) for word in words]
    return [float(word) for word in re.split(r'[\s,;]+', bare) if word]
