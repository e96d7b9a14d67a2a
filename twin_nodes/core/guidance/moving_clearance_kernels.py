"""Compiled kernel: the smallest distance between a tool and a surface that moves, with its uncertainty."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.guidance.clearance_kernels import (
    SAFE,
    WILD_WIDTH,
    breach_ahead,
    breach_probability,
    deviation,
    safe_distance,
)
from twin_nodes.core.guidance.moving_kernels import FAR, STACK, signed, slack

TOLERANCE = 1e-5  # m; an interval that can hold nothing nearer by more than this is left alone
_SHORTEST = 2e-4  # m; shorter intervals are not halved: at a surface the bounds have nothing to say
_LIKELIER = 0.01  # a larger probability by less than this is not sought between two points
_DEPTH = 32


@njit(cache=True)
def least_clearance_moving(
    tree: Any, seeds: Any, pose: Any, covariance: Any, ahead: Any, direction: Any, shape: Any, result: Any
) -> None:
    """Find the least distance between the tool and a surface, at the tip and along the shaft.

    The distance d of a point s of the axis is that to the nearest of many points q, |p(s) − q|² − s² is linear in s,
    so d² − s² is concave, and between two points ds apart d² ≥ (1 − λ)·d1² + λ·d2² − λ(1 − λ)·ds². Together with the
    1-Lipschitz bound (d1 + d2 − ds) / 2 it tells where nothing nearer can be; other intervals are halved.

    Args:
        tree: The surface, see `moving_tree_kernels.Tree`.
        seeds: Triangles to begin with at the tip and at the end of the shaft; written, shape (2,).
        pose: anatomy_T_tip, shape (4, 4).
        covariance: Of (δp, δφ) in anatomy axes without the prediction, shape (6, 6).
        ahead: Of the prediction alone, likewise.
        direction: From the tip along the shaft, unit, in the tip frame, shape (3,).
        shape: tip_radius, shaft_length, shaft_radius [m], shape (3,).
        result: Written: as in `clearance_kernels.least_clearance`.
    """
    nodes, gaps = np.empty(STACK, np.int64), np.empty(STACK)
    axis = np.empty((3, 3))  # tip, direction of the shaft, room for one point
    for i in range(3):
        axis[0, i] = pose[i, 3]
        axis[1, i] = pose[i, 0] * direction[0] + pose[i, 1] * direction[1] + pose[i, 2] * direction[2]
    tip_radius, length, shaft_radius = shape[0], shape[1], shape[2]
    result[0] = np.inf
    result[9] = 0.0
    safe = safe_distance(covariance, ahead, length, 0.0)
    start, seeds[0], sigma = _look(tree, seeds[0], axis, 0.0, covariance, ahead, tip_radius, safe, nodes, gaps, result)
    if shaft_radius > tip_radius and length > 0.0:
        start, seeds[0], sigma = _look(
            tree, seeds[0], axis, 0.0, covariance, ahead, shaft_radius, safe, nodes, gaps, result
        )
    if length > 0.0:
        _along_shaft(tree, seeds, axis, start, sigma, covariance, ahead, shape, safe, nodes, gaps, result)
    _describe(axis, covariance, ahead, result)


@njit(cache=True)
def _along_shaft(
    tree: Any, seeds: Any, axis: Any, start: float, sigma: float, covariance: Any, ahead: Any, shape: Any, safe: float,
    nodes: Any, gaps: Any, result: Any,
) -> None:  # fmt: skip
    """Look along the shaft from the tip, whose axis is `start` away, where anything nearer or likelier can be."""
    length, shaft_radius = shape[1], shape[2]
    end, seeds[1], last = _look(
        tree, seeds[1], axis, length, covariance, ahead, shaft_radius, safe, nodes, gaps, result
    )
    stack = np.empty((_DEPTH, 6))
    hints = np.empty(_DEPTH, np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3], stack[0, 4], stack[0, 5] = 0.0, length, start, end, sigma, last
    hints[0] = seeds[0]
    depth = 1
    while depth > 0:
        depth -= 1
        a, b, da, db, sa, sb = stack[depth]
        least = _lower_bound(da, db, b - a) - shaft_radius
        likely = breach_probability(least, WILD_WIDTH * max(sa, sb))
        nearer = least < result[0] - TOLERANCE - slack(result[0])
        if b - a <= _SHORTEST or depth + 2 > _DEPTH or not (nearer or likely > result[9] + _LIKELIER):
            continue
        m = 0.5 * (a + b)
        dm, hint, sm = _look(tree, hints[depth], axis, m, covariance, ahead, shaft_radius, safe, nodes, gaps, result)
        stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = a, m, da, dm
        stack[depth, 4], stack[depth, 5] = sa, sm
        hints[depth] = hint
        depth += 1
        stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = m, b, dm, db
        stack[depth, 4], stack[depth, 5] = sm, sb
        hints[depth] = hint
        depth += 1


@njit(cache=True)
def _lower_bound(da: float, db: float, ds: float) -> float:
    """Return what the distance cannot fall below between two points ds apart."""
    lipschitz = 0.5 * (da + db - ds)
    if da <= 0.0 or db <= 0.0:
        return lipschitz
    rise = db * db - da * da
    share = min(max(0.5 - 0.5 * rise / (ds * ds), 0.0), 1.0)
    squared = da * da + share * rise - share * (1.0 - share) * ds * ds
    return max(lipschitz, math.sqrt(squared)) if squared > 0.0 else lipschitz


@njit(cache=True)
def _look(
    tree: Any, seed: int, axis: Any, along: float, covariance: Any, ahead: Any, radius: float, safe: float, nodes: Any,
    gaps: Any, result: Any,
) -> tuple[float, int, float]:  # fmt: skip
    """Look at one point of the axis, keep it if it is the nearest yet; return distance, triangle and σ.

    From the distance `safe` on (where the surface is certain) its probability is none, and for σ its bound is returned.
    The σ of the nearest is made in `_describe`; until then result[1] is that of where the surface is.
    """
    rx, ry, rz = along * axis[1, 0], along * axis[1, 1], along * axis[1, 2]
    distance, gx, gy, gz, t = signed(axis[0, 0] + rx, axis[0, 1] + ry, axis[0, 2] + rz, seed, tree, nodes, gaps)
    a, b, c = tree.triangles[t]
    moved = max(tree.sigma[a], tree.sigma[b], tree.sigma[c])
    left = distance - radius
    if left < result[0]:
        result[0], result[1], result[3], result[4], result[5] = left, moved, gx, gy, gz
        result[6], result[7], result[8] = along, 1.0 if distance > FAR else 0.0, distance
    if left >= safe + SAFE * moved:
        return distance, t, safe / SAFE + moved
    own = math.hypot(deviation(gx, gy, gz, rx, ry, rz, covariance), moved)
    predicted = deviation(gx, gy, gz, rx, ry, rz, ahead)
    result[9] = max(result[9], breach_ahead(left, own, predicted))
    return distance, t, math.hypot(own, predicted)


@njit(cache=True)
def _describe(axis: Any, covariance: Any, ahead: Any, result: Any) -> None:
    """Write σ and probability of the nearest point."""
    along, gx, gy, gz = result[6], result[3], result[4], result[5]
    rx, ry, rz = along * axis[1, 0], along * axis[1, 1], along * axis[1, 2]
    own = math.hypot(deviation(gx, gy, gz, rx, ry, rz, covariance), result[1])
    predicted = deviation(gx, gy, gz, rx, ry, rz, ahead)
    result[1], result[2] = math.hypot(own, predicted), breach_ahead(result[0], own, predicted)
