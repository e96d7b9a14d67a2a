"""The CSV that OptiTrack's Motive exports: lines of titles above each other, rigid bodies by name.

The first line holds pairs of key and value (`Format Version`, `Rotation Type`, `Length Units`); lines below it tell of
each column its type, name, Rotation or Position, and X, Y, Z or W. A body that is not seen is written as empty cells.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import check_quaternion, make_transform, rotation_from_quat
from twin_nodes.core.tracking.reading import ToolReading
from twin_nodes.io.recordings.pose_text import text_of
from twin_nodes.io.recordings.recording import (
    MAX_LINE_BYTES,
    RecordedFrame,
    Recording,
    describe_stamps,
    file_sha256,
    lost,
    parse_seconds,
    tracked,
)

MAX_BYTES = 256 << 20
_LENGTHS = {'meters': 1.0, 'metres': 1.0, 'centimeters': 1e-2, 'centimetres': 1e-2, 'millimeters': 1e-3,
            'millimetres': 1e-3}  # fmt: skip
_HEADER_LINES = 12
_BODY = 'rigid body'


@dataclass(frozen=True)
class _Header:
    """The titles: where time and frame stand, and qx, qy, qz, qw, x, y, z of each body; the row of the first frame."""

    first: int
    time: int
    frame: int
    bodies: dict[str, tuple[int, ...]]
    metres: float
    notes: tuple[str, ...]


def is_motive_csv(start: bytes) -> bool:
    """Whether the first bytes of a file are those of such an export."""
    return start.removeprefix(b'\xef\xbb\xbf').lstrip(b'"').lower().startswith(b'format version')


def read_motive_csv(path: Path) -> Recording:
    """Read the rigid bodies of an export.

    Raises:
        InputError: Too large, no rigid body, rotations that are no quaternions, or no frame.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.name}: {path.stat().st_size} bytes, limit {MAX_BYTES}')
    lines = text_of(path.read_bytes(), path.name).splitlines()
    if any(len(line) > MAX_LINE_BYTES for line in lines[:_HEADER_LINES]):
        raise InputError(f'{path.name}: a line above {MAX_LINE_BYTES} characters: not a table of frames')
    rows = list(csv.reader(lines))
    header = _header(rows, path)
    frames, left_out = [], 0
    for row in rows[header.first :]:
        try:
            stamp = parse_seconds(row[header.time])
        except (InputError, IndexError):
            left_out += any(row)
            continue
        number = int(row[header.frame]) if row[header.frame].isdecimal() else None
        poses = {name: _reading(name, row, at, header.metres) for name, at in header.bodies.items()}
        frames.append(RecordedFrame(stamp, None, number, poses))
    if not frames:
        raise InputError(f'{path.name}: no frame below the titles')
    notes = [*header.notes, *([f'{left_out} rows without a time are left out'] if left_out else [])]
    notes += describe_stamps([frame.stamp_ns for frame in frames])
    return Recording(path, 'motive_csv', tuple(frames), tuple(header.bodies), file_sha256(path), tuple(notes))


def _header(rows: list[list[str]], path: Path) -> _Header:
    cells = [[cell.strip() for cell in row] for row in rows[:_HEADER_LINES]]
    said = {key.lower(): value for key, value in zip(cells[0][::2], cells[0][1::2], strict=False)}
    last = next((at for at, row in enumerate(cells) if row and row[0].lower() == 'frame'), None)
    kinds = next((row for row in cells if any(cell.lower() == _BODY for cell in row)), None)
    if last is None or kinds is None:
        raise InputError(f'{path.name}: no rigid body in this export of Motive; export with "Rigid Bodies" on')
    kind_at = cells.index(kinds)
    names, whats, axes = cells[kind_at + 1], cells[last - 1], cells[last]
    turn = said.get('rotation type', 'quaternion')
    if turn.lower() != 'quaternion':
        raise InputError(f'{path.name}: rotations are written as {turn} angles; export with "Rotation: Quaternion"')
    found: dict[str, dict[str, int]] = {}
    for at, kind in enumerate(kinds):
        if kind.lower() == _BODY and at < min(len(names), len(whats), len(axes)) and axes[at]:
            part = f'{whats[at].lower()} {axes[at].lower()}'
            found.setdefault(names[at], {}).setdefault(part, at)
    wanted = [f'rotation {axis}' for axis in 'xyzw'] + [f'position {axis}' for axis in 'xyz']
    bodies = {name: tuple(of[part] for part in wanted) for name, of in found.items() if set(wanted) <= set(of)}
    time = next((at for at, cell in enumerate(axes) if cell.lower().startswith('time')), None)
    if not bodies or time is None:
        raise InputError(f'{path.name}: no rigid body with position and rotation, or no column of time')
    unit = said.get('length units', '')
    if unit and unit.lower() not in _LENGTHS:
        raise InputError(f'{path.name}: length units {unit!r}; expected {", ".join(_LENGTHS)}')
    notes = () if unit else ('no length units are said: taken as metres',)
    return _Header(last + 1, time, 0, bodies, _LENGTHS.get(unit.lower(), 1.0), notes)


def _reading(name: str, row: list[str], at: tuple[int, ...], metres: float) -> ToolReading:
    texts = [row[place] if place < len(row) else '' for place in at]
    if not any(texts):
        return lost(name, 'not written in this frame')
    try:
        values = np.array([float(text) for text in texts])
        quat_xyzw = check_quaternion(values[:4])
    except ValueError:
        return lost(name, f'value is unreadable: {" ".join(texts)[:60]!r}')
    except InputError as error:
        return lost(name, str(error))
    return tracked(name, make_transform(rotation_from_quat(quat_xyzw), values[4:] * metres))
