"""A cloud of surface points as it comes from outside: thinned, and refused where it cannot be this organ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.observations import SurfacePoints, make_surface_points
from twin_nodes.core.anatomy.nonrigid.tracker import Deformation, DeformationTracker
from twin_nodes.core.anatomy.session_config import AnatomySessionConfig, ObservedConfig
from twin_nodes.core.calibration.verdict import Verdict
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

_SIDES = (
    ('x turned round', (-1.0, 1.0, 1.0)),
    ('y turned round', (1.0, -1.0, 1.0)),
    ('z turned round', (1.0, 1.0, -1.0)),
    ('x and y turned round (RAS in place of LPS)', (-1.0, -1.0, 1.0)),
)
_CUT = 16.0
_LEAST_AWAY = 1e-4  # [m]: a point nearer than this to a node goes with that node
_LEAST_RATIO = 0.1  # of the volume of a tetrahedron to that at rest
_MILLIMETRES = 20.0  # times the size of the organ: no cloud in metres reaches so far from it


def prepare(points_anatomy: Array, sigma: Array | float, surface: Array, config: ObservedConfig) -> SurfacePoints:
    """Check a cloud and thin it.

    Args:
        points_anatomy: Points by the rigid registration [m], shape (n, 3).
        sigma: Standard deviation of a coordinate [m], for all or each (n,).
        surface: Where the outer nodes are now [m], shape (b, 3).
        config: Settings.

    Raises:
        InputError: UNIT_SUSPECT, NOT_FINITE, or OBSERVED_REFUSED for a cloud that lies elsewhere.
    """
    seen = make_surface_points(points_anatomy, sigma)
    if not len(seen):
        raise InputError('the cloud holds no point', code='OBSERVED_REFUSED')
    size, middle = float(np.linalg.norm(np.ptp(surface, axis=0))), surface.mean(axis=0)
    far = float(np.median(np.linalg.norm(seen.points_patient - middle, axis=1)))
    if far > _MILLIMETRES * size:
        raise InputError(
            f'the points lie {far:.3g} m from the organ, which measures {size:.3g} m: are they in millimetres, or in '
            'another frame than they say?',
            code='UNIT_SUSPECT',
        )
    seen = thinned(seen, config.max_points)
    away = float(np.median(cKDTree(surface).query(seen.points_patient)[0]))
    if away > config.max_distance:
        raise InputError(
            f'the points lie {1e3 * away:.0f} mm from the organ (median; limit {1e3 * config.max_distance:.0f} mm): '
            'another organ, mirrored, or not registered',
            code='OBSERVED_REFUSED',
        )
    return seen


def without_tools(
    seen: SurfacePoints, outer: NDArray[np.int32], positions: Array, by_tools: Array, held: NDArray[np.int64]
) -> SurfacePoints:
    """Take off the points what tools and sensors do to the tissue there; leave out what lies in jaws.

    Args:
        seen: The points.
        outer: Nodes on the outside, shape (b,).
        positions: Where the nodes are now [m], shape (n, 3).
        by_tools: How far tools and sensors have moved them [m], shape (n, 3).
        held: Nodes in jaws, shape (h,).
    """
    if not np.any(by_tools):
        return seen
    found = cKDTree(positions[outer]).query(seen.points_patient, k=3)
    near, shares = np.asarray(found[1]), 1.0 / (np.asarray(found[0]) + _LEAST_AWAY)
    shares /= shares.sum(axis=1, keepdims=True)
    free = ~np.isin(outer[near[:, 0]], held)
    points = seen.points_patient - np.einsum('pk,pki->pi', shares, by_tools[outer[near]])
    return SurfacePoints(np.ascontiguousarray(points[free]), seen.sigma[free])


def thinned(seen: SurfacePoints, count: int) -> SurfacePoints:
    """Return at most so many of the points, evenly picked along the order they came in."""
    if len(seen) <= count:
        return seen
    kept = np.linspace(0, len(seen) - 1, count).round().astype(np.int64)
    return SurfacePoints(np.ascontiguousarray(seen.points_patient[kept]), seen.sigma[kept])


def check_fit(found: Deformation, compliance: Compliance, config: ObservedConfig) -> None:
    """Refuse a fit that nobody should believe.

    Args:
        found: The fit, in the anatomy.
        compliance: The organ.
        config: Settings.

    Raises:
        InputError: OBSERVED_REFUSED.
    """
    model, positions, reason = compliance.model, np.ascontiguousarray(found.positions_patient), ''
    displaced = float(np.sqrt(np.mean(np.sum((positions - model.rest) ** 2, axis=1))))
    if found.verdict is Verdict.REFUSE:
        reason = '; '.join(found.reasons)
    elif model.volume_ratios(positions).min() < _LEAST_RATIO:
        reason = 'tissue would be turned inside out to meet the cloud'
    elif found.amplitude > config.max_amplitude:
        reason = (
            f'it fits only with {found.amplitude:.1f} times the deformation that is expected, limit '
            f'{config.max_amplitude:g}: another organ?'
        )
    elif displaced > config.max_displacement:
        reason = (
            f'it fits only with the organ displaced by {1e3 * displaced:.0f} mm RMS, limit '
            f'{1e3 * config.max_displacement:.0f} mm: another organ, or registered badly?'
        )
    if reason:
        raise InputError(reason, code='OBSERVED_REFUSED')


def check_sides(seen: SurfacePoints, found: Deformation, compliance: Compliance, config: AnatomySessionConfig) -> None:
    """Refuse a cloud that fits the organ far better with an axis of the anatomy turned round.

    Args:
        seen: The cloud, in the anatomy.
        found: The fit of it as it is.
        compliance: The organ.
        config: Settings.

    Raises:
        InputError: OBSERVED_REFUSED.
    """
    limit = config.observed.mirror_ratio * _misfit(found, seen)
    for name, signs in _SIDES:
        turned = SurfacePoints(np.ascontiguousarray(seen.points_patient * signs), seen.sigma)
        surface = compliance.model.rest[compliance.outer]
        if float(np.median(cKDTree(surface).query(turned.points_patient)[0])) > config.observed.max_distance:
            continue
        other = DeformationTracker(compliance, config=config.fit).update(np.eye(4), turned)
        if other.verdict is not Verdict.REFUSE and _misfit(other, turned) < limit:
            raise InputError(
                f'the cloud fits the organ much better with {name}: it is mirrored, or its axes are others than said',
                code='OBSERVED_REFUSED',
            )


def _misfit(found: Deformation, seen: SurfacePoints) -> float:
    """Return what a fit costs: squared residuals over those expected, and the size of the deformation, per point."""
    assert found.posterior is not None
    state = found.posterior.state
    residuals = np.minimum((state.residuals / seen.sigma) ** 2, _CUT)
    return float(residuals.mean() + state.amounts @ state.amounts / len(seen))
