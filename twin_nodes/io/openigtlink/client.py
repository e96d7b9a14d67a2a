"""A tracker source that reads poses from an OpenIGTLink server, and comes back when the server does."""

import asyncio
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.tracking.reading import OnEvent, OnFrame, SourceEvent, TrackerFrame
from twin_nodes.io.openigtlink.codec import Decoder, encode
from twin_nodes.io.openigtlink.frames import FrameBuilder, joined
from twin_nodes.io.openigtlink.messages import Fault, StartMessage, StopMessage, Unknown

DEFAULT_PORT = 18944
EVENT_SPACING_NS = 500_000_000
_KEEPALIVE = (('TCP_KEEPIDLE', 2), ('TCP_KEEPINTVL', 1), ('TCP_KEEPCNT', 3))


@dataclass(frozen=True)
class OpenIGTLinkSourceConfig:
    """Where the OpenIGTLink server is and what to ask of it."""

    host: str = setting('Host name or address of the OpenIGTLink server.', '127.0.0.1')
    port: int = setting('TCP port of the server.', DEFAULT_PORT, minimum=1, maximum=65535)
    stream: str = setting(
        'auto asks for TDATA and takes pushed poses where it is not given; tdata and qtdata take nothing else; '
        'push asks for nothing.',
        'auto',
        choices=('auto', 'tdata', 'qtdata', 'push'),
    )
    resolution_ms: int = setting(
        'Least time between two frames asked of the server; servers leave out frames that come faster.',
        1,
        unit='ms',
        minimum=1,
        maximum=10_000,
    )
    version: int = setting('Header version of what is sent to the server.', 1, minimum=1, maximum=2)
    max_body: int = setting('Largest message body believed.', 64 << 20, unit='byte', minimum=1024, maximum=1 << 31)
    connect_timeout_s: float = setting('Time allowed for one attempt to connect.', 3.0, unit='s', minimum=0.05)
    reconnect_min_s: float = setting('First pause before connecting again.', 0.1, unit='s', minimum=0.01)
    reconnect_max_s: float = setting('Longest pause before connecting again.', 5.0, unit='s', minimum=0.01)

    def __post_init__(self) -> None:
        if self.reconnect_max_s < self.reconnect_min_s:
            raise ConfigError(
                f'reconnect_max_s={self.reconnect_max_s} s must not be below reconnect_min_s={self.reconnect_min_s} s'
            )


def prepare_socket(transport: asyncio.BaseTransport) -> None:
    """Send small packets at once, and notice within seconds a peer that vanished without closing."""
    connection: socket.socket | None = transport.get_extra_info('socket')
    if connection is None:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Throttle:
    """Lets an event of one code through at most twice a second; what is held back is counted by the caller."""

    def __init__(self) -> None:
        self._last_ns: dict[str, int] = {}

    def allows(self, code: str, now_ns: int) -> bool:
        last_ns = self._last_ns.get(code)
        if last_ns is not None and 0 <= now_ns - last_ns < EVENT_SPACING_NS:
            return False
        self._last_ns[code] = now_ns
        return True


class _Connection(asyncio.Protocol):
    """One connection: bytes to frames, in the thread of the loop."""

    def __init__(self, source: 'OpenIGTLinkSource', on_frame: OnFrame, on_event: OnEvent) -> None:
        self._source = source
        self._config = source.config
        self._on_frame, self._on_event = on_frame, on_event
        self._decoder = Decoder(max_body=self._config.max_body)
        self._decoder.counters = source.counters
        self._builder = FrameBuilder(self._config.stream, source.counters)
        self._transport: asyncio.Transport | None = None
        self._reason = self._last_words = ''
        self.useful = False
        self.failure: Exception | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and ask for the stream."""
        self._transport = cast(asyncio.Transport, transport)
        prepare_socket(transport)
        self._source.counters['connections'] += 1
        try:
            self._on_event(SourceEvent('OK', f'connected to {self._config.host}:{self._config.port}', healthy=True))
        except Exception as error:  # the receiver's own: run() raises it in its thread
            self.failure = error
            self.close('the receiver failed')
            return
        target = {'auto': 'TDATA', 'tdata': 'TDATA', 'qtdata': 'QTDATA'}.get(self._config.stream)
        if target is not None:
            request = StartMessage('', target=target, resolution_ms=self._config.resolution_ms)
            self._transport.write(encode(request, self._config.version))

    def data_received(self, data: bytes) -> None:
        """Deliver what the bytes complete; all of it carries the time at which they came."""
        try:
            arrival_ns = self._source.now_ns()
            frames: list[TrackerFrame] = []
            for message in self._decoder.feed(data):
                if isinstance(message, Fault):
                    self._deliver(frames)
                    self._on_fault(message, arrival_ns)
                elif not isinstance(message, Unknown):
                    self.useful = True
                    frames += self._builder.frames(message, arrival_ns)
                    event = self._builder.event(message)
                    if event is not None:
                        self._deliver(frames)
                        self._on_news(event, arrival_ns)
            self._deliver(frames)
        except Exception as error:  # the receiver's own: run() raises it in its thread
            self.failure = error
            self.close('the receiver failed')

    def _deliver(self, frames: list[TrackerFrame]) -> None:
        """Pass frames on and forget them; tools that came together go together."""
        for frame in joined(frames):
            self._on_frame(frame)
        frames.clear()

    def _on_news(self, event: SourceEvent, arrival_ns: int) -> None:
        # A change of state is never held back, only its repetition.
        self._say(event, arrival_ns, always=event.message != self._last_words)
        self._last_words = event.message

    def _on_fault(self, fault: Fault, arrival_ns: int) -> None:
        self._say(SourceEvent(fault.code, fault.message, healthy=fault.code == 'CRC_MISSING'), arrival_ns)
        if fault.fatal:
            self.close(fault.message)

    def _say(self, event: SourceEvent, arrival_ns: int, *, always: bool = False) -> None:
        if self._source.throttle.allows(event.code, arrival_ns) or always:
            self._on_event(event)
        else:
            self._source.counters['events_held_back'] += 1

    def close(self, reason: str, *, farewell: bool = False) -> None:
        """Close at once; with `farewell` the server is told to stop the stream first."""
        if self._transport is None or self._transport.is_closing():
            return
        self._reason = reason
        if not farewell:
            self._transport.abort()
            return
        target = 'QTDATA' if self._config.stream == 'qtdata' else 'TDATA'
        if self._config.stream != 'push':
            self._transport.write(encode(StopMessage('', target=target), self._config.version))
        self._transport.close()

    def abort(self) -> None:
        """Close without sending what is still queued."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say why to whoever waits."""
        if not self.lost.done():
            self.lost.set_result(self._reason or (str(exc) if exc else 'closed by the server'))


