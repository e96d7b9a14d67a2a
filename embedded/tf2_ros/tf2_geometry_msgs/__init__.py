"""Carries the messages of geometry_msgs between frames; importing it registers them with tf2_ros."""

from copy import deepcopy
from typing import Any

import numpy as np
from geometry_msgs.msg import (
    Point,
    Point32,
    PointStamped,
    PolygonStamped,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    TransformStamped,
    Vector3,
    Vector3Stamped,
)
from tf2_py.rigid import Pose as Seven
from tf2_py.rigid import compose
from tf2_ros.registration import ConvertRegistration, TransformRegistration


def _seven(transform: TransformStamped) -> Seven:
    """target_T_source as seven floats."""
    t, r = transform.transform.translation, transform.transform.rotation
    return t.x, t.y, t.z, r.x, r.y, r.z, r.w


def _carried(transform: TransformStamped, point: Any) -> dict[str, float]:
    """A point in the target frame."""
    x, y, z = compose(_seven(transform), (point.x, point.y, point.z, 0.0, 0.0, 0.0, 1.0))[:3]
    return {'x': x, 'y': y, 'z': z}


def do_transform_point(point: PointStamped, transform: TransformStamped) -> PointStamped:
    """Carry a point; the answer has the header of the transform."""
    return PointStamped(header=deepcopy(transform.header), point=Point(**_carried(transform, point.point)))


def do_transform_vector3(vector3: Vector3Stamped, transform: TransformStamped) -> Vector3Stamped:
    """Turn a vector: a direction, a velocity, a force. It is not moved."""
    v = vector3.vector
    turn = (0.0, 0.0, 0.0, *_seven(transform)[3:])
    x, y, z = compose(turn, (v.x, v.y, v.z, 0.0, 0.0, 0.0, 1.0))[:3]
    return Vector3Stamped(header=deepcopy(transform.header), vector=Vector3(x=x, y=y, z=z))


def do_transform_pose(pose: Pose, transform: TransformStamped) -> Pose:
    """Carry a pose."""
    p, q = pose.position, pose.orientation
    x, y, z, i, j, k, w = compose(_seven(transform), (p.x, p.y, p.z, q.x, q.y, q.z, q.w))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=i, y=j, z=k, w=w))


def do_transform_pose_stamped(pose: PoseStamped, transform: TransformStamped) -> PoseStamped:
    """Carry a pose; the answer has the header of the transform."""
    return PoseStamped(header=deepcopy(transform.header), pose=do_transform_pose(pose.pose, transform))


def transform_covariance(cov_in: Any, transform: TransformStamped) -> np.ndarray:
    """Turn a 6×6 covariance of position and rotation, each about the axes of the frame.

    Args:
        cov_in: 36 numbers, row by row, in the source frame.
        transform: target_T_source, taken as exact.

    Returns:
        36 numbers in the target frame.
    """
    _, _, _, i, j, k, w = _seven(transform)
    rotation = np.array(
        [
            [1.0 - 2.0 * (j * j + k * k), 2.0 * (i * j - k * w), 2.0 * (i * k + j * w)],
            [2.0 * (i * j + k * w), 1.0 - 2.0 * (i * i + k * k), 2.0 * (j * k - i * w)],
            [2.0 * (i * k - j * w), 2.0 * (j * k + i * w), 1.0 - 2.0 * (i * i + j * j)],
        ]
    )
    both = np.kron(np.eye(2), rotation)
    return (both @ np.asarray(cov_in, dtype=float).reshape(6, 6) @ both.T).ravel()


def do_transform_pose_with_covariance_stamped(
    pose: PoseWithCovarianceStamped, transform: TransformStamped
) -> PoseWithCovarianceStamped:
    """Carry a pose and turn its covariance; the answer has the header of the transform."""
    result = PoseWithCovarianceStamped(header=deepcopy(transform.header))
    result.pose.pose = do_transform_pose(pose.pose.pose, transform)
    result.pose.covariance = transform_covariance(pose.pose.covariance, transform)
    return result


def do_transform_polygon_stamped(polygon: PolygonStamped, transform: TransformStamped) -> PolygonStamped:
    """Carry the corners of a polygon; the answer has the header of the transform."""
    result = PolygonStamped(header=deepcopy(transform.header))
    result.polygon.points = [Point32(**_carried(transform, point)) for point in polygon.polygon.points]
    return result


def _same(message: Any) -> Any:
    return message


for _type, _function in (
    (PointStamped, do_transform_point),
    (Vector3Stamped, do_transform_vector3),
    (PoseStamped, do_transform_pose_stamped),
    (PoseWithCovarianceStamped, do_transform_pose_with_covariance_stamped),
    (PolygonStamped, do_transform_polygon_stamped),
):
    TransformRegistration().add(_type, _function)
    ConvertRegistration().add_to_msg(_type, _same)
    ConvertRegistration().add_from_msg(_type, _same)
