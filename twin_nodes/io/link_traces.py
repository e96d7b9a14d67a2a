"""Files of measured links: tables of delays (CICV5G text, two columns), logs of ping, mahimahi opportunities."""

from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.telesurgery.link.trace import (
    DelayTrace,
    Opportunities,
    synthetic_delays,
    synthetic_opportunities,
)
from twin_nodes.io.ping_logs import is_ping, ping_rows
from twin_nodes.io.trace_columns import WITHOUT_HEADER, columns_of, number, splitter

SYNTHETIC = 'synthetic'
LARGEST_BYTES = 256 * 2**20
_LONGEST_S = 10.0  # no link of the suite is as slow
_LONGEST_STAMP = 9  # digits
_BACK_S = 5.0  # what overtakes on a network comes sooner; a clock that is set goes farther


def read_delay_trace(path: Path) -> DelayTrace:
    """Read delays over time.

    A header names the columns and their units, such as `pub_time(ms) sub_time(ms) delay(ms)` or `time_ms,rtt_ms`; where
    it has times of sending and receiving and no delay, that is their difference. Without a header there are two
    columns, time and delay in seconds. Columns are parted by semicolons, tabs, commas or blanks; a decimal comma is
    read where commas do not part. An empty delay, nan or `lost` is a packet that never arrived: the link loses what is
    sent there. Rows are put in order of time; of rows with the same time the first counts. What was sent in a gap of
    the trace takes the delay before it. What `ping -D` prints is read too.

    Raises:
        InputError: for a file that cannot be read so, naming the row.
    """
    lines = [
        (row, line)
        for row, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith('#')
    ]
    if not lines:
        raise InputError(f'{path}: no rows')
    if lines[0][1].lstrip()[0] in '{[' and not is_ping([lines[0][1]]):
        raise InputError(f'{path} is JSON; write its times and delays as a table with the header time(s),delay(ms)')
    round_trip = is_ping([line for _, line in lines[:2]])
    if round_trip:
        rows = ping_rows([line for _, line in lines], str(path))
    else:
        rows, round_trip = _table(path, lines)
    table = np.array(rows)
    _check_order(path, table[:, 0])
    _, first = np.unique(table[:, 0], return_index=True)
    times, delays = table[first].T
    lost = np.isnan(delays)
    if np.count_nonzero(~lost) and float(np.median(delays[~lost])) > _LONGEST_S:
        raise InputError(
            f'{path}: half of the delays are above {_LONGEST_S:g} s; if they are milliseconds, say so in a header: '
            'time(ms) delay(ms)'
        )
    try:
        return DelayTrace(times - times[0], np.where(lost, 0.0, delays), lost=lost, round_trip=round_trip)
    except InputError as error:
        raise InputError(f'{path}: {error}', code=error.code) from None


def _table(path: Path, lines: list[tuple[int, str]]) -> tuple[list[tuple[float, float]], bool]:
    """Return times and delays [s], NaN for what never arrived, and whether they are round trips."""
    split = splitter(lines[0][1])
    header = split(lines[0][1])
    named = number(header[0]) is None
    if not named and len(header) != WITHOUT_HEADER.count:
        raise InputError(
            f'{path} row {lines[0][0]}: {len(header)} columns and no header; name them, such as seq time(ms) delay(ms)'
        )
    columns = columns_of(header, path) if named else WITHOUT_HEADER
    if not lines[named:]:
        raise InputError(f'{path}: a header and no rows')
    return [columns.row(split(line), f'{path} row {row}') for row, line in lines[named:]], columns.round_trip


def _check_order(path: Path, times: np.ndarray) -> None:
    """Refuse times that begin anew within a file; newest first is an order too."""
    steps = np.diff(times)
    back = np.flatnonzero(steps < -_BACK_S)
    if len(back) and (steps > 0.0).any():
        raise InputError(
            f'{path}: the time of packet {back[0] + 2} is {-steps[back[0]]:.6g} s before that of the one above it; if '
            'these are two recordings, keep them in two files'
        )


def read_opportunities(path: Path) -> Opportunities:
    """Read a mahimahi trace: one integer per line, the millisecond at which 1500 bytes can go.

    Raises:
        InputError: for anything else, naming the row.
    """
    stamps = []
    for row, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        word = line.strip()
        if not (word.isascii() and word.isdecimal()):
            raise InputError(f'{path} row {row}: {line[:40]!r} is no millisecond; a mahimahi trace has one per line')
        if len(word) > _LONGEST_STAMP:
            raise InputError(f'{path} row {row}: {word[:40]} ms is more than eleven days; stamps begin near 0')
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
        raise InputError(f'{path} is no text in UTF-8') from None
