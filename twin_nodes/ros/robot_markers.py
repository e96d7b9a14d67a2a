"""What a robot looks like, as markers that hang on the frames of its links."""

from collections.abc import Callable

import numpy as np
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.geometry.se3 import Array, make_transform, rotation_exp
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.robot.model import RobotModel, Shape

KINDS = {'cylinder': Marker.CYLINDER, 'sphere': Marker.SPHERE, 'box': Marker.CUBE}
STEEL = (0.74, 0.77, 0.82)
RADIUS = 0.008


def robot_markers(
    model: RobotModel, frame_of: Callable[[str], str], *, colour: tuple[float, float, float]
) -> MarkerArray:
    """Make one marker for each shape; links without any get a rod to each joint that they hold.

    Args:
        model: The robot.
        frame_of: Frame of a link.
        colour: Red, green, blue in [0, 1].
    """
    shown = {shape.link for shape in model.shapes}
    shapes = [*model.shapes] if shown else rods(model)
    return MarkerArray(
        markers=[
            shape_marker(frame_of(shape.link), 'links', index, shape, colour) for index, shape in enumerate(shapes)
        ]
    )


def rods(model: RobotModel) -> list[Shape]:
    """Return a rod from each link to the origin of each joint that it holds."""
    found = []
    for joint in model.joints:
        end = joint.parent_T_joint[:3, 3]
        length = float(np.linalg.norm(end))
        if length > 2.0 * RADIUS:
            found.append(Shape(joint.parent, 'cylinder', (RADIUS, length), rod_pose(end)))
    return found or [Shape(joint.child, 'sphere', (RADIUS,), np.eye(4)) for joint in model.joints]


def rod_pose(end: Array) -> Array:
    """Return the pose (4, 4) of a cylinder along z that reaches from the origin to a point (3,)."""
    axis = np.asarray(end, float) / np.linalg.norm(end)
    across = np.cross([0.0, 0.0, 1.0], axis)
    sine, cosine = float(np.linalg.norm(across)), float(axis[2])
    turn = across / sine * np.arctan2(sine, cosine) if sine > 1e-9 else np.array([0.0 if cosine > 0 else np.pi, 0, 0])
    return make_transform(rotation_exp(turn), 0.5 * np.asarray(end, float))


def shape_marker(frame: str, namespace: str, index: int, shape: Shape, colour: tuple[float, float, float]) -> Marker:
    """Make the marker of one shape; stamp 0 and frame_locked: it moves with its frame."""
    marker = Marker(ns=namespace, id=index, type=KINDS[shape.kind], action=Marker.ADD, frame_locked=True)
    marker.header.frame_id = frame
    pose = shape.link_T_shape
    marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = (float(v) for v in pose[:3, 3])
    quat = marker.pose.orientation
    quat.x, quat.y, quat.z, quat.w = quat_of(pose)
    size = shape.size
    scale = {
        'cylinder': lambda: (2.0 * size[0], 2.0 * size[0], size[1]),
        'sphere': lambda: (2.0 * size[0],) * 3,
        'box': lambda: size,
    }[shape.kind]()
    marker.scale.x, marker.scale.y, marker.scale.z = (float(v) for v in scale)
    marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=1.0)
    return marker
