"""The tables that NDI's own programs write: Track and ToolTracker, the Combined API sample, Wave: a group per tool.

A group begins with the column that holds the tool's handle or name (`Port 1`, `Handle`, `ToolInfo`, `Sensor 1 Id`) and
goes on with Frame, State or TransformStatus, Q0, Qx, Qy, Qz (or Rz, Ry, Rx in degrees) and Tx, Ty, Tz (or X, Y, Z), in
millimetres; what stands between is left. With one group whose handle changes from row to row, rows of one frame are the
tools. A state other than OK and Enabled, or a pose that is not written, is LOST. Where no column of time is there,
frames count at 60 Hz, and that is said.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, rotation_exp, rotation_from_quat
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

MAX_BYTES = 256 << 20
FRAME_RATE = 60.0  # of Polaris and Aurora frame counters [Hz]
_PORT = re.compile(r'(port|handle|tool)\s*#?\s*(\w*)$')
_SENSOR = re.compile(r'sensor\s*#?\s*(\w+)\s+id')
_HANDLES = ('porthandle', 'toolhandle', 'tool handle', 'port handle')
_TURNS = (('q0', 'qx', 'qy', 'qz'), ('rz', 'ry', 'rx'))
_PLACES = (('tx', 'ty', 'tz'), ('x', 'y', 'z'))
_STATES = re.compile(r'(sensor\s*\w+\s+)?(state|status|transformstatus)$')
_SEEN = ('OK', 'ENABLED')
_TIMES = re.compile(r'(time|timestamp)\s*(\[s\]|\(s\)|_s)?$')


@dataclass(frozen=True)
class _Tool:
    """Where the columns of a tool stand; -1 for a column that is not there."""

    name: str
    frame: int
    state: int
    turns: tuple[int, ...]
    places: tuple[int, ...]
    handle: int = -1


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
    lines = text_of(path.read_bytes(), path.name).splitlines()
    separator = _separator(lines[0])
    header = _cells(lines[0], separator)
    tools = _tools(header)
    if not tools:
        raise InputError(f'{path.name}: no header with Port, Frame, State, Q0 … Tz')
    rows = [_cells(line[:MAX_LINE_BYTES], separator, lower=False) for line in lines[1:]]
    tools = _named_by_rows(tools, rows)
    clock = _Clock(path, header, rows)
    frames: list[RecordedFrame] = []
    left_out = 0
    for index, cells in enumerate(rows):
        number = next((int(cells[tool.frame]) for tool in tools if _whole(cells, tool.frame)), None)
        if number is None and (all(tool.frame >= 0 for tool in tools) or not any(cells)):
            left_out += any(cells)
            continue
        poses = {tool.name: _reading(tool, cells) for tool in tools if _is_of(tool, cells)}
        stamp = clock.stamp(cells, number, index + 2)
        if frames and len(poses) < len(tools) and number == frames[-1].frame_number:
            frames[-1].poses.update(poses)
        else:
            frames.append(RecordedFrame(stamp, None, number, poses))
    if not frames:
        raise InputError(f'{path.name}: no row with a frame number below the header')
    for frame in frames:
        frame.poses.update({tool.name: lost(tool.name, 'no row') for tool in tools if tool.name not in frame.poses})
    notes = [] if clock.known else [f'no column of time: frames are counted at {FRAME_RATE:g} Hz']
    notes += [f'{left_out} rows without a frame number are left out'] if left_out else []
    if any(len(tool.turns) == 3 for tool in tools):
        notes.append('Rz, Ry, Rx taken as degrees about the fixed x, y, z, as NDI writes them')
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


def _starts(header: list[str]) -> list[int]:
    """Return where the groups of tools begin."""
    infos = [at for at, name in enumerate(header) if name == 'toolinfo']
    sensors = [at for at, name in enumerate(header) if _SENSOR.match(name)]
    handles = [at for at, name in enumerate(header) if name in _HANDLES]
    ports = [at for at, name in enumerate(header) if name not in ('tools', *_HANDLES) and _PORT.match(name)]
    return infos or sensors or ([0] if len(handles) == 1 else ports)


def _tools(header: list[str]) -> list[_Tool]:
    """Return the columns of each group; a group ends where the next begins."""
    tools = []
    for start, end in pairwise([*_starts(header), len(header)]):
        group = header[start:end]
        turns = next((names for names in _TURNS if set(names) <= set(group)), None)
        places = next((names for names in _PLACES if set(names) <= set(group)), None)
        frame = next((start + at for at, name in enumerate(group) if re.fullmatch(r'frame\s*#?', name)), -1)
        state = next((start + at for at, name in enumerate(group) if _STATES.match(name)), -1)
        if turns is None or places is None or state < 0 or (frame < 0 and not any(map(_TIMES.match, header))):
            continue
        sensor = _SENSOR.match(header[start])
        name = f'sensor_{sensor[1]}' if sensor else header[start].replace(' ', '_').replace('#', '')
        handle = next((start + at for at, column in enumerate(group) if column in _HANDLES), -1)
        at_turns, at_places = (tuple(start + group.index(column) for column in columns) for columns in (turns, places))
        tools.append(_Tool(name, frame, state, at_turns, at_places, handle))
    by_handle = all(tool.handle >= 0 for tool in tools)
    return tools if by_handle or len({tool.name for tool in tools}) == len(tools) else []


def _named_by_rows(tools: list[_Tool], rows: list[list[str]]) -> list[_Tool]:
    """Return tools that only the rows name by their handles; one group may serve several, row by row."""
    if any(tool.handle < 0 for tool in tools):
        return tools
    if len(tools) == 1:
        handles = dict.fromkeys(_handle(tools[0], cells) for cells in rows if _handle(tools[0], cells))
        return [replace(tools[0], name=_plain(handle)) for handle in handles] or tools
    named = []
    for index, tool in enumerate(tools):
        first = next(filter(None, (_handle(tool, cells) for cells in rows)), '')
        named.append(replace(tool, name=_plain(first) or f'tool_{index + 1}', handle=-1))
    return named if len({tool.name for tool in named}) == len(named) else tools


def _handle(tool: _Tool, cells: list[str]) -> str:
    """Return the handle in a row with a frame, '' where there is none."""
    return cells[tool.handle] if _whole(cells, tool.frame) and tool.handle < len(cells) else ''


def _plain(handle: str) -> str:
    return re.sub(r'\W+', '_', handle).strip('_').lower()


def _is_of(tool: _Tool, cells: list[str]) -> bool:
    """Whether a row is of a tool: where one group serves several, the handle says it."""
    return tool.handle < 0 or (tool.handle < len(cells) and _plain(cells[tool.handle]) == tool.name)


def _whole(cells: list[str], at: int) -> bool:
    return 0 <= at < len(cells) and cells[at].isdecimal() and len(cells[at]) < 15


class _Clock:
    """Tells the stamp of a row: a column of time, the camera's timespec, or the frame at 60 Hz."""

    def __init__(self, path: Path, header: list[str], rows: list[list[str]]) -> None:
        self._path = path
        self._time = next((at for at, name in enumerate(header) if _TIMES.match(name)), None)
        self._spec = tuple(header.index(name) for name in ('timespec_s', 'timespec_ns') if name in header)
        if len(self._spec) != 2 or not all(self._of_spec(cells) for cells in rows if any(cells)):
            self._spec = ()  # older cameras write zeros
        self.known = self._time is not None or bool(self._spec)

    def stamp(self, cells: list[str], number: int | None, line: int) -> int:
        if self._time is None:
            return (self._of_spec(cells) if self._spec else None) or round((number or 0) * 1e9 / FRAME_RATE)
        try:
            return parse_seconds(cells[self._time] if self._time < len(cells) else '')
        except InputError as error:
            raise InputError(f'{self._path.name}: line {line}: {error}') from None

    def _of_spec(self, cells: list[str]) -> int | None:
        if not all(_whole(cells, at) for at in self._spec):
            return None
        seconds, rest = (int(cells[at]) for at in self._spec)
        return seconds * 10**9 + rest


def _reading(tool: _Tool, cells: list[str]) -> ToolReading:
    state = cells[tool.state] if tool.state < len(cells) else ''
    if state.upper() not in _SEEN:
        return lost(tool.name, state or 'no state')
    try:
        turns, place = ([float(cells[at]) for at in columns] for columns in (tool.turns, tool.places))
        rotation = _rotation(turns)
    except (ValueError, IndexError):
        return lost(tool.name, 'the pose is not written')
    except InputError as error:
        return lost(tool.name, str(error))
    return tracked(tool.name, make_transform(rotation, np.array(place) * MM))


def _rotation(turns: list[float]) -> Array:
    """Return the rotation of q0, qx, qy, qz, or of Rz, Ry, Rx [deg]."""
    if len(turns) == 4:
        return rotation_from_quat(check_quaternion(np.array([*turns[1:], turns[0]])))
    about_z, about_y, about_x = np.radians(turns)
    return np.asarray(rotation_exp([0, 0, about_z]) @ rotation_exp([0, about_y, 0]) @ rotation_exp([about_x, 0, 0]))
