"""Files of measured links: delay tables (CICV5G text, two columns) and mahimahi delivery opportunities."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
_RECEIVED = ('sub_time', 'recv_time', 'receive_time', 'received', 'arrival')
_NAME = re.compile(r'(.+?)(?:[_ ]?[(\[](ns|us|µs|ms|s)[)\]]|_(ns|us|µs|ms|s))?')  # delay(ms), delay [ms], delay_ms
_LONGEST_S = 10.0  # no link of the suite is as slow
_LONGEST_STAMP = 9  # digits


def read_delay_trace(path: Path) -> DelayTrace:
    """Read delays over time.

    A header names the columns and their units, such as `pub_time(ms) sub_time(ms) delay(ms)` or `time_ms,rtt_ms`; where
    it has times of sending and receiving and no delay, that is their difference. Without a header the first two columns
    are time and delay in seconds. Columns are parted by semicolons (then a decimal comma is one too), commas, tabs or
    blanks. Rows are put in order of time; of rows with the same time the first counts. What was sent in a gap of the
    trace takes the delay before it.

    Raises:
        InputError: for a file that cannot be read so, naming the row.
    """
    lines = [
        (number, line)
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith('#')
    ]
    if not lines:
        raise InputError(f'{path}: no rows')
    split = _splitter(lines[0][1])
    header = split(lines[0][1])
    named = _number(header[0]) is None
    columns = _columns(header, path) if named else _Columns(0, 1, 1.0, 1.0, -1)
    if not lines[named:]:
        raise InputError(f'{path}: a header and no rows')
    table = np.array([columns.row(split(line), path, number) for number, line in lines[named:]])
    _, first = np.unique(table[:, 0], return_index=True)
    table = table[first]
    delays = table[:, 1] * columns.delay_unit
    if float(np.median(delays)) > _LONGEST_S:
        raise InputError(
            f'{path}: half of the delays are above {_LONGEST_S:g} s; if they are milliseconds, say so in a header: '
            'time(ms) delay(ms)'
        )
    try:
        return DelayTrace((table[:, 0] - table[0, 0]) * columns.time_unit, delays)
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
        word = line.strip()
        if not (word.isascii() and word.isdecimal()):
            raise InputError(f'{path} row {number}: {line[:40]!r} is no millisecond; a mahimahi trace has one per line')
        if len(word) > _LONGEST_STAMP:
            raise InputError(f'{path} row {number}: {word[:40]} ms is more than eleven days; stamps begin near 0')
        stamps.append(int(word))
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


def _splitter(line: str) -> Callable[[str], list[str]]:
    """Return what parts the columns, judged by the first row."""
    mark = next((mark for mark in ';,\t' if mark in line), None)

    def split(row: str) -> list[str]:
        words = row.split() if mark is None else row.split(mark)
        words = [word.strip().strip('"\'').strip() for word in words]
        return [word.replace(',', '.') for word in words] if mark == ';' else words

    return split


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


class _Columns(NamedTuple):
    """Which columns count, their units [s], and that of the time of receiving where there is no delay, else -1."""

    time: int
    delay: int
    time_unit: float
    delay_unit: float
    received: int

    def row(self, words: list[str], path: Path, number: int) -> tuple[float, float]:
        """Return time and delay of a row, in their units."""
        wanted = (self.time, self.delay if self.received < 0 else self.received)
        found = [_number(words[column]) if column < len(words) else None for column in wanted]
        time, delay = found
        if time is None or delay is None:
            raise InputError(f'{path} row {number}: no time and delay in {" ".join(words)[:60]!r}')
        if self.received >= 0:
            delay -= time
        if not (math.isfinite(time) and math.isfinite(delay)):
            raise InputError(f'{path} row {number}: NaN or Inf; leave out what never arrived', code='NOT_FINITE')
        if delay < 0.0:
            raise InputError(f'{path} row {number}: delay {delay:g} is negative; leave out what never arrived')
        return time, delay


def _columns(header: list[str], path: Path) -> _Columns:
    split = [_NAME.fullmatch(word.lower()) for word in header]
    names = [match.group(1).replace(' ', '_') if match else word for match, word in zip(split, header, strict=True)]
    units = [_UNITS.get((match.group(2) or match.group(3) or 's') if match else 's', 1.0) for match in split]

    def find(wanted: tuple[str, ...]) -> int:
        return next((names.index(name) for name in wanted if name in names), -1)

    time, delay, received = find(_TIMES), find(_DELAYS), find(_RECEIVED)
    if time < 0 or (delay < 0 and received < 0):
        what, wanted = ('times', _TIMES) if time < 0 else ('delays', _DELAYS)
        raise InputError(f'{path}: no column of {what} among {", ".join(header)}; expected one of {", ".join(wanted)}')
    if delay >= 0:
        return _Columns(time, delay, units[time], units[delay], -1)
    if units[time] != units[received]:
        raise InputError(f'{path}: {header[time]} and {header[received]} have two units; give a column delay')
    return _Columns(time, received, units[time], units[received], received)
