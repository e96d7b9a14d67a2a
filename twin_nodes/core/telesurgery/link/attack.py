"""An attacker on the path: turns bits, cuts, replays, makes up datagrams and floods, seeded."""

from collections import deque

from twin_nodes.core.telesurgery.link.config import AttackConfig
from twin_nodes.core.telesurgery.link.draws import stream

MEMORY = 256


class Attacker:
    """Works on the datagrams that pass.

    Args:
        config: How often it does what.
        seed: Seed of the link.
        direction: Number of the direction.
    """

    def __init__(self, config: AttackConfig, *, seed: int, direction: int = 0) -> None:
        self._config = config
        self._rng = stream(seed, direction, 9)
        self._seen: deque[bytes] = deque(maxlen=MEMORY)
        self.counts = {'flip': 0, 'truncate': 0, 'replay': 0, 'forge': 0, 'flood': 0}

    def act(self, datagram: bytes) -> list[bytes]:
        """Return what leaves in place of a datagram: it or its damaged self, then what the attacker adds."""
        flip, cut, again, forge = self._rng.random(4).tolist()
        out = [datagram]
        if flip < self._config.flip and datagram:
            out[0] = self._flip(datagram)
        elif cut < self._config.truncate and datagram:
            self.counts['truncate'] += 1
            out[0] = datagram[: int(self._rng.integers(0, len(datagram)))]
        if again < self._config.replay and self._seen:
            self.counts['replay'] += 1
            out.append(self._seen[int(self._rng.integers(0, len(self._seen)))])
        if forge < self._config.forge:
            self.counts['forge'] += 1
            out.append(self._forge(datagram))
        for _ in range(self._config.flood):
            self.counts['flood'] += 1
            out.append(self._forge(datagram, kept=12))
        self._seen.append(datagram)
        return out

    def _flip(self, datagram: bytes) -> bytes:
        self.counts['flip'] += 1
        turned = bytearray(datagram)
        turned[int(self._rng.integers(0, len(turned)))] ^= 1 << int(self._rng.integers(0, 8))
        return bytes(turned)

    def _forge(self, datagram: bytes, kept: int = 20) -> bytes:
        """The first bytes of a true datagram, as long as it was, with content of the attacker."""
        head = datagram[:kept]
        return head + self._rng.bytes(len(datagram) - len(head))
