"""What may go into the tree of frames: times, names, poses."""

from math import isfinite, sqrt
from typing import Any

from geometry_msgs.msg import TransformStamped

from .exceptions import InvalidArgumentException
from .rigid import Pose

NORM_TOLERANCE = 1e-2  # of the squared length of a quaternion, as in tf2


def nanoseconds(time: Any) -> int:
    """A time or duration of rclpy or of builtin_interfaces as integer nanoseconds."""
    try:
        return time.nanoseconds
    except AttributeError:
        pass
    try:
        return time.sec * 1_000_000_000 + time.nanosec
    except AttributeError:
        raise TypeError(f'time must have nanoseconds, or sec and nanosec; this is {type(time).__name__}') from None


def check_name(frame: str) -> None:
    """Refuse a name that no frame can have, in a question."""
    if not isinstance(frame, str):
        raise TypeError(f'a frame name is a str; this is {type(frame).__name__}')
    if not frame:
        raise InvalidArgumentException('a frame name must not be empty')
    if frame[0] == '/':
        raise InvalidArgumentException(f'"{frame}" begins with "/", which no frame of tf2 does; ask for "{frame[1:]}"')


def frame_names(transform: TransformStamped, authority: str) -> tuple[str, str]:
    """Parent and child, without the slash that ROS 1 wrote before them."""
    parent = transform.header.frame_id
    child = transform.child_frame_id
    if parent[:1] == '/':
        parent = parent[1:]
    if child[:1] == '/':
        child = child[1:]
    if not child:
        raise InvalidArgumentException(f'{authority} sends a transform without child_frame_id (in "{parent}")')
    if not parent:
        raise InvalidArgumentException(f'{authority} sends a transform of "{child}" without frame_id')
    if parent == child:
        raise InvalidArgumentException(f'{authority} sends a transform of "{child}" in itself')
    return parent, child


def checked_pose(transform: Any, child: str, authority: str) -> Pose:
    """The numbers of a message, once they are finite and a rotation; the quaternion is brought to length 1."""
    t = transform.translation
    r = transform.rotation
    x, y, z, i, j, k, w = pose = (t.x, t.y, t.z, r.x, r.y, r.z, r.w)
    norm2 = i * i + j * j + k * k + w * w
    if not isfinite(x * x + y * y + z * z + norm2):  # nor numbers whose products are not finite
        raise InvalidArgumentException(f'{authority} sends NaN or Inf for "{child}": {pose}')
    error = abs(norm2 - 1.0)
    if error <= 1e-15:
        return pose
    if not error < NORM_TOLERANCE:
        raise InvalidArgumentException(
            f'{authority} sends a quaternion for "{child}" whose length is {sqrt(norm2):.6g} instead of 1: '
            f'{pose[3:]} (x, y, z, w)'
        )
    scale = 1.0 / sqrt(norm2)
    return x, y, z, i * scale, j * scale, k * scale, w * scale
