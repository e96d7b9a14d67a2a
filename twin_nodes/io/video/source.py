"""A video as a tracker: the bodies in its images, with their covariance, at the stamps of the images."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.tracking.reading import (
    OnEvent,
    OnFrame,
    SourceEvent,
    ToolReading,
    ToolStatus,
    TrackerFrame,
)
from twin_nodes.core.tracking.visual.tracker import BodyPose, VisualFrame, VisualTracker
from twin_nodes.io.video.frames import Video

_SAY_EVERY = 30  # images between two events of the same code


class VideoSource:
    """Plays a video through the protocol of `TrackerSource`; the same video gives the same readings.

    Args:
        video: What to play.
        tracker: Finds the bodies.
        rate: Speed, 1 for real time; 0 for as fast as the receiver takes it.
        loop: Whether to start again at the end.
        now_ns: The clock for the arrival stamps.
    """

    def __init__(
        self,
        video: Video,
        tracker: VisualTracker,
        *,
        rate: float = 1.0,
        loop: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if rate < 0.0:
            raise ConfigError(f'rate={rate} must be 0 (as fast as possible) or above')
        self._video = video
        self._tracker = tracker
        self._rate = rate
        self._loop = loop
        self._now_ns = now_ns
        self._stopped = threading.Event()
        self.counters: Counter[str] = Counter()

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Deliver the images until the end, then SOURCE_FINISHED; or return soon after `stop`."""
        on_event(SourceEvent('OK', f'{self._video.path.name}: playing', healthy=True))
        lap_ns, count = 0, 0
        start_ns = time.monotonic_ns()
        first_ns: int | None = None
        while not self._stopped.is_set():
            last_ns, period_ns = 0, 10**8
            for frame in self._video.frames():
                first_ns = frame.stamp_ns if first_ns is None else first_ns
                period_ns = frame.stamp_ns - last_ns if last_ns else period_ns
                last_ns = frame.stamp_ns
                if self._rate > 0.0 and self._wait(start_ns + round((last_ns - first_ns + lap_ns) / self._rate)):
                    return
                if self._stopped.is_set():
                    return
                count += 1
                if frame.fault:
                    self._say('IMAGE_UNUSABLE', frame.fault, on_event)
                    continue
                found = observe(self._tracker, frame.stamp_ns + lap_ns, frame.image, self._say, on_event)
                readings = readings_of(found) if found is not None else ()
                on_frame(TrackerFrame(frame.stamp_ns + lap_ns, self._now_ns(), readings))
            if not self._loop or first_ns is None:
                break
            lap_ns += last_ns - first_ns + period_ns
        message = f'{self._video.path.name}: all {count} images were played'
        on_event(SourceEvent('SOURCE_FINISHED', message, healthy=True))

    def stop(self) -> None:
        """Make `run` return soon; callable from any thread."""
        self._stopped.set()

    def _say(self, code: str, message: str, on_event: OnEvent) -> None:
        say(self.counters, code, message, on_event)

    def _wait(self, due_ns: int) -> bool:
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            if self._stopped.wait(left_ns * 1e-9):
                return True
        return False


def say(counters: Counter[str], code: str, message: str, on_event: OnEvent) -> None:
    """Count a fault and say it, not in every image."""
    counters[code] += 1
    if counters[code] % _SAY_EVERY == 1:
        on_event(SourceEvent(code, message, healthy=True))


def observe(
    tracker: VisualTracker, stamp_ns: int, image: object, tell: Callable[[str, str, OnEvent], None], on_event: OnEvent
) -> VisualFrame | None:
    """Give one image to the tracker and tell what it refuses; None for an image that is of no use."""
    try:
        found = tracker.observe(stamp_ns, image)  # type: ignore[arg-type]
    except InputError as error:
        tell(error.code or 'IMAGE_UNUSABLE', str(error), on_event)
        return None
    for refusal in found.refusals:
        if refusal.code != 'MARKER_UNKNOWN':
            tell(refusal.code, refusal.message, on_event)
    return found


def readings_of(found: VisualFrame) -> tuple[ToolReading, ...]:
    """Return what an image says as readings of a tracker."""
    return tuple(
        ToolReading(body.body, ToolStatus.TRACKED, body.pose, '', body.covariance)
        if isinstance(body, BodyPose)
        else ToolReading(body.body, ToolStatus.LOST, None, f'{body.code}: {body.reason}')
        for body in found.bodies
    )
