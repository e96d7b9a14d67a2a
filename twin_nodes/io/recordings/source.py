"""A recording played as a tracker: the device stamps are those recorded, the frames come when they came."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.tracking.reading import OnEvent, OnFrame, SourceEvent, TrackerFrame
from twin_nodes.io.recordings.recording import RecordedFrame, Recording

_DEFAULT_PERIOD_NS = 10**8


class RecordingSource:
    """Plays a recording through the protocol of `TrackerSource`.

    Each frame is due at an instant counted from the first, so delays do not add up; a stamp that repeats or runs back
    is due at once. Played in a loop, the device stamps go on counting, as those of a device would.

    Args:
        recording: What to play.
        rate: Speed, 1 for real time; 0 for as fast as the receiver takes it.
        loop: Whether to start again at the end.
        now_ns: The clock for the arrival stamps.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        rate: float = 1.0,
        loop: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if not (np.isfinite(rate) and rate >= 0.0):
            raise ConfigError(f'rate={rate} must be 0 (as fast as possible) or above')
        self._recording = recording
        self._rate = rate
        self._loop = loop
        self._now_ns = now_ns
        self._stopped = threading.Event()

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Deliver the frames until the end, then SOURCE_FINISHED; or return soon after `stop`."""
        start_ns = time.monotonic_ns()
        due_ns = start_ns
        for stamp_ns, elapsed_ns, frame in self._frames():
            if self._rate > 0.0:
                due_ns = max(due_ns, start_ns + round(elapsed_ns / self._rate))
                if self._wait_until(due_ns):
                    return
            if self._stopped.is_set():
                return
            on_frame(TrackerFrame(stamp_ns, self._now_ns(), tuple(frame.poses.values())))
        name = self._recording.path.name
        count = len(self._recording.frames)
        on_event(SourceEvent('SOURCE_FINISHED', f'{name}: all {count} frames were played', healthy=True))

    def stop(self) -> None:
        """Make `run` return soon; callable from any thread."""
        self._stopped.set()

    def _wait_until(self, due_ns: int) -> bool:
        """Wait for an instant of the monotonic clock; return whether `stop` was called meanwhile."""
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            if self._stopped.wait(left_ns * 1e-9):
                return True
        return False

    def _frames(self) -> Iterator[tuple[int, int, RecordedFrame]]:
        """Yield (device stamp, time since the first frame, frame) [ns], lap after lap."""
        frames = self._recording.frames
        if not frames:
            return
        first_ns = frames[0].stamp_ns
        lap_ns = 0
        while True:
            for frame in frames:
                yield frame.stamp_ns + lap_ns, frame.stamp_ns - first_ns + lap_ns, frame
            if not self._loop:
                return
            lap_ns += self._lap_ns()

    def _lap_ns(self) -> int:
        stamps = np.array([frame.stamp_ns for frame in self._recording.frames], dtype=np.int64)
        steps = np.diff(stamps)
        forward = steps[steps > 0]
        period_ns = int(np.median(forward)) if forward.size else _DEFAULT_PERIOD_NS
        return int(stamps.max() - stamps.min()) + period_ns
