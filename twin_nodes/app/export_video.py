"""Images of a bag as videos, one frame for each instant of an episode: the last image before it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import stamp_of
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader

CODEC = 'mp4v'
SAMPLED = 10  # every so many frames count in the statistics of a camera


@dataclass
class Camera:
    """One topic with images.

    Args:
        topic: Its name.
    """

    topic: str

    @property
    def key(self) -> str:
        """Name of the feature, such as observation.images.endoscope_left."""
        words = [word for word in self.topic.strip('/').split('/') if not word.startswith(('image', 'compressed'))]
        return 'observation.images.' + (re.sub(r'\W', '_', '_'.join(words)) or 'camera')

    def covers(self, bag: Path, instants_ns: Array, max_gap: float) -> Array:
        """Return which instants have an image that is not older than the gap, shape (m,)."""
        stamps = np.array([stamp for stamp, _ in _images(bag, self.topic, decode=False)], np.int64)
        if not len(stamps):
            return np.zeros(len(instants_ns), bool)
        before = np.searchsorted(stamps, instants_ns, side='right') - 1
        age = instants_ns - stamps[np.clip(before, 0, None)]
        return np.asarray((before >= 0) & (age <= round(max_gap * NANOSECONDS)))


@dataclass
class Footage:
    """What was written of one camera.

    Args:
        shape: Height and width [px].
        sampled: Some of the frames, by colour, 0 … 1.
    """

    shape: tuple[int, int] = (0, 0)
    sampled: list[Array] = field(default_factory=list)

    @property
    def stats(self) -> dict[str, Any]:
        """Least, largest, mean and spread of each colour (red, green, blue), shape (3, 1, 1) each."""
        pixels = np.concatenate(self.sampled)
        found = {'min': pixels.min(0), 'max': pixels.max(0), 'mean': pixels.mean(0), 'std': pixels.std(0)}
        for name, share in (('q01', 0.01), ('q10', 0.1), ('q50', 0.5), ('q90', 0.9), ('q99', 0.99)):
            found[name] = np.quantile(pixels, share, axis=0)
        return {name: of.reshape(3, 1, 1).tolist() for name, of in found.items()} | {'count': [len(self.sampled)]}


def write_videos(
    episodes: Sequence[tuple[Path, Array]], cameras: Sequence[Camera], output: Path, fps: int
) -> dict[str, Footage]:
    """Write one video per episode and camera.

    Args:
        episodes: Bag and times of the frames [ns] of each.
        cameras: What to write.
        output: Folder of the data set.
        fps: Frames a second.

    Raises:
        InputError: for images that change their size or cannot be read.
    """
    written = {camera.key: Footage() for camera in cameras}
    for number, (bag, instants_ns) in enumerate(episodes):
        for camera in cameras:
            path = output / f'videos/{camera.key}/chunk-{number // 1000:03d}/file-{number % 1000:03d}.mp4'
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, bag, camera, instants_ns, fps, written[camera.key])
    return written


def _write(path: Path, bag: Path, camera: Camera, instants_ns: Array, fps: int, footage: Footage) -> None:
    import cv2

    writer: Any = None
    for number, image in enumerate(_frames(bag, camera.topic, instants_ns)):
        shape = (int(image.shape[0]), int(image.shape[1]))
        if footage.shape not in ((0, 0), shape):
            raise InputError(f'{camera.topic}: images change from {footage.shape} to {shape} px; a video cannot')
        footage.shape = shape
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), fps, shape[::-1])
        writer.write(image)
        if number % SAMPLED == 0:
            footage.sampled.append(image[::4, ::4, ::-1].reshape(-1, 3) / 255.0)
    writer.release()


def _frames(bag: Path, topic: str, instants_ns: Array) -> Iterator[Array]:
    """The last image before each instant; every image is decoded once."""
    from twin_nodes.ros.images import bgr_of

    waiting = list(instants_ns)[::-1]
    newest: Any = None
    for stamp_ns, message in _images(bag, topic):
        image: Array | None = None
        while waiting and waiting[-1] < stamp_ns and newest is not None:
            image = bgr_of(newest) if image is None else image
            yield image
            waiting.pop()
        newest = message
        if not waiting:
            return
    image = bgr_of(newest)
    for _ in waiting:
        yield image


def _images(bag: Path, topic: str, *, decode: bool = True) -> Iterator[tuple[int, Any]]:
    """Stamps and messages in rising order; stamp 0 and stamps that do not rise are left out."""
    newest = 0
    with BagReader(bag) as reader:
        for record in reader.messages((topic,)):
            message = reader.decode(record)
            stamp_ns = stamp_of(message)
            if stamp_ns > newest:
                newest = stamp_ns
                yield stamp_ns, message if decode else None
