"""Serve recorded or simulated frames over OpenIGTLink at the pace at which they were taken."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.openigtlink.client import DEFAULT_PORT
from twin_nodes.io.openigtlink.server import OpenIGTLinkServer

Frame = tuple[int, Mapping[str, Array | None]]
STAMP_MODES = ('recorded', 'now')
DEVICE_START_NS = 1_000_000_000
REQUEST_GRACE_S = 0.1
_DEFAULT_PERIOD_NS = 20_000_000


@dataclass(frozen=True)
class PlaybackSummary:
    """How a playback went.

    Args:
        frames: Frames served, repetitions included.
        worst_late_s: How long after its due time the latest frame left [s].
        frames_dropped: Frames that slow clients missed.
        clients: Connections taken.
    """

    frames: int
    worst_late_s: float
    frames_dropped: int
    clients: int


def repeated(frames: Iterable[Frame], *, loop: bool) -> Iterator[Frame]:
    """Yield frames with stamps that start at 0 and rise; with `loop` again and again, one mean period between.

    Raises:
        InputError: when a stamp does not come after the one before it.
    """
    kept: list[Frame] = []
    first_ns = last_ns = None
    for stamp_ns, poses in frames:
        if first_ns is None:
            first_ns = stamp_ns
        elif last_ns is not None and stamp_ns <= last_ns:
            raise InputError(f'stamp {stamp_ns} ns comes after {last_ns} ns: sort the frames', code='STAMP_BACKWARD')
        last_ns = stamp_ns
        if loop:
            kept.append((stamp_ns - first_ns, poses))
        yield stamp_ns - first_ns, poses
    if not kept:
        return
    span_ns = kept[-1][0]
    round_ns = span_ns + (span_ns // (len(kept) - 1) if len(kept) > 1 else _DEFAULT_PERIOD_NS)
    start_ns = 0
    while True:
        start_ns += round_ns
        for stamp_ns, poses in kept:
            yield start_ns + stamp_ns, poses


class FramePlayback:
    """Plays frames through an `OpenIGTLinkServer`, each due at start + (stamp − first stamp)/rate.

    Due times are absolute, so a late frame delays no other and no drift builds up.

    Args:
        frames: (stamp_ns, poses) in rising order of stamps; poses as `OpenIGTLinkServer.send_frame` takes them.
        host: Address to listen on.
        port: TCP port; 0 for any.
        rate: Speed, 1.0 as recorded.
        loop: Play again and again; the frames are then kept in memory.
        wait_for_client: Start when the first client has connected.
        stamp_mode: 'recorded' writes the stamps of the frames (of the first round; they keep rising), as a device
            with a clock of its own would. 'now' writes the clock of this machine.
        now_ns: The clock for 'now' [ns].
        version: OpenIGTLink header version, 1 or 2.
        on_listening: Called with the port, in the thread of `run`.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        *,
        host: str = '127.0.0.1',
        port: int = DEFAULT_PORT,
        rate: float = 1.0,
        loop: bool = False,
        wait_for_client: bool = True,
        stamp_mode: str = 'recorded',
        now_ns: Callable[[], int] = time.time_ns,
        version: int = 1,
        on_listening: Callable[[int], None] | None = None,
    ) -> None:
        if not 0.0 < rate < float('inf'):
            raise ConfigError(f'rate={rate} must be above 0 and finite')
        if stamp_mode not in STAMP_MODES:
            raise ConfigError(f'stamp_mode={stamp_mode!r} is none of {", ".join(STAMP_MODES)}')
        self._frames = frames
        self._host, self._port = host, port
        self._rate = rate
        self._repeat = loop
        self._wait_for_client = wait_for_client
        self._stamp_mode = stamp_mode
        self._now_ns = now_ns
        self._version = version
        self._on_listening = on_listening
        self._lock = threading.Lock()
        self._stopping = False
        self._stop_event: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> PlaybackSummary:
        """Serve until the frames end or `stop` is called.

        Raises:
            OSError: when the port is taken.
            InputError: for stamps out of order or a name or number that the wire does not hold.
        """
        return asyncio.run(self._run())

    def stop(self) -> None:
        """Make `run` return; from any thread, before or during `run`."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._stop_event is not None:
                self._loop.call_soon_threadsafe(self._stop_event.set)

    async def _run(self) -> PlaybackSummary:
        stop, connected = asyncio.Event(), asyncio.Event()
        with self._lock:
            self._loop, self._stop_event = asyncio.get_running_loop(), stop
            if self._stopping:
                stop.set()
        server = OpenIGTLinkServer(version=self._version, on_clients=lambda count: connected.set())
        try:
            port = await server.start(self._host, self._port)
            if self._on_listening is not None:
                self._on_listening(port)
            if self._wait_for_client:
                await self._first_client(connected, stop)
            count, worst_late_s = await self._play(server, stop)
        finally:
            with self._lock:
                self._loop = self._stop_event = None
            await server.close()
        return PlaybackSummary(count, worst_late_s, server.counters['frames_dropped'], server.counters['connections'])

    async def _first_client(self, connected: asyncio.Event, stop: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (connected, stop)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        # A client asks for its stream right after connecting; without this the first frames would be pushed to it.
        await _stopped_before(asyncio.get_running_loop().time() + REQUEST_GRACE_S, stop)

    async def _play(self, server: OpenIGTLinkServer, stop: asyncio.Event) -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        start_s, base_ns = loop.time(), None
        count, worst_late_s = 0, 0.0
        for (elapsed_ns, poses), first_ns in self._with_first_stamp():
            due_s = start_s + elapsed_ns * 1e-9 / self._rate
            if await _stopped_before(due_s, stop):
                break
            if base_ns is None:
                base_ns = self._base_ns(first_ns)
            spent_ns = elapsed_ns if self._stamp_mode == 'recorded' else round(elapsed_ns / self._rate)
            server.send_frame(base_ns + spent_ns, poses)
            worst_late_s = max(worst_late_s, loop.time() - due_s)
            count += 1
        return count, worst_late_s

    def _with_first_stamp(self) -> Iterator[tuple[Frame, int]]:
        """Pair each frame with the very first stamp, which is known once the first frame has been drawn."""
        first: list[int] = []

        def watched() -> Iterator[Frame]:
            for stamp_ns, poses in self._frames:
                if not first:
                    first.append(stamp_ns)
                yield stamp_ns, poses

        for frame in repeated(watched(), loop=self._repeat):
            yield frame, first[0]

    def _base_ns(self, first_ns: int) -> int:
        """The stamp of the first frame; a recording that starts at 0 is moved by 1 s, as 0 means no stamp."""
        if self._stamp_mode == 'now':
            return self._now_ns()
        return first_ns if first_ns > 0 else DEVICE_START_NS


async def _stopped_before(due_s: float, stop: asyncio.Event) -> bool:
    """Wait until the due time of the loop's clock; True when stopped first."""
    delay_s = due_s - asyncio.get_running_loop().time()
    if delay_s <= 0.0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        async with asyncio.timeout_at(due_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True
