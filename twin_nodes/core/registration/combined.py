"""Registration by a swab of the surface, alone or together with touched landmarks; one pose, one sound covariance.

The landmarks give the start. Each estimate is x̂ = x + K e + n: n is noise of its own, e the error of the tip's
calibration, which landmarks and swab share and no residual shows. They are joined by their information about n, and e
goes through the joined estimator once (W_p K_p + W_s K_s), not twice. Where the two disagree beyond their errors, that
is said, and the covariance grows with it (Birge 1932).
"""

from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.config import group, setting
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.registration.cloud_faults import explain_axis
from twin_nodes.core.registration.motion_of_cloud import CloudMotion
from twin_nodes.core.registration.surface import MIN_POINTS, REFUSED, SurfaceConfig, SurfaceResult, register_surface
from twin_nodes.core.registration.surface_refine import RefineConfig
from twin_nodes.core.registration.surface_target import SurfaceTarget
from twin_nodes.core.registration.surface_with_points import Prior, register_held
from twin_nodes.core.registration.tip_share import TouchedPoints
from twin_nodes.core.registration.tre import tre_field

_WIDE = 1e3  # metres: a limit that is never reached
_RIDGE = 1e-9
_PLACES = 300
_FLOOR = 1e-12  # m²: a variance of the landmarks below a micrometre squared has no meaning


@dataclass(frozen=True)
class SwabConfig:
    """How a swab becomes a registration, and when it is good enough."""

    surface: SurfaceConfig = group(SurfaceConfig)
    refine: RefineConfig = group(RefineConfig)
    disagreement_chance: float = setting(
        'Landmarks and surface disagree when chance gives such a gap less often.', 1e-3, minimum=1e-12, maximum=0.2
    )
    refuse_disagreement: float = setting(
        'A gap between them that is no chance and is longer is refused.', 0.005, unit='m', minimum=0.0
    )
    warn_tre: float = setting(
        'Expected error anywhere on the surface above which too little was swabbed.', 0.002, unit='m', minimum=0.0
    )


@dataclass(frozen=True, eq=False)
class SwabResult:
    """A registration from a swab.

    Args:
        patient_T_anatomy: Pose [m], shape (4, 4).
        covariance: Of the pose, shape (6, 6).
        shared: The part of the tip's calibration in it, one column per sigma, shape (6, k).
        verdict: ACCEPT, WARN or REFUSE.
        reasons: Why it is not ACCEPT.
        notes: What else is worth saying.
        surface: What the surface alone said.
        sigma: Of the cloud along its worst motion [m].
        disagreement: RMS distance of the cloud between landmarks and surface [m]; NaN without landmarks.
    """

    patient_T_anatomy: Array
    covariance: Array
    shared: Array
    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    surface: SurfaceResult
    sigma: float
    disagreement: float = float('nan')


def register_swab(
    points_patient: Array,
    target: SurfaceTarget,
    *,
    touched: TouchedPoints | None = None,
    start: Array | None = None,
    tip_errors: Array | None = None,
    config: SwabConfig | None = None,
) -> SwabResult:
    """Register points swabbed over a surface, from landmarks, from a given pose, or from nothing.

    Args:
        points_patient: Swabbed points [m], shape (n, 3).
        target: The surface.
        touched: A landmark registration: start and part of the answer; one that is refused is a start only.
        start: patient_T_anatomy to start from where there are no landmarks, shape (4, 4).
        tip_errors: Error of the tip's calibration at each point, as in `tip_share.tip_in_points`, shape (n, 3, k).
        config: Limits.

    Raises:
        InputError: Shapes that do not fit, NaN, or another unit.
        DegenerateGeometryError: Too few points, or a motion that nothing holds back; it is named.
    """
    config = config or SwabConfig()
    first = touched.result.patient_T_anatomy if touched is not None else start
    points = np.asarray(points_patient, float)
    _check_spread(points)
    joined = touched is not None and touched.result.verdict is not Verdict.REFUSE
    limits = replace(config.surface, warn_sigma=_WIDE, refuse_sigma=_WIDE) if joined else config.surface
    try:
        surface = register_surface(points, target, start=first, config=limits, refinement=config.refine)
    except DegenerateGeometryError as error:
        if touched is None or not joined or len(points) < MIN_POINTS:
            raise
        found = _held(points, target, touched, _checked(points, tip_errors), config, str(error))
        return _judged(found, points, target, config, joined=True)
    found = _alone(points, surface, target, _checked(points, tip_errors))
    if joined and touched is not None:
        found = _join(found, touched, points, config)
    return _judged(found, points, target, config, joined=joined)


