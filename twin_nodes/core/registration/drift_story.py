"""One story of the touches since a registration: a Kalman filter over the constant errors of the pose and the tip."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, skew


@dataclass
class Story:
    """A Kalman filter over errors that stay as they are.

    Args:
        mean: Of the pose's own error (δp, δφ) and of the tip's, the latter in sigmas, shape (6 + k,).
        spread: Its covariance, shape (6 + k, 6 + k).
        evidence: Logarithm of the likelihood of its touches over that of the other story.
        strongest: The most that one touch added to it.
    """

    mean: Array
    spread: Array
    evidence: float = 0.0
    strongest: float = 0.0

    def foretold(self, gap: Array, design: Array, noise: Array) -> tuple[Array, Array]:
        """Return the innovation (m,) and its covariance (m, m)."""
        return gap - design @ self.mean, design @ self.spread @ design.T + noise

    def learn(self, gap: Array, design: Array, noise: Array, tails: float) -> None:
        """Take the observation in, the less the less it fits (weights of Student's t)."""
        innovation, covariance = self.foretold(gap, design, noise)
        square = float(innovation @ np.linalg.solve(covariance, innovation))
        weight = min(1.0, (tails + len(gap)) / (tails + square))
        covariance = design @ self.spread @ design.T + noise / weight**2
        gain = np.linalg.solve(covariance, design @ self.spread).T
        self.mean = self.mean + gain @ innovation
        self.spread = self.spread - gain @ design @ self.spread


def covariance_about(centre_anatomy: Array, patient_T_anatomy: Array, motion: Array) -> Array:
    """Return the pose covariance (6, 6) of a motion about a point: shift [m²] and turn [rad²], both in patient axes."""
    jacobian = np.eye(6)
    jacobian[:3, 3:] = skew(patient_T_anatomy[:3, :3] @ centre_anatomy)
    return np.asarray(jacobian @ motion @ jacobian.T)
