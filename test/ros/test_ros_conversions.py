"""What a message may hold is decided once, here: truth goes both ways, everything else is refused with its code."""

import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.codes import CODES
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import exp, quat_from_rotation, random_transform
from twin_nodes.ros.conversions import (
    ns_to_stamp,
    pose_from,
    pose_stamped,
    pose_with_covariance,
    quat_of,
    stamp_to_ns,
    transform_stamped,
)

STAMP_NS = 1_700_000_000_123_456_789
COVARIANCE = np.diag([1e-8, 2e-8, 3e-8, 1e-6, 2e-6, 3e-6])
NAN, INF = math.nan, math.inf

twists = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).map(np.array)
stamps = st.integers(1, 2**31 * 10**9 - 1)


def message_of(kind, pose, *, stamp_ns=STAMP_NS, frame='tracker'):
    if kind is PoseStamped:
        return pose_stamped(stamp_ns, frame, pose)
    if kind is TransformStamped:
        return transform_stamped(stamp_ns, frame, 'drill', pose)
    return pose_with_covariance(stamp_ns, frame, pose, COVARIANCE)


def parts_of(message):
    """Position and orientation, wherever the type keeps them."""
    if isinstance(message, TransformStamped):
        return message.transform.translation, message.transform.rotation
    pose = message.pose if isinstance(message, PoseStamped) else message.pose.pose
    return pose.position, pose.orientation


ALL_KINDS = pytest.mark.parametrize('kind', [PoseStamped, TransformStamped, PoseWithCovarianceStamped])


def refused(message, code, *, frame='tracker', match=None):
    with pytest.raises(InputError, match=match) as caught:
        pose_from(message, frame=frame)
    assert caught.value.code == code
    assert code in CODES


@given(twists, stamps)
@settings(max_examples=60, deadline=None)
def test_a_pose_comes_back_from_every_kind_of_message(twist, stamp_ns):
    pose = exp(twist)
    for kind in (PoseStamped, TransformStamped, PoseWithCovarianceStamped):
        record = pose_from(message_of(kind, pose, stamp_ns=stamp_ns), frame='tracker')
        assert (record.stamp_ns, record.frame) == (stamp_ns, 'tracker')
        np.testing.assert_allclose(record.pose, pose, rtol=0.0, atol=1e-12)


@given(twists)
@settings(max_examples=100, deadline=None)
def test_scalar_quaternion_is_the_one_of_se3(twist):
    rotation = exp(twist)
    quat = np.array(quat_of(rotation))
    expected = quat_from_rotation(rotation[:3, :3])
    assert min(np.abs(quat - expected).max(), np.abs(quat + expected).max()) < 1e-12  # at w = 0 both signs are right
    assert quat[3] >= 0.0
    assert abs(np.linalg.norm(quat) - 1.0) < 1e-12


@pytest.mark.parametrize('axis', [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.0, 0.8)])
def test_half_turns_and_identity_keep_their_digits(axis):
    for angle in (0.0, 1e-9, math.pi - 1e-9, math.pi):
        pose = exp([0.1, 0.2, 0.3, *(angle * np.array(axis))])
        again = pose_from(pose_stamped(STAMP_NS, 'tracker', pose), frame=None).pose
        np.testing.assert_allclose(again, pose, rtol=0.0, atol=1e-15)


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_every_stamp_comes_back_to_the_nanosecond(stamp_ns):
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns


@pytest.mark.parametrize('stamp_ns', [-1, 2**31 * 10**9, 2**63, 10**30])
def test_a_stamp_that_ros_cannot_hold_is_refused(stamp_ns):
    with pytest.raises(InputError, match='1970 to 2038'):
        ns_to_stamp(stamp_ns)


@ALL_KINDS
@pytest.mark.parametrize('value', [NAN, INF, -INF])
@pytest.mark.parametrize('axis', 'xyz')
def test_a_position_that_is_no_number_is_refused(kind, value, axis):
    message = message_of(kind, np.eye(4))
    setattr(parts_of(message)[0], axis, value)
    refused(message, 'NOT_FINITE', match='NaN or Inf')


@ALL_KINDS
@pytest.mark.parametrize('value', [1e308, -1e308, 1e7])
def test_a_position_beyond_every_room_is_refused_before_it_overflows(kind, value):
    message = message_of(kind, np.eye(4))
    parts_of(message)[0].y = value
    refused(message, 'OUT_OF_WORKSPACE', match='limit')


