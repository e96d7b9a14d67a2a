"""Pivot calibration: the tip of a tool from poses that turn about it.

Every pose obeys R_i tip + t_i = pivot: stacked, [R_i −I] [tip; pivot] = −t_i, a linear least-squares problem (the
algebraic one-step method in Yaniv 2015, "Which pivot calibration?", Proc. SPIE 9415). The robust variant starts from
least trimmed squares (Rousseeuw and Van Driessen 2006) and then takes back every pose within three sigma.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.pivot_coverage import PivotCoverage, measure_coverage
from twin_nodes.core.calibration.verdict import Verdict as Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'CALIBRATION_REFUSED'
# 99.73 % point of the χ distribution with 3 degrees of freedom, and its median: three sigma, for lengths of residuals.
THREE_SIGMA = 3.7625
CHI3_MEDIAN = 1.5382
TRIMMED_SHARE = 0.6
LONG = 0.5  # m; few tools are longer, and no tracker is nearer to a tip than the tool's own marker is
_SUBSETS = 100
_SEARCHED = 100
_SEED = 20150315


@dataclass(frozen=True)
class PivotConfig:
    """When a pivot calibration is good enough."""

    min_poses: int = setting('fewer poses are refused', 12, minimum=4, maximum=10000)
    good_tilt: float = setting('tilt below which the result is doubtful', 0.70, unit='rad', minimum=0.0, maximum=3.1)
    min_tilt: float = setting('tilt below which the result is refused', 0.26, unit='rad', minimum=0.0, maximum=3.1)
    still: float = setting('turns below this count as none', 0.035, unit='rad', minimum=0.0, maximum=1.0)
    warn_rms: float = setting('RMS residual above which it is doubtful', 0.002, unit='m', minimum=0.0, maximum=1.0)
    refuse_rms: float = setting('RMS residual above which it is refused', 0.005, unit='m', minimum=0.0, maximum=1.0)
    warn_tip_sigma: float = setting('tip uncertainty above which it is doubtful', 0.001, unit='m', minimum=0.0)
    max_outliers: float = setting('share of outliers above which it is refused', 0.4, minimum=0.0, maximum=0.5)

    def __post_init__(self) -> None:
        if self.good_tilt < self.min_tilt:
            raise ConfigError(f'good_tilt={self.good_tilt} rad must not be below min_tilt={self.min_tilt} rad')
        if self.refuse_rms < self.warn_rms:
            raise ConfigError(f'refuse_rms={self.refuse_rms} m must not be below warn_rms={self.warn_rms} m')


@dataclass(frozen=True)
class PivotResult:
    """A tip and how far it can be trusted.

    Args:
        tip_tool: The tip in the tool's marker [m], shape (3,).
        pivot_tracker: The point about which the tool turned, in the tracker frame [m], shape (3,).
        residuals: Distance of the tip from the pivot in each pose given [m], shape (n,), outliers too.
        rms: Root mean square of the residual lengths of the poses used [m].
        component_rms: The same per axis, rms/√3 [m], as several published tools state it.
        max_residual: Greatest residual of the poses used [m].
        joint_covariance: Of (tip, pivot) [m²], shape (6, 6).
        condition: Ratio of the greatest to the least singular value of the system.
        coverage: How far the tool was turned.
        outliers: Indices of the poses that were left out.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
    """

    tip_tool: Array
    pivot_tracker: Array
    residuals: Array
    rms: float
    component_rms: float
    max_residual: float
    joint_covariance: Array
    condition: float
    coverage: PivotCoverage
    outliers: tuple[int, ...]
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def tip_covariance(self) -> Array:
        """Covariance of the tip in the tool's marker [m²], shape (3, 3)."""
        return self.joint_covariance[:3, :3]

    @property
    def tip_sigma(self) -> float:
        """Uncertainty of the tip, root mean square of its length [m]."""
        return float(np.sqrt(np.trace(self.tip_covariance)))


