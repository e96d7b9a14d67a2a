"""Trials of the pose filter against known truth: motion, noise, and the figures that judge it."""

from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.filter import PoseFilter, PoseFilterConfig
from twin_nodes.core.tracking.filter_reference import process_noise

START_NS = 1_000 * NANOSECONDS


@dataclass(frozen=True)
class HandMotion:
    """A hand that reaches from point to point with minimum jerk (Flash and Hogan 1985), rests, turns and trembles.

    Args:
        reach: Shortest and longest reach [m].
        peak_speed: Least and greatest peak speed of a reach [m/s].
        rest: Shortest and longest rest between reaches [s].
        tremor: Amplitude of the 8 to 10 Hz tremor on each axis [m].
    """

    reach: tuple[float, float] = (0.05, 0.15)
    peak_speed: tuple[float, float] = (0.05, 0.1)
    rest: tuple[float, float] = (0.0, 0.3)
    tremor: float = 25e-6

    def draw(self, rng: np.random.Generator, steps: int, rate_hz: float) -> Array:
        """Return true poses tracker_T_tool (steps, 4, 4) [m]."""
        t = np.arange(steps) / rate_hz
        position, here, start = np.zeros((steps, 3)), np.zeros(3), 0.0
        while start < t[-1]:
            length, speed = rng.uniform(*self.reach), rng.uniform(*self.peak_speed)
            heading = rng.normal(size=3)
            step = length * heading / np.linalg.norm(heading)
            if np.linalg.norm(here + step) > max(0.2, length):  # turn back to the middle
                step = -length * here / np.linalg.norm(here)
            duration = 1.875 * length / speed
            tau = np.clip((t - start) / duration, 0.0, 1.0)[:, None]
            position += tau**3 * (10.0 - 15.0 * tau + 6.0 * tau**2) * step
            here = here + step
            start += duration + rng.uniform(*self.rest)
        frequency, phase = rng.uniform(8.0, 10.0, 3), rng.uniform(0.0, 2.0 * np.pi, 3)
        position += self.tremor * np.sin(2.0 * np.pi * t[:, None] * frequency + phase)
        turns = np.stack([0.3 * np.sin(1.3 * t), 0.4 * np.sin(0.9 * t + 1.0), 0.5 * np.sin(0.7 * t)], axis=1)
        return make_transform(rotation_exp(turns), position + np.array([0.1, -0.2, -1.2]))


@dataclass(frozen=True)
class Sweep:
    """A tool that sweeps to and fro without rest, each axis on its own, and turns.

    Args:
        amplitude: Greatest amplitude of an axis [m]; the least is 0.6 of it.
        rate_hz: Middle rate; those of the axes lie within 30 % of it.
    """

    amplitude: float
    rate_hz: float

    def draw(self, rng: np.random.Generator, steps: int, rate_hz: float) -> Array:
        """Return true poses tracker_T_tool (steps, 4, 4) [m]."""
        t = np.arange(steps)[:, None] / rate_hz
        amplitude, rate = self.amplitude * rng.uniform(0.6, 1.0, 3), self.rate_hz * rng.uniform(0.7, 1.3, 3)
        position = amplitude * np.sin(2.0 * np.pi * t * rate + rng.uniform(0.0, 2.0 * np.pi, 3))
        turns = np.array([0.3, 0.4, 0.5]) * np.sin(t * np.array([1.3, 0.9, 0.7]))
        return make_transform(rotation_exp(turns), position + np.array([0.1, -0.2, -1.2]))


