"""Hand-eye calibration: where an eye (camera, second marker) sits on a hand (robot flange, marker body).

Two ways: `solve_hand_eye` takes relative motions, A X = X B, and needs no fixed frames; `solve_robot_world` and
`calibrate_streams` of `robot_world` take poses, A X = Z B, and tell where the target stands too.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.hand_eye_closed import consensus_start, park_martin
from twin_nodes.core.calibration.robot_world_model import Selection
from twin_nodes.core.calibration.temporal_refine import Fit, Paired, fit_ties
from twin_nodes.core.calibration.temporal_stream import Stamps
from twin_nodes.core.calibration.verdict import Verdict as Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, nearest_rotation, rotation_log
from twin_nodes.core.stamps import NANOSECONDS

REFUSED = 'CALIBRATION_REFUSED'
# A sinusoid of standard deviation σ goes from −√2 σ to √2 σ.
_PEAK_TO_PEAK = 2.0 * np.sqrt(2.0)


@dataclass(frozen=True)
class HandEyeConfig:
    """When a hand-eye calibration is good enough."""

    min_pairs: int = setting('Fewer poses are refused.', 10, minimum=4, maximum=100000)
    min_span: float = setting(
        'Turn about the second axis below which there is no answer.', 0.05, unit='rad', minimum=0.0, maximum=3.1
    )
    min_span_to_noise: float = setting(
        'The same as a multiple of the peak-to-peak rotation noise of a pair.', 2.0, minimum=0.0, maximum=100.0
    )
    good_span: float = setting(
        'Turn about the second axis below which it is doubtful.', 0.5, unit='rad', minimum=0.0, maximum=3.1
    )
    warn_position_sigma: float = setting(
        'Position uncertainty above which it is doubtful.', 0.001, unit='m', minimum=0.0, maximum=1.0
    )
    warn_rotation_sigma: float = setting(
        'Rotation uncertainty above which it is doubtful.', 0.0035, unit='rad', minimum=0.0, maximum=1.0
    )
    refuse_position_sigma: float = setting(
        'Position uncertainty above which it is refused.', 0.01, unit='m', minimum=0.0, maximum=1.0
    )
    refuse_rotation_sigma: float = setting(
        'Rotation uncertainty above which it is refused.', 0.035, unit='rad', minimum=0.0, maximum=1.0
    )
    warn_residual: float = setting(
        'Median position residual above which it is doubtful.', 0.01, unit='m', minimum=0.0, maximum=1.0
    )
    warn_outliers: float = setting('Share of outliers above which it is doubtful.', 0.2, minimum=0.0, maximum=1.0)
    refuse_outliers: float = setting('Share of outliers above which it is refused.', 0.4, minimum=0.0, maximum=1.0)
    max_gap: float = setting(
        'Longest gap of a stream that is interpolated across.', 0.12, unit='s', minimum=0.001, maximum=1.0
    )

    def __post_init__(self) -> None:
        for warn, refuse in (
            ('min_span', 'good_span'),
            ('warn_position_sigma', 'refuse_position_sigma'),
            ('warn_rotation_sigma', 'refuse_rotation_sigma'),
            ('warn_outliers', 'refuse_outliers'),
        ):
            if getattr(self, refuse) < getattr(self, warn):
                raise ConfigError(f'{refuse}={getattr(self, refuse)} must not be below {warn}={getattr(self, warn)}')


@dataclass(frozen=True, eq=False)
class HandEyeResult:
    """The ties and how far they can be trusted.

    Args:
        hand_T_eye: X [m], shape (4, 4).
        base_T_target: Z [m], shape (4, 4); for relative motions it is X.
        joint_covariance: Of (X, Z), or of X alone for relative motions, in the convention of
            `core.geometry.covariance`, shape (12, 12) or (6, 6).
        offset_ns: What is added to the stamps of the eye to bring them onto the clock of the hand; 0 without stamps.
        offset_sigma: Its standard deviation [s]; 0 when it was given.
        position_residuals: Distance between both ways to the eye [m], shape (n,), outliers too.
        rotation_residuals: Angle between them [rad], shape (n,).
        noise: Covariance of a pair at rest, in the axes of the eye, shape (6, 6).
        jitter: Standard deviation of the difference of the stamps' errors [s].
        stamps_ns: Of the pairs on the clock of the hand, or their numbers, shape (n,).
        outliers: Indices of the pairs that were left out.
        turn: Peak-to-peak turn about the axis turned most [rad].
        span: The same about the axis turned second most; it decides what can be known.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    hand_T_eye: Array
    base_T_target: Array
    joint_covariance: Array
    offset_ns: int
    offset_sigma: float
    position_residuals: Array
    rotation_residuals: Array
    noise: Array
    jitter: float
    stamps_ns: Stamps
    outliers: tuple[int, ...]
    turn: float
    span: float
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def covariance(self) -> Array:
        """Covariance of hand_T_eye, shape (6, 6)."""
        return self.joint_covariance[:6, :6]

    @property
    def target_covariance(self) -> Array:
        """Covariance of base_T_target, shape (6, 6); for relative motions that of hand_T_eye."""
        return self.joint_covariance[-6:, -6:]

    def figures(self) -> dict[str, float]:
        """Return the error figures, each key ending in its unit, as result files hold them."""
        used = np.ones(len(self.stamps_ns), dtype=bool)
        used[list(self.outliers)] = False
        return {
            'median_residual_m': float(np.median(self.position_residuals)),
            'median_residual_rad': float(np.median(self.rotation_residuals)),
            'rms_residual_m': float(np.sqrt(np.mean(self.position_residuals[used] ** 2))),
            'rms_residual_rad': float(np.sqrt(np.mean(self.rotation_residuals[used] ** 2))),
            'time_offset_ns': float(self.offset_ns),
            'time_offset_sigma_s': self.offset_sigma,
            'stamp_jitter_s': self.jitter,
            'turn_rad': self.turn,
            'second_axis_rad': self.span,
            'pairs_count': float(len(self.stamps_ns)),
            'outliers_count': float(len(self.outliers)),
        }

    @property
    def position_sigma(self) -> float:
        """Root mean square length of the position error of hand_T_eye [m]."""
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))

    @property
    def rotation_sigma(self) -> float:
        """Root mean square angle of the rotation error of hand_T_eye [rad]."""
        return float(np.sqrt(np.trace(self.covariance[3:, 3:])))


