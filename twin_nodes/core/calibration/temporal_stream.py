"""Recorded pose streams as arrays: put in order, interpolated at any instant, with their speeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation, rotation_exp, rotation_log
from twin_nodes.core.stamps import NANOSECONDS

Stamps = NDArray[np.int64]
Mask = NDArray[np.bool_]
MIN_SAMPLES = 8
_MEDIAN = 15  # grid points


@dataclass(frozen=True, eq=False)
class PoseStream:
    """Poses in the order of their stamps, each stamp once; made by `pose_stream` or `position_stream`.

    Args:
        stamps_ns: Time of measurement on the clock of this stream, strictly rising, shape (n,).
        poses: Pose of the moving frame in a fixed one [m], shape (n, 4, 4).
        has_rotation: Whether the rotations were measured; those of a stream of positions are all identity.
        reordered: Samples that came with an older stamp than one before them.
        merged: Samples whose stamp was there already; the mean of those of one stamp is kept.
    """

    stamps_ns: Stamps
    poses: Array
    has_rotation: bool = True
    reordered: int = 0
    merged: int = 0

    @property
    def duration(self) -> float:
        """Time between the first and the last stamp [s]."""
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) / NANOSECONDS

    @property
    def period(self) -> float:
        """Median time between samples [s]."""
        return float(np.median(np.diff(self.stamps_ns))) / NANOSECONDS

    def seconds_since(self, epoch_ns: int) -> Array:
        """Return the stamps as seconds (n,) since an instant near them, exact to well below a nanosecond."""
        return np.asarray((self.stamps_ns - epoch_ns) / NANOSECONDS)


def pose_stream(stamps_ns: NDArray[np.int64], poses: Array) -> PoseStream:
    """Put recorded poses in order.

    Args:
        stamps_ns: Stamps as recorded, shape (n,); they may run backwards and repeat.
        poses: Poses of the moving frame in a fixed one [m], shape (n, 4, 4).

    Raises:
        InputError: Wrong shapes, NaN, no rigid transforms, or fewer than eight different stamps.
    """
    poses = np.asarray(poses, float)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise InputError(f'poses need shape (n, 4, 4), got {poses.shape}')
    if not np.isfinite(poses).all():
        raise InputError('poses have NaN or Inf', code='NOT_FINITE')
    rotations = poses[:, :3, :3]
    shear = np.abs(np.swapaxes(rotations, 1, 2) @ rotations - np.eye(3)).max() if len(poses) else 0.0
    if shear > 1e-3 or (np.linalg.det(rotations) < 0.0).any():
        raise InputError('poses hold matrices that are no rotations', code='NOT_A_ROTATION')
    return _ordered(stamps_ns, poses, has_rotation=True)


def position_stream(stamps_ns: NDArray[np.int64], positions: Array) -> PoseStream:
    """Put recorded positions [m] (n, 3) in order, for `estimate_offset` only.

    Raises:
        InputError: Wrong shapes, NaN, or fewer than eight different stamps.
    """
    positions = np.asarray(positions, float)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise InputError(f'positions need shape (n, 3), got {positions.shape}')
    if not np.isfinite(positions).all():
        raise InputError('positions have NaN or Inf', code='NOT_FINITE')
    return _ordered(stamps_ns, make_transform(np.eye(3), positions), has_rotation=False)


def _ordered(stamps_ns: NDArray[np.int64], poses: Array, *, has_rotation: bool) -> PoseStream:
    stamps = np.asarray(stamps_ns)
    if stamps.shape != (len(poses),) or stamps.dtype.kind not in 'iu':
        raise InputError(f'{len(poses)} poses need as many integer stamps [ns], got {stamps.dtype} of {stamps.shape}')
    stamps = stamps.astype(np.int64)
    reordered = int((stamps < np.maximum.accumulate(stamps)).sum()) if len(stamps) else 0
    order = np.argsort(stamps, kind='stable')
    unique, first, counts = np.unique(stamps[order], return_index=True, return_counts=True)
    if len(unique) < MIN_SAMPLES:
        raise InputError(f'{len(unique)} different stamps in the stream, at least {MIN_SAMPLES} are needed')
    kept = poses[order][first]
    for index in np.nonzero(counts > 1)[0]:
        same = poses[order[first[index] : first[index] + counts[index]]]
        kept[index] = make_transform(nearest_rotation(same[:, :3, :3].mean(axis=0)), same[:, :3, 3].mean(axis=0))
    return PoseStream(unique, kept, has_rotation, reordered, len(stamps) - len(unique))


@dataclass(frozen=True, eq=False)
class Interpolated:
    """A stream at chosen instants.

    Args:
        poses: Shape (k, 4, 4); meaningless where `valid` is False.
        before: Index of the sample before each instant, shape (k,).
        fraction: Where between it and the next, 0 to 1, shape (k,).
        valid: Whether the instant lies within the stream and in no gap, shape (k,).
    """

    poses: Array
    before: NDArray[np.intp]
    fraction: Array
    valid: Mask


def interpolate_stream(
    stream: PoseStream, seconds: Array, epoch_ns: int, *, max_gap: float, curved: bool = False
) -> Interpolated:
    """Interpolate a stream as `core.geometry.se3.interpolate` does, position linearly and rotation by slerp.

    A hand cuts its corners by some hundredths of a millimetre then, always to the inside. That is little, but not
    random: `curved` adds the second differences of the neighbours (Catmull and Rom 1974), in the axes of the body for
    the rotation.

    Args:
        stream: What to interpolate.
        seconds: Instants since the epoch on the clock of the stream, shape (k,).
        epoch_ns: An instant near the stream.
        max_gap: Longest time between two samples that is interpolated across [s].
        curved: Whether the path bends between the samples, where their neighbours are near too.
    """
    own = stream.seconds_since(epoch_ns)
    before = np.clip(np.searchsorted(own, seconds, side='right') - 1, 0, len(own) - 2)
    start, step = own[before], own[before + 1] - own[before]
    valid = (seconds >= own[0]) & (seconds <= own[-1]) & (step <= max_gap)
    fraction = np.clip((seconds - start) / step, 0.0, 1.0)
    first, second = stream.poses[before], stream.poses[before + 1]
    position = first[:, :3, 3] + fraction[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    rotation = first[:, :3, :3]
    bend = _bend(stream, own, before, fraction, max_gap) if curved else np.zeros((len(seconds), 6))
    position = position + bend[:, :3]
    if stream.has_rotation:
        turn = rotation_log(np.swapaxes(rotation, 1, 2) @ second[:, :3, :3])
        rotation = rotation @ rotation_exp(fraction[:, None] * turn + bend[:, 3:])
    return Interpolated(make_transform(rotation, position), before, fraction, valid)


def _bend(stream: PoseStream, own: Array, before: NDArray[np.intp], fraction: Array, max_gap: float) -> Array:
    """Departure (k, 6) from the straight line: position in the fixed frame [m], rotation in that of the body [rad]."""
    steps = np.diff(own)
    changes = np.zeros((len(steps), 6))
    changes[:, :3] = np.diff(stream.poses[:, :3, 3], axis=0)
    if stream.has_rotation:
        rotations = stream.poses[:, :3, :3]
        changes[:, 3:] = rotation_log(np.swapaxes(rotations[:-1], 1, 2) @ rotations[1:])
    rates = changes / steps[:, None]
    accelerations = np.zeros((len(own), 6))
    near = (steps[:-1] <= max_gap) & (steps[1:] <= max_gap)
    accelerations[1:-1] = np.where(near[:, None], 2.0 * np.diff(rates, axis=0) / (own[2:] - own[:-2])[:, None], 0.0)
    blended = (1.0 - fraction)[:, None] * accelerations[before] + fraction[:, None] * accelerations[before + 1]
    return np.asarray(-0.5 * (fraction * (1.0 - fraction) * steps[before] ** 2)[:, None] * blended)


def body_twists(stream: PoseStream, before: NDArray[np.intp]) -> Array:
    """Return velocities (k, 6) = (m/s, rad/s) in the axes of the moving frame between samples `before` and the next.

    The difference is taken between the samples around those two. Their errors are in the interpolated pose; were they
    in the velocity too, then the product of both would have a mean, which draws an estimated time offset to the middle
    between two samples.
    """
    last = len(stream.poses) - 1
    low, high = np.maximum(before - 1, 0), np.minimum(before + 2, last)
    motion = inverse(stream.poses[low]) @ stream.poses[high]
    step = (stream.stamps_ns[high] - stream.stamps_ns[low]) / NANOSECONDS
    turn = rotation_log(motion[:, :3, :3])
    position = np.einsum('kji,kj->ki', rotation_exp(0.5 * turn), motion[:, :3, 3])
    return np.asarray(np.concatenate([position, turn], axis=1) / step[:, None])


def speed_signal(
    stream: PoseStream, grid: Array, epoch_ns: int, *, window: float, max_gap: float, angular: bool
) -> tuple[Array, Mask]:
    """Return speeds (k,) [rad/s or m/s] on a grid of instants [s since the epoch], and where they are known.

    The speed over a window does not care how stamps were rounded within it.
    """
    early = interpolate_stream(stream, grid - 0.5 * window, epoch_ns, max_gap=max_gap)
    late = interpolate_stream(stream, grid + 0.5 * window, epoch_ns, max_gap=max_gap)
    if angular:
        change = rotation_log(np.swapaxes(early.poses[:, :3, :3], 1, 2) @ late.poses[:, :3, :3])
    else:
        change = late.poses[:, :3, 3] - early.poses[:, :3, 3]
    return _without_spikes(np.linalg.norm(change, axis=1) / window), early.valid & late.valid


def _without_spikes(speeds: Array) -> Array:
    """Running median (k,): a single wrong pose makes two high speeds, which would hide all others in a correlation."""
    if len(speeds) < _MEDIAN:
        return speeds
    padded = np.pad(speeds, _MEDIAN // 2, mode='edge')
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN), axis=1))
