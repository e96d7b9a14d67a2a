"""A swab that leaves a motion free, such as sliding along a shaft, held there by touched landmarks.

Robust Gauss–Newton on the distances of the swab and on the landmark registration as a prior (maximum a posteriori), in
numbers of the cloud's motion.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.geometry.covariance import TO_SIGMA, pose_error
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.registration.motion_of_cloud import CloudMotion
from twin_nodes.core.registration.surface import SurfaceConfig, SurfaceResult, checked_cloud
from twin_nodes.core.registration.surface_faults import assess
from twin_nodes.core.registration.surface_refine import start_at
from twin_nodes.core.registration.surface_target import SurfaceTarget

_STEPS = 40
_SHORT = 1e-6
_CUT = 3.0


@dataclass(frozen=True, eq=False)
class Prior:
    """What the landmarks say: pose (4, 4) and its covariance (6, 6) without the error of the tip."""

    patient_T_anatomy: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class HeldSwab:
    """The pose of swab and landmarks together.

    Args:
        surface: What the swab says at that pose; its covariance is that of the whole.
        information: Of the swab alone about the motion of the cloud [1/m²], shape (6, 6).
        motion: The coordinates of that motion.
    """

    surface: SurfaceResult
    information: Array
    motion: CloudMotion


def register_held(points_patient: Array, target: SurfaceTarget, prior: Prior, config: SurfaceConfig) -> HeldSwab:
    """Register a swab where landmarks hold what it leaves free.

    Args:
        points_patient: Swabbed points [m], shape (n, 3).
        target: The surface.
        prior: The landmark registration.
        config: Limits of residuals; sigmas and free motions are for the caller.

    Raises:
        InputError: As `register_surface`.
        DegenerateGeometryError: Too few points.
    """
    cloud = checked_cloud(points_patient, target)
    points = np.asarray(points_patient, float)
    pose, step, steps = prior.patient_T_anatomy, np.full(6, np.inf), 0
    while steps < _STEPS and np.linalg.norm(step) > _SHORT:
        motion = CloudMotion.at(points, pose)
        distances, rows, sigma, weights = _look(points, target, pose, motion)
        information = (rows * weights[:, None]).T @ rows / sigma**2
        expected = np.linalg.inv(motion.of(prior.covariance))
        gap = motion.jacobian @ pose_error(pose, prior.patient_T_anatomy)
        right = (rows * weights[:, None]).T @ distances / sigma**2 + expected @ gap
        step = np.linalg.solve(information + expected, right)
        small = np.linalg.solve(motion.jacobian, step)
        pose = make_transform(rotation_exp(small[3:]) @ pose[:3, :3], pose[:3, 3] + small[:3])
        steps += 1
    spread = np.linalg.inv(information + expected)
    spread[:3, :3] += config.surface_sigma**2 * np.eye(3)
    covariance = motion.back(spread)
    fit = start_at(pose, cloud)
    fit.sigma = sigma
    fit.residuals = target.grid.query(cloud.points @ fit.turn.T + fit.offset).distances
    fitness = assess(fit, cloud, config.inlier_sigmas)
    residuals = target.grid.query(transform_points(inverse(pose), points)).distances
    verdict, reasons = _limits(fitness.rms, fitness.systematic, fitness.inlier_share, config)
    surface = SurfaceResult(
        pose, 0.5 * (covariance + covariance.T), residuals, config.inlier_sigmas * sigma, fitness.inlier_share,
        fitness.rms, sigma, fitness.systematic, steps, bool(np.linalg.norm(step) <= 10.0 * _SHORT), verdict, reasons,
    )  # fmt: skip
    return HeldSwab(surface, information, motion)


def _look(points: Array, target: SurfaceTarget, pose: Array, motion: CloudMotion) -> tuple[Array, Array, float, Array]:
    """Return distances (n,), their derivatives (n, 6), robust σ [m] and weights (n,) of 0 or 1."""
    samples = target.grid.query(transform_points(inverse(pose), points))
    length = np.linalg.norm(samples.gradients, axis=1, keepdims=True)
    normals = samples.gradients / np.where(length > 0.0, length, 1.0) @ pose[:3, :3].T
    distances = np.asarray(samples.distances, float)
    sigma = max(TO_SIGMA * float(np.median(np.abs(distances))), 1e-6)
    return distances, motion.rows(normals, points), sigma, (np.abs(distances) < _CUT * sigma).astype(float)


def _limits(rms: float, systematic: float, share: float, config: SurfaceConfig) -> tuple[Verdict, tuple[str, ...]]:
    checks = (
        ('RMS residual of the points on the surface', rms, config.warn_rms, config.refuse_rms),
        ('residual that neighbouring points share', systematic, config.warn_systematic, config.refuse_systematic),
    )
    verdict, reasons = Verdict.ACCEPT, []
    for what, value, warn, refuse in checks:
        if value > warn:
            limit = refuse if value > refuse else warn
            verdict = Verdict.REFUSE if value > refuse or verdict is Verdict.REFUSE else Verdict.WARN
            reasons.append(f'{what}: {1e3 * value:.3g} mm is above {1e3 * limit:g} mm')
    if share < config.warn_inliers:
        limit = config.refuse_inliers if share < config.refuse_inliers else config.warn_inliers
        verdict = Verdict.REFUSE if share < config.refuse_inliers or verdict is Verdict.REFUSE else Verdict.WARN
        reasons.append(f'only {100 * share:.0f} % of the points lie on the surface, limit {100 * limit:.0f} %')
    return verdict, tuple(reasons)
