"""Tables of one moving marker: frame number, time and x, y, z, as breathing monitors write them.

The header names the columns, with units such as `time [s]`, `t_ms`, `x (cm)`; a time without a unit in its name counts
in milliseconds and positions in millimetres, as the ExtMarker set has them, unless half of the steps are shorter than
one: then it counts in seconds, and that is said. Fields are parted by ';', tab or ',', and but for ',' the decimal sign
may be a comma; a time may be a clock's (10:05:01.2) or a date's. A closing row of zeros is an end mark, not a sample;
rows out of order are sorted, repeated stamps are left out; where the time begins anew, what follows is told after a
gap. Positions without a unit that are a breath in metres and none in millimetres are metres. All of that is said.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.recordings.restarts import RUN, begins_anew
from twin_nodes.io.recordings.signal import BREATHING

MAX_BYTES = 256 << 20
_LENGTHS = {'': 1e-3, 'um': 1e-6, 'mm': 1e-3, 'cm': 1e-2, 'm': 1.0, 'in': 0.0254, 'inch': 0.0254}
_TIMES = {
    '': 1_000_000, 'ms': 1_000_000, 'msec': 1_000_000, 's': 1_000_000_000, 'sec': 1_000_000_000, 'us': 1000, 'ns': 1,
    'min': 60_000_000_000,
}  # fmt: skip  # nanoseconds
_METRES = (1e-4, 0.1)  # m, spread of a breath that is plausible
_MARKERS = ('marker', 'marker_id', 'markerid', 'id', 'label', 'name', 'target', 'point')
_APART_NS = 10_000_000_000  # between a recording and the next one in the same table
_TIME_WORDS = ('timestamp', 'time', 't', 'ms', 'seconds', 'sec')
_NO_VALUES = ('frame', 'index', 'sample', 'phase', 'valid', 'validflag', 'mark', 'ttl', '')
_VALUES = (*BREATHING, 'ampl', 'signal', 'displ', 'value', 'volt')
_LATEST_NS = 9.2e18
_UNIT = re.compile(r'\s*[\[(]\s*([\w%]*)\s*[\])]$|_(ms|s|sec|us|ns|mm|cm|m|v|mv)$')


@dataclass(frozen=True, eq=False)
class MarkerTrace:
    """The positions of one marker.

    Args:
        name: Name of the file.
        stamps_ns: Ascending, shape (n,); count from the start of the recording.
        positions: Positions [m], shape (n, 3).
        notes: What was mended or left out, one line each.
    """

    name: str
    stamps_ns: NDArray[np.int64]
    positions: Array
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ColumnTrace:
    """One column of a table over time.

    Args:
        name: Name of the column.
        unit: Its unit as the header has it; '' where it has none.
        stamps_ns: As in `MarkerTrace`, shape (n,).
        values: In that unit, shape (n,).
        notes: As in `MarkerTrace`.
    """

    name: str
    unit: str
    stamps_ns: NDArray[np.int64]
    values: Array
    notes: tuple[str, ...]


def read_marker_csv(path: Path | str) -> MarkerTrace:
    """Read a table of one marker.

    Raises:
        InputError: when there is no such header, or fewer than two samples.
    """
    path = Path(path)
    header, lines, parting, first = _lines(path)
    columns, tick, length = _columns(header, parting, path.name)
    _refuse_several(header, lines, parting, path.name)
    stamps, values, notes = _samples(lines, parting, columns, tick, path.name, first)
    bare = _titles(header, parting)[0]
    if any(bare.count(bare[column]) > 1 for column in columns):
        notes = (*notes, 'columns have the same names: the first of each is taken')
    spread = float(np.sqrt(np.sum(np.var(values, axis=0))))
    if not length and not _METRES[0] <= 1e-3 * spread and _METRES[0] <= spread <= _METRES[1]:
        length, notes = 'm', (*notes, f'positions taken as metres: in millimetres they spread by {spread:.2g} mm only')
    return MarkerTrace(path.name, stamps, values * _LENGTHS[length], notes)


def read_column_csv(path: Path | str, wanted: str = '') -> ColumnTrace:
    """Read one column of a table, such as the amplitude that a breathing belt tells.

    Args:
        path: The table, with a header that names a time.
        wanted: Name of the column; the only one beside the time, or one that is named like breathing, when empty.

    Raises:
        InputError: No time, no such column, or several that it may be; or fewer than two samples.
    """
    path = Path(path)
    header, lines, parting, first = _lines(path)
    bare, units = _titles(header, parting)
    time = next((bare.index(word) for word in _TIME_WORDS if word in bare), -1)
    others = {name: at for at, name in enumerate(bare) if at != time and name not in _NO_VALUES}
    likely = [name for name in others if any(word in name for word in _VALUES)]
    found = [name for name in others if name == wanted.strip().lower()] if wanted else likely or list(others)
    if time < 0 or units[time] not in _TIMES or len(found) != 1:
        reason = 'a column time [s] or time [ms]' if time < 0 or units[time] not in _TIMES else 'one column to be named'
        raise InputError(f'{path.name}: which column is it? The header has {bare}; expected {reason} (--channel)')
    _refuse_several(header, lines, parting, path.name)
    at = others[found[0]]
    tick = 'ms' if bare[time] == 'ms' else units[time]
    stamps, values, notes = _samples(lines, parting, (time, at), tick, path.name, first)
    return ColumnTrace(found[0], units[at], stamps, values[:, 0], notes)


def _lines(path: Path) -> tuple[str, list[str], str, int]:
    """Return header, rows, the mark between fields, and the number of the first row's line."""
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.name}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read')
    lines = path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    top = next((at for at, line in enumerate(lines) if line.strip(' \t,;') and not line.startswith(('#', '%'))), None)
    if top is None:
        raise InputError(f'{path.name} is empty; expected a header such as "Frame";"Timestamp";"x";"y";"z"')
    parting = next((mark for mark in (';', '\t', ',') if mark in lines[top]), ' ')
    return lines[top], lines[top + 1 :], parting, top + 2


