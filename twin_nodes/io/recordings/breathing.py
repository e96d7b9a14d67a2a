"""Traces of breathing in any form: markers (x, y, z), one column of a table, WFDB records and EDF files.

What is no breath is left out and said: samples that are missing, zero, stuck or at the limit of the sensor. Faster
traces are averaged to 20 Hz or less. A trace that is no length (volts, impedance) is scaled to a spread of 3 mm, which
the prediction is made for, and told in its own unit again.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.edf import is_edf, read_edf
from twin_nodes.io.recordings.marker_csv import read_column_csv, read_marker_csv
from twin_nodes.io.recordings.signal import choose_signal
from twin_nodes.io.recordings.wfdb import read_wfdb

METRES = {'m': 1.0, 'cm': 1e-2, 'mm': 1e-3, 'um': 1e-6, 'µm': 1e-6, 'in': 0.0254, 'inch': 0.0254}
RATE_HZ = 20.0
SPREAD = 0.003  # m, of a trace that is no length
STUCK_S, CLIPPED_S, CLIPPED = 2.0, 0.3, 5
MIN_SAMPLES = 100
_FAR = 2.0  # times the spread of a trace that zero is away from its middle


@dataclass(frozen=True, eq=False)
class BreathingTrace:
    """One trace.

    Args:
        name: Of the file, and of the channel where it has several.
        unit: Unit in which people read it.
        per_metre: Times a position this gives the value in that unit.
        stamps_ns: Ascending, from the start, shape (n,).
        positions: [m], or scaled to that; the first axis alone where there is one, shape (n, 3).
        notes: What was mended or left out, one line each.
    """

    name: str
    unit: str
    per_metre: float
    stamps_ns: NDArray[np.int64]
    positions: Array
    notes: tuple[str, ...]


def read_breathing(path: Path | str, *, channel: str = '') -> BreathingTrace:
    """Read a trace of breathing.

    Args:
        path: The file.
        channel: Name of the channel or column; found by its name when empty.

    Raises:
        InputError: No such file or form, or nothing in it that moves.
    """
    path = Path(path)
    try:
        with path.open('rb') as stream:
            start = stream.read(256)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    if path.suffix.lower() in ('.hea', '.edf') or is_edf(start):
        signals = read_wfdb(path) if path.suffix.lower() == '.hea' else read_edf(path)
        signal = choose_signal(signals, channel, path.name)
        stamps = np.round(np.arange(len(signal.values)) * (NANOSECONDS / signal.rate_hz)).astype(np.int64)
        return _trace(f'{path.name}#{signal.name}', signal.unit, stamps, signal.values[:, None], ())
    if not channel:
        try:
            trace = read_marker_csv(path)
        except InputError as error:
            refusal = error
        else:
            return _trace(trace.name, 'mm', trace.stamps_ns, trace.positions * 1e3, trace.notes)
    else:
        refusal = None
    try:
        column = read_column_csv(path, channel)
    except InputError as error:
        raise (error if refusal is None or 'expected columns' in str(refusal) else refusal) from None
    return _trace(f'{path.name}#{column.name}', column.unit, column.stamps_ns, column.values[:, None], column.notes)


def _trace(name: str, unit: str, stamps: NDArray[np.int64], values: Array, notes: tuple[str, ...]) -> BreathingTrace:
    good = np.isfinite(values).all(axis=1)
    said = [*notes, f'{int(np.sum(~good))} samples without a value are left out'] if not good.all() else [*notes]
    stamps, values = stamps[good], values[good]
    lost = _lost(values)
    if lost.any():
        said.append(f'{int(lost.sum())} samples of zero, far from all others, are left out: a marker that was not seen')
        stamps, values = stamps[~lost], values[~lost]
    kept, why = _moving(stamps, values)
    stamps, values = _averaged(stamps[kept], values[kept])
    said += why
    spread = float(np.sqrt(np.sum(np.var(values, axis=0)))) if len(values) else 0.0
    if len(values) < MIN_SAMPLES or not spread > 0.0:
        seconds = float(stamps[-1] - stamps[0]) / NANOSECONDS if len(stamps) else 0.0
        raise InputError(
            f'{name}: {len(values)} samples that move, over {seconds:.3g} s; a trace of breathing has {MIN_SAMPLES} or '
            'more (is the unit of the time right? name it: time [s])'
        )
    per_metre = 1.0 / METRES[unit.lower()] if unit.lower() in METRES else spread / SPREAD
    if unit.lower() not in METRES:
        said.append(f'{unit or "no unit"} is no length: scaled to a spread of {SPREAD * 1e3:g} mm for the prediction')
    positions = np.zeros((len(values), 3))
    positions[:, : values.shape[1]] = values / per_metre
    periods, share = np.diff(stamps) / NANOSECONDS, (stamps[1:] - stamps[0]) / (stamps[-1] - stamps[0])
    first, last = (float(np.median(periods[part])) for part in (share <= 0.4, share >= 0.6))
    if max(first, last) > 1.2 * min(first, last):
        said.append(f'the rate changes from {1.0 / first:.3g} to {1.0 / last:.3g} Hz')
    return BreathingTrace(name, unit or 'units', per_metre, stamps, positions, tuple(said))


def _lost(values: Array) -> NDArray[np.bool_]:
    """Rows of nothing but zeros where the others are far away, shape (n,): what a tracker writes that sees nothing."""
    none = (values == 0.0).all(axis=1)
    if none.all() or not none.any():
        return np.zeros(len(values), bool)
    low, middle, high = np.quantile(values[~none], [0.02, 0.5, 0.98], axis=0)
    far = np.linalg.norm(middle) > _FAR * np.linalg.norm(high - low)
    return np.asarray(none & far)


def _moving(stamps: NDArray[np.int64], values: Array) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which samples tell of motion: not those that a sensor repeats, at its limit or where it has stopped."""
    kept = np.ones(len(values), bool)
    if len(values) < 2:
        return kept, []
    edges = np.flatnonzero((np.diff(values, axis=0) != 0.0).any(axis=1)) + 1
    runs = np.split(np.arange(len(values)), edges)
    low, high = values.min(axis=0), values.max(axis=0)
    clipped = stuck = 0
    for run in runs:
        seconds = (stamps[run[-1]] - stamps[run[0]]) / NANOSECONDS
        at_limit = bool(((values[run[0]] == low) | (values[run[0]] == high)).any())
        if at_limit and len(run) >= CLIPPED and seconds >= CLIPPED_S:
            clipped += len(run)
            kept[run] = False
        elif seconds >= STUCK_S and len(run) >= CLIPPED:
            stuck += len(run)
            kept[run[1:]] = False
    said = [f'{clipped} samples at the limit of the sensor are left out'] if clipped else []
    return kept, said + ([f'{stuck} samples of a sensor that stood still are left out'] if stuck else [])


def _averaged(stamps: NDArray[np.int64], values: Array) -> tuple[NDArray[np.int64], Array]:
    """Average what comes faster than `RATE_HZ`, alike many samples each time; each keeps the mean stamp of its samples.

    With one and two samples by turns (30 Hz) every other one would be noisier than those that the band learned from.
    """
    steps = np.diff(stamps)
    period = float(np.median(steps)) if len(stamps) > 1 else 0.0
    if not 0.0 < period < 0.7 / RATE_HZ * NANOSECONDS:
        return stamps, values
    period = float(steps[steps < 1.5 * period].mean())
    width = period * np.ceil(NANOSECONDS / (RATE_HZ * period) - 0.05)
    bins = np.floor((stamps - stamps[0]) / width + 0.25 * period / width)
    _, first, counts = np.unique(bins.astype(np.int64), return_index=True, return_counts=True)
    means = np.add.reduceat(values, first, axis=0) / counts[:, None]
    ticks = stamps[0] + np.round(np.add.reduceat((stamps - stamps[0]).astype(float), first) / counts).astype(np.int64)
    return ticks, means
