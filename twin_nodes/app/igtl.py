"""`twin igtl serve`: a recording, or the simulated room, as a tracker that any OpenIGTLink client can connect to."""

import signal
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.room import DRILL, PATIENT, Room, RoomConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.openigtlink.playback import FramePlayback
from twin_nodes.io.recordings import Recording, open_recording

Frame = tuple[int, Mapping[str, Array | None]]
SIMULATOR = 'sim'


def serve(
    file: Path,
    *,
    host: str = '127.0.0.1',
    port: int = 18944,
    rate: float = 1.0,
    loop: bool = False,
    version: int = 1,
    wait: bool = True,
) -> int:
    """Serve until the recording ends or Ctrl-C.

    Poses are pushed as TRANSFORM messages; a client that asks with STT_TDATA or STT_QTDATA gets that stream instead.

    Args:
        file: A recording, or 'sim' for the simulated room.
        host: Address to listen on.
        port: TCP port; 0 for any.
        rate: Speed. The stamps are scaled with it, so that the device's clock keeps real time.
        loop: Whether to start again at the end.
        version: OpenIGTLink header version, 1 or 2; 2 says that a tool is lost also when TRANSFORMs are pushed.
        wait: Whether to start with the first client instead of at once.

    Raises:
        ConfigError: for a port that cannot be listened on or a wrong version.
        InputError: for a file that is no recording.
    """
    if version not in (1, 2):
        raise ConfigError(f'version={version}: OpenIGTLink headers are version 1 or 2')
    if str(file) == SIMULATOR:
        frames, said = room_frames(Room(RoomConfig())), 'the simulated room'
    else:
        recording = open_recording(file)
        frames, left_out = rising_frames(recording, rate)
        said = f'{file.name}: {len(recording.frames) - left_out} frames of {", ".join(recording.devices)}'
        if left_out:
            said += f'; {left_out} frames left out whose stamp does not rise'
        for note in recording.notes:
            print(f'twin igtl: {note}', file=sys.stderr)
    playback = FramePlayback(
        frames,
        host=host,
        port=port,
        loop=loop,
        wait_for_client=wait,
        version=version,
        on_listening=lambda used: print(f'OpenIGTLink on {host}:{used}, serving {said}', flush=True),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: playback.stop())
    try:
        summary = playback.run()
    except OSError as error:
        raise ConfigError(f'{host}:{port} cannot be listened on: {error.strerror or error}') from None
    late_ms = summary.worst_late_s * 1e3
    print(f'served {summary.frames} frames to {summary.clients} clients, {late_ms:.1f} ms late at worst')
    return 0


def rising_frames(recording: Recording, rate: float) -> tuple[Iterator[Frame], int]:
    """Return the frames whose stamps rise, with stamps scaled by 1/rate, and how many were left out."""
    kept = []
    newest = None
    for frame in recording.frames:
        if newest is None or frame.stamp_ns > newest:
            newest = frame.stamp_ns
            kept.append(frame)
    first = kept[0].stamp_ns if kept else 0
    frames = (
        (
            first + round((frame.stamp_ns - first) / rate),
            {device: reading.tracker_T_tool for device, reading in frame.poses.items()},
        )
        for frame in kept
    )
    return frames, len(recording.frames) - len(kept)


def room_frames(room: Room) -> Iterator[Frame]:
    """Yield the frames of the simulated room without end."""
    names = {PATIENT: 'ReferenceToTracker', DRILL: 'DrillToTracker'}
    for number in count():
        _, measured = room.measure(number)
        stamp_ns = NANOSECONDS + round(number / room.config.rate_hz * NANOSECONDS)
        yield stamp_ns, {names[tool]: pose for tool, pose in measured.items()}
