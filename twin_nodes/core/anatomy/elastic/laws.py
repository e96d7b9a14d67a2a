"""Hyperelastic laws, as a person states them and as the kernels want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

NEO_HOOKEAN, MOONEY_RIVLIN, OGDEN = 0, 1, 2
PARAMETERS = 7
MAX_POISSON = 0.499


def lame(young: float, poisson: float) -> tuple[float, float]:
    """Return the Lamé constants μ and λ [Pa] of linear elasticity.

    Raises:
        ConfigError: Young's modulus [Pa] or Poisson's ratio that no tissue has, or at which tetrahedra lock.
    """
    if not np.isfinite(young) or young <= 0.0:
        raise ConfigError(f'young={young!r} Pa must be finite and above 0')
    if not 0.0 <= poisson <= MAX_POISSON:
        raise ConfigError(f'poisson={poisson!r} must lie in 0 … {MAX_POISSON}: linear tetrahedra lock beyond')
    return young / (2.0 * (1.0 + poisson)), young * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson))


@dataclass(frozen=True)
class NeoHookean:
    """Stable neo-Hookean law: Ψ = μ/2 (I_C - 3) + λ/2 (J - 1 - μ/λ)² with the λ that is right for small strains.

    Smith, de Goes and Kim 2018, equation 13, without the logarithm that only matters for tetrahedra collapsed to a
    point. Finite and smooth for inverted tetrahedra.

    Args:
        young: Young's modulus at rest [Pa].
        poisson: Poisson's ratio at rest, 0 … 0.499.
    """

    young: float
    poisson: float

    def row(self) -> tuple[int, Array]:
        """Return the number of the law and its parameters, shape (7,)."""
        mu, lam = lame(self.young, self.poisson)
        return NEO_HOOKEAN, _padded(mu, lam + mu)

    @property
    def shear(self) -> float:
        """Shear modulus at rest [Pa]."""
        return lame(self.young, self.poisson)[0]


@dataclass(frozen=True)
class MooneyRivlin:
    """Mooney–Rivlin law, nearly incompressible: c10 (Ī₁ - 3) + c01 (Ī₂ - 3) + κ/4 (J² - 1 - 2 ln J).

    Holzapfel 2000, sections 6.4 and 6.5 (isochoric split, equation 6.137 for the volume).

    Args:
        c10: First constant [Pa].
        c01: Second constant [Pa].
        bulk: Bulk modulus κ at rest [Pa]; `bulk_modulus` gives it from a Poisson's ratio.
    """

    c10: float
    c01: float
    bulk: float

    def row(self) -> tuple[int, Array]:
        """Return the number of the law and its parameters, shape (7,)."""
        _check_positive('2 (c10 + c01)', self.shear)
        _check_positive('bulk', self.bulk)
        return MOONEY_RIVLIN, _padded(self.c10, self.c01, self.bulk)

    @property
    def shear(self) -> float:
        """Shear modulus at rest [Pa]."""
        return 2.0 * (self.c10 + self.c01)


@dataclass(frozen=True)
class Ogden:
    """Ogden's law with up to three terms: Σ μₖ/αₖ (λ̄₁^αₖ + λ̄₂^αₖ + λ̄₃^αₖ - 3) + κ/4 (J² - 1 - 2 ln J).

    Ogden 1972; Holzapfel 2000, equation 6.120 (its αₖ is ours, its shear modulus Σ μₖ αₖ / 2 too).

    Args:
        mu: Moduli μₖ [Pa].
        alpha: Exponents αₖ.
        bulk: Bulk modulus κ at rest [Pa].
    """

    mu: tuple[float, ...]
    alpha: tuple[float, ...]
    bulk: float

    def row(self) -> tuple[int, Array]:
        """Return the number of the law and its parameters, shape (7,).

        Raises:
            ConfigError: Other than one to three pairs, an alpha of 0, or moduli that are not stable at rest.
        """
        if not 1 <= len(self.mu) == len(self.alpha) <= 3:
            raise ConfigError(f'Ogden: {len(self.mu)} mu and {len(self.alpha)} alpha; expected 1 … 3 pairs')
        if any(alpha == 0.0 for alpha in self.alpha):
            raise ConfigError('Ogden: alpha of 0 has no meaning')
        _check_positive('sum of mu alpha / 2', self.shear)
        _check_positive('bulk', self.bulk)
        terms = np.zeros(6)
        terms[0 : 2 * len(self.mu) : 2], terms[1 : 2 * len(self.mu) : 2] = self.mu, self.alpha
        return OGDEN, np.append(terms, self.bulk)

    @property
    def shear(self) -> float:
        """Shear modulus at rest [Pa]."""
        return 0.5 * sum(mu * alpha for mu, alpha in zip(self.mu, self.alpha, strict=True))


Material = NeoHookean | MooneyRivlin | Ogden


def bulk_modulus(shear: float, poisson: float) -> float:
    """Return the bulk modulus [Pa] that belongs to a shear modulus [Pa] and a Poisson's ratio."""
    mu, lam = lame(2.0 * shear * (1.0 + poisson), poisson)
    return lam + 2.0 / 3.0 * mu


def per_tetrahedron(
    materials: Material | Mapping[int, Material], labels: NDArray[np.integer]
) -> tuple[NDArray[np.int8], Array, Array]:
    """Spread materials over tetrahedra by label.

    Args:
        materials: One for all, or one for each label.
        labels: Label of each tetrahedron, shape (m,).

    Returns:
        Number of the law (m,), its parameters (m, 7) and the shear modulus at rest [Pa] (m,).

    Raises:
        ConfigError: MATERIAL_MISSING where a label has no material, or the constants make no stable law.
    """
    found, inverse = np.unique(labels, return_inverse=True)
    if not isinstance(materials, Mapping):
        materials = dict.fromkeys((int(label) for label in found), materials)
    missing = [int(label) for label in found if int(label) not in materials]
    if missing:
        raise ConfigError(
            f'labels {missing} have no material; given are {sorted(materials)}: add them', code='MATERIAL_MISSING'
        )
    rows = [materials[int(label)].row() for label in found]
    laws = np.array([law for law, _ in rows], np.int8)
    values = np.stack([parameters for _, parameters in rows])
    shear = np.array([materials[int(label)].shear for label in found])
    return laws[inverse], np.ascontiguousarray(values[inverse]), shear[inverse]


def _padded(*values: float) -> Array:
    return np.asarray(np.pad(np.array(values, float), (0, PARAMETERS - len(values))))


def _check_positive(what: str, value: float) -> None:
    if not np.isfinite(value) or value <= 0.0:
        raise ConfigError(f'{what}={value!r} Pa must be finite and above 0: the law is not stable at rest')
