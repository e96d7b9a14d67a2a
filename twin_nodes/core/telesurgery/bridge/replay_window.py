"""The sliding window against replays (RFC 4303 appendix A2, WireGuard): each counter is taken once."""


class ReplayWindow:
    """Which counters were taken.

    Args:
        size: Counters older than the newest by this or more are refused.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._newest = -1
        self._bits = 0  # bit i: counter newest - i was taken

    @property
    def newest(self) -> int:
        """The largest counter taken, -1 before the first."""
        return self._newest

    def fits(self, counter: int) -> bool:
        """Whether a counter could be taken; ask before the costly check of its seal."""
        behind = self._newest - counter
        return counter >= 0 and (behind < 0 or (behind < self._size and not self._bits >> behind & 1))

    def take(self, counter: int) -> bool:
        """Take a counter whose datagram is authentic; return whether it was new."""
        if not self.fits(counter):
            return False
        ahead = counter - self._newest
        if ahead > 0:
            self._bits = ((self._bits << min(ahead, self._size)) & self._mask) | 1
            self._newest = counter
        else:
            self._bits |= 1 << -ahead
        return True
