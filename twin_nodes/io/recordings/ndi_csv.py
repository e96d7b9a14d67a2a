"""The CSV that NDI's Combined API sample writes for an Aurora: several sensors, millimetres, quaternions wxyz.

A preamble with the date, a header line `Sample:,Hour,Minutes,Seconds,ms,Xa,Ya,Za,qoa,qxa,…`, then a row per sample.
A sensor that is not seen is written as zeros; that is LOST, not a pose at the origin. With ';' between the fields the
decimal sign may be a comma. The clock fields carry no time zone: stamps count from 1970 as if they were UTC.
"""

import datetime
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, rotation_from_quat
from twin_nodes.core.tracking.reading import ToolReading
from twin_nodes.io.recordings.pose_text import text_of
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

DAY_NS = 86_400 * 10**9
_VALUE_COLUMN = re.compile(r't?(x|y|z|qo|q0|qw|qx|qy|qz)_?([a-z0-9]*)$')
_ONE = 'tool'  # name of a sensor whose columns bear none
_PARTS = ('x', 'y', 'z', 'qw', 'qx', 'qy', 'qz')
_CLOCK = (('hour', 3600), ('minute', 60), ('second', 1))


@dataclass(frozen=True)
class _Columns:
    clock: tuple[int, int, int, int]
    sensors: dict[str, tuple[int, ...]]
    delimiter: str


def read_ndi_csv(path: Path) -> Recording:
    """Read the sensor poses of an NDI CSV; sensors bear the suffix of their columns as name, such as A, B, C.

    Raises:
        InputError: No header line is found, or no row carries a sample.
    """
    lines, cut = _text_lines(path)
    header_at, columns = _find_header(lines, path)
    date, previous_ns = _preamble_date(lines[:header_at], columns.delimiter)
    notes = [] if date else ['the preamble has no date: stamps count from 1970-01-02']
    epoch = datetime.date(1970, 1, 1)
    day_ns = DAY_NS * ((date - epoch).days if date else 1)
    frames: list[RecordedFrame] = []
    for number, line in enumerate(lines[header_at + 1 :], start=header_at + 2):
        cells = [cell.strip() for cell in line.split(columns.delimiter)]
        if number == len(lines) and cut and len(cells) > 1 and cells[-1]:
            notes.append(f'line {number} has no line end: its last value may be cut and is not used')
            cells[-1] = ''
        if not any(cells):
            continue
        clock_ns = _clock(cells, columns)
        if clock_ns is None:
            notes.append(f'line {number}: clock fields are unreadable; row left out')
            continue
        if not any(cells[max(columns.clock) + 1 :]):
            notes.append(f'line {number}: row has no sensor values; left out')
            continue
        if previous_ns is not None and previous_ns - clock_ns > DAY_NS // 2:
            day_ns += DAY_NS  # midnight
        previous_ns = clock_ns
        poses = {name: _reading(name, cells, at, columns.delimiter) for name, at in columns.sensors.items()}
        number_text = cells[0] if min(columns.clock) > 0 else ''
        frame_number = int(number_text) if number_text.isdecimal() else None
        frames.append(RecordedFrame(day_ns + clock_ns, None, frame_number, poses))
    if not frames:
        raise InputError(f'{path.name}: no row with a clock and sensor values below the header in line {header_at + 1}')
    notes += describe_stamps([frame.stamp_ns for frame in frames])
    return Recording(path, 'ndi_csv', tuple(frames), tuple(columns.sensors), file_sha256(path), tuple(notes))


def _text_lines(path: Path) -> tuple[list[str], bool]:
    """Return the lines, and whether the last one lacks its end."""
    text = text_of(path.read_bytes(), path.name)
    lines = text.splitlines()
    if any(len(line) > MAX_LINE_BYTES for line in lines):
        raise InputError(f'{path.name}: a line above {MAX_LINE_BYTES} characters: not a table of samples')
    return lines, not text.endswith(('\n', '\r'))


def _find_header(lines: list[str], path: Path) -> tuple[int, _Columns]:
    for index, line in enumerate(lines[:200]):
        for delimiter in (';', '\t', ','):
            columns = _parse_header(line, delimiter)
            if columns is not None:
                return index, columns
    raise InputError(f'{path.name}: no header line "Sample:,Hour,Minutes,Seconds,ms,Xa,Ya,Za,qoa,…" in its first 200')


def _parse_header(line: str, delimiter: str) -> _Columns | None:
    names = [name.strip().lower() for name in line.split(delimiter)]
    clock = [next((i for i, name in enumerate(names) if name.startswith(unit)), None) for unit, _ in _CLOCK]
    clock.append(next((i for i, name in enumerate(names) if name in ('ms', 'millisecond', 'milliseconds')), None))
    found: dict[str, dict[str, int]] = {}
    for index, name in enumerate(names):
        match = _VALUE_COLUMN.fullmatch(name)
        if match:
            part = 'qw' if match[1] in ('qo', 'q0', 'qw') else match[1]
            found.setdefault(match[2].upper() or _ONE, {}).setdefault(part, index)
    sensors = {name: tuple(at[part] for part in _PARTS) for name, at in found.items() if len(at) == len(_PARTS)}
    if None in clock or not sensors:
        return None
    hour, minute, second, millisecond = (i for i in clock if i is not None)
    return _Columns((hour, minute, second, millisecond), sensors, delimiter)


def _preamble_date(lines: list[str], delimiter: str) -> tuple[datetime.date | None, int | None]:
    """Return the date and the time of day [ns] of the line below `day, month, year, …`."""
    for names, values in itertools.pairwise(lines):
        if 'day' in names.lower() and 'month' in names.lower() and 'year' in names.lower():
            keys = [name.strip().lower() for name in names.split(delimiter)]
            given = dict(zip(keys, (value.strip() for value in values.split(delimiter)), strict=False))
            try:
                date = datetime.date(int(given['year']), int(given['month']), int(given['day']))
                clock_ns = sum(int(given[unit]) * scale for unit, scale in _CLOCK) * 10**9
            except (KeyError, ValueError):
                return None, None
            return date, clock_ns
    return None, None


def _clock(cells: list[str], columns: _Columns) -> int | None:
    texts = [cells[i].replace(',', '.') if i < len(cells) else '' for i in columns.clock]
    try:
        hour, minute, second, milli = (parse_seconds(text) for text in texts)
    except InputError:
        return None
    clock_ns = hour * 3600 + minute * 60 + second + milli // 1000
    return clock_ns if 0 <= clock_ns < DAY_NS else None


def _reading(name: str, cells: list[str], at: tuple[int, ...], delimiter: str) -> ToolReading:
    texts = [cells[i] if i < len(cells) else '' for i in at]
    if not all(texts):
        return lost(name, 'values are missing')
    if delimiter != ',':
        texts = [text.replace(',', '.') for text in texts]
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        return lost(name, f'value is unreadable: {" ".join(texts)[:60]!r}')
    if not values[:3].any() or not values[3:].any():
        return lost(name, 'written as zeros')
    return _pose(name, values)


def _pose(name: str, values: Array) -> ToolReading:
    try:
        quat_xyzw = check_quaternion(values[[4, 5, 6, 3]])
    except InputError as error:
        return lost(name, str(error))
    return tracked(name, make_transform(rotation_from_quat(quat_xyzw), values[:3] * MM))
