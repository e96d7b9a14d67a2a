"""A leader and a follower with a link of constant delay that tests cut and mend; time goes in ticks of 5 ms."""

import heapq

from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.leader import Leader

TICK = 0.005
START_NS = 1_000_000_000


class Pair:
    """Both sides; `at` runs up to a time, the hand given as a function of time."""

    def __init__(self, hand, *, delay=0.05, follower=None, leader=None, fence=None):
        self.hand = hand
        self.delay_ns = round(delay * 1e9)
        self.leader = Leader(leader or LeaderConfig(), hand(0.0))
        self.follower = Follower(follower or FollowerConfig(), hand(0.0), fence=fence)
        self.up = True
        self.stalls_until = 0.0  # what is sent before arrives then, in order and at once
        self.points = []
        self.said = []
        self.index = 0
        self._wire, self._back, self._count = [], [], 0

    @property
    def now_ns(self):
        return START_NS + round(self.index * TICK * 1e9)

    @property
    def seconds(self):
        return self.index * TICK

    @property
    def mode(self):
        return self.follower.mode.value

    def tick(self):
        now_ns = self.now_ns
        self.leader.command(now_ns, self.hand(self.seconds))
        self.said.append(self.leader.last)
        if self.up:
            self._count += 1
            arrival_ns = max(now_ns + self.delay_ns, START_NS + round(self.stalls_until * 1e9))
            heapq.heappush(self._wire, (arrival_ns, self._count, self.leader.packet()))
        while self._wire and self._wire[0][0] <= now_ns:
            live, backlog = heapq.heappop(self._wire)[2]
            self.follower.receive(live, now_ns, publisher='leader')
            self.follower.receive(backlog, now_ns, publisher='leader', backlog=True)
        point = self.follower.tick(now_ns)
        self.points.append(point)
        if self.up:
            self._count += 1
            heapq.heappush(self._back, (now_ns + self.delay_ns, self._count, self.follower.state(now_ns)))
        while self._back and self._back[0][0] <= now_ns:
            self.leader.feedback(heapq.heappop(self._back)[2], now_ns)
        self.index += 1
        return point

    def run(self, seconds):
        return [self.tick() for _ in range(round(seconds / TICK))]

    def until(self, condition, seconds=10.0):
        for _ in range(round(seconds / TICK)):
            self.tick()
            if condition():
                return
        raise AssertionError(f'not within {seconds} s; mode {self.mode}')

    def connect(self):
        self.until(lambda: self.mode == 'hold')
        self.leader.request('discard')
        self.until(lambda: self.mode == 'connected')
        return self
