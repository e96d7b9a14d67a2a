"""Where in a recording the page is: plays, pauses, seeks, at any speed. Told the time, reads no clock."""

from twin_nodes.core.errors import ConfigError

SLOWEST, FASTEST = 0.05, 20.0


class Playback:
    """A position that moves through a span.

    Args:
        start_ns: First instant of the recording.
        end_ns: Last instant.
        rate: Speed relative to the recording.
        playing: Whether it moves.

    Raises:
        ConfigError: for a span or a speed that is none.
    """

    def __init__(self, start_ns: int, end_ns: int, *, rate: float = 1.0, playing: bool = True) -> None:
        if end_ns < start_ns:
            raise ConfigError(f'a recording cannot end at {end_ns} ns, before its start at {start_ns} ns')
        self.start_ns, self.end_ns = start_ns, end_ns
        self.position_ns = start_ns
        self.playing = playing
        self.set_rate(rate)

    @property
    def seconds(self) -> float:
        """The position since the start [s]."""
        return (self.position_ns - self.start_ns) / 1e9

    @property
    def duration_s(self) -> float:
        """Length of the recording [s]."""
        return (self.end_ns - self.start_ns) / 1e9

    def set_rate(self, rate: float) -> None:
        """Play at another speed from here.

        Raises:
            ConfigError: outside of the bounds.
        """
        if not SLOWEST <= rate <= FASTEST:
            raise ConfigError(f'rate={rate:g} must be between {SLOWEST:g} and {FASTEST:g}')
        self.rate = rate

    def advance(self, elapsed_ns: int) -> int:
        """Move on by so much real time and return the position; it stands at the end."""
        if self.playing and elapsed_ns > 0:
            self.position_ns = min(self.position_ns + round(elapsed_ns * self.rate), self.end_ns)
            self.playing = self.position_ns < self.end_ns
        return self.position_ns

    def hold(self, reached_ns: int) -> None:
        """Fall back to what could be read in time: the page then lags, and skips nothing."""
        if self.start_ns <= reached_ns < self.position_ns:
            self.playing = self.playing or self.position_ns == self.end_ns
            self.position_ns = reached_ns

    def seek(self, seconds: float) -> int:
        """Go to a time since the start [s], at most to either end, and return the position."""
        wanted_ns = self.start_ns + round(1e9 * min(max(seconds, 0.0), self.duration_s))
        self.position_ns = wanted_ns
        return wanted_ns

    def toggle(self) -> None:
        """Play or pause; at the end play from the start."""
        if not self.playing and self.position_ns >= self.end_ns:
            self.position_ns = self.start_ns
        self.playing = not self.playing
