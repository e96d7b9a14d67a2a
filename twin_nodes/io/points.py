"""Point files: digitised points as PLY, CSV, XYZ, PCD, markups, arrays and meshes whose vertices are meant.

Units are as they say. Points that 3D Slicer wrote in RAS come back in LPS, the axes of the anatomy.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.mesh_formats import MAX_BYTES, read_obj, read_stl, read_vtk, read_vtp
from twin_nodes.io.pcd import read_pcd
from twin_nodes.io.ply import read_ply
from twin_nodes.io.recordings.pose_text import cells_of, separator_of, text_of
from twin_nodes.io.recordings.recording import file_sha256

_MESHES = {'.ply': read_ply, '.vtp': read_vtp, '.vtk': read_vtk, '.stl': read_stl, '.obj': read_obj}
_TABLES = ('.csv', '.xyz', '.txt', '.tsv', '.dat', '.pts', '.asc', '.fcsv')
_ARRAYS = ('.npy', '.npz', '.mat')
ENDINGS = (*_MESHES, *_TABLES, *_ARRAYS, '.json', '.pcd')
_UNIT = re.compile(
    r'(?:unit\w*[\'"]?\s*[=:]\s*[\'"]?|[\[(_])(mm|cm|um|µm|m|(?:milli|centi|micro)?met(?:er|re)s?)\b', re.IGNORECASE
)
_UNITS = {'m': 'm', 'mm': 'mm', 'cm': 'cm', 'um': 'um', 'µm': 'um', 'met': 'm', 'mil': 'mm', 'cen': 'cm', 'mic': 'um'}
_TO_MM = {'cm': 10.0, 'um': 1e-3}
_RAS = re.compile(r'CoordinateSystem[\'"]?\s*[=:]\s*[\'"]?(?:RAS|0)\b', re.IGNORECASE)
_EVEN = 0.01  # greatest departure of the steps of a clock from their mean
_NAMES = {
    axis: (axis, f'p{axis}', f't{axis}', f'pos_{axis}', f'position_{axis}', f'point_{axis}', f'tip_{axis}')
    for axis in 'xyz'
}
MAX_POINTS = 5_000_000
_COMMA = re.compile(r'[-+]?\d+,\d+(?:[eE][-+]?\d+)?')
_MANY = 10


@dataclass(frozen=True, eq=False)
class PointFile:
    """Points as a file holds them.

    Args:
        path: The file.
        points: In the unit of the file, all finite, shape (n, 3).
        unit: 'm' or 'mm' where the file says it, '' where it does not.
        sha256: Of the file.
        notes: What was left out or assumed, one line each.
    """

    path: Path
    points: Array
    unit: str
    sha256: str
    notes: tuple[str, ...]


def read_points(path: Path | str) -> PointFile:
    """Read the points of a file; points that are not finite are left out and counted.

    Raises:
        InputError: No such file, a format that is not known, or no points in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: there is no such file')
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path}: {path.stat().st_size} bytes, limit {MAX_BYTES}')
    ending = path.suffix.lower()
    notes: list[str] = []
    try:
        if ending in _MESHES:
            points, unit = np.asarray(_MESHES[ending](path)[0], float), stated_unit(_start(path))
            if ending == '.stl':
                points = np.unique(points, axis=0)
        elif ending in _ARRAYS:
            points, unit = _array(path), ''
        elif ending == '.json':
            points, unit = _markups(path, notes)
        elif ending == '.pcd':
            points, unit = read_pcd(path), ''
        elif ending in _TABLES:
            points, unit = _table(path, notes)
        else:
            raise InputError(f'format {ending!r} is none of {", ".join(ENDINGS)}')
    except InputError as error:
        raise InputError(f'{path}: {error}', code=error.code) from None
    except Exception as error:  # a broken file raises many kinds, in our readers and in numpy
        raise InputError(f'{path}: not readable as {ending[1:].upper()} ({type(error).__name__}: {error})') from None
    if unit in _TO_MM:
        notes.append(f'written in {unit}')
        points, unit = points * _TO_MM[unit], 'mm'
    if points.ndim != 2 or points.shape[1] != 3 or not 0 < len(points) <= MAX_POINTS:
        raise InputError(f'{path}: expected 1 to {MAX_POINTS} points (n, 3), got an array of shape {points.shape}')
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        notes.append(f'{int((~finite).sum())} of {len(points)} points have NaN or Inf and were left out')
    if not finite.any():
        raise InputError(f'{path}: all {len(points)} points have NaN or Inf', code='NOT_FINITE')
    return PointFile(path, np.ascontiguousarray(points[finite]), unit, file_sha256(path), tuple(notes))


def _start(path: Path) -> str:
    with path.open('rb') as stream:
        return stream.read(4096).split(b'end_header')[0].decode('ascii', 'replace')


def stated_unit(text: str) -> str:
    """Return 'm', 'mm', 'cm' or 'um' when a header states one unit only."""
    words = [word.lower() for word in _UNIT.findall(text)]
    found = {_UNITS.get(word) or _UNITS[word[:3]] for word in words}
    return found.pop() if len(found) == 1 else ''


