"""An OpenIGTLink server: poses to any number of clients, pushed or as the stream that each asks for."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.io.openigtlink.bodies import DATA_TYPES, query_type
from twin_nodes.io.openigtlink.client import DEFAULT_PORT
from twin_nodes.io.openigtlink.codec import encode
from twin_nodes.io.openigtlink.messages import (
    Capability,
    Fault,
    GetMessage,
    Message,
    ReadyMessage,
    StartMessage,
    Status,
    StatusCode,
    StopMessage,
    String,
    Unknown,
)
from twin_nodes.io.openigtlink.outgoing import OutgoingFrame, wire_names
from twin_nodes.io.openigtlink.session import Session

STREAMS = ('TRANSFORM', 'TDATA', 'QTDATA')
CLOSE_LIMIT_S = 1.0
OnMessage = Callable[[str, Message], None]
_CAPABILITIES = (
    *DATA_TYPES[:6],
    *(query_type('GET_', target) for target in (*STREAMS, 'STATUS', 'CAPABIL')),
    *(query_type(prefix, target) for prefix in ('STT_', 'STP_', 'RTS_') for target in STREAMS),
)


class OpenIGTLinkServer:
    """Serves poses; lives in one asyncio loop, whose thread all methods are called from.

    Args:
        version: Header version of what is sent: 1 is understood by all, 2 can say that a tool is lost.
        device: Device name of TDATA, QTDATA and STATUS messages.
        on_message: Called as (peer, message) with what clients send besides requests.
        on_clients: Called with the number of clients when it changes.
        max_queued: Frames kept for a client that is slow to read; older ones are dropped and counted.
        stall_limit_s: A client that reads nothing for so long is disconnected [s].
    """

    def __init__(
        self,
        *,
        version: int = 1,
        device: str = 'twin_nodes',
        on_message: OnMessage | None = None,
        on_clients: Callable[[int], None] | None = None,
        max_queued: int = 8,
        stall_limit_s: float = 10.0,
    ) -> None:
        self._version = version
        self._device = device
        self._on_message = on_message
        self._on_clients = on_clients
        self._max_queued = max_queued
        self._stall_limit_s = stall_limit_s
        self._sessions: list[Session] = []
        self._server: asyncio.Server | None = None
        self._names: dict[str, str] = {}
        self._last: OutgoingFrame | None = None
        self._status = Status(device, code=StatusCode.OK)
        self.counters: Counter[str] = Counter()

    @property
    def clients(self) -> tuple[Session, ...]:
        """The clients that are connected now."""
        return tuple(self._sessions)

    @property
    def shortened_names(self) -> dict[str, str]:
        """Names that did not fit the wire, with what is sent in their place."""
        return {name: short for name, short in self._names.items() if name != short}

    async def start(self, host: str = '127.0.0.1', port: int = DEFAULT_PORT) -> int:
        """Listen; returns the port, chosen by the system when 0 is given.

        Raises:
            OSError: when the port is taken or the host is not ours.
        """
        self._server = await asyncio.get_running_loop().create_server(self._session, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, let each client have what is on its way for at most a second, and disconnect all."""
        if self._server is not None:
            self._server.close()
        sessions = self.clients
        for session in sessions:
            session.close()
        if sessions:
            await asyncio.wait([session.gone for session in sessions], timeout=CLOSE_LIMIT_S)
        for session in self.clients:
            session.abort()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def send_frame(self, stamp_ns: int, poses: Mapping[str, Array | None]) -> None:
        """Send the poses of one instant to all clients.

        Args:
            stamp_ns: Time of measurement, not 0.
            poses: Name, such as StylusToTracker, to pose [m] (4, 4); None for a lost tool, which TDATA and QTDATA
                leave out, version 2 says INVALID of, and version 1 does not send.

        Raises:
            InputError: for a stamp, name or number that the wire does not hold; nothing is sent then.
        """
        if not poses.keys() <= self._names.keys():
            self._names = wire_names([*self._names, *(name for name in poses if name not in self._names)])
        if stamp_ns <= 0:
            raise InputError(f'stamp_ns={stamp_ns} must be above 0, which means none on the wire', code='STAMP_ZERO')
        named = {self._names[name]: pose for name, pose in poses.items()}
        frame = OutgoingFrame(stamp_ns, named, version=self._version, device=self._device)
        for kind in {session.stream for session in self._sessions if session.stream}:
            frame.encoded(kind)
        self._last = frame
        self.counters['frames'] += 1
        for session in self.clients:
            session.send_frame(frame)

    def send_status(
        self, code: int, *, subcode: int = 0, error_name: str = '', text: str = '', stamp_ns: int = 0
    ) -> None:
        """Tell all clients how the device is, and whoever asks later."""
        status = Status(self._device, code=code, subcode=subcode, error_name=error_name, text=text, stamp_ns=stamp_ns)
        self._send_all(status)
        self._status = status

    def send_string(self, device: str, text: str, *, stamp_ns: int = 0) -> None:
        """Send a text to all clients."""
        self._send_all(String(device, text=text, stamp_ns=stamp_ns))

    def _send_all(self, message: Message) -> None:
        data = encode(message, self._version)
        for session in self.clients:
            session.reply(data)

    def _session(self) -> Session:
        return Session(
            counters=self.counters,
            on_message=self._answer,
            on_fault=self._on_fault,
            on_made=self._on_made,
            on_lost=self._on_lost,
            max_queued=self._max_queued,
            stall_limit_s=self._stall_limit_s,
        )

    def _on_made(self, session: Session) -> None:
        self._sessions.append(session)
        self.counters['connections'] += 1
        if self._on_clients is not None:
            self._on_clients(len(self._sessions))

    def _on_lost(self, session: Session) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            if self._on_clients is not None:
                self._on_clients(len(self._sessions))

    def _on_fault(self, session: Session, fault: Fault) -> None:
        self.counters[fault.code] += 1

    def _answer(self, session: Session, message: Message) -> None:
        """Answer a request; anything else goes to `on_message`."""
        if isinstance(message, StartMessage):
            self._start_stream(session, message)
        elif isinstance(message, StopMessage):
            if session.stream == message.target:
                session.start_stream('', 0)
            self._reply(session, ReadyMessage(self._device, target=message.target))
        elif isinstance(message, GetMessage):
            for reply in self._answers_to_get(message):
                self._reply(session, reply)
        elif isinstance(message, Unknown) and message.type_name.startswith('STT_'):
            self._reply(session, ReadyMessage(self._device, target=message.type_name[4:], status=1))
        elif self._on_message is not None:
            self._on_message(session.peer, message)

    def _start_stream(self, session: Session, message: StartMessage) -> None:
        known = message.target in STREAMS
        self._reply(session, ReadyMessage(self._device, target=message.target, status=0 if known else 1))
        if known:
            session.start_stream(message.target, message.resolution_ms)

    def _answers_to_get(self, message: GetMessage) -> list[Message]:
        if message.target == 'STATUS':
            return [self._status]
        if message.target == 'CAPABIL':
            return [Capability(self._device, types=_CAPABILITIES)]
        if message.target not in STREAMS:
            return [self._refusal(StatusCode.UNKNOWN_INSTRUCTION, f'GET_{message.target} is not served')]
        if self._last is None:
            return [self._refusal(StatusCode.NOT_READY, 'no frame yet')]
        if message.target == 'TRANSFORM' and message.device:
            return [self._one_transform(self._last, message.device)]
        return self._last.messages(message.target)

    def _one_transform(self, frame: OutgoingFrame, device: str) -> Message:
        if device not in frame.poses:
            return self._refusal(StatusCode.NOT_FOUND, f'{device!r} is none of {", ".join(sorted(frame.poses))}')
        return frame.transform(device) or self._refusal(StatusCode.NOT_PRESENT, f'{device!r} is lost')

    def _refusal(self, code: StatusCode, text: str) -> Status:
        return Status(self._device, code=code, error_name=code.name[:20], text=text)

    def _reply(self, session: Session, message: Message) -> None:
        try:
            session.reply(encode(message, self._version))
        except InputError:  # the client's own odd words, such as a type name beyond ASCII, cannot be sent back
            self.counters['unanswerable'] += 1