def model_motion(config: PoseFilterConfig, rng: np.random.Generator, steps: int, rate_hz: float) -> Array:
    """Draw true poses (steps, 4, 4) from the very model of the filter: modes that switch, white jerk, tremor."""
    dt = 1.0 / rate_hz
    stay = np.exp(-dt / config.mode_dwell * 5.0 / 4.0)
    fade, angle = np.exp(-2.0 * np.pi * config.tremor_width_hz * dt), 2.0 * np.pi * config.tremor_rate_hz * dt
    ring = fade * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    velocity, angular_rate = rng.normal(size=(2, 3)) * np.array([[config.start_speed], [config.start_angular_rate]])
    acceleration = rng.normal(size=3) * config.start_acceleration
    angular_acceleration = rng.normal(size=3) * config.start_angular_acceleration
    position, rotation, tremor = rng.normal(size=3), rotation_exp(rng.normal(size=3)), np.zeros((2, 3))
    mode = int(rng.integers(5))
    poses = np.empty((steps, 4, 4))
    for step in range(steps):
        poses[step] = make_transform(rotation, position + tremor[0])
        mode = mode if rng.random() < stay else int(rng.integers(5))
        position = position + dt * velocity + 0.5 * dt**2 * acceleration
        turn = dt * angular_rate + 0.5 * dt**2 * angular_acceleration
        velocity, angular_rate = velocity + dt * acceleration, angular_rate + dt * angular_acceleration
        noise = process_noise(config, mode, dt, velocity)
        kick = (np.linalg.cholesky(noise + 1e-30 * np.eye(24)) @ rng.normal(size=24)).reshape(8, 3)
        position, velocity, acceleration = position + kick[0], velocity + kick[1], acceleration + kick[2]
        tremor = ring @ tremor + kick[3:5]
        rotation = rotation_exp(kick[5]) @ rotation_exp(turn) @ rotation
        angular_rate, angular_acceleration = angular_rate + kick[6], angular_acceleration + kick[7]
    return poses


def measure(config: PoseFilterConfig, rng: np.random.Generator, poses: Array) -> Array:
    """Return measured poses (n, 4, 4): the truth with the noise that the settings name."""
    noise = rng.normal(size=(len(poses), 6)) * np.sqrt(np.diag(config.noise_covariance()))
    return make_transform(rotation_exp(noise[:, 3:]) @ poses[:, :3, :3], poses[:, :3, 3] + noise[:, :3])


@dataclass(frozen=True)
class Trial:
    """The course of the filter over one motion.

    Args:
        times: Seconds from the first sample, shape (n,).
        truth: Positions [m], shape (n, 3).
        measured: Positions [m], shape (n, 3).
        filtered: Positions [m], shape (n, 3).
        nees: Normalised pose error squared, 6 degrees of freedom, shape (n,).
    """

    times: Array
    truth: Array
    measured: Array
    filtered: Array
    nees: Array

    def rms_ratio(self, settle: int = 60) -> float:
        """RMS position error of the filter over that of the measurement, without the first samples."""
        filtered = np.square(self.filtered - self.truth)[settle:].sum()
        return float(np.sqrt(filtered / np.square(self.measured - self.truth)[settle:].sum()))

    def lag_s(self, settle: int = 60) -> float:
        """Time by which the filter runs behind the truth [s]: the shift of the truth that fits it best.

        The shift is found by Gauss–Newton on the squared distance; negative when the filter runs ahead.
        """
        shift = 0.0
        inner = slice(settle, -settle)
        for _ in range(5):
            moved = np.stack([np.interp(self.times - shift, self.times, axis) for axis in self.truth.T], axis=1)
            slope = np.gradient(moved, self.times, axis=0)
            shift -= float(((self.filtered - moved) * slope)[inner].sum() / np.square(slope[inner]).sum())
        return shift


def run_trial(config: PoseFilterConfig, rng: np.random.Generator, poses: Array, rate_hz: float) -> Trial:
    """Measure a motion with noise and filter it."""
    measured = measure(config, rng, poses)
    filter_ = PoseFilter(config)
    filtered, nees = np.empty((len(poses), 3)), np.empty(len(poses))
    for index, pose in enumerate(measured):
        result = filter_.add(START_NS + round(index * NANOSECONDS / rate_hz), pose)
        error = pose_error(result.tracker_T_tool, poses[index])
        filtered[index] = result.tracker_T_tool[:3, 3]
        nees[index] = error @ np.linalg.solve(result.covariance, error)
    return Trial(np.arange(len(poses)) / rate_hz, poses[:, :3, 3], measured[:, :3, 3], filtered, nees)


def mean_nees(config: PoseFilterConfig, *, runs: int, steps: int, seed: int = 1, rate_hz: float = 60.0) -> Array:
    """Return the NEES of each step (steps,), averaged over seeded runs on motion drawn from the model.

    The model knows no greatest speed, so that gate is opened; all other settings hold.
    """
    config = replace(config, max_speed=100.0)
    total = np.zeros(steps)
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        total += run_trial(config, rng, model_motion(config, rng, steps, rate_hz), rate_hz).nees
    return total / runs
