"""Streams of numbers out of a bag, brought to common instants: what a data set for learning is made of.

Positions and joints are interpolated linearly, rotations on SO(3); commands hold from their stamp until the next, as
the robot sees them. No stream is used across a gap or beyond its ends: there the instant has no value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import stamp_of
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader

JOINTS = 'sensor_msgs/msg/JointState'
WRENCH = 'geometry_msgs/msg/WrenchStamped'
POSES = {
    'geometry_msgs/msg/PoseStamped': lambda message: message.pose,
    'geometry_msgs/msg/PoseWithCovarianceStamped': lambda message: message.pose.pose,
}
NUMBERS = ('std_msgs/msg/Float64', 'std_msgs/msg/Float32')
IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
KINDS = (JOINTS, WRENCH, *POSES, *NUMBERS)
_COMMANDS = ('setpoint_js', 'setpoint_cp', 'goal_js', 'goal_cp')
_COMMAND_STARTS = ('servo_', 'move_', 'interpolate_')
_MEASURED = ('measured_js', 'measured_cp')
_UNIT = 1e-2  # how far from 1 the norm of a quaternion may be


@dataclass
class Stream:
    """The samples of one topic in rising order of stamps.

    Args:
        topic: Its name.
        kind: Its message type.
        names: What each number is.
        stamps_ns: Times of measurement, shape (n,).
        values: Shape (n, d); a pose is x y z [m] and a unit quaternion xyzw.
        left_out: Messages that hold no value: stamp 0, not finite, other joints, or a stamp that does not rise.
    """

    topic: str
    kind: str
    names: tuple[str, ...] = ()
    stamps_ns: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    left_out: int = 0

    @property
    def is_command(self) -> bool:
        """Whether the topic says what shall be, not what is."""
        return is_command(self.topic)

    def add(self, message: Any, log_time_ns: int) -> None:
        """Take in a message, or count it as left out."""
        names, values = _numbers(self.topic, self.kind, message)
        stamp = stamp_of(message) if hasattr(message, 'header') else log_time_ns
        rising = stamp > 0 and (not self.stamps_ns or stamp > self.stamps_ns[-1])
        if not rising or len(names) != len(values) or (self.names and names != self.names) or not self._sound(values):
            self.left_out += 1
            return
        if self.kind in POSES and self.values and np.dot(self.values[-1][3:], values[3:]) < 0.0:
            values[3:] = [-value for value in values[3:]]  # the same rotation, without a jump of the numbers
        self.names = names
        self.stamps_ns.append(stamp)
        self.values.append(values)

    def _sound(self, values: list[float]) -> bool:
        if not values or not np.isfinite(values).all():
            return False
        return self.kind not in POSES or abs(np.linalg.norm(values[3:]) - 1.0) < _UNIT

    def at(self, instants_ns: Array, *, max_gap: float) -> tuple[Array, Array]:
        """Return the values at instants, and whether there is one.

        Args:
            instants_ns: Shape (m,).
            max_gap: Longest time between two samples, or from a command on, that is bridged [s].

        Returns:
            Values, shape (m, d), and a mask, shape (m,); the values are 0 where the mask is False.
        """
        stamps, values = np.array(self.stamps_ns, np.int64), np.array(self.values)
        gap_ns = round(max_gap * NANOSECONDS)
        before = np.searchsorted(stamps, instants_ns, side='right') - 1
        here = np.clip(before, 0, None)
        if self.is_command:
            valid = (before >= 0) & (instants_ns - stamps[here] <= gap_ns)
            return np.where(valid[:, None], values[here], 0.0), valid
        after = np.minimum(here + 1, len(stamps) - 1)
        exact = stamps[here] == instants_ns
        valid = (before >= 0) & (exact | ((before + 1 < len(stamps)) & (stamps[after] - stamps[here] <= gap_ns)))
        span = np.where(after > here, stamps[after] - stamps[here], 1)
        share = np.where(exact, 0.0, (instants_ns - stamps[here]) / span)[:, None]
        blended = values[here] + share * (values[after] - values[here])
        if self.kind in POSES:
            blended[:, 3:] = _slerp(values[here, 3:], values[after, 3:], share)
        return np.where(valid[:, None], blended, 0.0), valid


def is_command(topic: str) -> bool:
    """Whether a topic says what shall be (CRTK's setpoint, goal, servo, move, interpolate)."""
    last = topic.rsplit('/', 1)[-1]
    return last in _COMMANDS or last.startswith(_COMMAND_STARTS)


def chosen(reader: BagReader, topics: Sequence[str]) -> list[str]:
    """Return the topics to write: those that are named, else all that a robot or tracker measured or was told.

    Raises:
        InputError: for a topic that is not there or holds nothing that can be written, or when there is none.
    """
    able = {name: topic.type_name for name, topic in reader.topics.items() if topic.type_name in (*KINDS, *IMAGES)}
    missing = [topic for topic in topics if topic not in able]
    if missing:
        raise InputError(f'{reader.path.name}: no numbers or images on {missing[0]}; it has {", ".join(sorted(able))}')
    if topics:
        return list(topics)
    found = sorted(name for name, kind in able.items() if kind in IMAGES or _is_usual(name))
    if not any(able[name] in KINDS for name in found):
        raise InputError(
            f'{reader.path.name}: no measured_js or measured_cp; name topics with --topic: {", ".join(sorted(able))}'
        )
    return found


def _is_usual(topic: str) -> bool:
    last = topic.rsplit('/', 1)[-1]
    return '/truth/' not in topic and (last in _MEASURED or is_command(topic))


def gather(reader: BagReader, topics: Sequence[str]) -> list[Stream]:
    """Read the streams of numbers; topics with images are left to others.

    Raises:
        InputError: when a stream holds no sample.
    """
    streams = {name: Stream(name, kind) for name in topics if (kind := reader.topics[name].type_name) in KINDS}
    for message in reader.messages(tuple(streams)):
        streams[message.topic].add(reader.decode(message), message.log_time_ns)
    # what was published but never filled, such as the commands of an idle console, cannot be asked for
    empty = [stream.topic for stream in streams.values() if len(stream.stamps_ns) < 2]
    kept = [stream for stream in streams.values() if stream.topic not in empty]
    if not any(not stream.is_command for stream in kept):
        raise InputError(f'{reader.path.name}: fewer than two samples on each of {", ".join(empty)}')
    return kept


def _numbers(topic: str, kind: str, message: Any) -> tuple[tuple[str, ...], list[float]]:
    prefix = topic.strip('/').replace('/', '.')
    if kind == JOINTS:
        names = tuple(message.name) or tuple(f'joint_{index}' for index in range(len(message.position)))
        return tuple(f'{prefix}.{name}' for name in names), [float(value) for value in message.position]
    if kind == WRENCH:
        force, torque = message.wrench.force, message.wrench.torque
        values = [force.x, force.y, force.z, torque.x, torque.y, torque.z]
        return tuple(f'{prefix}.{name}' for name in ('fx', 'fy', 'fz', 'tx', 'ty', 'tz')), values
    if kind in NUMBERS:
        return (prefix,), [float(message.data)]
    pose = POSES[kind](message)
    place, turn = pose.position, pose.orientation
    names = tuple(f'{prefix}.{name}' for name in ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw'))
    return names, [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w]


def _slerp(first: Array, second: Array, share: Array) -> Array:
    """Interpolate unit quaternions (m, 4) the short way; `share` (m, 1)."""
    cosine = np.sum(first * second, axis=1, keepdims=True)
    second = np.where(cosine < 0.0, -second, second)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    small = angle < 1e-6
    sine = np.where(small, 1.0, np.sin(angle))
    one = np.where(small, 1.0 - share, np.sin((1.0 - share) * angle) / sine)
    other = np.where(small, share, np.sin(share * angle) / sine)
    blended = one * first + other * second
    return np.asarray(blended / np.linalg.norm(blended, axis=1, keepdims=True))
