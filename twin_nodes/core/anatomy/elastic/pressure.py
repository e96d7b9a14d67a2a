"""Pressure that turns with the faces it acts on, as an energy that a line search can hold on to.

A force that stays as it was while the body moves is no pressure: on a body pressed all round it does work when the body
turns, 2 p V for each axis, so that the body rather turns over than stays. The work of a true pressure is p times the
volume it encloses. On a closed surface that is Σ p/6 a · (b × c), whose gradient is the force exactly, whatever the
origin (Bonet and Wood 2008, section 8.5.2). An open patch has a rim, where the force has no energy: there the symmetric
part of its change is kept, and the rest taken as it is at the last state that was looked at (`follow`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic import pressure_kernels
from twin_nodes.core.anatomy.elastic.loads import Pressure
from twin_nodes.core.geometry.se3 import Array

_ALIKE = 1e-12  # of the greatest pressure: a difference below it is rounding


class FollowedPressure:
    """Energy and gradient of a pressure about a state.

    Args:
        pressure: Faces and pressure.
        x: The state [m], shape (n, 3).
    """

    def __init__(self, pressure: Pressure, x: Array) -> None:
        self._faces = np.ascontiguousarray(pressure.faces, np.int64)
        self._pascal = np.ascontiguousarray(pressure.pascal, np.float64)
        self._origin = x[self._faces].mean(axis=(0, 1)) if len(self._faces) else np.zeros(3)
        self.rim, self._rim_pascal = _rim(self._faces, self._pascal)
        self.follow(x)

    def follow(self, x: Array) -> None:
        """Take the rim as it is in a state (n, 3) [m]; without a rim nothing changes."""
        self._middle = x[self.rim].mean(axis=1) - self._origin
        self._dead = np.zeros_like(x)
        if len(self.rim):
            cone = np.zeros_like(x)
            self._conservative(x, cone)
            self._dead = cone + self.forces(x)

    def forces(self, x: Array) -> Array:
        """Return the force on each node in a state [N], shape (n, 3)."""
        total = np.zeros_like(x)
        pressure_kernels.add_follower(x, self._faces, self._pascal, total)
        return total

    def energy_gradient(self, x: Array, gradient: Array) -> float:
        """Add the gradient (n, 3) [N], less the force at the last `follow`, to `gradient`; return the energy [J]."""
        total = self._conservative(x, gradient)
        if len(self.rim):
            gradient -= self._dead
            total -= float(np.vdot(self._dead, x))
        return total

    def couplings(self, x: Array) -> tuple[NDArray[np.int64], Array]:
        """Return the symmetric stiffness of the turning: pairs of nodes (q, 2), and the arm [N/m] (q, 3) of each block.

        The block at (s, t) is [arm]×, that at (t, s) its transpose.
        """
        share = self._pascal[:, None] / 6.0
        pairs, arms = [], []
        for corner in range(3):
            s, t, other = (self._faces[:, (corner + k) % 3] for k in range(3))
            pairs.append(np.column_stack([s, t]))
            arms.append(-share * (x[other] - self._origin))  # ∂(t × o)/∂t = -[o]×
        if len(self.rim):
            pairs.append(self.rim)
            arms.append(self._rim_pascal[:, None] / 6.0 * self._middle)
        return np.concatenate(pairs), np.concatenate(arms)

    def _conservative(self, x: Array, gradient: Array) -> float:
        total: float = pressure_kernels.cone_gradient(x, self._faces, self._pascal, self._origin, gradient)
        if len(self.rim):
            total += pressure_kernels.rim_gradient(x, self.rim, self._rim_pascal, self._middle, self._origin, gradient)
        return total


def _rim(faces: NDArray[np.int64], pascal: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the edges (e, 2) along which the pressure of the faces does not balance, and by how much [Pa] (e,)."""
    if not len(faces):
        return np.zeros((0, 2), np.int64), np.zeros(0)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    low, high = edges.min(axis=1), edges.max(axis=1)
    value = np.tile(pascal, 3) * np.where(edges[:, 0] == low, 1.0, -1.0)
    found, which = np.unique((low << 32) | high, return_inverse=True)
    net = np.bincount(which.ravel(), weights=value, minlength=len(found))
    open_ = np.abs(net) > _ALIKE * float(np.abs(pascal).max())
    rim = np.column_stack([found[open_] >> 32, found[open_] & 0xFFFF_FFFF])
    return np.ascontiguousarray(rim), np.ascontiguousarray(net[open_])
