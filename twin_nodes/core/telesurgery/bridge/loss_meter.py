"""What the link loses, from the counters of the datagrams that came, and how many copies mend it."""

import math
from collections import deque
from dataclasses import dataclass

REORDER = 128  # a counter this far behind the newest is lost
HISTORY = 4000
OUTAGE_S = 0.3  # a gap longer than this is an outage: no redundancy bridges it, so it does not count


@dataclass(frozen=True, slots=True)
class LossEstimate:
    """What is lost.

    Args:
        loss: Share of datagrams, outages left out.
        burst_s: Mean length of the gaps [s], 0 for none.
        rate_hz: Datagrams sent per second.
        known: Whether enough was seen.
    """

    loss: float
    burst_s: float
    rate_hz: float
    known: bool


class LossMeter:
    """Follows the counters of one session."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, for a new session."""
        self._waiting: set[int] = set()
        self._final = 0  # counters below this are decided
        self._newest = -1
        self._runs: deque[tuple[int, int]] = deque()  # (got, then lost) in turn
        self._got = 0
        self._total = 0
        self._marks: deque[tuple[int, int]] = deque(maxlen=64)  # (time, newest counter)

    def add(self, counter: int, now_ns: int) -> None:
        """Take the counter of an authentic datagram."""
        if self._newest < 0:
            self._final = counter
        if counter >= self._final:  # else it was given up already
            self._waiting.add(counter)
        if counter > self._newest:
            self._newest = counter
            if not self._marks or now_ns - self._marks[-1][0] > 100_000_000:
                self._marks.append((now_ns, counter))
        limit = self._newest - REORDER
        if limit > self._final + HISTORY:  # a gap too long to step through: an outage
            self._waiting = {each for each in self._waiting if each >= limit}
            self._final = limit
        while self._final < limit:
            self._decide()

    def _decide(self) -> None:
        if self._final in self._waiting:
            self._waiting.discard(self._final)
            self._got += 1
            self._final += 1
            if self._got >= 50:  # a long run of luck is told in parts, so that the window slides
                self._close(0)
            return
        lost = 0
        while self._final not in self._waiting:
            lost += 1
            self._final += 1
            if self._final > self._newest:
                break
        if lost > OUTAGE_S * max(self._rate(), 1.0):
            lost = 0
        self._close(lost)

    def _close(self, lost: int) -> None:
        self._runs.append((self._got, lost))
        self._total += self._got + lost
        self._got = 0
        while self._total > HISTORY and len(self._runs) > 1:
            self._total -= sum(self._runs.popleft())

    def _rate(self) -> float:
        if len(self._marks) < 2:
            return 0.0
        (t0, first), (t1, last) = self._marks[0], self._marks[-1]
        return (last - first) / ((t1 - t0) * 1e-9) if t1 > t0 else 0.0

    def estimate(self) -> LossEstimate:
        """Return what is lost over the last HISTORY datagrams."""
        losses = [lost for _, lost in self._runs if lost]
        rate = self._rate()
        total = self._total + self._got
        loss = sum(losses) / total if total else 0.0
        burst = sum(losses) / len(losses) / rate if losses and rate > 0.0 else 0.0
        return LossEstimate(loss, burst, rate, total >= 400 and rate > 0.0)


def copies_needed(loss: float, burst_s: float, *, period_s: float, rate_hz: float, target: float) -> int:
    """Return the least K with L c^(K-1) ≤ target, where c is the chance that a gap lasts one period more.

    Gaps are taken as geometric in time (Gilbert-Elliott): with a mean of b datagrams one goes on with 1 - 1/b, but not
    less likely than the loss itself, which is what independent losses do.
    """
    if loss <= target:
        return 1
    mean = max(burst_s * rate_hz, 1.0)
    per_datagram = min(max(1.0 - 1.0 / mean, loss), 1.0 - 1e-9)
    per_period = per_datagram ** max(period_s * rate_hz, 1.0)
    return 1 + math.ceil(math.log(target / loss) / math.log(per_period) - 1e-9)
