"""Messages to records and back. What a message may hold is checked here, once, with the reason when it may not."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseArray,
    PoseStamped,
    PoseWithCovarianceStamped,
    TransformStamped,
    WrenchStamped,
)

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import QUATERNION_RENORMALISE, Array, check_quaternion
from twin_nodes.core.geometry.se3_scalars import quat_of
from twin_nodes.core.stamps import NANOSECONDS

MAX_AHEAD_NS = 50_000_000  # clocks of several machines kept together by NTP; one stamp far ahead would block a pairing
MAX_POSITION = 1e6  # far above every limit that says 'unit?', far below where sums and squares overflow


@dataclass(frozen=True, slots=True)
class StampedPose:
    """A checked pose from a message.

    Args:
        stamp_ns: Time of measurement.
        frame: Parent frame.
        pose: parent_T_child in metres, shape (4, 4).
        covariance: Shape (6, 6), or None when the message carries none.
    """

    stamp_ns: int
    frame: str
    pose: Array
    covariance: Array | None = None


def stamp_to_ns(stamp: Time) -> int:
    """Convert a message's stamp to integer nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """Convert integer nanoseconds to a message's stamp.

    Raises:
        InputError: for a time that the message cannot hold (before 1970 or after 2038).
    """
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    if not 0 <= seconds < 2**31:
        raise InputError(f'stamp {stamp_ns} ns is outside what a ROS stamp can hold (1970 to 2038)')
    return Time(sec=seconds, nanosec=nanoseconds)


def matrix_of(position: Any, orientation: Any, *, name: str = 'pose') -> Array:
    """Convert a message's position and orientation to a pose (4, 4), in scalars: six times as fast as arrays of se3.

    Raises:
        InputError: NOT_FINITE, OUT_OF_WORKSPACE or NOT_A_ROTATION.
    """
    xyz = (position.x, position.y, position.z)
    if not all(map(math.isfinite, xyz)):
        raise InputError(f'{name}: position {xyz} has NaN or Inf', code='NOT_FINITE')
    if max(map(abs, xyz)) > MAX_POSITION:
        raise InputError(f'{name}: position {xyz} m is beyond the limit {MAX_POSITION:g} m', code='OUT_OF_WORKSPACE')
    x, y, z, w = orientation.x, orientation.y, orientation.z, orientation.w
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not abs(norm - 1.0) <= QUATERNION_RENORMALISE:
        check_quaternion((x, y, z, w), name=name)  # says what is wrong
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w), xyz[0]],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w), xyz[1]],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y), xyz[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def check_header(header: Any, *, frame: str | None, name: str, timeless: bool = False) -> int:
    """Check frame and stamp of a header and return the stamp [ns].

    Args:
        header: The header.
        frame: The frame that it must name, or None for any.
        name: What the message is, for the error.
        timeless: Whether a stamp of 0 is welcome: a state that was known beforehand, such as a tip from a file.

    Raises:
        InputError: STAMP_ZERO (CRTK: invalid data) or FRAME_MISMATCH.
    """
    stamp_ns = stamp_to_ns(header.stamp)
    if stamp_ns == 0 and not timeless:
        raise InputError(f'{name}: stamp is 0, which marks invalid data', code='STAMP_ZERO')
    if stamp_ns < 0:
        raise InputError(f'{name}: stamp {stamp_ns} ns is not a time', code='STAMP_ZERO')
    if frame is not None and header.frame_id != frame:
        raise InputError(f'{name}: frame is {header.frame_id!r}, expected {frame!r}', code='FRAME_MISMATCH')
    return stamp_ns


def pose_from(
    message: PoseStamped | PoseWithCovarianceStamped | TransformStamped,
    *,
    frame: str | None,
    timeless: bool = False,
    now_ns: int | None = None,
) -> StampedPose:
    """Check a pose message whole and return its record.

    Args:
        message: The pose.
        frame: The parent frame that it must be in, or None for any.
        timeless: Whether a stamp of 0 is welcome, as for `check_header`.
        now_ns: Clock of the receiver, which no stamp may be ahead of; None in replay, where /clock comes when it may.

    Raises:
        InputError: with the code of what is wrong.
    """
    name = type(message).__name__
    stamp_ns = check_header(message.header, frame=frame, name=name, timeless=timeless)
    if now_ns is not None and stamp_ns - now_ns > MAX_AHEAD_NS:
        ahead = (stamp_ns - now_ns) / NANOSECONDS
        raise InputError(
            f'{name}: stamp lies {ahead:.3f} s ahead of the clock, limit {MAX_AHEAD_NS / NANOSECONDS} s; synchronise '
            'the clocks',
            code='STAMP_FUTURE',
        )
    if isinstance(message, TransformStamped):
        pose = matrix_of(message.transform.translation, message.transform.rotation, name=name)
        return StampedPose(stamp_ns, message.header.frame_id, pose)
    if isinstance(message, PoseStamped):
        pose = matrix_of(message.pose.position, message.pose.orientation, name=name)
        return StampedPose(stamp_ns, message.header.frame_id, pose)
    pose = matrix_of(message.pose.pose.position, message.pose.pose.orientation, name=name)
    covariance = np.array(message.pose.covariance, dtype=float).reshape(6, 6)
    return StampedPose(stamp_ns, message.header.frame_id, pose, check_covariance(covariance, name=name))


def places_from(message: PoseArray, *, frame: str, name: str) -> tuple[int, Array]:
    """Return stamp [ns] and positions [m] (n, 3) of poses whose orientation does not count.

    Args:
        message: The message.
        frame: The frame that it must name.
        name: What the message is, for the error.

    Raises:
        InputError: STAMP_ZERO, FRAME_MISMATCH or NOT_FINITE.
    """
    stamp_ns = check_header(message.header, frame=frame, name=name)
    places = np.array([(one.position.x, one.position.y, one.position.z) for one in message.poses], float).reshape(-1, 3)
    if not np.isfinite(places).all():
        raise InputError(f'{name} has NaN or Inf', code='NOT_FINITE')
    return stamp_ns, places


def check_covariance(covariance: Array, *, name: str) -> Array:
    """Check that a covariance (6, 6) is finite, symmetric and without a negative variance in any direction.

    Raises:
        InputError: NOT_FINITE, or NO_COVARIANCE for a position whose error is not stated.
    """
    if not np.isfinite(covariance).all():
        raise InputError(f'{name}: covariance has NaN or Inf', code='NOT_FINITE')
    scale = float(np.abs(covariance).max())
    if np.abs(covariance - covariance.T).max() > 1e-9 * scale:
        raise InputError(f'{name}: covariance is not symmetric', code='NOT_FINITE')
    if (np.diagonal(covariance) < 0.0).any() or _correlations_exceed_one(covariance):
        raise InputError(f'{name}: covariance has a negative variance', code='NOT_FINITE')
    if not np.diagonal(covariance)[:3].any():
        raise InputError(
            f'{name}: covariance is zero, which means unknown; state the variance of the position', code='NO_COVARIANCE'
        )
    return covariance


def _correlations_exceed_one(covariance: Array) -> bool:
    """Scaled to unit variances, so that metres and radians weigh the same; -1e-6 allows for float32 senders."""
    sigma = np.sqrt(np.diagonal(covariance))
    product = np.outer(sigma, sigma)
    scaled = covariance / np.where(product > 0.0, product, 1.0)
    return bool(np.linalg.eigvalsh(scaled)[0] < -1e-6)


def _fill_pose(pose: Any, a_T_b: Array) -> None:
    position, orientation = pose.position, pose.orientation
    position.x, position.y, position.z = a_T_b[0, 3].item(), a_T_b[1, 3].item(), a_T_b[2, 3].item()
    orientation.x, orientation.y, orientation.z, orientation.w = quat_of(a_T_b)


def pose_array(stamp_ns: int, frame: str, places: Array) -> PoseArray:
    """Make a message of positions [m] (n, 3) that have no orientation of their own."""
    message = PoseArray(poses=[Pose(position=Point(x=x, y=y, z=z)) for x, y, z in places.tolist()])
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame
    return message


def wrench_stamped(stamp_ns: int, frame: str, force: Array, torque: Array) -> WrenchStamped:
    """Make a WrenchStamped: force [N] and torque [Nm], shape (3,) each."""
    message = WrenchStamped()
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame
    for part, values in ((message.wrench.force, force), (message.wrench.torque, torque)):
        part.x, part.y, part.z = (float(value) for value in values)
    return message


def pose_stamped(stamp_ns: int, frame: str, frame_T_child: Array) -> PoseStamped:
    """Make a PoseStamped."""
    message = PoseStamped()
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = frame
    _fill_pose(message.pose, frame_T_child)
    return message


def pose_with_covariance(
    stamp_ns: int, frame: str, frame_T_child: Array, covariance: Array
) -> PoseWithCovarianceStamped:
    """Make a PoseWithCovarianceStamped; covariance (6, 6) in the convention of core.geometry.covariance."""
    message = PoseWithCovarianceStamped()
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = frame
    _fill_pose(message.pose.pose, frame_T_child)
    message.pose.covariance = np.ascontiguousarray(covariance, dtype=np.float64).ravel()
    return message


def transform_stamped(stamp_ns: int, parent: str, child: str, parent_T_child: Array) -> TransformStamped:
    """Make a TransformStamped, as broadcast on tf."""
    message = TransformStamped()
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = parent
    message.child_frame_id = child
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = (value.item() for value in parent_T_child[:3, 3])
    rotation.x, rotation.y, rotation.z, rotation.w = quat_of(parent_T_child)
    return message
