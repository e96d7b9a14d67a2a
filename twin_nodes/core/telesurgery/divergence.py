"""Whether twin and reality are one: the distance between what the twin shows and what is measured, with hysteresis."""

import math

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.compensation_config import DivergenceConfig


class DivergenceMonitor:
    """Parts at once, agrees again only after a dwell.

    Args:
        config: Tolerance and dwell.
    """

    def __init__(self, config: DivergenceConfig) -> None:
        self._config = config
        self._close_since_ns: int | None = None
        self.agrees = True
        self.distance = 0.0
        self.partings = 0

    def update(self, now_ns: int, distance: float) -> bool:
        """Take in the largest distance of the twin's points from the measured ones [m]; NaN means not known: parted."""
        self.distance = distance
        if not math.isfinite(distance) or distance > self._config.tolerance:
            self.partings += self.agrees
            self.agrees, self._close_since_ns = False, None
        elif not self.agrees:
            if distance > self._config.agree_share * self._config.tolerance:
                self._close_since_ns = None
            elif self._close_since_ns is None:
                self._close_since_ns = now_ns
            elif now_ns - self._close_since_ns >= self._config.dwell * NANOSECONDS:
                self.agrees = True
        return self.agrees
