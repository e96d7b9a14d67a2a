"""The time offset between two streams that see the same rigid body move, from the motion itself.

First the speeds are correlated over all lags (angular speed is the same wherever on the body it is measured), then the
rigid tie and the offset are fitted together. The offset is what must be added to the stamps of the second stream to
bring them onto the clock of the first.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.robot_world_model import select
from twin_nodes.core.calibration.temporal_correlation import Peak, correlate, find_peak
from twin_nodes.core.calibration.temporal_refine import (
    REFUSED,
    Fit,
    Paired,
    fit_ties,
    pair_streams,
    start_from_motion,
    without_rests,
)
from twin_nodes.core.calibration.temporal_stream import Mask, PoseStream, speed_signal
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array, rotation_log
from twin_nodes.core.stamps import NANOSECONDS

CONFIDENCE = 1.959964  # of a 95 % interval, in sigma
_LEAST_PERIODS = 3.0
_MAX_GRID = 1 << 22  # points: eleven hours at 10 ms


@dataclass(frozen=True)
class TemporalConfig:
    """How a time offset is sought, and when the motion does not carry one."""

    min_overlap: float = setting('Shortest common recording [s].', 5.0, unit='s', minimum=0.5, maximum=3600.0)
    min_overlap_share: float = setting(
        'Shortest common recording as a share of the shorter stream.', 0.3, minimum=0.05, maximum=1.0
    )
    max_offset: float = setting(
        'Largest offset that is looked for; 0 for any, as between clocks that were never set.', 0.0, unit='s',
        minimum=0.0, maximum=1e9,
    )  # fmt: skip
    grid: float = setting('Step of the speed signals.', 0.01, unit='s', minimum=0.001, maximum=0.1)
    window: float = setting('Time over which speeds are taken.', 0.1, unit='s', minimum=0.01, maximum=1.0)
    max_gap: float = setting('Longest gap that is interpolated across.', 0.12, unit='s', minimum=0.001, maximum=1.0)
    min_correlation: float = setting(
        'Correlation of the speeds below which the streams have no motion in common.', 0.5, minimum=0.1, maximum=0.99
    )
    max_ambiguity: float = setting(
        'Unexplained variance at the peak over that at its rival, above which the motion repeats itself too much.',
        0.7, minimum=0.01, maximum=1.0,
    )  # fmt: skip
    min_turn: float = setting('Rotation below which there is none.', 0.10, unit='rad', minimum=0.0, maximum=3.1)
    min_travel: float = setting('Travel below which there is none.', 0.01, unit='m', minimum=0.0, maximum=10.0)
    warn_sigma: float = setting('Sigma above which it is doubtful.', 0.001, unit='s', minimum=0.0, maximum=1.0)
    refuse_sigma: float = setting('Sigma above which it is refused.', 0.01, unit='s', minimum=0.0, maximum=1.0)
    warn_outliers: float = setting('Share of outliers above which it is doubtful.', 0.2, minimum=0.0, maximum=1.0)
    refuse_outliers: float = setting('Share of outliers above which it is refused.', 0.45, minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        if self.refuse_sigma < self.warn_sigma:
            raise ConfigError(f'refuse_sigma={self.refuse_sigma} s must not be below warn_sigma={self.warn_sigma} s')
        if self.refuse_outliers < self.warn_outliers:
            raise ConfigError(
                f'refuse_outliers={self.refuse_outliers} must not be below warn_outliers={self.warn_outliers}'
            )


@dataclass(frozen=True, eq=False)
class OffsetResult:
    """A time offset and how far it can be trusted.

    Args:
        offset_ns: What is added to the stamps of the second stream to bring them onto the clock of the first.
        sigma: Its standard deviation [s].
        interval_ns: Its 95 % confidence interval.
        coarse_ns: What the correlation of the speeds alone says.
        correlation: Pearson's coefficient of the speeds there.
        ambiguity: Near 1 when another lag explains the motion as well; `TemporalConfig.max_ambiguity`.
        overlap: Time that both streams have in common [s].
        residual_rotation: Median angle that is left between the streams [rad]; 0 for positions.
        residual_position: Median distance that is left [m]; 0 for poses, whose lever is not sought here.
        jitter: Standard deviation of the difference of the stamps' errors [s].
        pairs: Pairs compared.
        outliers: Pairs left out.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    offset_ns: int
    sigma: float
    interval_ns: tuple[int, int]
    coarse_ns: int
    correlation: float
    ambiguity: float
    overlap: float
    residual_rotation: float
    residual_position: float
    jitter: float
    pairs: int
    outliers: int
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def offset(self) -> float:
        """The offset [s]."""
        return self.offset_ns / NANOSECONDS


