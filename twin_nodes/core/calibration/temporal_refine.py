"""The fine time offset of two streams that are rigidly tied: their rotations, or positions, brought to agreement.

The coarse offset comes from speeds, which throw away most of what was measured. Here the rigid tie is fitted together
with the offset, so a sample tells of the offset with σ_rotation / angular speed: at 1 rad/s and 0.6 mrad half a
millisecond each, and some hundred samples average.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.robot_world_model import (
    OFFSET,
    NormalEquations,
    Selection,
    Ties,
    X,
    Z,
    inflated_by_memory,
    is_settled,
    jacobian,
    normal_equations,
    residuals,
    solve_normal,
)
from twin_nodes.core.calibration.robot_world_noise import Noise, apply_noise, fit_noise
from twin_nodes.core.calibration.temporal_stream import (
    Interpolated,
    Mask,
    PoseStream,
    Stamps,
    body_twists,
    interpolate_stream,
)
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation, rotation_log
from twin_nodes.core.stamps import NANOSECONDS

REFUSED = 'CALIBRATION_REFUSED'
_MAX_STEPS = 60
_NOISE_STEPS = 8  # then the noise stands still: weights that follow every step settle slowly and gain nothing
_PATIENT_STEPS = 40  # pairs that go in and out of the limit can keep the last steps from vanishing
_OPEN = 1e-8
_TURN_WINDOW = 0.4  # s
_MOVED, _TURNED, _REST = 0.002, 0.01, 0.25  # m, rad, s
_MAX_PAIRS = 10_000


@dataclass(frozen=True, eq=False)
class Paired:
    """Two streams at the same instants.

    Args:
        base_T_hand: Poses of the first, shape (n, 4, 4).
        target_T_eye: Poses of the second, shape (n, 4, 4).
        eye_twists: Velocity of the eye in the axes of the residuals given the ties, shape (n, 6); None without stamps.
        stamps_ns: Instants on the clock of the first stream, shape (n,).
        phase: Mean place of the instants between two samples of the interpolated stream, −1 to 1, over its period
            [1/s].
    """

    base_T_hand: Array
    target_T_eye: Array
    eye_twists: Callable[[Ties], Array] | None
    stamps_ns: Stamps
    phase: float


def pair_streams(first: PoseStream, second: PoseStream, offset_ns: int, shift: float, *, max_gap: float) -> Paired:
    """Bring two streams to the instants of the slower one.

    Args:
        first: The stream whose clock counts.
        second: The other one.
        offset_ns: Added to the stamps of the second.
        shift: Added besides [s].
        max_gap: Longest gap that is interpolated across [s]; at least three periods of the interpolated stream.
    """
    epoch = int(first.stamps_ns[0])
    other_epoch = epoch - offset_ns
    if first.period >= second.period:
        instants = first.seconds_since(epoch) - shift
        found = interpolate_stream(
            second, instants, other_epoch, max_gap=max(max_gap, 3.0 * second.period), curved=True
        )
        valid, before = found.valid, found.before[found.valid]
        twists, phase = body_twists(second, before), _phase(found, second)
        measured = second.has_rotation

        def eye_twists(ties: Ties) -> Array:
            # Positions have no axes of their own: their residuals lie along those of the base.
            return twists if measured else twists_in_base(twists, ties.base_T_target)

        return Paired(first.poses[valid], found.poses[valid], eye_twists, first.stamps_ns[valid], phase)
    instants = second.seconds_since(other_epoch) + shift
    found = interpolate_stream(first, instants, epoch, max_gap=max(max_gap, 3.0 * first.period), curved=True)
    valid = found.valid
    hand = body_twists(first, found.before[valid])
    stamps, phase = second.stamps_ns[valid] + offset_ns + round(shift * NANOSECONDS), _phase(found, first)
    return Paired(
        found.poses[valid], second.poses[valid], lambda ties: carried_twists(hand, ties.hand_T_eye), stamps, phase
    )


def _phase(found: Interpolated, stream: PoseStream) -> float:
    return float(np.mean(2.0 * found.fraction[found.valid] - 1.0)) / stream.period if found.valid.any() else 0.0


def without_rests(paired: Paired) -> Paired:
    """Leave out pairs in which the hand has not moved since the one before, but for four each second.

    A body at rest gives many samples of one and the same systematic error, which would pass for precision. Of long
    recordings 10,000 pairs at most are kept, evenly.
    """
    if len(paired.stamps_ns) == 0:
        return paired
    motion = inverse(paired.base_T_hand[:-1]) @ paired.base_T_hand[1:]
    steps = (
        np.linalg.norm(motion[:, :3, 3], axis=1) / _MOVED
        + np.linalg.norm(rotation_log(motion[:, :3, :3]), axis=1) / _TURNED
        + np.diff(paired.stamps_ns) / (_REST * NANOSECONDS)
    )
    path = np.floor(np.concatenate([[0.0], np.cumsum(steps)]))
    keep = np.nonzero(np.concatenate([[True], np.diff(path) > 0.0]))[0]
    keep = keep[:: -(-len(keep) // _MAX_PAIRS)]
    twists = paired.eye_twists
    return Paired(
        paired.base_T_hand[keep],
        paired.target_T_eye[keep],
        None if twists is None else lambda ties: twists(ties)[keep],
        paired.stamps_ns[keep],
        paired.phase,
    )


def twists_in_base(twists: Array, base_T_target: Array) -> Array:
    """Return velocities (n, 6) given along the axes of the target along those of the base."""
    rotation = base_T_target[:3, :3].T
    return np.asarray(np.concatenate([twists[:, :3] @ rotation, twists[:, 3:] @ rotation], axis=1))


def carried_twists(hand_twists: Array, hand_T_eye: Array) -> Array:
    """Return velocities (n, 6) of the eye in its axes from those of the hand in its own, tied by hand_T_eye."""
    rotation, lever = hand_T_eye[:3, :3], hand_T_eye[:3, 3]
    linear = hand_twists[:, :3] + np.cross(hand_twists[:, 3:], lever)
    return np.asarray(np.concatenate([linear @ rotation, hand_twists[:, 3:] @ rotation], axis=1))


@dataclass(frozen=True, eq=False)
class Fit:
    """A maximum-likelihood solution.

    Args:
        ties: X, Z and the shift.
        covariance: Of the unknowns that were sought, shape (p, p).
        noise: Of the residuals of one pair.
        errors: Residuals of all pairs, shape (n, 6).
        keep: Which were used, shape (n,).
        paired: The pairs.
    """

    ties: Ties
    covariance: Array
    noise: Noise
    errors: Array
    keep: Mask
    paired: Paired


def fit_ties(pair: Callable[[float], Paired], start: Ties, chosen: Selection, *, min_pairs: int) -> Fit:
    """Fit the ties, the noise and the outliers together by reweighted Gauss–Newton steps, then the ties to the end.

    Jittering stamps choose which two samples an instant lies between, which draws the offset by their variance times
    the mean phase if they are those of the interpolated stream. Whose they are, nobody knows: the square of that is
    added to the variance of the offset.

    Args:
        pair: Brings the streams together for a shift of the second clock [s].
        start: Where to begin, with errors well below those of a wrong solution.
        chosen: What is used and sought.
        min_pairs: Fewer pairs are refused.

    Raises:
        DegenerateGeometryError: Too few pairs, no information, or the steps do not settle.
    """
    ties = start
    seeks_offset = bool((chosen.columns == OFFSET).any())
    paired = pair(ties.shift)
    noise: Noise | None = None
    for step_index in range(_MAX_STEPS):
        _need(len(paired.base_T_hand), min_pairs)
        errors = residuals(ties, paired.base_T_hand, paired.target_T_eye)
        twists = paired.eye_twists(ties) if paired.eye_twists is not None else None
        used = errors[:, chosen.rows]
        velocities = twists[:, chosen.rows] if twists is not None else None
        if noise is None or step_index < _NOISE_STEPS:
            fitted = fit_noise(used, velocities, len(chosen.columns), noise)
            noise = fitted.noise
        else:
            fitted = apply_noise(noise, used, velocities)
        derivative = jacobian(ties, paired.base_T_hand, errors, twists)
        if chosen.tied:
            derivative[:, :, X] += derivative[:, :, Z]
        derivative = derivative[:, chosen.rows][:, :, chosen.columns]
        equations: NormalEquations = normal_equations(used, derivative, fitted.weights, fitted.keep)
        step, covariance = solve_normal(equations, rcond=_OPEN)
        if is_settled(step, covariance, 1e-3 if step_index < _PATIENT_STEPS else 0.1):
            freedom = float(fitted.keep.sum()) - len(chosen.columns) / len(chosen.rows)
            covariance = covariance * (freedom / max(freedom - 2.0, 1.0))  # the noise is estimated: Student's t
            if paired.eye_twists is not None:
                covariance = inflated_by_memory(equations, covariance, chosen.columns)
            if seeks_offset:
                covariance[-1, -1] += (noise.jitter**2 * paired.phase) ** 2
            return Fit(ties, covariance, noise, errors, fitted.keep, paired)
        whole = np.zeros(13)
        whole[chosen.columns] = step
        if chosen.tied:
            whole[Z] = whole[X]
        ties = ties.moved(whole)
        if seeks_offset:
            paired = pair(ties.shift)
    raise DegenerateGeometryError(
        f'the fit does not settle in {_MAX_STEPS} steps: the two streams do not move as one rigid body, or turn too '
        'little',
        code=REFUSED,
    )


def _need(count: int, min_pairs: int) -> None:
    if count < min_pairs:
        raise DegenerateGeometryError(
            f'{count} of {min_pairs} pairs at the same instant: record both streams together for longer', code=REFUSED
        )


def start_from_motion(paired: Paired, *, has_rotation: bool) -> Ties:
    """Find X and Z roughly from rotations over a window, or for positions Z alone; outliers are trimmed.

    The axes of the turns of hand and eye between two instants obey α = R_X β (Park and Martin 1994).
    """
    a, b = paired.base_T_hand, paired.target_T_eye
    if not has_rotation:
        rotation, origin_a, origin_b = _aligned(a[:, :3, 3], b[:, :3, 3], centred=True)
        return Ties(np.eye(4), make_transform(rotation, origin_a - rotation @ origin_b))
    period = float(np.median(np.diff(paired.stamps_ns))) / NANOSECONDS
    step = int(np.clip(_TURN_WINDOW / period, 1, len(a) // 4))
    turns_a = rotation_log(np.swapaxes(a[:-step, :3, :3], 1, 2) @ a[step:, :3, :3])
    turns_b = rotation_log(np.swapaxes(b[:-step, :3, :3], 1, 2) @ b[step:, :3, :3])
    angles = np.linalg.norm(turns_a, axis=1)
    moving = angles >= 0.3 * np.quantile(angles, 0.9)  # while at rest both turns are noise, and agree
    hand_R_eye, _, _ = _aligned(turns_a[moving], turns_b[moving], centred=False)
    products = a[:, :3, :3] @ hand_R_eye @ np.swapaxes(b[:, :3, :3], 1, 2)
    base_R_target = _trimmed_mean(products)
    return Ties(make_transform(hand_R_eye, np.zeros(3)), make_transform(base_R_target, np.zeros(3)))


def _aligned(first: Array, second: Array, *, centred: bool) -> tuple[Array, Array, Array]:
    """Rotation from second to first vectors (n, 3) by trimmed least squares (Kabsch 1976), and both centres."""
    keep = np.ones(len(first), dtype=bool)
    for _ in range(6):
        centre_a = first[keep].mean(axis=0) if centred else np.zeros(3)
        centre_b = second[keep].mean(axis=0) if centred else np.zeros(3)
        rotation = nearest_rotation((first[keep] - centre_a).T @ (second[keep] - centre_b))
        misfit = np.linalg.norm(first - centre_a - (second - centre_b) @ rotation.T, axis=1)
        keep = misfit <= np.quantile(misfit, 0.7)
    return rotation, centre_a, centre_b


def _trimmed_mean(rotations: Array) -> Array:
    """Mean of the seven tenths of rotations (n, 3, 3) that lie nearest to it."""
    keep = np.ones(len(rotations), dtype=bool)
    for _ in range(6):
        mean = nearest_rotation(rotations[keep].sum(axis=0))
        misfit = np.linalg.norm(rotations - mean, axis=(1, 2))
        keep = misfit <= np.quantile(misfit, 0.7)
    return mean
