"""A pose error seen as the motion of a cloud: a shift of its centroid, and a turn times its size, all in metres.

In these numbers translations and rotations compare, matrices are well conditioned, and a σ means millimetres of cloud.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, skew
from twin_nodes.core.registration.surface_observability import FreeMotion, free_motions


@dataclass(frozen=True, eq=False)
class CloudMotion:
    """The change of coordinates for one cloud and one pose.

    Args:
        centroid: Of the cloud in the patient frame [m], shape (3,).
        length: Root mean square distance of its points from the centroid [m].
        jacobian: Takes (δp, δφ) of patient_T_anatomy to the motion (shift, turn times length) [m], shape (6, 6).
    """

    centroid: Array
    length: float
    jacobian: Array

    @classmethod
    def at(cls, points_patient: Array, patient_T_anatomy: Array) -> 'CloudMotion':
        """Return it for points (n, 3) [m]."""
        centroid = points_patient.mean(axis=0)
        length = float(np.sqrt(((points_patient - centroid) ** 2).sum(axis=1).mean()))
        jacobian = np.eye(6)
        jacobian[:3, 3:] = -skew(centroid - patient_T_anatomy[:3, 3])
        jacobian[3:, 3:] *= length
        return cls(centroid, length, jacobian)

    def of(self, covariance: Array) -> Array:
        """Return the covariance (6, 6) [m²] of the motion from that of the pose."""
        return np.asarray(self.jacobian @ covariance @ self.jacobian.T)

    def back(self, covariance: Array) -> Array:
        """Return the covariance (6, 6) of the pose from that of the motion [m²]."""
        inverse = np.linalg.inv(self.jacobian)
        return np.asarray(inverse @ covariance @ inverse.T)

    def rows(self, normals_patient: Array, points_patient: Array) -> Array:
        """Return how the distances of points along their normals change with the motion, shape (n, 6)."""
        levers = (points_patient - self.centroid) / self.length
        return np.hstack([normals_patient, np.cross(levers, normals_patient)])

    def worst(self, covariance: Array) -> tuple[float, tuple[FreeMotion, ...]]:
        """Return the largest σ of the motion [m] from a pose covariance, and what motion it is."""
        variances, axes = np.linalg.eigh(self.of(covariance))
        last = np.outer(axes[:, -1], axes[:, -1])
        motions = free_motions(np.eye(6) - last, np.eye(3), self.centroid, self.length, 0.5)
        return float(np.sqrt(max(variances[-1], 0.0))), motions
