"""What becomes of each sample of a tool: a pose, a loss, or a drop with its reason."""

from dataclasses import dataclass
from enum import StrEnum

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.gate import GateWarning
from twin_nodes.core.tracking.rate import RateReport


class ToolState(StrEnum):
    """Where a tool stands."""

    NEVER_SEEN = 'never seen'
    TRACKED = 'tracked'
    LOST = 'lost'


@dataclass(slots=True)
class TrackedPose:
    """A tool that was seen, at the instant of measurement.

    Args:
        tool: Its ROS name.
        stamp_ns: Time of measurement in ROS time; grows from one result of a tool to the next.
        measured: tracker_T_tool as measured and checked, shape (4, 4).
        filtered: tracker_T_tool filtered, shape (4, 4).
        covariance: Of the filtered pose, (6, 6), convention of `core.geometry.covariance`.
        velocity: Linear [m/s] and angular [rad/s], in the axes of the tracker, shape (6,).
        restarted: Whether the filter began at this sample.
        warning: Something odd with a sample that was used all the same, or None.
    """

    tool: str
    stamp_ns: int
    measured: Array
    filtered: Array
    covariance: Array
    velocity: Array
    restarted: bool
    warning: GateWarning | None


@dataclass(frozen=True, slots=True)
class ToolLost:
    """A tool without a pose at this instant; said in every frame while it lasts.

    Args:
        tool: Its ROS name.
        stamp_ns: Instant of the frame.
        code: TOOL_LOST or TOOL_NEVER_SEEN.
        reason: Why, in one line.
    """

    tool: str
    stamp_ns: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class SampleDropped:
    """A sample that must not be used; the tool may be well in the next frame.

    Args:
        tool: Its ROS name.
        stamp_ns: Instant of the sample.
        code: Entry of `core.codes.CODES`, such as NOT_FINITE, GATED or STAMP_DUPLICATE.
        reason: Why, in one line.
    """

    tool: str
    stamp_ns: int
    code: str
    reason: str


TrackingResult = TrackedPose | ToolLost | SampleDropped


@dataclass(frozen=True, slots=True)
class ToolHealth:
    """What is known of a tool, for its diagnostic.

    Args:
        state: Where it stands.
        code: Code of the last result; OK when tracked.
        reason: Line that goes with the code.
        counts: Results by code since the start; OK counts the poses, LATE those placed in the past.
        rate: Rate and jitter of its poses.
        last_ns: Stamp of the last pose; 0 for none.
    """

    state: ToolState
    code: str
    reason: str
    counts: dict[str, int]
    rate: RateReport
    last_ns: int
