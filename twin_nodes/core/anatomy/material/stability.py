"""Drucker's stability of a law: whether more strain always takes more stress."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.material.uniaxial import UniaxialLaw
from twin_nodes.core.geometry.se3 import Array

# principal log strains of each load, as shares of that of the first axis
PATHS = {'compression': (1.0, -0.5), 'tension': (-1.0, 0.5), 'plane': (1.0, 0.0)}
STEPS = 200


@dataclass(frozen=True)
class Stability:
    """Where a law is stable.

    Args:
        until: For each load ('compression', 'tension', 'plane' strain) the greatest log strain up to which Drucker's
            postulate holds; `limit` where it holds all the way.
        limit: Greatest log strain that was looked at.
    """

    until: dict[str, float]
    limit: float

    @property
    def is_stable(self) -> bool:
        """Whether it holds along all loads."""
        return all(strain >= self.limit for strain in self.until.values())

    def text(self) -> str:
        """Say it in a few words, in stretches."""
        if self.is_stable:
            return 'stable'
        broken = {load: strain for load, strain in self.until.items() if strain < self.limit}
        if min(broken.values()) <= 0.0:
            return 'unstable at rest'
        signs = {'compression': -1.0, 'tension': 1.0, 'plane': -1.0}
        return ', '.join(
            f'unstable in {load} beyond stretch {np.exp(signs[load] * strain):.2f}' for load, strain in broken.items()
        )


def check_stability(law: UniaxialLaw, parameters: Array, limit: float) -> Stability:
    """Follow Drucker's postulate, dτ : dε > 0, along compression, tension and plane strain.

    For an incompressible law it means that Ψ is convex in the principal log strains (Hill 1970).

    Args:
        law: The law.
        parameters: Its moduli [Pa] and shapes.
        limit: Greatest log strain to look at, such as that of the test.
    """
    size = np.linspace(0.0, limit, STEPS)
    until = {}
    for load, (first, second) in PATHS.items():
        logs = -size[:, None] * np.array([first, second])
        tangent = law.tangent(logs, parameters)
        a, b, c = tangent[:, 0, 0], tangent[:, 0, 1], tangent[:, 1, 1]
        bad = np.flatnonzero(~((a > 0.0) & (a * c - b * b > 0.0)))
        until[load] = float(limit if not bad.size else size[max(bad[0] - 1, 0)])
    return Stability(until, limit)
