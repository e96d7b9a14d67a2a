"""Rigid registration of paired points, with the covariance of the pose and the error expected at a target.

Closed form after Kabsch (1976) and Umeyama (1991), which keeps reflections out; refined by Gauss–Newton where the
points have covariances of their own. Errors are those of the touched points (fiducial localisation error, FLE) in the
patient frame; those of the anatomy's points belong into the same covariance. Relations between FRE, FLE and TRE after
Fitzpatrick, West and Maurer (1998): FRE² = (1 − 2/n) FLE².
"""

from dataclasses import dataclass, field

import numpy as np

from twin_nodes.core.calibration.verdict import Verdict as Verdict
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import point_covariance
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, skew, transform_points
from twin_nodes.core.registration.fiducial_faults import explain_residual

REFUSED = 'REGISTRATION_REFUSED'


@dataclass(frozen=True)
class PairedPointConfig:
    """When a paired-point registration is good enough."""

    warn_fre: float = setting('RMS residual above which the result is doubtful', 0.001, unit='m', minimum=0.0)
    refuse_fre: float = setting('RMS residual above which the result is refused', 0.003, unit='m', minimum=0.0)
    min_separation: float = setting('two fiducials closer than this are one', 0.002, unit='m', minimum=0.0)
    min_offset: float = setting('RMS distance of the fiducials to their line, at least', 0.003, unit='m', minimum=0.0)

    def __post_init__(self) -> None:
        if self.refuse_fre < self.warn_fre:
            raise ConfigError(f'refuse_fre={self.refuse_fre} m must not be below warn_fre={self.warn_fre} m')


@dataclass(frozen=True)
class PairedPointResult:
    """A registration and how far it can be trusted.

    Args:
        patient_T_anatomy: Pose of the anatomy in the patient frame [m], shape (4, 4).
        covariance: Of the pose, in the convention of `core.geometry.covariance`, shape (6, 6).
        names: Of the fiducials.
        residuals_patient: Touched minus mapped point, per fiducial [m], shape (n, 3).
        points_anatomy: The fiducials in the anatomy [m], shape (n, 3).
        fre_rms: Root mean square of the residual lengths [m].
        fle_rms: Estimated fiducial localisation error, root mean square of its length [m].
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT, one sentence each.
        cause: What explains a poor fit of all points together, such as a mirrored set; '' for nothing known.
        excluded: How far off each fiducial that was left out is [m], by name; those take no part in anything above.
    """

    patient_T_anatomy: Array
    covariance: Array
    names: tuple[str, ...]
    residuals_patient: Array
    points_anatomy: Array
    fre_rms: float
    fle_rms: float
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    cause: str = ''
    excluded: dict[str, float] = field(default_factory=dict)

    @property
    def residuals(self) -> dict[str, float]:
        """Length of the residual of each fiducial [m], by name."""
        lengths = np.linalg.norm(self.residuals_patient, axis=1)
        return dict(zip(self.names, lengths.tolist(), strict=True))

    def target_error(self, point_anatomy: Array) -> float:
        """Return the expected target registration error [m] at a point of the anatomy, RMS of its length.

        From the pose covariance; for equal isotropic errors this is the formula of Fitzpatrick and West.
        """
        return float(np.sqrt(np.trace(self.target_covariance(point_anatomy))))

    def target_covariance(self, point_anatomy: Array) -> Array:
        """Return the covariance (3, 3) [m²] in the patient frame of a point (3,) of the anatomy."""
        return point_covariance(self.patient_T_anatomy, self.covariance, np.asarray(point_anatomy, float))


def fit_rigid(points_patient: Array, points_anatomy: Array) -> Array:
    """Return the patient_T_anatomy (…, 4, 4) of least squared distances of paired points (…, n, 3), never mirrored.

    No check is made: fewer than three points, or collinear ones, leave a rotation undetermined.
    """
    mean_patient, mean_anatomy = points_patient.mean(axis=-2), points_anatomy.mean(axis=-2)
    centred_patient = points_patient - mean_patient[..., None, :]
    u, _, vt = np.linalg.svd(np.swapaxes(centred_patient, -1, -2) @ (points_anatomy - mean_anatomy[..., None, :]))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    patient_R_anatomy = u @ vt
    return make_transform(
        patient_R_anatomy, mean_patient - np.einsum('...ij,...j->...i', patient_R_anatomy, mean_anatomy)
    )