def estimate_offset(first: PoseStream, second: PoseStream, config: TemporalConfig | None = None) -> OffsetResult:
    """Find the time offset of two streams of one rigid body, seen by two devices.

    Args:
        first: Poses of one part of the body in a fixed frame, or positions of one point.
        second: Poses of another part in another fixed frame, or positions of the same point.
        config: Limits.

    Raises:
        DegenerateGeometryError: The motion does not carry an offset; the message says what is missing.
    """
    config = config or TemporalConfig()
    coarse_ns, peak = find_coarse_offset(first, second, config)
    fit = refine_offset(first, second, coarse_ns, config)
    sigma = float(np.sqrt(fit.covariance[-1, -1]))
    offset_ns = coarse_ns + round(fit.ties.shift * NANOSECONDS)
    half = round(CONFIDENCE * sigma * NANOSECONDS)
    outliers = int((~fit.keep).sum())
    poses = _use_rotation(first, second)
    lengths = np.linalg.norm(fit.errors[fit.keep][:, 3:] if poses else fit.errors[fit.keep][:, :3], axis=1)
    left = float(np.median(lengths))
    verdict, reasons = _judge(sigma, outliers / len(fit.keep), fit.ties.shift, config)
    return OffsetResult(
        offset_ns=offset_ns,
        sigma=sigma,
        interval_ns=(offset_ns - half, offset_ns + half),
        coarse_ns=coarse_ns,
        correlation=peak.coefficient,
        ambiguity=peak.ambiguity,
        overlap=peak.overlap * config.grid,
        residual_rotation=left if poses else 0.0,
        residual_position=0.0 if poses else left,
        jitter=fit.noise.jitter,
        pairs=len(fit.keep),
        outliers=outliers,
        verdict=verdict,
        reasons=reasons,
    )


def find_coarse_offset(first: PoseStream, second: PoseStream, config: TemporalConfig) -> tuple[int, Peak]:
    """Return the offset [ns] at which the speeds correlate best, and the peak.

    Raises:
        DegenerateGeometryError: No motion, no lag, too short an overlap, or several lags alike.
    """
    angular = _use_rotation(first, second)
    for name, stream in (('first', first), ('second', second)):
        _need_sane_stamps(stream, name, config)
        _need_motion(stream, name, angular, config)
    signals = [_signal(stream, angular, config) for stream in (first, second)]
    shorter = min(first.duration, second.duration)
    wanted = max(config.min_overlap, config.min_overlap_share * shorter)
    if shorter < wanted:
        raise DegenerateGeometryError(
            f'the shorter stream lasts {shorter:.1f} s, {wanted:.1f} s are needed: record for longer', code=REFUSED
        )
    base_ns = int(first.stamps_ns[0]) - int(second.stamps_ns[0])
    correlation = correlate(*signals[0], *signals[1], min_overlap=round(wanted / config.grid))
    if config.max_offset > 0.0:
        total = base_ns / NANOSECONDS + correlation.lags * config.grid
        correlation.coefficients[np.abs(total) > config.max_offset] = -1.0
    peak = find_peak(correlation)
    if peak is None or peak.coefficient < config.min_correlation:
        best = 0.0 if peak is None else peak.coefficient
        raise DegenerateGeometryError(
            f'the speeds of the two streams correlate by {best:.2f} at best, {config.min_correlation:g} is needed: '
            'do both see the same rigid body, at the same time? Move it at changing speed',
            code=REFUSED,
        )
    if peak.ambiguity > config.max_ambiguity:
        apart = abs(peak.lag - peak.rival_lag) * config.grid
        raise DegenerateGeometryError(
            f'the motion repeats itself: offsets {apart:.2f} s apart fit alike (correlation {peak.coefficient:.3f} and '
            f'{peak.rival_coefficient:.3f}); move without a rhythm, or limit max_offset',
            code=REFUSED,
        )
    return base_ns + round(peak.lag * config.grid * NANOSECONDS), peak


