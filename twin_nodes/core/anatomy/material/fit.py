"""Fits laws to compression curves: least squares from many starts, with moduli eliminated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.stats import qmc

from twin_nodes.core.anatomy.material.curves import PooledCurve
from twin_nodes.core.anatomy.material.stability import Stability, check_stability
from twin_nodes.core.anatomy.material.uniaxial import MIN_GAP, UniaxialLaw
from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError, DegenerateGeometryError
from twin_nodes.core.geometry.se3 import Array

WEIGHTS = ('equal', 'relative', 'spread')
FLOOR = 0.02  # of the greatest stress: weights by stress or spread stop growing below it


@dataclass(frozen=True)
class FitConfig:
    """How laws are fitted to compression tests."""

    starts: int = setting('starts of the search, spread evenly over the exponents', 24, minimum=1, maximum=10_000)
    seed: int = setting('of the starts', 0, minimum=0)
    weights: str = setting(
        'what counts alike: equal: each stress; relative: each share of it; spread: each of the specimens scatter',
        'equal',
        choices=WEIGHTS,
    )
    stable: bool = setting('whether every term must add energy, so that the law is stable at all strains', False)


@dataclass(frozen=True, eq=False)
class LawFit:
    """A law fitted to a curve.

    Args:
        law: The law.
        curve: The curve.
        parameters: Moduli [Pa], then shapes.
        sse: Sum of squared differences of stress [Pa²], each point counted alike.
        weighted_sse: The sum that was made least; `sse` with equal weights.
        weight: Of each point, shape (n,).
        stability: Drucker's, up to the strain of the test.
        is_forced: Whether it was fitted with terms that add energy alone.
    """

    law: UniaxialLaw
    curve: PooledCurve
    parameters: Array
    sse: float
    weighted_sse: float
    weight: Array
    stability: Stability
    is_forced: bool

    @property
    def name(self) -> str:
        """Name of the law, with '_stable' where it was made to be."""
        return f'{self.law.name}_stable' if self.is_forced else self.law.name

    @property
    def shear(self) -> float:
        """Shear modulus at rest [Pa]."""
        return self.law.shear(self.parameters)

    @property
    def standard_error(self) -> float:
        """√(SSE / (n - k - 1)) [Pa]."""
        return float(np.sqrt(self.sse / (len(self.curve.stress) - len(self.parameters) - 1)))

    def aic(self, unit: float = 1e3) -> float:
        """Return Akaike's n ln(SSE / n) + 2 k with stress in a unit [Pa]; only differences at one unit tell."""
        n = len(self.curve.stress)
        return float(n * np.log(self.sse / unit**2 / n) + 2 * len(self.parameters))


def sum_of_squares(law: UniaxialLaw, parameters: Array, curve: PooledCurve) -> float:
    """Return Σ (stress of the law - stress)² over the points of a curve [Pa²]."""
    gap = curve.factor * law.stress(curve.stretch, parameters) - curve.stress
    return float(gap @ gap)


def fit_law(law: UniaxialLaw, curve: PooledCurve, config: FitConfig | None = None) -> LawFit:
    """Fit a law by least squares.

    The moduli enter linearly and are solved for at each try of the exponents (variable projection: Golub, Pereyra
    1973), which are searched from evenly spread starts (Sobol 1967) by Levenberg–Marquardt within bounds.

    Args:
        law: The law.
        curve: Pooled tests.
        config: Weights, starts.

    Raises:
        ConfigError: 'spread' with one specimen.
        DegenerateGeometryError: MATERIAL_TEST_REFUSED where no law of this kind follows the curve.
    """
    config = config or FitConfig()
    problem = Projection(law, curve, _weight(curve, config.weights), stable=config.stable)
    best, least = np.zeros(0), np.inf
    for start in _starts(law, config):
        shape, cost = problem.search(start)
        if cost < least:
            best, least = shape, cost
    if not np.isfinite(least):
        raise DegenerateGeometryError(
            f'{curve.material}: no {law.name} follows its curve from any start', code='MATERIAL_TEST_REFUSED'
        )
    parameters = np.append(problem.moduli(best), best)
    limit = float(-np.log(curve.stretch.min()))
    return LawFit(
        law, curve, parameters, sum_of_squares(law, parameters, curve), least, problem.weight,
        check_stability(law, parameters, limit), config.stable,
    )  # fmt: skip


