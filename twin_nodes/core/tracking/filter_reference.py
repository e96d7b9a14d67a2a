"""The pose filter in plain numpy, equation by equation: oracle of the kernels in tests and their peer in the bench.

State of a mode: position p of the hand, rotation R, velocity v, acceleration a, tremor s with its quadrature u, angular
velocity ω and acceleration α, all in the axes of the tracker; the tool is at p + s. Error (δp, δv, δa, δs, δu, δφ, δω,
δα) with R = exp(δφ^) R̂, shape (24,). Motion: constant acceleration, driven by white jerk that is weaker across the path
than along it; s rings and fades. The modes are mixed as interacting multiple models (Bar-Shalom, Li and Kirubarajan
2001, section 11.6.6); the change of axes of the covariance by an update or a mixture, of second order in δφ, is left
out, and so is what a mixture would tie between position and rotation where no measurement ties them.
"""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.filter import FilterOutcome, FilterResult, PoseFilterConfig

IDENTITY = np.eye(3)
P, V, A, S, U, PHI, OMEGA, ALPHA = (slice(first, first + 3) for first in range(0, 24, 3))
H = np.zeros((6, 24))
H[:3, P] = H[:3, S] = H[3:, PHI] = IDENTITY
APART: Array = np.kron(np.eye(2), np.ones((15, 15)))[:24, :24].astype(np.float64)


@dataclass
class Mode:
    """Estimate of one mode.

    Args:
        p: Position of the hand [m], shape (3,).
        R: Rotation, shape (3, 3).
        linear: v, a, s, u, shape (12,).
        angular: ω, α, shape (6,).
        cov: Covariance of the error, shape (24, 24).
    """

    p: Array
    R: Array
    linear: Array
    angular: Array
    cov: Array

    def plus(self, delta: Array) -> 'Mode':
        """Return the estimate moved by an error vector (24,)."""
        return Mode(
            self.p + delta[:3],
            orthonormal(rotation_and_jacobian(delta[PHI])[0] @ self.R),
            self.linear + delta[3:15],
            self.angular + delta[18:],
            self.cov,
        )

    def minus(self, other: 'Mode') -> Array:
        """Return the error vector (24,) that takes the other estimate to this one."""
        turn = rotation_vector(self.R @ other.R.T)
        return np.concatenate([self.p - other.p, self.linear - other.linear, turn, self.angular - other.angular])

    def innovation(self, pose: Array) -> Array:
        """Return how a measured pose differs from this one, shape (6,)."""
        return np.concatenate([pose[:3, 3] - self.p - self.linear[6:9], rotation_vector(pose[:3, :3] @ self.R.T)])


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


def process_noise(config: PoseFilterConfig, mode: int, dt: float, velocity: Array) -> Array:
    """Covariance (24, 24) that a mode adds in dt [s] at a velocity [m/s]."""
    jerk, angular_jerk, tremor = config.modes()[mode]
    chain = np.array(
        [
            [dt**5 / 20.0, dt**4 / 8.0, dt**3 / 6.0],
            [dt**4 / 8.0, dt**3 / 3.0, dt**2 / 2.0],
            [dt**3 / 6.0, dt**2 / 2.0, dt],
        ]
    )
    square = velocity @ velocity
    bend = (1.0 - config.across**2) / (square + config.path_speed**2)
    spatial = bend * np.outer(velocity, velocity) + (1.0 - bend * square) * IDENTITY
    renewed = tremor**2 * (1.0 - math.exp(-4.0 * math.pi * config.tremor_width_hz * dt))
    Q = np.zeros((24, 24))
    Q[:9, :9] = np.kron(chain, jerk**2 * spatial)
    Q[9:15, 9:15] = renewed * np.eye(6)
    Q[15:, 15:] = np.kron(chain, angular_jerk**2 * IDENTITY)
    return Q


def ring(config: PoseFilterConfig, dt: float) -> Array:
    """Motion (2, 2) of a tremor and its quadrature over dt [s]."""
    angle = 2.0 * math.pi * config.tremor_rate_hz * dt
    fade = math.exp(-2.0 * math.pi * config.tremor_width_hz * dt)
    return fade * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def blend(mode: Mode, other: Mode, weight: float, tie: Array) -> Mode:
    """Moment-matched mixture of an estimate and another one with its weight."""
    delta = other.minus(mode)
    mixed = mode.plus(weight * delta)
    mixed.cov = tie * (
        (1.0 - weight) * mode.cov + weight * other.cov + (weight * (1.0 - weight) * delta)[:, None] * delta
    )
    return mixed


def mixture(modes: list[Mode], probability: Array, tie: Array) -> Mode:
    """Moment-matched mixture of all modes, taken at the most probable one."""
    likely = modes[int(np.argmax(probability))]
    deltas = np.array([mode.minus(likely) for mode in modes])
    mean = probability @ deltas
    mixed = likely.plus(mean)
    mixed.cov = tie * sum(
        w * (mode.cov + np.outer(d, d)) for w, mode, d in zip(probability, modes, deltas - mean, strict=True)
    )
    return mixed


