"""Buffer.transform() on the messages that people use."""

import numpy as np
import pytest
import tf2_geometry_msgs
from builtin_interfaces.msg import Time as TimeMsg
from geometry_msgs.msg import (
    Point,
    Point32,
    PointStamped,
    Polygon,
    PolygonStamped,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    Vector3,
    Vector3Stamped,
)
from rclpy.duration import Duration
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header, String
from tf2_ros import Buffer, LookupException, Stamped, TransformRegistration, TypeException, convert
from tf_frames import as_matrix, at, message, random_rigid

HEADER = Header(stamp=TimeMsg(sec=1), frame_id='b')


@pytest.fixture
def a_T_b():
    return random_rigid(np.random.default_rng(7))


@pytest.fixture
def buffer(a_T_b):
    buffer = Buffer()
    buffer.set_transform(message('a', 'b', a_T_b, 1.0), 'test')
    buffer.set_transform(message('a', 'b', np.eye(4), 2.0), 'test')
    return buffer


def test_point(buffer, a_T_b):
    got = buffer.transform(PointStamped(header=HEADER, point=Point(x=1.0, y=2.0, z=3.0)), 'a')
    np.testing.assert_allclose([got.point.x, got.point.y, got.point.z], (a_T_b @ [1, 2, 3, 1])[:3], atol=1e-12)
    assert (got.header.frame_id, got.header.stamp) == ('a', HEADER.stamp)


def test_vector_turns_and_does_not_move(buffer, a_T_b):
    got = buffer.transform(Vector3Stamped(header=HEADER, vector=Vector3(x=1.0, y=2.0, z=3.0)), 'a')
    np.testing.assert_allclose([got.vector.x, got.vector.y, got.vector.z], a_T_b[:3, :3] @ [1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(as_matrix(buffer.lookup_transform('a', 'b', at(1))), a_T_b, atol=1e-12)


def test_polygon(buffer, a_T_b):
    corners = Polygon(points=[Point32(x=1.0), Point32(z=1.0)])
    got = buffer.transform(PolygonStamped(header=HEADER, polygon=corners), 'a').polygon.points
    np.testing.assert_allclose([got[1].x, got[1].y, got[1].z], a_T_b[:3, 2] + a_T_b[:3, 3], atol=1e-6)


def pose_of(matrix):
    x, y, z = matrix[:3, 3].tolist()
    i, j, k, w = Rotation.from_matrix(matrix[:3, :3]).as_quat().tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=i, y=j, z=k, w=w))


def matrix_of(pose):
    p, q = pose.position, pose.orientation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    matrix[:3, 3] = p.x, p.y, p.z
    return matrix


def test_pose(buffer, a_T_b):
    b_T_c = random_rigid(np.random.default_rng(8))
    got = buffer.transform(PoseStamped(header=HEADER, pose=pose_of(b_T_c)), 'a')
    np.testing.assert_allclose(matrix_of(got.pose), a_T_b @ b_T_c, atol=1e-12)


def test_covariance_is_that_of_turned_samples(buffer, a_T_b):
    rng = np.random.default_rng(9)
    root = rng.normal(size=(6, 6))
    sent = PoseWithCovarianceStamped(header=HEADER)
    sent.pose.covariance = (root @ root.T).ravel()
    got = np.asarray(buffer.transform(sent, 'a').pose.covariance).reshape(6, 6)
    samples = rng.normal(size=(20_000, 6)) @ root.T
    turned = np.hstack([samples[:, :3] @ a_T_b[:3, :3].T, samples[:, 3:] @ a_T_b[:3, :3].T])
    np.testing.assert_allclose(got, np.cov(turned.T), atol=0.05 * np.abs(got).max())
    np.testing.assert_allclose(np.linalg.eigvalsh(got), np.linalg.eigvalsh(root @ root.T), atol=1e-9)


def test_transform_full_brings_to_another_time(buffer, a_T_b):
    point = PointStamped(header=HEADER, point=Point(x=1.0))
    got = buffer.transform_full(point, 'b', at(2), 'a')
    np.testing.assert_allclose([got.point.x, got.point.y, got.point.z], (a_T_b @ [1, 0, 0, 1])[:3], atol=1e-12)
    assert got.header.stamp.sec == 2


def test_unknown_type_and_unknown_frame(buffer):
    with pytest.raises(TypeException, match='not loaded or supported'):
        buffer.transform(String(), 'a')
    with pytest.raises(LookupException):
        buffer.transform(PointStamped(header=HEADER), 'nowhere', Duration(nanoseconds=1000))


def test_own_types_register(buffer):
    class Marker:
        def __init__(self, x):
            self.x = x

    TransformRegistration().add(Marker, lambda marker, transform: (marker.x, transform.child_frame_id))
    assert buffer.transform(Stamped(Marker(5), HEADER.stamp, 'b'), 'a') == (5, 'b')


def test_convert_copies_the_same_type():
    point = PointStamped(point=Point(x=1.0))
    copy = convert(point, PointStamped)
    assert copy == point
    assert copy is not point
    with pytest.raises(TypeException):
        convert(String(), PointStamped)


def test_functions_of_tf2_geometry_msgs_work_without_a_buffer(a_T_b):
    point = PointStamped(point=Point(x=1.0))
    got = tf2_geometry_msgs.do_transform_point(point, message('a', 'b', a_T_b))
    np.testing.assert_allclose(got.point.x, (a_T_b @ [1, 0, 0, 1])[0], atol=1e-12)
