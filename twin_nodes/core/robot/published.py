"""Kinematic models of surgical robots, from their published Denavit-Hartenberg parameters.

da Vinci Classic and Si arms from the remote centre on: dVRK user guide (Johns Hopkins University) and Fontanelli et al.
2017 ("Modelling and identification of the da Vinci Research Kit robotic arms", IROS). Raven II: King et al. 2012
("Kinematic analysis of the Raven-II research surgical robot platform", University of Washington, TR 2012-0006).
Limits are those that the robots' own software uses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.robot.dh import DhRow, Z, dh_joints, shift
from twin_nodes.core.robot.model import Joint, RobotModel, Shape

HALF = np.pi / 2.0
DEGREE = np.pi / 180.0

RCC = 0.4318  # from the instrument mount at insertion 0 to the remote centre [m]
TOOL_CLASSIC, TOOL_SI = 0.4162, 0.4670
PITCH_TO_YAW, YAW_TO_CONTROL_POINT = 0.0091, 0.0102
ECM_RCC, ECM_SCOPE = 0.3822, 0.3829
MTM_UPPER_ARM, MTM_FOREARM, MTM_PLATFORM = 0.2794, 0.3645, 0.1506
RAVEN_ARC_1, RAVEN_ARC_2 = 75.0 * DEGREE, 52.0 * DEGREE
RAVEN_SHAFT, RAVEN_WRIST = 0.47, 0.013
JAW_LENGTH = 0.0095
KNOWN_DIFFERENCES = {
    'the difference between the shafts of a Classic and an S/Si instrument': TOOL_SI - TOOL_CLASSIC,
    'the control-point offset': YAW_TO_CONTROL_POINT,
    'the pitch-to-yaw length': PITCH_TO_YAW,
}


def psm(name: str, tool: float, limits: tuple[tuple[float, float], ...]) -> RobotModel:
    """Make a patient-side manipulator with a needle driver.

    Links `tool` and `tip` have the axes of the da Vinci's tip (z out along the jaws): `tool` lies on the yaw axis,
    where the dVRK reports measured_cp, `tip` at the control point between the jaws.

    Args:
        name: Name of the robot.
        tool: From the instrument mount to the wrist [m].
        limits: Of yaw, pitch and insertion.
    """
    rows = (
        DhRow('yaw', 'revolute', HALF, 0.0, HALF, 0.0, *limits[0]),
        DhRow('pitch', 'revolute', -HALF, 0.0, -HALF, 0.0, *limits[1]),
        DhRow('insertion', 'prismatic', HALF, 0.0, 0.0, -RCC, *limits[2]),
        DhRow('roll', 'revolute', 0.0, 0.0, 0.0, tool, -260.0 * DEGREE, 260.0 * DEGREE),
        DhRow('wrist_pitch', 'revolute', -HALF, 0.0, -HALF, 0.0, -80.0 * DEGREE, 80.0 * DEGREE),
        DhRow('wrist_yaw', 'revolute', -HALF, PITCH_TO_YAW, -HALF, 0.0, -80.0 * DEGREE, 80.0 * DEGREE),
    )
    joints, _ = dh_joints(rows, convention='modified')
    axes = make_transform([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]], np.zeros(3))
    joints += (
        _fixed('wrist_yaw_to_tool', 'wrist_yaw', 'tool', axes),
        _fixed('control_point', 'tool', 'tip', shift(z=YAW_TO_CONTROL_POINT)),
        Joint('jaw', 'revolute', 'tool', 'jaw', np.eye(4), np.array([1.0, 0.0, 0.0]), -40.0 * DEGREE, 80.0 * DEGREE),
        Joint(
            'jaw_left', 'revolute', 'tool', 'jaw_left', np.eye(4), np.array([-1.0, 0.0, 0.0]), -40.0 * DEGREE,
            80.0 * DEGREE, 'jaw',
        ),
    )  # fmt: skip
    jaw = shift(z=0.5 * JAW_LENGTH)
    shapes = (
        Shape('insertion', 'box', (0.05, 0.05, 0.05), shift(z=-0.035)),
        Shape('roll', 'cylinder', (0.0042, tool), shift(z=-0.5 * tool)),
        Shape('wrist_pitch', 'cylinder', (0.0036, PITCH_TO_YAW), shift(x=0.5 * PITCH_TO_YAW) @ _along_x()),
        Shape('jaw', 'box', (0.003, 0.0016, JAW_LENGTH), jaw),
        Shape('jaw_left', 'box', (0.003, 0.0016, JAW_LENGTH), jaw),
    )
    return RobotModel(name, joints, shapes)


def ecm(name: str, limits: tuple[tuple[float, float], ...]) -> RobotModel:
    """Make an endoscope manipulator; its tip is the end of the scope, z looking out along it."""
    rows = (
        DhRow('yaw', 'revolute', HALF, 0.0, HALF, 0.0, *limits[0]),
        DhRow('pitch', 'revolute', -HALF, 0.0, -HALF, 0.0, *limits[1]),
        DhRow('insertion', 'prismatic', HALF, 0.0, 0.0, -ECM_RCC, *limits[2]),
        DhRow('roll', 'revolute', 0.0, 0.0, 0.0, ECM_SCOPE, *limits[3]),
    )
    joints, _ = dh_joints(rows, convention='modified')
    joints += (_fixed('end', 'roll', 'tip', np.eye(4)),)
    shapes = (Shape('roll', 'cylinder', (0.006, ECM_SCOPE), shift(z=-0.5 * ECM_SCOPE)),)
    return RobotModel(name, joints, shapes)


def mtm(name: str, yaw: tuple[float, float]) -> RobotModel:
    """Make a master tool manipulator; its tip is the frame of the gripper."""
    rows = (
        DhRow('outer_yaw', 'revolute', HALF, 0.0, -HALF, 0.0, *yaw),
        DhRow('shoulder_pitch', 'revolute', 0.0, MTM_UPPER_ARM, -HALF, 0.0, -15.0 * DEGREE, 50.0 * DEGREE),
        DhRow('elbow_pitch', 'revolute', -HALF, MTM_FOREARM, HALF, 0.0, -50.0 * DEGREE, 35.0 * DEGREE),
        DhRow('wrist_platform', 'revolute', HALF, 0.0, 0.0, MTM_PLATFORM, -70.0 * DEGREE, 230.0 * DEGREE),
        DhRow('wrist_pitch', 'revolute', -HALF, 0.0, 0.0, 0.0, -90.0 * DEGREE, 180.0 * DEGREE),
        DhRow('wrist_yaw', 'revolute', HALF, 0.0, -HALF, 0.0, -45.0 * DEGREE, 45.0 * DEGREE),
        DhRow('wrist_roll', 'revolute', 0.0, 0.0, HALF, 0.0, -480.0 * DEGREE, 450.0 * DEGREE),
    )
    joints, last_T_end = dh_joints(rows, convention='standard')
    joints += (_fixed('gripper', 'wrist_roll', 'tip', last_T_end),)
    shapes = (
        Shape('shoulder_pitch', 'cylinder', (0.02, MTM_UPPER_ARM), shift(x=0.5 * MTM_UPPER_ARM) @ _along_x()),
        Shape('elbow_pitch', 'cylinder', (0.018, MTM_FOREARM), shift(x=0.5 * MTM_FOREARM) @ _along_x()),
        Shape('wrist_platform', 'cylinder', (0.012, MTM_PLATFORM), shift(z=0.5 * MTM_PLATFORM)),
        Shape('wrist_roll', 'sphere', (0.015,), np.eye(4)),
    )
    return RobotModel(name, joints, shapes)


def raven(name: str, *, left: bool) -> RobotModel:
    """Make an arm of the Raven II; its tip is the end of the wrist link."""
    arcs = (0.0, RAVEN_ARC_1, np.pi - RAVEN_ARC_2) if left else (np.pi, RAVEN_ARC_1, RAVEN_ARC_2)
    start, second, roll = (205.0, 180.0, 90.0) if left else (25.0, 0.0, -90.0)
    rows = (
        DhRow('shoulder', 'revolute', arcs[0], 0.0, start * DEGREE, 0.0, 0.0, 90.0 * DEGREE),
        DhRow('elbow', 'revolute', arcs[1], 0.0, second * DEGREE, 0.0, 45.0 * DEGREE, 135.0 * DEGREE),
        DhRow('insertion', 'prismatic', arcs[2], 0.0, roll * DEGREE, 0.0, -0.23, 0.01),
        DhRow('tool_roll', 'revolute', 0.0, 0.0, 0.0, -RAVEN_SHAFT, -182.0 * DEGREE, 182.0 * DEGREE),
        DhRow('wrist', 'revolute', HALF, 0.0, -HALF, 0.0, -75.0 * DEGREE, 75.0 * DEGREE),
        DhRow('grasp', 'revolute', HALF, RAVEN_WRIST, 0.0, 0.0, -89.0 * DEGREE, 89.0 * DEGREE),
    )
    joints, _ = dh_joints(rows, convention='modified')
    joints += (_fixed('end', 'grasp', 'tip', np.eye(4)),)
    shapes = (
        Shape('tool_roll', 'cylinder', (0.004, RAVEN_SHAFT), shift(z=0.5 * RAVEN_SHAFT)),
        Shape('wrist', 'cylinder', (0.0035, RAVEN_WRIST), shift(x=0.5 * RAVEN_WRIST) @ _along_x()),
    )
    return RobotModel(name, joints, shapes)


def _fixed(name: str, parent: str, child: str, pose: Array) -> Joint:
    return Joint(name, 'fixed', parent, child, pose, Z, 0.0, 0.0)


def _along_x() -> Array:
    """Turn z into x, for cylinders."""
    return make_transform([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], np.zeros(3))


def _classic() -> RobotModel:
    return psm('psm_classic', TOOL_CLASSIC, ((-1.605, 1.5994), (-53.0 * DEGREE, 53.0 * DEGREE), (0.0, 0.24)))


def _si() -> RobotModel:
    return psm('psm_si', TOOL_SI, ((-2.964, 2.964), (-1.265, 1.301), (0.0, 0.29)))


MODELS: dict[str, Callable[[], RobotModel]] = {
    'psm_classic': _classic,
    'psm_si': _si,
    'ecm_classic': lambda: ecm(
        'ecm_classic', ((-HALF, HALF), (-44.0 * DEGREE, 65.0 * DEGREE), (0.0, 0.255), (-1.552, 1.552))
    ),
    'ecm_si': lambda: ecm('ecm_si', ((-2.964, 2.964), (-1.10, 1.04), (0.001, 0.259), (-1.54, 1.54))),
    'mtmr': lambda: mtm('mtmr', (-65.0 * DEGREE, 40.0 * DEGREE)),
    'mtml': lambda: mtm('mtml', (-40.0 * DEGREE, 65.0 * DEGREE)),
    'raven_left': lambda: raven('raven_left', left=True),
    'raven_right': lambda: raven('raven_right', left=False),
}


def published_model(name: str) -> RobotModel:
    """Make a model by its name.

    Raises:
        ConfigError: A name that is not there.
    """
    if name not in MODELS:
        raise ConfigError(f'model={name!r} is none of {", ".join(MODELS)}{nearest(name, MODELS)}')
    return MODELS[name]()
