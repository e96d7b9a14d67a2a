"""Records of PhysioNet (WFDB): a header `.hea` and signals in the formats 16, 24, 32, 61, 80, 160 and 212.

After the published format (header(5) and signal(5) of the WFDB Applications Guide, Moody).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.signal import Signal

MAX_BYTES = 1 << 30
DEFAULT_RATE, DEFAULT_GAIN = 250.0, 200.0
_INVALID = {16: -(1 << 15), 61: -(1 << 15), 160: -(1 << 15), 80: -128, 212: -2048, 24: -(1 << 23), 32: -(1 << 31)}
_FORM = re.compile(r'(?P<form>\d+)(?:x(?P<many>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?')
_GAIN = re.compile(r'(?P<gain>[-+.\deE]+)(?:\((?P<base>-?\d+)\))?(?:/(?P<unit>\S+))?')
_MEND = 'convert it with `rdsamp -r RECORD -c -p -v > table.csv` of the WFDB software'


@dataclass(frozen=True)
class _Channel:
    """One line of a header."""

    file: str
    form: int
    many: int  # samples in each frame
    offset: int  # bytes before the first
    gain: float
    base: float
    unit: str
    name: str


def read_wfdb(header: Path | str) -> list[Signal]:
    """Read all signals of a record.

    Raises:
        InputError: A header or a file that is missing, cut or in a form that is not read.
    """
    header = Path(header)
    try:
        lines = header.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError as error:
        raise InputError(f'{header}: cannot be read: {error.strerror or error}') from None
    lines = [line for line in lines if line.strip() and not line.startswith('#')]
    words = lines[0].split() if lines else []
    if len(words) < 2 or not words[1].isdigit():
        raise InputError(f'{header.name} is no header of a WFDB record: expected `NAME SIGNALS RATE SAMPLES` first')
    if '/' in words[0]:
        raise InputError(f'{header.name} is a record of several segments, one is read; {_MEND}')
    rate = _number(re.split(r'[/(]', words[2])[0], header.name) if len(words) > 2 else DEFAULT_RATE
    count = int(words[3]) if len(words) > 3 and words[3].isdigit() else 0
    channels = [_channel(line, header.name) for line in lines[1 : 1 + int(words[1])]]
    if len(channels) != int(words[1]) or not channels or rate <= 0.0:
        raise InputError(f'{header.name}: {len(channels)} signals at {rate:g} Hz, {words[1]} are promised')
    found: dict[int, Signal] = {}
    for file in dict.fromkeys(channel.file for channel in channels):
        mine = [(index, channel) for index, channel in enumerate(channels) if channel.file == file]
        found |= _file(header.parent / file, mine, rate, count)
    return [found[index] for index in range(len(channels))]


def _channel(line: str, where: str) -> _Channel:
    words = line.split(maxsplit=8)
    form = _FORM.fullmatch(words[1]) if len(words) > 1 else None
    gain = _GAIN.fullmatch(words[2]) if len(words) > 2 else None
    if form is None or int(form['form']) not in _INVALID:
        raise InputError(f'{where}: signal format {words[1] if len(words) > 1 else "?"!r} is not read; {_MEND}')
    if form['skew'] not in (None, '0'):
        raise InputError(f'{where}: skewed signals are not read; {_MEND}')
    if Path(words[0]).name != words[0] or '\0' in words[0]:
        raise InputError(f'{where}: signals lie in {words[0]!r}, expected a file beside the header')
    if form['many'] is not None and int(form['many']) == 0:
        raise InputError(f'{where}: a signal of no samples in a frame: {line!r}')
    zero = _number(words[4], where) if len(words) > 4 else 0.0
    scale = _number(gain['gain'], where) if gain is not None else 0.0
    return _Channel(
        words[0], int(form['form']), int(form['many'] or 1), int(form['offset'] or 0), scale or DEFAULT_GAIN,
        float(gain['base']) if gain is not None and gain['base'] else zero,
        (gain['unit'] if gain is not None else None) or 'mV', words[8].strip() if len(words) > 8 else '',
    )  # fmt: skip


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f'{where}: {text!r} stands where a number belongs')
    return value


def _file(path: Path, channels: list[tuple[int, _Channel]], rate: float, count: int) -> dict[int, Signal]:
    """Read the signals of one file; all of them have one format, frame after frame."""
    first = channels[0][1]
    if any((one.form, one.offset) != (first.form, first.offset) for _, one in channels):
        raise InputError(f'{path.name}: signals of several formats in one file; {_MEND}')
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f'{path.name}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read')
        data = np.frombuffer(path.read_bytes(), np.uint8)[first.offset :]
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    samples = _samples(data, first.form)
    width = sum(one.many for _, one in channels)
    frames = len(samples) // width
    if not frames or frames < count:
        raise InputError(f'{path.name}: {frames} frames where the header promises {count}: the file is cut')
    table = samples[: (count or frames) * width].reshape(-1, width)
    found, at = {}, 0
    for index, one in channels:
        raw = table[:, at : at + one.many].reshape(-1).astype(float)
        at += one.many
        values = np.where(raw == _INVALID[one.form], np.nan, (raw - one.base) / one.gain)
        found[index] = Signal(one.name, one.unit, rate * one.many, values)
    return found


def _samples(data: NDArray[np.uint8], form: int) -> NDArray[np.int64]:
    if form == 212:
        triples = data[: len(data) // 3 * 3].reshape(-1, 3).astype(np.int64)
        pairs = np.column_stack(
            [triples[:, 0] | (triples[:, 1] & 0x0F) << 8, triples[:, 2] | (triples[:, 1] & 0xF0) << 4]
        ).ravel()
        return np.where(pairs > 2047, pairs - 4096, pairs)
    if form == 24:
        triples = data[: len(data) // 3 * 3].reshape(-1, 3).astype(np.int64)
        whole = triples[:, 0] | triples[:, 1] << 8 | triples[:, 2] << 16
        return np.where(whole >= 1 << 23, whole - (1 << 24), whole)
    kind = {16: '<i2', 61: '>i2', 160: '<u2', 80: 'u1', 32: '<i4'}[form]
    size = np.dtype(kind).itemsize
    values = np.frombuffer(data[: len(data) // size * size].tobytes(), kind).astype(np.int64)
    return values - {160: 1 << 15, 80: 128}.get(form, 0)
