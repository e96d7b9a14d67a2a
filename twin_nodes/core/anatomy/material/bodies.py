"""From a fitted law to a law of the soft body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twin_nodes.core.anatomy.elastic.laws import Material, MooneyRivlin, NeoHookean, Ogden, bulk_modulus
from twin_nodes.core.anatomy.material.uniaxial import UniaxialLaw, find_law
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array

BODIES = ('neo_hookean', 'yeoh_1', 'mooney_rivlin_2', 'ogden_1', 'ogden_2', 'ogden_3')


def body_law(law: str | UniaxialLaw, parameters: Array, poisson: float = 0.495) -> Material:
    """Return the law of a soft body that a fit tells, with the Poisson's ratio that the body is to have.

    Args:
        law: A law of `uniaxial.LAWS`; those in `BODIES` have one for tetrahedra.
        parameters: Moduli [Pa], then shapes.
        poisson: A fit takes the material as incompressible; tetrahedra need a little less than 0.5.

    Raises:
        ConfigError: for a law without one, naming those that have, or parameters that are not stable at rest.
    """
    law = find_law(law) if isinstance(law, str) else law
    values = np.asarray(parameters, float)
    shear = law.shear(values)
    if law.name not in BODIES:
        raise ConfigError(f'{law.name} has no law for tetrahedra; fit one of {", ".join(BODIES)}')
    if not shear > 0.0:
        raise ConfigError(f'{law.name}: shear modulus at rest {shear:.4g} Pa must be above 0')
    bulk = bulk_modulus(shear, poisson)
    body: Material
    if law.name in ('neo_hookean', 'yeoh_1', 'mooney_rivlin_2'):
        c01 = float(values[1]) if law.name == 'mooney_rivlin_2' else 0.0
        body = MooneyRivlin(0.5 * shear - c01, c01, bulk)
    else:
        count = len(law.moduli)
        body = Ogden(tuple(values[:count].tolist()), tuple(values[count:].tolist()), bulk)
    body.row()
    return body


def scaled(material: Material, factor: float) -> Material:
    """Return the same law with all its moduli times a factor; Poisson's ratio and exponents stay."""
    if isinstance(material, NeoHookean):
        return replace(material, young=material.young * factor)
    if isinstance(material, MooneyRivlin):
        return MooneyRivlin(material.c10 * factor, material.c01 * factor, material.bulk * factor)
    return Ogden(tuple(mu * factor for mu in material.mu), material.alpha, material.bulk * factor)
