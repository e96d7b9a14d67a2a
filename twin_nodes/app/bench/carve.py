"""Bench `carve`: what one sample of the drill costs in 512³ voxels, and whether rate and loss leave no trace.

A burr of 4 mm sweeps to and fro in solid bone of 0.2 mm voxels at 100 Hz, at up to 20 mm/s. Each update takes the
swept capsule away, brings the distance to the cavity up to date within 5 voxels, and meshes the touched bricks. The
peer does the same straightforwardly in numpy, on the box around the capsule: distances to the segment, a mask, the
least of old and new distance, and the faces of voxels that lie bare (no mesh). Both run by turns in the same process;
with a mesh by marching cubes on that box the peer is measured on its own.
"""

import math
import time
import tracemalloc
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.anatomy.carving import Carver
from twin_nodes.core.anatomy.carving_config import BurrConfig, CarvingConfig
from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.anatomy.removed import RemovedSender
from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver, State
from twin_nodes.core.geometry.se3 import Array, interpolate, make_transform, rotation_exp
from twin_nodes.core.stamps import NANOSECONDS

SIZE, SPACING, RADIUS, BAND = 512, 2e-4, 0.002, 1e-3
RATE_HZ = 100.0
PEER = 'numpy on the box'
SURE = np.eye(6) * 1e-10
BLOCK = 25


def _path(seconds: float, rate_hz: float) -> Array:
    """Centres of the burr: strokes of 12 mm, going down 0.4 mm each second from inside the bone."""
    t = np.arange(0.0, seconds, 1.0 / rate_hz)
    side = 0.006 * np.sin(2.0 * np.pi * 0.45 * t)
    across = 0.003 * np.sin(2.0 * np.pi * 0.13 * t + 1.0)
    return np.stack([0.051 + side, 0.052 + across, 0.070 - 0.0004 * t], axis=1)


class NumpyCarving:
    """The straightforward version: whole boxes, temporaries and all."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.left = labels > 0
        self.distance = np.zeros(labels.shape, np.float32)  # band - distance, so that fresh memory says far
        self.faces = 0

    def carve(self, start: Array, end: Array) -> None:
        """Take away one capsule, and bring distance and bare faces of its box up to date."""
        reach = RADIUS + BAND
        low = np.maximum(np.ceil((np.minimum(start, end) - reach) / SPACING).astype(int), 1)
        high = np.minimum(np.floor((np.maximum(start, end) + reach) / SPACING).astype(int) + 1, SIZE - 1)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = [
            (np.arange(a, b, dtype=np.float32) * SPACING).astype(np.float32) for a, b in zip(low, high, strict=True)
        ]
        x, y, z = (axes[0] - start[0])[:, None, None], (axes[1] - start[1])[:, None], axes[2] - start[2]
        way = end - start
        t = np.clip((x * way[0] + y * way[1] + z * way[2]) / max(float(way @ way), 1e-30), 0.0, 1.0)
        gap = np.sqrt((x - t * way[0]) ** 2 + (y - t * way[1]) ** 2 + (z - t * way[2]) ** 2)
        self.left[box] &= gap > RADIUS
        self.distance[box] = np.maximum(self.distance[box], BAND + RADIUS - gap)
        left = self.left[box]
        self.faces = sum(int(np.count_nonzero(np.diff(left, axis=axis))) for axis in range(3))
        self.box = box

    def mesh(self) -> None:
        """Mesh the cavity's wall in the box of the last capsule by scikit-image's marching cubes."""
        from skimage.measure import marching_cubes

        values = self.distance[self.box]
        if values.min() < BAND < values.max():
            self.faces = len(marching_cubes(values, BAND)[1])  # type: ignore[no-untyped-call]


def _volume() -> LabelVolume:
    labels = np.ones((SIZE, SIZE, SIZE), np.uint8)
    return LabelVolume(labels, np.diag([SPACING] * 3 + [1.0]))


def _speed(updates: int) -> tuple[Array, Array, Array, CarvedVolume, NumpyCarving]:
    """Seconds of each update, ours and the peer's, by turns; and ours of the processor."""
    origin = _volume()
    ours, theirs = CarvedVolume(origin), NumpyCarving(origin.labels)
    path = _path(updates / RATE_HZ, RATE_HZ)
    pairs = list(pairwise(path))
    ours.ball(path[0], path[0], RADIUS)
    theirs.carve(path[0], path[0])
    times: tuple[list[float], list[float]] = ([], [])
    busy: tuple[list[float], list[float]] = ([], [])
    for block in range(0, len(pairs), BLOCK):
        for which, carve in enumerate((lambda a, b: ours.ball(a, b, RADIUS), theirs.carve)):
            for start, end in pairs[block : block + BLOCK]:
                begin, worked = time.perf_counter(), time.thread_time()
                carve(start, end)
                busy[which].append(time.thread_time() - worked)
                times[which].append(time.perf_counter() - begin)
    return np.array(times[0]), np.array(times[1]), np.array(busy[0]), ours, theirs


def _meshing_s(peer: NumpyCarving, updates: int) -> float:
    """Median seconds of the peer's update with a mesh, on the end of its path once more."""
    path = _path(updates / RATE_HZ, RATE_HZ)[-100:]
    peer.mesh()
    times = []
    for start, end in pairwise(path):
        begin = time.perf_counter()
        peer.carve(start, end)
        peer.mesh()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _volume_error() -> float:
    """Relative error of the removed volume against the swept capsule's, over places and directions."""
    rng = np.random.default_rng(0)
    size, exact, found = 96, 0.0, 0.0
    volume = CarvedVolume(LabelVolume(np.ones((size,) * 3, np.uint8), np.diag([SPACING] * 3 + [1.0])))
    for _ in range(20):
        start = rng.uniform(0.35, 0.65, 3) * size * SPACING
        way = rng.normal(size=3)
        end = start + way / np.linalg.norm(way) * rng.uniform(0.0002, 0.004)
        removal = volume.ball(start, end, RADIUS)
        exact += math.pi * RADIUS**2 * float(np.linalg.norm(end - start)) + 4.0 / 3.0 * math.pi * RADIUS**3
        found += len(removal.indices) * volume.voxel_volume
        volume.reset()
    return abs(found / exact - 1.0)


