"""The CSV and TSV that NDI's own programs (Track, ToolTracker) export: a group of columns for each tool.

A group begins with the column `Port 1` (or `Port 01`, `Handle`), which holds the tool's handle or name, and goes on
with Frame, State, Q0, Qx, Qy, Qz, Tx, Ty, Tz, in millimetres; what stands between is left. A state other than OK, or a
pose that is not written, is LOST. Where no column of time is there, frames count at 60 Hz, and that is said.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import check_quaternion, make_transform, rotation_from_quat
from twin_nodes.core.tracking.reading import ToolReading
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

MAX_BYTES = 256 << 20
FRAME_RATE = 60.0  # of Polaris and Aurora frame counters [Hz]
_PORT = re.compile(r'(port|handle|tool)\s*#?\s*(\w*)$')
_POSE = ('q0', 'qx', 'qy', 'qz', 'tx', 'ty', 'tz')
_TIMES = re.compile(r'(time|timestamp)\s*(\[s\]|\(s\)|_s)?$')


@dataclass(frozen=True)
class _Tool:
    name: str
    frame: int
    state: int
    pose: tuple[int, ...]


def is_ndi_track(start: bytes) -> bool:
    """Whether the first bytes of a file hold such a header."""
    first = start.decode('utf-8', 'replace').lstrip('\ufeff').split('\n', 1)[0]
    return bool(_tools(_cells(first, _separator(first))))


def read_ndi_track(path: Path) -> Recording:
    """Read the poses of each tool.

    Raises:
        InputError: No such header, or no row with a frame.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.name}: {path.stat().st_size} bytes, limit {MAX_BYTES}')
    lines = path.read_bytes().removeprefix(b'\xef\xbb\xbf').decode('utf-8', 'replace').splitlines()
    separator = _separator(lines[0])
    header = _cells(lines[0], separator)
    tools = _tools(header)
    if not tools:
        raise InputError(f'{path.name}: no header with Port, Frame, State, Q0 … Tz')
    time = next((at for at, name in enumerate(header) if _TIMES.match(name)), None)
    frames, left_out = [], 0
    for index, line in enumerate(lines[1:]):
        cells = _cells(line[:MAX_LINE_BYTES], separator, lower=False)
        number = next((int(cells[tool.frame]) for tool in tools if _whole(cells, tool.frame)), None)
        if number is None:
            left_out += bool(line.strip())
            continue
        stamp = _stamp(cells, time, number, path, index + 2)
        poses = {tool.name: _reading(tool, cells) for tool in tools}
        frames.append(RecordedFrame(stamp, None, number, poses))
    if not frames:
        raise InputError(f'{path.name}: no row with a frame number below the header')
    notes = [] if time is not None else [f'no column of time: frames are counted at {FRAME_RATE:g} Hz']
    notes += [f'{left_out} rows without a frame number are left out'] if left_out else []
    notes += describe_stamps([frame.stamp_ns for frame in frames])
    devices = tuple(tool.name for tool in tools)
    return Recording(path, 'ndi_track', tuple(frames), devices, file_sha256(path), tuple(notes))


def _separator(line: str) -> str:
    """Return the mark that the header has most of: its names hold none of them."""
    return max(('\t', ';', ','), key=line.count)


def _cells(line: str, separator: str, *, lower: bool = True) -> list[str]:
    cells = [cell.strip().strip('"') for cell in line.split(separator)]
    cells = [cell.lower() for cell in cells] if lower else cells
    return [cell.replace(',', '.') for cell in cells] if separator != ',' else cells


def _tools(header: list[str]) -> list[_Tool]:
    """Return the columns of each group; a group ends where the next begins."""
    starts = [at for at, name in enumerate(header) if name != 'tools' and _PORT.match(name)]
    tools = []
    for start, end in itertools.pairwise([*starts, len(header)]):
        group = header[start:end]
        if {'frame', 'state', *_POSE} <= set(group):
            name = header[start].replace(' ', '_').replace('#', '')
            pose = tuple(start + group.index(column) for column in _POSE)
            tools.append(_Tool(name, start + group.index('frame'), start + group.index('state'), pose))
    return tools if len({tool.name for tool in tools}) == len(tools) else []


def _whole(cells: list[str], at: int) -> bool:
    return at < len(cells) and cells[at].isdecimal() and len(cells[at]) < 15


def _stamp(cells: list[str], time: int | None, number: int, path: Path, line: int) -> int:
    if time is None:
        return round(number * 1e9 / FRAME_RATE)
    try:
        return parse_seconds(cells[time] if time < len(cells) else '')
    except InputError as error:
        raise InputError(f'{path.name}: line {line}: {error}') from None


def _reading(tool: _Tool, cells: list[str]) -> ToolReading:
    state = cells[tool.state] if tool.state < len(cells) else ''
    if state.upper() != 'OK':
        return lost(tool.name, state or 'no state')
    try:
        numbers = [float(cells[at]) for at in tool.pose]
        quat = check_quaternion(np.array([*numbers[1:4], numbers[0]]))
    except (ValueError, IndexError):
        return lost(tool.name, 'the pose is not written')
    except InputError as error:
        return lost(tool.name, str(error))
    return tracked(tool.name, make_transform(rotation_from_quat(quat), np.array(numbers[4:]) * MM))
