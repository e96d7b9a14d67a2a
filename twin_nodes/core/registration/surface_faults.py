"""What may be wrong with a cloud that does not fit its surface: deformed, misplaced, scaled, mirrored."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.registration import surface_cloud_kernels as kernels
from twin_nodes.core.registration.surface_refine import Cloud, Fit, RefineConfig, descend_coarsely
from twin_nodes.core.registration.surface_start import best_basins, starts_anywhere, starts_near
from twin_nodes.core.registration.surface_target import SurfaceTarget

_REACH = 0.3
_BETTER = 0.7
_SCALES = (0.8, 0.84, 0.87, 0.9, 0.92, 0.94, 0.96, 1.04, 1.06, 1.08, 1.1, 1.12, 1.15, 1.2, 1.25)
_SHORT = (0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25)


@dataclass(frozen=True)
class Fitness:
    """How well a fit explains its points.

    Args:
        inlier_share: Share of points on the surface, 0 … 1.
        rms: Root mean square residual of these [m].
        systematic: RMS part of their residuals that neighbouring points share [m]. Independent noise has none; a wrong
            place or a deformed organ has little else.
    """

    inlier_share: float
    rms: float
    systematic: float


def assess(fit: Fit, cloud: Cloud, inlier_sigmas: float) -> Fitness:
    """Judge the residuals of a refined fit; a point beyond so many sigmas is an outlier."""
    count, squares, pairs, products = kernels.assess(
        cloud.points, fit.residuals, inlier_sigmas * fit.sigma, _REACH * cloud.length
    )
    if count == 0:
        return Fitness(0.0, np.inf, np.inf)
    mean = products / max(pairs, 1)
    # Chance gives this mean a deviation of about σ²/√n; three of these count as nothing.
    doubt = 3.0 * squares / count / np.sqrt(max(pairs, 1))
    systematic = np.sqrt(mean) if mean > doubt else 0.0
    return Fitness(count / len(cloud.points), float(np.sqrt(squares / count)), float(systematic))


def explain_misfit(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> str:
    """Try other scales of all axes and of one, and the mirrored cloud; say what fits far better, '' for none."""
    least = _BETTER * fit.sigma
    spreads = {scale: _scaled(fit, cloud, target, config, scale) for scale in _SCALES}
    scale = min(spreads, key=lambda key: spreads[key])
    shares = {
        (axis, short): _one_axis(fit, cloud, target, config, axis, short) for axis in range(3) for short in _SHORT
    }
    axis, short = min(shares, key=lambda key: shares[key])
    if shares[axis, short] < min(least, 0.95 * spreads[scale]):
        percent, way = 100.0 * abs(1.0 - short), 'short' if short < 1.0 else 'long'
        return (
            f'the points look about {percent:.0f} % too {way} along the {"xyz"[axis]} axis of the anatomy: check the '
            'spacing of the images along it'
        )
    if spreads[scale] < least:
        percent = 100.0 * abs(1.0 / scale - 1.0)
        way = 'small' if scale > 1.0 else 'large'
        return f'the points look about {percent:.0f} % too {way}: check the unit, the tip and the spacing of the images'
    if _mirrored(cloud, target, config) < least:
        return 'the points look mirrored: an axis of the tracker or of the images is turned round'
    return ''


def _scaled(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig, scale: float) -> float:
    changed = Cloud(cloud.points * scale, cloud.centroid, cloud.length * scale, cloud.order)
    best = min(
        (descend_coarsely(near, 150, changed, target, config) for near in starts_near(fit)[::8]),
        key=lambda near: near.sigma,
    )
    return descend_coarsely(best, config.coarse_points, changed, target, config, fine=True).sigma


def _one_axis(fit: Fit, cloud: Cloud, target: SurfaceTarget, config: RefineConfig, axis: int, short: float) -> float:
    """Return the spread after points that are so short along one axis of the anatomy have been stretched along it."""
    along = fit.turn[axis]
    stretched = cloud.points + (1.0 / short - 1.0) * np.outer(cloud.points @ along, along)
    length = float(np.sqrt((stretched**2).sum(axis=1).mean()))
    changed = Cloud(np.ascontiguousarray(stretched), cloud.centroid, length, cloud.order)
    best = min(
        (descend_coarsely(near, 150, changed, target, config) for near in starts_near(fit)[::8]),
        key=lambda near: near.sigma,
    )
    return descend_coarsely(best, config.coarse_points, changed, target, config, fine=True).sigma


def _mirrored(cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> float:
    changed = Cloud(np.ascontiguousarray(cloud.points * [-1.0, 1.0, 1.0]), cloud.centroid, cloud.length, cloud.order)
    return best_basins(starts_anywhere(target), changed, target, config)[0].sigma
