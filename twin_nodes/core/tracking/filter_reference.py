"""The pose filter in plain numpy, equation by equation: oracle of the kernels in tests and their peer in the bench.

State of a mode: position p, rotation R, velocities (v, ω) and accelerations (a, α), all in the axes of the tracker;
error (δp, δφ, δv, δω, δa, δα) with R = exp(δφ^) R̂, shape (18,). Motion: constant acceleration, driven by white jerk.
Two modes are mixed as interacting multiple models (Bar-Shalom, Li and Kirubarajan 2001, section 11.6.6); the change of
axes of the covariance by an update or a mixture, of second order in δφ, is left out.
"""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.filter import FilterOutcome, FilterResult, PoseFilterConfig

IDENTITY = np.eye(3)


@dataclass
class Mode:
    """Estimate of one mode.

    Args:
        p: Position [m], shape (3,).
        R: Rotation, shape (3, 3).
        rates: v, ω, a, α, shape (12,).
        P: Covariance of the error, shape (18, 18).
    """

    p: Array
    R: Array
    rates: Array
    P: Array

    def plus(self, delta: Array) -> 'Mode':
        """Return the estimate moved by an error vector (18,)."""
        return Mode(
            self.p + delta[:3],
            orthonormal(rotation_and_jacobian(delta[3:6])[0] @ self.R),
            self.rates + delta[6:],
            self.P,
        )

    def minus(self, other: 'Mode') -> Array:
        """Return the error vector (18,) that takes the other estimate to this one."""
        return np.concatenate([self.p - other.p, rotation_vector(self.R @ other.R.T), self.rates - other.rates])


def orthonormal(rotation: Array) -> Array:
    """Return the rotation after one Newton step towards orthonormal rows."""
    return np.asarray((1.5 * IDENTITY - 0.5 * rotation @ rotation.T) @ rotation)


def rotation_and_jacobian(vector: Array) -> tuple[Array, Array]:
    """Rotation and left Jacobian of a rotation vector (Barfoot 2017, eq. 7.14 and 7.77), for one vector at a time."""
    x, y, z = vector.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    hat = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    square = hat @ hat
    if angle < 1e-4:
        a, b, c = 1.0 - angle**2 / 6.0, 0.5 - angle**2 / 24.0, 1.0 / 6.0 - angle**2 / 120.0
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2
        c = (1.0 - a) / angle**2
    return IDENTITY + a * hat + b * square, IDENTITY + b * hat + c * square


def rotation_vector(rotation: Array) -> Array:
    """Rotation vector of one rotation by its quaternion (Shepperd 1978)."""
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = rotation.tolist()
    trace = r00 + r11 + r22
    if trace > 0.0:
        x, y, z, w = r21 - r12, r02 - r20, r10 - r01, 1.0 + trace
    elif r00 >= r11 and r00 >= r22:
        x, y, z, w = 1.0 + 2.0 * r00 - trace, r01 + r10, r02 + r20, r21 - r12
    elif r11 >= r22:
        x, y, z, w = r01 + r10, 1.0 + 2.0 * r11 - trace, r12 + r21, r02 - r20
    else:
        x, y, z, w = r02 + r20, r12 + r21, 1.0 + 2.0 * r22 - trace, r10 - r01
    sine = math.copysign(math.sqrt(x * x + y * y + z * z), w)
    scale = 2.0 / w if abs(sine) < 1e-12 * abs(w) else 2.0 * math.atan2(abs(sine), abs(w)) / sine
    return np.array([scale * x, scale * y, scale * z])


def process_noise(dt: float, jerk: float, angular_jerk: float) -> Array:
    """Covariance (18, 18) that white jerk adds in dt [s] to pose, velocity and acceleration."""
    axis = np.array(
        [
            [dt**5 / 20.0, dt**4 / 8.0, dt**3 / 6.0],
            [dt**4 / 8.0, dt**3 / 3.0, dt**2 / 2.0],
            [dt**3 / 6.0, dt**2 / 2.0, dt],
        ]
    )
    return np.kron(axis, np.diag([jerk**2] * 3 + [angular_jerk**2] * 3))


def mixture(mode: Mode, other: Mode, weight: float) -> Mode:
    """Moment-matched mixture of a mode and the other one with its weight."""
    delta = other.minus(mode)
    mixed = mode.plus(weight * delta)
    mixed.P = (1.0 - weight) * mode.P + weight * other.P + (weight * (1.0 - weight) * delta)[:, None] * delta
    return mixed


def ahead(mode: Mode, dt: float, jerk: float, angular_jerk: float) -> Mode:
    """Move a mode dt [s] ahead."""
    v, w, a, alpha = mode.rates.reshape(4, 3)
    turn = w * dt + 0.5 * dt**2 * alpha
    rotation, left = rotation_and_jacobian(turn)
    F = np.eye(18)
    F[:6, 6:12] = dt * np.eye(6)
    F[:6, 12:] = 0.5 * dt**2 * np.eye(6)
    F[6:12, 12:] = dt * np.eye(6)
    F[3:6, 3:6] = rotation
    F[3:6, 9:12] = dt * left
    F[3:6, 15:] = 0.5 * dt**2 * left
    P = F @ mode.P @ F.T + process_noise(dt, jerk, angular_jerk)
    rates = np.concatenate([v + dt * a, w + dt * alpha, a, alpha])
    return Mode(mode.p + dt * v + 0.5 * dt**2 * a, orthonormal(rotation @ mode.R), rates, 0.5 * (P + P.T))


