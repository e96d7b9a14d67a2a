"""Rate and jitter of a stream of stamps, in constant memory."""

from dataclasses import dataclass

from twin_nodes.core.config import setting
from twin_nodes.core.stamps import NANOSECONDS


@dataclass(frozen=True)
class RateConfig:
    """Settings of the rate reporter."""

    window: int = setting('Intervals over which rate and jitter are taken.', 128, minimum=8, maximum=65536)
    gap_factor: float = setting('An interval longer than this many usual ones is a gap.', 2.5, minimum=1.1)


@dataclass(frozen=True, slots=True)
class RateReport:
    """The state of a stream.

    Args:
        rate_hz: Median rate over the window; 0 with fewer than two stamps.
        jitter_rms_s: RMS deviation of the stamps from even spacing, by their intervals [s]; gaps left out.
        gaps: Intervals longer than `gap_factor` usual ones, since the start.
        backward: Stamps that did not advance, since the start; they are counted, not used.
        samples: Stamps seen.
    """

    rate_hz: float
    jitter_rms_s: float
    gaps: int
    backward: int
    samples: int


class RateMeter:
    """Reports rate and jitter of the stamps it is told.

    Args:
        config: Settings.
    """

    def __init__(self, config: RateConfig | None = None) -> None:
        self.config = config or RateConfig()
        self._intervals = [0] * self.config.window
        self._filled = 0
        self._next = 0
        self._last_ns = 0
        self._samples = 0
        self._gaps = 0
        self._backward = 0
        self._usual_ns = 0

    def add(self, stamp_ns: int) -> None:
        """Take the next stamp."""
        self._samples += 1
        if self._samples == 1:
            self._last_ns = stamp_ns
            return
        interval = stamp_ns - self._last_ns
        if interval <= 0:
            self._backward += 1
            return
        self._last_ns = stamp_ns
        if self._usual_ns and interval > self.config.gap_factor * self._usual_ns:
            self._gaps += 1
        self._intervals[self._next] = interval
        self._next = (self._next + 1) % self.config.window
        self._filled = min(self._filled + 1, self.config.window)
        if self._filled == 8 or self._next % 8 == 0:
            self._usual_ns = self._median()

    def report(self) -> RateReport:
        """Return rate, jitter and counts."""
        usual = self._median()
        if usual == 0:
            return RateReport(0.0, 0.0, self._gaps, self._backward, self._samples)
        limit = self.config.gap_factor * usual
        kept = [interval for interval in self._intervals[: self._filled] if interval <= limit]
        mean = sum(kept) / len(kept)
        # stamps with independent jitter s have intervals of variance 2 s²
        jitter = (sum((interval - mean) ** 2 for interval in kept) / len(kept) / 2.0) ** 0.5
        return RateReport(NANOSECONDS / usual, jitter / NANOSECONDS, self._gaps, self._backward, self._samples)

    def reset(self) -> None:
        """Forget everything, for a source that starts again."""
        self.__init__(self.config)  # type: ignore[misc]

    def _median(self) -> int:
        kept = sorted(self._intervals[: self._filled])
        return kept[len(kept) // 2] if kept else 0
