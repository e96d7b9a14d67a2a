"""One client of the server: what it asked for, and what waits to be sent to it."""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

from twin_nodes.io.openigtlink.client import prepare_socket
from twin_nodes.io.openigtlink.codec import Decoder
from twin_nodes.io.openigtlink.messages import Fault, Message
from twin_nodes.io.openigtlink.outgoing import OutgoingFrame

WRITE_BUFFER_BYTES = 64 << 10
REPLY_LIMIT_BYTES = 1 << 20
RESOLUTION_TOLERANCE_NS = 500_000


class Session(asyncio.Protocol):
    """A connected client.

    While the client does not read, frames wait in a short queue whose oldest entry makes way for the newest; a client
    that does not read for `stall_limit_s` is disconnected. Other clients notice nothing of either.

    Args:
        counters: Counted into: frames_sent, frames_dropped, stalled_clients.
        on_message: Called with each message of the client.
        on_fault: Called with each fault in what the client sends.
        on_made: Called when the connection stands.
        on_lost: Called when the connection is gone.
        max_queued: Frames kept for a slow client.
        stall_limit_s: How long a client may refuse data [s].
    """

    def __init__(
        self,
        *,
        counters: Counter[str],
        on_message: Callable[['Session', Message], None],
        on_fault: Callable[['Session', Fault], None],
        on_made: Callable[['Session'], None],
        on_lost: Callable[['Session'], None],
        max_queued: int,
        stall_limit_s: float,
    ) -> None:
        self._counters = counters
        self._on_message, self._on_fault = on_message, on_fault
        self._on_made, self._on_lost = on_made, on_lost
        self._decoder = Decoder()
        self._queue: deque[bytes] = deque(maxlen=max_queued)
        self._stall_limit_s = stall_limit_s
        self._stall_timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._last_stamp_ns: int | None = None
        self.stream = 'TRANSFORM'
        self.resolution_ms = 0
        self.peer = ''
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up the socket and join the server."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        prepare_socket(transport)
        # Linux would let the send buffer grow to megabytes: minutes of stale poses for a client that stops reading.
        connection: socket.socket = transport.get_extra_info('socket')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BUFFER_BYTES)
        self.peer = ':'.join(map(str, (transport.get_extra_info('peername') or ('?',))[:2]))
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the server."""
        self._cancel_stall_timer()
        if not self.gone.done():
            self.gone.set_result(None)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what the client says."""
        for message in self._decoder.feed(data):
            if isinstance(message, Fault):
                self._on_fault(self, message)
                if message.fatal:
                    self._transport.abort()
            else:
                self._on_message(self, message)

    def pause_writing(self) -> None:
        """Start queueing: the client is slower than the stream."""
        self._paused = True
        self._stall_timer = asyncio.get_running_loop().call_later(self._stall_limit_s, self._give_up)

    def resume_writing(self) -> None:
        """Send what has waited."""
        self._paused = False
        self._cancel_stall_timer()
        while self._queue and not self._paused:
            self._write_frame(self._queue.popleft())

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _give_up(self) -> None:
        self._counters['stalled_clients'] += 1
        self._transport.abort()

    def start_stream(self, stream: str, resolution_ms: int) -> None:
        """Send `stream` from now on ('' for none), no two frames closer than the resolution."""
        self.stream, self.resolution_ms, self._last_stamp_ns = stream, resolution_ms, None

    def send_frame(self, frame: OutgoingFrame) -> None:
        """Send a frame in the form that the client wants, now or when it reads again."""
        if not self.stream or self._transport.is_closing() or not self._is_due(frame.stamp_ns):
            return
        data = frame.encoded(self.stream)
        if not self._paused:
            self._write_frame(data)
            return
        if len(self._queue) == self._queue.maxlen:
            self._counters['frames_dropped'] += 1
        self._queue.append(data)

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether the resolution allows this stamp; it is sent in whole ms, so half a ms less is still honoured."""
        if self._last_stamp_ns is not None:
            spacing_ns = stamp_ns - self._last_stamp_ns
            if 0 <= spacing_ns < self.resolution_ms * 1_000_000 - RESOLUTION_TOLERANCE_NS:
                return False
        self._last_stamp_ns = stamp_ns
        return True

    def _write_frame(self, data: bytes) -> None:
        self._counters['frames_sent'] += 1
        self._transport.write(data)

    def reply(self, data: bytes) -> None:
        """Send an answer; a client that asks without ever reading is cut off at 1 MiB."""
        if self._transport.get_write_buffer_size() > REPLY_LIMIT_BYTES:
            self._give_up()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close after sending what is queued."""
        self._queue.clear()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
