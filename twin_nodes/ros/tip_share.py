"""`registration/tip_share` as PointCloud2: how the error of the tip that touched is in the registration of that stamp.

Six points, one for each of (δp, δφ) of patient_T_anatomy; x y z (float64) are what an error of the tip of 1 m along
each axis of the tool makes of it. tip_x tip_y tip_z (float64) is the tip in the tool that was touched with [m], and
the frame is the tool: for another tool, or a tip that was calibrated anew since, the errors are independent. Stamp 0
is that of a registration from a file; six points of zeros say that nothing is known of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.ties import ShareStream, TipShare
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array
from twin_nodes.ros.conversions import check_header
from twin_nodes.ros.health import Health
from twin_nodes.ros.progress import follow_progress, is_replay
from twin_nodes.ros.qos import latched

TIP_SHARE = 'registration/tip_share'
_FIELDS = ('x', 'y', 'z', 'tip_x', 'tip_y', 'tip_z')
TIP_SHARE_DTYPE = np.dtype([(name, np.float64) for name in _FIELDS])


def tip_share_cloud(share: TipShare, tool: str) -> PointCloud2:
    """Make the message for a registration that was touched with the tip of a tool."""
    rows = np.empty(6, TIP_SHARE_DTYPE)
    for column, name in enumerate('xyz'):
        rows[name], rows[f'tip_{name}'] = share.effect[:, column], share.tip[column]
    return cloud_from_array(share.stamp_ns, tool, rows)


def tip_share_from(message: PointCloud2) -> TipShare:
    """Read the message.

    Raises:
        InputError: fields or rows that are missing; NOT_FINITE.
    """
    stamp_ns = check_header(message.header, frame=None, name=TIP_SHARE, timeless=True)
    rows = array_from_cloud(message)
    if len(rows) != 6 or set(_FIELDS) - set(rows.dtype.names or ()):
        raise InputError(f'{TIP_SHARE}: {len(rows)} rows of {rows.dtype.names}, expected 6 of {_FIELDS}')
    values = np.stack([rows[name].astype(np.float64) for name in _FIELDS], axis=1)
    if not np.isfinite(values).all():
        raise InputError(f'{TIP_SHARE} has NaN or Inf', code='NOT_FINITE')
    return TipShare(stamp_ns, values[0, 3:], values[:, :3])


def follow_tip_share(
    node: Node, health: Health, tools: Mapping[str, ShareStream], on_change: Callable[[], None]
) -> None:
    """Subscribe to the share, and in a replay to how far its maker has come.

    Args:
        node: The node.
        health: Its health.
        tools: By tool, what takes the shares of its tip; what was touched with another tool is independent of it.
        on_change: Called when more may be settled than before.
    """

    def take(message: PointCloud2) -> None:
        try:
            share = tip_share_from(message)
        except InputError as error:
            health.warn(error.code or 'PROTOCOL', str(error))
            return
        independent = replace(share, effect=np.zeros((6, 3)))
        for tool, shares in tools.items():
            shares.add(share if message.header.frame_id == tool else independent)
        on_change()

    def come(done_ns: int, newest_ns: int) -> None:
        for shares in tools.values():
            shares.progress(done_ns, newest_ns)
        on_change()

    node.create_subscription(PointCloud2, TIP_SHARE, take, latched(replay=is_replay(node)))
    follow_progress(node, TIP_SHARE, come)
