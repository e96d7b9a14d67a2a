"""One direction of the simulated link as the bridge uses it: as many copies as the link carries, no more.

The bridge itself is not run here (its seals would cost more than the rest of the trial); what decides is its own:
`RateBudget` on the queue that the other site measures, and strides as in `OutgoingChannel`.
"""

import math
from collections import deque

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import RedundancyConfig
from twin_nodes.core.telesurgery.bridge.rate_budget import RateBudget
from twin_nodes.core.telesurgery.operator.config import STEP

HEAD_BYTES = 92  # frame, seal, IP and UDP
_RECENT_NS = 500_000_000
_LEAST_RISE = 0.002  # seconds a second, as in the jitter buffer


class Wire:
    """Says how much may go with each datagram, and measures the standing queue at the far end.

    Args:
        config: Limits of the bridge.
    """

    def __init__(self, config: RedundancyConfig | None = None) -> None:
        self._config = config or RedundancyConfig()
        self._budget = RateBudget(self._config)
        self._steps = 0
        self._recent: deque[tuple[int, int]] = deque()  # arrival, transit; transits rise (a sliding minimum)
        self._least_ns: float | None = None
        self._seen_ns = 0

    def share(self, item_bytes: int) -> int:
        """Return how many items the datagram of this step may carry, 0 when they go with the next.

        Args:
            item_bytes: Bytes of one item.
        """
        self._steps += 1
        per_step = self._budget.bps * STEP / 8.0
        stride = max(min(math.ceil((HEAD_BYTES + item_bytes) / per_step), self._config.max_stride), 1)
        if int((per_step - HEAD_BYTES) / item_bytes) < self._config.max_stride:
            stride = self._config.max_stride
        if self._steps % stride:
            return 0
        return max(int((per_step * stride - HEAD_BYTES) / item_bytes), stride)

    def arrived(self, sent_ns: int, now_ns: int) -> None:
        """Take in the arrival of a datagram."""
        transit = now_ns - sent_ns
        while self._recent and self._recent[-1][1] >= transit:
            self._recent.pop()
        self._recent.append((now_ns, transit))
        while now_ns - self._recent[0][0] > _RECENT_NS:
            self._recent.popleft()
        risen = math.inf if self._least_ns is None else self._least_ns + _LEAST_RISE * (now_ns - self._seen_ns)
        self._least_ns, self._seen_ns = min(risen, transit), now_ns

    @property
    def queue_s(self) -> float:
        """Standing queue [s]: the least transit of the last half second above the least that was seen."""
        if self._least_ns is None:
            return 0.0
        return max(self._recent[0][1] - self._least_ns, 0.0) / NANOSECONDS

    def reported(self, queue_s: float, loss: float, now_ns: int) -> None:
        """Take the far end's report of its queue [s] and loss."""
        self._budget.update(queue_s, loss, now_ns)
