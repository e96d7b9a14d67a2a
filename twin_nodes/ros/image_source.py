"""A tracker source that looks for marker bodies in the images of a camera's topic."""

import threading
from collections import Counter
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import InputError
from twin_nodes.core.tracking.reading import OnEvent, OnFrame, SourceEvent, TrackerFrame
from twin_nodes.core.tracking.visual.tracker import VisualFrame, VisualTracker
from twin_nodes.ros.clock import clock_ns
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.images import camera_of, grey_of
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.qos import measurement_subscription

_WAIT_S = 0.1
_REPLAY_QUEUE = 10_000

MakeTracker = Callable[[CameraModel], VisualTracker]
Look = Callable[[VisualTracker, int, Any, Callable[[str, str, OnEvent], None], OnEvent], VisualFrame | None]


class ImageSource:
    """Subscribes images (and CameraInfo where no file is given) and delivers the bodies in them.

    Images are looked at in the thread of `run`; live, one that comes while another is looked at replaces the one that
    waits, in replay none is left out.

    Args:
        node: The node that subscribes; its executor delivers.
        topic: Of the images.
        compressed: Whether they are CompressedImage.
        info_topic: Of CameraInfo; used where `camera` is None.
        camera: The camera from a file, or None.
        make_tracker: Makes the tracker for a camera.
        look: Gives an image to the tracker and tells what it refuses.
        readings: Turns what was seen into readings.
        replay: Whether a bag is being replayed, so that no image may be lost.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        *,
        compressed: bool,
        info_topic: str,
        camera: CameraModel | None,
        make_tracker: MakeTracker,
        look: Look,
        readings: Callable[[VisualFrame], tuple[Any, ...]],
        replay: bool,
    ) -> None:
        self._node = node
        self._topic = topic
        self._kind = CompressedImage if compressed else Image
        self._info_topic = info_topic
        self._make_tracker = make_tracker
        self._look = look
        self._readings = readings
        self._replay = replay
        self._tracker = make_tracker(camera) if camera is not None else None
        self._calibration: tuple[Any, ...] = ()
        self._from_file = camera is not None
        self._queue: Queue[tuple[Any, int]] = Queue(_REPLAY_QUEUE if replay else 1)
        self._stopped = threading.Event()
        self._jumped = threading.Event()
        self._jump = on_jump_back(node, self._jumped.set)
        self.counters: Counter[str] = Counter()

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Subscribe and deliver until stopped."""
        qos = measurement_subscription(replay=self._replay)
        self._node.create_subscription(self._kind, self._topic, self._keep, qos)
        if not self._from_file:
            self._node.create_subscription(
                CameraInfo, self._info_topic, lambda message: self._on_info(message, on_event), qos
            )
        calibration = 'from a file' if self._from_file else f'from {self._info_topic}'
        on_event(SourceEvent('OK', f'listening to images on {self._topic}, calibration {calibration}', healthy=True))
        while not self._stopped.is_set():
            try:
                message, arrival_ns = self._queue.get(timeout=_WAIT_S)
            except Empty:
                continue
            self._deliver(message, arrival_ns, on_frame, on_event)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()

    def _keep(self, message: Any) -> None:
        arrival_ns = clock_ns(self._node)
        while True:
            try:
                self._queue.put_nowait((message, arrival_ns))
                return
            except Full:
                try:
                    self._queue.get_nowait()
                    self.counters['IMAGE_SKIPPED'] += 1
                except Empty:
                    continue

    def _on_info(self, message: CameraInfo, on_event: OnEvent) -> None:
        values = (message.width, message.height, *message.k, *message.d, message.distortion_model, message.binning_x,
                  message.binning_y, message.roi.x_offset, message.roi.y_offset, message.roi.width,
                  message.roi.height)  # fmt: skip
        if values == self._calibration:
            return
        try:
            self._tracker = self._make_tracker(camera_of(message))
        except InputError as error:
            self._tell(error.code or 'CAMERA_UNUSABLE', str(error), on_event)
            return
        self._calibration = values
        on_event(SourceEvent('OK', f'calibrated camera {message.width}x{message.height} px', healthy=True))

    def _deliver(self, message: Any, arrival_ns: int, on_frame: OnFrame, on_event: OnEvent) -> None:
        if self._tracker is None:
            text = f'no CameraInfo on {self._info_topic} yet: publish it, or give camera.file'
            self._tell('CAMERA_UNUSABLE', text, on_event)
            return
        if self._jumped.is_set():
            self._jumped.clear()
            self._tracker.reset()
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns <= 0:
            self._tell('STAMP_ZERO', 'an image with stamp 0', on_event)
            return
        try:
            image = grey_of(message)
        except InputError as error:
            self._tell(error.code, str(error), on_event)
            return
        found = self._look(self._tracker, stamp_ns, image, self._tell, on_event)
        if found is not None:
            # in replay the order and the delay of delivery have no say
            on_frame(TrackerFrame(stamp_ns, stamp_ns if self._replay else arrival_ns, self._readings(found)))

    def _tell(self, code: str, message: str, on_event: OnEvent) -> None:
        self.counters[code] += 1
        if self.counters[code] % 30 == 1:
            on_event(SourceEvent(code, message, healthy=True))