class Projection:
    """The least-squares problem of a law's shapes, its moduli solved for.

    Args:
        law: The law.
        curve: Pooled tests.
        weight: Of each point, shape (n,).
        stable: Whether moduli must make each term add energy.
        held: Values of parameters that are not free, by their number among all.
    """

    def __init__(
        self,
        law: UniaxialLaw,
        curve: PooledCurve,
        weight: Array,
        *,
        stable: bool = False,
        held: dict[int, float] | None = None,
    ) -> None:
        self.law, self.curve, self.weight, self.stable = law, curve, weight, stable
        count = len(law.moduli)
        held = held or {}
        self.held_moduli = {k: value for k, value in held.items() if k < count}
        self.held_shapes = {k - count: value for k, value in held.items() if k >= count}
        self.free = np.array([k for k in range(len(law.shapes)) if k not in self.held_shapes], int)
        self._root = np.sqrt(weight)
        self._scale = float(np.linalg.norm(self._root * curve.stress))

    def search(self, start: Array) -> tuple[Array, float]:
        """Return all shapes and the weighted sum of squares [Pa²] at the least that is reached from a start."""
        shape = np.array(start, float)
        for k, value in self.held_shapes.items():
            shape[k] = value
        if not len(self.free):
            return shape, self.cost(shape)
        low, high = np.array(self.law.low)[self.free], np.array(self.law.high)[self.free]

        def residual(free: Array) -> Array:
            shape[self.free] = free
            return self._residual(shape)[0] / self._scale

        inside = np.clip(shape[self.free], low + 1e-9, high - 1e-9)
        try:
            found = least_squares(residual, inside, bounds=(low, high), xtol=1e-12, ftol=1e-14, gtol=1e-14)
        except (ValueError, np.linalg.LinAlgError):  # a start from which the stress overflows
            return shape, np.inf
        shape[self.free] = found.x
        if self.law.is_split and np.diff(np.sort(shape)).min() < MIN_GAP and not self.held_shapes:
            shape = _split(shape)
        if self.law.is_split and not self.held_shapes and not self.held_moduli:
            shape = np.sort(shape)
        return shape, self.cost(shape)

    def cost(self, shape: Array) -> float:
        """Return the weighted sum of squares [Pa²]."""
        gap = self._residual(shape)[0]
        return float(gap @ gap)

    def moduli(self, shape: Array) -> Array:
        """Return the best moduli [Pa] at shapes."""
        return self._residual(shape)[1]

    def _residual(self, shape: Array) -> tuple[Array, Array]:
        with np.errstate(over='ignore', invalid='ignore'):
            basis = (self._root * self.curve.factor)[:, None] * self.law.basis(self.curve.stretch, shape)
        if not np.abs(basis).max() < 1e150:
            raise np.linalg.LinAlgError('overflow')
        right = self._root * self.curve.stress
        moduli = np.zeros(basis.shape[1])
        for k, value in self.held_moduli.items():
            moduli[k] = value
        free = [k for k in range(basis.shape[1]) if k not in self.held_moduli]
        sign = self._signs(shape)
        if free:
            part = basis[:, free] * sign[free]
            size = np.linalg.norm(part, axis=0)
            size[size == 0.0] = 1.0
            rest = right - basis @ moduli
            found = nnls(part / size, rest) if self.stable else np.linalg.lstsq(part / size, rest, rcond=1e-13)
            moduli[free] = found[0] / size * sign[free]
        return basis @ moduli - right, moduli

    def _signs(self, shape: Array) -> Array:
        """Return the sign of each modulus that adds energy: that of its exponent in Ogden's law."""
        if self.law.name.startswith('ogden'):
            return np.where(shape < 0.0, -1.0, 1.0)
        return np.ones(len(self.law.moduli))


def _split(shape: Array) -> Array:
    """Move exponents that are too near to each other apart, evenly about their mean."""
    out = np.sort(shape)
    for _ in range(len(out)):
        for k in range(1, len(out)):
            gap = MIN_GAP - (out[k] - out[k - 1])
            if gap > 0.0:
                out[k - 1] -= 0.5 * gap
                out[k] += 0.5 * gap
    return np.asarray(out)


def _starts(law: UniaxialLaw, config: FitConfig) -> Array:
    count = len(law.shapes)
    if not count:
        return np.zeros((1, 0))
    low, high = np.array(law.low), np.array(law.high)
    if law.name.startswith('ogden'):
        low, high = np.full(count, -8.0), np.full(count, 14.0)
    elif np.all(low > 0.0):
        return np.asarray(np.geomspace(0.01, 3.0, min(config.starts, 8))[:, None])
    spread = qmc.Sobol(count, seed=config.seed).random(1 << (config.starts - 1).bit_length())[: config.starts]
    return np.asarray(low + (high - low) * spread)


def _weight(curve: PooledCurve, how: str) -> Array:
    if how == 'equal':
        return np.ones(len(curve.stress))
    floor = FLOOR * float(np.abs(curve.stress).max())
    if how == 'relative':
        size = np.abs(curve.stress)
    else:
        spread = curve.between_sigma
        if spread is None:
            raise ConfigError(f'{curve.material}: weights=spread needs two specimens, there is one: use relative')
        size, floor = spread, FLOOR * float(spread.max())
    weight = 1.0 / np.maximum(size, floor) ** 2
    return np.asarray(weight / weight.mean())
