"""What every reader of recordings returns, and the small steps that all of them share."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus

MAX_LINE_BYTES = 65536
MM = 1e-3
# Up to the year 2096, so that differences of two stamps fit 64 bits too.
MAX_SECONDS = 4 * 10**9


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One instant of a recording.

    Args:
        stamp_ns: Time of measurement on the clock of the recording, as written; it may repeat or run backwards.
        unfiltered_stamp_ns: The stamp before the recorder smoothed it, or None.
        frame_number: The number that the device gave, or None.
        poses: Reading of every device of the recording; one that this frame does not mention is LOST.
    """

    stamp_ns: int
    unfiltered_stamp_ns: int | None
    frame_number: int | None
    poses: dict[str, ToolReading]


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording.

    Args:
        path: The file.
        kind: The reader that understood it, such as plus_sequence.
        frames: In the order in which they were recorded.
        devices: All tool names, in order of first appearance.
        sha256: Of the whole file, in hexadecimal.
        notes: What was left out or assumed, one line each.
    """

    path: Path
    kind: str
    frames: tuple[RecordedFrame, ...]
    devices: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Time between the earliest and the latest stamp [s]."""
        stamps = [frame.stamp_ns for frame in self.frames]
        return (max(stamps) - min(stamps)) * 1e-9 if stamps else 0.0

    def tracked(self, device: str) -> tuple[tuple[int, ...], Array]:
        """Return the stamps [ns] and the poses tracker_T_tool (n, 4, 4) of the frames in which a device was seen.

        Raises:
            InputError: The recording has no such device.
        """
        if device not in self.devices:
            raise InputError(f'{self.path.name}: no device {device!r}; it has {", ".join(self.devices) or "none"}')
        stamps, poses = [], []
        for frame in self.frames:
            pose = frame.poses[device].tracker_T_tool
            if pose is not None:
                stamps.append(frame.stamp_ns)
                poses.append(pose)
        return tuple(stamps), np.array(poses).reshape(-1, 4, 4)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def parse_seconds(text: str) -> int:
    """Convert seconds in decimal text to integer nanoseconds without passing through binary floating point.

    Raises:
        InputError: The text is no finite number of seconds that fits 64 bits.
    """
    try:
        value = Decimal(text.strip())
        nanoseconds = (
            int((value * 10**9).to_integral_value()) if value.is_finite() and abs(value) < MAX_SECONDS else None
        )
    except InvalidOperation:
        nanoseconds = None
    if nanoseconds is None:
        raise InputError(f'time {text.strip()[:40]!r} is no number of seconds')
    return nanoseconds


def lost(device: str, reason: str) -> ToolReading:
    """Return the reading of a tool that has no pose in this frame."""
    return ToolReading(device, ToolStatus.LOST, None, reason)


def tracked(device: str, tracker_T_tool: Array) -> ToolReading:
    """Return the reading of a tool that was seen; NaN and Inf make it LOST, so that they never travel."""
    if not np.isfinite(tracker_T_tool).all():
        return lost(device, 'pose has NaN or Inf')
    return ToolReading(device, ToolStatus.TRACKED, tracker_T_tool)


def describe_stamps(stamps_ns: list[int]) -> list[str]:
    """Return notes on stamps that repeat or run backwards; they are kept as recorded."""
    steps = np.diff(np.array(stamps_ns, dtype=np.int64))
    notes = []
    if (steps == 0).any():
        notes.append(f'{int((steps == 0).sum())} stamps repeat the one before')
    if (steps < 0).any():
        notes.append(f'{int((steps < 0).sum())} stamps run backwards, by up to {-int(steps.min()) * 1e-9:.6g} s')
    return notes
