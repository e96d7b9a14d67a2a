"""Both sides of compensation_node after a hand that begins anew and a robot that cannot come; in made-up time."""

from types import SimpleNamespace

import numpy as np
import pytest
from std_msgs.msg import String

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.nodes import compensation_follower, compensation_leader
from twin_nodes.nodes.compensation_node import CompensationNode
from twin_nodes.ros.conversions import pose_stamped

ARM, BASE = 'PSM1', 'PSM1_base'
TICK_NS = 10_000_000
ASIDE = np.array([0.0, 0.002, 0.0])
AHEAD = np.array([0.0003, 0.0, 0.0])
ASTRAY = np.array([0.02, 0.0, 0.0])
BACK = np.array([-0.005, 0.0, 0.0])


class Wire:
    """Stands in for a publisher: keeps what was published until somebody takes it."""

    def __init__(self):
        self.waiting = []

    def publish(self, message):
        self.waiting.append(message)

    def take(self):
        taken, self.waiting = self.waiting, []
        return taken


class Pair:
    """Both sides joined without a link, a robot that comes at once as far as it reaches, and a hand."""

    def __init__(self, start, monkeypatch):
        self.now_ns = 10**12
        clock = SimpleNamespace(monotonic_ns=lambda: self.now_ns)
        monkeypatch.setattr(compensation_leader, 'time', clock)
        monkeypatch.setattr(compensation_follower, 'time', clock)
        common = {'arm': ARM, 'base_frame': BASE, 'rate': 100.0}
        self.node = start(CompensationNode, role='follower', **common)
        self.follower, self.leader = self.node.side, start(CompensationNode, role='leader', **common).side
        for side in (self.follower, self.leader):
            monkeypatch.setattr(side, '_ros_ns', lambda: self.now_ns)
        self.commands, self.states, self.points = Wire(), Wire(), Wire()
        self.leader._command, self.follower._state, self.follower._setpoint = self.commands, self.states, self.points
        self.told = []
        self.robot, self.reach = np.array([0.0, 0.0, 0.05]), 0.5
        self.hand, self.speaks = np.zeros(3), True

    def pose(self, position):
        return pose_stamped(self.now_ns, BASE, make_transform(np.eye(3), position))

    def tick(self):
        self.now_ns += TICK_NS
        self.follower.on_measured(self.pose(self.robot))
        if self.speaks:
            self.leader.on_hand(self.pose(self.hand))
        self.leader.tick()
        for message in self.commands.take():
            self.follower.on_command(message)
        self.follower.tick()
        for message in self.states.take():
            self.leader.on_state(message)
        for message in self.points.take():
            at = message.pose.position
            self.told.append((at.x, at.y, at.z))
            if abs(at.x) <= self.reach:
                self.robot = np.array(self.told[-1])

    @property
    def mode(self):
        return self.follower.follower.mode.value if self.follower.follower is not None else ''

    def until(self, mode, *, ask='', seconds=20.0):
        """Let time pass until the follower has come to a mode, asking for something while it holds."""
        for number in range(round(seconds * 1e9 / TICK_NS)):
            if ask and self.mode == 'hold' and number % 50 == 49:
                self.leader.on_resume(String(data=ask))
            self.tick()
            if self.mode == mode:
                return
        pytest.fail(f'{mode} did not come, it is {self.mode!r}')


@pytest.fixture
def pair(start, monkeypatch):
    pair = Pair(start, monkeypatch)
    pair.until('connected', ask='discard')
    return pair


def test_a_hand_that_begins_anew_elsewhere_moves_nothing(pair):
    pair.speaks = False
    pair.until('outage')
    stood = pair.robot
    pair.hand, pair.speaks = np.array([0.09, -0.05, 0.02]), True  # a console that was started again
    pair.until('connected', ask='discard')
    assert pair.robot == pytest.approx(stood, abs=1e-4)
    pair.hand = pair.hand + ASIDE
    for _ in range(100):
        pair.tick()
    assert pair.robot == pytest.approx(stood + ASIDE, abs=1e-4)


def test_a_short_silence_of_the_hand_is_made_up_for(pair):
    stood = pair.robot
    pair.speaks = False
    for _ in range(10):
        pair.tick()
    pair.hand, pair.speaks = pair.hand + ASIDE, True
    for _ in range(200):
        pair.tick()
    if pair.mode != 'connected':
        pair.until('connected', ask='discard')
    assert pair.robot == pytest.approx(stood + ASIDE, abs=1e-4)


def test_a_robot_that_cannot_come_is_let_go_and_taken_up_where_it_stands(pair):
    pair.reach = 0.01
    for _ in range(100):
        pair.hand = pair.hand + AHEAD
        pair.tick()
    pair.until('outage')
    assert pair.node.health.counters['ROBOT_DEVIATES'] > 0
    stood = pair.robot
    assert stood[0] == pytest.approx(0.01, abs=5e-4)
    pair.until('hold')
    assert pair.told[-1] == pytest.approx(stood, abs=1e-6)
    pair.until('connected', ask='discard')
    for _ in range(100):
        pair.tick()
    assert pair.mode == 'connected'
    assert pair.robot == pytest.approx(stood, abs=2e-3)
    pair.hand = pair.hand + BACK
    for _ in range(200):
        pair.tick()
    assert pair.robot[0] == pytest.approx(stood[0] - 0.005, abs=1e-3)


def test_a_robot_on_its_way_to_where_it_shall_stand_is_waited_for(pair):
    follower = pair.follower.follower
    pair.speaks = False
    pair.until('outage')
    there, pair.robot, pair.reach = pair.robot, pair.robot + ASTRAY, 0.0
    for _ in range(90):
        pair.tick()
    pair.robot = there
    for _ in range(90):
        pair.tick()
    assert pair.follower.follower is follower
