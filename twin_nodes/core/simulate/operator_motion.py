"""Simulated operators: reaches of minimum jerk that overlap, are corrected, pause, tremble and stop.

Each operator has a style of its own: how slow, how rough, how long the pauses, whether a clutch cuts the motion. The
lengths and durations span direct work by hand and work under a delay of half a second, where hands go slowly.
Reaches after Flash and Hogan (1985), corrections as overlapping sub-movements (Meyer et al. 1988).
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array

_WORKSPACE = 0.12  # m, radius


@dataclass(frozen=True, eq=False)
class OperatorTrace:
    """Motion of the tip of a tool.

    Args:
        times: Ascending [s], shape (n,).
        truth: True positions [m], shape (n, 3).
        measured: The same with noise, and with the jitter of stamps [m], shape (n, 3).
    """

    times: Array
    truth: Array
    measured: Array


def operator_trace(
    rng: np.random.Generator, *, seconds: float = 60.0, rate_hz: float = 60.0, noise: float = 1e-4, jitter: float = 0.0
) -> OperatorTrace:
    """Draw one operator and a trace of motion.

    Args:
        rng: Source of randomness.
        seconds: Length of the trace.
        rate_hz: Samples a second.
        noise: RMS error of a measured position over three axes [m].
        jitter: Greatest delay of a sample against its stamp [s].
    """
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    truth = _reaches(rng, times)
    if rng.random() < 0.6:
        truth = _roughened(rng, times, truth)
    if rng.random() < 0.5:
        truth = _clutched(rng, truth, rate_hz)
    frequency, phase = rng.uniform(8.0, 10.0, 3), rng.uniform(0.0, 2.0 * np.pi, 3)
    truth = truth + rng.choice([0.0, 2e-5, 8e-5]) * np.sin(2.0 * np.pi * frequency * times[:, None] + phase)
    return measured_trace(rng, times, truth, noise=noise, jitter=jitter)


def measured_trace(
    rng: np.random.Generator, times: Array, truth: Array, *, noise: float, jitter: float
) -> OperatorTrace:
    """Measure true positions.

    Args:
        rng: Source of randomness.
        times: Ascending [s], shape (n,).
        truth: True positions [m], shape (n, 3).
        noise: RMS error of a measured position over three axes [m].
        jitter: Greatest delay of a sample against its stamp [s].
    """
    delayed = times - rng.uniform(0.0, jitter, len(times))
    measured = np.stack([np.interp(delayed, times, truth[:, axis]) for axis in range(3)], axis=1)
    return OperatorTrace(times, truth, measured + rng.normal(0.0, noise / np.sqrt(3.0), measured.shape))


def _reaches(rng: np.random.Generator, times: Array) -> Array:
    path, here, start = np.zeros((len(times), 3)), np.zeros(3), rng.uniform(0.0, 0.5)
    style, rest = rng.lognormal(0.55, 0.55), rng.choice([0.1, 0.4, 1.5])
    while start < times[-1]:
        length = rng.lognormal(np.log(0.03), 0.9)
        duration = style * rng.uniform(0.6, 1.5) * (0.3 + 1.1 * np.sqrt(length) + 8.0 * length * rng.random())
        way = rng.normal(size=3)
        step = length * way / np.linalg.norm(way)
        if np.linalg.norm(here + step) > _WORKSPACE:  # turn back to the middle
            step = -length * here / (np.linalg.norm(here) + 1e-9)
        moved, last = _reach(rng, times - start, step, duration)
        path += moved
        here = here + moved[-1] if moved[-1].any() else here + step
        pause = rng.exponential(rest) if rng.random() < 0.7 else -rng.uniform(0.0, 0.3) * duration
        start += max(last + pause, 0.1)
    return path


def _reach(rng: np.random.Generator, since: Array, step: Array, duration: float) -> tuple[Array, float]:
    """One reach of up to four overlapping parts [m], shape (n, 3), and when its last part is well under way [s]."""
    parts = int(rng.integers(1, 5)) if duration > 0.8 else 1
    shares = np.ones(1) if parts == 1 else rng.dirichlet([5.0, *[1.5] * (parts - 1)])
    moved, begin, last = np.zeros((len(since), 3)), 0.0, 0.0
    flat = rng.random() < 0.5
    for share in shares:
        part = duration * (0.5 + 0.5 * share) if parts > 1 else duration
        tau = np.clip((since - begin) / part, 0.0, 1.0) ** rng.uniform(0.7, 1.4)
        travelled = tau**3 * (10.0 - 15.0 * tau + 6.0 * tau**2)
        if flat:  # a stroke of more even speed
            travelled = 0.45 * travelled + 0.55 * tau**2 * (3.0 - 2.0 * tau)
        astray = rng.normal(0.0, 0.12 * float(np.linalg.norm(step)), 3)
        moved += travelled[:, None] * share * (step + astray)
        last = begin + 0.3 * part
        begin += part * rng.uniform(0.3, 0.8)
    return moved, last + 0.7 * duration


def _roughened(rng: np.random.Generator, times: Array, path: Array) -> Array:
    """Let the speed waver: the same way, walked at an uneven pace."""
    wave = np.sin(2.0 * np.pi * times[:, None] * rng.uniform(1.2, 4.0, 3) + rng.uniform(0.0, 6.0, 3)).mean(axis=1)
    pace = 1.0 + 1.7 * rng.choice([0.1, 0.25]) * wave
    warped = np.minimum(np.cumsum(pace) * (times[1] - times[0]), times[-1])
    return np.stack([np.interp(warped, times, path[:, axis]) for axis in range(3)], axis=1)


def _clutched(rng: np.random.Generator, path: Array, rate_hz: float) -> Array:
    """Stop the motion at once now and then, as a clutch does; it goes on from there."""
    steps, at = np.diff(path, axis=0, prepend=path[:1]), 0
    while at < len(steps):
        at += int(rng.exponential(6.0) * rate_hz) + 1
        held = int(rng.uniform(0.2, 1.5) * rate_hz)
        steps[at : at + held] = 0.0
        at += held
    return np.asarray(path[0] + np.cumsum(steps, axis=0))
