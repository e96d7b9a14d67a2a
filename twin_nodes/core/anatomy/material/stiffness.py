"""Stiffness of each label, and of the surroundings, from what is seen: maximum a posteriori by Gauss–Newton.

Unknown are the logarithms θ of factors on the stiffness of each label and of the support. With the state of rest x(θ),
∂E/∂x (x, θ) = 0 where nodes may move, so dx/dθ = -K⁻¹ ∂²E/∂x∂θ: one solve with the factored stiffness for each unknown
(implicit differentiation), and because E is linear in exp θ the right side is the part of the forces that this label
makes. Oberai, Gokhale, Feijóo 2003, Inverse Problems 19; Tarantola 2005, section 3.4, for the posterior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from twin_nodes.core.anatomy.elastic.laws import Material
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.material.stiffness_states import SeenState, StiffnessConfig, StiffnessProblem
from twin_nodes.core.errors import DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

CONFIDENCE = 0.95
LEARNED = 0.5  # of the error beforehand: with more left, nothing was learned


@dataclass(frozen=True, eq=False)
class StiffnessEstimate:
    """Factors on the stiffness that was assumed.

    Args:
        names: Labels as text, then 'boundary'.
        factor: Estimated factors, shape (k,).
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
        log_covariance: Posterior covariance of their logarithms, shape (k, k).
        is_absolute: Whether force was seen, so that absolute values are known; else only `ratio`s are.
        unlearned: Names of which what is seen tells no more than was assumed.
        status: 'converged' or 'not_converged'.
        iterations: Gauss–Newton steps.
        residual: RMS of the residuals of what was seen over their errors; about 1 when all is well.
        materials: The laws with their factors.
        support: Stiffness of the surroundings with its factor [N/m], shape (n,), or None.
    """

    names: tuple[str, ...]
    factor: Array
    low: Array
    high: Array
    log_covariance: Array
    is_absolute: bool
    unlearned: tuple[str, ...]
    status: str
    iterations: int
    residual: float
    materials: dict[int, Material]
    support: Array | None

    def ratio(self, name: str, to: str) -> tuple[float, float, float]:
        """Return how much stiffer one is than the other against what was assumed, with its 95 % interval."""
        a, b = self.names.index(name), self.names.index(to)
        log = float(np.log(self.factor[a] / self.factor[b]))
        c = self.log_covariance
        half = float(norm.ppf(0.5 + 0.5 * CONFIDENCE) * np.sqrt(max(c[a, a] + c[b, b] - 2.0 * c[a, b], 0.0)))
        return float(np.exp(log)), float(np.exp(log - half)), float(np.exp(log + half))

    def text(self) -> str:
        """Say the estimate in lines for a terminal."""
        lines = [
            f'{name:<10} × {f:.4g}, 95 % {low:.4g} … {high:.4g}' + (' (not seen)' if name in self.unlearned else '')
            for name, f, low, high in zip(self.names, self.factor, self.low, self.high, strict=True)
        ]
        if not self.is_absolute:
            lines.append('no force was seen: only ratios between these are known, not how stiff all is')
        return '\n'.join(lines)


def estimate_stiffness(
    model: ElasticModel,
    materials: Mapping[int, Material],
    states: Sequence[SeenState],
    config: StiffnessConfig | None = None,
) -> StiffnessEstimate:
    """Estimate factors on the stiffness of each label, and of the support, from states of rest that were seen.

    Without a known force (a load, gravity, pressure, a spring, or a measured grip) doubling all stiffness changes
    nothing that is seen: the estimate then keeps the assumed level, and says that only ratios are known.

    Args:
        model: The body.
        materials: Its laws by label, as assumed.
        states: What was seen; several states tell more than one.
        config: Prior and limits.

    Raises:
        InputError: STIFFNESS_REFUSED for nothing seen, errors that are not positive, or labels without a law.
        DegenerateGeometryError: STIFFNESS_REFUSED where the body finds no rest under the loads as assumed.
    """
    config = config or StiffnessConfig()
    problem = StiffnessProblem(model, materials, states, config)
    theta = np.zeros(len(problem.names))
    places: list[Array | None] = [None] * len(states)
    found = problem.residuals(theta, places)
    if found is None:
        raise DegenerateGeometryError(
            'the body finds no rest under the loads with the assumed stiffness', code='STIFFNESS_REFUSED'
        )
    residual, rows = found
    status, iteration = 'not_converged', 0
    while iteration < config.max_iterations:
        iteration += 1
        jacobian = problem.jacobian(theta, rows)
        weight = _huber(residual, config.tuning)
        information = jacobian.T @ (weight[:, None] * jacobian)
        prior = np.eye(len(theta)) / config.prior_sigma**2
        right = -jacobian.T @ (weight * residual) - prior @ theta
        step = np.linalg.solve(information + prior, right)
        step *= min(1.0, config.max_step / max(float(np.abs(step).max()), 1e-300))
        before = _cost(residual, theta, config)
        for _ in range(8):
            found = problem.residuals(theta + step, rows)
            if found is not None and _cost(found[0], theta + step, config) <= before * (1.0 + 1e-9):
                break
            step *= 0.5
        else:
            status = 'converged' if float(np.abs(step).max()) * 256 < 10 * config.tolerance else status
            break
        assert found is not None
        theta = theta + step
        residual, rows = found
        if float(np.abs(step).max()) < config.tolerance:
            status = 'converged'
            break
    return _answer(problem, theta, residual, rows, status, iteration)


def _huber(residual: Array, tuning: float) -> Array:
    return np.asarray(np.minimum(1.0, tuning / np.maximum(np.abs(residual), 1e-300)))


def _cost(residual: Array, theta: Array, config: StiffnessConfig) -> float:
    size, k = np.abs(residual), config.tuning
    robust = np.where(size <= k, 0.5 * size**2, k * size - 0.5 * k * k)
    return float(robust.sum() + 0.5 * (theta @ theta) / config.prior_sigma**2)


def _answer(
    problem: StiffnessProblem, theta: Array, residual: Array, places: Sequence[Array], status: str, iterations: int
) -> StiffnessEstimate:
    config, names = problem.config, problem.names
    jacobian = problem.jacobian(theta, places)
    information = jacobian.T @ (_huber(residual, config.tuning)[:, None] * jacobian)
    covariance = np.asarray(np.linalg.inv(information + np.eye(len(theta)) / config.prior_sigma**2), np.float64)
    common = np.full(len(theta), 1.0 / np.sqrt(len(theta)))
    is_absolute = problem.is_forced and float(common @ covariance @ common) < LEARNED * config.prior_sigma**2
    left = np.diag(covariance).copy()
    if not is_absolute and len(theta) > 1:  # the level is not known: judge by the distance to the mean of all
        centred = np.eye(len(theta)) - np.outer(common, common)
        left = np.diag(centred @ covariance @ centred) / (1.0 - 1.0 / len(theta))
    elif not is_absolute:
        left = np.full(1, config.prior_sigma**2)
    unlearned = tuple(name for name, var in zip(names, left, strict=True) if var > (LEARNED * config.prior_sigma) ** 2)
    half = norm.ppf(0.5 + 0.5 * CONFIDENCE) * np.sqrt(np.diag(covariance))
    model = problem.model_at(theta)
    return StiffnessEstimate(
        names, np.exp(theta), np.exp(theta - half), np.exp(theta + half), covariance, is_absolute, unlearned, status,
        iterations, float(np.sqrt(np.mean(residual**2))), problem.materials_at(theta), model.support,
    )  # fmt: skip