def register_paired_points(
    points_patient: Array,
    points_anatomy: Array,
    *,
    names: tuple[str, ...] | None = None,
    covariances: Array | None = None,
    fle_rms: float | None = None,
    common: Array | None = None,
    config: PairedPointConfig | None = None,
) -> PairedPointResult:
    """Register touched points to those of the anatomy, pair by pair.

    Args:
        points_patient: Touched points [m], shape (n, 3).
        points_anatomy: The same points in the anatomy [m], shape (n, 3).
        names: Of the fiducials; #1, #2, … when not given.
        covariances: Of each pair's error in the patient frame [m²], shape (n, 3, 3); equal and unknown when not given.
        fle_rms: Known fiducial localisation error, RMS of its length [m]; estimated from the residuals when not given.
        common: Errors that all touched points share and residuals therefore hide, such as that of the tip's
            calibration: column j moves point i by common[i, :, j] [m] at one sigma, shape (n, 3, k).
        config: Limits.

    Raises:
        InputError: Shapes that do not fit, NaN, or a covariance that is not positive definite.
        DegenerateGeometryError: Fewer than three, coinciding or collinear fiducials.
    """
    config = config or PairedPointConfig()
    patient, anatomy, labels = checked_pairs(points_patient, points_anatomy, names)
    _check_layout(patient, labels, config, 'touched')
    _check_layout(anatomy, labels, config, 'of the anatomy')
    pose = fit_rigid(patient, anatomy)
    noise = pair_noise(covariances, fle_rms, len(patient))
    if covariances is not None:
        pose = refine_pose(pose, patient, anatomy, noise)
    residuals = patient - transform_points(pose, anatomy)
    fre = float(np.sqrt((residuals**2).sum(axis=1).mean()))
    freedom = 3 * len(patient) - 6
    known = covariances is not None or fle_rms is not None
    variance = _variance_factor(residuals, noise, freedom, known=known)
    spread = variance if known else variance * _doubt(freedom)
    unscaled = np.asarray(np.linalg.inv(_information(pose, anatomy, noise)), float)
    covariance = unscaled * spread
    if common is not None:
        covariance = covariance + _shared(pose, anatomy, noise, unscaled, common)
    fle = float(np.sqrt(variance * np.trace(noise.mean(axis=0))))
    cause = explain_residual(patient, anatomy, fre, labels) if fre > config.warn_fre else ''
    excess = float(np.sqrt(variance)) if known else 1.0
    verdict, reasons = _judge(labels, residuals, fre, cause, excess, config)
    return PairedPointResult(pose, covariance, labels, residuals, anatomy, fre, fle, verdict, reasons, cause)


def checked_pairs(
    points_patient: Array, points_anatomy: Array, names: tuple[str, ...] | None
) -> tuple[Array, Array, tuple[str, ...]]:
    """Return the points [m] (n, 3) of both frames and the names, which are #1 … where none are given.

    Raises:
        InputError: Shapes or names that do not fit, or NaN.
        DegenerateGeometryError: Fewer than three.
    """
    patient, anatomy = np.asarray(points_patient, float), np.asarray(points_anatomy, float)
    if patient.ndim != 2 or patient.shape[1] != 3 or patient.shape != anatomy.shape:
        raise InputError(f'paired points need two arrays (n, 3), got {patient.shape} and {anatomy.shape}')
    labels = tuple(names) if names is not None else tuple(f'#{i + 1}' for i in range(len(patient)))
    if len(labels) != len(patient):
        raise InputError(f'{len(labels)} names for {len(patient)} fiducials')
    finite = np.isfinite(patient).all(axis=1) & np.isfinite(anatomy).all(axis=1)
    if not finite.all():
        bad = [label for label, ok in zip(labels, finite, strict=True) if not ok]
        raise InputError(f'fiducials {", ".join(bad)} have NaN or Inf', code='NOT_FINITE')
    if len(patient) < 3:
        raise DegenerateGeometryError(
            f'{len(patient)} fiducials: at least 3 are needed, 4 or more show their own error; touch more', code=REFUSED
        )
    return patient, anatomy, labels


def _check_layout(points: Array, labels: tuple[str, ...], config: PairedPointConfig, what: str) -> None:
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(len(points)) * 1e9
    i, j = np.unravel_index(np.argmin(distances), distances.shape)
    if distances[i, j] < config.min_separation:
        raise DegenerateGeometryError(
            f'fiducials {what} {labels[i]} and {labels[j]} are {distances[i, j] * 1e3:.2f} mm apart, limit '
            f'{config.min_separation * 1e3:g} mm: one of them was touched twice?',
            code=REFUSED,
        )
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points))
    offset = float(np.sqrt(spread[1] ** 2 + spread[2] ** 2))
    if offset < config.min_offset or offset < 0.01 * spread[0]:
        raise DegenerateGeometryError(
            f'the fiducials {what} lie on a line (RMS {offset * 1e3:.2f} mm beside it, at least '
            f'{max(config.min_offset, 0.01 * spread[0]) * 1e3:.3g} mm): touch one to the side of it',
            code=REFUSED,
        )


