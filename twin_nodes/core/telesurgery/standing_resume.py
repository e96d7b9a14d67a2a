"""The operator's resume given ahead: `follow` lets the robot go on by itself after short silences, within bounds.

On a link that delivers in spells (delays kept in order, a radio that fades) the robot stands again and again for parts
of a second, and a request for each silence comes when the next one has begun. `follow` is one request that stands. It
is the operator's: given by name, seen in the mode, ended by any other request. It lapses by itself when the robot has
stood for longer than `follow_gap`, when twin and reality part, when the follower itself was stopped, and when what
waits has a hole, is of another session, or begins elsewhere than where the robot stands.
"""

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.modes import Mode

_STANDS = (Mode.OUTAGE, Mode.HOLD)


class StandingResume:
    """Whether a `follow` stands.

    Args:
        gap: How long the robot may have stood [s].
    """

    def __init__(self, gap: float) -> None:
        self._gap_ns = round(gap * NANOSECONDS)
        self._since_ns: int | None = None  # given, or since when the robot has stood, whichever is later
        self._stood = False
        self.lapses = 0

    @property
    def stands(self) -> bool:
        """Whether it does."""
        return self._since_ns is not None

    def ask(self, request: str, now_ns: int, *, served: bool) -> None:
        """Take in the operator's newest request: `follow` gives it where it can be served, any other ends it.

        Args:
            request: What he asks for.
            now_ns: Monotonic time [ns].
            served: Whether a replay could begin now, as far as twin and buffer go.
        """
        if request:
            self._since_ns = now_ns if request == 'follow' and served else None

    def lapse(self) -> None:
        """End it for good; only the operator gives it again."""
        self.lapses += self.stands
        self._since_ns = None

    def watch(self, now_ns: int, mode: Mode, silence_ns: int, *, served: bool) -> None:
        """Let it lapse where its bounds are left; call it in every tick.

        Args:
            now_ns: Monotonic time [ns].
            mode: Mode of the tick before.
            silence_ns: Time since the last valid command [ns].
            served: Whether a replay could begin now, as far as twin and buffer go.
        """
        if self._since_ns is None:
            return
        standing = mode in _STANDS
        if standing and not self._stood:
            self._since_ns = max(self._since_ns, now_ns - silence_ns)
        self._stood = standing
        if not served or (standing and now_ns - self._since_ns > self._gap_ns):
            self.lapse()
