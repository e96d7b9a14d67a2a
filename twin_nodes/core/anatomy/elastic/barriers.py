"""What a body may touch but not enter: planes that push back one way, solved with the body and not after it.

Each place that may touch bears a spring along one direction, which only pushes: the energy is k/2 min(gap, 0)². Which
of them push is found with each step of the solver: with the compliance C of the places, the pushes λ of a step make
gap + C λ + λ / k ≥ 0, λ ≥ 0, one of the two zero (a linear complementarity problem; Wriggers 2006, section 6.3). It has
as many unknowns as places, so that finding it costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from twin_nodes.core.anatomy.elastic import load_kernels
from twin_nodes.core.geometry.se3 import Array

_MOST_TURNS = 60
_PATIENCE = 4
_ROUNDING = 1e-9  # of the greatest gap


@dataclass(frozen=True, eq=False)
class Barriers:
    """Places of faces, each with a plane that it may not pass.

    Args:
        nodes: Nodes of the face of each place, shape (c, 3).
        weights: Their shares in the place, shape (c, 3).
        push: Unit vector in which the plane pushes, shape (c, 3).
        targets: A point of the plane [m], shape (c, 3).
        stiffness: By which it pushes [N/m].
        controls: What moved the planes, as the tips of tools [m], shape (q,): from it the next frame is foretold.
    """

    nodes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    weights: Array = field(default_factory=lambda: np.zeros((0, 3)))
    push: Array = field(default_factory=lambda: np.zeros((0, 3)))
    targets: Array = field(default_factory=lambda: np.zeros((0, 3)))
    stiffness: float = 0.0
    controls: Array = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.nodes)

    def gaps(self, x: Array) -> Array:
        """Return how far each place is from its plane [m], negative behind it, shape (c,)."""
        places = np.einsum('ca,cai->ci', self.weights, x[self.nodes])
        return np.asarray(np.einsum('ci,ci->c', self.push, places - self.targets))

    def add_gradient(self, x: Array, gradient: Array, share: float = 1.0) -> float:
        """Add a share of ∂E/∂x [N] to `gradient` (n, 3); return E [J]."""
        energy: float = load_kernels.plane_gradient(
            x, self.nodes, self.weights, self.push, self.targets, self.stiffness, share, gradient
        )
        return energy


def pushes(compliance: Array, gaps: Array, guess: NDArray[np.bool_] | None = None) -> Array:
    """Return λ ≥ 0 with w = gaps + compliance λ ≥ 0 and λ · w = 0, by block pivoting (Júdice and Pires 1994).

    Args:
        compliance: Symmetric positive definite, shape (c, c).
        gaps: Without any push [m], shape (c,).
        guess: Which of them may push, shape (c,); those behind their planes if not given.
    """
    on = guess if guess is not None and guess.any() else gaps < 0.0
    least, patience, small = len(gaps) + 1, _PATIENCE, _ROUNDING * float(np.abs(gaps).max(initial=0.0))
    push = np.zeros(len(gaps))
    for _ in range(_MOST_TURNS):
        push[:] = 0.0
        if on.any():
            push[on] = np.linalg.solve(compliance[np.ix_(on, on)], -gaps[on])
        wrong = np.where(on, push < 0.0, gaps + compliance @ push < -small)
        count = int(wrong.sum())
        if not count:
            break
        if count < least:
            least, patience = count, _PATIENCE
        elif patience:
            patience -= 1
        else:  # one at a time ends for certain (Murty 1974)
            last = int(np.flatnonzero(wrong)[-1])
            wrong = np.zeros(len(gaps), bool)
            wrong[last] = True
        on = on ^ wrong
    else:
        return _least(compliance, gaps)
    return np.maximum(push, 0.0)


def _least(compliance: Array, gaps: Array) -> Array:
    """Return the same by least squares without negative unknowns, which end in any case (Lawson and Hanson 1974)."""
    from scipy.optimize import nnls  # seldom needed, and slow to load

    root = np.linalg.cholesky(compliance)
    return np.asarray(nnls(root.T, solve_triangular(root, -gaps, lower=True))[0])