def refine_offset(first: PoseStream, second: PoseStream, coarse_ns: int, config: TemporalConfig) -> Fit:
    """Fit the rigid tie and the rest of the offset together, starting from the coarse one.

    Raises:
        DegenerateGeometryError: The streams do not move as one rigid body, or sigma is above its limit.
    """
    rotation = _use_rotation(first, second)

    def pair(shift: float) -> Paired:
        return without_rests(pair_streams(first, second, coarse_ns, shift, max_gap=config.max_gap))

    chosen = select(position=not rotation, rotation=rotation, offset=True)
    wanted = round(_LEAST_PERIODS / max(first.period, second.period))
    paired = pair(0.0)
    if len(paired.stamps_ns) < wanted:
        raise DegenerateGeometryError(
            f'only {len(paired.stamps_ns)} of {wanted} samples lie outside gaps: record without interruption',
            code=REFUSED,
        )
    fit = fit_ties(pair, start_from_motion(paired, has_rotation=rotation), chosen, min_pairs=wanted)
    sigma = float(np.sqrt(fit.covariance[-1, -1]))
    if not 0.0 < sigma <= config.refuse_sigma:
        raise DegenerateGeometryError(
            f'the offset is known to ±{sigma * 1e3:.1f} ms only, limit {config.refuse_sigma * 1e3:g} ms: turn faster '
            'and change direction more often',
            code=REFUSED,
        )
    return fit


def _use_rotation(first: PoseStream, second: PoseStream) -> bool:
    return first.has_rotation and second.has_rotation


def _signal(stream: PoseStream, angular: bool, config: TemporalConfig) -> tuple[Array, Mask]:
    epoch = int(stream.stamps_ns[0])
    grid = np.asarray(np.arange(int(stream.duration / config.grid) + 1) * config.grid, float)
    gap = max(config.max_gap, 3.0 * stream.period)
    return speed_signal(
        stream, grid, epoch, window=max(config.window, 2.0 * stream.period), max_gap=gap, angular=angular
    )


def _need_sane_stamps(stream: PoseStream, name: str, config: TemporalConfig) -> None:
    longest = _MAX_GRID * config.grid
    if stream.duration > longest:
        raise DegenerateGeometryError(
            f'the {name} stream spans {stream.duration:.3g} s with {len(stream.stamps_ns)} samples, limit '
            f'{longest:.3g} s: is a stamp wrong, such as 0?',
            code=REFUSED,
        )


def _need_motion(stream: PoseStream, name: str, angular: bool, config: TemporalConfig) -> None:
    if angular:
        turns = rotation_log(stream.poses[0, :3, :3].T @ stream.poses[:, :3, :3])
        turn = float(np.quantile(np.linalg.norm(turns, axis=1), 0.95))
        if turn < config.min_turn:
            raise DegenerateGeometryError(
                f'the {name} stream turns by {np.degrees(turn):.1f}° of {np.degrees(config.min_turn):.0f}°: turn the '
                'body, a shift alone does not show in both streams',
                code=REFUSED,
            )
        return
    travel = float(np.quantile(np.linalg.norm(stream.poses[:, :3, 3] - stream.poses[0, :3, 3], axis=1), 0.95))
    if travel < config.min_travel:
        raise DegenerateGeometryError(
            f'the {name} stream moves by {travel * 1e3:.1f} mm of {config.min_travel * 1e3:.0f} mm: move the point',
            code=REFUSED,
        )


def _judge(sigma: float, outliers: float, shift: float, config: TemporalConfig) -> tuple[Verdict, tuple[str, ...]]:
    reasons = []
    if sigma > config.warn_sigma:
        reasons.append(f'sigma {sigma * 1e3:.2f} ms is above {config.warn_sigma * 1e3:g} ms: turn faster, for longer')
    if outliers > config.warn_outliers:
        reasons.append(f'{outliers * 100.0:.0f} % of the pairs do not fit one rigid body')
    if abs(shift) > config.window:
        reasons.append(
            f'the fit moved the offset by {shift * 1e3:.0f} ms away from the correlation of the speeds, more than '
            f'{config.window * 1e3:g} ms'
        )
    verdict = Verdict.ACCEPT if not reasons else Verdict.WARN
    return (Verdict.REFUSE if outliers > config.refuse_outliers else verdict), tuple(reasons)
