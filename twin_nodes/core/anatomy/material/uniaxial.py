"""Incompressible hyperelastic laws under uniaxial load, each a sum of terms whose coefficients enter linearly.

Every law here is a sum of functions of S_a - 3 with S_a = λ₁^a + λ₂^a + λ₃^a: a = 2 gives the invariant I₁, a = -2
gives I₂ (because λ₁ λ₂ λ₃ = 1), and Ogden's terms are S_a themselves. Along uniaxial load with stretch λ

    S_a = λ^a + 2 λ^(-a/2),   nominal stress P = dΨ/dλ = Σ ψ'(S_a - 3) a (λ^(a-1) - λ^(-a/2-1))

Rivlin 1948; Mooney 1940; Ogden 1972; Yeoh 1993; Veronda, Westmann 1970; Humphrey, Yin 1987.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

Function = Callable[[Array], Array]
MAX_ALPHA, MIN_GAP = 25.0, 0.5  # of Ogden's exponents: closer ones are one term with moduli of opposite sign


@dataclass(frozen=True)
class Term:
    """One function ψ of S_a - 3.

    Args:
        power: The exponent a.
        slope: ψ' of S_a - 3.
        bend: ψ'' of S_a - 3.
    """

    power: float
    slope: Function
    bend: Function


@dataclass(frozen=True)
class UniaxialLaw:
    """A law as a fit needs it.

    Args:
        name: Such as 'ogden_2'.
        moduli: Names of the parameters that enter linearly [Pa].
        shapes: Names of those that do not, without unit; they follow the moduli in every list of parameters.
        low: Least value of each shape.
        high: Greatest.
        terms: For values of the shapes, the terms that each modulus scales.
        is_split: Whether shapes must lie `MIN_GAP` apart, in rising order.
    """

    name: str
    moduli: tuple[str, ...]
    shapes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    terms: Callable[[Array], list[list[Term]]]
    is_split: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters: moduli, then shapes."""
        return self.moduli + self.shapes

    def basis(self, stretch: Array, shape: Array) -> Array:
        """Return the nominal stress for each modulus at 1 Pa and the others at 0, shape (n, moduli)."""
        columns = []
        for group in self.terms(shape):
            total = np.zeros_like(stretch)
            for term in group:
                a = term.power
                rest = stretch**a + 2.0 * stretch ** (-0.5 * a) - 3.0
                total += term.slope(rest) * a * (stretch ** (a - 1.0) - stretch ** (-0.5 * a - 1.0))
            columns.append(total)
        return np.stack(columns, axis=1)

    def stress(self, stretch: Array, parameters: Array) -> Array:
        """Return the nominal stress [Pa] at stretches (n,), negative in compression."""
        count = len(self.moduli)
        return np.asarray(self.basis(stretch, parameters[count:]) @ parameters[:count])

    def tangent(self, log_stretches: Array, parameters: Array) -> Array:
        """Return the Hessian of Ψ by two principal log stretches, the third being minus their sum.

        Args:
            log_stretches: ln λ₁ and ln λ₂, shape (n, 2).
            parameters: Moduli and shapes.

        Returns:
            [Pa], shape (n, 2, 2). Drucker's postulate for an incompressible law, dτ : dε > 0, is that it is positive
            definite.
        """
        count = len(self.moduli)
        logs = np.column_stack([log_stretches, -log_stretches.sum(axis=1)])
        total = np.zeros((len(logs), 2, 2))
        for modulus, group in zip(parameters[:count], self.terms(parameters[count:]), strict=True):
            for term in group:
                total += modulus * _hessian(term, logs)
        return total

    def shear(self, parameters: Array) -> float:
        """Return the shear modulus at rest [Pa]; a third of Young's modulus."""
        return float(self.tangent(np.zeros((1, 2)), parameters)[0, 0, 1]) / 2.0


def _hessian(term: Term, logs: Array) -> Array:
    a = term.power
    w = np.exp(a * logs)
    rest = w.sum(axis=1) - 3.0
    first = a * (w[:, :2] - w[:, 2:])
    second = np.empty((len(logs), 2, 2))
    second[:] = w[:, 2, None, None]
    second[:, 0, 0] += w[:, 0]
    second[:, 1, 1] += w[:, 1]
    outer = first[:, :, None] * first[:, None, :]
    return np.asarray(term.slope(rest)[:, None, None] * a * a * second + term.bend(rest)[:, None, None] * outer)


def _power(a: float, order: int, scale: float = 1.0) -> Term:
    """ψ = scale (S_a - 3)^order."""
    return Term(
        a,
        lambda s: scale * order * s ** (order - 1),
        lambda s: scale * order * (order - 1) * s ** max(order - 2, 0),
    )


def _exponential(c: float) -> Term:
    """ψ = exp(c (I₁ - 3)) - 1."""
    return Term(2.0, lambda s: c * np.exp(c * s), lambda s: c * c * np.exp(c * s))


def _polynomial(name: str, moduli: tuple[str, ...], terms: list[list[Term]]) -> UniaxialLaw:
    return UniaxialLaw(name, moduli, (), (), (), lambda _: terms)


def _yeoh(count: int) -> UniaxialLaw:
    orders = range(1, count + 1)
    return _polynomial(f'yeoh_{count}', tuple(f'c{i}0' for i in orders), [[_power(2.0, i)] for i in orders])


def _ogden(count: int) -> UniaxialLaw:
    numbers = range(1, count + 1)
    return UniaxialLaw(
        f'ogden_{count}',
        tuple(f'mu{i}' for i in numbers),
        tuple(f'alpha{i}' for i in numbers),
        (-MAX_ALPHA,) * count,
        (MAX_ALPHA,) * count,
        lambda alpha: [[_power(float(a), 1, 1.0 / float(a) if a else 0.0)] for a in alpha],
        is_split=count > 1,
    )


_FIRST, _SECOND = _power(2.0, 1), _power(-2.0, 1)
LAWS: dict[str, UniaxialLaw] = {
    law.name: law
    for law in (
        _polynomial('neo_hookean', ('mu',), [[_power(2.0, 1, 0.5)]]),
        _polynomial('mooney_rivlin_2', ('c10', 'c01'), [[_FIRST], [_SECOND]]),
        _polynomial('mooney_rivlin_3', ('c10', 'c01', 'c20'), [[_FIRST], [_SECOND], [_power(2.0, 2)]]),
        _yeoh(1),
        _yeoh(2),
        _yeoh(3),
        _ogden(1),
        _ogden(2),
        _ogden(3),
        # c1 (exp(c2 (I₁ - 3)) - 1) - c1 c2 / 2 (I₂ - 3)
        UniaxialLaw(
            'veronda_westmann', ('c1',), ('c2',), (1e-4,), (20.0,),
            lambda c: [[_exponential(float(c[0])), _power(-2.0, 1, -0.5 * float(c[0]))]],
        ),
        # c1 (exp(c2 (I₁ - 3)) - 1)
        UniaxialLaw('humphrey', ('c1',), ('c2',), (1e-4,), (20.0,), lambda c: [[_exponential(float(c[0]))]]),
    )
}  # fmt: skip


def find_law(name: str) -> UniaxialLaw:
    """Return a law by its name.

    Raises:
        ConfigError: naming the nearest one.
    """
    if name not in LAWS:
        raise ConfigError(f'no law {name!r}{nearest(name, LAWS)}; there are: {", ".join(LAWS)}')
    return LAWS[name]
