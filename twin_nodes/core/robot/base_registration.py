"""Where the base of an arm stands in a tracker or camera, from motion, with joint offsets that explain the residual.

base_T_tip(q + δ) · tip_T_marker = base_T_reference · reference_T_marker. Without offsets this is the robot-world
equation A X = Z B; its solution is the start. Offsets of joints are then added one at a time, the one that explains
most first, while Schwarz's criterion (1978) gains; a joint whose offset only moves base or marker, as that of the
first or last axis, cannot be told and is named. Weighted least squares with Huber's weights (1964). What follows each
other is alike where the cables of a wrist hang behind: the samples count as many as are independent (Geyer 1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from twin_nodes.core.calibration.hand_eye import HandEyeConfig
from twin_nodes.core.calibration.robot_world import solve_robot_world
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import inverse_covariance
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation, rotation_exp, rotation_log
from twin_nodes.core.geometry.se3 import skew as cross_matrix

if TYPE_CHECKING:  # the compiled kinematics take 0.2 s to load, the settings need none of them
    from twin_nodes.core.robot.chain import SerialChain

ITERATIONS = 12
HUBER = 2.0
DRAW = 400  # samples that the closed start is solved on
SEEN = 0.02  # share of a joint's effect that base and marker must not be able to imitate


@dataclass(frozen=True)
class BaseRegistrationConfig:
    """When a registration of an arm is used, and when an offset is named."""

    evidence: float = setting('Gain of information that a joint offset needs.', 30.0, minimum=1.0, maximum=1e6)
    max_offsets: int = setting('Joint offsets that are sought at most.', 4, minimum=0, maximum=32)
    warn_residual: float = setting(
        'Position residual (RMS) above which it is doubtful.', 0.002, unit='m', minimum=1e-6, maximum=0.1
    )
    refuse_residual: float = setting(
        'Position residual (RMS) above which it is refused.', 0.01, unit='m', minimum=1e-6, maximum=1.0
    )


@dataclass(frozen=True, eq=False)
class JointOffset:
    """An offset that was found: measured_js reads `value` too little [rad or m], with its standard deviation."""

    joint: int
    name: str
    value: float
    sigma: float


@dataclass(frozen=True, eq=False)
class BaseRegistration:
    """Where the base stands.

    Args:
        reference_T_base: Pose of the base in the tracker or camera [m], shape (4, 4).
        covariance: Of it, in the convention of `core.geometry.covariance`, shape (6, 6).
        tip_T_marker: Pose of the tracked body in the tip [m], shape (4, 4).
        marker_covariance: Of it, shape (6, 6).
        offsets: Joint offsets that explain a part of the residual, the greatest part first.
        unseen: Joints whose offset this motion cannot tell from a move of base or marker.
        position_rms: Residual with the offsets, outliers weighed down [m].
        rotation_rms: The same of the rotations [rad].
        position_rms_before: Residual without offsets [m].
        samples: Number of samples.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT.
    """

    reference_T_base: Array
    covariance: Array
    tip_T_marker: Array
    marker_covariance: Array
    offsets: tuple[JointOffset, ...]
    unseen: tuple[str, ...]
    position_rms: float
    rotation_rms: float
    position_rms_before: float
    samples: int
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Fit:
    marker: Array  # tip_T_marker
    base: Array  # base_T_reference
    offsets: Array  # of the chosen joints
    covariance: Array
    cost: float
    position_rms: float
    rotation_rms: float
    repeats: float  # samples that count as one


def register_base(
    chain: SerialChain,
    positions: Array,
    reference_T_marker: Array,
    config: BaseRegistrationConfig | None = None,
    *,
    hand_eye: HandEyeConfig | None = None,
) -> BaseRegistration:
    """Find where the base of an arm stands.

    Args:
        chain: The arm.
        positions: Joint positions in the order of time [rad or m], shape (n, m).
        reference_T_marker: Poses of a body fixed to the tip, in the tracker or camera, at the same instants [m], shape
            (n, 4, 4).
        config: Limits.
        hand_eye: Limits of the first solution.

    Raises:
        InputError: Wrong shapes, or NaN.
        DegenerateGeometryError: Too few samples, or turns about one axis only.
    """
    config = config or BaseRegistrationConfig()
    q, seen = np.asarray(positions, float), np.asarray(reference_T_marker, float)
    if q.ndim != 2 or len(q) != len(seen) or q.shape[1] != len(chain):
        raise InputError(f'positions {q.shape} and poses {seen.shape} do not belong together', code='JOINTS_WRONG')
    if not np.isfinite(q).all():
        raise InputError('joint positions have NaN or Inf', code='NOT_FINITE')
    some = np.unique(np.linspace(0, len(q) - 1, min(len(q), DRAW)).astype(int)) if len(q) else np.array([], int)
    start = solve_robot_world(chain.forward(q[some]) if len(some) else np.zeros((0, 4, 4)), seen[some], hand_eye)
    problem = _Problem(chain, q, seen)
    first = problem.fit([], start.hand_T_eye, start.base_T_target, np.zeros(0))
    best = first
    chosen: list[int] = []
    hidden = problem.unseen(first)
    while room := config.max_offsets - len(chosen):
        free = [joint for joint in range(len(chain)) if joint not in chosen and joint not in hidden]
        better = next(filter(None, (problem.better(best, chosen, free, size, config) for size in (1, 2)[:room])), None)
        if better is None:
            break
        best, added = better
        chosen += added
    return _result(chain, best, first, chosen, hidden, len(q), config)


class _Problem:
    """Residuals and derivatives along the axes of the base."""

    def __init__(self, chain: SerialChain, positions: Array, seen: Array) -> None:
        self._chain, self._positions, self._seen = chain, positions, seen

    def fit(self, joints: list[int], marker: Array, base: Array, offsets: Array) -> _Fit:
        """Refine marker, base and the offsets of some joints together."""
        scale = np.array([1e-3] * 3 + [1e-2] * 3)
        for _ in range(ITERATIONS):
            error, slope = self._linear(joints, marker, base, offsets)
            scale = self._scale(error)
            weights = self._weights(error, scale)
            flat, rows = slope / scale[:, None], error / scale
            normal = np.einsum('n,nij,nik->jk', weights, flat, flat)
            right = np.einsum('n,nij,ni->j', weights, flat, rows)
            size = np.sqrt(np.maximum(np.diagonal(normal), 1e-12))
            damped = normal / np.outer(size, size) + 1e-10 * np.eye(len(size))
            step = np.linalg.solve(damped, right / size) / size
            marker = _moved(marker, step[:6])
            base = _moved(base, step[6:12])
            offsets = offsets + step[12:]
            if float(np.abs(step * size).max()) < 1e-6:
                break
        error, _ = self._linear(joints, marker, base, offsets)
        scale, covariance = self._scale(error), np.linalg.inv(damped) / np.outer(size, size)
        weights = self._weights(error, scale)
        count = 6.0 * len(error)
        cost = 3.0 * len(error) * 2.0 * float(np.log(scale[0]) + np.log(scale[3])) + len(step) * float(np.log(count))
        rms = np.sqrt(np.average(error**2, axis=0, weights=weights))
        repeats = max(_repeats(weights[:, None] * error[:, part]) for part in (slice(0, 3), slice(3, 6)))
        return _Fit(
            marker, base, offsets, repeats * covariance, cost, float(np.linalg.norm(rms[:3])),
            float(np.linalg.norm(rms[3:])), repeats,
        )  # fmt: skip

    def better(
        self, best: _Fit, chosen: list[int], free: list[int], size: int, config: BaseRegistrationConfig
    ) -> tuple[_Fit, list[int]] | None:
        """Return the best fit with so many joints more, and these joints; None where it gains too little.

        Two offsets may hide each other: what either leaves is alike over seconds, and counts as few samples.
        """
        trials = [
            (self.fit([*chosen, *added], best.marker, best.base, np.append(best.offsets, np.zeros(size))), [*added])
            for added in combinations(free, size)
        ]
        found = min(trials, key=lambda trial: trial[0].cost, default=None)
        if found is None or best.cost - found[0].cost < size * config.evidence * found[0].repeats:
            return None
        return found

    @staticmethod
    def _scale(error: Array) -> Array:
        """Return the noise per axis of positions and of rotations (6,), Huber's proposal 2 in two steps."""
        found = []
        for part in (error[:, :3], error[:, 3:]):
            length = np.linalg.norm(part, axis=1)
            sigma = max(float(np.median(length)) / 1.538, 1e-9)  # the median length of three normal numbers
            clipped = np.minimum(length, 1.73 * HUBER * sigma)
            found.append(max(float(np.sqrt(np.mean(clipped**2) / 3.0)), 1e-9))
        return np.repeat(found, 3)

    @staticmethod
    def _weights(error: Array, scale: Array) -> Array:
        size = np.sqrt(np.sum((error / scale) ** 2, axis=1) / 6.0)
        return np.asarray(np.minimum(1.0, HUBER / np.maximum(size, 1e-12)))

    def _linear(self, joints: list[int], marker: Array, base: Array, offsets: Array) -> tuple[Array, Array]:
        """Return the residuals measured − predicted (n, 6), and their slope by a step: prediction − measurement."""
        q = self._positions.copy()
        q[:, joints] += offsets
        tip, effect = self._chain.forward(q), self._chain.jacobian(q)
        predicted, measured = tip @ marker, base @ self._seen
        error = np.concatenate(
            [
                measured[:, :3, 3] - predicted[:, :3, 3],
                rotation_log(measured[:, :3, :3] @ np.swapaxes(predicted[:, :3, :3], 1, 2)),
            ],
            axis=1,
        )
        slope = np.zeros((len(q), 6, 12 + len(joints)))
        slope[:, :3, 0:3] = slope[:, 3:, 3:6] = tip[:, :3, :3]
        slope[:, :3, 6:9] = slope[:, 3:, 9:12] = -np.eye(3)
        slope[:, :3, 9:12] = cross_matrix(measured[:, :3, 3] - base[:3, 3])
        lever = cross_matrix(predicted[:, :3, 3] - tip[:, :3, 3])
        turned = effect[:, 3:, joints]
        slope[:, :3, 12:] = effect[:, :3, joints] - lever @ turned
        slope[:, 3:, 12:] = turned
        return error, slope

    def unseen(self, fit: _Fit) -> list[int]:
        """Return the joints whose effect base and marker can imitate."""
        joints = list(range(len(self._chain)))
        _, slope = self._linear(joints, fit.marker, fit.base, np.zeros(len(joints)))
        flat = (slope / np.array([[1e-3]] * 3 + [[1e-2]] * 3)).reshape(-1, slope.shape[2])
        basis, _ = np.linalg.qr(flat[:, :12])
        left = flat[:, 12:] - basis @ (basis.T @ flat[:, 12:])
        share = np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(flat[:, 12:], axis=0), 1e-12)
        return [joint for joint in joints if share[joint] < SEEN]


