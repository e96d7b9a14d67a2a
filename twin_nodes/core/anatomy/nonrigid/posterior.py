"""How sure a deformation is: covariances of all places from the information of the fit.

The prior's precision is the stiffness (as `compliance` says), the likelihood that of the observations; their sum is the
information H of pose and modes, and a place that moves by J has the covariance J H⁻¹ Jᵀ (Laplace's approximation). To
it come what the modes leave out, a calibrated scale, which grows with how much the organ is deformed, and the error of
the model: what a wrong stiffness and large turns get wrong grows with how far a place moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import strmm

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import State, rigid_rows
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp, transform_points

_BLOCK = 1024  # rows that stay near the processor


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of pose and modes at a state.

    Args:
        compliance: The organ.
        config: For the error of the model.
        state: Pose, modes and their information.
        root: R with R Rᵀ = H⁻¹, shape (6 + r, 6 + r).
    """

    compliance: Compliance
    config: NonrigidConfig
    state: State
    root: Array

    def covariances(self, points: MaterialPoints) -> Array:
        """Return the covariances of points of the tissue in the patient frame [m²], shape (p, 3, 3)."""
        modes = points.at(self.compliance.modes)
        rest = points.at(self.compliance.model.rest)
        moved = modes @ self.state.amounts
        rows = np.concatenate([rigid_rows(rest + moved, self.compliance), modes], axis=2)
        half = rows @ self.root
        spread = half @ half.transpose(0, 2, 1)
        left_out = points.at(self.compliance.rest_variance) * self.state.amplitude**2
        spread[:, [0, 1, 2], [0, 1, 2]] += left_out
        spread *= self.scale
        spread[:, [0, 1, 2], [0, 1, 2]] += self._model_error(moved)[:, None]
        turn = self.state.patient_T_anatomy[:3, :3]
        return np.asarray(turn @ spread @ turn.T)

    @cached_property
    def deformed(self) -> Array:
        """Displacement of the nodes without the rigid motion [m], shape (n, 3)."""
        compliance = self.compliance
        flat = compliance.modes.reshape(-1, compliance.count)
        return np.asarray((flat @ self.state.amounts).reshape(-1, 3))

    @cached_property
    def scale(self) -> float:
        """Calibrated scale of the covariance: what linear modes leave out grows with the deformation."""
        amounts, root, gram = self.state.amounts, self.root[6:], self.compliance.gram
        bent = float(amounts @ gram @ amounts + np.vdot(root, gram @ root))  # expected mean square
        return self.config.inflation * (1.0 + bent / self.config.doubling**2)

    def _model_error(self, elastic: Array) -> Array:
        """Return the variance of each axis that the model's error adds at places that were displaced [m²], (p,)."""
        return np.asarray(self.config.model_error**2 * np.sum(elastic**2, axis=1) / 3.0)

    def node_sigma(self) -> Array:
        """Return the root of the trace of the covariance of each node [m], shape (n,)."""
        compliance, moved = self.compliance, self.deformed
        rows = compliance.rows_single
        rows[:, :6] = rigid_rows(compliance.model.rest + moved, compliance).reshape(-1, 6)
        root, squared = np.asfortranarray(self.root.T, np.float32), np.empty(len(rows))
        for begin in range(0, len(rows), _BLOCK):
            part = rows[begin : begin + _BLOCK]
            half = strmm(1.0, root, part.T, lower=1)  # R is a triangle: half a product's work
            squared[begin : begin + _BLOCK] = np.einsum('ij,ij->j', half, half)
        variance = squared.reshape(-1, 3).sum(axis=1)
        variance += compliance.rest_variance.sum(axis=1) * self.state.amplitude**2
        variance *= self.scale
        variance += 3.0 * self._model_error(moved)
        return np.asarray(np.sqrt(variance))

    def sample(self, points: MaterialPoints, count: int, rng: np.random.Generator) -> Array:
        """Draw where points of the tissue may be in the patient frame [m], shape (count, p, 3): a check of the above.

        Poses and modes are drawn and put to work without linearisation; the model's error and what the modes leave out
        are no part of it.
        """
        compliance, state = self.compliance, self.state
        modes, rest = points.at(compliance.modes), points.at(compliance.model.rest)
        drawn = np.empty((count, len(points), 3))
        for k in range(count):
            step = self.root @ rng.normal(size=len(self.root))
            turn = rotation_exp(step[3:6] / compliance.radius)
            moved = make_transform(turn, compliance.centre + step[:3] - turn @ compliance.centre)
            drawn[k] = transform_points(state.patient_T_anatomy @ moved, rest + modes @ (state.amounts + step[6:]))
        return drawn


def make_posterior(compliance: Compliance, config: NonrigidConfig, state: State) -> Posterior:
    """Return the posterior of a fit."""
    lower = cholesky(state.information, lower=True, check_finite=False)
    root = solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False).T
    return Posterior(compliance, config, state, np.ascontiguousarray(root))
