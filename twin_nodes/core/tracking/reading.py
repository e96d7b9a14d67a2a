"""What a tracker source delivers, before anything is believed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from twin_nodes.core.geometry.se3 import Array


class ToolStatus(StrEnum):
    """What the source says of a tool in one frame."""

    TRACKED = 'tracked'
    LOST = 'lost'


@dataclass(frozen=True, slots=True)
class ToolReading:
    """One tool in one frame, as the source wrote it and not yet checked.

    Args:
        device: The name that the source gives the tool, such as StylusToTracker.
        status: TRACKED, or LOST when the source says so or leaves the tool out.
        tracker_T_tool: Pose in metres, shape (4, 4); None when lost.
        reason: Why it is lost, in the words of the source; '' when tracked.
        covariance: Of the pose, convention of `core.geometry.covariance`, shape (6, 6); None where the source does not
            say it and that of the settings holds.
    """

    device: str
    status: ToolStatus
    tracker_T_tool: Array | None
    reason: str = ''
    covariance: Array | None = None


@dataclass(frozen=True, slots=True)
class TrackerFrame:
    """The readings of one instant.

    Args:
        device_stamp_ns: Time of measurement on the clock of the device; 0 when the source gives none.
        arrival_ns: When the last byte came in, on the clock of the receiver.
        readings: One per tool that this frame speaks of.
        complete: Whether a tool that is not listed is thereby said to be lost (TDATA, QTDATA, recordings).
    """

    device_stamp_ns: int
    arrival_ns: int
    readings: tuple[ToolReading, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Something a source has to say besides frames.

    Args:
        code: Entry of `core.codes.CODES`, such as SOURCE_DISCONNECTED, DEVICE_STATUS, CRC_WRONG.
        message: One line for a person.
        healthy: Whether the source is well after this event.
    """

    code: str
    message: str
    healthy: bool = False


OnFrame = Callable[[TrackerFrame], None]
OnEvent = Callable[[SourceEvent], None]


class TrackerSource(Protocol):
    """The one small protocol behind which all sources stand.

    `run` blocks in the calling thread, delivers frames in order of arrival and returns when the source has ended or
    `stop` was called from another thread. It never raises for bad data: that is an event.
    """

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Deliver frames and events until the end or until stopped."""

    def stop(self) -> None:
        """Make `run` return soon; callable from any thread."""
