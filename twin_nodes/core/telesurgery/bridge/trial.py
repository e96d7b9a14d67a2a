"""Two sites and an emulated link in simulated time: what the bridge does with a network, bit-repeatable."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.records import POSE
from twin_nodes.core.telesurgery.bridge.site import Due, Site
from twin_nodes.core.telesurgery.link.attack import Attacker
from twin_nodes.core.telesurgery.link.config import AttackConfig
from twin_nodes.core.telesurgery.link.scenario import Link

TOPIC = 'MTMR/servo_cp'
BACK = 'PSM1/measured_cp'
FRAME = 'world'
_COMMAND, _TO_FOLLOWER, _TO_LEADER, _WAKE = range(4)


@dataclass
class TrialResult:
    """What came of the commands of a trial.

    Args:
        sent_ns: When each command was given, shape (n,).
        played_ns: When each was published at the other site, -1 for never, shape (n,).
        transits_ns: Network delay of each datagram that arrived with commands, shape (m,).
        sizes: Bytes of each datagram with commands.
        leader: The site that sent them.
        follower: The site that played them.
        order_kept: Whether no command was played after a newer one.
    """

    sent_ns: NDArray[np.int64]
    played_ns: NDArray[np.int64]
    transits_ns: NDArray[np.int64]
    sizes: list[int]
    leader: Site
    follower: Site
    order_kept: bool

    def residual_loss(self, *, after_s: float = 0.0, before_s: float = 1.0) -> float:
        """Return the share of commands never played, without the first and last moments [s]."""
        span = (self.sent_ns >= self.sent_ns[0] + round(after_s * NANOSECONDS)) & (
            self.sent_ns <= self.sent_ns[-1] - round(before_s * NANOSECONDS)
        )
        return float(np.mean(self.played_ns[span] < 0))

    def added_delay_s(self, *, after_s: float = 0.0) -> NDArray[np.float64]:
        """Return the delay of each played command beyond the median of the network [s], shape (k,)."""
        span = (self.sent_ns >= self.sent_ns[0] + round(after_s * NANOSECONDS)) & (self.played_ns >= 0)
        whole = (self.played_ns[span] - self.sent_ns[span]) / NANOSECONDS
        return np.asarray(whole - float(np.median(self.transits_ns)) / NANOSECONDS)


@dataclass
class _Run:
    link: Link
    leader: Site
    follower: Site
    attackers: tuple[Attacker, Attacker]
    events: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    number: int = 0
    waking: set[int] = field(default_factory=set)

    def at(self, t_ns: int, what: int, datagram: bytes = b'') -> None:
        self.number += 1
        heapq.heappush(self.events, (t_ns, self.number, what, datagram))

    def send(self, t_ns: int, datagrams: Sequence[bytes], what: int) -> None:
        direction = self.link.forward if what == _TO_FOLLOWER else self.link.backward
        attacker = self.attackers[0 if what == _TO_FOLLOWER else 1]
        for datagram in datagrams:
            for arrival in direction.send(t_ns, len(datagram)):
                for changed in attacker.act(datagram):
                    self.at(arrival, what, changed)


def run_trial(
    link: Link,
    *,
    seconds: float,
    rate_hz: float = 200.0,
    leader: BridgeConfig | None = None,
    follower: BridgeConfig | None = None,
    seed: int = 0,
    tap: Callable[[int, int, bytes], None] | None = None,
    on_due: Callable[[int, Due], None] | None = None,
) -> TrialResult:
    """Send commands through a link for some time and see what is played at the other site.

    Args:
        link: The link; its attack settings are followed.
        seconds: How long commands are given.
        rate_hz: How often.
        leader: Settings of the site that gives them.
        follower: Settings of the site that plays them.
        seed: Seed of keys and nonces.
        tap: Called with time, direction (1 to the follower) and bytes of what arrives.
        on_due: Called with time and command when one is played.
    """
    rng = np.random.default_rng(seed)
    key = rng.bytes(32)
    sites = (
        Site(leader or BridgeConfig('leader'), key, outgoing=[TOPIC], incoming=[BACK], entropy=rng.bytes),
        Site(follower or BridgeConfig('follower'), key, outgoing=[BACK], incoming=[TOPIC], entropy=rng.bytes),
    )
    attack: AttackConfig = link.scenario.config.attack
    run = _Run(link, *sites, (Attacker(attack, seed=link.seed), Attacker(attack, seed=link.seed, direction=1)))
    start_ns = round(2.0 * _round_trip_s(link) * NANOSECONDS) + NANOSECONDS
    count = round(seconds * rate_hz)
    sent_ns = start_ns + np.round(np.arange(count) * NANOSECONDS / rate_hz).astype(np.int64)
    played_ns = np.full(count, -1, dtype=np.int64)
    for t_ns in sent_ns.tolist():
        run.at(t_ns, _COMMAND)
    run.at(0, _WAKE)
    return _play(run, sent_ns, played_ns, tap, on_due)


def _round_trip_s(link: Link) -> float:
    config = link.scenario.config
    return config.forward.delay.base + config.backward.delay.base + 0.2


def _play(
    run: _Run,
    sent_ns: NDArray[np.int64],
    played_ns: NDArray[np.int64],
    tap: Callable[[int, int, bytes], None] | None,
    on_due: Callable[[int, Due], None] | None,
) -> TrialResult:
    transits: list[int] = []
    sizes: list[int] = []
    end_ns = int(sent_ns[-1]) + 5 * NANOSECONDS
    given, last, order_kept = 0, -1, True
    while run.events and run.events[0][0] <= end_ns:
        t_ns, _, what, datagram = heapq.heappop(run.events)
        if what == _COMMAND:
            values = (0.001 * given, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
            made = run.leader.offer(TOPIC, values, kind=POSE, counts=(7, 0, 0), label=FRAME, age_ns=0, now_ns=t_ns)
            if made is not None:
                sizes.append(len(made))
                arrivals = run.link.forward.send(t_ns, len(made))
                transits += [arrival - t_ns for arrival in arrivals]
                for arrival in arrivals:
                    for changed in run.attackers[0].act(made):
                        run.at(arrival, _TO_FOLLOWER, changed)
            given += 1
        elif what == _TO_FOLLOWER:
            if tap is not None:
                tap(t_ns, what, datagram)
            run.send(t_ns, run.follower.receive(datagram, t_ns), _TO_LEADER)
        elif what == _TO_LEADER:
            run.send(t_ns, run.leader.receive(datagram, t_ns), _TO_FOLLOWER)
        else:
            run.waking.discard(t_ns)
        run.send(t_ns, run.leader.tick(t_ns), _TO_FOLLOWER)
        run.send(t_ns, run.follower.tick(t_ns), _TO_LEADER)
        for due in run.follower.due(t_ns):
            index = round(due.played.command.values[0] / 0.001)
            order_kept = order_kept and index > last
            last = index
            played_ns[index] = t_ns
            if on_due is not None:
                on_due(t_ns, due)
        wake = max(min(run.follower.next_ns(), run.leader.next_ns()), t_ns + 1)
        if wake not in run.waking:
            run.waking.add(wake)
            run.at(wake, _WAKE)
    return TrialResult(sent_ns, played_ns, np.array(transits), sizes, run.leader, run.follower, order_kept)
