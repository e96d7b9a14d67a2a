"""What runs for hours holds no more than after its first seconds: the bridge, and both sides of the compensation."""

import gc
import math
import types
from collections import Counter
from dataclasses import replace
from statistics import median_low

import numpy as np
import pytest
from compensated_link import Pair
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.telesurgery import guard, reception
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.records import POSE
from twin_nodes.core.telesurgery.bridge.site import Site
from twin_nodes.core.telesurgery.bridge.transits import Transits
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig

TO, BACK = 'MTMR/servo_cp', 'PSM1/measured_cp'
SKIPPED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def _held(root):
    """Count what can be reached from an object, by type."""
    seen, found, waiting = set(), Counter(), [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, SKIPPED):
            continue
        seen.add(id(one))
        found[type(one).__name__] += 1
        waiting += gc.get_referents(one)
    return found


class _Pair:
    """Two sites over a link of 20 to 60 ms that loses a datagram in twenty, in simulated time."""

    def __init__(self):
        self.rng = np.random.default_rng(4)
        key = self.rng.bytes(32)
        ways = (('leader', TO, BACK), ('follower', BACK, TO))
        self.sites = [
            Site(BridgeConfig(role), key, outgoing=[out], incoming=[come], entropy=self.rng.bytes)
            for role, out, come in ways
        ]
        self.on_way = [[], []]
        self.now_ns, self.played = 10**9, 0

    def run(self, ticks):
        for _ in range(ticks):
            self.now_ns += 5_000_000
            for number, (site, topic) in enumerate(zip(self.sites, (TO, BACK), strict=True)):
                values = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
                made = site.offer(
                    topic, values, kind=POSE, counts=(7, 0, 0), label='world', age_ns=0, now_ns=self.now_ns
                )
                self._send(number, [*site.tick(self.now_ns), *([made] if made else [])])
                self._take(number)
                self.played += len(site.due(self.now_ns))
                site.state(self.now_ns)

    def _send(self, number, datagrams):
        for datagram in datagrams:
            if self.rng.random() > 0.05:
                delay_ns = int(self.rng.uniform(20e6, 60e6))
                self.on_way[1 - number].append((self.now_ns + delay_ns, datagram))

    def _take(self, number):
        come = sorted(each for each in self.on_way[number] if each[0] <= self.now_ns)
        self.on_way[number] = [each for each in self.on_way[number] if each[0] > self.now_ns]
        for at_ns, datagram in come:
            self._send(number, self.sites[number].receive(datagram, at_ns))


def test_a_bridge_holds_no_more_after_minutes_than_after_its_first_seconds():
    pair = _Pair()
    pair.run(2600)  # the windows of ten seconds are full
    before = [_held(site) for site in pair.sites]
    pair.run(1600)
    assert pair.played > 8_000
    for site, was in zip(pair.sites, before, strict=True):
        now = _held(site)
        grown = {name: (was[name], count) for name, count in now.items() if count > was[name] + 100}
        assert not grown, f'objects by type, after 13 s and after 21 s: {grown}'
        assert sum(now.values()) < 5000, 'what is kept for seconds lies in flat arrays'
        channel = next(iter(site._incoming.values()))
        assert channel.buffer._first.held < 3 * len(channel.buffer._first)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-(10**12), 10**12)), min_size=1, max_size=60), st.data())
def test_ranks_are_those_of_a_sorted_list(rows, data):
    window, kept, now_ns = Transits(), [], 0
    for step, transit in rows:
        now_ns += step
        window.add(now_ns, transit)
        kept.append((now_ns, transit))
        oldest = now_ns - data.draw(st.integers(0, 200))
        window.drop_before(oldest)
        kept = [each for each in kept if each[0] >= oldest] or kept[-1:]
        ordered = sorted(transit for _, transit in kept)
        assert len(window) == len(kept)
        assert window.least() == ordered[0]
        assert window.rank((len(kept) - 1) // 2) == median_low(ordered)
        assert window.rank(len(kept) - 1) == ordered[-1]


def test_what_is_done_with_does_not_pile_up():
    window = Transits()
    for now_ns in range(20_000):
        window.add(now_ns, -now_ns)
        window.drop_before(now_ns - 99)
    assert len(window) == 100
    assert window.held < 2400
    assert (window.least(), window.rank(99)) == (-19_999, -19_900)


def _hand(seconds):
    return 0.01 * math.sin(seconds), 0.01 * math.cos(seconds), 0.05


@pytest.mark.parametrize('does', ['waits for the first request', 'follows', 'stands'])
def test_both_sides_hold_no_more_than_what_they_keep(does, monkeypatch):
    for module in (guard, reception):  # numbers that are known again: more than this test sends
        monkeypatch.setattr(module, 'MEMORY', 512)
    follower = FollowerConfig()
    follower = replace(follower, playback=replace(follower.playback, keep=3.0))
    pair = Pair(_hand, leader=LeaderConfig(keep=3.0), follower=follower)
    if does != 'waits for the first request':
        pair.connect()
    if does == 'stands':
        pair.leader.request('stop')
    pair.run(8.0)
    before = [_held(pair.leader), _held(pair.follower)]
    pair.run(12.0)
    now = [_held(pair.leader), _held(pair.follower)]
    assert pair.mode == ('connected' if does == 'follows' else 'hold')
    for was, held in zip(before, now, strict=True):
        assert held['Command'] <= was['Command'] + 800, 'commands are let go of some hundreds at a time'
        assert held['Command'] <= 2600
        assert sum(held.values()) <= sum(was.values()) + 10 * 800
