"""How the error of the tip's calibration, which all touches share, is in a registration."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.registration.paired_points import PairedPointResult, point_jacobians


@dataclass(frozen=True, eq=False)
class TouchedPoints:
    """A landmark registration, and how the tip's calibration is in it.

    Args:
        result: The registration.
        shared: How one sigma of each part of the tip's error moves the pose, shape (6, k); zeros for a tip that is
            exact or not known.
    """

    result: PairedPointResult
    shared: Array


def tip_in_points(patient_T_anatomy: Array, points_anatomy: Array, tip_errors: Array) -> Array:
    """Return how errors that all touched points share move their registration, shape (6, k).

    Args:
        patient_T_anatomy: The registration, shape (4, 4).
        points_anatomy: Its points [m], shape (n, 3).
        tip_errors: Column j moves point i by tip_errors[i, :, j] [m] at one sigma, shape (n, 3, k).
    """
    jacobians = point_jacobians(patient_T_anatomy, points_anatomy)
    moved = np.linalg.lstsq(jacobians.reshape(-1, 6), tip_errors.reshape(-1, tip_errors.shape[2]), rcond=None)[0]
    return np.asarray(moved)


def share_of_tip(shared: Array, tip_root: Array) -> Array:
    """Return what an error of the tip [m] in the axes of the tool makes of the registration, shape (6, 3).

    Args:
        shared: How one sigma of each part of the tip's error moves the pose, as in `TouchedPoints`, shape (6, 3).
        tip_root: Those parts in the axes of the tool, a square root of the tip's covariance [m], shape (3, 3).
    """
    return np.asarray(shared @ np.linalg.pinv(tip_root))
