"""Simulated kills: a hand moves, one of the parts dies or stalls; how soon does the robot stand."""

import heapq
import math
from dataclasses import dataclass
from itertools import pairwise

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import Command, Vector
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.link.draws import stream
from twin_nodes.core.telesurgery.link.scenario import Link
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.direct import STEP_NS

KINDS = ('leader killed', 'cable cut', 'leader stopped and continued', 'follower stopped and continued')
_BEGINS = 2.0  # the hand rests until the session stands [s]
_STANDS = 5e-4  # m/s
_OUTAGE_NS = 300_000_000  # a shorter silence is not the operator's business


@dataclass(frozen=True)
class Kill:
    """What a kill did.

    Args:
        kind: Which.
        hold_seconds: From the last valid command to standstill [s].
        largest_step: Largest step of the set point from the kill on [m].
        moved_after: Whether the robot moved again without the operator's request.
    """

    kind: str
    hold_seconds: float
    largest_step: float
    moved_after: bool


def _hand(seconds: float, phase: float) -> Vector:
    return (
        0.03 * math.sin(1.7 * seconds + phase),
        0.02 * math.sin(2.3 * seconds + 2.0 * phase),
        0.05 + 0.01 * math.sin(3.1 * seconds),
    )


def kill(link: Link, seed: int, *, follower: FollowerConfig | None = None) -> Kill:
    """Kill one part once; the seed says which and when.

    Args:
        link: The link, fresh.
        seed: Seed of the time and of the kind.
        follower: Settings; the default ones when None.
    """
    rng = stream(seed, 30)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    at = 3.0 + 2.0 * float(rng.random())  # a second of that is the start of the session
    phase = float(rng.uniform(0.0, 2.0 * math.pi))
    out = 0.4 + 1.5 * float(rng.random())
    return _Kill(link, kind, at, out, phase, follower or FollowerConfig()).run()


class _Kill:
    """One run: a second to begin, motion, the kill, and what comes after it; nobody asks to go on."""

    def __init__(self, link: Link, kind: str, at: float, out: float, phase: float, config: FollowerConfig) -> None:
        start = _hand(0.0, phase)
        self.link, self.kind, self.at, self.out, self.phase = link, kind, at, out, phase
        self.leader, self.follower = Leader(LeaderConfig(), start), Follower(config, start)
        self.wire: list[tuple[int, int, tuple[Command, ...]]] = []
        self.number = 0
        self.arrivals: list[int] = []
        self.ticks: list[tuple[int, Vector]] = []

    def run(self) -> Kill:
        for index in range(round((self.at + self.out + 1.5) / STEP)):
            now_ns, seconds = NANOSECONDS + index * STEP_NS, index * STEP
            dead = self.at <= seconds < self.at + self.out
            self._lead(now_ns, seconds, dead)
            if not (dead and self.kind == KINDS[3]):
                self._deliver(now_ns)
                self.ticks.append((now_ns, self.follower.tick(now_ns).position))
        return self._judge()

    def _lead(self, now_ns: int, seconds: float, dead: bool) -> None:
        gone = (self.kind == KINDS[0] and seconds >= self.at) or (self.kind == KINDS[2] and dead)
        if gone:
            return
        if self.follower.mode is Mode.HOLD and seconds < _BEGINS and round(seconds / STEP) % 40 == 0:
            self.leader.request('discard')
        self.leader.command(now_ns, _hand(max(seconds - _BEGINS, 0.0), self.phase))
        live, _ = self.leader.packet()
        if dead and self.kind == KINDS[1]:
            return
        for arrival in self.link.forward.send(now_ns - NANOSECONDS, 64 + 56 * len(live)):
            self.number += 1
            heapq.heappush(self.wire, (arrival + NANOSECONDS, self.number, live))

    def _deliver(self, now_ns: int) -> None:
        while self.wire and self.wire[0][0] <= now_ns:
            if self.follower.receive(heapq.heappop(self.wire)[2], now_ns, publisher=1):
                self.arrivals.append(now_ns)

    def _judge(self) -> Kill:
        """Find the longest silence after the kill, and what the robot did in it and after it."""
        kill_ns = NANOSECONDS + round(self.at * NANOSECONDS)
        heard = [*[t for t in self.arrivals if t >= kill_ns - NANOSECONDS], self.ticks[-1][0]]
        _, last = max((after - before, -before) for before, after in pairwise(heard))
        last = -last
        back = min(t for t in heard if t > last)
        hold, largest, again = 0, 0.0, False
        for (before_ns, before), (now_ns, now) in pairwise(self.ticks):
            if now_ns <= last:
                continue
            moved = math.dist(before, now)
            largest = max(largest, moved)
            if moved >= _STANDS * (now_ns - before_ns) / NANOSECONDS:
                if now_ns < back:
                    hold = now_ns - last
                again = again or (now_ns > back + round(0.1 * NANOSECONDS) and back - last >= _OUTAGE_NS)
        return Kill(self.kind, hold / NANOSECONDS, largest, again)