def pair_noise(covariances: Array | None, fle_rms: float | None, count: int) -> Array:
    """Return the covariance of each pair's error (n, 3, 3) [m²]; the identity where nothing is known.

    Raises:
        InputError: Values that are no covariances, or fle_rms [m] of 0 or less.
    """
    if covariances is None:
        if fle_rms is not None and not (np.isfinite(fle_rms) and fle_rms > 0.0):
            raise InputError(f'fle_rms={fle_rms} m must be above 0')
        variance = fle_rms**2 / 3.0 if fle_rms is not None else 1.0
        return np.broadcast_to(np.eye(3) * variance, (count, 3, 3))
    noise = np.asarray(covariances, float)
    if noise.shape != (count, 3, 3) or not np.isfinite(noise).all():
        raise InputError(f'covariances need finite values of shape ({count}, 3, 3), got {noise.shape}')
    if np.linalg.eigvalsh(noise).min() <= 0.0:
        raise InputError('covariances must be positive definite')
    return noise


def point_jacobians(pose: Array, anatomy: Array) -> Array:
    """Return the derivative (n, 3, 6) of the mapped points by the pose error (δp, δφ)."""
    turned = anatomy @ pose[:3, :3].T
    identity = np.broadcast_to(np.eye(3), (len(anatomy), 3, 3))
    return np.concatenate([identity, -skew(turned)], axis=2)


def _information(pose: Array, anatomy: Array, noise: Array) -> Array:
    jacobians = point_jacobians(pose, anatomy)
    return np.asarray(np.einsum('nij,nik->jk', jacobians, np.linalg.solve(noise, jacobians)))


def _shared(pose: Array, anatomy: Array, noise: Array, unscaled: Array, common: Array) -> Array:
    """Covariance (6, 6) of the pose from errors that all points share: they go through the estimator as one."""
    errors = np.asarray(common, float)
    if errors.ndim != 3 or errors.shape[:2] != (len(anatomy), 3) or not np.isfinite(errors).all():
        raise InputError(f'common errors need finite values of shape ({len(anatomy)}, 3, k), got {errors.shape}')
    weighted = np.linalg.solve(noise, errors)
    moved = unscaled @ np.einsum('nij,nik->jk', point_jacobians(pose, anatomy), weighted)
    return np.asarray(moved @ moved.T)


def refine_pose(pose: Array, patient: Array, anatomy: Array, noise: Array) -> Array:
    """Gauss–Newton on Σ rᵀ Σ⁻¹ r; quadratic convergence from the closed form."""
    for _ in range(20):
        residuals = patient - transform_points(pose, anatomy)
        jacobians = point_jacobians(pose, anatomy)
        weighted = np.linalg.solve(noise, jacobians)
        gradient = np.einsum('nij,ni->j', weighted, residuals)
        step = np.linalg.solve(np.einsum('nij,nik->jk', jacobians, weighted), gradient)
        pose = make_transform(rotation_exp(step[3:]) @ pose[:3, :3], pose[:3, 3] + step[:3])
        if np.abs(step).max() < 1e-12:
            break
    return pose


def _variance_factor(residuals: Array, noise: Array, freedom: int, *, known: bool) -> float:
    """Return the factor on the noise: estimated where it is unknown; where known, raised when it does not explain FRE.

    The bound is that of χ² at 99.9 % (Wilson and Hilferty 1931), so that chance does not raise it.
    """
    weighted = np.linalg.solve(noise, residuals[..., None])[..., 0]
    ratio = float((residuals * weighted).sum()) / freedom
    if not known:
        return max(ratio, 1e-16)
    bound = (1.0 - 2.0 / (9.0 * freedom) + 3.09 * np.sqrt(2.0 / (9.0 * freedom))) ** 3
    return ratio if ratio > bound else 1.0


def _doubt(freedom: int) -> float:
    """Return ν/(ν − 2), the variance of Student's t: a noise estimated from few residuals is often far too small."""
    return freedom / (freedom - 2.0)


def _judge(
    labels: tuple[str, ...], residuals: Array, fre: float, cause: str, excess: float, config: PairedPointConfig
) -> tuple[Verdict, tuple[str, ...]]:
    reasons: list[str] = []
    verdict = Verdict.ACCEPT
    if len(labels) == 3:
        verdict = Verdict.WARN
        reasons.append('3 fiducials hide an error of any one of them: touch a fourth')
    if excess > 1.0:
        verdict = Verdict.WARN
        reasons.append(f'the residuals are {excess:.2g} times what the stated error of the fiducials explains')
    if fre > config.warn_fre:
        verdict = Verdict.REFUSE if fre > config.refuse_fre else Verdict.WARN
        limit = config.refuse_fre if fre > config.refuse_fre else config.warn_fre
        worst = int(np.argmax(np.linalg.norm(residuals, axis=1)))
        length = float(np.linalg.norm(residuals[worst])) * 1e3
        reasons.append(
            f'FRE {fre * 1e3:.3g} mm is above {limit * 1e3:g} mm; worst is {labels[worst]} with {length:.3g} mm'
        )
    if cause:
        verdict = Verdict.REFUSE
        reasons.append(cause)
    return verdict, tuple(reasons)
