"""What `ping -D` prints, as a trace of round trips."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from twin_nodes.core.errors import InputError

_LINE = re.compile(r'(?:\[(\d+\.\d+)\] )?(?:\d+ bytes from .*?icmp_seq=(\d+) .*?time=([\d.]+) ?ms|.*icmp_seq=(\d+).*)')
_BEGIN = re.compile(r'(\[\d+\.\d+\] )?(PING \S+|\d+ bytes from )')
HOW = 'record one with ping -D -O -i 0.02 HOST > FILE'


def is_ping(lines: Sequence[str]) -> bool:
    """Whether lines begin as ping does."""
    return any(_BEGIN.match(line) for line in lines[:2])


def ping_rows(lines: Sequence[str], where: str) -> list[tuple[float, float]]:
    """Return the time of sending [s] and the round trip [s] of each echo, NaN for those that never came back.

    The stamp of `-D` is that of the answer, so that a request was sent a round trip before. What has no answer is
    found by its missing number, and was sent between its neighbours.

    Raises:
        InputError: for a log without times.
    """
    come: dict[int, tuple[float, float]] = {}
    epoch, last = 0, -1
    for line in lines:
        match = _LINE.match(line)
        if match is None or match.group(2) is None:  # heads, summaries, 'no answer yet', 'Host Unreachable'
            continue
        if match.group(1) is None:
            raise InputError(f'{where}: this ping has no times; {HOW}')
        number = int(match.group(2))
        if number + epoch < last - 32768:  # 16 bits
            epoch += 65536
        last = max(last, number + epoch)
        trip = 1e-3 * float(match.group(3))
        come.setdefault(number + epoch, (float(match.group(1)) - trip, trip))  # a second answer is a duplicate
    if len(come) < 2:
        raise InputError(f'{where}: {len(come)} answers of ping, at least 2 are needed; {HOW}')
    return _with_gaps(sorted(come.items()))


def _with_gaps(come: Sequence[tuple[int, tuple[float, float]]]) -> list[tuple[float, float]]:
    rows = [come[0][1]]
    for (first, (t0, _)), (second, (t1, trip)) in pairwise(come):
        step = (t1 - t0) / (second - first)
        rows += [(t0 + step * i, math.nan) for i in range(1, second - first)]
        rows.append((t1, trip))
    return rows
