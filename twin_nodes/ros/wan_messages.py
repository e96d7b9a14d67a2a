"""CRTK messages ↔ the numbers that the bridge carries: poses and joint states, whole and absolute."""

import math
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import check_quaternion
from twin_nodes.core.telesurgery.bridge.records import JOINTS, MAX_NUMBERS, POSE
from twin_nodes.core.telesurgery.bridge.site import Due
from twin_nodes.ros.conversions import ns_to_stamp, stamp_to_ns

Numbers = tuple[tuple[float, ...], int, tuple[int, int, int], str]


def message_type(topic: str) -> type[Any]:
    """Return the type that CRTK gives a topic by its last word: *_cp PoseStamped, *_jp and *_js JointState.

    Raises:
        ConfigError: for another name.
    """
    word = topic.rsplit('/', 1)[-1]
    if word.endswith('_cp'):
        return PoseStamped
    if word.endswith(('_jp', '_js')):
        return JointState
    raise ConfigError(f'{topic!r} is no CRTK topic: the bridge carries …_cp (PoseStamped), …_jp and …_js (JointState)')


def stamp_of(message: PoseStamped | JointState, topic: str) -> int:
    """Return the stamp [ns].

    Raises:
        InputError: STAMP_ZERO, by which CRTK marks invalid data.
    """
    stamp_ns = stamp_to_ns(message.header.stamp)
    if stamp_ns <= 0:
        raise InputError(f'{topic}: stamp is 0, which marks invalid data', code='STAMP_ZERO')
    return stamp_ns


def numbers_of(message: PoseStamped | JointState, topic: str) -> Numbers:
    """Return values, kind, counts and label of a message, checked whole.

    Raises:
        InputError: NOT_FINITE, NOT_A_ROTATION or JOINTS_WRONG.
    """
    if isinstance(message, PoseStamped):
        position, orientation = message.pose.position, message.pose.orientation
        quat = check_quaternion((orientation.x, orientation.y, orientation.z, orientation.w), name=topic)
        values = (position.x, position.y, position.z, *map(float, quat))
        numbers: Numbers = (values, POSE, (7, 0, 0), message.header.frame_id)
    else:
        numbers = _joints(message, topic)
    if not all(map(math.isfinite, numbers[0])):
        raise InputError(f'{topic}: NaN or Inf', code='NOT_FINITE')
    if len(numbers[3].encode()) > 255:
        raise InputError(f'{topic}: frame or joint names take {len(numbers[3])} bytes, limit 255', code='JOINTS_WRONG')
    return numbers


def _joints(message: JointState, topic: str) -> Numbers:
    names = list(message.name)
    counts = (len(message.position), len(message.velocity), len(message.effort))
    expected = len(names) or max(counts)
    if any(count not in (0, expected) for count in counts) or not 0 < sum(counts) <= MAX_NUMBERS:
        raise InputError(
            f'{topic}: {len(names)} names, but {counts} positions, velocities, efforts', code='JOINTS_WRONG'
        )
    if len(set(names)) < len(names) or any('\n' in name for name in names):
        raise InputError(f'{topic}: a joint name comes twice or holds a newline', code='JOINTS_WRONG')
    values = (*message.position, *message.velocity, *message.effort)
    return values, JOINTS, counts, '\n'.join(names)


def message_of(due: Due, stamp_ns: int) -> PoseStamped | JointState:
    """Return the message of a command, with its time of measurement in our ROS time [ns]."""
    values = due.played.command.values
    if due.kind == POSE:
        message = PoseStamped()
        message.header.frame_id = due.label
        position, orientation = message.pose.position, message.pose.orientation
        position.x, position.y, position.z = values[:3]
        orientation.x, orientation.y, orientation.z, orientation.w = values[3:]
    else:
        message = JointState()
        positions, velocities, _ = due.counts
        message.name = due.label.split('\n') if due.label else []
        message.position = list(values[:positions])
        message.velocity = list(values[positions : positions + velocities])
        message.effort = list(values[positions + velocities :])
    message.header.stamp = ns_to_stamp(stamp_ns)
    return message