def _array(path: Path) -> Array:
    if path.suffix.lower() == '.mat':
        from scipy.io import loadmat

        loaded: Any = {name: value for name, value in loadmat(path).items() if not name.startswith('__')}
    else:
        loaded = np.load(path, allow_pickle=False)
        loaded = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    if isinstance(loaded, dict):
        arrays = [value for value in loaded.values() if np.ndim(value) == 2 and 3 in np.shape(value)]
        if len(arrays) != 1:
            raise InputError(f'{len(arrays)} arrays of points among {", ".join(loaded)}: expected one')
        loaded = arrays[0]
    points = np.asarray(loaded, float)
    if points.ndim == 2 and points.shape[0] == 3 and points.shape[1] != 3:
        points = points.T
    return points[:, :3] if points.ndim == 2 and points.shape[1] in (4, 6, 7) else points


def _markups(path: Path, notes: list[str]) -> tuple[Array, str]:
    """Read the markups of 3D Slicer, or a list of points."""
    text = path.read_text(encoding='utf-8-sig')
    document = json.loads(text)
    if not isinstance(document, dict):
        return np.asarray(document, float), ''
    markups = document.get('markups') or []
    points = [point['position'] for markup in markups for point in markup.get('controlPoints', ())
              if point.get('positionStatus', 'defined') == 'defined']  # fmt: skip
    return in_lps(np.array(points, float).reshape(-1, 3), text, notes), stated_unit(text)


def in_lps(points: ArrayLike, header: str, notes: list[str] | None = None) -> Array:
    """Return points (n, 3) in LPS, also where the header of 3D Slicer's file says that they are in RAS."""
    places = np.asarray(points, float)
    if not _RAS.search(header):
        return places
    if notes is not None:
        notes.append('written in RAS: x and y are turned to LPS')
    return places * np.array([-1.0, -1.0, 1.0])


def _table(path: Path, notes: list[str]) -> tuple[Array, str]:
    """Read columns x, y, z by their names, or the first three numbers of each line."""
    lines = text_of(path.read_bytes(), path.name).splitlines()
    comments = [line for line in lines if line.lstrip()[:1] in ('#', '%') or line.lstrip().startswith('//')]
    rows: list[list[float | None]] = []
    names, header, odd = None, '', 0
    for line in lines:
        text = line.strip()
        if not text or text[0] in '#%' or text.startswith('//'):
            continue
        words = [word.strip('"\'') for word in _cells(text)]
        numbers = [_number(word) for word in words]
        if not rows and names is None and sum(number is None for number in numbers) * 2 > len(words):
            names, header = words, text
            continue
        rows.append(numbers)
    for comment in comments:  # 3D Slicer names its columns there
        if names is None and 'columns' in comment.lower() and '=' in comment:
            names = [word.strip() for word in comment.split('=', 1)[1].split(',')]
    columns = _columns(names) if names is not None else None
    if columns is None:
        columns = _guessed(rows, notes)
    points = []
    for numbers in rows:
        picked = [numbers[column] if column < len(numbers) else None for column in columns]
        if any(value is None for value in picked):
            odd += 1
        else:
            points.append(picked)
    if odd > len(points):
        raise InputError(f'{odd} of {len(rows)} lines do not have three numbers')
    if odd:
        notes.append(f'{odd} lines without three numbers were left out')
    said = '\n'.join([header, *comments])
    return in_lps(np.array(points, float).reshape(-1, 3), said, notes), stated_unit(said)


def _cells(text: str) -> list[str]:
    """Return the words of a line; a comma within numbers that something else parts is a decimal mark."""
    words = text.split()
    if len(words) >= 3 and all(_COMMA.fullmatch(word) for word in words[:3]):
        return [word.replace(',', '.') for word in words]
    return cells_of(text, separator_of(text), header=True)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _columns(names: list[str]) -> list[int] | None:
    bare = [re.sub(r'\s*[\[(].*|_(mm|m)$', '', name.strip().lower()) for name in names]
    found = [next((index for index, name in enumerate(bare) if name in _NAMES[axis]), None) for axis in 'xyz']
    if all(index is None for index in found):
        return None
    if any(index is None for index in found):
        raise InputError(f'columns {", ".join(names)} lack one of x, y, z')
    return [index for index in found if index is not None]


def _guessed(rows: list[list[float | None]], notes: list[str]) -> list[int]:
    """Return the first three columns, or the second to the fourth where the first counts the lines."""
    if len(rows) > 2 and all(len(row) >= 4 for row in rows):
        first = [row[0] for row in rows]
        if all(value is None for value in first) and all(row[at] is not None for row in rows for at in (1, 2, 3)):
            return [1, 2, 3]  # names
        if _is_clock(first):
            notes.append('the first column is a clock, or counts the lines, and was left out')
            return [1, 2, 3]
        if first in ([float(i) for i in range(len(rows))], [float(i + 1) for i in range(len(rows))]):
            notes.append('the first column counts the lines and was left out')
            return [1, 2, 3]
    return [0, 1, 2]


def _is_clock(values: list[float | None]) -> bool:
    """Whether numbers rise by even steps, as no coordinate of a digitised point does."""
    steps = np.diff(np.array([np.nan if value is None else value for value in values]))
    return bool(len(steps) > _MANY and (steps > 0.0).all() and np.ptp(steps) < _EVEN * steps.mean())
