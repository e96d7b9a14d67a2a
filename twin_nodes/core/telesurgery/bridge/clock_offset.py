"""The offset between the monotonic clocks of two sites, with the interval that no asymmetry can leave.

Each probe bounds the offset θ = theirs − ours from one side, because no datagram arrives before it was sent: a probe
from them gives θ ≥ sent − arrived, one from us that they echo gives θ ≤ arrived there − sent. The largest lower and
the least upper bound of a window are the min-filter of NTP for each way by itself; the middle is its estimate, and half
of what is between them, half of the smallest round trip, is the most that asymmetric delays can make it wrong.
"""

import math
from collections import deque
from dataclasses import dataclass

_SLEW = 1e-3  # of the offset that is used, towards the middle [s/s]
_LONGEST_STEP_NS = 100_000_000  # between two uses that counts for it


@dataclass(frozen=True, slots=True)
class Offset:
    """Clock of the other site minus ours.

    Args:
        offset_ns: The middle.
        low_ns: It is not below this.
        high_ns: It is not above this.
        round_trip_ns: The newest round trip.
    """

    offset_ns: int
    low_ns: int
    high_ns: int
    round_trip_ns: int


class _Extreme:
    """The largest of a sliding window, each value falling with its age by the skew; O(1) per value."""

    def __init__(self, window_ns: int, skew: float) -> None:
        self._window_ns = window_ns
        self._skew = skew
        self._items: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, value: int) -> None:
        while self._items and self._aged(self._items[-1], now_ns) <= value:
            self._items.pop()
        self._items.append((now_ns, value))
        while self._items[0][0] < now_ns - self._window_ns:
            self._items.popleft()

    def at(self, now_ns: int) -> int | None:
        return self._aged(self._items[0], now_ns) if self._items else None

    def _aged(self, item: tuple[int, int], now_ns: int) -> int:
        return item[1] - round(self._skew * (now_ns - item[0]))


class SteadyOffset:
    """The offset that stamps are carried over with: two monotonic clocks do not jump, so it does not either.

    The middle of the interval moves by tens of milliseconds on a link whose delays do; stamps that moved with it would
    change places. This one goes to the middle slowly, and to a bound at once where the interval leaves it.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._at_ns = 0

    def follow(self, found: Offset | None, now_ns: int) -> int | None:
        """Return the offset to use [ns], None before the first.

        Args:
            found: What is known.
            now_ns: Our clock.
        """
        if found is not None:
            if self._offset_ns is None:
                self._offset_ns = found.offset_ns
            most = round(_SLEW * min(now_ns - self._at_ns, _LONGEST_STEP_NS))
            nearer = self._offset_ns + min(max(found.offset_ns - self._offset_ns, -most), most)
            self._offset_ns = min(max(nearer, found.low_ns), found.high_ns)
            self._at_ns = now_ns
        return self._offset_ns


class ClockOffset:
    """Bounds the offset.

    Args:
        window: Span that counts [s].
        max_skew_ppm: Largest rate error between both clocks; old bounds are widened by it.
    """

    def __init__(self, *, window: float = 5.0, max_skew_ppm: float = 200.0) -> None:
        self._arguments = (round(window * 1e9), max_skew_ppm * 1e-6)
        self.reset()

    def reset(self) -> None:
        """Forget everything, for a peer that began anew."""
        self._low, self._minus_high = _Extreme(*self._arguments), _Extreme(*self._arguments)
        self._round_trip_ns = 0

    def add(self, *, sent_ns: int, arrived_ns: int, echo_ns: int = 0, hold_ns: int = 0) -> None:
        """Take a probe.

        Args:
            sent_ns: Their clock when it was sent.
            arrived_ns: Our clock when it arrived.
            echo_ns: Our clock when the probe that it echoes was sent; 0 for none.
            hold_ns: How long they had that one.
        """
        # the bounds hold at the instants of the other site, by the length of the exchange before the arrival
        drift_ns = math.ceil(self._arguments[1] * (arrived_ns - echo_ns)) if echo_ns > 0 else 0
        self._low.add(arrived_ns, sent_ns - arrived_ns - drift_ns)
        if echo_ns > 0:
            self._minus_high.add(arrived_ns, echo_ns - (sent_ns - hold_ns) - drift_ns)
            self._round_trip_ns = arrived_ns - echo_ns - hold_ns

    def estimate(self, now_ns: int) -> Offset | None:
        """Return the offset as of now_ns (our clock), or None before the first round trip."""
        low, minus_high = self._low.at(now_ns), self._minus_high.at(now_ns)
        if low is None or minus_high is None:
            return None
        high = -minus_high
        if low > high:  # the clocks part faster than max_skew_ppm says, by this little
            low, high = high, low
        return Offset((low + high) // 2, low, high, self._round_trip_ns)
