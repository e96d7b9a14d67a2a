"""Whether what was seen is this organ at all, and what it may be instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import State
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints, Tracked
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.registration.surface_faults import explain_misfit
from twin_nodes.core.registration.surface_refine import Cloud, RefineConfig, refine, start_at
from twin_nodes.core.registration.surface_target import SurfaceTarget

REFUSED = 'DEFORMATION_REFUSED'
_INLIER_SIGMAS = 4.0


@dataclass(frozen=True)
class Fitness:
    """How well a deformation explains what was seen.

    Args:
        inlier_share: Share of the points that lie on the organ, 0 … 1.
        rms: Root mean square residual of these along the normal [m].
        expected: What it would be by noise alone [m].
    """

    inlier_share: float
    rms: float
    expected: float


def check_observations(seen: SurfacePoints, tracked: Tracked, compliance: Compliance, config: NonrigidConfig) -> None:
    """Refuse what no fit can be made from.

    Raises:
        DegenerateGeometryError: DEFORMATION_REFUSED for too few points.
        InputError: UNIT_SUSPECT for a cloud of another size than the organ.
    """
    if len(seen) < config.min_points and not (len(tracked) >= 3 and len(seen) == 0):
        raise DegenerateGeometryError(
            f'{len(seen)} surface points: at least {config.min_points} are needed to tell a deformation; see more of '
            'the surface',
            code=REFUSED,
        )
    points = seen.points_patient if len(seen) else tracked.places_patient
    length = float(np.sqrt(np.mean(np.sum((points - points.mean(axis=0)) ** 2, axis=1))))
    size = float(np.linalg.norm(np.ptp(compliance.model.rest, axis=0)))
    if not 1e-2 < length / size < 3.0:
        raise InputError(
            f'the points spread over {length:.3g} m about their centroid and the organ measures {size:.3g} m: is the '
            'unit of one of them wrong?',
            code='UNIT_SUSPECT',
        )


def fitness(state: State, seen: SurfacePoints) -> Fitness:
    """Judge the residuals of a fit."""
    if not len(seen):
        return Fitness(1.0, 0.0, 0.0)
    typical = float(np.median(seen.sigma))
    # no organ is so rough that a point this far off lies on it, however wide the residuals spread
    limit = _INLIER_SIGMAS * min(state.sigma, 2.0 * typical + 5e-4)
    inliers = np.abs(state.residuals) <= limit
    rms = float(np.sqrt(np.mean(state.residuals[inliers] ** 2))) if inliers.any() else np.inf
    return Fitness(float(inliers.mean()), rms, typical)


def judge(
    fit: Fitness,
    state: State,
    displacement: Array,
    volume_change: float,
    compliance: Compliance,
    config: NonrigidConfig,
) -> tuple[Verdict, list[str]]:
    """Hold a fit against its limits.

    Args:
        fit: How well it explains the points.
        state: Its amplitude and its last step.
        displacement: Of each node without the rigid motion [m], shape (n, 3).
        volume_change: As a share.
        compliance: The organ.
        config: The limits.
    """
    refused, doubts = [], []
    if fit.inlier_share < config.refuse_inliers:
        refused.append(f'only {100 * fit.inlier_share:.0f} % of the points lie on the organ, limit '
                       f'{100 * config.refuse_inliers:.0f} %')  # fmt: skip
    elif fit.inlier_share < config.warn_inliers:
        doubts.append(f'only {100 * fit.inlier_share:.0f} % of the points lie on the organ, limit '
                      f'{100 * config.warn_inliers:.0f} %')  # fmt: skip
    limit = max(config.refuse_rms, config.refuse_ratio * fit.expected)
    if fit.rms > limit:
        refused.append(f'RMS residual {1e3 * fit.rms:.3g} mm is above {1e3 * limit:.3g} mm')
    size = float(np.linalg.norm(np.ptp(compliance.model.rest, axis=0)))
    furthest = float(np.linalg.norm(displacement, axis=1).max())
    if furthest > config.refuse_displacement * size:
        refused.append(f'the organ would be deformed by {1e3 * furthest:.0f} mm at {1e3 * size:.0f} mm of size')
    bent = float(np.sqrt(state.amounts @ compliance.gram @ state.amounts / np.trace(compliance.gram)))
    if bent > config.refuse_bend:
        refused.append(f'the organ would be deformed {bent:.1f} times as far as expected, limit {config.refuse_bend:g}')
    if state.amplitude > 0.99 * config.max_amplitude:
        refused.append(f'the organ would be deformed {state.amplitude:.1f} times as much as expected, the limit')
    if state.step > config.refuse_step:
        refused.append(f'no convergence: the last of {state.steps} steps was {1e3 * state.step:.3g} mm')
    if abs(volume_change) > config.refuse_volume:
        refused.append(f'the volume would change by {100 * volume_change:+.0f} %')
    if refused:
        return Verdict.REFUSE, refused + doubts
    return (Verdict.WARN, doubts) if doubts else (Verdict.ACCEPT, [])


def explain(seen: SurfacePoints, start: Array, target: SurfaceTarget) -> str:
    """Say what explains a cloud that does not fit: mirrored, of another scale; '' for none."""
    cloud = Cloud.from_points(np.ascontiguousarray(transform_points(inverse(start), seen.points_patient)))
    config = RefineConfig()
    return explain_misfit(refine(start_at(np.eye(4), cloud), cloud, target, config), cloud, target, config)
