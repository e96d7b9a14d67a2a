"""Measures of one trial: how far, how long, how smooth, how much of it at rest, how hard."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from twin_nodes.core.config import setting
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS

_ORDER = 4  # of the polynomial whose third derivative is the jerk


@dataclass(frozen=True)
class SkillConfig:
    """How a motion is measured."""

    window: float = setting(
        'Length of the polynomial that smooths the path before its derivatives are taken.', 0.25, unit='s',
        minimum=0.02, maximum=2.0,
    )  # fmt: skip
    max_gap: float = setting(
        'A longer gap parts the path: nothing is counted across it.', 0.3, unit='s', minimum=0.02, maximum=10.0
    )
    idle_speed: float = setting(
        'Below this speed the tool counts as at rest.', 0.005, unit='m/s', minimum=1e-5, maximum=1.0
    )
    force_peak: float = setting(
        'A force above this is a peak, until it falls below half of it.', 2.0, unit='N', minimum=0.01, maximum=1000.0
    )


@dataclass(frozen=True, eq=False)
class MotionMeasures:
    """What one tool did.

    Args:
        time: From the first to the last sample [s].
        tracked: Time in which it was tracked without a gap [s].
        path_length: Length of the smoothed path [m].
        economy: Straight way from start to end over the path length, 0 to 1.
        mean_speed: Path length over the tracked time [m/s].
        peak_speed: Greatest speed [m/s].
        smoothness: Log dimensionless jerk, −ln(T³/v² ∫‖jerk‖² dt); nearer to zero is smoother.
        idle_share: Share of the tracked time at rest, 0 to 1.
        gaps: Number of gaps.
    """

    time: float
    tracked: float
    path_length: float
    economy: float
    mean_speed: float
    peak_speed: float
    smoothness: float
    idle_share: float
    gaps: int


@dataclass(frozen=True)
class ForceMeasures:
    """What one tool pressed: peak and mean force [N], impulse [N s], and how often it rose above the limit."""

    peak: float
    mean: float
    impulse: float
    peaks: int


def measure_motion(stamps_ns: NDArray[np.int64], positions: Array, config: SkillConfig) -> MotionMeasures:
    """Measure the path of one tool.

    The path is brought to even steps of its median period, smoothed by a Savitzky-Golay polynomial of degree 4, and
    its jerk is the third derivative of that polynomial (log dimensionless jerk: Hogan and Sternad 2009, eq. 9).

    Args:
        stamps_ns: Ascending stamps, shape (n,).
        positions: Positions in a fixed frame [m], shape (n, 3).
        config: Smoothing, gaps and limits.

    Raises:
        InputError: for stamps that do not ascend, values that are not finite, or a path too short to measure.
    """
    stamps_ns, positions = np.asarray(stamps_ns), np.asarray(positions, dtype=float)
    _check(stamps_ns, positions, 3)
    times = (stamps_ns - stamps_ns[0]) / NANOSECONDS
    period = float(np.median(np.diff(times)))
    samples = max(round(config.window / period) | 1, _ORDER + 3)
    breaks = np.flatnonzero(np.diff(times) > max(config.max_gap, 2.0 * period)) + 1
    parts = [
        _Part.of(times[part], positions[part], period, samples)
        for part in np.split(np.arange(len(times)), breaks)
        if times[part[-1]] - times[part[0]] >= samples * period
    ]
    if not parts:
        raise InputError(
            f'no stretch of {samples * period:.2f} s without a gap in {len(times)} samples over {times[-1]:.2f} s: '
            'record longer, or make window shorter'
        )
    tracked = sum(part.duration for part in parts)
    length = sum(part.length for part in parts)
    peak = max(float(part.speed.max()) for part in parts)
    jerk = sum(part.squared_jerk for part in parts)
    direct = float(np.linalg.norm(positions[-1] - positions[0]))
    idle = sum(float(np.sum(part.speed < config.idle_speed)) * period for part in parts)
    return MotionMeasures(
        time=float(times[-1]),
        tracked=tracked,
        path_length=length,
        economy=min(direct / length, 1.0) if length > 0.0 else 1.0,
        mean_speed=length / tracked,
        peak_speed=peak,
        smoothness=-float(np.log(tracked**3 / peak**2 * jerk)) if peak > 0.0 and jerk > 0.0 else 0.0,
        idle_share=min(idle / tracked, 1.0),
        gaps=len(breaks),
    )


def measure_force(stamps_ns: NDArray[np.int64], forces: Array, config: SkillConfig) -> ForceMeasures:
    """Measure the forces of one tool [N], shape (n, 3), at ascending stamps, shape (n,).

    Raises:
        InputError: for stamps that do not ascend, or values that are not finite.
    """
    stamps_ns, forces = np.asarray(stamps_ns), np.asarray(forces, dtype=float)
    _check(stamps_ns, forces, 2)
    size = np.linalg.norm(forces, axis=1)
    steps = np.diff(stamps_ns) / NANOSECONDS
    steps = np.where(steps > config.max_gap, 0.0, steps)
    impulse = float(np.sum(0.5 * (size[1:] + size[:-1]) * steps))
    covered = float(steps.sum())
    return ForceMeasures(
        float(size.max()), impulse / covered if covered else float(size.mean()), impulse, _peaks(size, config)
    )


def _peaks(size: Array, config: SkillConfig) -> int:
    """Times that a force rises above the limit, each until it falls below half of it."""
    count, above = 0, False
    for value in size:
        if not above and value > config.force_peak:
            count, above = count + 1, True
        elif above and value < 0.5 * config.force_peak:
            above = False
    return count


def _check(stamps_ns: NDArray[np.int64], values: Array, least: int) -> None:
    if len(stamps_ns) < least or values.shape != (len(stamps_ns), 3):
        raise InputError(f'{len(stamps_ns)} stamps and values of shape {values.shape}: need at least {least} of (n, 3)')
    if (np.diff(stamps_ns) <= 0).any():
        raise InputError(f'stamps must ascend; {int((np.diff(stamps_ns) <= 0).sum())} do not')
    if not np.isfinite(values).all():
        raise InputError(f'{int((~np.isfinite(values).all(axis=1)).sum())} samples are not finite')


@dataclass(frozen=True, eq=False)
class _Part:
    """One stretch without a gap: duration [s], length [m], speeds [m/s], integral of the squared jerk [m²/s⁵]."""

    duration: float
    length: float
    speed: Array
    squared_jerk: float

    @staticmethod
    def of(times: Array, positions: Array, period: float, samples: int) -> '_Part':
        grid = np.arange(times[0], times[-1] + 0.5 * period, period)
        even = np.stack([np.interp(grid, times, positions[:, axis]) for axis in range(3)], axis=1)
        speed = np.linalg.norm(savgol_filter(even, samples, _ORDER, deriv=1, delta=period, axis=0), axis=1)
        smooth = savgol_filter(even, samples, _ORDER, axis=0)
        jerk = savgol_filter(even, samples, _ORDER, deriv=3, delta=period, axis=0)
        length = float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).sum())
        return _Part(float(grid[-1] - grid[0]), length, speed, float(np.sum(jerk**2) * period))
