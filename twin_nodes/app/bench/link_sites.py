"""Two sites with an open session, without a network between them."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.records import POSE
from twin_nodes.core.telesurgery.bridge.site import Site

TOPIC = 'PSM1/servo_cp'


@dataclass
class Pair:
    """A leader and a follower.

    Args:
        leader: Gives commands.
        follower: Takes them.
        now_ns: When the session was open.
    """

    leader: Site
    follower: Site
    now_ns: int

    def command(self, now_ns: int) -> bytes:
        """Return the datagram of a command given now."""
        made = self.leader.offer(
            TOPIC, (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), kind=POSE, counts=(7, 0, 0), label='base', age_ns=0,
            now_ns=now_ns,
        )  # fmt: skip
        assert made is not None, 'the session is open, so there is a datagram'
        return made


def open_pair(rng: np.random.Generator, key: bytes | None = None) -> Pair:
    """Make two sites of one key and carry their datagrams until both have a session."""
    key = rng.bytes(32) if key is None else key
    leader = Site(BridgeConfig('leader'), key, outgoing=[TOPIC], incoming=[], entropy=rng.bytes)
    follower = Site(BridgeConfig('follower'), key, outgoing=[], incoming=[TOPIC], entropy=rng.bytes)
    now_ns = 1_000_000_000
    for _ in range(20):
        now_ns += 50_000_000
        for datagram in leader.tick(now_ns):
            for reply in follower.receive(datagram, now_ns):
                for answer in leader.receive(reply, now_ns):
                    follower.receive(answer, now_ns)
        for datagram in follower.tick(now_ns):
            leader.receive(datagram, now_ns)
    return Pair(leader, follower, now_ns)
