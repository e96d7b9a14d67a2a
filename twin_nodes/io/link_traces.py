"""Files of measured links: delay tables (CICV5G text, two columns) and mahimahi delivery opportunities."""

import re
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.telesurgery.link.trace import (
    DelayTrace,
    Opportunities,
    synthetic_delays,
    synthetic_opportunities,
)

SYNTHETIC = 'synthetic'
LARGEST_BYTES = 256 * 2**20
_UNITS = {'ns': 1e-9, 'us': 1e-6, 'µs': 1e-6, 'ms': 1e-3, 's': 1.0}
_TIMES = ('pub_time', 'send_time', 'sent', 'timestamp', 'time', 't')
_DELAYS = ('delay', 'latency', 'rtt', 'owd')


def read_delay_trace(path: Path) -> DelayTrace:
    """Read delays over time.

    A header names the columns and their units, such as `pub_time(ms) sub_time(ms) delay(ms)`; without one the first
    two columns are time and delay in seconds. Columns are parted by blanks, tabs, commas or semicolons. Rows are put in
    order of time; of rows with the same time the first counts.

    Raises:
        InputError: for a file that cannot be read so, naming the row.
    """
    lines = [line for line in _text(path).splitlines() if line.strip() and not line.lstrip().startswith('#')]
    if not lines:
        raise InputError(f'{path}: no rows')
    header = _words(lines[0])
    named = not _is_number(header[0])
    time_column, delay_column, time_unit, delay_unit = _columns(header, path) if named else (0, 1, 1.0, 1.0)
    rows = []
    for number, line in enumerate(lines[1:] if named else lines, start=2 if named else 1):
        words = _words(line)
        try:
            rows.append((float(words[time_column]), float(words[delay_column])))
        except (IndexError, ValueError):
            raise InputError(f'{path} row {number}: no time and delay in {line[:60]!r}') from None
    table = np.array(rows)
    _, first = np.unique(table[:, 0], return_index=True)
    table = table[first]
    try:
        return DelayTrace((table[:, 0] - table[0, 0]) * time_unit, table[:, 1] * delay_unit)
    except InputError as error:
        raise InputError(f'{path}: {error}', code=error.code) from None


def read_opportunities(path: Path) -> Opportunities:
    """Read a mahimahi trace: one integer per line, the millisecond at which 1500 bytes can go.

    Raises:
        InputError: for anything else, naming the row.
    """
    stamps = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        if not line.strip().isdigit():
            raise InputError(f'{path} row {number}: {line[:40]!r} is no millisecond; a mahimahi trace has one per line')
        stamps.append(int(line))
    try:
        return Opportunities(stamps)
    except InputError as error:
        raise InputError(f'{path}: {error}') from None


def delay_trace(name: str, *, folder: Path, seed: int) -> DelayTrace:
    """Return the trace of a scenario: a made one for 'synthetic', else that of the file, relative to the folder."""
    return synthetic_delays(seed) if name == SYNTHETIC else read_delay_trace(folder / name)


def opportunities(name: str, *, folder: Path, seed: int) -> Opportunities:
    """Return the opportunities of a scenario, as `delay_trace` does."""
    return synthetic_opportunities(seed) if name == SYNTHETIC else read_opportunities(folder / name)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f'{path} is larger than {LARGEST_BYTES >> 20} MiB, the limit of a trace')
        return path.read_text(encoding='utf-8-sig')
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from None
    except UnicodeDecodeError:
        raise InputError(f'{path} is no text') from None


def _words(line: str) -> list[str]:
    return [word for word in re.split(r'[\s,;]+', line.strip()) if word]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _columns(header: list[str], path: Path) -> tuple[int, int, float, float]:
    split = [re.fullmatch(r'([^()\[\]]+?)_?(?:[(\[]?\b(ns|us|µs|ms|s)[)\]]?)?', word.lower()) for word in header]
    names = [match.group(1).rstrip('_') if match else word.lower() for match, word in zip(split, header, strict=True)]
    units = [_UNITS[match.group(2)] if match and match.group(2) else 1.0 for match in split]

    def find(wanted: tuple[str, ...], what: str) -> int:
        for name in wanted:
            if name in names:
                return names.index(name)
        raise InputError(f'{path}: no column of {what} among {", ".join(header)}; expected one of {", ".join(wanted)}')

    time, delay = find(_TIMES, 'times'), find(_DELAYS, 'delays')
    return time, delay, units[time], units[delay]
