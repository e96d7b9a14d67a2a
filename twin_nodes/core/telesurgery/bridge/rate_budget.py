"""How much of the link the commands may take: less while a queue stands, slowly more when there is none."""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import RedundancyConfig

_WAIT_NS = 700_000_000  # a queue takes a round trip and its own length to be seen to shrink
_QUIET_NS = 10 * NANOSECONDS
_LEAST_BPS = 50_000.0
_TRIES = 3
_OVERFLOW = 0.05  # a full queue drops


class RateBudget:
    """Multiplicative decrease on the standing queue that the other site measures, slow increase without one.

    Losses do not count: on the links of surgery they come from the air, and fewer copies would only make them worse.

    Args:
        config: The largest rate and the queue that is too long.
    """

    def __init__(self, config: RedundancyConfig) -> None:
        self._config = config
        self.bps = config.max_bps
        self._cut_ns: int | None = None
        self._rise_ns = 0
        self._cuts = 0
        self._not_ours = False
        self._first_queue_s = 0.0
        self._first_bps = self.bps

    def update(self, queue_s: float, loss: float, now_ns: int) -> float:
        """Take a report and return the budget [bit/s].

        Args:
            queue_s: Standing queue [s].
            loss: Share of datagrams lost.
            now_ns: Our monotonic clock.
        """
        if queue_s > self._config.queue:
            if not self._not_ours and (self._cut_ns is None or now_ns - self._cut_ns > _WAIT_NS):
                self._cut(queue_s, loss, now_ns)
            self._rise_ns = now_ns
        elif self._cuts or self._not_ours:
            self._cuts, self._not_ours = 0, False
        elif now_ns - self._rise_ns > _QUIET_NS:
            self.bps, self._rise_ns = min(1.1 * self.bps, self._config.max_bps), now_ns
        return self.bps

    def _cut(self, queue_s: float, loss: float, now_ns: int) -> None:
        if self._cuts == 0:
            self._first_queue_s, self._first_bps = queue_s, self.bps
        stands_still = abs(queue_s - self._first_queue_s) < 0.2 * self._first_queue_s
        useless = stands_still and loss < _OVERFLOW
        if self._cuts >= _TRIES and useless:  # a longer path or the traffic of others: sending less does not help
            self.bps, self._not_ours = self._first_bps, True
            return
        self._cuts += 1
        self.bps, self._cut_ns = max(0.7 * self.bps, _LEAST_BPS), now_ns
