"""The link emulator as a UDP relay: what comes in at one port leaves at another as the link would have it.

Two clients need no addresses: the leader sends to the relay's first port, the follower to its second, and each is
answered where it last sent from; or the follower's address is given, as for a server that never speaks first.
"""

import heapq
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.link.attack import Attacker
from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.io.precise_wait import wait_until

LARGEST = 65535
LATENESS_KEPT = 20_000  # full within a minute: what a relay holds does not grow for the rest of the day
Address = tuple[str, int]


@dataclass
class RelayLog:
    """What a relay saw, for comparing with the pure function.

    Args:
        sent_ns: Per direction, when each datagram came, since the start of the link.
        sizes: Per direction, its bytes.
        arrivals_ns: Per direction, what its fate was.
    """

    sent_ns: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    sizes: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    arrivals_ns: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = field(default_factory=lambda: ([], []))


class UdpRelay:
    """A link between two UDP sockets.

    Args:
        link: The emulated link; its time begins with the first datagram.
        host: Address to listen on.
        ports: Port for the leader and port for the follower; 0 for any.
        follower: Address of the follower, or None to learn it from what it sends.
        leader: Address of the leader, or None to learn it.
        log: Keeps every fate, for tests and benches.

    Raises:
        ConfigError: for a port that is taken.
    """

    def __init__(
        self,
        link: Link,
        *,
        host: str = '127.0.0.1',
        ports: tuple[int, int] = (0, 0),
        follower: Address | None = None,
        leader: Address | None = None,
        log: RelayLog | None = None,
    ) -> None:
        self._link = link
        self._directions = (link.forward, link.backward)
        attack = link.scenario.config.attack
        self._attackers = tuple(Attacker(attack, seed=link.seed, direction=number) for number in (0, 1))
        self._sockets = tuple(bound(host, port) for port in ports)
        self._peers: list[Address | None] = [leader, follower]
        self._queue: list[tuple[int, int, int, bytes]] = []
        # one for all: a block of this size for each datagram, cut to its length, leaves the heap in shreds
        self._buffer = memoryview(bytearray(LARGEST))
        self._number = 0
        self._start_ns: int | None = None
        self._stopped = False
        self.log = log
        self.lateness_ns: deque[int] = deque(maxlen=LATENESS_KEPT)
        self.no_peer = 0
        self.cut = False  # as if the cable were cut: what comes in, and what is on its way, is gone
        self.lost_to_cut = 0

    @property
    def ports(self) -> tuple[int, int]:
        """Ports for the leader and for the follower."""
        first, second = (each.getsockname()[1] for each in self._sockets)
        return first, second

    @property
    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """What became of the datagrams, forward and backward."""
        return self._link.forward.counts, self._link.backward.counts

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped = True

    def run(self, *, on_look: Callable[[], None] | None = None) -> None:
        """Relay until stopped.

        Args:
            on_look: Called about once a second.
        """
        descriptors = [each.fileno() for each in self._sockets]
        look_ns = time.monotonic_ns()
        try:
            while not self._stopped:
                wait_until(descriptors, self._queue[0][0] if self._queue else None)
                for number in (0, 1):
                    self._take(number)
                self._release()
                if on_look is not None and time.monotonic_ns() - look_ns > 1_000_000_000:
                    look_ns = time.monotonic_ns()
                    on_look()
        finally:
            for each in self._sockets:
                each.close()

    def _take(self, number: int) -> None:
        """Take all that waits at a socket; number 0 is the leader's, whose datagrams go forward."""
        while True:
            try:
                size, peer = self._sockets[number].recvfrom_into(self._buffer)
            except (BlockingIOError, ConnectionRefusedError):
                return
            now_ns = time.monotonic_ns()
            datagram = self._buffer[:size].tobytes()
            if self._start_ns is None:
                self._start_ns = now_ns
            self._peers[number] = peer
            if self.cut:
                self.lost_to_cut += 1
                continue
            sent_ns = now_ns - self._start_ns
            arrivals = self._directions[number].send(sent_ns, len(datagram))
            if self.log is not None:
                self.log.sent_ns[number].append(sent_ns)
                self.log.sizes[number].append(len(datagram))
                self.log.arrivals_ns[number].append(arrivals)
            for arrival in arrivals:
                for changed in self._attackers[number].act(datagram):
                    self._number += 1
                    heapq.heappush(self._queue, (self._start_ns + arrival, self._number, 1 - number, changed))

    def _release(self) -> None:
        while self._queue:
            due_ns, _, to, datagram = self._queue[0]
            now_ns = time.monotonic_ns()
            if due_ns > now_ns:
                return
            heapq.heappop(self._queue)
            peer = self._peers[to]
            if self.cut:
                self.lost_to_cut += 1
                continue
            if peer is None:
                self.no_peer += 1
                continue
            self.lateness_ns.append(now_ns - due_ns)
            try:
                self._sockets[to].sendto(datagram, peer)
            except (BlockingIOError, ConnectionRefusedError):
                continue  # a full buffer or a peer that went away: lost, as on a real network


def bound(host: str, port: int) -> socket.socket:
    """Return a UDP socket that listens and does not block.

    Raises:
        ConfigError: for a port that is taken.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.setblocking(False)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigError(f'UDP {host}:{port} cannot be listened on: {error.strerror or error}') from None
    return made