def _same_at_all_rates(paths: int) -> tuple[bool, int]:
    """Whether 10, 30 and 100 Hz give the same voxels, for both burrs, turning on the way; and the doubtful ones."""
    rng = np.random.default_rng(0)
    labels = np.ones((64, 64, 64), np.uint8)
    same, doubtful = True, 0
    for shape in ('ball', 'cylinder'):
        config = CarvingConfig(burr=BurrConfig(shape=shape, radius=RADIUS, length=0.003))
        for _ in range(paths):
            knots = [make_transform(np.eye(3), rng.uniform(0.004, 0.009, 3))]
            for _ in range(5):
                turn = rotation_exp(rng.normal(0.0, 0.1, 3))
                knots.append(make_transform(turn @ knots[-1][:3, :3], knots[-1][:3, 3] + rng.normal(0.0, 0.001, 3)))
            hashes = set()
            for rate in (10, 30, 100):
                carver = Carver(config, CarvedVolume(LabelVolume(labels, np.diag([SPACING] * 3 + [1.0]))))
                for number in range((len(knots) - 1) * rate // 10 + 1):
                    stamp = round(number * NANOSECONDS / rate)
                    knot = min(stamp * 10 // NANOSECONDS, len(knots) - 2)
                    part = (stamp - knot * NANOSECONDS // 10) / (NANOSECONDS / 10)
                    pose = interpolate(knots[knot], knots[knot + 1], min(max(part, 0.0), 1.0))
                    doubtful += carver.add(NANOSECONDS + stamp, pose, SURE).removal.doubtful
                hashes.add(carver.volume.hash)
            same = same and len(hashes) == 1
    return same, doubtful


def _identical_after_loss(runs: int) -> bool:
    """Whether a receiver that loses 30 % of the deltas ends with the very same voxels after the next snapshot."""
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        volume = CarvedVolume(LabelVolume(np.ones((96, 96, 96), np.uint8), np.diag([SPACING] * 3 + [1.0])))
        sender, receiver = RemovedSender(volume, 1), RemovedReceiver()
        place = rng.uniform(0.006, 0.013, 3)
        lost = 0
        for number in range(100):
            step = np.clip(place + rng.normal(0.0, 0.0004, 3), 0.0, 0.019)
            delta = sender.delta(number + 1, volume.ball(place, step, RADIUS))
            place = step
            if delta is not None and rng.random() > 0.3:
                receiver.take(delta)
            elif delta is not None:
                lost += 1
        for chunk in sender.snapshot():
            receiver.take(chunk)
        identical = np.array_equal(receiver.removed_indices, volume.removed_indices())
        if lost == 0 or receiver.state is not State.CURRENT or not identical:
            return False
    return True


def _memory_mb() -> float:
    """Address space that a carved volume of 512³ asks for, its input left aside [MB]."""
    origin = _volume()
    tracemalloc.start()
    try:
        volume = CarvedVolume(origin)
        return (tracemalloc.get_traced_memory()[0] if volume.removed == 0 else math.nan) / 1e6
    finally:
        tracemalloc.stop()


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure carving.

    Args:
        quick: Smaller samples, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    updates = 800 if quick else 4000
    ours, theirs, busy, volume, peer = _speed(updates)
    meshing_s = _meshing_s(peer, updates)
    ratio = float(np.median(ours) / np.median(theirs))
    apart = int(np.count_nonzero((volume.voxels < 128) != peer.left))
    same, doubtful = _same_at_all_rates(2 if quick else 8)
    figures: list[Figure] = [
        judge('carve_512_ms', 1e3 * float(np.median(ours)), 'ms', at_most=0.25, peer=PEER, ratio=ratio),
        judge('carve_512_p99_ms', 1e3 * float(np.percentile(ours, 99.0)), 'ms', at_most=1.0),
        judge('carve_512_cpu_p99_ms', 1e3 * float(np.percentile(busy, 99.0)), 'ms'),
        judge('carve_512_mean_ms', 1e3 * float(np.mean(ours)), 'ms'),
        judge('carve_numpy_ms', 1e3 * float(np.median(theirs)), 'ms'),
        judge('carve_numpy_with_mesh_ms', 1e3 * meshing_s, 'ms'),
        judge('carve_time_ratio_to_numpy_with_mesh', float(np.median(ours)) / meshing_s, '', peer=f'{PEER}, skimage'),
        judge('carve_voxels_unlike_numpy', float(apart), ''),
        judge('carve_rate_independent', float(same), '', at_least=1.0),
        judge('carve_doubtful_voxels', float(doubtful), '', at_most=0.0),
        judge('carve_identical_after_loss', float(_identical_after_loss(2 if quick else 10)), '', at_least=1.0),
        judge('carve_volume_error_percent', 100.0 * _volume_error(), '%', at_most=0.5),
        judge('carve_512_address_space_mb', _memory_mb(), 'MB', at_most=450.0),
    ]
    return [{name: getattr(figure, name) for name in Figure.__dataclass_fields__} for figure in figures]
