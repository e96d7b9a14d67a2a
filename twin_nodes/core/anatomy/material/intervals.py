"""How sure fitted parameters are: between specimens, between repeats, and along the profile of the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from twin_nodes.core.anatomy.material.fit import LawFit, Projection
from twin_nodes.core.geometry.se3 import Array

CONFIDENCE = 0.95
REACH = 60  # doublings at most on the way to the end of a profile


@dataclass(frozen=True, eq=False)
class Intervals:
    """95 % intervals of the parameters of a fit.

    Args:
        source: What they rest on: 'specimens' (their spread), 'repeats' on one specimen, or 'residuals' of one test,
            thinned by their autocorrelation. The latter two say nothing of other specimens.
        covariance: Of the parameters, shape (k, k).
        freedom: Degrees of freedom of Student's t.
        low: Lower ends, shape (k,).
        high: Upper ends, shape (k,).
        between_sigma: Standard deviation of each parameter between specimens (k,), None for one specimen.
        shear_low: Lower end of the shear modulus at rest [Pa].
        shear_high: Upper end.
    """

    source: str
    covariance: Array
    freedom: float
    low: Array
    high: Array
    between_sigma: Array | None
    shear_low: float
    shear_high: float


def intervals_of(fit: LawFit) -> Intervals:
    """Propagate the spread of the specimens' curves to the parameters.

    Points of one curve are not independent: what differs is the specimen. A specimen's curve moves the parameters by
    (Jᵀ W J)⁻¹ Jᵀ W (its curve - mean); the covariance of the mean is that of these moves over their number (the
    sandwich estimate of Liang and Zeger 1986, one cluster for each specimen), with Student's t at clusters - 1.
    """
    curve = fit.curve
    pull = _pull(fit)
    between = None
    if len(curve.specimens) > 1:
        moves = np.asarray((curve.by_specimen - curve.stress) @ pull.T)
        source, freedom = 'specimens', float(len(moves) - 1)
        spread = moves.T @ moves / freedom
        between = np.asarray(np.sqrt(np.diag(spread)), np.float64)
        covariance = spread / len(moves)
    elif len(curve.within) > 1:
        moves = np.asarray(curve.within @ pull.T)
        source, freedom = 'repeats', float(len(moves) - 1)
        covariance = moves.T @ moves / freedom / len(moves)
    else:
        source = 'residuals'
        independent = effective_count(fit)
        freedom = max(independent - len(fit.parameters), 1.0)
        gap = curve.factor * fit.law.stress(curve.stretch, fit.parameters) - curve.stress
        share = len(gap) / freedom
        covariance = share * (pull * gap**2) @ pull.T
    wide = float(t_distribution.ppf(0.5 + 0.5 * CONFIDENCE, freedom))
    half = wide * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    slope = _shear_slope(fit)
    shear_half = wide * float(np.sqrt(max(float(slope @ covariance @ slope), 0.0)))
    return Intervals(
        source, covariance, freedom, fit.parameters - half, fit.parameters + half, between, fit.shear - shear_half,
        fit.shear + shear_half,
    )  # fmt: skip


def profile_interval(fit: LawFit, index: int) -> tuple[float, float]:
    """Return the interval of one parameter within which the others can make up for it.

    The profile of the likelihood (Venzon, Moolgavkar 1988): the ends are where the least sum of squares, the parameter
    held, has grown by the share F(1, m - k) / (m - k), m being the number of independent points. Unlike the other
    intervals it follows curved valleys and may end at infinity, where the test does not bound the parameter.
    """
    count = len(fit.parameters)
    freedom = max(effective_count(fit) - count, 1.0)
    limit = 1.0 + float(f_distribution.ppf(CONFIDENCE, 1, freedom)) / freedom
    best, offset = float(fit.parameters[index]), len(fit.law.moduli)
    shapes = fit.parameters[offset:]

    def excess(value: float) -> float:
        if index >= offset and not fit.law.low[index - offset] <= value <= fit.law.high[index - offset]:
            return np.inf
        held = Projection(fit.law, fit.curve, fit.weight, stable=fit.is_forced, held={index: value})
        cost = held.search(shapes)[1]
        return cost / fit.weighted_sse - limit

    step = 1e-3 * max(abs(best), 1e-3)
    return _end(excess, best, -step), _end(excess, best, step)


def _end(excess: Callable[[float], float], best: float, step: float) -> float:
    inside = best
    for _ in range(REACH):
        if not abs(best + step) < 1e12:
            break
        over = excess(best + step)
        if over == np.inf:  # past the bounds of the search: halve the way to them
            step = 0.5 * (inside - best + step)
            if abs(best + step - inside) < 1e-6 * max(abs(best), 1e-3):
                return inside
            continue
        if over > 0.0:
            return float(brentq(excess, inside, best + step, xtol=1e-6 * max(abs(best), 1e-9), rtol=1e-6))
        inside = best + step
        step *= 2.0
    return float(np.copysign(np.inf, step))


def effective_count(fit: LawFit) -> float:
    """Return how many independent points the residuals are worth: n (1 - ρ) / (1 + ρ), at least 2 above the parameters.

    ρ is the correlation of neighbouring residuals (Bayley, Hammersley 1946, for a first-order process).
    """
    curve = fit.curve
    gap = curve.factor * fit.law.stress(curve.stretch, fit.parameters) - curve.stress
    rho = min(max(float(gap[1:] @ gap[:-1]) / max(float(gap @ gap), 1e-300), 0.0), 1.0 - 1e-9)
    return max(len(gap) * (1.0 - rho) / (1.0 + rho), len(fit.parameters) + 2.0)


def _pull(fit: LawFit) -> Array:
    """Return by how much each parameter moves for 1 Pa at each point, shape (k, n)."""
    jacobian = _jacobian(fit)
    size = np.linalg.norm(jacobian, axis=0)
    size[size == 0.0] = 1.0
    weighted = np.sqrt(fit.weight)[:, None] * jacobian / size
    return np.asarray(np.linalg.pinv(weighted) * np.sqrt(fit.weight) / size[:, None])


def _jacobian(fit: LawFit) -> Array:
    columns = []
    for k, value in enumerate(fit.parameters):
        step = 1e-6 * max(abs(value), 1e-3)
        ends = []
        for sign in (1.0, -1.0):
            moved = fit.parameters.copy()
            moved[k] += sign * step
            ends.append(fit.law.stress(fit.curve.stretch, moved))
        columns.append(fit.curve.factor * (ends[0] - ends[1]) / (2.0 * step))
    return np.stack(columns, axis=1)


def _shear_slope(fit: LawFit) -> Array:
    slope = np.empty(len(fit.parameters))
    for k, value in enumerate(fit.parameters):
        step = 1e-6 * max(abs(value), 1e-3)
        ends = []
        for sign in (1.0, -1.0):
            moved = fit.parameters.copy()
            moved[k] += sign * step
            ends.append(fit.law.shear(moved))
        slope[k] = (ends[0] - ends[1]) / (2.0 * step)
    return slope
