"""The link emulator between two DDS participants: RTPS datagrams take the fate of the link, whatever they carry.

DDS sends to the addresses (locators) that the other participant announced in its discovery data, which would lead round
a relay. So the relay does what gateways do for such protocols: in what one participant sends it replaces that
participant's own locators by the relay's ports. Samples, heartbeats, acknowledgements and repairs then all cross the
emulated link. Both participants must use UDPv4 alone, unicast, with known ports (`participant_profile`).
"""

import heapq
import socket
import struct
import time

from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.io.precise_wait import wait_until
from twin_nodes.io.udp_relay import LARGEST, bound

HOST = '127.0.0.1'
KINDS = ('metatraffic', 'default')
_UDP_V4 = 1
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><profiles>
<transport_descriptors><transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type>
<interfaceWhiteList><address>{host}</address></interfaceWhiteList></transport_descriptor></transport_descriptors>
<participant profile_name="relayed" is_default_profile="true"><rtps>
<defaultUnicastLocatorList>{default}</defaultUnicastLocatorList>
<builtin><metatrafficUnicastLocatorList>{metatraffic}</metatrafficUnicastLocatorList>
<initialPeersList>{peer}</initialPeersList></builtin>
<userTransports><transport_id>udp</transport_id></userTransports><useBuiltinTransports>false</useBuiltinTransports>
</rtps></participant></profiles></dds>
"""


def participant_profile(metatraffic: int, default: int, peer: int) -> str:
    """Return the Fast DDS profile of a participant behind a relay.

    Args:
        metatraffic: Port of its discovery traffic.
        default: Port of its samples and acknowledgements.
        peer: Port of the relay that stands for the other's discovery traffic.
    """

    def locator(port: int) -> str:
        return f'<locator><udpv4><port>{port}</port><address>{HOST}</address></udpv4></locator>'

    return _PROFILE.format(
        host=HOST, metatraffic=locator(metatraffic), default=locator(default), peer=locator(peer)
    )  # fmt: skip


def _locators(port: int) -> tuple[bytes, bytes]:
    """A UDPv4 locator as it stands in discovery data, little and big endian (RTPS 2.5, 9.4.2.10)."""
    address = bytes(12) + socket.inet_aton(HOST)
    return struct.pack('<iI', _UDP_V4, port) + address, struct.pack('>iI', _UDP_V4, port) + address


class RtpsRelay:
    """A link between two participants.

    Args:
        link: The emulated link; the first participant is its leader.
        ports: Of the first and of the second participant: metatraffic and default port.
    """

    def __init__(self, link: Link, ports: tuple[tuple[int, int], tuple[int, int]]) -> None:
        self._directions = (link.forward, link.backward)
        self._to = ports
        # sockets[side][kind] stands for that side's port
        self._sockets = tuple(tuple(bound(HOST, 0) for _ in KINDS) for _ in ports)
        self._renamed = tuple(
            [
                pair
                for kind, port in enumerate(own)
                for pair in zip(_locators(port), _locators(self.ports[side][kind]), strict=True)
            ]
            for side, own in enumerate(ports)
        )
        self._queue: list[tuple[int, int, int, int, bytes]] = []
        self._number = 0
        self._start_ns: int | None = None
        self._stopped = False

    @property
    def ports(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Ports that stand for the first and for the second participant: metatraffic and default."""
        first, second = (
            (sockets[0].getsockname()[1], sockets[1].getsockname()[1]) for sockets in self._sockets
        )  # fmt: skip
        return first, second

    @property
    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """What became of the datagrams, forward and backward."""
        return self._directions[0].counts, self._directions[1].counts

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped = True

    def run(self) -> None:
        """Relay until stopped."""
        descriptors = [each.fileno() for sockets in self._sockets for each in sockets]
        try:
            while not self._stopped:
                wait_until(descriptors, self._queue[0][0] if self._queue else None)
                for side in (0, 1):
                    for kind in range(len(KINDS)):
                        self._take(side, kind)
                self._release()
        finally:
            for sockets in self._sockets:
                for each in sockets:
                    each.close()

    def _take(self, side: int, kind: int) -> None:
        """Take what was sent to a side; it comes from the other one."""
        sender = 1 - side
        while True:
            try:
                datagram = self._sockets[side][kind].recv(LARGEST)
            except (BlockingIOError, ConnectionRefusedError):
                return
            now_ns = time.monotonic_ns()
            if self._start_ns is None:
                self._start_ns = now_ns
            for own, ours in self._renamed[sender]:
                datagram = datagram.replace(own, ours)
            for arrival in self._directions[sender].send(now_ns - self._start_ns, len(datagram)):
                self._number += 1
                heapq.heappush(self._queue, (self._start_ns + arrival, self._number, side, kind, datagram))

    def _release(self) -> None:
        while self._queue and self._queue[0][0] <= time.monotonic_ns():
            _, _, side, kind, datagram = heapq.heappop(self._queue)
            try:
                self._sockets[side][kind].sendto(datagram, (HOST, self._to[side][kind]))
            except (BlockingIOError, ConnectionRefusedError):
                continue  # a full buffer or a participant that went away: lost, as on a real network
