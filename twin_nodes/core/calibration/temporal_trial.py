"""Trials with known truth: a hand-held rigid body, seen by two devices whose clocks disagree."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.temporal_stream import PoseStream, pose_stream
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, random_transform, rotation_exp
from twin_nodes.core.stamps import NANOSECONDS

EPOCH_NS = 1_700_000_000 * NANOSECONDS


class RigidMotion:
    """A smooth random motion: sums of sinusoids without a common period, for position and rotation vector.

    Args:
        rng: Source of amplitudes, frequencies and phases.
        reach: Standard deviation of the position per axis [m].
        turn: Standard deviation of the rotation vector per axis [rad], shape (3,) or one number.
        fastest: Highest frequency [Hz].
    """

    def __init__(
        self, rng: np.random.Generator, *, reach: float = 0.06, turn: Array | float = 0.35, fastest: float = 0.7
    ) -> None:
        self._frequencies = rng.uniform(0.07, fastest, (6, 8)) * 2.0 * np.pi
        self._phases = rng.uniform(0.0, 2.0 * np.pi, (6, 8))
        amplitudes = rng.rayleigh(1.0, (6, 8)) / self._frequencies**0.5
        amplitudes *= np.sqrt(2.0) / np.linalg.norm(amplitudes, axis=1, keepdims=True)
        scale = np.concatenate([np.full(3, reach), np.broadcast_to(np.asarray(turn, float), 3)])
        self._amplitudes = amplitudes * scale[:, None]
        self._start = random_transform(rng)

    def poses(self, seconds: Array) -> Array:
        """Return the poses (n, 4, 4) at instants (n,)."""
        waves = self._amplitudes * np.sin(self._frequencies * seconds[:, None, None] + self._phases)
        values = waves.sum(axis=2)
        return np.asarray(self._start @ make_transform(rotation_exp(values[:, 3:]), values[:, :3]))


@dataclass(frozen=True)
class StreamNoise:
    """Errors of a device.

    Args:
        position: Standard deviation per axis [m].
        rotation: Standard deviation per axis [rad].
        jitter: Standard deviation of the stamps [s].
    """

    position: float = 0.11e-3
    rotation: float = 0.6e-3
    jitter: float = 0.0


def disturbed(poses: Array, noise: StreamNoise, rng: np.random.Generator) -> Array:
    """Return poses (n, 4, 4) with Gaussian errors, isotropic, independent from sample to sample."""
    turned = rotation_exp(rng.normal(0.0, noise.rotation, (len(poses), 3))) @ poses[:, :3, :3]
    return make_transform(turned, poses[:, :3, 3] + rng.normal(0.0, noise.position, (len(poses), 3)))


@dataclass(frozen=True, eq=False)
class RigidTrial:
    """Two streams and the truth.

    Args:
        first: base_T_hand.
        second: target_T_eye.
        offset_ns: What must be added to the stamps of the second.
        hand_T_eye: X.
        base_T_target: Z.
    """

    first: PoseStream
    second: PoseStream
    offset_ns: int
    hand_T_eye: Array
    base_T_target: Array


def rigid_trial(
    rng: np.random.Generator,
    *,
    seconds: float = 30.0,
    offset: float = 0.037,
    rates_hz: tuple[float, float] = (60.0, 60.0),
    noises: tuple[StreamNoise, StreamNoise] = (StreamNoise(), StreamNoise()),
    motion: RigidMotion | None = None,
    lever: float = 0.17,
) -> RigidTrial:
    """Draw a trial: random ties, random motion, and two devices that start at different instants.

    Args:
        rng: Source of everything random.
        seconds: Length of the recording.
        offset: What must be added to the second clock [s].
        rates_hz: Rates of the devices.
        noises: Their errors.
        motion: How the hand moves; random when left out.
        lever: Distance from hand to eye [m].
    """
    motion = motion or RigidMotion(rng)
    direction = rng.normal(size=3)
    hand_T_eye = random_transform(rng)
    hand_T_eye[:3, 3] = lever * direction / np.linalg.norm(direction)
    base_T_target = random_transform(rng)
    offset_ns = round(offset * NANOSECONDS)
    streams = []
    for index, (rate, noise) in enumerate(zip(rates_hz, noises, strict=True)):
        instants = rng.uniform(0.0, 1.0 / rate) + np.arange(int(seconds * rate)) / rate
        poses = motion.poses(instants)
        if index == 1:
            poses = inverse(base_T_target) @ poses @ hand_T_eye
        stamps = EPOCH_NS + np.round((instants + rng.normal(0.0, noise.jitter, len(instants))) * NANOSECONDS)
        shift = offset_ns if index == 1 else 0
        streams.append(pose_stream(stamps.astype(np.int64) - shift, disturbed(poses, noise, rng)))
    return RigidTrial(streams[0], streams[1], offset_ns, hand_T_eye, base_T_target)
