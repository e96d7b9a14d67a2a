"""Whether one axis of the anatomy has another length than its surface says: a wrong spacing of the slices."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, transform_points
from twin_nodes.core.registration.paired_points import fit_rigid
from twin_nodes.core.registration.surface import SurfaceResult
from twin_nodes.core.registration.surface_refine import Cloud, RefineConfig, refine, start_at
from twin_nodes.core.registration.surface_target import SurfaceTarget

_FACTORS = (0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
_ROUNDS = 3
_BETTER = 0.6
_POINTS = 400
_ALL = 3


@dataclass(frozen=True)
class Stretch:
    """What fits best when lengths are free.

    Args:
        cause: A sentence when it is one axis, '' else.
        spread: Of the residuals then [m]; what remains above the noise is explained by no length.
    """

    cause: str
    spread: float


def explain_axis(points_patient: Array, target: SurfaceTarget, result: SurfaceResult, config: RefineConfig) -> Stretch:
    """Say whether a cloud (n, 3) [m] fits far better with one axis of the anatomy stretched.

    The points are brought to the anatomy by the pose that fits best, stretched along one axis or all, and fitted
    again; the pose is improved with the stretch, as a wrong length turns it. An axis counts when the spread of the
    residuals falls below 0.6 of what it was, and more than all axes alike can do.
    """
    stride = max(1, len(points_patient) // _POINTS)
    points = np.ascontiguousarray(np.asarray(points_patient, float)[::stride])
    before = _fit(transform_points(inverse(result.patient_T_anatomy), points), target, config)[1]

    def spread(axis: int, factor: float) -> tuple[float, int, float]:
        scales = np.full(3, factor) if axis == _ALL else np.where(np.arange(3) == axis, factor, 1.0)
        return _stretched(points, target, result, config, scales), axis, factor

    best = min(spread(axis, factor) for axis in range(4) for factor in _FACTORS)
    _, axis, factor = best
    if best[0] > _BETTER * max(before, result.sigma):
        return Stretch('', best[0])
    best = min(spread(axis, float(value)) for value in np.linspace(factor - 0.04, factor + 0.04, 9))
    if axis == _ALL:
        return Stretch('', best[0])
    percent, word = 100.0 * abs(1.0 - 1.0 / best[2]), 'long' if best[2] < 1.0 else 'short'
    part = 'a fifth' if abs(percent - 20.0) <= 1.5 else f'{percent:.0f} %'
    return Stretch(
        f'axis {"xyz"[axis]} of the swab looks {part} too {word} against {target.surface.name!r}: check the slice '
        'spacing of the image, or the calibration of the tracker',
        best[0],
    )


def _stretched(
    points: Array, target: SurfaceTarget, result: SurfaceResult, config: RefineConfig, scales: Array
) -> float:
    """Return the spread [m] of the residuals with the axes of the anatomy stretched by factors (3,)."""
    anatomy_T_patient, spread = inverse(result.patient_T_anatomy), np.inf
    for _ in range(_ROUNDS):
        moved = transform_points(anatomy_T_patient, points)
        step, spread = _fit(np.ascontiguousarray(moved * scales), target, config)
        # the step holds for stretched points; taken over to the unstretched ones it is nearly the same turn
        fitted = transform_points(step, moved * scales) / scales
        anatomy_T_patient = _rigid(points, fitted)
    return spread


def _fit(points: Array, target: SurfaceTarget, config: RefineConfig) -> tuple[Array, float]:
    cloud = Cloud.from_points(np.ascontiguousarray(points))
    fit = refine(start_at(np.eye(4), cloud), cloud, target, config)
    return inverse(fit.pose(cloud)), float(fit.sigma)


def _rigid(source: Array, fitted: Array) -> Array:
    return fit_rigid(fitted, source)