class ReferencePoseFilter:
    """The filter for samples in order of their stamps.

    Args:
        config: Settings.
    """

    def __init__(self, config: PoseFilterConfig) -> None:
        self.config = config
        self._modes: list[Mode] = []
        self._brisk = 0.5
        self._stamp_ns = 0
        self._sample: Array = np.eye(4)
        self._gated = 0

    def add(self, stamp_ns: int, tracker_T_tool: Array, covariance: Array | None = None) -> FilterResult:
        """Take one measured pose; stamps must grow."""
        noise = self.config.noise_covariance() if covariance is None else covariance
        gap = stamp_ns - self._stamp_ns
        if not self._modes or gap > round(self.config.max_gap * NANOSECONDS):
            outcome, nis = self._start(tracker_T_tool, noise), 0.0
        else:
            outcome, nis = self._step(gap / NANOSECONDS, tracker_T_tool, noise)
        self._stamp_ns, self._sample = stamp_ns, tracker_T_tool
        likely = 1 if self._brisk > 0.5 else 0
        best = mixture(self._modes[likely], self._modes[1 - likely], self._brisk if likely == 0 else 1.0 - self._brisk)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = best.R, best.p
        return FilterResult(outcome, stamp_ns, pose, best.P[:6, :6], best.rates[:6], nis)

    def _start(self, pose: Array, noise: Array) -> FilterOutcome:
        c = self.config
        P = np.zeros((18, 18))
        P[:6, :6] = noise
        sigma = [c.start_speed, c.start_angular_rate, c.start_acceleration, c.start_angular_acceleration]
        P[range(6, 18), range(6, 18)] = np.repeat(sigma, 3) ** 2
        self._modes = [Mode(pose[:3, 3], pose[:3, :3], np.zeros(12), P) for _ in range(2)]
        self._brisk, self._gated = 0.5, 0
        return FilterOutcome.REINITIALISED

    def _predict(self, dt: float) -> tuple[list[Mode], float]:
        c = self.config
        switch = 0.5 * (1.0 - np.exp(-2.0 * dt / c.mode_dwell))
        brisk = self._brisk * (1.0 - switch) + (1.0 - self._brisk) * switch
        calm_mode, brisk_mode = self._modes
        mixed_calm = mixture(calm_mode, brisk_mode, self._brisk * switch / (1.0 - brisk))
        mixed_brisk = mixture(brisk_mode, calm_mode, (1.0 - self._brisk) * switch / brisk)
        return [
            ahead(mixed_calm, dt, c.calm_jerk, c.calm_angular_jerk),
            ahead(mixed_brisk, dt, c.brisk_jerk, c.brisk_angular_jerk),
        ], brisk

    def _step(self, dt: float, pose: Array, noise: Array) -> tuple[FilterOutcome, float]:
        before = self._modes[1 if self._brisk > 0.5 else 0].p
        self._modes, self._brisk = self._predict(dt)
        innovations = [np.concatenate([pose[:3, 3] - m.p, rotation_vector(pose[:3, :3] @ m.R.T)]) for m in self._modes]
        squares = [chi_square(m.P[:6, :6] + noise, y) for m, y in zip(self._modes, innovations, strict=True)]
        nis = min(squares)
        if nis > self.config.manoeuvre:
            near = int(squares[1] < squares[0])
            if self._outside(near, innovations[near], before, pose, noise, dt):
                return self._reject(pose, noise, dt), nis if self._gated else 0.0
            for mode, square in zip(self._modes, squares, strict=True):
                mode.P = mode.P * max(square / 6.0, 1.0)
        likelihood = np.empty(2)
        for index, y in enumerate(innovations):
            mode = self._modes[index]
            L = np.linalg.cholesky(mode.P[:6, :6] + noise)
            W, white = np.linalg.solve(L, mode.P[:6]), np.linalg.solve(L, y)
            self._modes[index] = mode.plus(W.T @ white)
            self._modes[index].P = mode.P - W.T @ W
            likelihood[index] = -0.5 * white @ white - np.log(np.diag(L)).sum()
        ratio = np.exp(np.clip(likelihood[0] - likelihood[1], -50.0, 50.0))
        self._brisk = float(self._brisk / (self._brisk + (1.0 - self._brisk) * ratio))
        self._gated = 0
        return FilterOutcome.ACCEPTED, nis

    def _outside(self, near: int, y: Array, before: Array, pose: Array, noise: Array, dt: float) -> bool:
        c = self.config
        if np.linalg.norm(pose[:3, 3] - before) > c.max_speed * dt + 8.0 * c.position_noise:
            return True
        reach = [0.5 * c.max_acceleration * dt**2] * 3 + [0.5 * c.max_angular_acceleration * dt**2] * 3
        return chi_square(self._modes[near].P[:6, :6] + noise + np.diag(np.square(reach)), y) > c.gate

    def _reject(self, pose: Array, noise: Array, dt: float) -> FilterOutcome:
        c = self.config
        distance = np.linalg.norm(pose[:3, 3] - self._sample[:3, 3])
        angle = np.linalg.norm(rotation_vector(pose[:3, :3] @ self._sample[:3, :3].T))
        agrees = distance <= c.max_speed * dt + 8.0 * c.position_noise
        agrees = agrees and angle <= c.max_angular_rate * dt + 8.0 * c.rotation_noise
        self._gated = self._gated + 1 if self._gated and agrees else 1
        return self._start(pose, noise) if self._gated >= c.regain else FilterOutcome.GATED


def chi_square(covariance: Array, vector: Array) -> float:
    """Return the squared Mahalanobis norm of a vector."""
    white = np.linalg.solve(np.linalg.cholesky(covariance), vector)
    return float(white @ white)
