"""What a registration owes to the calibration of the tip: its error, and a fresh start when the tip moves."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.nodes.registration_node import RegistrationNode
from twin_nodes.ros.conversions import pose_from, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_from

MS = 1_000_000
TOOL_T_TIP = make_transform(np.eye(3), [-0.018, 0.011, -0.152])
PATIENT_T_ANATOMY = make_transform(rotation_exp([0.3, -1.1, 0.7]), [0.062, -0.041, -0.085])
TRACKER_T_PATIENT = make_transform(rotation_exp([1.2, 0.4, -0.3]), [0.08, -0.12, -1.45])
COVARIANCE = np.diag([4e-9] * 3 + [1.2e-7] * 3)
TIP_SIGMA = 0.3e-3
START_MS = 1_000_000_000


@pytest.fixture
def node(start):
    return start(RegistrationNode, tool='drill', landmarks_file='room')


def calibrate(node, offset=0.0):
    tool_T_tip = TOOL_T_TIP @ make_transform(np.eye(3), [offset, 0.0, 0.0])
    covariance = np.diag([TIP_SIGMA**2 / 3.0] * 3 + [0.0] * 3)
    node._on_calibration(pose_with_covariance(START_MS * MS, 'drill', tool_T_tip, covariance))


def touch(node, count):
    """Touch landmarks one after the other, 2 s each, with the tool always held alike."""
    landmarks = list(Room(RoomConfig()).landmarks.values())[:count]
    for index, point in enumerate(transform_points(PATIENT_T_ANATOMY, np.array(landmarks))):
        for step in range(100):
            stamp_ns = (START_MS + 5000 * index + 20 * step) * MS
            tracker_T_tool = TRACKER_T_PATIENT @ make_transform(np.eye(3), point) @ inverse(TOOL_T_TIP)
            node._streams.add_reference(
                'patient/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', TRACKER_T_PATIENT, COVARIANCE)
            )
            node._streams.add_sample(pose_with_covariance(stamp_ns, 'tracker', tracker_T_tool, COVARIANCE))


def test_the_error_of_the_tip_is_in_the_registration(node, probe):
    heard = probe.listen_latched(type(pose_with_covariance(1, 'a', np.eye(4), np.eye(6))), 'registration')
    calibrate(node)
    touch(node, 6)
    probe.until(lambda: heard, node, what='registration')
    covariance = np.array(heard[-1].pose.covariance).reshape(6, 6)
    assert np.trace(covariance[:3, :3]) > 0.9 * TIP_SIGMA**2


@pytest.mark.parametrize(('offset', 'touched'), [(0.0002, 2), (0.002, 0)])
def test_a_tip_that_moves_beyond_its_error_asks_for_all_landmarks_again(node, offset, touched):
    calibrate(node)
    touch(node, 3)  # the third place is still held
    calibrate(node, offset)
    stamp_ns = (START_MS + 12_020) * MS
    node._streams.add_reference(
        'patient/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', TRACKER_T_PATIENT, COVARIANCE)
    )
    node._streams.add_sample(pose_with_covariance(stamp_ns, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
    assert len(node._session.dwells) == touched
    assert ('calibrated anew' in node.health._checks['state'].message) == (touched == 0)


def test_the_share_of_the_tip_is_told_with_the_registration_of_its_stamp(node, probe):
    shares = probe.listen(PointCloud2, TIP_SHARE, LATCHED)
    registrations = probe.listen(PoseWithCovarianceStamped, 'registration', LATCHED)
    calibrate(node)
    touch(node, 6)

    def both():
        return (
            shares and registrations
            and stamp_to_ns(shares[-1].header.stamp) == stamp_to_ns(registrations[-1].header.stamp)
        )  # fmt: skip

    probe.until(both, node, what='both')
    share = tip_share_from(shares[-1])
    assert shares[-1].header.frame_id == 'drill'
    np.testing.assert_array_equal(share.tip, TOOL_T_TIP[:3, 3])
    # the tool was held alike at all landmarks: an error of the tip moves the registration as a whole, and turns nothing
    np.testing.assert_allclose(share.effect[:3], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(share.effect[3:], 0.0, atol=1e-6)
    told = pose_from(registrations[-1], frame='patient').covariance
    without = told - TIP_SIGMA**2 / 3.0 * share.effect @ share.effect.T
    assert np.linalg.eigvalsh(without).min() > -1e-12 and np.trace(without[:3, :3]) < 0.5 * np.trace(told[:3, :3])
