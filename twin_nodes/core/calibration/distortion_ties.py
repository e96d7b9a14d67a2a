"""Bringing the reference of a distortion calibration into the frame and onto the sensor of the distorted tracker.

Usually an optical tracker looks at a marker that is fixed to the electromagnetic sensor: optical_T_marker X = Z
em_T_sensor, a robot-world problem whose residual is the distortion. Its solution starts; then the field, and X with it,
are found in turns, because a position-dependent field leaves X alone and X leaves the field alone.
"""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.calibration.distortion import DistortionField
from twin_nodes.core.calibration.distortion_fit import DistortionConfig, DistortionResult, fit_distortion
from twin_nodes.core.calibration.hand_eye import HandEyeConfig
from twin_nodes.core.calibration.robot_world import solve_robot_world
from twin_nodes.core.geometry.se3 import Array, inverse, make_transform, nearest_rotation, rotation_exp, rotation_log

_TURNS = 20
_SETTLED = (2e-6, 2e-5)  # m, rad


@dataclass(frozen=True, eq=False)
class TiedDistortion:
    """A field, and the ties of the reference that were found with it.

    Args:
        result: The field.
        marker_T_sensor: X [m], shape (4, 4).
        reference_T_tracker: Z [m], shape (4, 4).
    """

    result: DistortionResult
    marker_T_sensor: Array
    reference_T_tracker: Array


def fit_tied(measured: Array, reference: Array, config: DistortionConfig | None = None) -> TiedDistortion:
    """Fit the field when the reference sees another body, tied to the sensor, in a frame of its own.

    Args:
        measured: tracker_T_sensor as the distorted tracker says [m], shape (n, 4, 4).
        reference: reference_T_marker at the same instants [m], shape (n, 4, 4).
        config: Limits.

    Raises:
        DegenerateGeometryError: The motion does not carry the ties or the field.
    """
    loose = HandEyeConfig(refuse_position_sigma=1.0, refuse_rotation_sigma=1.0, refuse_outliers=1.0)
    ties = solve_robot_world(reference, measured, loose)
    reference_T_tracker, marker_T_sensor = ties.base_T_target, ties.hand_T_eye
    tracker_T_marker = inverse(reference_T_tracker) @ reference
    result = fit_distortion(measured, tracker_T_marker @ marker_T_sensor, config)
    for _ in range(_TURNS):
        moved = _sensor_on_marker(result, measured, tracker_T_marker)
        step = inverse(marker_T_sensor) @ moved
        marker_T_sensor = moved
        if np.linalg.norm(step[:3, 3]) < _SETTLED[0] and np.linalg.norm(rotation_log(step[:3, :3])) < _SETTLED[1]:
            break
        result = fit_distortion(measured, tracker_T_marker @ marker_T_sensor, config, known=result.candidates[0])
    final = fit_distortion(measured, tracker_T_marker @ marker_T_sensor, config)
    return TiedDistortion(final, marker_T_sensor, reference_T_tracker)


def fit_points(measured: Array, reference: Array, config: DistortionConfig | None = None) -> TiedDistortion:
    """Fit the field to the known points of a calibration object, such as a board with holes; rotations stay.

    Args:
        measured: tracker_T_sensor with the sensor at each point [m], shape (n, 4, 4).
        reference: The points in a frame of their own, as poses whose rotation does not count [m], shape (n, 4, 4).
        config: Limits.

    Raises:
        DegenerateGeometryError: The points do not carry the tie or the field.
    """
    a, b = np.asarray(measured, float)[:, :3, 3], np.asarray(reference, float)[:, :3, 3]
    keep = np.ones(len(a), dtype=bool)
    for _ in range(8):  # trimmed, so that a mistaken point does not tilt the whole
        centre_a, centre_b = a[keep].mean(axis=0), b[keep].mean(axis=0)
        rotation = nearest_rotation((b[keep] - centre_b).T @ (a[keep] - centre_a))
        misfit = np.linalg.norm(b - centre_b - (a - centre_a) @ rotation.T, axis=1)
        keep = misfit <= np.quantile(misfit, 0.9)
    reference_T_tracker = make_transform(rotation, centre_b - rotation @ centre_a)
    wanted = inverse(reference_T_tracker) @ np.asarray(reference, float)
    result = fit_distortion(measured, wanted, config, rotations=False)
    return TiedDistortion(result, np.eye(4), reference_T_tracker)


def _sensor_on_marker(result: DistortionResult, measured: Array, tracker_T_marker: Array) -> Array:
    """Return the mean marker_T_sensor (4, 4) of the corrected poses that were used."""
    keep = np.ones(len(measured), dtype=bool)
    keep[list(result.outliers)] = False
    corrected = corrected_poses(result.field, measured[keep])
    apart = inverse(tracker_T_marker[keep]) @ corrected
    return make_transform(nearest_rotation(apart[:, :3, :3].sum(axis=0)), apart[:, :3, 3].mean(axis=0))


def corrected_poses(field: DistortionField, measured: Array) -> Array:
    """Return poses (n, 4, 4) corrected without a look at the volume: for poses that made the field."""
    change = field.at(measured[:, :3, 3])
    rotations = measured[:, :3, :3]
    if field.turn is not None:
        rotations = rotation_exp(change[:, 3:]) @ rotations
    return make_transform(rotations, measured[:, :3, 3] + change[:, :3])
