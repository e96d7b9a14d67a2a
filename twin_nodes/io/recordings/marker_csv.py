"""Tables of one moving marker: frame number, time and x, y, z, as breathing monitors write them.

The header names the columns; a time without a unit in its name counts in milliseconds and positions in millimetres, as
the ExtMarker set has them. Fields are parted by ';' or ',', and with ';' the decimal sign may be a comma. A closing row
of zeros is an end mark, not a sample; rows out of order are sorted, repeated stamps are left out, and both are said.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

MAX_BYTES = 256 << 20
_MM = 1e-3
_MS = 1_000_000  # nanoseconds


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


def read_marker_csv(path: Path | str) -> MarkerTrace:
    """Read a table of one marker.

    Raises:
        InputError: when there is no such header, or fewer than two samples.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.name}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read')
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    if not lines:
        raise InputError(f'{path.name} is empty; expected a header such as "Frame";"Timestamp";"x";"y";"z"')
    parting = ';' if ';' in lines[0] else ','
    columns = _columns(lines[0], parting, path.name)
    rows, notes = _rows(lines[1:], parting, columns, path.name)
    if rows and not any(rows[-1]) and len(rows) > 1:
        rows.pop()
        notes.append('a closing row of zeros is left out')
    if len(rows) < 2:
        raise InputError(f'{path.name}: {len(rows)} samples; at least 2 are needed')
    values = np.array(rows)
    stamps = np.round(values[:, 0] * _MS).astype(np.int64)
    order = np.argsort(stamps, kind='stable')
    if (np.diff(stamps) < 0).any():
        notes.append(f'{int((np.diff(stamps) < 0).sum())} rows out of the order of time are sorted')
    stamps, positions = stamps[order], values[order, 1:] * _MM
    fresh = np.concatenate([[True], np.diff(stamps) > 0])
    if not fresh.all():
        notes.append(f'{int((~fresh).sum())} rows with a repeated stamp are left out')
    return MarkerTrace(path.name, stamps[fresh], positions[fresh], tuple(notes))


def _columns(header: str, parting: str, name: str) -> tuple[int, ...]:
    titles = [title.strip().strip('"').lower() for title in header.split(parting)]
    wanted = (('timestamp', 'time', 't', 'ms'), ('x',), ('y',), ('z',))
    places = [next((titles.index(word) for word in words if word in titles), -1) for words in wanted]
    if min(places) < 0:
        raise InputError(f'{name}: the header has {titles}; expected columns Timestamp [ms], x, y, z [mm]')
    return tuple(places)


def _rows(lines: list[str], parting: str, columns: tuple[int, ...], name: str) -> tuple[list[list[float]], list[str]]:
    rows, bad = [], []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = [cell.strip().strip('"') for cell in line.split(parting)]
        try:
            values = [float(cells[column].replace(',', '.')) for column in columns]
        except (IndexError, ValueError):
            values = [float('nan')]
        if np.isfinite(values).all():
            rows.append(values)
        else:
            bad.append(number)
    if len(bad) > len(lines) // 2:
        raise InputError(f'{name}: {len(bad)} of {len(lines)} rows are unreadable, the first is line {bad[0]}')
    return rows, [f'{len(bad)} unreadable rows are left out, the first is line {bad[0]}'] if bad else []