def ahead(config: PoseFilterConfig, index: int, mode: Mode, dt: float) -> Mode:
    """Move a mode dt [s] ahead."""
    v, a, s, u = mode.linear.reshape(4, 3)
    w, alpha = mode.angular.reshape(2, 3)
    rotation, left = rotation_and_jacobian(w * dt + 0.5 * dt**2 * alpha)
    tremor = ring(config, dt)
    F = np.eye(24)
    F[P, V] = F[V, A] = F[OMEGA, ALPHA] = dt * IDENTITY
    F[P, A] = 0.5 * dt**2 * IDENTITY
    F[9:15, 9:15] = np.kron(tremor, IDENTITY)
    F[PHI, PHI], F[PHI, OMEGA], F[PHI, ALPHA] = rotation, dt * left, 0.5 * dt**2 * left
    velocity = v + dt * a
    cov = F @ mode.cov @ F.T + process_noise(config, index, dt, velocity)
    linear = np.concatenate([velocity, a, *(tremor @ [s, u])])
    angular = np.concatenate([w + dt * alpha, alpha])
    position = mode.p + dt * v + 0.5 * dt**2 * a
    return Mode(position, orthonormal(rotation @ mode.R), linear, angular, 0.5 * (cov + cov.T))


class ReferencePoseFilter:
    """The filter for samples in order of their stamps.

    Args:
        config: Settings.
    """

    def __init__(self, config: PoseFilterConfig) -> None:
        self.config = config
        self._modes: list[Mode] = []
        self._probability = np.full(5, 0.2)
        self._tie: Array = APART
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
        self._best = best = mixture(self._modes, self._probability, self._tie)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = best.R, best.p + best.linear[6:9]
        velocity = np.concatenate([best.linear[:3], best.angular[:3]])
        return FilterResult(outcome, stamp_ns, pose, H @ best.cov @ H.T, velocity, nis)

    def _start(self, pose: Array, noise: Array) -> FilterOutcome:
        c = self.config
        cov = np.zeros((24, 24))
        measured = np.r_[P, PHI]
        cov[np.ix_(measured, measured)] = noise
        for kind, sigma in (
            (V, c.start_speed), (A, c.start_acceleration), (OMEGA, c.start_angular_rate),
            (ALPHA, c.start_angular_acceleration),
        ):  # fmt: skip
            cov[kind, kind] = sigma**2 * IDENTITY
        self._modes = [Mode(pose[:3, 3], pose[:3, :3], np.zeros(12), np.zeros(6), cov) for _ in range(5)]
        self._probability, self._gated = np.full(5, 0.2), 0
        self._tie = np.ones((24, 24)) if noise[3:, :3].any() else APART
        return FilterOutcome.REINITIALISED

    def _predict(self, dt: float) -> None:
        """Mix and predict: as all changes of mode are equally likely, a mode takes in a share of the mixture."""
        stay = math.exp(-dt / self.config.mode_dwell * 5.0 / 4.0)
        change = (1.0 - stay) / 5.0
        self._probability = stay * self._probability + change
        mixed = [
            blend(mode, self._best, change / p, self._tie)
            for mode, p in zip(self._modes, self._probability, strict=True)
        ]
        self._modes = [ahead(self.config, index, mode, dt) for index, mode in enumerate(mixed)]

    def _step(self, dt: float, pose: Array, noise: Array) -> tuple[FilterOutcome, float]:
        if noise[3:, :3].any():
            self._tie = np.ones((24, 24))
        before = self._best.p + self._best.linear[6:9]
        self._predict(dt)
        innovations = [mode.innovation(pose) for mode in self._modes]
        squares = [chi_square(H @ m.cov @ H.T + noise, y) for m, y in zip(self._modes, innovations, strict=True)]
        nis = min(squares)
        if nis > self.config.manoeuvre:
            near = int(np.argmin(squares))
            if self._outside(near, innovations[near], before, pose, noise, dt):
                return self._reject(pose, noise, dt), nis if self._gated else 0.0
            for mode in self._modes:
                mode.cov = mode.cov * (nis / 6.0)
        likelihood = np.empty(5)
        for index, y in enumerate(innovations):
            mode = self._modes[index]
            L = np.linalg.cholesky(H @ mode.cov @ H.T + noise)
            W, white = np.linalg.solve(L, H @ mode.cov), np.linalg.solve(L, y)
            self._modes[index] = mode.plus(W.T @ white)
            self._modes[index].cov = mode.cov - W.T @ W
            likelihood[index] = -0.5 * white @ white - np.log(np.diag(L)).sum()
        self._probability = self._probability * np.exp(likelihood - likelihood.max())
        self._probability /= self._probability.sum()
        self._gated = 0
        return FilterOutcome.ACCEPTED, nis

    def _outside(self, near: int, y: Array, before: Array, pose: Array, noise: Array, dt: float) -> bool:
        c = self.config
        if np.linalg.norm(pose[:3, 3] - before) > c.max_speed * dt + 8.0 * c.position_noise:
            return True
        reach = [0.5 * c.max_acceleration * dt**2] * 3 + [0.5 * c.max_angular_acceleration * dt**2] * 3
        return chi_square(H @ self._modes[near].cov @ H.T + noise + np.diag(np.square(reach)), y) > c.gate

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
