"""The bottleneck of a link: a rate, or a mahimahi trace, behind a queue that drops what does not fit (drop-tail)."""

from collections import deque

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.config import BandwidthConfig
from twin_nodes.core.telesurgery.link.trace import MAHIMAHI_BYTES, Opportunities


class Bottleneck:
    """Queue and rate of one direction.

    Args:
        config: Rate and queue.
        opportunities: A mahimahi trace in place of the rate.
    """

    def __init__(self, config: BandwidthConfig, opportunities: Opportunities | None = None) -> None:
        self._config = config
        self._trace = opportunities
        self._waiting: deque[tuple[int, int]] = deque()  # leaves at [ns], bytes
        self._backlog = 0
        self._free_ns = 0
        self._next = 0  # opportunity that is being used
        self._room = 0  # bytes left in it

    @property
    def backlog_bytes(self) -> int:
        """Bytes in the queue at the last packet."""
        return self._backlog

    def leave(self, t_ns: int, size: int) -> int | None:
        """Return when a packet of `size` bytes that enters at t_ns has left [ns], or None when it found no room."""
        size += self._config.overhead_bytes
        while self._waiting and self._waiting[0][0] <= t_ns:
            self._backlog -= self._waiting.popleft()[1]
        if self._backlog + size > self._config.queue_bytes:
            return None
        leaves = self._by_trace(t_ns, size) if self._trace is not None else self._by_rate(t_ns, size)
        self._waiting.append((leaves, size))
        self._backlog += size
        return leaves

    def _by_rate(self, t_ns: int, size: int) -> int:
        self._free_ns = max(self._free_ns, t_ns) + round(8 * size * NANOSECONDS / self._config.rate_bps)
        return self._free_ns

    def _by_trace(self, t_ns: int, size: int) -> int:
        assert self._trace is not None
        first = self._trace.first_at(t_ns)
        if first > self._next or (first == self._next and not self._waiting):
            self._next, self._room = first, MAHIMAHI_BYTES
        while size > self._room:
            size -= self._room
            self._next, self._room = self._next + 1, MAHIMAHI_BYTES
        self._room -= size
        return max(self._trace.time_ns(self._next), t_ns)
