"""Messages taken in by a node: checked whole, or counted and dropped."""

from geometry_msgs.msg import PoseWithCovarianceStamped

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.pairing import StampedCovariance
from twin_nodes.core.geometry.ties import Tie
from twin_nodes.ros.conversions import pose_from
from twin_nodes.ros.health import Health
from twin_nodes.ros.ties import tie_from


def checked_pose(
    message: PoseWithCovarianceStamped, *, frame: str, now_ns: int | None, health: Health
) -> StampedCovariance | None:
    """Return the pose of a message, or None after counting what is wrong with it.

    Args:
        message: The pose with its covariance.
        frame: The parent frame that it must be in.
        now_ns: The clock, to refuse stamps ahead of it; None in a replay.
        health: Counts the code of what was dropped and warns.
    """
    try:
        record = pose_from(message, frame=frame, now_ns=now_ns)
    except InputError as error:
        health.warn(error.code or 'NOT_FINITE', str(error))
        return None
    assert record.covariance is not None
    return StampedCovariance(record.stamp_ns, record.pose, record.covariance)


def checked_tie(message: PoseWithCovarianceStamped, *, frame: str, now_ns: int | None, health: Health) -> Tie | None:
    """Return the tie of a message, or None after counting what is wrong with it; arguments as `checked_pose`."""
    try:
        return tie_from(message, frame=frame, now_ns=now_ns)
    except InputError as error:
        health.warn(error.code or 'NOT_FINITE', str(error))
        return None
