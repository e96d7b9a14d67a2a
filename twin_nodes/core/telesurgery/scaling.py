"""Motion scaling from the measured delay: slower hands for slower links, with hysteresis and dwell, never a step."""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.compensation_config import ScalingConfig


class MotionScaler:
    """The scale of now; it applies to the change of the hand, so a new scale moves nothing.

    Args:
        config: Scales by delay.
    """

    def __init__(self, config: ScalingConfig) -> None:
        self._config = config
        self._changed_ns: int | None = None
        self.scale = 1.0
        self.changes = 0

    def _wanted(self, delay: float) -> float:
        config = self._config
        if delay > config.pause_above:
            return 0.0
        share = min(max((delay - config.start) / (config.end - config.start), 0.0), 1.0)
        return 1.0 - share * (1.0 - config.least)

    def update(self, now_ns: int, delay: float) -> float:
        """Return the scale for a measured round trip [s]."""
        config = self._config
        if self._changed_ns is not None and now_ns - self._changed_ns < config.dwell * NANOSECONDS:
            return self.scale
        wanted = self._wanted(delay)
        if wanted > self.scale:  # back up only when the delay has fallen clearly
            wanted = max(self._wanted(delay * (1.0 + config.hysteresis)), self.scale)
        if abs(wanted - self.scale) >= config.step or (wanted in (0.0, 1.0) and wanted != self.scale):
            self.scale, self._changed_ns = wanted, now_ns
            self.changes += 1
        return self.scale
