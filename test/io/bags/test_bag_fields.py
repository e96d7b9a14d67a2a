"""The canonical form: equal exactly when every field is equal bit for bit, whoever decoded."""

import math

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState, PointCloud2, PointField
from std_msgs.msg import Empty, Float64, UInt8MultiArray
from visualization_msgs.msg import Marker

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.definitions import definition_text
from twin_nodes.io.bags.fields import decode, decode_without_ros, decoded_fields

POSE = PoseWithCovarianceStamped()
POSE.header.frame_id = 'tracker'
POSE.pose.covariance[7] = 0.1
MESSAGES = [
    POSE,
    JointState(name=['a', 'bc'], position=[1.0, math.pi]),
    PointCloud2(fields=[PointField(name='x', datatype=7, count=1)], data=[1, 2, 3], is_dense=True),
    DiagnosticArray(status=[DiagnosticStatus(level=b'\x02', name='x', values=[KeyValue(key='k', value='ä')])]),
    UInt8MultiArray(data=[0, 255]),
    Marker(id=-3),
    Empty(),
]


@pytest.mark.parametrize('message', MESSAGES, ids=lambda message: type(message).__name__)
def test_rclpy_and_rosbags_give_the_same_fields(message):
    package, kind = type(message).__module__.split('.')[:2]
    name = f'{package}/{kind}/{type(message).__name__}'
    data = serialize_message(message)
    expected = decoded_fields(message)
    assert expected[0] == name
    assert decoded_fields(decode(name, data)) == expected
    assert decoded_fields(decode_without_ros(name, data)) == expected
    assert decoded_fields(decode_without_ros(name, data, definition=definition_text(name))) == expected


def test_floats_are_compared_by_their_bits():
    nan = decoded_fields(Float64(data=math.nan))
    assert nan == decoded_fields(Float64(data=math.nan))
    assert decoded_fields(Float64(data=0.0)) != decoded_fields(Float64(data=-0.0))
    assert decoded_fields(Float64(data=1.0)) != decoded_fields(Float64(data=float(np.nextafter(1.0, 2.0))))


def test_padding_does_not_count():
    data = bytearray(serialize_message(JointState(name=['abc'], position=[1.0])))
    name = 'sensor_msgs/msg/JointState'
    reference = decoded_fields(decode(name, bytes(data)))
    same = 0
    for place in range(4, len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x5A
        try:
            same += decoded_fields(decode(name, bytes(changed))) == reference
        except (InputError, UnicodeDecodeError):
            continue
    assert 0 < same < 16


def test_bytes_of_another_type_and_unknown_types_are_refused():
    with pytest.raises(InputError, match='not a sensor_msgs/msg/JointState'):
        decode('sensor_msgs/msg/JointState', b'\x00\x01\x00\x00\xff\xff\xff\xff')
    with pytest.raises(InputError, match='neither installed'):
        decode('none_msgs/msg/None', b'\x00\x01\x00\x00')
