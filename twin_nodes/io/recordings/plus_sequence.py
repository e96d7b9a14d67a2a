"""PLUS/IGSIO sequence files: the text header of MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) files.

Every frame is a handful of header lines `Seq_FrameNNNN_<field> = value`; pixels follow the header and are never read.
Transforms are row-major 4×4 in millimetres, stamps are seconds. A transform whose status is not OK is LOST whatever its
matrix says: PLUS writes the last or a near-identity matrix there. Other writers put matrices column by column, or
metres: both are seen where the numbers leave no doubt, and said. A device that never carries a status line is taken as
OK, as IGSIO's older writers leave it out; a frame that lacks it where other frames of the device have it is LOST.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.reading import ToolReading
from twin_nodes.io.recordings.pose_matrices import BY_COLUMN, METRES, are_metres, is_by_column, poses_of
from twin_nodes.io.recordings.recording import (
    MAX_LINE_BYTES,
    MM,
    RecordedFrame,
    Recording,
    describe_stamps,
    file_sha256,
    lost,
    parse_seconds,
    tracked,
)

MAX_HEADER_BYTES = 1 << 29
_FRAME_FIELD = re.compile(r'Seq_Frame(\d{1,9})_(\S.*?)\s*$')
_STATUS = 'TransformStatus'
_SEEN = ('OK', 'VALID')
_TRANSFORM = 'Transform'
_TO_TRACKER = 'ToTracker'


@dataclass
class _Header:
    frames: dict[int, dict[str, str]] = field(default_factory=dict)
    complete: bool = False
    notes: list[str] = field(default_factory=list)


def read_plus_sequence(path: Path) -> Recording:
    """Read the tool poses of a PLUS sequence.

    Raises:
        InputError: The file is no sequence, or no frame of it has a stamp.
    """
    with path.open('rb') as stream:
        header = _read_header(stream, path)
    notes = list(header.notes)
    numbers = sorted(header.frames)
    if not header.complete and numbers:
        # The cut may lie between a matrix and the status that disowns it.
        notes.append(f'the header is cut: frame {numbers[-1]} was left out')
        numbers.pop()
    stamped = [(number, header.frames[number], stamp) for number in numbers
               if (stamp := _stamp(number, header.frames[number], notes)) is not None]  # fmt: skip
    if not stamped:
        raise InputError(f'{path.name}: no frame with a Timestamp; expected lines "Seq_Frame0000_Timestamp = …"')
    devices, with_status = _devices(header.frames[number] for number in numbers)
    readings = _readings([fields for _, fields, _ in stamped], devices, with_status, notes)
    frames = [
        RecordedFrame(stamp, _optional_stamp(fields), _optional_number(fields), {one.device: one for one in row})
        for (_, fields, stamp), row in zip(stamped, readings, strict=True)
    ]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        notes.append(f'{missing} frame indices are missing between {numbers[0]} and {numbers[-1]}')
    notes += describe_stamps([frame.stamp_ns for frame in frames])
    return Recording(path, 'plus_sequence', tuple(frames), devices, file_sha256(path), tuple(notes))


def _read_header(stream: BinaryIO, path: Path) -> _Header:
    header = _Header()
    nrrd = stream.read(4) == b'NRRD'
    stream.seek(0)
    separator = ':=' if nrrd else '='
    for line in _lines(stream, path):
        if nrrd and not line.strip():
            header.complete = True
            break
        key, found, value = line.partition(separator)
        if not nrrd and found and key.strip() == 'ElementDataFile':
            header.complete = True
            break
        if not nrrd and not found and line.strip():
            raise InputError(f'{path.name}: header line {line.strip()[:60]!r} has no "=": not a MetaImage header')
        match = _FRAME_FIELD.match(key.strip()) if found else None
        if match:
            fields = header.frames.setdefault(int(match[1]), {})
            if match[2] in fields:
                header.notes.append(f'{match[0]} is given twice; the last one counts')
            fields[match[2]] = value.strip()
    return header


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    total = 0
    while line := stream.readline(MAX_LINE_BYTES):
        total += len(line)
        if not line.endswith(b'\n'):
            if len(line) == MAX_LINE_BYTES:
                raise InputError(f'{path.name}: header line above {MAX_LINE_BYTES} bytes: not a text header')
            return
        if total > MAX_HEADER_BYTES:
            raise InputError(f'{path.name}: header above {MAX_HEADER_BYTES} bytes without an end')
        yield line.decode('utf-8', errors='replace')


def _devices(frames: Iterator[dict[str, str]]) -> tuple[tuple[str, ...], set[str]]:
    devices: dict[str, None] = {}
    with_status: set[str] = set()
    for fields in frames:
        for key in fields:
            if key.endswith(_TRANSFORM) and len(key) > len(_TRANSFORM):
                devices.setdefault(key.removesuffix(_TRANSFORM))
            elif key.endswith(_STATUS) and len(key) > len(_STATUS):
                device = key.removesuffix(_STATUS)
                devices.setdefault(device)
                with_status.add(device)
    return tuple(devices), with_status


def _stamp(number: int, fields: dict[str, str], notes: list[str]) -> int | None:
    try:
        return parse_seconds(fields.get('Timestamp', ''))
    except InputError:
        notes.append(f'frame {number} has no readable Timestamp and was left out')
        return None


def _readings(
    frames: Sequence[dict[str, str]], devices: Sequence[str], with_status: set[str], notes: list[str]
) -> list[list[ToolReading]]:
    """Return the reading of each device in each frame."""
    written = {device: [_matrix(device, fields, device in with_status) for fields in frames] for device in devices}
    held = {name: [one for one in of if not isinstance(one, str)] for name, of in written.items()}
    by_column = is_by_column(np.array([one for of in held.values() for one in of]).reshape(-1, 4, 4))
    trackers = np.array([one for name, of in held.items() if name.endswith(_TO_TRACKER) for one in of])
    trackers = trackers.reshape(-1, 4, 4)
    metres = 1.0 if are_metres(np.swapaxes(trackers, 1, 2) if by_column else trackers) else MM
    notes += ([BY_COLUMN] if by_column else []) + ([METRES] if metres == 1.0 else [])
    readings: list[list[ToolReading]] = [[] for _ in frames]
    for device, column in written.items():
        found = poses_of(
            np.array(held[device]).reshape(-1, 4, 4), metres=metres, by_column=by_column, said=device in with_status
        )
        rest = iter(zip(found.poses, found.reasons, strict=True))
        for row, one in zip(readings, column, strict=True):
            pose, reason = (None, one) if isinstance(one, str) else next(rest)
            row.append(lost(device, reason) if reason or pose is None else tracked(device, pose))
    return readings


def _matrix(device: str, fields: dict[str, str], has_status: bool) -> Array | str:
    """Return the matrix (4, 4) of a device in a frame as written, or why there is none."""
    text = fields.get(device + _TRANSFORM)
    status = fields.get(device + _STATUS)
    if status is not None and status.upper() not in _SEEN:
        return status or 'status is empty'
    if text is None:
        return 'not in this frame'
    if status is None and has_status:
        return 'no status in this frame'
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        return f'matrix is unreadable: {text[:40]!r}'
    return values.reshape(4, 4) if values.size == 16 else f'matrix has {values.size} values instead of 16'


def _optional_stamp(fields: dict[str, str]) -> int | None:
    try:
        return parse_seconds(fields.get('UnfilteredTimestamp', ''))
    except InputError:
        return None


def _optional_number(fields: dict[str, str]) -> int | None:
    text = fields.get('FrameNumber', '').strip()
    return int(text) if re.fullmatch(r'-?\d{1,18}', text) else None
