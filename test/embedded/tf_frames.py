"""Transforms for the tests of tf: messages from matrices, random rigid motions, trees."""

import numpy as np
from builtin_interfaces.msg import Time as TimeMsg
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

SECOND = 1_000_000_000


def at(seconds):
    return Time(nanoseconds=round(seconds * SECOND))


def rigid(rotvec=(0.0, 0.0, 0.0), position=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    matrix[:3, 3] = position
    return matrix


def random_rigid(rng):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(rng=rng).as_matrix()
    matrix[:3, 3] = rng.normal(size=3)
    return matrix


def message(parent, child, matrix=None, seconds=1.0):
    matrix = np.eye(4) if matrix is None else matrix
    x, y, z = matrix[:3, 3].tolist()
    i, j, k, w = Rotation.from_matrix(matrix[:3, :3]).as_quat().tolist()
    return numbers(parent, child, (x, y, z, i, j, k, w), seconds)


def numbers(parent, child, pose, seconds=1.0):
    x, y, z, i, j, k, w = pose
    sec, nanosec = divmod(round(seconds * SECOND), SECOND)
    return TransformStamped(
        header=Header(stamp=TimeMsg(sec=sec, nanosec=nanosec), frame_id=parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=i, y=j, z=k, w=w)),
    )


def as_matrix(transform):
    t, r = transform.transform.translation, transform.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


def stamp_ns(transform):
    return transform.header.stamp.sec * SECOND + transform.header.stamp.nanosec
