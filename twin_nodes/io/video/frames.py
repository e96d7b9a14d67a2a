"""Images of a video file or a folder, grey, each with the stamp of its exposure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.stamps import NANOSECONDS

VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.m4v', '.mpg', '.mpeg', '.webm', '.wmv', '.mjpeg', '.mjpg')
IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.pgm', '.ppm', '.webp')
START_NS = 1000 * NANOSECONDS
_SECONDS = re.compile(r'(\d{9,10})[._](\d{1,9})$')
_NANOSECONDS = re.compile(r'(\d{16,19})$')


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One image.

    Args:
        number: Its place, from 0.
        stamp_ns: Instant of the exposure.
        image: Grey, shape (h, w); empty where it could not be decoded.
        fault: Why it could not be decoded; '' for none.
    """

    number: int
    stamp_ns: int
    image: NDArray[np.uint8]
    fault: str = ''


class Video:
    """A video file, a folder of images, or one image.

    Stamps come from the container, whose frames need not be evenly spaced; from a rate where one is given or the
    container has none; or from the names of the images, where these are seconds or nanoseconds.

    Args:
        path: File or folder.
        rate_hz: Images per second; 0 for what the container or the names say.
        start_ns: Stamp of the first image; None for 1000 s, or the time in the names.

    Raises:
        InputError: it does not exist, is no video, holds no image, or says nothing of time.
    """

    def __init__(self, path: Path | str, *, rate_hz: float = 0.0, start_ns: int | None = None) -> None:
        if not (np.isfinite(rate_hz) and 0.0 <= rate_hz <= 100_000.0):
            raise ConfigError(f'rate_hz={rate_hz} Hz must be 0 (as in the file) … 100000')
        self.path = Path(path)
        self._rate_hz = rate_hz
        self._start_ns = start_ns
        self.notes: list[str] = []
        if not self.path.exists():
            raise InputError(f'{self.path} does not exist')
        self._files: list[Path] = []
        if self.path.is_dir():
            self._files = _images_of(self.path)
        elif self.path.suffix.lower() in IMAGES:
            self._files = [self.path]
        self._stamps = self._stamps_of_files() if self._files else []
        first = next(iter(self.frames()), None)
        if first is None:
            raise InputError(f'{self.path}: no image in it can be decoded; expected a video ({", ".join(VIDEOS)})')
        self.size = (first.image.shape[1], first.image.shape[0])

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the images from the first; may be called again."""
        if self._files:
            yield from self._from_files()
        else:
            yield from self._from_video()

    def _from_files(self) -> Iterator[VideoFrame]:
        import cv2

        for number, (file, stamp_ns) in enumerate(zip(self._files, self._stamps, strict=True)):
            data = np.fromfile(file, np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH) if data.size else None
            if image is None:
                yield VideoFrame(number, stamp_ns, np.empty((0, 0), np.uint8), f'{file.name} cannot be decoded')
            else:
                yield VideoFrame(number, stamp_ns, _bytes_of(image))

    def _stamps_of_files(self) -> list[int]:
        if self._rate_hz or len(self._files) == 1:
            rate = self._rate_hz or 1.0
            start = START_NS if self._start_ns is None else self._start_ns
            return [start + round(number * NANOSECONDS / rate) for number in range(len(self._files))]
        stamps = [_stamp_of_name(file.stem) for file in self._files]
        if any(stamp is None for stamp in stamps):
            raise InputError(
                f'{self.path}: the names of the images are no times: give their rate, such as --rate 30, or name them '
                'in seconds (1699999999.123456.png) or nanoseconds'
            )
        known = [stamp for stamp in stamps if stamp is not None]
        order = sorted(range(len(known)), key=lambda index: known[index])
        self._files = [self._files[index] for index in order]
        first = known[order[0]]
        shift = 0 if self._start_ns is None else self._start_ns - first
        return [known[index] + shift for index in order]

    def _from_video(self) -> Iterator[VideoFrame]:
        import cv2

        capture = _open(self.path)
        try:
            nominal = float(capture.get(cv2.CAP_PROP_FPS))
            period_ns = NANOSECONDS / (self._rate_hz or (nominal if 0.1 <= nominal <= 100_000.0 else 30.0))
            start_ns = START_NS if self._start_ns is None else self._start_ns
            first_ms, last_ns, number = 0.0, -1, 0
            self.notes.clear()
            if not self._rate_hz and not 0.1 <= nominal <= 100_000.0:
                self.notes.append(f'the container says no rate ({nominal:g} Hz): taken as 30 Hz')
            while True:
                good, image = capture.read()
                if not good or image is None:
                    return
                now_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
                first_ms = now_ms if number == 0 else first_ms
                elapsed_ns = round(number * period_ns)
                if not self._rate_hz and np.isfinite(now_ms):
                    elapsed_ns = round((now_ms - first_ms) * 1e6)
                    if elapsed_ns <= last_ns:  # some backends say nothing, or the same for all
                        elapsed_ns = last_ns + round(period_ns)
                        if len(self.notes) < 8:
                            self.notes.append(f'image {number} has no time of its own: one period after the last')
                last_ns = elapsed_ns
                grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
                yield VideoFrame(number, start_ns + elapsed_ns, np.asarray(grey, np.uint8))
                number += 1
        finally:
            capture.release()


def _open(path: Path) -> Any:
    import cv2

    if path.stat().st_size == 0:
        raise InputError(f'{path} is empty; expected a video')
    if _is_text(path):  # FFmpeg makes pictures of any text
        raise InputError(f'{path} is a text; expected a video, one of {", ".join(VIDEOS)}, or images')
    told = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it tries in vain is no message to a user
    try:
        capture = cv2.VideoCapture(str(path))
    finally:
        cv2.utils.logging.setLogLevel(told)
    if not capture.isOpened():
        raise InputError(f'{path} cannot be read as a video; expected one of {", ".join(VIDEOS)}, or images')
    return capture


def _is_text(path: Path) -> bool:
    with path.open('rb') as stream:
        start = stream.read(4096).decode('utf-8', 'replace')
    return '\0' not in start and start.count('\ufffd') < 2  # one where the last letter is cut


def _bytes_of(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image in 8 bits: of 16 bits the upper ones that are in use, as cameras put 10 or 12 bits into 16."""
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if image.dtype == np.uint16:
        return np.asarray(image >> max(int(image.max()).bit_length() - 8, 0), np.uint8)
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) * (255.0 / max(high - low, 1e-12)), np.uint8)


def _images_of(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGES and not file.name.startswith('.')]
    if not files:
        raise InputError(f'{folder} holds no image; expected files of {", ".join(IMAGES)}')
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', file.stem)]
    )


def _stamp_of_name(stem: str) -> int | None:
    seconds = _SECONDS.search(stem)
    if seconds:
        return int(Decimal(f'{seconds[1]}.{seconds[2]}') * NANOSECONDS)
    nanoseconds = _NANOSECONDS.search(stem)
    return int(nanoseconds[1]) if nanoseconds else None
