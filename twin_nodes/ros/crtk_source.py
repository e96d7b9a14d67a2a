"""A tracker source that takes poses from CRTK topics: another tracker driver, a robot, or a bag being replayed."""

import threading
from collections.abc import Sequence

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from twin_nodes.core.errors import InputError
from twin_nodes.core.tracking.reading import (
    OnEvent,
    OnFrame,
    SourceEvent,
    ToolReading,
    ToolStatus,
    TrackerFrame,
)
from twin_nodes.ros.conversions import pose_from
from twin_nodes.ros.qos import measurement_subscription


class CrtkSource:
    """Subscribes `<prefix><device>/measured_cp` (PoseStamped) of each device.

    A stamp of 0 marks invalid data (CRTK) and is read as lost. Other bad messages are events.

    Args:
        node: The node that subscribes; its executor delivers.
        devices: Names of the devices.
        prefix: Namespace in front of the device names, such as 'NDI/'; '' for none.
        frame: The frame_id that the poses must carry; '' for any.
        replay: Whether a bag is being replayed, so that no sample may be lost.
    """

    def __init__(self, node: Node, devices: Sequence[str], *, prefix: str, frame: str, replay: bool) -> None:
        self._node = node
        self._devices = tuple(devices)
        self._prefix = prefix
        self._frame = frame or None
        self._qos = measurement_subscription(replay=replay)
        self._stopped = threading.Event()

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Subscribe and deliver until stopped."""

        def listen(device: str) -> None:
            topic = f'{self._prefix}{device}/measured_cp'
            self._node.create_subscription(
                PoseStamped, topic, lambda message: self._deliver(device, message, on_frame, on_event), self._qos
            )

        for device in self._devices:
            listen(device)
        on_event(SourceEvent('OK', f'listening to {len(self._devices)} CRTK topics', healthy=True))
        self._stopped.wait()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()

    def _deliver(self, device: str, message: PoseStamped, on_frame: OnFrame, on_event: OnEvent) -> None:
        arrival_ns = self._node.get_clock().now().nanoseconds
        try:
            record = pose_from(message, frame=self._frame)
        except InputError as error:
            if error.code == 'STAMP_ZERO':
                reading = ToolReading(device, ToolStatus.LOST, None, 'stamp 0: CRTK marks the pose as invalid')
                on_frame(TrackerFrame(arrival_ns, arrival_ns, (reading,), complete=False))
            else:
                on_event(SourceEvent(error.code, f'{device}: {error}', healthy=True))
            return
        reading = ToolReading(device, ToolStatus.TRACKED, record.pose)
        on_frame(TrackerFrame(record.stamp_ns, arrival_ns, (reading,), complete=False))
