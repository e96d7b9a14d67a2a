"""Transcripts of a trial: lines `start end LABEL`, as JIGSAWS has them in frames, or in seconds since the start.

Fields are parted by white space, ',' or ';'. Frames count from 1 and both ends belong to the gesture (Gao et al. 2014).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from twin_nodes.core.errors import InputError

MAX_BYTES = 16 << 20
_LABEL = re.compile(r'[^\W\d][\w .:+-]{0,63}')
_SPLIT = re.compile(r'[;,\s]+')
FOLDERS = ('transcriptions', 'kinematics')  # of a JIGSAWS task


@dataclass(frozen=True)
class Gesture:
    """One gesture of a trial.

    Args:
        label: Its name, such as G1.
        start: Since the start of the recording [s].
        end: Likewise; the last instant of it.
    """

    label: str
    start: float
    end: float


def read_gestures(path: Path | str, *, rate_hz: float = 0.0) -> tuple[Gesture, ...]:
    """Read a transcript.

    Args:
        path: The file.
        rate_hz: Frames a second where the numbers are frames, counted from 1; 0 where they are seconds.

    Raises:
        InputError: No such file, a line of another form, or gestures that overlap; the message names the line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f'{path.name}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read')
        text = path.read_text(encoding='utf-8-sig', errors='replace')
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from None
    found: list[Gesture] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split('#')[0].strip(' \t;,')
        if line:
            gesture = _gesture(_SPLIT.split(line, maxsplit=2), rate_hz)
            if gesture is None and not found and number == 1:
                continue  # a heading
            if gesture is None:
                raise InputError(
                    f'{path.name}: line {number} is {line[:60]!r}, expected `start end LABEL`, such as 80 201 G1'
                )
            if found and gesture.start < found[-1].end:
                raise InputError(
                    f'{path.name}: line {number}: {gesture.label} begins at {gesture.start:g} s, before '
                    f'{found[-1].label} ends at {found[-1].end:g} s'
                )
            found.append(gesture)
    if not found:
        raise InputError(f'{path.name} holds no gesture, expected lines `start end LABEL`')
    return tuple(found)


def transcript_beside(kinematics: Path) -> Path | None:
    """Return the transcript of a JIGSAWS trial that lies where the set has it, None where there is none."""
    for folder in kinematics.resolve().parents[:4]:
        file = folder / FOLDERS[0] / kinematics.name
        if FOLDERS[1] in kinematics.resolve().parts and file.is_file():
            return file
    return None


def _gesture(words: list[str], rate_hz: float) -> Gesture | None:
    try:
        start, end, label = float(words[0]), float(words[1]), words[2].strip()
    except (ValueError, IndexError):
        return None
    if not (
        _LABEL.fullmatch(label)
        and math.isfinite(start)
        and math.isfinite(end)
        and (1.0 if rate_hz else 0.0) <= start <= end
    ):
        return None
    return Gesture(label, (start - 1.0) / rate_hz, (end - 1.0) / rate_hz) if rate_hz else Gesture(label, start, end)
