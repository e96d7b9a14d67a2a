"""The simulated room as a recording, for tests and for `source: simulator`."""

import hashlib
from pathlib import Path

from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.tracking.reading import ToolReading, ToolStatus
from twin_nodes.io.recordings.recording import RecordedFrame, Recording

FIRST_STAMP_NS = 1_000 * NANOSECONDS


def simulated_recording(config: RoomConfig | None = None, *, seconds: float = 60.0) -> Recording:
    """Record the simulated room for a while; the devices are named after its tools."""
    config = config or RoomConfig()
    room = Room(config)
    frames = []
    for number in range(round(seconds * config.rate_hz)):
        _, measured = room.measure(number)
        poses = {}
        for tool, pose in measured.items():
            status = ToolStatus.LOST if pose is None else ToolStatus.TRACKED
            poses[tool] = ToolReading(tool, status, pose, 'hidden' if pose is None else '')
        stamp_ns = FIRST_STAMP_NS + round(number / config.rate_hz * NANOSECONDS)
        frames.append(RecordedFrame(stamp_ns, None, number, poses))
    digest = hashlib.sha256(repr((config, seconds)).encode()).hexdigest()
    return Recording(Path('simulated_room'), 'simulated', tuple(frames), tuple(frames[0].poses), digest)
