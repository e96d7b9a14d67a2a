"""Where a surface registration starts: near a given pose, or anywhere when nothing is known."""

import numpy as np

from twin_nodes.core.geometry.se3 import Array, rotation_exp, rotation_from_quat
from twin_nodes.core.registration.surface_refine import Cloud, Fit, RefineConfig, descend_coarsely
from twin_nodes.core.registration.surface_target import SurfaceTarget

_POINTS = 120
_STEPS = 12
_BEST = 12
_ROTATIONS = 96
_PLACES = 20
_PSI = 1.533751168755204288118041


def rotations_everywhere(count: int) -> Array:
    """Return evenly spread rotations, shape (count, 3, 3) (super-Fibonacci spiral, Alexa 2022)."""
    s = np.arange(count) + 0.5
    r, big_r = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    alpha, beta = 2.0 * np.pi * s / np.sqrt(2.0), 2.0 * np.pi * s / _PSI
    return rotation_from_quat(
        np.stack([r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta), big_r * np.cos(beta)], axis=1)
    )


def starts_near(fit: Fit, *, angle: float = 0.4, shift: float = 0.015) -> list[Fit]:
    """Return a start and 64 around it: turned about 8 directions and moved along 8, both at once."""
    corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]) / np.sqrt(3.0)
    turned = [np.ascontiguousarray(rotation_exp(angle * axis) @ fit.turn) for axis in corners]
    return [fit] + [Fit(turn, fit.offset + shift * way) for turn in turned for way in corners]


def starts_anywhere(target: SurfaceTarget) -> list[Fit]:
    """Return starts over all rotations, with the cloud's centroid below places spread over the surface."""
    surface = target.surface
    middle = surface.vertices.mean(axis=0)
    places = _spread_out(surface.vertices, _PLACES)
    offsets = np.vstack([middle + 0.8 * (places - middle), middle[None]])
    return [Fit(np.ascontiguousarray(turn), offset) for turn in rotations_everywhere(_ROTATIONS) for offset in offsets]


def best_basins(starts: list[Fit], cloud: Cloud, target: SurfaceTarget, config: RefineConfig) -> list[Fit]:
    """Descend from all starts with few points, from the best with more, and return these by their residuals' spread."""
    quick = RefineConfig(max_iterations=_STEPS, tolerance=1e-3, floor=config.floor, tuning=config.tuning)
    found = sorted((descend_coarsely(fit, _POINTS, cloud, target, quick) for fit in starts), key=lambda fit: fit.sigma)
    kept: list[Fit] = []
    for fit in found:
        if len(kept) == _BEST:
            break
        if not any(apart(fit, other, cloud.length) < 0.1 * cloud.length for other in kept):
            kept.append(fit)
    refined = [descend_coarsely(fit, config.coarse_points, cloud, target, config, fine=True) for fit in kept]
    return sorted(refined, key=lambda fit: fit.sigma)


def apart(fit: Fit, other: Fit, length: float) -> float:
    """Return how far the points of a cloud of this size [m] move between two fits [m], roughly their RMS."""
    turned = float(np.linalg.norm(fit.turn - other.turn)) * length / np.sqrt(3.0)
    return float(np.hypot(np.linalg.norm(fit.offset - other.offset), turned))


def _spread_out(points: Array, count: int) -> Array:
    """Choose points far from one another (Gonzalez 1985)."""
    chosen = [points[0]]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.linalg.norm(points - chosen[-1], axis=1))
        chosen.append(points[int(np.argmax(distance))])
    return np.array(chosen)