def _repeats(error: Array) -> float:
    """Return how many samples count as one: the integrated autocorrelation of residuals in the order of time (n, k)."""
    count = len(error)
    spectrum = np.abs(np.fft.rfft(error, 2 * count, axis=0)) ** 2
    alike = np.fft.irfft(spectrum, axis=0)[:count].sum(axis=1)
    if alike[0] <= 0.0:
        return 1.0
    pairs = (alike[: 2 * (count // 2)] / alike[0]).reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0.0)  # Geyer's initial positive sequence
    return max(1.0, 2.0 * float(pairs[: ends[0] if len(ends) else None].sum()) - 1.0)


def _moved(pose: Array, step: Array) -> Array:
    return make_transform(nearest_rotation(rotation_exp(step[3:]) @ pose[:3, :3]), pose[:3, 3] + step[:3])


def _result(
    chain: SerialChain,
    best: _Fit,
    first: _Fit,
    chosen: list[int],
    hidden: list[int],
    count: int,
    config: BaseRegistrationConfig,
) -> BaseRegistration:
    sigmas = np.sqrt(np.maximum(np.diagonal(best.covariance), 0.0))[12:]
    offsets = tuple(
        JointOffset(joint, chain.names[joint], float(value), float(sigma))
        for joint, value, sigma in zip(chosen, best.offsets, sigmas, strict=True)
    )
    reasons = [
        f'joint {offset.joint + 1} ({offset.name}) looks off: it reads {_size(chain, offset)} too '
        f'{"little" if offset.value > 0.0 else "much"}'
        for offset in offsets
    ]
    refused = best.position_rms > config.refuse_residual
    if best.position_rms > config.warn_residual:
        reasons.append(
            f'the residual is {best.position_rms * 1e3:.1f} mm RMS, limit {config.warn_residual * 1e3:g} mm: is the '
            'marker fixed to the tip link, and the model that of the arm?'
        )
    covariance = inverse_covariance(best.base, best.covariance[6:12, 6:12])
    if not np.isfinite(covariance).all():
        raise DegenerateGeometryError('the motion does not carry the registration', code='CALIBRATION_REFUSED')
    return BaseRegistration(
        inverse(best.base), 0.5 * (covariance + covariance.T), best.marker, best.covariance[:6, :6], offsets,
        tuple(chain.names[joint] for joint in hidden), best.position_rms, best.rotation_rms, first.position_rms, count,
        Verdict.REFUSE if refused else Verdict.WARN if reasons else Verdict.ACCEPT, tuple(reasons),
    )  # fmt: skip


def _size(chain: SerialChain, offset: JointOffset) -> str:
    if chain.is_prismatic[offset.joint]:
        return f'{abs(offset.value) * 1e3:.2f} ± {offset.sigma * 1e3:.2f} mm'
    return f'{np.degrees(abs(offset.value)):.2f} ± {np.degrees(offset.sigma):.2f}°'
