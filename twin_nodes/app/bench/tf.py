"""Bench `tf`: lookups per second of the tf buffer, chains of 1, 5 and 20 moving links, at times between samples.

The peer is written here: what one would write with numpy in an afternoon, 4×4 matrices multiplied along the chain,
found by bisection and interpolated by slerp. No wheel on PyPI has a tf2 buffer to compare with.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from math import acos, sin

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.time import Time
from std_msgs.msg import Header
from tf2_ros import Buffer

from twin_nodes.core.geometry import se3
from twin_nodes.ros.conversions import ns_to_stamp

Array = NDArray[np.float64]

# links of the chain: lookups per second that must be reached
GOALS = {1: 30_000.0, 5: 15_000.0, 20: 8_000.0}
SAMPLES = 600
PERIOD_NS = 1_000_000_000 // 60
START_NS = 1_000_000_000
PEER = 'numpy 4x4 chain'
SAME_WITHIN = 1e-9


class MatrixChain:
    """The peer: the samples of each link as positions and quaternions, the chain as a product of matrices.

    Args:
        stamps: Times of the samples, in nanoseconds, rising.
        positions: Shape (links, samples, 3), metres.
        quats: Shape (links, samples, 4), xyzw.
    """

    def __init__(self, stamps: list[int], positions: Array, quats: Array) -> None:
        self._stamps = stamps
        self._positions = positions
        self._quats = quats

    def lookup(self, stamp: int) -> Array:
        """The pose of the last frame in the first.

        Args:
            stamp: Time between the first and the last sample, in nanoseconds.

        Returns:
            Shape (4, 4).
        """
        top_T_frame = np.eye(4)
        for positions, quats in zip(self._positions, self._quats, strict=True):
            index = bisect_right(self._stamps, stamp) - 1  # every link has its own samples, so it is searched each time
            before, after = self._stamps[index : index + 2]
            ratio = (stamp - before) / (after - before)
            link = np.eye(4)
            link[:3, :3] = _rotation(_slerp(quats[index], quats[index + 1], ratio))
            link[:3, 3] = (1.0 - ratio) * positions[index] + ratio * positions[index + 1]
            top_T_frame = top_T_frame @ link
        return top_T_frame


def _slerp(q0: Array, q1: Array, ratio: float) -> Array:
    cosine = float(q0 @ q1)
    if cosine < 0.0:
        cosine, q1 = -cosine, -q1
    if cosine > 1.0 - 1e-12:
        return q0 + ratio * (q1 - q0)
    angle = acos(cosine)
    return (sin((1.0 - ratio) * angle) * q0 + sin(ratio * angle) * q1) / sin(angle)


def _rotation(quat: Array) -> Array:
    x, y, z, w = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _motion(links: int, rng: np.random.Generator) -> tuple[list[int], Array, Array]:
    """Links that turn and sway smoothly: stamps in nanoseconds, positions in metres, quaternions xyzw."""
    stamps = [START_NS + index * PERIOD_NS for index in range(SAMPLES)]
    phase = np.arange(SAMPLES)[None, :] * 0.02 + rng.uniform(0.0, 6.0, (links, 1))
    positions = 0.1 * np.stack([np.sin(phase), np.cos(phase), 0.5 * np.sin(2.0 * phase)], axis=-1)
    twist = np.stack([0.5 * np.sin(phase), 0.8 * np.cos(phase), 0.4 * np.sin(3.0 * phase)], axis=-1)
    return stamps, positions, np.asarray(se3.quat_from_rotation(se3.rotation_exp(twist)))


def _fill(stamps: list[int], positions: Array, quats: Array) -> Buffer:
    buffer = Buffer()
    for link in range(len(positions)):
        for stamp, p, q in zip(stamps, positions[link].tolist(), quats[link].tolist(), strict=True):
            header = Header(stamp=ns_to_stamp(stamp), frame_id=f'link_{link}')
            pose = Transform(
                translation=Vector3(x=p[0], y=p[1], z=p[2]), rotation=Quaternion(x=q[0], y=q[1], z=q[2], w=q[3])
            )
            buffer.set_transform(
                TransformStamped(header=header, child_frame_id=f'link_{link + 1}', transform=pose), 'bench'
            )
    return buffer


def _per_second(lookup: Callable[[int], object], count: int, rounds: int) -> float:
    """Calls per second, in the best of several rounds: what others do on the machine only slows a round down."""
    best = float('inf')
    for _ in range(rounds):
        begin = time.perf_counter()
        for index in range(count):
            lookup(index)
        best = min(best, time.perf_counter() - begin)
    return count / best


def _as_matrix(transform: TransformStamped) -> Array:
    t, r = transform.transform.translation, transform.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(np.array([r.x, r.y, r.z, r.w]))
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


def _measure(links: int, *, count: int, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(links)
    stamps, positions, quats = _motion(links, rng)
    buffer, peer = _fill(stamps, positions, quats), MatrixChain(stamps, positions, quats)
    wanted = [int(stamp) for stamp in rng.integers(stamps[0] + 1, stamps[-1], count)]
    times = [Time(nanoseconds=stamp) for stamp in wanted]
    last = f'link_{links}'
    same = all(
        np.abs(_as_matrix(buffer.lookup_transform('link_0', last, at)) - peer.lookup(stamp)).max() < SAME_WITHIN
        for at, stamp in zip(times[:50], wanted[:50], strict=True)
    )
    ours = _per_second(lambda index: buffer.lookup_transform('link_0', last, times[index]), count, rounds)
    theirs = _per_second(lambda index: peer.lookup(wanted[index]), max(50, count // (4 * links)), rounds)
    return {
        'figure': f'lookups_per_s_{links}',
        'value': ours,
        'unit': '1/s',
        'goal': f'>= {GOALS[links]:g}',
        'peer': PEER,
        'ratio': ours / theirs,
        'ok': same and ours >= GOALS[links],
    }


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure `lookup_transform` of the buffer that this process imports.

    Args:
        quick: Smaller samples, the same figures.

    Returns:
        One figure per length of chain, in lookups per second; not ok where the answers differ from the peer's.
    """
    count, rounds = (1000, 3) if quick else (10_000, 5)
    return [_measure(links, count=count, rounds=rounds) for links in GOALS]
