"""One site of the bridge on a UDP socket: a thread that receives, plays and probes at their times."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.site import Due, LinkState, Site
from twin_nodes.io.precise_wait import wait_until

BATCH = 64  # datagrams taken before commands that are due have their turn: a flood may not keep them waiting
Address = tuple[str, int]


class WanSocket:
    """Runs a `Site`.

    Args:
        config: Settings of the site.
        key: The shared key.
        outgoing: Topics that go to the other site.
        incoming: Topics that come from it.
        bind: Own address and port; port 0 for any.
        peer: Address of the other site, or None to answer where authentic datagrams come from.
        on_due: Called from the thread for each command to publish.
        on_change: Called from the thread when the link or a channel begins or ends to hold.

    Raises:
        ConfigError: for an address that cannot be used.
    """

    def __init__(
        self,
        config: BridgeConfig,
        key: bytes,
        *,
        outgoing: Sequence[str],
        incoming: Sequence[str],
        bind: Address,
        peer: Address | None,
        on_due: Callable[[Due], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._site = Site(config, key, outgoing=outgoing, incoming=incoming, entropy=os.urandom)
        self._lock = threading.Lock()
        self._on_due, self._on_change = on_due, on_change
        self._holds: tuple[bool, ...] = ()
        self._fixed = peer is not None
        self._peer = _resolved(peer) if peer is not None else None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 46 << 2)  # expedited forwarding (RFC 3246)
        self._socket.setblocking(False)
        try:
            self._socket.bind(bind)
        except OSError as error:
            self._socket.close()
            raise ConfigError(f'UDP {bind[0]}:{bind[1]} cannot be listened on: {error.strerror or error}') from None
        # one for all: a block of this size for each datagram, cut to its length, leaves the heap in shreds
        self._buffer = memoryview(bytearray(65535))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name='wan')

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and close the socket."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        self._socket.close()

    def offer(
        self, topic: str, values: tuple[float, ...], *, kind: int, counts: tuple[int, int, int], label: str, age_ns: int
    ) -> None:
        """Send a message of this site, as `Site.offer`; callable from any thread.

        Raises:
            InputError: as `Site.offer`.
        """
        with self._lock:
            datagram = self._site.offer(
                topic, values, kind=kind, counts=counts, label=label, age_ns=age_ns, now_ns=time.monotonic_ns()
            )
        if datagram is not None:
            self._send(datagram)

    def state(self) -> LinkState:
        """Return how the link stands; callable from any thread."""
        with self._lock:
            return self._site.state(time.monotonic_ns())

    def _send(self, datagram: bytes) -> None:
        if self._peer is None:
            return
        with contextlib.suppress(OSError):  # no route, a full buffer, nobody there: lost, as on any bad network
            self._socket.sendto(datagram, self._peer)

    def _run(self) -> None:
        descriptor = [self._socket.fileno()]
        while not self._stopped.is_set():
            wait_until(descriptor, self._site.next_ns(), spin_ns=0)  # 0.1 ms late is nothing here; a core is
            self._receive()
            self._play()

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                size, source = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:  # a refused port of the peer is told here (ICMP): not an end
                continue
            datagram = self._buffer[:size].tobytes()
            with self._lock:
                before = self._site.received
                replies = self._site.receive(datagram, time.monotonic_ns())
                proved = self._site.received > before
            if proved and not self._fixed:  # not by a handshake, which may be an old one that somebody sends again
                self._peer = source
            for reply in replies:
                with contextlib.suppress(OSError):
                    self._socket.sendto(reply, source)

    def _play(self) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            datagrams = self._site.tick(now_ns)
            dues = self._site.due(now_ns)
            holds = self._site.holds(now_ns)
        for due in dues:
            self._on_due(due)
        for datagram in datagrams:
            self._send(datagram)
        if holds != self._holds:
            self._holds = holds
            self._on_change()


def _resolved(peer: Address) -> Address:
    try:
        return socket.gethostbyname(peer[0]), peer[1]
    except OSError as error:
        raise ConfigError(f'peer {peer[0]!r} cannot be resolved: {error}') from None
