"""How late the advice is, so that the prediction bridges it."""

from twin_nodes.core.guidance.advisor import Advisor
from twin_nodes.core.guidance.prediction.config import PredictionConfig
from twin_nodes.core.guidance.prediction.latency import LatencyEstimate
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.health import OK, WARN, Health

_EVERY = 8  # poses between two looks at it


class AdviceLatency:
    """Measures the time from the stamp of a pose to its advice, hands it to the advisor and says it.

    Args:
        health: Where it is said.
        advisor: Looks so much further ahead.
        config: Whether it is measured, and the most that is bridged.
    """

    def __init__(self, health: Health, advisor: Advisor, config: PredictionConfig) -> None:
        self._health, self._advisor, self._config = health, advisor, config
        self._estimate = LatencyEstimate(config.max_ahead)

    def reset(self) -> None:
        """Forget what was measured, after a jump of the clock."""
        self._estimate.reset()

    def measure(self, stamp_ns: int, now_ns: int | None) -> None:
        """Take in that the advice for a stamp is given now; None in a replay, which bridges what its settings say."""
        if now_ns is None or not self._config.measure_latency:
            return
        self._estimate.add((now_ns - stamp_ns) / NANOSECONDS)
        if self._estimate.count % _EVERY:
            return
        latency = self._estimate.seconds
        self._advisor.set_latency(0.0 if latency is None else latency)
        if latency is None:
            limit = self._config.max_ahead
            text = f'poses are more than {limit:g} s old: the advice is of the time of measurement, not of now'
            self._health.set('latency', WARN, 'LATENCY_TOO_LONG', text)
            return
        lag = self._advisor.lag
        follows = '' if lag is None else f'; the tool follows its set point after {1e3 * lag:.0f} ms'
        self._health.set('latency', OK, 'OK', f'advice looks {1e3 * self._advisor.ahead:.0f} ms ahead{follows}')
