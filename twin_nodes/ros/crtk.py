"""CRTK at the edge of ROS: poses of either type, joint states, operating states, and who else speaks on a topic."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped, TwistStamped, WrenchStamped
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.joint_reading import JointReader, JointSample
from twin_nodes.core.robot.joint_states import JointStates
from twin_nodes.ros.conversions import check_header, ns_to_stamp, stamp_to_ns

POSE_TYPES: dict[str, Any] = {
    'geometry_msgs/msg/PoseStamped': PoseStamped,
    'geometry_msgs/msg/TransformStamped': TransformStamped,  # before 2022
}
LOOK_S = 0.25


def other_publishers(node: Node, topic: str) -> list[str]:
    """Return the types that others publish on a topic."""
    return [
        info.topic_type
        for info in node.get_publishers_info_by_topic(topic)
        if (info.node_name, info.node_namespace) != (node.get_name(), node.get_namespace())
    ]


class CrtkPoseInput:
    """Takes the poses of a topic as PoseStamped, or as TransformStamped where an older stack sends these.

    Which one is seen from the graph; a reader of the wrong type would hear nothing. Own messages are never taken in.

    Args:
        node: The node that listens.
        topic: Topic of the poses.
        on_pose: Gets each message, of either type.
        qos: For the subscription.
        at_once: Whether PoseStamped is listened to before anybody publishes, so that a single command is not missed.
    """

    def __init__(
        self, node: Node, topic: str, on_pose: Callable[[Any], None], qos: QoSProfile, *, at_once: bool = False
    ) -> None:
        self._node, self._topic, self._on_pose, self._qos = node, topic, on_pose, qos
        self._type = ''
        self._subscription: Any = None
        self._timer = node.create_timer(LOOK_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.look()
        if at_once and not self._type:
            self._listen(next(iter(POSE_TYPES)))

    @property
    def is_heard(self) -> bool:
        """Whether somebody else publishes poses on the topic."""
        return any(kind in POSE_TYPES for kind in other_publishers(self._node, self._topic))

    def look(self) -> None:
        """Listen to the type that is published, PoseStamped where both are."""
        published = other_publishers(self._node, self._topic)
        wanted = next((kind for kind in POSE_TYPES if kind in published), '')
        if wanted and wanted != self._type:
            self._listen(wanted)

    def _listen(self, kind: str) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = self._node.create_subscription(POSE_TYPES[kind], self._topic, self._on_pose, self._qos)
        self._type = kind


class CrtkOutput:
    """Publishes on a topic as long as nobody else does: a robot that has one of its own is not talked over.

    `others_speak` says whether somebody else did when it last looked.

    Args:
        node: The node that publishes.
        kind: Type of the messages.
        topic: The topic.
        qos: For the publisher.
        at_once: Whether it publishes from the start and whoever else does.
        patience: How long the topic must have been without others [s]; discovery takes its time.
    """

    def __init__(
        self, node: Node, kind: Any, topic: str, qos: QoSProfile, *, at_once: bool = False, patience: float = 3.0
    ) -> None:
        self._node, self._kind, self._topic, self._qos = node, kind, topic, qos
        self._patience_ns = round(patience * 1e9)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._alone_since_ns: int | None = None
        self._publisher: Publisher | None = None
        self.others_speak = False
        if at_once:
            self._publisher = self._make()
        else:
            self._timer = node.create_timer(LOOK_S, self._look, clock=self._steady)

    @property
    def is_ours(self) -> bool:
        """Whether this node publishes on the topic."""
        return self._publisher is not None

    @property
    def is_wanted(self) -> bool:
        """Whether this node publishes on the topic and somebody listens."""
        if self._alone_since_ns is None:
            self._alone_since_ns = self._steady.now().nanoseconds
        return self._publisher is not None and self._publisher.get_subscription_count() > 0

    def send(self, message: Any) -> None:
        """Publish, where nobody else does."""
        if self._alone_since_ns is None:
            self._alone_since_ns = self._steady.now().nanoseconds
        if self._publisher is not None:
            self._publisher.publish(message)

    def _look(self) -> None:
        if self._alone_since_ns is None:
            return
        now_ns = self._steady.now().nanoseconds
        self.others_speak = bool(other_publishers(self._node, self._topic))
        if self.others_speak:
            self._alone_since_ns = now_ns
            if self._publisher is not None:
                self._node.destroy_publisher(self._publisher)
                self._publisher = None
        elif self._publisher is None and now_ns - self._alone_since_ns >= self._patience_ns:
            self._publisher = self._make()

    def _make(self) -> Publisher:
        """Make the publisher; nobody listens to its events, as the `EventLoop` must not when it is destroyed."""
        events = PublisherEventCallbacks(use_default_callbacks=False)
        return self._node.create_publisher(self._kind, self._topic, self._qos, event_callbacks=events)


def read_joints(message: JointState, reader: JointReader, *, now_ns: int | None) -> JointSample:
    """Check a joint state whole; see `JointReader.read`.

    Raises:
        InputError: with the code of what is wrong.
    """
    header = message.header
    lists = (message.name, message.position, message.velocity, message.effort)
    return reader.read(stamp_to_ns(header.stamp), *lists, frame=header.frame_id, now_ns=now_ns)


def take_joints(message: JointState, joints: JointStates, *, now_ns: int | None) -> list[JointSample]:
    """Take a joint state that tells all joints or some; see `JointStates.take`.

    Raises:
        InputError: with the code of what is wrong.
    """
    header = message.header
    lists = (message.name, message.position, message.velocity, message.effort)
    return joints.take(stamp_to_ns(header.stamp), *lists, frame=header.frame_id, now_ns=now_ns)


def joint_state(
    stamp_ns: int, frame: str, names: tuple[str, ...], positions: Any, velocities: Any = (), efforts: Any = ()
) -> JointState:
    """Make a JointState."""
    message = JointState(name=list(names))
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = frame
    message.position = [float(value) for value in positions]
    message.velocity = [float(value) for value in velocities]
    message.effort = [float(value) for value in efforts]
    return message


def _parts(message: TwistStamped | WrenchStamped) -> tuple[Any, Any]:
    if isinstance(message, TwistStamped):
        return message.twist.linear, message.twist.angular
    return message.wrench.force, message.wrench.torque


def six_from(message: TwistStamped | WrenchStamped, *, frame: str | None, name: str) -> tuple[int, Array]:
    """Return stamp and numbers of a twist (linear, angular) or a wrench (force, torque), shape (6,).

    Args:
        message: The message.
        frame: The frame that it must name, or None for any.
        name: What it is, for the error.

    Raises:
        InputError: STAMP_ZERO, FRAME_MISMATCH or NOT_FINITE.
    """
    stamp_ns = check_header(message.header, frame=frame, name=name)
    values = np.array([value for part in _parts(message) for value in (part.x, part.y, part.z)])
    if not np.isfinite(values).all():
        raise InputError(f'{name} has NaN or Inf', code='NOT_FINITE')
    return stamp_ns, values


def six_stamped(kind: type, stamp_ns: int, frame: str, values: Array) -> Any:
    """Make a TwistStamped or WrenchStamped of six numbers."""
    message = kind()
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame
    for part, numbers in zip(_parts(message), (values[:3], values[3:]), strict=True):
        part.x, part.y, part.z = (float(number) for number in numbers)
    return message


def matrix_message(values: Array) -> Float64MultiArray:
    """Make a Float64MultiArray of a matrix, row after row, as the dVRK sends its Jacobians."""
    rows, columns = values.shape
    message = Float64MultiArray(data=values.ravel().tolist())
    message.layout.dim = [
        MultiArrayDimension(label='rows', size=rows, stride=rows * columns),
        MultiArrayDimension(label='cols', size=columns, stride=columns),
    ]
    return message


NO_CRTK_MSGS = (
    'crtk_msgs is not installed: operating_state, state_command and the services of the kinematics are not spoken; '
    '`make crtk` builds it into the environment, or source a ROS 2 workspace that has it'
)


def crtk_messages() -> Any | None:
    """Return the module crtk_msgs.msg where it is installed, else None."""
    return _crtk('msg', 'OperatingState')


def crtk_services() -> Any | None:
    """Return the module crtk_msgs.srv where it is installed, else None."""
    return _crtk('srv', 'QueryForwardKinematics')


def _crtk(part: str, holds: str) -> Any | None:
    """Return a part of crtk_msgs, but not the folder of its source, which can be imported as well where it lies."""
    try:
        module = import_module(f'crtk_msgs.{part}')
    except ImportError:
        return None
    return module if hasattr(module, holds) else None