@ALL_KINDS
@pytest.mark.parametrize('value', [NAN, INF])
@pytest.mark.parametrize('axis', 'xyzw')
def test_a_quaternion_that_is_no_number_is_refused(kind, value, axis):
    message = message_of(kind, np.eye(4))
    setattr(parts_of(message)[1], axis, value)
    refused(message, 'NOT_FINITE')


@ALL_KINDS
@pytest.mark.parametrize('norm', [0.0, 0.5, 0.989, 1.011, 2.0, 1e200])
@pytest.mark.filterwarnings('ignore:overflow')
def test_a_quaternion_far_from_unit_is_refused(kind, norm):
    message = message_of(kind, np.eye(4))
    parts_of(message)[1].w = norm
    refused(message, 'NOT_A_ROTATION', match='norm')


@ALL_KINDS
@pytest.mark.parametrize('norm', [0.991, 1.009, -0.999])
def test_a_quaternion_near_unit_is_made_unit(kind, norm):
    message = message_of(kind, np.eye(4))
    parts_of(message)[1].w = norm
    np.testing.assert_allclose(pose_from(message, frame='tracker').pose, np.eye(4), atol=1e-15)


@ALL_KINDS
def test_stamp_zero_marks_invalid_data(kind):
    refused(message_of(kind, np.eye(4), stamp_ns=0), 'STAMP_ZERO', match='stamp is 0')


@ALL_KINDS
def test_a_stamp_before_1970_is_refused(kind):
    message = message_of(kind, np.eye(4))
    message.header.stamp.sec = -5
    refused(message, 'STAMP_ZERO', match='not a time')


@ALL_KINDS
def test_a_renamed_frame_is_refused_with_both_names(kind):
    message = message_of(kind, np.eye(4), frame='tracker2')
    refused(message, 'FRAME_MISMATCH', match="'tracker2', expected 'tracker'")
    assert pose_from(message, frame=None).frame == 'tracker2'


@given(st.integers(0, 2**32 - 1))
def test_covariance_comes_back_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6)) * 1e-3
    covariance = root @ root.T
    message = pose_with_covariance(STAMP_NS, 'tracker', random_transform(rng), 0.5 * (covariance + covariance.T))
    np.testing.assert_array_equal(pose_from(message, frame='tracker').covariance, 0.5 * (covariance + covariance.T))


@pytest.mark.parametrize(
    ('place', 'value', 'match'),
    [
        ((0, 0), NAN, 'NaN'),
        ((5, 5), INF, 'NaN'),
        ((2, 2), -1e-12, 'negative'),
        ((0, 1), 1e-8, 'symmetric'),
        ((0, 0), -1.0, 'negative'),
    ],
)
def test_a_covariance_that_cannot_be_one_is_refused(place, value, match):
    covariance = COVARIANCE.copy()
    covariance[place] = value
    refused(pose_with_covariance(STAMP_NS, 'tracker', np.eye(4), covariance), 'NOT_FINITE', match=match)


def test_a_covariance_whose_correlations_exceed_one_is_refused():
    covariance = COVARIANCE.copy()
    covariance[0, 1] = covariance[1, 0] = 5e-8
    refused(pose_with_covariance(STAMP_NS, 'tracker', np.eye(4), covariance), 'NOT_FINITE', match='negative variance')


def test_a_covariance_that_knows_some_axes_exactly_is_taken():
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = 1e-8 * np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    message = pose_with_covariance(STAMP_NS, 'tracker', np.eye(4), covariance)
    np.testing.assert_array_equal(pose_from(message, frame='tracker').covariance, covariance)


def test_a_stamp_ahead_of_the_clock_is_refused_where_there_is_one():
    message = pose_stamped(STAMP_NS, 'tracker', np.eye(4))
    assert pose_from(message, frame='tracker', now_ns=STAMP_NS - 50_000_000).stamp_ns == STAMP_NS
    assert pose_from(message, frame='tracker').stamp_ns == STAMP_NS
    with pytest.raises(InputError, match='ahead of the clock') as caught:
        pose_from(message, frame='tracker', now_ns=STAMP_NS - 50_000_001)
    assert caught.value.code == 'STAMP_FUTURE'


def test_a_covariance_of_zero_is_unknown_and_refused():
    message = pose_with_covariance(1, 'tracker', np.eye(4), np.zeros((6, 6)))
    with pytest.raises(InputError, match='zero, which means unknown') as caught:
        pose_from(message, frame='tracker')
    assert caught.value.code == 'NO_COVARIANCE'