def solve_pivot(tracker_T_tool: Array, config: PivotConfig | None = None, *, robust: bool = False) -> PivotResult:
    """Find the tip from poses of a tool that turns about it.

    Args:
        tracker_T_tool: Poses [m], shape (n, 4, 4).
        config: Limits.
        robust: Whether to leave out poses that do not fit; they are named in the result.

    Raises:
        InputError: Wrong shape, or NaN.
        DegenerateGeometryError: Too few poses, or poses that turn too little or about one axis only.
    """
    config = config or PivotConfig()
    poses = _checked(tracker_T_tool, config)
    keep = np.ones(len(poses), dtype=bool)
    _refuse_still(measure_coverage(poses[:, :3, :3], None), config)
    if robust:
        keep = _consensus(poses, config)
    tip, pivot, covariance, condition = _fit(poses[keep])
    coverage = measure_coverage(poses[keep, :3, :3], tip)
    _refuse_poor(coverage, config)
    residuals = _residuals(poses, tip, pivot)
    rms = float(np.sqrt((residuals[keep] ** 2).mean()))
    outliers = tuple(np.nonzero(~keep)[0].tolist())
    sigma = float(np.sqrt(np.trace(covariance[:3, :3])))
    verdict, reasons = _judge(rms, sigma, coverage, len(outliers) / len(poses), config)
    doubt = _doubt_of_place(tip, pivot)
    if doubt and verdict is not Verdict.REFUSE:
        verdict, reasons = Verdict.WARN, (*reasons, doubt)
    return PivotResult(
        tip, pivot, residuals, rms, rms / np.sqrt(3.0), float(residuals[keep].max()), covariance, condition, coverage,
        outliers, verdict, reasons,
    )  # fmt: skip


def _checked(tracker_T_tool: Array, config: PivotConfig) -> Array:
    poses = np.asarray(tracker_T_tool, float)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise InputError(f'poses need shape (n, 4, 4), got {poses.shape}')
    if not np.isfinite(poses).all():
        raise InputError('poses have NaN or Inf', code='NOT_FINITE')
    if len(poses) < config.min_poses:
        raise DegenerateGeometryError(f'{len(poses)} of {config.min_poses} poses: pivot longer', code=REFUSED)
    return poses


def _fit(poses: Array) -> tuple[Array, Array, Array, float]:
    """Return tip, pivot, their joint covariance and the condition number.

    The covariance is that of clustered residuals (Liang and Zeger 1986, one cluster per pose): an error of the marker's
    orientation moves the tip across the shaft only, so residuals are neither isotropic nor alike.
    """
    count = len(poses)
    system = np.concatenate([poses[:, :3, :3], np.broadcast_to(-np.eye(3), (count, 3, 3))], axis=2)
    u, singular, vt = np.linalg.svd(system.reshape(-1, 6), full_matrices=False)
    if singular[-1] < 1e-9 * singular[0]:
        raise DegenerateGeometryError('the tool turns about one axis only: tilt it across that axis too', code=REFUSED)
    inverse = (vt.T / singular) @ u.T
    solution = -inverse @ poses[:, :3, 3].reshape(-1)
    left = (system @ solution + poses[:, :3, 3]).reshape(count, 3)
    scores = np.einsum('jni,ni->nj', inverse.reshape(6, count, 3), left)
    covariance = scores.T @ scores * (count / (count - 2.0))
    return solution[:3], solution[3:], covariance, float(singular[0] / singular[-1])


def _residuals(poses: Array, tip: Array, pivot: Array) -> Array:
    return np.asarray(np.linalg.norm(poses[:, :3, :3] @ tip + poses[:, :3, 3] - pivot, axis=1))


