"""Ties as latched messages: a calibration or registration, or the word that the last one no longer holds.

A withdrawal has -1 as the first element of its covariance, as sensor_msgs/Imu marks what it does not know. Nobody can
take it for a pose: a negative variance is refused everywhere else.
"""

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from twin_nodes.core.geometry.ties import Tie
from twin_nodes.ros.conversions import check_header, pose_from, pose_with_covariance

WITHDRAWN = -1.0


def withdrawal(stamp_ns: int, frame: str) -> PoseWithCovarianceStamped:
    """Make the message that withdraws the tie of a frame from a stamp on."""
    covariance = np.zeros((6, 6))
    covariance[0, 0] = WITHDRAWN
    return pose_with_covariance(stamp_ns, frame, np.eye(4), covariance)


def tie_from(message: PoseWithCovarianceStamped, *, frame: str | None, now_ns: int | None = None) -> Tie:
    """Check the message of a tie whole and return it.

    Args:
        message: A calibration or registration; stamp 0 means that it holds at all times.
        frame: The parent frame that it must be in, or None for any.
        now_ns: The clock, to refuse stamps ahead of it; None in a replay.

    Raises:
        InputError: with the code of what is wrong.
    """
    if message.pose.covariance[0] == WITHDRAWN and not np.any(message.pose.covariance[1:]):
        stamp_ns = check_header(message.header, frame=frame, name='withdrawn tie')
        return Tie(stamp_ns, np.eye(4), np.zeros((6, 6)), withdrawn=True)
    record = pose_from(message, frame=frame, timeless=True, now_ns=now_ns)
    assert record.covariance is not None
    return Tie(record.stamp_ns, record.pose, record.covariance)
