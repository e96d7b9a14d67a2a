"""What the bridge carries of CRTK messages: back as it was, and refused whole where it is not sound."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.telesurgery.bridge.incoming import Due
from twin_nodes.core.telesurgery.bridge.jitter_buffer import Played
from twin_nodes.core.telesurgery.bridge.records import Command
from twin_nodes.ros.wan_messages import message_of, message_type, numbers_of, stamp_of

STAMP_NS = 1_795_000_000_123_456_789
FINITE = st.floats(-10.0, 10.0)


def carried(message, topic):
    """The message after the bridge, as the other site publishes it."""
    values, kind, counts, label = numbers_of(message, topic)
    command = Command(1, 0, values)
    return message_of(Due(topic, kind, counts, label, Played(command, 0, 0, late=False), 0), STAMP_NS)


@given(st.integers(1, 12), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_joints_come_back_as_they_were(count, has_names, has_velocity, has_effort, data):
    def numbers(wanted):
        return data.draw(st.lists(FINITE, min_size=count, max_size=count)) if wanted else []

    message = JointState(
        name=[f'joint_{i}' for i in range(count)] if has_names else [],
        position=numbers(True), velocity=numbers(has_velocity), effort=numbers(has_effort),
    )  # fmt: skip
    message.header.stamp.sec = 5
    back = carried(message, 'PSM1/measured_js')
    assert (back.name, back.position, back.velocity, back.effort) == (
        message.name, message.position, message.velocity, message.effort
    )  # fmt: skip
    assert stamp_of(back, '') == STAMP_NS and stamp_of(message, '') == 5_000_000_000


@given(
    st.tuples(FINITE, FINITE, FINITE),
    st.tuples(FINITE, FINITE, FINITE, FINITE).filter(lambda q: max(map(abs, q)) > 0.1),
)
def test_a_pose_comes_back_as_it_was(place, quat):
    quat = np.asarray(quat) / np.linalg.norm(quat)
    message = PoseStamped()
    message.header.frame_id = 'PSM1_base'
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = place
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, quat)
    back = carried(message, 'PSM1/servo_cp')
    assert back.header.frame_id == 'PSM1_base' and back.pose.position == position
    found = back.pose.orientation
    np.testing.assert_allclose([found.x, found.y, found.z, found.w], quat, atol=1e-15)


@pytest.mark.parametrize(
    ('names', 'position', 'effort', 'code', 'match'),
    [
        (['a', 'b'], [0.1], [], 'JOINTS_WRONG', '2 names, but'),
        (['a', 'b'], [0.1, 0.2], [1.0], 'JOINTS_WRONG', '2 names, but'),
        ([], [], [], 'JOINTS_WRONG', '0 names, but'),
        ([], [0.0] * 97, [], 'JOINTS_WRONG', '0 names, but'),
        (['a', 'a'], [0.1, 0.2], [], 'JOINTS_WRONG', 'comes twice'),
        (['a\nb', 'c'], [0.1, 0.2], [], 'JOINTS_WRONG', 'newline'),
        (['a' * 200, 'b' * 60], [0.1, 0.2], [], 'JOINTS_WRONG', 'limit 255'),
        (['a'], [float('nan')], [], 'NOT_FINITE', 'NaN'),
    ],
)
def test_joints_that_are_not_sound_are_refused(names, position, effort, code, match):
    with pytest.raises(InputError, match=match) as refused:
        numbers_of(JointState(name=names, position=position, effort=effort), 'measured_js')
    assert refused.value.code == code


def test_a_message_without_a_stamp_marks_invalid_data():
    with pytest.raises(InputError, match='stamp is 0') as refused:
        stamp_of(JointState(), 'measured_js')
    assert refused.value.code == 'STAMP_ZERO'


def test_the_last_word_of_a_topic_says_its_type():
    assert message_type('/PSM1/local/servo_cp') is PoseStamped
    assert message_type('PSM1/servo_jp') is message_type('measured_js') is JointState
    with pytest.raises(ConfigError, match='no CRTK topic'):
        message_type('PSM1/measured_cv')
