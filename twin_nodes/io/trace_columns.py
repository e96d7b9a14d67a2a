"""Tables of times and delays as loggers write them: which columns count, in which units, and what a row says."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from twin_nodes.core.errors import InputError

Split = Callable[[str], list[str]]
_TIMES = (
    'pub_time', 'send_time', 'sent_time', 'sent', 'sent_at', 'send_timestamp', 'tx_time', 'tx_timestamp', 'timestamp',
    'time', 'datetime', 'epoch', 'ts', 't',
)  # fmt: skip
_ROUND_TRIPS = ('rtt', 'round_trip', 'round_trip_time', 'round_trip_delay', 'ping')
_DELAYS = ('delay', 'latency', 'one_way_delay', 'oneway_delay', 'owd', 'e2e_delay', 'end_to_end_delay', *_ROUND_TRIPS)
_RECEIVED = (
    'sub_time', 'recv_time', 'receive_time', 'received_time', 'received', 'received_at', 'recv_timestamp', 'rx_time',
    'rx_timestamp', 'arrival', 'arrival_time',
)  # fmt: skip
_UNITS = {
    'ns': 1e-9, 'nsec': 1e-9, 'us': 1e-6, 'usec': 1e-6, 'µs': 1e-6, 'μs': 1e-6, 'ms': 1e-3, 'msec': 1e-3,
    'millis': 1e-3, 'milliseconds': 1e-3, 's': 1.0, 'sec': 1.0, 'seconds': 1.0,
}  # fmt: skip
_WORDS = '|'.join(sorted(_UNITS, key=len, reverse=True))
_NAME = re.compile(rf'(.+?)(?: ?[(\[]({_WORDS})[)\]]|[ _/]({_WORDS}))?')  # delay(ms), delay [ms], delay_ms, delay/ms
_HUMP = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')
_COMMA = re.compile(r'[+-]?\d+,\d+')  # a decimal one
_LOST = {'', '-', '*', 'nan', 'na', 'n/a', 'null', 'none', 'inf', 'lost', 'loss', 'dropped', 'timeout'}
_FAR_S = 1e10  # no time in seconds, since whenever, in the next centuries


def splitter(line: str) -> Split:
    """Return what parts the columns, judged by the first row: semicolons, tabs, commas, else blanks."""
    mark = next((mark for mark in ';\t,' if mark in line), None)

    def split(row: str) -> list[str]:
        words = row.split() if mark is None else row.split(mark)
        words = [word.strip().strip('"\'').strip() for word in words]
        return [word.replace(',', '.') if _COMMA.fullmatch(word) else word for word in words]

    return split


def number(word: str) -> float | None:
    """Return a finite or other number, or None for what is none."""
    try:
        return float(word)
    except ValueError:
        return None


class Columns(NamedTuple):
    """Which columns count.

    Args:
        time: Column of the times of sending.
        delay: Of the delays, or of the times of receiving.
        time_unit: Of both times [s].
        delay_unit: Of the delays [s].
        is_arrival: Whether it is that of the times of receiving.
        count: Columns of the header.
        round_trip: Whether the delays are of a way and back, by their name.
    """

    time: int
    delay: int
    time_unit: float
    delay_unit: float
    is_arrival: bool
    count: int
    round_trip: bool = False

    def row(self, words: list[str], where: str) -> tuple[float, float]:
        """Return the time and the delay of a row [s], the delay NaN for what never arrived.

        Args:
            words: Its cells.
            where: File and row, for the error.

        Raises:
            InputError: for what is no time, no delay, negative or cut short.
        """
        if len(words) < self.count:
            raise InputError(f'{where}: {len(words)} of {self.count} columns in {" ".join(words)[:60]!r}')
        time, cell = _time(words[self.time], self.time_unit, where), words[self.delay]
        if time is None:
            raise InputError(f'{where}: no time and delay in {" ".join(words)[:60]!r}')
        if cell.lower() in _LOST:
            return time, math.nan
        delay = _time(cell, self.time_unit, where) if self.is_arrival else number(cell)
        if delay is None:
            raise InputError(f'{where}: no time and delay in {" ".join(words)[:60]!r}')
        delay = delay - time if self.is_arrival else delay * self.delay_unit
        if delay < 0.0:
            raise InputError(
                f'{where}: delay {delay:g} s is negative; bring the clocks together, and leave empty what never arrived'
            )
        return time, delay


WITHOUT_HEADER = Columns(0, 1, 1.0, 1.0, False, 2)


def _time(word: str, unit: float, where: str) -> float | None:
    """Read a time [s]: a number, or a date such as 2026-11-21T10:00:00.123."""
    found = number(word)
    if found is None:
        try:
            date = datetime.fromisoformat(word)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()  # no jump where summer time begins
        except (ValueError, OverflowError):
            return None
    if not math.isfinite(found):
        return None
    if unit == 1.0 and abs(found) > _FAR_S:
        raise InputError(f'{where}: time {word} cannot be in seconds; say its unit in a header: time(ms) delay(ms)')
    return found * unit


def columns_of(header: list[str], path: Path) -> Columns:
    """Find the columns by their names and units.

    Raises:
        InputError: for none of times or delays, or a unit that only one of both has.
    """
    split = [_NAME.fullmatch(_HUMP.sub('_', word).lower()) for word in header]
    names = [re.sub(r'[ -]', '_', match.group(1).strip()) if match else '' for match in split]
    marked = [(match.group(2) or match.group(3)) if match else None for match in split]
    units = [_UNITS.get(mark or 's', 1.0) for mark in marked]

    def find(wanted: tuple[str, ...]) -> int:
        return next((names.index(name) for name in wanted if name in names), -1)

    time, delay, received = find(_TIMES), find(_DELAYS), find(_RECEIVED)
    if time < 0 or (delay < 0 and received < 0):
        what, wanted = 'times', 'time(ms), timestamp(s) or pub_time(ms)'
        if time >= 0:
            what, wanted = 'delays', 'delay(ms), latency(us) or rtt(ms), or a time of receiving such as sub_time(ms)'
        there = ', '.join(header)[:80]
        raise InputError(f'{path}: no column of {what} among {there}; expected a header with one such as {wanted}')
    value = delay if delay >= 0 else received
    if marked[value] is None and marked[time] is not None and units[time] != 1.0:
        raise InputError(f'{path}: {header[value]} has no unit, while {header[time]} has; name it {header[value]}(ms)')
    if delay < 0 and units[time] != units[received]:
        raise InputError(f'{path}: {header[time]} and {header[received]} have two units; give a column delay')
    return Columns(time, value, units[time], units[value], delay < 0, len(header), names[value] in _ROUND_TRIPS)