class OpenIGTLinkSource:
    """A `TrackerSource` that is a client of an OpenIGTLink server (PLUS, 3D Slicer, ours).

    Args:
        config: Where and what.
        now_ns: Clock of the receiver [ns]; read once per packet, in the thread of `run`.
    """

    def __init__(self, config: OpenIGTLinkSourceConfig, now_ns: Callable[[], int]) -> None:
        self.config = config
        self.now_ns = now_ns
        self.counters: Counter[str] = Counter()
        self.throttle = _Throttle()
        self._lock = threading.Lock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_event: asyncio.Event | None = None

    def run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        """Connect, deliver, connect again, until `stop`. Raises only what `on_frame` or `on_event` raise."""
        # Not asyncio.run: that waits for a name look-up still under way, and stop() must not.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._run(on_frame, on_event))
        finally:
            loop.close()

    def stop(self) -> None:
        """Make `run` return; from any thread, before or during `run`."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._stop_event is not None:
                self._loop.call_soon_threadsafe(self._stop_event.set)

    async def _run(self, on_frame: OnFrame, on_event: OnEvent) -> None:
        with self._lock:
            self._loop, self._stop_event = asyncio.get_running_loop(), asyncio.Event()
            if self._stopping:
                self._stop_event.set()
        try:
            await self._stay_connected(self._stop_event, on_frame, on_event)
        finally:
            with self._lock:
                self._loop = self._stop_event = None

    async def _stay_connected(self, stop: asyncio.Event, on_frame: OnFrame, on_event: OnEvent) -> None:
        where = f'{self.config.host}:{self.config.port}'
        pause_s, said = self.config.reconnect_min_s, ''
        while not stop.is_set():
            connection, reason = await self._connect(stop, on_frame, on_event)
            if connection is not None:
                said = ''
                reason = await self._until_lost(connection, stop)
                if connection.useful:
                    pause_s = self.config.reconnect_min_s
            if stop.is_set():
                return
            if reason != said:
                said = reason
                on_event(SourceEvent('SOURCE_DISCONNECTED', f'{where}: {reason}'))
            await _first_of(stop.wait(), asyncio.sleep(pause_s))
            pause_s = min(2.0 * pause_s, self.config.reconnect_max_s)

    async def _connect(
        self, stop: asyncio.Event, on_frame: OnFrame, on_event: OnEvent
    ) -> tuple[_Connection | None, str]:
        """Try once; returns the connection, or None and the reason."""
        self.counters['attempts'] += 1
        loop = asyncio.get_running_loop()
        attempt = asyncio.ensure_future(
            loop.create_connection(lambda: _Connection(self, on_frame, on_event), self.config.host, self.config.port)
        )
        await _first_of(stop.wait(), attempt, timeout_s=self.config.connect_timeout_s)
        if not attempt.done() or attempt.cancelled():
            return None, f'no answer within {self.config.connect_timeout_s} s'
        error = attempt.exception()
        if isinstance(error, OSError):
            return None, os.strerror(error.errno) if (error.errno or 0) > 0 else str(error)
        return attempt.result()[1], ''

    async def _until_lost(self, connection: _Connection, stop: asyncio.Event) -> str:
        await _first_of(stop.wait(), asyncio.shield(connection.lost))
        if not connection.lost.done():
            connection.close('stopped', farewell=True)
            await _first_of(asyncio.shield(connection.lost), asyncio.sleep(0.2))
            connection.abort()
        if connection.failure is not None:
            raise connection.failure
        return connection.lost.result() if connection.lost.done() else 'stopped'


async def _first_of(*awaitables: Any, timeout_s: float | None = None) -> None:
    """Wait for the first to finish and cancel the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
