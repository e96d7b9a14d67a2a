"""The one or two poses that a body can have by one image, with tags that do not fit left out and named.

A flat body seen from far looks the same tilted towards the camera and away from it, so that the reprojection error has
two minima (Schweighofer and Pinz 2006). The starts are both solutions of IPPE (Collins and Bartoli 2014) of all
corners and of each tag, SQPnP (Terzakis and Lourakis 2020) where the body is not flat, and the mirror image of the
best pose about the line of sight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, rotation_log
from twin_nodes.core.tracking.visual.reprojection import CornerView, FittedPose, fit_pose, reproject

_FLAT = 1e-3
_MOST_STARTS = 4
_GROUP_CAP = 9.0  # standard deviations of a group, above which it no longer pulls on the choice of a start
_HOPELESS = 60.0  # difference of misfits from which the second solution need not be kept
_SAME = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class BodySolutions:
    """What one image says of the pose of a body.

    Args:
        solutions: One or two, the one with the smaller misfit first; over the groups that were kept.
        kept: Which groups were kept, shape (k,).
    """

    solutions: tuple[FittedPose, ...]
    kept: Array


def solve_body(view: CornerView, *, variance_factor: float, outlier: float) -> BodySolutions | None:
    """Find the poses of a body.

    Args:
        view: Its corners.
        variance_factor: By how much the pixel variances are larger than stated.
        outlier: Limit on the misfit of a group [standard deviations] above which it is left out, where most fit.

    Returns:
        The solutions, or None where none lies in front of the camera.
    """
    kept = np.ones(view.groups, bool)
    best = _best_start(view, variance_factor)
    if best is None:
        return None
    if view.groups > 2:
        kept, best = _without_outliers(view, best, variance_factor, outlier)
    else:
        best = fit_pose(view, best.pose) or best
    part = view.part(kept)
    second = _second(part, best)
    if second is not None and second.misfit < best.misfit:
        best, second = second, best
    apart = second is not None and second.misfit - best.misfit < _HOPELESS * variance_factor
    return BodySolutions((best, second) if second is not None and apart else (best,), kept)


def mirrored(pose: Array, points: Array) -> Array:
    """Return the pose with the normal of its points (n, 3) mirrored about the line of sight to their centre."""
    centre = points.mean(axis=0)
    normal = np.linalg.svd(points - centre)[2][-1]
    sight = pose[:3, :3] @ centre + pose[:3, 3]
    sight = sight / np.linalg.norm(sight)
    normal = pose[:3, :3] @ normal
    if normal @ sight < 0.0:
        normal = -normal
    axis = np.cross(normal, sight)
    turn = rotation_exp(2.0 * np.arctan2(np.linalg.norm(axis), normal @ sight) * _unit(axis))
    rotation = turn @ pose[:3, :3]
    held = pose[:3, :3] @ centre + pose[:3, 3]
    return make_transform(rotation, held - rotation @ centre)


def view_angle(pose: Array, corners: Array) -> float:
    """Return the angle [rad] between the line of sight and the normal of a tag with corners (4, 3) in its body."""
    seen = corners @ pose[:3, :3].T + pose[:3, 3]
    normal = _unit(np.cross(seen[2] - seen[0], seen[3] - seen[1]))
    return float(np.arccos(np.clip(abs(normal @ _unit(seen.mean(axis=0))), 0.0, 1.0)))


def is_flat(points: Array) -> bool:
    """Say whether points (n, 3) lie in a plane."""
    sizes = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(sizes[2] <= _FLAT * sizes[0])


def _best_start(view: CornerView, factor: float) -> FittedPose | None:
    """Return the start under which most groups fit."""
    cap = _cap(view, factor)
    best, least = None, np.inf
    for start in _starts(view):
        errors = fit_pose(view, start) if view.groups <= 2 else reproject(view, start)
        if errors is None:
            continue
        cost = float(np.minimum(errors.misfits, cap).sum())
        if cost < least:
            best, least = errors, cost
    return best


def _starts(view: CornerView) -> Iterator[Array]:
    every = view.points.reshape(-1, 3)
    rays = view.rays()
    if len(every) < 4:
        return
    yield from _flat_starts(every, rays) if is_flat(every) else _general_starts(every, rays)
    size = view.points.shape[1]
    if view.groups > 1 and size >= 4:
        spans = np.ptp(view.pixels, axis=1).prod(axis=1)
        for group in np.argsort(-spans, kind='stable')[: 2 * _MOST_STARTS]:
            part = slice(size * group, size * (group + 1))
            yield from _flat_starts(every[part], rays[part])


def _flat_starts(points: Array, rays: Array) -> Iterator[Array]:
    """Yield both solutions of IPPE, computed in the plane of the points."""
    import cv2

    centre = points.mean(axis=0)
    axes = np.linalg.svd(points - centre)[2]
    axes[2] = np.cross(axes[0], axes[1])
    flat = (points - centre) @ axes.T
    flat[:, 2] = 0.0
    body_T_plane = make_transform(axes.T, centre)
    try:
        found = cv2.solvePnPGeneric(flat, rays[:, None], np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:
        return
    for rotation, position in zip(found[1], found[2], strict=True):
        pose = make_transform(rotation_exp(np.ravel(rotation)), np.ravel(position))
        if np.isfinite(pose).all():
            yield pose @ np.linalg.inv(body_T_plane)


def _general_starts(points: Array, rays: Array) -> Iterator[Array]:
    import cv2

    try:
        found = cv2.solvePnPGeneric(points, rays[:, None], np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:
        return
    for rotation, position in zip(found[1], found[2], strict=True):
        pose = make_transform(rotation_exp(np.ravel(rotation)), np.ravel(position))
        if np.isfinite(pose).all():
            yield pose


def _without_outliers(view: CornerView, start: FittedPose, factor: float, outlier: float) -> tuple[Array, FittedPose]:
    """Refine on the groups that fit; the worst goes first, and at least half must stay."""
    freedom = 2.0 * view.points.shape[1]
    cap = _cap(view, factor)
    kept = start.misfits <= np.maximum(cap, np.sort(start.misfits)[(view.groups - 1) // 2])
    best = fit_pose(view.part(kept), start.pose) or start
    for _ in range(view.groups):
        errors = reproject(view, best.pose)
        if errors is None:
            break
        scale = max(factor, float(np.median(errors.misfits)) / freedom)
        # Wilson and Hilferty (1931): the cube root of a chi-square is nearly normal
        ratio = np.cbrt(errors.misfits / (freedom * scale))
        score = (ratio - (1.0 - 2.0 / (9.0 * freedom))) / np.sqrt(2.0 / (9.0 * freedom))
        order = np.argsort(score, kind='stable')
        good = score <= outlier
        good[order[: (view.groups + 1) // 2]] = True
        if (good == kept).all():
            break
        kept = good
        best = fit_pose(view.part(kept), best.pose) or best
    final = fit_pose(view.part(kept), best.pose)
    return kept, final or best


def _second(view: CornerView, best: FittedPose) -> FittedPose | None:
    """Return another minimum than the best, or None."""
    points = view.points.reshape(-1, 3)
    starts = [mirrored(best.pose, points)]
    if view.groups == 1 and len(points) == 4:
        starts += list(_flat_starts(points, view.rays()))
    found = None
    for start in starts:
        other = fit_pose(view, start)
        if other is None or _turn(other.pose, best.pose) < _SAME:
            continue
        if found is None or other.misfit < found.misfit:
            found = other
    return found


def _cap(view: CornerView, factor: float) -> float:
    return float(_GROUP_CAP**2 * 2.0 * view.points.shape[1] * factor)


def _turn(first: Array, second: Array) -> float:
    return float(np.linalg.norm(rotation_log(first[:3, :3].T @ second[:3, :3])))


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else np.array([1.0, 0.0, 0.0])
