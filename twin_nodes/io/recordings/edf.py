"""European Data Format (EDF and continuous EDF+): signals of sleep laboratories, belts and monitors.

After the published specification (Kemp et al. 1992; EDF+: Kemp and Olivan 2003).
"""

import math
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.signal import Signal

MAX_BYTES = 4 << 30
HEAD = 256
_ANNOTATIONS = 'EDF Annotations'
# widths of the fields of each signal: label, transducer, unit, physical and digital limits, filters, samples, reserved
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)


def is_edf(start: bytes) -> bool:
    """Whether a file begins as an EDF does."""
    return len(start) >= HEAD and start[:8] == b'0       ' and start[184:192].strip().isdigit()


def read_edf(path: Path | str) -> list[Signal]:
    """Read all signals of a file; annotations are left out.

    Raises:
        InputError: No EDF, a cut one, or one with gaps (EDF+D).
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f'{path.name}: {size} bytes, at most {MAX_BYTES} are read')
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    if data[:1] == b'\xff' and data[1:8] == b'BIOSEMI':
        raise InputError(f'{path.name} is a BDF of 24 bits: convert it to EDF (EDFbrowser, or `mne.export`)')
    try:
        reserved = data[192:236].decode('ascii', 'replace').strip()
        records, seconds, count = int(data[236:244]), float(data[244:252]), int(data[252:256])
        fields = _fields(data, count)
        each = [int(text) for text in fields[8]]
        if min(each) < 0:
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(f'{path.name} is no EDF: its header holds no numbers where they belong') from None
    if reserved.startswith('EDF+D'):
        raise InputError(f'{path.name} has gaps (EDF+D): convert it to continuous EDF+ (EDFbrowser)')
    width, start = sum(each), HEAD * (count + 1)
    whole = (len(data) - start) // (2 * width) if width else 0
    if not seconds > 0.0 or whole < 1 or whole < records:
        raise InputError(f'{path.name}: {whole} records of {seconds:g} s where the header promises {records}: cut')
    records = records if records > 0 else whole
    table = np.frombuffer(data, '<i2', records * width, start).reshape(records, width)
    found, at = [], 0
    for index, samples in enumerate(each):
        raw = table[:, at : at + samples].reshape(-1).astype(float)
        at += samples
        if fields[0][index] != _ANNOTATIONS and samples:
            low, high, bottom, top = _limits(fields, index, path.name)
            values = low + (raw - bottom) * (high - low) / (top - bottom)
            found.append(Signal(fields[0][index], fields[2][index], samples / seconds, values))
    return found


def _limits(fields: list[list[str]], index: int, where: str) -> list[float]:
    """Return the physical and the digital limits of a signal."""
    texts = [fields[row][index] for row in (3, 4, 5, 6)]
    try:
        low, high, bottom, top = (float(text.replace(',', '.')) for text in texts)
    except ValueError:
        low = high = bottom = top = math.nan
    if not (top > bottom and abs(high - low) > 0.0 and math.isfinite(high - low)):
        raise InputError(f'{where}: signal {fields[0][index]!r} has limits {", ".join(texts)}')
    return [low, high, bottom, top]


def _fields(data: bytes, count: int) -> list[list[str]]:
    if not 0 < count <= 4096 or len(data) < HEAD * (count + 1):
        raise ValueError
    at, found = HEAD, []
    for width in _WIDTHS:
        block = data[at : at + width * count].decode('latin-1')
        found.append([block[width * index : width * (index + 1)].strip() for index in range(count)])
        at += width * count
    return found