def solve_hand_eye(hand_motions: Array, eye_motions: Array, config: HandEyeConfig | None = None) -> HandEyeResult:
    """Solve A X = X B for relative motions measured independently of one another.

    Args:
        hand_motions: A: pose of the hand after a motion in the hand before it [m], shape (n, 4, 4).
        eye_motions: B: the same of the eye, shape (n, 4, 4).
        config: Limits.

    Raises:
        InputError: Wrong shapes, or NaN.
        DegenerateGeometryError: Too few motions, or turns about one axis only.
    """
    config = config or HandEyeConfig()
    hand, eye = checked_poses(hand_motions, eye_motions, config)
    turn, span = need_two_axes(rotation_log(hand[:, :3, :3]), rotation_log(eye[:, :3, :3]), config)
    start = consensus_start(hand, eye, park_martin)
    paired = Paired(hand, eye, None, np.arange(len(hand), dtype=np.int64), 0.0)
    chosen = Selection(np.arange(6), np.arange(6), tied=True)
    fit = fit_ties(lambda _: paired, start, chosen, min_pairs=config.min_pairs)
    return make_result(fit, 0, (turn, span), config, seeks_offset=False)


def checked_poses(first: Array, second: Array, config: HandEyeConfig) -> tuple[Array, Array]:
    """Return both as arrays of poses.

    Raises:
        InputError: Wrong shapes, NaN, or no rotations.
        DegenerateGeometryError: Too few.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 3 or a.shape[1:] != (4, 4):
        raise InputError(f'both need shape (n, 4, 4), got {a.shape} and {b.shape}')
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError('poses have NaN or Inf', code='NOT_FINITE')
    for poses in (a, b):
        rotations = poses[:, :3, :3]
        if len(poses) and (
            np.abs(np.swapaxes(rotations, 1, 2) @ rotations - np.eye(3)).max() > 1e-3
            or np.linalg.det(rotations).min() < 0.0
        ):
            raise InputError('poses hold matrices that are no rotations', code='NOT_A_ROTATION')
    if len(a) < config.min_pairs:
        raise DegenerateGeometryError(f'{len(a)} of {config.min_pairs} poses: record more', code=REFUSED)
    return a, b


def turns_about_mean(rotations: Array) -> Array:
    """Return rotation vectors (n, 3) from the mean of rotations (n, 3, 3), in the axes of the moving frame."""
    return rotation_log(nearest_rotation(rotations.sum(axis=0)).T @ rotations)


def need_two_axes(hand_turns: Array, eye_turns: Array, config: HandEyeConfig) -> tuple[float, float]:
    """Return the peak-to-peak turn [rad] about the two axes turned most, of the stream that turned less.

    Turns about parallel axes leave the position along that axis open (Tsai and Lenz 1989).

    Raises:
        DegenerateGeometryError: The second is below its limit.
    """
    both: list[Array] = []
    for turns in (hand_turns, eye_turns):
        keep = np.linalg.norm(turns, axis=1) <= np.quantile(np.linalg.norm(turns, axis=1), 0.98)
        moments = np.linalg.eigvalsh(turns[keep].T @ turns[keep] / max(int(keep.sum()), 1))
        both.append(_PEAK_TO_PEAK * np.sqrt(np.maximum(moments[::-1], 0.0)))
    turn, span = (float(min(values)) for values in zip(both[0][:2], both[1][:2], strict=True))
    _need_span(turn, span, config.min_span)
    return turn, span


def _need_span(turn: float, span: float, limit: float) -> None:
    if span < limit:
        raise DegenerateGeometryError(
            f'the turns are all about one axis ({np.degrees(turn):.0f}° about it, {np.degrees(span):.1f}° of '
            f'{np.degrees(limit):.1f}° across): turn about a second axis',
            code=REFUSED,
        )


def _need_more_than_noise(fit: Fit, turn: float, span: float, config: HandEyeConfig) -> None:
    """Refuse turns that are within the noise: they would pass for knowledge about the second axis."""
    noise = _PEAK_TO_PEAK * float(np.sqrt(np.trace(fit.noise.covariance[3:, 3:]) / 3.0))
    _need_span(turn, span, config.min_span_to_noise * noise)


def make_result(
    fit: Fit, offset_ns: int, turns: tuple[float, float], config: HandEyeConfig, *, seeks_offset: bool
) -> HandEyeResult:
    """Build a result from a fit and judge it; the offset of the fit is added to `offset_ns`.

    Raises:
        DegenerateGeometryError: The turn about the second axis is within the noise.
    """
    poses = fit.covariance[:-1, :-1] if seeks_offset else fit.covariance
    position, rotation = np.linalg.norm(fit.errors[:, :3], axis=1), np.linalg.norm(fit.errors[:, 3:], axis=1)
    turn, span = turns
    _need_more_than_noise(fit, turn, span, config)
    verdict, reasons = _judge(fit, poses, position, span, config)
    return HandEyeResult(
        hand_T_eye=fit.ties.hand_T_eye,
        base_T_target=fit.ties.base_T_target,
        joint_covariance=poses,
        offset_ns=offset_ns + (round(fit.ties.shift * NANOSECONDS) if seeks_offset else 0),
        offset_sigma=float(np.sqrt(fit.covariance[-1, -1])) if seeks_offset else 0.0,
        position_residuals=position,
        rotation_residuals=rotation,
        noise=fit.noise.covariance,
        jitter=fit.noise.jitter,
        stamps_ns=fit.paired.stamps_ns,
        outliers=tuple(np.nonzero(~fit.keep)[0].tolist()),
        turn=turn,
        span=span,
        verdict=verdict,
        reasons=reasons,
    )


def _judge(
    fit: Fit, covariance: Array, position: Array, span: float, config: HandEyeConfig
) -> tuple[Verdict, tuple[str, ...]]:
    reasons, refused = [], False
    if span < config.good_span:
        reasons.append(f'turn more about a second axis: {np.degrees(span):.0f}° of {np.degrees(config.good_span):.0f}°')
    sigma = float(np.sqrt(np.trace(covariance[:3, :3])))
    if sigma > config.warn_position_sigma:
        refused |= sigma > config.refuse_position_sigma
        reasons.append(
            f'the position is known to {sigma * 1e3:.1f} mm only, limit {config.warn_position_sigma * 1e3:g} mm: '
            'turn further, for longer'
        )
    sigma = float(np.sqrt(np.trace(covariance[3:6, 3:6])))
    if sigma > config.warn_rotation_sigma:
        refused |= sigma > config.refuse_rotation_sigma
        reasons.append(
            f'the rotation is known to {np.degrees(sigma):.2f}° only, limit '
            f'{np.degrees(config.warn_rotation_sigma):.2f}°: turn further, for longer'
        )
    residual = float(np.median(position[fit.keep]))
    if residual > config.warn_residual:
        reasons.append(f'median residual {residual * 1e3:.1f} mm is above {config.warn_residual * 1e3:g} mm')
    outliers = 1.0 - float(fit.keep.mean())
    if outliers > config.warn_outliers:
        refused |= outliers > config.refuse_outliers
        reasons.append(f'{outliers * 100.0:.0f} % of the pairs were outliers')
    verdict = Verdict.REFUSE if refused else Verdict.WARN if reasons else Verdict.ACCEPT
    return verdict, tuple(reasons)
