"""Registration of digitised points to a surface, with covariance, what it cannot tell, and a verdict.

The covariance is that of an M-estimator (Huber 1981): it covers the noise of the points, taken as independent; what is
known of an error of the surface itself is added to the position (`surface_sigma`).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import point_covariance
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.surface_cloud_kernels import scatter
from twin_nodes.core.registration.surface_error_kernels import covariances
from twin_nodes.core.registration.surface_faults import Fitness, assess, explain_misfit
from twin_nodes.core.registration.surface_observability import FreeMotion, free_motions
from twin_nodes.core.registration.surface_refine import Cloud, Fit, RefineConfig, refine, start_at
from twin_nodes.core.registration.surface_start import apart, best_basins, starts_anywhere, starts_near
from twin_nodes.core.registration.surface_target import SurfaceTarget

REFUSED = 'REGISTRATION_REFUSED'
MIN_POINTS = 20


@dataclass(frozen=True)
class SurfaceConfig:
    """When a surface registration is good enough."""

    warn_rms: float = setting('RMS residual of the inliers above which it is doubtful', 0.0015, unit='m', minimum=0.0)
    refuse_rms: float = setting('the same, above which it is refused', 0.003, unit='m', minimum=0.0)
    warn_systematic: float = setting('RMS part that neighbouring residuals share: doubt', 0.0003, unit='m', minimum=0.0)
    refuse_systematic: float = setting('the same, above which it is refused', 0.0015, unit='m', minimum=0.0)
    warn_inliers: float = setting('share of points on the surface below which it is doubtful', 0.8, minimum=0.0)
    refuse_inliers: float = setting('the same, below which it is refused', 0.5, minimum=0.0)
    warn_sigma: float = setting('sigma of the cloud along its worst motion: doubt', 0.0005, unit='m', minimum=0.0)
    refuse_sigma: float = setting('the same, above which it is refused', 0.002, unit='m', minimum=0.0)
    free_share: float = setting('information of a motion over the best, below which it is free', 2e-3, minimum=0.0)
    surface_sigma: float = setting('error of the surface itself that all points share', 2e-6, unit='m', minimum=0.0)
    inlier_sigmas: float = setting('a point farther off than so many sigmas is an outlier', 4.0, minimum=1.0)

    def __post_init__(self) -> None:
        for name in ('rms', 'systematic', 'sigma'):
            if getattr(self, f'refuse_{name}') < getattr(self, f'warn_{name}'):
                raise ConfigError(f'refuse_{name} must not be below warn_{name}')
        if self.refuse_inliers > self.warn_inliers:
            raise ConfigError('refuse_inliers must not be above warn_inliers')


@dataclass(frozen=True, eq=False)
class SurfaceResult:
    """A registration and how far it can be trusted.

    Args:
        patient_T_anatomy: Pose of the anatomy in the patient frame [m], shape (4, 4).
        covariance: Of the pose, in the convention of `core.geometry.covariance`, shape (6, 6).
        residuals: Signed distance of each point to the surface, outside positive [m], shape (n,).
        inlier_limit: A point whose residual is longer does not lie on the surface [m].
        inlier_share: Share of the points that lie on the surface, 0 … 1.
        rms: Root mean square residual of the inliers [m].
        sigma: Robust spread of all residuals [m].
        systematic: RMS part of the residuals that neighbouring points share [m]: deformation, or a wrong place.
        iterations: Steps made.
        converged: Whether the last step was short.
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
        weak: Motions that the points hold back least, when their sigma is above its limit.
        cause: What explains a poor fit, such as a mirrored cloud; '' for nothing known.
    """

    patient_T_anatomy: Array
    covariance: Array
    residuals: Array
    inlier_limit: float
    inlier_share: float
    rms: float
    sigma: float
    systematic: float
    iterations: int
    converged: bool
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    weak: tuple[FreeMotion, ...] = field(default=())
    cause: str = ''

    @property
    def inliers(self) -> NDArray[np.bool_]:
        """Which points lie on the surface, shape (n,)."""
        return np.asarray(np.abs(self.residuals) <= self.inlier_limit)

    def target_error(self, point_anatomy: Array) -> float:
        """Return the expected error [m] at a point (3,) of the anatomy, RMS of its length."""
        spread = point_covariance(self.patient_T_anatomy, self.covariance, np.asarray(point_anatomy, float))
        return float(np.sqrt(np.trace(spread)))


def register_surface(
    points_patient: Array,
    target: SurfaceTarget,
    *,
    start: Array | None = None,
    config: SurfaceConfig | None = None,
    refinement: RefineConfig | None = None,
) -> SurfaceResult:
    """Register points digitised anywhere on a surface, or on a part of it.

    Args:
        points_patient: Digitised points [m], shape (n, 3), in any order, some of them off the surface.
        target: The prepared surface.
        start: patient_T_anatomy to start from, shape (4, 4), such as that of a few coarse point pairs (`fit_rigid`),
            to about 30° and 30 mm; nothing is known when not given, and all poses are searched.
        config: Limits of the verdict.
        refinement: How the points are brought onto the surface.

    Raises:
        InputError: Shapes that do not fit, NaN, a start that is no pose, or another unit.
        DegenerateGeometryError: Too few points, or a motion that the points do not hold back at all; it is named.
    """
    config, refinement = config or SurfaceConfig(), refinement or RefineConfig()
    cloud = checked_cloud(points_patient, target)
    rival: Fit | None = None
    fitness: Fitness | None = None
    if start is None:
        fit, rival = _anywhere(cloud, target, refinement)
    else:
        fit = refine(start_at(start, cloud), cloud, target, refinement)
        fitness = assess(fit, cloud, config.inlier_sigmas)
        if _poor(fitness, config):
            near = starts_near(start_at(start, cloud))
            other = refine(best_basins(near, cloud, target, refinement)[0], cloud, target, refinement)
            fit, fitness = (other, None) if other.sigma < fit.sigma else (fit, fitness)
    fitness = fitness or assess(fit, cloud, config.inlier_sigmas)
    return _judged(fit, fitness, rival, cloud, target, config, refinement)


def checked_cloud(points_patient: Array, target: SurfaceTarget) -> Cloud:
    """Return the points [m] (n, 3) as a cloud.

    Raises:
        InputError, DegenerateGeometryError: As `register_surface`.
    """
    points = np.ascontiguousarray(points_patient, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'surface points: expected shape (n, 3), got {points.shape}')
    if len(points) < MIN_POINTS:
        raise DegenerateGeometryError(
            f'{len(points)} surface points: at least {MIN_POINTS} are needed; swab more of the surface', code=REFUSED
        )
    cloud = Cloud.from_points(points)
    if not np.isfinite(cloud.length):
        broken = int(np.sum(~np.isfinite(points).all(axis=1)))
        raise InputError(f'{broken} of {len(points)} surface points have NaN or Inf', code='NOT_FINITE')
    ratio = cloud.length / target.surface.diagonal
    if not 1e-3 < ratio < 20.0:
        raise InputError(
            f'the points spread over {cloud.length:.3g} m about their centroid and {target.surface.name!r} measures '
            f'{target.surface.diagonal:.3g} m: is the unit of one of them wrong?',
            code='UNIT_SUSPECT',
        )
    return cloud


def _anywhere(cloud: Cloud, target: SurfaceTarget, refinement: RefineConfig) -> tuple[Fit, Fit | None]:
    """Return the best fit over all poses, and the best that lies elsewhere."""
    basins = [
        refine(fit, cloud, target, refinement)
        for fit in best_basins(starts_anywhere(target), cloud, target, refinement)[:4]
    ]
    basins.sort(key=lambda fit: fit.sigma)
    others = [fit for fit in basins[1:] if apart(fit, basins[0], cloud.length) > 0.1 * cloud.length]
    return basins[0], others[0] if others else None


def _poor(fitness: Fitness, config: SurfaceConfig) -> bool:
    return (
        fitness.rms > config.warn_rms
        or fitness.systematic > config.warn_systematic
        or fitness.inlier_share < config.warn_inliers
    )


def _judged(
    fit: Fit, fitness: Fitness, rival: Fit | None, cloud: Cloud, target: SurfaceTarget, config: SurfaceConfig,
    refinement: RefineConfig,
) -> SurfaceResult:  # fmt: skip
    assert fit.normal is not None and fit.residuals is not None
    scaled, covariance, worst_axis = np.empty((6, 6)), np.empty((6, 6)), np.empty(6)
    share, variance = covariances(
        fit.normal, fit.sums, fit.facets, fit.turn, fit.offset, cloud.length, len(cloud.points), config.surface_sigma,
        scaled, covariance, worst_axis,
    )  # fmt: skip
    if share < config.free_share and (fit.sigma <= config.refuse_rms or not np.isfinite(variance)):
        free = free_motions(fit.normal, fit.turn.T, cloud.centroid, cloud.length, max(config.free_share, 1e-12))
        raise DegenerateGeometryError(
            f'the points on {target.surface.name!r} do not hold it: {"; ".join(str(motion) for motion in free)} leaves '
            f'their distances as they are (information below {config.free_share:g} of the best held motion). Swab '
            'where the surface curves differently',
            code=REFUSED,
        )
    worst = float(np.sqrt(variance))
    converged = fit.step <= refinement.tolerance
    weak: tuple[FreeMotion, ...] = ()
    if worst > config.warn_sigma:
        last = np.outer(worst_axis, worst_axis)
        weak = free_motions(np.eye(6) - last, fit.turn.T, cloud.centroid, cloud.length, 0.5)
    findings = [
        ('RMS residual of the points on the surface', fitness.rms, config.warn_rms, config.refuse_rms),
        ('residual that neighbouring points share (deformed, or a wrong place)', fitness.systematic,
         config.warn_systematic, config.refuse_systematic),
        (f'sigma of {weak[0] if weak else ""}', worst, config.warn_sigma, config.refuse_sigma),
    ]  # fmt: skip
    verdict, reasons = _limits(findings, fitness.inlier_share, config)
    if not converged:
        verdict = Verdict.REFUSE
        reasons.append(f'no convergence: the last of {fit.iterations} steps was {1e3 * fit.step:.3g} mm')
    if rival is not None and rival.sigma < 1.5 * fit.sigma + 1e-6:
        verdict = Verdict.REFUSE
        reasons.append(
            f'another pose, {1e3 * apart(fit, rival, cloud.length):.3g} mm away, fits nearly as well (spread '
            f'{1e3 * rival.sigma:.3g} mm against {1e3 * fit.sigma:.3g} mm): give a start, or swab more'
        )
    misfit = fitness.rms > config.warn_rms or fitness.systematic > config.warn_systematic
    cause = explain_misfit(fit, cloud, target, refinement) if misfit else ''
    if cause:
        verdict = Verdict.REFUSE
        reasons.append(cause)
    residuals = np.empty(len(fit.residuals))
    scatter(fit.residuals, cloud.order, residuals)
    return SurfaceResult(
        fit.pose(cloud), covariance, residuals, config.inlier_sigmas * fit.sigma, fitness.inlier_share, fitness.rms,
        fit.sigma, fitness.systematic, fit.iterations, converged, verdict, tuple(reasons), weak, cause,
    )  # fmt: skip


def _limits(
    findings: list[tuple[str, float, float, float]], share: float, config: SurfaceConfig
) -> tuple[Verdict, list[str]]:
    """Compare each finding [m] with its two limits, and the share of inliers with its own."""
    verdict, reasons = Verdict.ACCEPT, []
    for what, value, warn, refuse in findings:
        if value > warn:
            limit = refuse if value > refuse else warn
            reasons.append(f'{what}: {1e3 * value:.3g} mm is above {1e3 * limit:g} mm')
            verdict = Verdict.REFUSE if value > refuse or verdict is Verdict.REFUSE else Verdict.WARN
    if share < config.warn_inliers:
        limit = config.refuse_inliers if share < config.refuse_inliers else config.warn_inliers
        reasons.append(f'only {100 * share:.0f} % of the points lie on the surface, limit {100 * limit:.0f} %')
        verdict = Verdict.REFUSE if share < config.refuse_inliers or verdict is Verdict.REFUSE else Verdict.WARN
    return verdict, reasons
