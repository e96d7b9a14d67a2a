"""How fast the follower may move the robot: slowly after it stood, then by a bounded acceleration. Told the time."""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.compensation_config import OutageConfig

_LONG_AGO_NS = -(1 << 60)


class SpeedBounds:
    """Bounds of the speed after a return, and of catching up.

    Args:
        config: The speeds.
        max_turn: Largest turning speed of the robot [rad/s].
    """

    def __init__(self, config: OutageConfig, max_turn: float) -> None:
        self._config, self._max_turn = config, max_turn
        self._stood_ns = _LONG_AGO_NS
        self._begun_ns = 0
        self._begun_speed = 0.0

    def stood(self, now_ns: int) -> None:
        """Take note that the robot stood until now [ns]: its first second begins."""
        self._stood_ns = now_ns

    def begin(self, now_ns: int, speed: float) -> None:
        """Let catching up begin now [ns], at a speed [m/s]."""
        self._begun_ns, self._begun_speed = now_ns, speed

    def first_is_over(self, now_ns: int) -> bool:
        """Whether the first second after a return is over."""
        return now_ns - self._stood_ns >= self._config.first_seconds * NANOSECONDS

    def ceiling(self, now_ns: int) -> float:
        """Return the largest speed after a return [m/s], in any mode: small in the first second, then growing."""
        more = (now_ns - self._stood_ns) / NANOSECONDS - self._config.first_seconds
        return self._config.first_speed + self._config.acceleration * max(more, 0.0)

    def catch_up(self, now_ns: int) -> float:
        """Return the largest speed in catch-up [m/s]: begun in motion, it grows from the speed that there was."""
        config, begun = self._config, self._begun_speed
        grown = config.acceleration * (now_ns - self._begun_ns) / NANOSECONDS + max(config.first_speed, begun)
        return min(grown, max(config.replay_speed, begun), self.ceiling(now_ns))

    def turn(self, speed: float) -> float:
        """Return the largest turning speed [rad/s] where the speed is bounded [m/s]; it grows as that does."""
        return min(self._config.first_turn * speed / self._config.first_speed, self._max_turn)
