"""Breathing with known truth: irregular breaths, markers on the skin, and a target inside that lags behind them."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class BreathingTrace:
    """A breathing motion.

    Args:
        times: Instants [s], shape (n,).
        markers: Measured positions of the skin markers [m], shape (n, k, 3).
        target: True positions of the target [m], shape (n, 3).
    """

    times: Array
    markers: Array
    target: Array


def breathing_trace(
    rng: np.random.Generator,
    *,
    seconds: float = 150.0,
    rate_hz: float = 10.0,
    markers: int = 2,
    noise: float = 1e-4,
    irregularity: float = 0.15,
) -> BreathingTrace:
    """Draw a trace: cos⁴-like breaths (Lujan et al. 1999) whose period and depth change from breath to breath.

    Args:
        rng: Source of chance.
        seconds: Length [s].
        rate_hz: Samples per second.
        markers: Number of skin markers.
        noise: Standard deviation of a marker per axis [m].
        irregularity: Relative standard deviation of period and depth.
    """
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    skin, organ = _breath(rng, times, seconds, irregularity)
    drift = 1e-3 * np.sin(2.0 * np.pi * times / 90.0 + rng.uniform(0.0, 6.0))
    ways = rng.normal(size=(markers, 3))
    ways *= rng.uniform(4e-3, 9e-3, (markers, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    places = rng.uniform(-0.1, 0.1, (markers, 3))
    positions = places + skin[:, None, None] * ways + drift[:, None, None] * np.array([0.0, 0.0, 1.0])
    path = np.array([1e-3, 3e-3, 12e-3])
    bend = np.array([5e-4, -1e-3, 0.0])
    target = np.array([0.02, -0.03, 0.05]) + organ[:, None] * path + organ[:, None] ** 2 * bend
    return BreathingTrace(times, positions + rng.normal(0.0, noise, positions.shape), target)


def _breath(rng: np.random.Generator, times: Array, seconds: float, irregularity: float) -> tuple[Array, Array]:
    """Depth of the breath on the skin and of the organ, which lags by a twelfth of a breath, each about 0 to 1."""
    count = int(seconds / 1.5) + 3
    periods = 4.0 * np.clip(rng.normal(1.0, irregularity, count), 0.5, 1.8)
    depths = np.clip(rng.normal(1.0, irregularity, count), 0.3, 1.8)
    starts = np.concatenate([[0.0], np.cumsum(periods)])
    phase = np.interp(times, starts, np.arange(count + 1.0))
    return _depth(phase, depths), _depth(np.maximum(phase - 1.0 / 12.0, 0.0), depths)


def _depth(phase: Array, depths: Array) -> Array:
    breath = phase.astype(int)
    depth: Array = depths[breath] * np.sin(np.pi * (phase - breath)) ** 4
    return depth