def _consensus(poses: Array, config: PivotConfig) -> NDArray[np.bool_]:
    """Least trimmed squares from seeded subsets, then re-selection within three sigma until it stands still."""
    searched = poses[:: -(-len(poses) // _SEARCHED)]
    keep = np.zeros(len(poses), dtype=bool)
    keep[:: -(-len(poses) // _SEARCHED)] = _least_trimmed(searched)
    for _ in range(50):
        residuals = _residuals_of_subsets(poses, np.nonzero(keep)[0][None])[0]
        scale = max(float(np.median(residuals)) / CHI3_MEDIAN, 1e-9)
        updated = residuals <= THREE_SIGMA * scale
        if (updated == keep).all():
            break
        keep = updated
    share = 1.0 - float(keep.mean())
    if keep.sum() < config.min_poses or share > config.max_outliers:
        raise DegenerateGeometryError(
            f'{share * 100.0:.0f} % of the poses do not turn about one point, limit '
            f'{config.max_outliers * 100.0:.0f} %: keep the tip in its dimple',
            code=REFUSED,
        )
    return keep


def _least_trimmed(poses: Array) -> NDArray[np.bool_]:
    """Tell the 60 % of the poses whose squared residuals have the least sum, from seeded subsets of four.

    With 40 % outliers a subset is free of them in 13 of 100 cases: 100 subsets miss once in a million.
    """
    rng = np.random.default_rng(_SEED)
    count = len(poses)
    half = min(max(int(np.ceil(TRIMMED_SHARE * count)), 5), count)
    chosen = rng.random((_SUBSETS, count)).argpartition(3, axis=1)[:, :4]
    for _ in range(2):
        residuals = _residuals_of_subsets(poses, chosen)
        chosen = np.argpartition(residuals, half - 1, axis=1)[:, :half]
    cost = np.take_along_axis(residuals, chosen, axis=1) ** 2
    best = chosen[[int(cost.sum(axis=1).argmin())]]
    for _ in range(20):
        best = np.argpartition(_residuals_of_subsets(poses, best), half - 1, axis=1)[:, :half]
    keep = np.zeros(count, dtype=bool)
    keep[best[0]] = True
    return keep


def _residuals_of_subsets(poses: Array, chosen: NDArray[np.intp]) -> Array:
    """Residuals (b, n) of all poses for the tip of each subset (b, k) of them.

    Least squares by normal equations, with the minimum norm where a subset leaves the tip open: for hypotheses only.
    """
    rotations, positions = poses[:, :3, :3], poses[:, :3, 3]
    turned_back = np.einsum('nji,nj->ni', rotations, positions)
    mean_rotation = rotations[chosen].mean(axis=1)
    mean_position = positions[chosen].mean(axis=1)
    normal = np.eye(3) - np.swapaxes(mean_rotation, 1, 2) @ mean_rotation
    target = np.einsum('bji,bj->bi', mean_rotation, mean_position) - turned_back[chosen].mean(axis=1)
    tips = np.einsum('bij,bj->bi', np.linalg.pinv(normal, rcond=1e-9, hermitian=True), target)
    pivots = np.einsum('bij,bj->bi', mean_rotation, tips) + mean_position
    reached = np.einsum('nij,bj->bni', rotations, tips) + positions
    return np.asarray(np.linalg.norm(reached - pivots[:, None], axis=2))


def _refuse_still(coverage: PivotCoverage, config: PivotConfig) -> None:
    if coverage.turn < config.still:
        raise DegenerateGeometryError(
            f'the tool does not move: it turned by {np.degrees(coverage.turn):.1f}°, tilt it about its tip',
            code=REFUSED,
        )
    if coverage.span < min(config.still, config.min_tilt):
        raise DegenerateGeometryError(
            f'the tool turns about one axis only ({np.degrees(coverage.turn):.0f}° about it, '
            f'{np.degrees(coverage.span):.1f}° across): tilt it across that axis too',
            code=REFUSED,
        )


def _refuse_poor(coverage: PivotCoverage, config: PivotConfig) -> None:
    if coverage.span < config.min_tilt:
        raise DegenerateGeometryError(coverage.advice(config.min_tilt), code=REFUSED)


def _doubt_of_place(tip: Array, pivot: Array) -> str:
    """Return what to say of a tip that is farther from the marker than from the tracker, as inverted poses give it."""
    length, away = float(np.linalg.norm(tip)), float(np.linalg.norm(pivot))
    if length < LONG or length < away:
        return ''
    return (
        f'the tip lies {length * 1e3:.0f} mm from the marker and {away * 1e3:.0f} mm from the tracker: are the poses '
        'those of the tracker in the tool (inverted)?'
    )


def _judge(
    rms: float, sigma: float, coverage: PivotCoverage, outlier_share: float, config: PivotConfig
) -> tuple[Verdict, tuple[str, ...]]:
    reasons: list[str] = []
    verdict = Verdict.ACCEPT
    if coverage.span < config.good_tilt:
        reasons.append(coverage.advice(config.good_tilt))
    if rms > config.warn_rms:
        reasons.append(f'RMS residual {rms * 1e3:.2f} mm is above {config.warn_rms * 1e3:g} mm: hold the tip still')
    if sigma > config.warn_tip_sigma:
        reasons.append(f'the tip is known to {sigma * 1e3:.2f} mm only, limit {config.warn_tip_sigma * 1e3:g} mm')
    if outlier_share > 0.2:
        reasons.append(f'{outlier_share * 100.0:.0f} % of the poses were outliers')
    if reasons:
        verdict = Verdict.REFUSE if rms > config.refuse_rms else Verdict.WARN
    return verdict, tuple(reasons)
