"""Landmarks in files of other tools: 3D Slicer's markups, and tables of a name with x, y, z."""

import json
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import InputError
from twin_nodes.io.points import in_lps, stated_unit
from twin_nodes.io.recordings.pose_text import cells_of, is_number, separator_of, text_of
from twin_nodes.io.whole_files import read_bytes_whole

ENDINGS = ('.fcsv', '.json', '.csv', '.tsv', '.txt')
_TO_METRES = {'m': 1.0, 'cm': 1e-2, 'mm': 1e-3, 'um': 1e-6}
_METRES_BELOW = 5.0  # no patient is larger
_NAMES = ('label', 'name', 'landmark', 'fiducial', 'id', 'point', '')
_UNDEFINED = 'undefined'


def read_landmark_table(path: Path) -> list[tuple[str, list[float]]]:
    """Return names and positions [m] of landmarks; where nothing says the unit, numbers above 5 are millimetres.

    Raises:
        ConfigError: It cannot be read.
        InputError: No landmark in it, or a line that is none.
    """
    text = text_of(read_bytes_whole(path, 'file of landmarks'), path.name)
    if path.suffix.lower() == '.json':
        named, unit = _of_markups(text), stated_unit(text) or 'mm'
    else:
        named, unit = _of_lines(text, path.suffix.lower() == '.fcsv')
    if not named:
        raise InputError(f'{path.name}: no line with a name and x, y, z')
    if not unit:
        unit = 'mm' if max(abs(value) for _, place in named for value in place) > _METRES_BELOW else 'm'
    places = in_lps([place for _, place in named], text[:4096]) * _TO_METRES[unit]
    return [(name, place) for (name, _), place in zip(named, places.tolist(), strict=True)]


def _of_markups(text: str) -> list[tuple[str, list[float]]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f'not readable as JSON: {error}') from None
    try:
        points: list[Any] = [point for markup in document['markups'] for point in markup.get('controlPoints', ())]
        return [
            (str(point.get('label') or point['id']), [float(value) for value in point['position']])
            for point in points
            if point.get('positionStatus', 'defined') != _UNDEFINED
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError('expected the markups of 3D Slicer: controlPoints with a label and a position') from None


def _of_lines(text: str, is_slicer: bool) -> tuple[list[tuple[str, list[float]]], str]:
    """Return the landmarks in lines, and the unit that their titles or comments say."""
    titles: list[str] = ['label', 'x', 'y', 'z']
    found: list[tuple[str, list[float]]] = []
    said = ''
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(('#', '%', '//')):
            said += f'{line}\n'
            if 'columns' in line and '=' in line:
                titles = [word.strip() for word in line.split('=', 1)[1].split(',')]
            continue
        if not line.strip():
            continue
        cells = cells_of(line.strip(), separator_of(line), header=True)
        lowered = [cell.strip('" ').lower() for cell in cells]
        if not found and not any(is_number(cell) for cell in lowered):
            titles, said = lowered, f'{said}{line}\n'
            continue
        found.append(_landmark([cell.strip('" ') for cell in cells], titles, number))
    return found, stated_unit(said) or ('mm' if is_slicer else '')


def _landmark(cells: list[str], titles: list[str], number: int) -> tuple[str, list[float]]:
    bare = [title.split('[')[0].split('(')[0].strip().removesuffix('_mm').removesuffix('_m') for title in titles]
    try:
        name = next((cells[bare.index(title)] for title in _NAMES if title in bare), cells[0])
        return name, [float(cells[bare.index(axis)]) for axis in 'xyz']
    except (ValueError, IndexError):
        raise InputError(f'line {number}: {" ".join(cells)[:60]!r}: expected a name and x, y, z') from None
