"""A tracker source that takes poses from CRTK topics: another tracker driver, a robot, or a bag being replayed."""

import threading
from collections.abc import Sequence

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
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
from twin_nodes.core.tracking.stamp_order import StampOrder
from twin_nodes.ros.conversions import pose_from
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.qos import measurement_subscription
from twin_nodes.ros.silence import ReplaySilence

SILENT_NS = 4_000_000_000  # DDS has been seen to deliver the first messages of a topic 3 s late
LOOK_S = 0.1


class CrtkSource:
    """Subscribes `<prefix><device>/measured_cp` (PoseStamped) of each device.

    A stamp of 0 marks invalid data (CRTK) and is read as lost. Other bad messages are events. In replay the devices
    are brought into the order of their stamps, and a pose counts as arriving at its stamp: neither the order nor the
    delay of delivery has a say.

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
        self._order: StampOrder[ToolReading] | None = StampOrder(self._devices) if replay else None
        self._newest_ns: dict[str, int] = {}
        self._silent_ns: dict[str, int] = {}  # on the steady clock: a replay has no other way to notice silence
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._silence = ReplaySilence(node, LOOK_S)
        self._jump = on_jump_back(node, self.reset)

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Subscribe and deliver until stopped."""

        def listen(device: str) -> None:
            topic = f'{self._prefix}{device}/measured_cp'
            self._node.create_subscription(
                PoseStamped, topic, lambda message: self._deliver(device, message, on_frame, on_event), self._qos
            )

        for device in self._devices:
            listen(device)
        if self._order is not None:
            self._node.create_timer(LOOK_S, lambda: self._look_for_silence(on_frame), clock=self._steady)
        on_event(SourceEvent('OK', f'listening to {len(self._devices)} CRTK topics', healthy=True))
        self._stopped.wait()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()

    @property
    def has_ended(self) -> bool:
        """Whether the devices have fallen silent at the end of a replay, and no sample waits for another."""
        return self._silence.has_ended and self._order is not None and not self._order.waits

    def reset(self) -> None:
        """Forget what waits, after a jump of the clock."""
        if self._order is not None:
            self._order.reset()
            self._newest_ns.clear()
            self._silent_ns.clear()

    def _deliver(self, device: str, message: PoseStamped, on_frame: OnFrame, on_event: OnEvent) -> None:
        arrival_ns = self._node.get_clock().now().nanoseconds
        self._silence.hear()
        try:
            record = pose_from(message, frame=self._frame)
        except InputError as error:
            if error.code != 'STAMP_ZERO':
                on_event(SourceEvent(error.code, f'{device}: {error}', healthy=True))
                return
            reading = ToolReading(device, ToolStatus.LOST, None, 'stamp 0: CRTK marks the pose as invalid')
            stamp_ns = 0  # none: the arrival in its place would tell the estimator of the device clock of a jump
        else:
            reading = ToolReading(device, ToolStatus.TRACKED, record.pose)
            stamp_ns = record.stamp_ns
        if self._order is None:
            on_frame(TrackerFrame(stamp_ns, arrival_ns, (reading,), complete=False))
        else:
            self._deliver_in_order(self._order, reading, stamp_ns, on_frame)

    def _deliver_in_order(
        self, order: StampOrder[ToolReading], reading: ToolReading, stamp_ns: int, on_frame: OnFrame
    ) -> None:
        device = reading.device
        if reading.status is ToolStatus.LOST:  # it has no stamp of its own: the last one of the tool stands for it
            if device not in self._newest_ns:
                return
            stamp_ns = self._newest_ns[device]
        if not self._silent_ns:
            self._silent_ns = dict.fromkeys(self._devices, 0)
        self._newest_ns[device], self._silent_ns[device] = stamp_ns, 0
        self._send(order.add(device, stamp_ns, reading), on_frame)

    def _look_for_silence(self, on_frame: OnFrame) -> None:
        step_ns = self._silence.tick()
        for device in self._silent_ns:
            self._silent_ns[device] += step_ns
            if self._silent_ns[device] > SILENT_NS and self._order is not None:
                self._send(self._order.silent(device), on_frame)

    @staticmethod
    def _send(frames: list[tuple[int, list[ToolReading]]], on_frame: OnFrame) -> None:
        for stamp_ns, readings in frames:
            on_frame(TrackerFrame(stamp_ns, stamp_ns, tuple(readings), complete=False))
