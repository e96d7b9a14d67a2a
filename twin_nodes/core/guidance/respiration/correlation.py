"""Ties a target inside the body to markers on the skin, from a few fixes of the target.

The target is a quadratic function of the external motion plus a term in its recent change, which tells breathing in
from breathing out (hysteresis): y = B [1, s, s², s − s(t − delay)], after the correlation models of Seppenwoolde et al.
2007 and Shi et al. 2022. B is the weighted least squares fit over the fixes, old ones fading; the covariance of an
estimate holds the scatter of the fixes, the uncertainty of B and that of the external motion.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import DegenerateGeometryError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.config import CorrelationConfig

_RIDGE = 1e-3  # prior precision of the weights besides the constant, in fixes


@dataclass(frozen=True, eq=False)
class External:
    """The markers on the skin at one instant.

    Args:
        positions: Positions of the markers [m], shape (k, 3).
        change: Their change over the delay of the model [m], shape (k, 3).
        covariances: Covariances of the positions [m²], shape (k, 3, 3), or None where they are measured.
    """

    positions: Array
    change: Array
    covariances: Array | None = None


@dataclass(frozen=True, eq=False)
class TargetEstimate:
    """Where the target is [m], shape (3,), and its covariance [m²], shape (3, 3)."""

    position: Array
    covariance: Array


class TargetCorrelation:
    """Learns where a target is from external markers, and says it between the fixes.

    Args:
        config: The model.
    """

    def __init__(self, config: CorrelationConfig) -> None:
        self._config = config
        self._fixes: deque[tuple[External, Array]] = deque(maxlen=config.max_fixes)
        self._fit: _Fit | None = None

    @property
    def count(self) -> int:
        """Fixes that are kept."""
        return len(self._fixes)

    @property
    def ready(self) -> bool:
        """Whether targets can be estimated."""
        return self._fit is not None

    def add_fix(self, external: External, position: Array) -> None:
        """Take in a fix of the target [m], shape (3,), with the markers at the same instant.

        Raises:
            InputError: for values that are not finite, or another number of markers than before.
            DegenerateGeometryError: when the markers did not move enough to carry a model; the fix is kept.
        """
        position = np.asarray(position, dtype=float)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise InputError(f'fix of shape {position.shape} must be three finite numbers [m]')
        self._check(external)
        self._fixes.append((external, position))
        if len(self._fixes) >= self._config.min_fixes:
            self._fit = _fit(list(self._fixes), self._config)

    def estimate(self, external: External) -> TargetEstimate:
        """Say where the target is.

        Raises:
            InputError: before there are enough fixes, or for markers that do not fit.
        """
        if self._fit is None:
            raise InputError(f'{len(self._fixes)} fixes of the target; the model needs {self._config.min_fixes}')
        self._check(external)
        return self._fit.estimate(external)

    def _check(self, external: External) -> None:
        if external.positions.ndim != 2 or external.positions.shape[1:] != (3,):
            raise InputError(f'positions of shape {external.positions.shape} must be (k, 3) [m]')
        if external.change.shape != external.positions.shape:
            raise InputError(f'change of shape {external.change.shape} must be that of positions')
        if not (np.isfinite(external.positions).all() and np.isfinite(external.change).all()):
            raise InputError('external positions are not finite')
        if self._fixes and external.positions.shape != self._fixes[0][0].positions.shape:
            before = len(self._fixes[0][0].positions)
            raise InputError(f'{len(external.positions)} external markers, {before} before: start the model anew')


@dataclass(frozen=True, eq=False)
class _Fit:
    """The fitted model: mean (3k,), basis (3k, c) per unit of s, weights (1 + 3c, 3), their covariance and noise."""

    mean: Array
    basis: Array
    weights: Array
    inverse: Array
    noise: Array

    def estimate(self, external: External) -> TargetEstimate:
        row = _row(self.mean, self.basis, external)
        position = row @ self.weights
        covariance = self.noise * (1.0 + row @ self.inverse @ row)
        if external.covariances is not None:
            jacobian = self._jacobian(external)
            for marker, part in enumerate(external.covariances):
                slope = jacobian[:, 3 * marker : 3 * marker + 3]
                covariance = covariance + slope @ part @ slope.T
        return TargetEstimate(position, covariance)

    def _jacobian(self, external: External) -> Array:
        """Change of the target with the external positions, shape (3, 3k): a late error is in the change as well."""
        s = (external.positions.ravel() - self.mean) @ self.basis
        count = self.basis.shape[1]
        linear, square, rate = (self.weights[1 + i * count : 1 + (i + 1) * count] for i in range(3))
        slopes = linear + 2.0 * s[:, None] * square + rate
        jacobian: Array = (self.basis @ slopes).T
        return jacobian


def _row(mean: Array, basis: Array, external: External) -> Array:
    s = (external.positions.ravel() - mean) @ basis
    return np.concatenate([[1.0], s, s**2, external.change.ravel() @ basis])


def _fit(fixes: list[tuple[External, Array]], config: CorrelationConfig) -> _Fit:
    outside = np.array([external.positions.ravel() for external, _ in fixes])
    inside = np.array([position for _, position in fixes])
    mean = outside.mean(axis=0)
    _, spread, axes = np.linalg.svd(outside - mean, full_matrices=False)
    motion = float(spread[0]) / np.sqrt(len(fixes))
    if motion < config.min_motion:
        raise DegenerateGeometryError(
            f'the external markers moved by {1e3 * motion:.2f} mm (standard deviation) over {len(fixes)} fixes, less '
            f'than {1e3 * config.min_motion:.2f} mm: spread the fixes over the breath'
        )
    kept = min(config.components, int(np.sum(spread > 0.05 * spread[0])))
    basis = axes[:kept].T * np.sqrt(len(fixes)) / spread[:kept]
    rows = np.array([_row(mean, basis, external) for external, _ in fixes])
    trust = config.forgetting ** np.arange(len(fixes) - 1, -1, -1.0)
    prior = np.full(rows.shape[1], _RIDGE)
    prior[0] = 0.0
    inverse = np.linalg.inv((rows.T * trust) @ rows + np.diag(prior))
    weights = inverse @ (rows.T * trust) @ inside
    residuals = inside - rows @ weights
    # the scatter of the fixes about the model, with the prior counting as two fixes
    freedom = max(float(trust.sum()) - rows.shape[1], 1.0)
    scatter = (residuals.T * trust) @ residuals + 2.0 * config.noise**2 * np.eye(3)
    return _Fit(mean, basis, weights, inverse, scatter / (freedom + 2.0))