def _check_spread(points: Array) -> None:
    """Refuse what says the same place over and over, before it is taken for another unit."""
    if points.ndim == 2 and len(points) >= MIN_POINTS and np.isfinite(points).all():
        places = len(np.unique(points, axis=0))
        if places < MIN_POINTS:
            raise DegenerateGeometryError(
                f'{len(points)} surface points at only {places} places, at least {MIN_POINTS} are needed: slide the '
                'tip over the surface',
                code=REFUSED,
            )


def _checked(points: Array, tip_errors: Array | None) -> Array:
    errors = np.zeros((len(points), 3, 1)) if tip_errors is None else np.asarray(tip_errors, float)
    if errors.ndim != 3 or errors.shape[:2] != (len(points), 3) or not np.isfinite(errors).all():
        raise InputError(f'tip errors need finite values of shape ({len(points)}, 3, k), got {errors.shape}')
    return errors


def _held(
    points: Array, target: SurfaceTarget, touched: TouchedPoints, errors: Array, config: SwabConfig, said: str
) -> SwabResult:
    """Let the landmarks hold what the swab leaves free."""
    own = _positive(touched.result.covariance - touched.shared @ touched.shared.T)
    held = register_held(points, target, Prior(touched.result.patient_T_anatomy, own), config.surface)
    motion, surface = held.motion, held.surface
    alone = _alone(points, surface, target, errors)
    weight = motion.of(surface.covariance) @ held.information
    first, second = _padded(motion.jacobian @ touched.shared, motion.jacobian @ alone.shared)
    shared = np.asarray(np.linalg.solve(motion.jacobian, (np.eye(6) - weight) @ first + weight @ second), float)
    note = f'the landmarks hold what the swab leaves free ({said.split(": ", 1)[-1].split(" leaves")[0]})'
    return replace(alone, covariance=surface.covariance + shared @ shared.T, shared=shared, notes=(note,))


def _padded(first: Array, second: Array) -> tuple[Array, Array]:
    width = max(first.shape[1], second.shape[1])
    return (
        np.pad(first, ((0, 0), (0, width - first.shape[1]))),
        np.pad(second, ((0, 0), (0, width - second.shape[1]))),
    )


def _alone(points: Array, surface: SurfaceResult, target: SurfaceTarget, errors: Array) -> SwabResult:
    """Add the shared error of the tip to what the surface says."""
    pose = surface.patient_T_anatomy
    motion = CloudMotion.at(points, pose)
    on = surface.inliers
    gradients = target.grid.query(transform_points(inverse(pose), points[on])).gradients
    length = np.linalg.norm(gradients, axis=1, keepdims=True)
    normals = gradients / np.where(length > 0.0, length, 1.0) @ pose[:3, :3].T
    rows = motion.rows(normals, points[on])
    normal = rows.T @ rows
    ridge = _RIDGE * max(float(np.trace(normal)), 1e-300) * np.eye(6)
    moved = np.linalg.solve(normal + ridge, rows.T @ np.einsum('ni,nik->nk', normals, errors[on]))
    shared = np.asarray(np.linalg.solve(motion.jacobian, moved), float)
    covariance = surface.covariance + shared @ shared.T
    return SwabResult(pose, covariance, shared, surface.verdict, surface.reasons, (), surface, 0.0)


