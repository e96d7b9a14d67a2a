"""The messages of OpenIGTLink as records: metres and float64 here, millimetres and float32 only on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from twin_nodes.core.geometry.se3 import Array


class ToolKind(IntEnum):
    """What a tracking element is, as TDATA and QTDATA number it."""

    TRACKER = 1
    SIX_DOF = 2
    THREE_DOF = 3
    FIVE_DOF = 4


class StatusCode(IntEnum):
    """Codes of a STATUS message (OpenIGTLink specification, STATUS)."""

    INVALID = 0
    OK = 1
    UNKNOWN_ERROR = 2
    PANIC = 3
    NOT_FOUND = 4
    ACCESS_DENIED = 5
    BUSY = 6
    TIME_OUT = 7
    OVERFLOW = 8
    CHECKSUM_ERROR = 9
    CONFIGURATION_ERROR = 10
    RESOURCE_ERROR = 11
    UNKNOWN_INSTRUCTION = 12
    NOT_READY = 13
    MANUAL_MODE = 14
    DISABLED = 15
    NOT_PRESENT = 16
    UNKNOWN_VERSION = 17
    HARDWARE_FAILURE = 18
    SHUTTING_DOWN = 19


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What every message carries.

    Args:
        device: Device name; at most 20 bytes of UTF-8 on the wire.
        stamp_ns: Time of measurement on the clock of the sender; 0 for none.
        version: Header version: 1, or 2 with message id and metadata (OpenIGTLink 3).
        message_id: Number given by the sender, version 2 only.
        metadata: Free pairs of text, version 2 only.
    """

    device: str
    stamp_ns: int = field(default=0, kw_only=True)
    version: int = field(default=1, kw_only=True)
    message_id: int = field(default=0, kw_only=True)
    metadata: Mapping[str, str] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class Transform(Message):
    """TRANSFORM: one pose.

    Args:
        pose: Homogeneous matrix [m], shape (4, 4). The device name says of what in what: `StylusToTracker` is
            tracker_T_stylus.
    """

    pose: Array


@dataclass(frozen=True, slots=True, eq=False)
class Position(Message):
    """POSITION: one pose with a quaternion.

    Args:
        position: In metres, shape (3,).
        quat_xyzw: As sent, not normalised, shape (4,); None when the sender gives a position only.
    """

    position: Array
    quat_xyzw: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class TElement:
    """One tool of a TDATA message.

    Args:
        name: Tool name.
        kind: A `ToolKind`, or another number as sent.
        pose: Homogeneous matrix [m], shape (4, 4).
    """

    name: str
    kind: int
    pose: Array


@dataclass(frozen=True, slots=True, eq=False)
class QTElement:
    """One tool of a QTDATA message.

    Args:
        name: Tool name.
        kind: A `ToolKind`, or another number as sent.
        position: In metres, shape (3,).
        quat_xyzw: As sent, not normalised, shape (4,).
    """

    name: str
    kind: int
    position: Array
    quat_xyzw: Array


@dataclass(frozen=True, slots=True, eq=False)
class TData(Message):
    """TDATA: the tools that the tracker sees at one instant; a tool that is left out is lost."""

    elements: tuple[TElement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class QTData(Message):
    """QTDATA: as TDATA, with quaternions."""

    elements: tuple[QTElement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Status(Message):
    """STATUS: how the device is.

    Args:
        code: A `StatusCode`, or another number as sent.
        subcode: Number with a meaning of the device's own.
        error_name: Short name, at most 20 bytes.
        text: One line for a person.
    """

    code: int
    subcode: int = 0
    error_name: str = ''
    text: str = ''


@dataclass(frozen=True, slots=True, eq=False)
class String(Message):
    """STRING: text."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class PointElement:
    """One fiducial of a POINT message.

    Args:
        name: Name, at most 64 bytes.
        group: Group name, at most 32 bytes.
        rgba: Colour, four numbers 0 to 255.
        position: In metres, shape (3,).
        diameter: In metres.
        owner: Device that the point belongs to, at most 20 bytes.
    """

    name: str
    group: str
    rgba: tuple[int, int, int, int]
    position: Array
    diameter: float
    owner: str


@dataclass(frozen=True, slots=True, eq=False)
class Point(Message):
    """POINT: a list of fiducials."""

    points: tuple[PointElement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Capability(Message):
    """CAPABIL: the message types that the sender knows."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class GetMessage(Message):
    """GET_x: send one message of type `target`."""

    target: str


@dataclass(frozen=True, slots=True, eq=False)
class StartMessage(Message):
    """STT_x: start a stream of type `target`.

    Args:
        target: Message type wanted, such as TDATA.
        resolution_ms: Least time between two messages.
        coordinate: Name of the coordinate system wanted; '' for the sender's own.
    """

    target: str
    resolution_ms: int = 0
    coordinate: str = ''


@dataclass(frozen=True, slots=True, eq=False)
class StopMessage(Message):
    """STP_x: stop the stream of type `target`."""

    target: str


@dataclass(frozen=True, slots=True, eq=False)
class ReadyMessage(Message):
    """RTS_x: the answer to STT_x and STP_x; status 0 is yes, 1 is no."""

    target: str
    status: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Unknown(Message):
    """A message of a type that is not read; its body is skipped.

    Args:
        type_name: As sent.
        body_length: In bytes.
    """

    type_name: str
    body_length: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that are no good.

    Args:
        code: CRC_WRONG, CRC_MISSING or PROTOCOL.
        message: What was seen and what the limit is.
        fatal: Whether the stream cannot go on: the connection must be closed.
    """

    code: str
    message: str
    fatal: bool = False
