"""The clock of a site against true time: offset, skew and steps."""

import bisect
from itertools import accumulate

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.config import SiteClockConfig


class SiteClock:
    """What the wall clock of a site shows.

    Args:
        config: Offset, skew, steps.
    """

    def __init__(self, config: SiteClockConfig) -> None:
        self._config = config
        pairs = sorted(zip(config.step_times, config.steps, strict=True))
        self._times = [round(t * NANOSECONDS) for t, _ in pairs]
        self._sums = [0, *accumulate(round(step * NANOSECONDS) for _, step in pairs)]

    def wall_ns(self, t_ns: int) -> int:
        """Return what the wall clock shows [ns] at true time t_ns since the start; it steps."""
        return self.monotonic_ns(t_ns) + self._sums[bisect.bisect_right(self._times, t_ns)]

    def monotonic_ns(self, t_ns: int) -> int:
        """Return what the monotonic clock shows [ns] at true time t_ns; it has the skew, never a step."""
        return t_ns + round(t_ns * self._config.skew_ppm * 1e-6) + round(self._config.offset * NANOSECONDS)