def _join(found: SwabResult, touched: TouchedPoints, points: Array, config: SwabConfig) -> SwabResult:
    """Join landmarks and surface by their information, in numbers of the cloud's motion."""
    from scipy.special import chdtrc

    motion = CloudMotion.at(points, found.patient_T_anatomy)
    first, second = _padded(motion.jacobian @ touched.shared, motion.jacobian @ found.shared)
    of_points = _positive(motion.of(touched.result.covariance) - first @ first.T)
    of_surface = motion.of(found.surface.covariance)
    gap = motion.jacobian @ pose_error(found.patient_T_anatomy, touched.result.patient_T_anatomy)
    between = of_points + of_surface + (first - second) @ (first - second).T
    square = float(gap @ np.linalg.solve(between, gap))
    weight = of_surface @ np.linalg.inv(of_points + of_surface)
    spread = of_points - of_points @ np.linalg.solve(of_points + of_surface, of_points)
    shared = weight @ first + (np.eye(6) - weight) @ second
    chance = float(chdtrc(6, square))
    birge = max(1.0, square / 6.0) if chance < config.disagreement_chance else 1.0
    step = np.linalg.solve(motion.jacobian, weight @ gap)
    pose = found.patient_T_anatomy
    joined = make_transform(rotation_exp(step[3:]) @ pose[:3, :3], pose[:3, 3] + step[:3])
    held = gap - _free_part(of_surface, gap, config.surface.refuse_sigma)
    apart = float(np.linalg.norm(held))
    verdict, reasons = found.verdict, list(found.reasons)
    if chance < config.disagreement_chance:
        worse = apart > config.refuse_disagreement
        verdict = Verdict.REFUSE if worse or verdict is Verdict.REFUSE else Verdict.WARN
        reasons.append(
            f'landmarks and surface put the swab {1e3 * apart:.2g} mm apart (chance {chance:.1g}): a landmark set that '
            'is shifted as a whole, a deformed organ, or another one'
        )
    covariance = motion.back(birge * spread + shared @ shared.T)
    return replace(
        found,
        patient_T_anatomy=joined,
        covariance=0.5 * (covariance + covariance.T),
        shared=np.asarray(np.linalg.solve(motion.jacobian, shared), float),
        verdict=verdict,
        reasons=tuple(reasons),
        notes=_left_to_the_landmarks(found, motion, config),
        disagreement=apart,
    )


def _free_part(covariance: Array, motion: Array, limit: float) -> Array:
    """Return the part (6,) of a motion [m] along the axes whose sigma in a covariance (6, 6) [m²] is above a limit."""
    variances, axes = np.linalg.eigh(covariance)
    free = axes[:, variances > limit**2]
    return np.asarray(free @ (free.T @ motion))


def _left_to_the_landmarks(found: SwabResult, motion: CloudMotion, config: SwabConfig) -> tuple[str, ...]:
    worst, motions = motion.worst(found.surface.covariance)
    if worst <= config.surface.refuse_sigma:
        return ()
    return (f'the swab alone does not hold {motions[0]}: there the landmarks decide',) if motions else ()


def _positive(covariance: Array) -> Array:
    values, axes = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return np.asarray(axes * np.maximum(values, _FLOOR) @ axes.T)


def _judged(found: SwabResult, points: Array, target: SurfaceTarget, config: SwabConfig, *, joined: bool) -> SwabResult:
    """Hold the σ of the whole against its limits, and look for what explains a misfit."""
    limits, surface = config.surface, found.surface
    worst, motions = CloudMotion.at(points, found.patient_T_anatomy).worst(found.covariance)
    verdict, reasons = found.verdict, list(found.reasons)
    if worst > limits.warn_sigma and (joined or not surface.weak):
        limit = limits.refuse_sigma if worst > limits.refuse_sigma else limits.warn_sigma
        verdict = Verdict.REFUSE if worst > limits.refuse_sigma or verdict is Verdict.REFUSE else Verdict.WARN
        name = f' of {motions[0]}' if motions else ''
        reasons.append(f'sigma{name}: {1e3 * worst:.3g} mm is above {1e3 * limit:g} mm: swab where it curves otherwise')
    places = target.surface.vertices[:: 1 + len(target.surface.vertices) // _PLACES]
    farthest = float(tre_field(found.patient_T_anatomy, found.covariance, places).max())
    if farthest > config.warn_tre:
        verdict = Verdict.REFUSE if verdict is Verdict.REFUSE else Verdict.WARN
        reasons.append(
            f'the expected error grows to {1e3 * farthest:.2g} mm on the surface away from the swab, above '
            f'{1e3 * config.warn_tre:g} mm: swab more of {target.surface.name!r}, around where the work is'
        )
    misfit = surface.rms > limits.warn_rms or surface.systematic > limits.warn_systematic
    misfit = misfit or surface.inlier_share < limits.warn_inliers
    if misfit:
        stretch = explain_axis(points, target, surface, config.refine)
        if stretch.cause and stretch.spread <= limits.warn_rms:
            verdict = Verdict.REFUSE
            reasons = [reason for reason in reasons if reason != surface.cause] + [stretch.cause]
        elif stretch.spread > limits.warn_rms and verdict is Verdict.REFUSE and 'mirrored' not in surface.cause:
            reasons.append(
                f'no scale, mirror image or axis explains all of it: is {target.surface.name!r} the organ, the side '
                'and the patient that was swabbed, and does the tip fit the tool?'
            )
    return replace(found, verdict=verdict, reasons=tuple(reasons), sigma=worst)
