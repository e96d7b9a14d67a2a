"""A leader or follower that was started anew: numbers go on, old requests are not taken for new ones."""

from twin_nodes.core.telesurgery.command import FollowerState
from twin_nodes.core.telesurgery.compensation_config import FollowerConfig, LeaderConfig
from twin_nodes.core.telesurgery.follower import Follower
from twin_nodes.core.telesurgery.leader import Leader
from twin_nodes.core.telesurgery.modes import Mode

TICK_NS = 5_000_000
START = (0.0, 0.0, 0.05)
FIRST = 200_000_000_000


class Pair:
    """A leader and a follower side by side, without a link."""

    def __init__(self):
        self.now_ns = 1_000_000_000
        self.leader = Leader(LeaderConfig(), START, first=FIRST)
        self.follower = Follower(FollowerConfig(), START)
        self.hand = [0.0, 0.0, 0.0]
        self.points = []

    def run(self, seconds, *, sends=True, step=0.0):
        for _ in range(round(seconds * 1e9 / TICK_NS)):
            self.now_ns += TICK_NS
            self.hand[0] += step
            made = self.leader.command(self.now_ns, tuple(self.hand))
            if sends:
                self.follower.receive((made,), self.now_ns, publisher='bridge')
            point = self.follower.tick(self.now_ns)
            self.points.append(point.position)
            self.leader.feedback(self.follower.state(self.now_ns), self.now_ns)

    def connect(self):
        self.run(0.5)
        self.leader.request('discard')
        self.run(1.5)
        assert self.follower.mode is Mode.CONNECTED


def test_a_new_follower_takes_no_old_request_for_a_new_one():
    pair = Pair()
    pair.connect()
    stood = pair.points[-1]
    pair.follower = Follower(FollowerConfig(), stood)
    pair.run(2.0, step=2e-5)
    assert pair.follower.mode is Mode.HOLD
    assert pair.points[-1] == stood
    pair.leader.request('discard')
    pair.run(3.0)
    assert pair.follower.mode in (Mode.CONNECTED, Mode.DEGRADED)


def test_a_new_follower_does_not_replay_what_it_never_played():
    pair = Pair()
    pair.connect()
    pair.follower = Follower(FollowerConfig(), START)
    pair.run(0.5, step=2e-5)
    pair.leader.request('replay')
    pair.run(1.0)
    assert pair.follower.mode is Mode.HOLD


def test_a_new_leader_goes_on_above_the_old_numbers():
    pair = Pair()
    pair.connect()
    pair.run(0.5, step=2e-5)
    old, stood = pair.leader.sequence, pair.points[-1]
    pair.run(0.5, sends=False)
    pair.leader, pair.hand = Leader(LeaderConfig(), stood, first=FIRST + 60_000), [0.0, 0.0, 0.0]
    assert pair.leader.sequence > old
    pair.run(0.5)
    assert pair.follower.mode is Mode.HOLD
    pair.leader.request('discard')
    pair.run(2.0, step=1e-5)
    assert pair.follower.mode in (Mode.CONNECTED, Mode.DEGRADED)
    assert pair.follower.state(pair.now_ns).received > old
    assert not pair.leader.packet()[1], 'nothing of the old leader is asked for'


def test_motion_with_a_hole_that_cannot_be_filled_is_not_replayed():
    pair = Pair()
    pair.connect()
    pair.run(25.0, sends=False, step=1e-6)  # longer than the guard remembers
    pair.run(0.5)
    assert pair.follower.mode is Mode.HOLD
    pair.leader.request('replay')
    pair.run(0.5)
    assert pair.follower.mode is Mode.HOLD


def test_numbers_of_a_leader_without_a_clock_begin_at_one():
    leader = Leader(LeaderConfig(), START)
    assert leader.command(1, START).sequence == 1
    assert isinstance(leader.state, FollowerState | None)