def _samples(
    lines: list[str], parting: str, columns: tuple[int, ...], tick: str, name: str, first: int
) -> tuple[NDArray[np.int64], Array, tuple[str, ...]]:
    """Return ascending stamps and the other columns, shape (n, k), and what was mended."""
    rows, notes = _rows(lines, parting, columns, name, first)
    tick = 's' if any(':' in line for line in lines[:2]) else tick
    if rows and not any(rows[-1]) and len(rows) > 1:
        rows.pop()
        notes.append('a closing row of zeros is left out')
    if len(rows) < 2:
        raise InputError(f'{name}: {len(rows)} samples; at least 2 are needed')
    values = np.array(rows)
    if tick == '' and 0.0 < float(np.median(np.abs(np.diff(values[:, 0])))) < 1.0:
        tick = 's'
        notes.append('times taken as seconds: half of the steps are shorter than one')
    tick, said = (tick, '') if tick else _epoch(float(np.median(values[:, 0])))
    notes += [said] if said else []
    if np.abs(values[:, 0]).max() * _TIMES[tick] >= _LATEST_NS:
        raise InputError(f'{name}: a time of {values[:, 0].max():g} does not fit 64 bits of nanoseconds')
    stamps = np.round(values[:, 0] * _TIMES[tick]).astype(np.int64)
    begins = begins_anew(stamps)
    for at in begins:
        stamps[at:] += stamps[:at].max() + _APART_NS - stamps[at:].min()
        notes.append(f'the time begins anew at sample {at + 1}: what follows is told after a gap')
    order = np.argsort(stamps, kind='stable')
    if (np.diff(stamps) < 0).any():
        notes.append(f'{int((np.diff(stamps) < 0).sum())} rows out of the order of time are sorted')
    stamps = stamps[order]
    fresh = np.concatenate([[True], np.diff(stamps) > 0])
    if not fresh.all():
        notes.append(f'{int((~fresh).sum())} rows with a repeated stamp are left out')
    return stamps[fresh], values[order, 1:][fresh], tuple(notes)


