"""How sure the places of a live body are: what was measured, and what has happened unseen since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.anatomy.nonrigid.compliance import Compliance
from twin_nodes.core.anatomy.nonrigid.config import NonrigidConfig
from twin_nodes.core.anatomy.nonrigid.fit import State, rigid_rows
from twin_nodes.core.anatomy.nonrigid.observations import Tracked
from twin_nodes.core.anatomy.nonrigid.posterior import make_posterior
from twin_nodes.core.anatomy.targets import MaterialPoints
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The errors of a body in a state, and how they grow as it moves on from there.

    Args:
        node_sigma: Root of the trace of the covariance of each node [m], shape (n,).
        covariances: Of the targets [m²], shape (t, 3, 3).
        node_growth: Error of each node as a share of its further displacement, shape (n,).
        target_growth: The same of each target, shape (t,).
        positions: Where the nodes were in that state [m], shape (n, 3).
    """

    node_sigma: Array
    covariances: Array
    node_growth: Array
    target_growth: Array
    positions: Array

    def nodes(self, positions: Array, unseen: float) -> Array:
        """Return σ of each node [m], shape (n,).

        Args:
            positions: Where the nodes are now [m], shape (n, 3).
            unseen: σ per axis of what moved unseen since [m].
        """
        moved = np.sum((positions - self.positions) ** 2, axis=1)
        return np.asarray(np.sqrt(self.node_sigma**2 + self.node_growth**2 * moved + 3.0 * unseen**2))

    def targets(self, targets: MaterialPoints, positions: Array, unseen: float) -> Array:
        """Return the covariances of the targets [m²], shape (t, 3, 3); arguments as `nodes`."""
        moved = np.sum(targets.at(positions - self.positions) ** 2, axis=1)
        variance = self.target_growth**2 * moved / 3.0 + unseen**2
        return np.asarray(self.covariances + variance[:, None, None] * np.eye(3))


class ErrorModel:
    """Makes the errors of one body.

    Args:
        compliance: Its ways to deform.
        config: Their prior, and the error of the model.
        targets: Its targets.
    """

    def __init__(self, compliance: Compliance, config: NonrigidConfig, targets: MaterialPoints) -> None:
        self._compliance, self._config, self._targets = compliance, config, targets
        pose, turn = config.pose_sigma**-2, (config.turn_sigma * compliance.radius) ** -2
        self._prior = np.concatenate([np.full(3, pose), np.full(3, turn), np.ones(compliance.count)])
        self._beforehand = self._errors(np.diag(self._prior))

    def known_by(self, tracked: Tracked, positions: Array) -> Uncertainty:
        """Return the errors where some points of the tissue are measured; of none, those expected beforehand.

        The rigid registration may be off, the organ may be deformed as it is expected to be; the measured places
        narrow that down (linear, about the state at rest).

        Args:
            tracked: The measured places.
            positions: Where the nodes are [m], shape (n, 3).
        """
        if not len(tracked):
            return self._grown(*self._beforehand, positions)
        points, compliance = tracked.points, self._compliance
        arms = rigid_rows(points.at(compliance.model.rest), compliance)
        rows = np.concatenate([arms, points.at(compliance.modes)], axis=2)
        roots = np.linalg.inv(np.linalg.cholesky(tracked.covariances))
        white = np.einsum('pij,pjk->pik', roots, rows).reshape(-1, rows.shape[2])
        return self._grown(*self._errors(np.diag(self._prior) + white.T @ white), positions)

    def fitted(self, node_sigma: Array, covariances: Array, positions: Array) -> Uncertainty:
        """Return the errors that a fit to a cloud states; arguments as the fields of `Uncertainty`."""
        return self._grown(node_sigma, covariances, positions)

    def _errors(self, information: Array) -> tuple[Array, Array]:
        state = State(np.eye(4), np.zeros(self._compliance.count), information=information)
        posterior = make_posterior(self._compliance, self._config, state)
        return posterior.node_sigma(), posterior.covariances(self._targets)

    def _grown(self, node_sigma: Array, covariances: Array, positions: Array) -> Uncertainty:
        """A wrong stiffness costs a share of the displacement, as far as the measurements leave a place free."""
        before, share = self._beforehand, self._config.model_error
        trace = np.trace(covariances, axis1=1, axis2=2) / np.trace(before[1], axis1=1, axis2=2)
        return Uncertainty(
            node_sigma, covariances, share * np.minimum(np.sqrt(node_sigma / before[0]), 1.0),
            share * np.minimum(trace**0.25, 1.0), positions,
        )  # fmt: skip
