"""How sure a deformation is: covariances of all places from the information of the fit.

The prior's precision is the stiffness (as `compliance` says), the likelihood that of the observations; their sum is the
information H of pose and modes, and a place that moves by J has the covariance J H⁻¹ Jᵀ (Laplace's approximation). To
it come what the modes leave out, and the error of the model: a stiffness that is not the patient's moves a place by a
share of what the deformation itself moves it, where no observation says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import State, rigid_rows
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.geometry.se3 import Array


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
        rows = np.concatenate([rigid_rows(rest + modes @ self.state.amounts, self.compliance), modes], axis=2)
        half = rows @ self.root
        spread = half @ half.transpose(0, 2, 1)
        left_out = points.at(self.compliance.rest_variance) * self.state.amplitude**2
        spread[:, [0, 1, 2], [0, 1, 2]] += left_out
        spread += self._model_error(modes, half[:, :, 6:])
        turn = self.state.patient_T_anatomy[:3, :3]
        return np.asarray(self.config.inflation * (turn @ spread @ turn.T))

    def _model_error(self, modes: Array, half: Array) -> Array:
        """Return the covariance that a wrong stiffness adds [m²], shape (p, 3, 3).

        It is a share of the displacement, in any direction alike, as far as the observations leave the place free: by
        the root of the posterior's variance over the prior's.
        """
        moved = np.sum((modes @ self.state.amounts) ** 2, axis=1)
        prior = self.state.amplitude**2 * np.sum(modes**2, axis=(1, 2))
        free = np.minimum(np.sum(half**2, axis=(1, 2)) / np.maximum(prior, 1e-30), 1.0)
        variance = self.config.model_error**2 * moved * np.sqrt(free) / 3.0
        return np.asarray(variance[:, None, None] * np.eye(3))

    def node_sigma(self) -> Array:
        """Return the root of the trace of the covariance of each node [m], shape (n,)."""
        compliance, state = self.compliance, self.state
        count = compliance.count
        modes = compliance.modes
        flat = modes.reshape(-1, count)
        places = compliance.model.rest + (flat @ state.amounts).reshape(-1, 3)
        half = flat @ self.root[6:]
        half += (rigid_rows(places, compliance).reshape(-1, 6)) @ self.root[:6]
        variance = np.einsum('ij,ij->i', half, half).reshape(-1, 3).sum(axis=1)
        variance += compliance.rest_variance.sum(axis=1) * state.amplitude**2
        moved = np.sum((places - compliance.model.rest) ** 2, axis=1)
        prior = state.amplitude**2 * np.einsum('ij,ij->i', flat, flat).reshape(-1, 3).sum(axis=1)
        elastic = flat @ self.root[6:]
        free = np.einsum('ij,ij->i', elastic, elastic).reshape(-1, 3).sum(axis=1) / np.maximum(prior, 1e-30)
        variance += self.config.model_error**2 * moved * np.sqrt(np.minimum(free, 1.0))
        return np.asarray(np.sqrt(self.config.inflation * variance))

    def sample(self, points: MaterialPoints, count: int, rng: np.random.Generator) -> Array:
        """Draw where points of the tissue may be in the patient frame [m], shape (count, p, 3): a check of the above.

        Poses and modes are drawn and put to work without linearisation; the model's error and what the modes leave out
        are no part of it.
        """
        from twin_nodes.core.geometry.se3 import make_transform, rotation_exp, transform_points

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
