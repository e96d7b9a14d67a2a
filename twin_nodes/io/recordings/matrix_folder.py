"""A folder with one 4×4 matrix per text file, in millimetres; the file name is the stamp in ns, or any word."""

import hashlib
import re
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import check_transform
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus
from twin_nodes.io.recordings.recording import MAX_SECONDS, MM, RecordedFrame, Recording, describe_stamps, lost

MAX_FILE_BYTES = 4096
DEVICE = 'tool'
_PERIOD_NS = 10**9


def read_matrix_folder(path: Path, *, device: str = DEVICE) -> Recording:
    """Read all *.txt files of a folder that hold 16 numbers, in the order of their stamps or names.

    Without stamps in the names the frames are one second apart, and a note says so. Files that hold no matrix are left
    out and noted. The hash is that of all the matrix files' names and contents.

    Raises:
        InputError: No file holds a 4×4 matrix.
    """
    found: list[tuple[str, ToolReading]] = []
    notes: list[str] = []
    digest = hashlib.sha256()
    for file in sorted(path.glob('*.txt'), key=_order):
        text = file.read_bytes()[: MAX_FILE_BYTES + 1]
        values = _numbers(text)
        if values is None:
            notes.append(f'{file.name} holds no 4×4 matrix and was left out')
            continue
        digest.update(file.name.encode() + b'\0' + text)
        found.append((file.stem, _reading(device, values)))
    if not found:
        raise InputError(f'{path}: no *.txt file with a 4×4 matrix of 16 numbers')
    named = all(re.fullmatch(r'[0-9]{1,19}', stem) and int(stem) < MAX_SECONDS * 10**9 for stem, _ in found)
    if not named:
        notes.append('file names are no stamps: frames are taken one second apart')
    stamps = [int(stem) if named else index * _PERIOD_NS for index, (stem, _) in enumerate(found)]
    frames = tuple(
        RecordedFrame(stamp, None, index, {device: reading})
        for index, (stamp, (_, reading)) in enumerate(zip(stamps, found, strict=True))
    )
    notes += describe_stamps(stamps)
    return Recording(path, 'matrix_folder', frames, (device,), digest.hexdigest(), tuple(notes))


def _order(file: Path) -> tuple[int, str]:
    return (int(file.stem) if file.stem.isdecimal() and len(file.stem) < 20 else 0, file.name)


def _numbers(text: bytes) -> list[float] | None:
    if len(text) > MAX_FILE_BYTES:
        return None
    try:
        values = [float(word) for word in re.split(rb'[\s,;]+', text.strip())]
    except ValueError:
        return None
    return values if len(values) == 16 else None


def _reading(device: str, values: list[float]) -> ToolReading:
    tracker_T_tool = np.array(values).reshape(4, 4)
    tracker_T_tool[:3, 3] *= MM
    try:
        return ToolReading(device, ToolStatus.TRACKED, check_transform(tracker_T_tool))
    except InputError as error:
        return lost(device, str(error))
