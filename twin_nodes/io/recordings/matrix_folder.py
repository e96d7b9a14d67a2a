"""A folder with one 4×4 matrix per text file, in millimetres; the file name is the stamp in ns, or any word.

The last row may be left out. Metres are recognised: no tool is within 10 mm of the origin of its tracker all the time.
"""

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
ENDINGS = ('.txt', '.csv', '.tsv', '.dat', '.mat')
_PERIOD_NS = 10**9
_METRES_BELOW = 10.0


def read_matrix_folder(path: Path, *, device: str = DEVICE) -> Recording:
    """Read all text files of a folder that hold 16 or 12 numbers, in the order of their stamps or names.

    Without stamps in the names the frames are one second apart, and a note says so. Files that hold no matrix are left
    out and noted, as are metres and matrices that are no pose. The hash is that of all the matrix files' names and
    contents.

    Raises:
        InputError: No file holds a 4×4 matrix.
    """
    found: list[tuple[str, list[float]]] = []
    notes: list[str] = []
    digest = hashlib.sha256()
    files = [file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.is_file()]
    for file in sorted(files, key=_order):
        text = file.read_bytes()[: MAX_FILE_BYTES + 1]
        values = _numbers(text)
        if values is None:
            notes.append(f'{file.name} holds no 4×4 matrix and was left out')
            continue
        digest.update(file.name.encode() + b'\0' + text)
        found.append((file.stem, values))
    if not found:
        raise InputError(f'{path}: no text file ({", ".join(ENDINGS)}) with a 4×4 matrix of 16 numbers')
    unit = MM
    if 0.0 < max(abs(values[at]) for _, values in found for at in (3, 7, 11)) < _METRES_BELOW:
        unit = 1.0
        notes.append('positions taken as metres: all are below 10')
    readings = [_reading(device, values, unit) for _, values in found]
    unusable = [(stem, one.reason) for (stem, _), one in zip(found, readings, strict=True) if one.reason]
    if unusable:
        notes.append(
            f'{len(unusable)} of {len(found)} matrices are no pose, the first {unusable[0][0]}: {unusable[0][1]}'
        )
    named = all(re.fullmatch(r'[0-9]{1,19}', stem) and int(stem) < MAX_SECONDS * 10**9 for stem, _ in found)
    if not named:
        notes.append('file names are no stamps: frames are taken one second apart')
    stamps = [int(stem) if named else index * _PERIOD_NS for index, (stem, _) in enumerate(found)]
    frames = tuple(
        RecordedFrame(stamp, None, index, {device: reading})
        for index, (stamp, reading) in enumerate(zip(stamps, readings, strict=True))
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
    if len(values) == 12:
        values += [0.0, 0.0, 0.0, 1.0]
    return values if len(values) == 16 else None


def _reading(device: str, values: list[float], unit: float) -> ToolReading:
    tracker_T_tool = np.array(values).reshape(4, 4)
    tracker_T_tool[:3, 3] *= unit
    try:
        return ToolReading(device, ToolStatus.TRACKED, check_transform(tracker_T_tool))
    except InputError as error:
        return lost(device, str(error))
