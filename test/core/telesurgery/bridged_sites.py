"""Both sides of the compensation with both bridges and an emulated link between them; time goes in ticks of 5 ms.

As the nodes do it: commands, backlog and states are messages of the bridge, stamped by what it knows of the clocks.
"""

import heapq
import math

import numpy as np

from twin_nodes.core.telesurgery.bridge.config import BridgeConfig, PlayoutConfig
from twin_nodes.core.telesurgery.bridge.records import JOINTS
from twin_nodes.core.telesurgery.bridge.site import Site
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.operator.path_error import path_errors

TICK_NS = 5_000_000
START_NS = 10**9
LIVE, BACKLOG, STATE = 'compensation/command_js', 'compensation/backlog_js', 'compensation/state_js'
WHOLE = PlayoutConfig(late='all', late_limit=2.0)  # as follower.launch.xml sets it


def circle(seconds):
    """A hand that goes round at 40 mm/s."""
    return 0.02 * math.cos(2.0 * seconds), 0.02 * math.sin(2.0 * seconds), 0.05


class BridgedSites:
    """Leader and follower over a link; the operator says `follow` when he has seen for 0.3 s that the robot stands."""

    def __init__(self, link, *, playout=WHOLE, follower=None):
        rng = np.random.default_rng(0)
        key, entropy = rng.bytes(32), rng.bytes
        self.link = link
        self.leader = Leader(LeaderConfig(backlog_per_packet=8), circle(0.0))
        self.follower = Follower(follower or FollowerConfig(), circle(0.0))
        far = BridgeConfig('follower', playout=playout)
        self.sites = (
            Site(BridgeConfig('leader'), key, outgoing=[LIVE, BACKLOG], incoming=[STATE], entropy=entropy),
            Site(far, key, outgoing=[STATE], incoming=[LIVE, BACKLOG], entropy=entropy),
        )
        self.said, self.points, self.follows, self.modes = [], [], [], []
        self.asked = self.index = 0
        self._wire, self._kept, self._count = ([], []), {}, 0
        self._waits, self._asked_at = None, -100

    @property
    def now_ns(self):
        return START_NS + self.index * TICK_NS

    def run(self, seconds):
        for _ in range(round(seconds * 200)):
            self._tick()
            self._ask()
            self.index += 1

    def path_error(self):
        """Return root mean square and largest distance [m] from the commanded path, where the robot follows it."""
        steps = np.flatnonzero(self.follows)
        robot = np.array([point.position for point in self.points])
        return path_errors(np.array(self.said), robot[steps], steps)

    def _tick(self):
        now_ns = self.now_ns
        for at in (0, 1):
            self._network(at)
        for state, shift in self._due(0):
            played_ns = state.played_ns + shift if state.played_ns else 0
            self.leader.feedback(state._replace(stamp_ns=state.stamp_ns + shift, played_ns=played_ns), now_ns)
        made = self.leader.command(now_ns, circle(self.index * 0.005))
        self.said.append(made.position)
        self._offer(0, LIVE, (made,))
        _, backlog = self.leader.packet()
        if backlog:
            self._offer(0, BACKLOG, backlog)
        for commands, shift in self._due(1):
            moved = tuple(each._replace(stamp_ns=each.stamp_ns + shift) for each in commands)
            self.follower.receive(moved, now_ns, publisher='bridge', backlog=self._topic == BACKLOG)
        self.points.append(self.follower.tick(now_ns))
        self.follows.append(self.follower.on_path)
        self.modes.append(self.follower.mode.value)
        self._offer(1, STATE, self.follower.state(now_ns))

    def _due(self, at):
        """Give what is due at a site, with what its stamps are carried over by [ns]."""
        for due in self.sites[at].due(self.now_ns):
            content, sent_ns = self._kept[round(due.played.command.values[0])]
            self._topic = due.topic
            yield content, due.stamp_ns - sent_ns

    def _offer(self, at, topic, content):
        self._count += 1
        self._kept[self._count] = (content, self.now_ns)
        values = (float(self._count), *(0.0,) * 9)
        made = self.sites[at].offer(
            topic, values, kind=JOINTS, counts=(10, 0, 0), label='', age_ns=0, now_ns=self.now_ns
        )
        self._send(at, [made] if made is not None else [])

    def _send(self, at, datagrams):
        way = self.link.backward if at else self.link.forward
        for datagram in datagrams:
            for arrival_ns in way.send(self.now_ns - START_NS, len(datagram)):
                self._count += 1
                heapq.heappush(self._wire[1 - at], (arrival_ns + START_NS, self._count, datagram))

    def _network(self, at):
        waiting = self._wire[at]
        while waiting and waiting[0][0] <= self.now_ns:
            arrival_ns, _, datagram = heapq.heappop(waiting)
            self._send(at, self.sites[at].receive(datagram, arrival_ns))
        self._send(at, self.sites[at].tick(self.now_ns))

    def _ask(self):
        state = self.leader.state
        if state is None or state.mode != 'hold':
            self._waits = None
            return
        self._waits = self.index if self._waits is None else self._waits
        if self.index - self._waits >= 60 and self.index - self._asked_at >= 120:
            self._asked_at, self.asked = self.index, self.asked + 1
            self.leader.request('follow')
