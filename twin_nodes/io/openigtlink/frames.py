"""Messages to tracker frames: which tools a message speaks of, which are lost, what the device says of itself."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.reading import SourceEvent, ToolReading, ToolStatus, TrackerFrame
from twin_nodes.io.openigtlink.messages import (
    Message,
    Position,
    QTData,
    ReadyMessage,
    Status,
    StatusCode,
    TData,
    Transform,
)

RESTART_NS = 1_000_000_000
MAX_DEVICES = 256
NORM_TOLERANCE = 1e-2
_STATUS_KEYS = ('TransformStatus', 'Status')
_TRACKED_WORDS = ('OK', 'VALID')
_FALSE_WORDS = ('FALSE', '0', 'NO')
ABSENT = 'left out while tools of the same stamps were sent'


def pose_from_quaternion(position: Array, quat_xyzw: Array) -> Array:
    """Build a pose (4, 4) from a position [m] (3,) and a quaternion as sent.

    A norm within 1e-2 of 1 is normalised. Any other goes in as it is, in the homogeneous form
    R = (w² − v·v) I + 2 v vᵀ + 2 w [v]×, whose scale is the squared norm: the result is then no rotation, and whoever
    checks the pose says so. A zero quaternion thus never becomes identity.
    """
    x, y, z, w = quat_xyzw.tolist()
    square = x * x + y * y + z * z + w * w
    if abs(square**0.5 - 1.0) <= NORM_TOLERANCE:
        scale = square**-0.5
        x, y, z, w = x * scale, y * scale, z * scale, w * scale
    xx, yy, zz, ww = x * x, y * y, z * z, w * w
    px, py, pz = position.tolist()
    return np.array(
        (
            (ww + xx - yy - zz, 2.0 * (x * y - z * w), 2.0 * (x * z + y * w), px),
            (2.0 * (x * y + z * w), ww - xx + yy - zz, 2.0 * (y * z - x * w), py),
            (2.0 * (x * z - y * w), 2.0 * (y * z + x * w), ww - xx - yy + zz, pz),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def lost_reason(device: str, metadata: Mapping[str, str]) -> str:
    """Return why the metadata say that a tool is lost, or '' when they do not.

    PLUS writes TransformStatus and TransformValid, other senders prefix them with the name of the transform.
    """
    for key in _STATUS_KEYS:
        word = metadata.get(f'{device}{key}', metadata.get(key, 'OK')).strip()
        if word.upper() not in _TRACKED_WORDS:
            return word or 'status empty'
    valid = metadata.get(f'{device}TransformValid', metadata.get('TransformValid', '1')).strip()
    return 'TransformValid is false' if valid.upper() in _FALSE_WORDS else ''


def _reading(device: str, pose: Array, metadata: Mapping[str, str]) -> ToolReading:
    reason = lost_reason(device, metadata) if metadata else ''
    if reason:
        return ToolReading(device, ToolStatus.LOST, None, reason)
    return ToolReading(device, ToolStatus.TRACKED, pose)


def joined(frames: Sequence[TrackerFrame]) -> list[TrackerFrame]:
    """Join neighbours of one stamp into one frame, for tools that came as messages of their own but together.

    A frame in which a tool would stand twice begins anew; complete frames stay alone.
    """
    if len(frames) < 2:
        return list(frames)
    groups: list[tuple[TrackerFrame, list[ToolReading], set[str]]] = []
    for frame in frames:
        devices = {reading.device for reading in frame.readings}
        if groups and not frame.complete:
            first, readings, known = groups[-1]
            same = (first.device_stamp_ns, first.arrival_ns) == (frame.device_stamp_ns, frame.arrival_ns)
            if same and not first.complete and known.isdisjoint(devices):
                readings.extend(frame.readings)
                known |= devices
                continue
        groups.append((frame, list(frame.readings), devices))
    return [
        TrackerFrame(first.device_stamp_ns, first.arrival_ns, tuple(readings), complete=first.complete)
        for first, readings, _ in groups
    ]


class StampGroups:
    """Finds tools that are missing from a stamp in a stream that sends one message per tool.

    Only tools that have once shared a stamp are expected together, so that two sources with stamps of their own on
    one connection do not declare each other lost.
    """

    def __init__(self) -> None:
        self._partners: dict[str, set[str]] = {}
        self._stamp_ns = 0
        self._present: list[str] = []

    def add(self, device: str, stamp_ns: int) -> tuple[int, list[str]]:
        """Take one reading; returns the stamp that it ends, and who was missing from it."""
        if device not in self._partners and len(self._partners) >= MAX_DEVICES:
            return 0, []
        if stamp_ns == 0 or self._stamp_ns - RESTART_NS <= stamp_ns < self._stamp_ns:
            return 0, []
        ended, missing = 0, []
        if stamp_ns > self._stamp_ns > 0:
            ended, missing = self._stamp_ns, self._missing()
        if stamp_ns != self._stamp_ns:
            self._stamp_ns, self._present = stamp_ns, []
        self._join(device)
        return ended, missing

    def _missing(self) -> list[str]:
        expected = {partner for device in self._present for partner in self._partners[device]}
        return sorted(expected.difference(self._present))

    def _join(self, device: str) -> None:
        mine = self._partners.setdefault(device, set())
        for other in self._present:
            if other != device:
                mine.add(other)
                self._partners[other].add(device)
        if device not in self._present:
            self._present.append(device)


class FrameBuilder:
    """Turns the messages of one connection into frames and events.

    A TDATA or QTDATA message is a complete frame. A TRANSFORM or POSITION is passed on at once, alone; the tools
    missing from its stamp are said to be lost when the next stamp begins. Where a server sends the same tools both
    ways, the first TDATA or QTDATA seen silences the single poses.

    Args:
        stream: 'auto', 'push', 'tdata' or 'qtdata'; the last two take no other kind.
        counters: Counted into: frames, lost, ignored, position_without_orientation.
    """

    def __init__(self, stream: str, counters: Counter[str]) -> None:
        self._kind: type[Message] | None = {'tdata': TData, 'qtdata': QTData}.get(stream)
        self._counters = counters
        self._groups = StampGroups()
        self._unoriented = False
        self._healthy = True

    def frames(self, message: Message, arrival_ns: int) -> list[TrackerFrame]:
        """Return the frames that a message makes, oldest first."""
        if isinstance(message, (TData, QTData)):
            if self._kind is None:
                self._kind = type(message)
            if self._kind is type(message):
                return [self._complete(message, arrival_ns)]
        elif isinstance(message, (Transform, Position)):
            if self._kind is None:
                return self._single(message, arrival_ns)
        else:
            return []
        self._counters['ignored'] += 1
        return []

    def _complete(self, message: TData | QTData, arrival_ns: int) -> TrackerFrame:
        if isinstance(message, TData):
            poses = [(e.name, e.pose) for e in message.elements]
        else:
            poses = [(e.name, pose_from_quaternion(e.position, e.quat_xyzw)) for e in message.elements]
        readings = tuple(_reading(name, pose, message.metadata) for name, pose in poses)
        self._counters['frames'] += 1
        return TrackerFrame(message.stamp_ns, arrival_ns, readings)

    def _single(self, message: Transform | Position, arrival_ns: int) -> list[TrackerFrame]:
        if isinstance(message, Transform):
            pose = message.pose
        elif message.quat_xyzw is not None:
            pose = pose_from_quaternion(message.position, message.quat_xyzw)
        else:
            self._counters['position_without_orientation'] += 1
            return []
        ended_ns, missing = self._groups.add(message.device, message.stamp_ns)
        frames = []
        if missing:
            self._counters['lost'] += len(missing)
            absent = tuple(ToolReading(device, ToolStatus.LOST, None, ABSENT) for device in missing)
            frames.append(TrackerFrame(ended_ns, arrival_ns, absent, complete=False))
        self._counters['frames'] += 1
        reading = _reading(message.device, pose, message.metadata)
        frames.append(TrackerFrame(message.stamp_ns, arrival_ns, (reading,), complete=False))
        return frames

    def event(self, message: Message) -> SourceEvent | None:
        """Return what a message says besides poses: the state of the device, a refused stream, a missing quaternion."""
        if isinstance(message, Status):
            return self._status_event(message)
        if isinstance(message, ReadyMessage) and message.status != 0:
            text = f'the server refuses to stream {message.target} (RTS status {message.status})'
            return SourceEvent('DEVICE_STATUS', text, healthy=self._kind is None)
        if isinstance(message, Position) and message.quat_xyzw is None and not self._unoriented:
            self._unoriented = True
            text = f'POSITION {message.device!r} has no orientation: no pose can be made of it'
            return SourceEvent('DEVICE_STATUS', text)
        return None

    def _status_event(self, message: Status) -> SourceEvent | None:
        """A fault at each STATUS other than OK; an OK once when the device recovers."""
        if message.code == StatusCode.OK:
            recovered, self._healthy = not self._healthy, True
            return SourceEvent('OK', f'{message.device!r} reports OK again', healthy=True) if recovered else None
        self._healthy = False
        known = message.code in StatusCode.__members__.values()
        name = StatusCode(message.code).name.lower().replace('_', ' ') if known else 'unknown code'
        parts = [f'{message.device!r} reports {name} ({message.code}, subcode {message.subcode})']
        parts += [text for text in (message.error_name, message.text) if text]
        return SourceEvent('DEVICE_STATUS', ': '.join(parts))
