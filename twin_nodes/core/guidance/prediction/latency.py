"""The time from measurement to advice, from the stamps of what was advised."""

from collections import deque

import numpy as np

_KEPT = 64
_SHARE = 75.0  # a tool that is early is farther from harm than one that is late


class LatencyEstimate:
    """Upper quartile of the last latencies.

    Args:
        longest: Beyond this the source is no live one, or its clock is wrong: no latency is told then [s].
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._seen: deque[float] = deque(maxlen=_KEPT)
        self.count = 0

    def reset(self) -> None:
        """Forget all, as after a jump of the clock."""
        self._seen.clear()
        self.count = 0

    def add(self, seconds: float) -> None:
        """Take in the time between the stamp of a pose and now; a pose from the future counts as of now."""
        self._seen.append(max(seconds, 0.0))
        self.count += 1

    @property
    def seconds(self) -> float | None:
        """The latency; 0 before the first, None when it is longer than can be bridged."""
        if not self._seen:
            return 0.0
        found = float(np.percentile(self._seen, _SHARE))
        return found if found <= self._longest else None