def _refuse_several(header: str, lines: list[str], parting: str, name: str) -> None:
    """Refuse a table whose rows are of several markers."""
    bare = _titles(header, parting)[0]
    for word in _MARKERS:
        if word in bare:
            cells = (_cells(line, parting) for line in lines if line.strip())
            seen = sorted({row[bare.index(word)] for row in cells if len(row) == len(bare)})
            if 1 < len(seen) <= max(len(lines) // RUN, 1):
                told = ', '.join(seen[:6])
                raise InputError(
                    f'{name}: rows of {len(seen)} markers in column {word!r} ({told}): write a table of each'
                )


def _cells(line: str, parting: str) -> list[str]:
    parts = line.split() if parting == ' ' else line.split(parting)
    return [cell.strip().strip('"').strip() for cell in parts]


def _number(cell: str) -> float:
    """A number, or a time of day or a date in seconds; ValueError for anything else."""
    if ':' not in cell:
        return float(cell.replace(',', '.'))
    clock = cell.replace(',', '.').replace('Z', '+00:00')
    try:
        return datetime.fromisoformat(clock).timestamp()
    except ValueError:
        hours, minutes, seconds = (['0', *clock.split(':')])[-3:]
        return 3600.0 * float(hours) + 60.0 * float(minutes) + float(seconds)


def _epoch(middle: float) -> tuple[str, str]:
    """Return the unit of times since 1970 that no header names, and what to say of it; '' for milliseconds."""
    tick = 'ns' if middle > 1e17 else 'us' if middle > 1e14 else ''
    return tick, f'times taken as {tick}: they are about {middle:.3g}' if tick else ''


def _columns(header: str, parting: str, name: str) -> tuple[tuple[int, ...], str, str]:
    """Return where time, x, y and z stand, the unit of the time and that of the positions; '' where not said."""
    bare, units = _titles(header, parting)
    wanted = [_TIME_WORDS, *((axis, f'p{axis}', f'pos_{axis}', f'position_{axis}', f'marker_{axis}') for axis in 'xyz')]
    places = [next((bare.index(word) for word in words if word in bare), -1) for words in wanted]
    lengths = {units[place] for place in places[1:]}
    if min(places) < 0 or len(lengths) > 1 or not lengths <= set(_LENGTHS) or units[places[0]] not in _TIMES:
        raise InputError(f'{name}: the header has {bare}; expected columns Timestamp [ms], x, y, z [mm]')
    tick = 'ms' if bare[places[0]] == 'ms' else units[places[0]]
    return tuple(places), tick, lengths.pop()


def _titles(header: str, parting: str) -> tuple[list[str], list[str]]:
    """Return the names of columns in small letters, and their units ('' where not said)."""
    titles = [title.lower() for title in _cells(header, parting)]
    said = [_UNIT.search(title) for title in titles]
    return [_UNIT.sub('', title) for title in titles], [(match[1] or match[2] or '') if match else '' for match in said]


def _rows(
    lines: list[str], parting: str, columns: tuple[int, ...], name: str, first: int
) -> tuple[list[list[float]], list[str]]:
    rows, bad = [], []
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        cells = _cells(line, parting)
        try:
            values = [_number(cells[column]) for column in columns]
        except (IndexError, ValueError):
            values = [float('nan')]
        if np.isfinite(values).all():
            rows.append(values)
        else:
            bad.append(number)
    if len(bad) > len(lines) // 2:
        raise InputError(f'{name}: {len(bad)} of {len(lines)} rows are unreadable, the first is line {bad[0]}')
    return rows, [f'{len(bad)} unreadable rows are left out, the first is line {bad[0]}'] if bad else []
