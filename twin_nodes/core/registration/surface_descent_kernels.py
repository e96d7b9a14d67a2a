"""Compiled kernels: the whole way of a cloud onto a surface in one call, from a few points to all."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.registration.surface_exact_kernels import plane_error
from twin_nodes.core.registration.surface_kernels import cell_pass, grid_pass, move, robust_scale, solve

_SCALED = 1000  # residuals that tell their spread well enough
_HOLDS = 10.0  # tolerances; after a shorter step the planes' error is about the same as before it
_NEGLIGIBLE = 0.02  # of σ; an error of the planes that adds nothing to that of the points
_LEAST_STRIDE = 4
_WIDE = 3.0  # times the scale of the weight: that of a cloud without outliers


@njit(cache=True)
def descend(
    values: Any, origin: Any, spacing: float, points: Any, stride: int, turn: Any, offset: Any, length: float,
    tuning: float, floor: float, iterations: int, tolerance: float,
) -> tuple[int, float, float]:  # fmt: skip
    """Gauss–Newton on a grid with the weight's scale following the residuals; the pose is changed in place.

    Args:
        values: As in `grid_pass`, and so on down to length.
        origin: Of the grid.
        spacing: Of the grid.
        points: The cloud.
        stride: Every so manieth point is taken.
        turn: Changed in place.
        offset: Changed in place.
        length: L [m].
        tuning: Scale of the weight over σ of the residuals.
        floor: Least σ [m].
        iterations: Most steps.
        tolerance: Ends below this step [m].

    Returns:
        Steps made, σ of the residuals [m] and size of the last step [m].
    """
    normal, right, sums, step = np.empty((6, 6)), np.empty(6), np.empty(4), np.empty(6)
    residuals = np.empty((len(points) + stride - 1) // stride)
    scale, size, cut = np.inf, np.inf, 1e3
    for number in range(iterations):
        grid_pass(values, origin, spacing, points, stride, turn, offset, length, cut, normal, right, sums, residuals)
        scale = max(robust_scale(residuals), floor)
        cut = tuning * scale
        solve(normal, right, step)
        size = move(turn, offset, step, length)
        if size < tolerance:
            return number + 1, scale, size
    return iterations, scale, size


@njit(cache=True)
def polish(
    index: Any, cells: Any, hints: Any, misfit: float, values: Any, origin: Any, spacing: float, corners: Any,
    feature_normals: Any, across: Any, points: Any, turn: Any, offset: Any, length: float, sigma: float,
    facet_height: float, smooth: bool, middle: int, exact: int, tuning: float, floor: float, iterations: int,
    tolerance: float, normal: Any, sums: Any, residuals: Any, facets: Any,
) -> tuple[int, float, float]:  # fmt: skip
    """Newton's method over the planes: some steps with a part of the points, then all, corrected by exact distances.

    Args:
        index: As of `number_bricks`.
        cells: As of `fill_cells`.
        hints: As of `fill_cells`.
        misfit: Error of the planes [m], root mean square.
        values: As in `cell_pass`, and so the next two.
        origin: Of the grid.
        spacing: Of the grid.
        corners: As in `exact_residual`, and so the next two.
        feature_normals: Of the triangles.
        across: Of the triangles.
        points: The cloud.
        turn: Changed in place.
        offset: Changed in place.
        length: L [m].
        sigma: Spread of the residuals so far [m].
        facet_height: Of a smooth surface through the vertices above the triangles [m], root mean square.
        smooth: Whether the points lie on that surface. Else they may lie there, on the triangles or between: half of
            the height is then taken and as much counted as its error, unless less noise than that tells the triangles.
        middle: Points of the first steps.
        exact: Points whose exact distances are taken, at least, where the planes' error counts.
        tuning: Scale of the weight over σ of the residuals.
        floor: Least σ [m].
        iterations: Most steps with all points.
        tolerance: Ends below this step [m], or a tenth of σ.
        normal: Gets Σ w a aᵀ, shape (6, 6).
        sums: Gets the sums of `sum_block`, shape (4,).
        residuals: Gets the distances of all points before the last step [m], shape (n,).
        facets: Gets Σ w a e with the error e of the surface's height at each point [m], shape (6,).

    Returns:
        Steps made, σ of the residuals [m] and size of the last step [m].
    """
    count = len(points)
    right, step, error = np.empty(6), np.empty(6), np.zeros(6)
    steps, size, cut = 0, np.inf, np.inf
    stride = count // middle
    while stride >= _LEAST_STRIDE and steps < 2 and size > sigma:
        few = np.empty((count + stride - 1) // stride)
        cut, share = tuning * math.hypot(sigma, misfit), _share(sigma, facet_height, smooth)
        cell_pass(
            index, cells, values, origin, spacing, points, stride, turn, offset, length, cut, sigma * sigma,
            share, normal, right, sums, few,
        )  # fmt: skip
        sigma = max(robust_scale(few), floor)
        size = _advance(normal, right, sums, step, turn, offset, length)
        steps += 1
    size, widen = np.inf, 1.0
    stride = count // _SCALED + 1
    for _ in range(iterations):
        cut, share = widen * tuning * math.hypot(sigma, misfit), _share(sigma, facet_height, smooth)
        cell_pass(
            index, cells, values, origin, spacing, points, 1, turn, offset, length, cut, sigma * sigma, share, normal,
            right, sums, residuals,
        )  # fmt: skip
        if misfit > _NEGLIGIBLE * sigma:
            # few exact distances tell the planes' mean error; where that is not far below the noise, more are taken
            wanted = max(float(exact), 50.0 * count * (misfit / sigma) ** 2)
            exact_stride = max(1, int(count / wanted))
            if size > _HOLDS * tolerance or exact_stride == 1:
                plane_error(
                    index, cells, hints, origin, spacing, corners, feature_normals, across, points, turn, offset,
                    length, cut, exact_stride, residuals, error,
                )  # fmt: skip
        right += error
        sigma = max(robust_scale(np.ascontiguousarray(residuals[::stride])), floor)
        size = _advance(normal, right, sums, step, turn, offset, length)
        steps += 1
        if size <= min(tolerance, 0.1 * sigma):
            break
        cut = tuning * math.hypot(sigma, misfit)
        widen = _WIDE if _spread_of_pose(residuals, _WIDE * cut) < _spread_of_pose(residuals, cut) else 1.0
    for i in range(6):
        for j in range(i):
            normal[j, i] = normal[i, j]
    facets[:] = 0.0
    if not smooth:
        few, other, unused = np.empty((count + stride - 1) // stride), np.empty((6, 6)), np.empty(4)
        for sign in (-1.0, 1.0):
            cell_pass(
                index, cells, values, origin, spacing, points, stride, turn, offset, length, cut, 0.0, 0.5 * sign,
                other, right, unused, few,
            )  # fmt: skip
            facets += sign * stride * _share(sigma, facet_height, smooth) * right
    return steps, sigma, size


@njit(cache=True, fastmath={'reassoc', 'contract', 'nsz', 'arcp'})
def _spread_of_pose(residuals: Any, cut: float) -> float:
    """Return what the weight of this scale makes of the pose's variance, in proportion: Σ (w r)² over (Σ d(w r)/dr)².

    With outliers a narrow weight gives less, without any a wide one (Huber 1981).
    """
    influence, slope, scale = 0.0, 0.0, 1.0 / cut
    for m in range(len(residuals)):
        r = residuals[m]
        u = (r * scale) ** 2
        u = 1.0 / (1.0 + u * u)
        w = u * u
        influence += w * w * r * r
        slope += w * (8.0 * u - 7.0)
    return influence / (slope * slope) if slope > 0.0 else np.inf


@njit(cache=True)
def _share(sigma: float, facet_height: float, smooth: bool) -> float:
    """Return the share of the height above the triangles that is taken for the truth."""
    return 1.0 if smooth else 0.5 * sigma * sigma / (sigma * sigma + facet_height * facet_height)


@njit(cache=True)
def _advance(normal: Any, right: Any, sums: Any, step: Any, turn: Any, offset: Any, length: float) -> float:
    """Solve and move; weights that fall as residuals grow make the step of fixed weights too short by a known share."""
    if sums[3] > 0.0:
        right *= min(sums[0] / sums[3], 1.5)
    solve(normal, right, step)
    return move(turn, offset, step, length)
