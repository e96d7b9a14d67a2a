"""compensation_node: both sides in one process, the bridge between them left out (their topics are the same)."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, String

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.nodes import compensation_follower
from twin_nodes.nodes.compensation_node import CompensationNode
from twin_nodes.ros.conversions import pose_stamped

ARM = 'PSM1'


class Sites:
    """Leader and follower node, a console and a robot that says where it stands."""

    def __init__(self, start, probe):
        self.probe = probe
        self.points = probe.listen(PoseStamped, f'{ARM}/servo_cp')
        self.predicted = probe.listen(PoseStamped, f'{ARM}/predicted_cp')
        self.modes = probe.listen_latched(String, f'{ARM}/compensation/mode')
        common = {'arm': ARM, 'base_frame': 'PSM1_base', 'rate': 50.0, 'hand_silent': 0.09}
        self.follower = start(CompensationNode, role='follower', planes=[0.0, 0.0, 0.0, 0.0, 0.0, 1.0], **common)
        self.leader = start(CompensationNode, role='leader', **common)
        self.hand = np.array([0.0, 0.0, 0.05])
        self.speaks = True
        self.divergence = None

    def pose(self, position):
        now_ns = self.probe.get_clock().now().nanoseconds
        return pose_stamped(now_ns, 'PSM1_base', make_transform(np.eye(3), position))

    def until(self, condition, what, deadline_s=30.0):
        def said():
            self.probe.say(f'{ARM}/measured_cp', self.pose([0.0, 0.0, 0.05]))
            if self.speaks:
                self.probe.say('MTM/measured_cp', self.pose(self.hand))
                self.probe.say('MTM/gripper/measured_js', JointState(name=['jaw'], position=[0.5]))
            if self.divergence is not None:
                self.probe.say(f'{ARM}/compensation/divergence', Float64(data=self.divergence))
            return condition()

        self.probe.until(said, self.follower, self.leader, what=what, deadline_s=deadline_s)

    @property
    def mode(self):
        side = self.follower.side.follower
        return side.mode.value if side is not None else ''

    def ask(self, action):
        self.probe.say(f'{ARM}/compensation/resume', String(data=action))

    def connect(self):
        self.until(lambda: self.mode == 'hold', 'hold')

        def connected():
            if self.mode == 'hold':
                self.ask('discard')
            return self.mode == 'connected'

        self.until(connected, 'connected')


@pytest.fixture
def sites(start, probe):
    return Sites(start, probe)


def test_follows_the_hand_and_holds_when_it_is_gone(sites):
    sites.connect()
    begin = np.array([sites.points[-1].pose.position.x, sites.points[-1].pose.position.y])
    sites.hand[0] += 0.002

    def there():
        return abs(sites.points[-1].pose.position.x - begin[0] - 0.002) < 1e-4

    sites.until(there, 'the robot where the hand is')
    assert sites.points[-1].header.frame_id == 'PSM1_base'
    assert sites.predicted[-1].pose.position.x == pytest.approx(sites.points[-1].pose.position.x, abs=1e-3)
    sites.speaks = False
    sites.until(lambda: sites.mode == 'outage', 'outage')
    sites.until(lambda: sites.probe.code('compensation: mode') == 'LINK_LOST', 'LINK_LOST')
    sites.speaks = True
    sites.until(lambda: sites.mode == 'hold', 'hold')
    sites.until(lambda: any(message.data == 'hold' for message in sites.modes), 'the mode on its topic')


def test_replays_only_when_told_that_twin_and_reality_agree(sites):
    sites.connect()
    sites.speaks = False
    sites.until(lambda: sites.mode == 'outage', 'outage')
    sites.speaks = True
    sites.until(lambda: sites.mode == 'hold', 'hold')

    def refused():
        sites.ask('replay')
        return sites.follower.health.counters.get('TWIN_DIVERGED', 0) > 0

    sites.until(refused, 'a refusal')
    assert sites.mode == 'hold'
    sites.divergence = 0.0005

    def replayed():
        if sites.mode == 'hold':
            sites.ask('replay')
        return sites.mode in ('catch-up', 'degraded', 'connected')

    sites.until(replayed, 'replay')


def test_what_was_computed_before_a_stop_is_not_told_after_it(sites, monkeypatch):
    """SIGSTOP between the tick and its publication: the robot stays where it was told to be before."""
    sites.connect()
    side, stops, told = sites.follower.side, [], []
    follower, steady = side.follower, time.monotonic_ns
    monkeypatch.setattr(
        compensation_follower, 'time', SimpleNamespace(monotonic_ns=lambda: steady() + 350_000_000 * len(stops))
    )
    ticked = follower.tick

    def tick(now_ns):
        before, point = side._point.position, ticked(now_ns)
        if not stops and math.dist(before, point.position) > 1e-5:
            stops.append(len(sites.points))
            told.append(before)
        return point

    follower.tick = tick
    sites.hand[0] += 0.02
    sites.until(lambda: stops, 'a tick that moves the robot')
    sites.until(lambda: sites.mode in ('outage', 'hold') and len(sites.points) > stops[0] + 20, 'the robot standing')
    places = [(at.pose.position.x, at.pose.position.y, at.pose.position.z) for at in sites.points]
    assert places[-20:] == [told[0]] * 20
    assert all(place[0] <= told[0][0] for place in places[stops[0] :])


def test_refuses_nonsense(sites):
    sites.connect()

    def counted():
        sites.ask('jump')
        sites.probe.say(f'{ARM}/compensation/command_js', JointState(position=[1.0, 2.0]))
        return sites.follower.health.counters.get('PROTOCOL') and sites.leader.health.counters.get('PROTOCOL')

    sites.until(counted, 'PROTOCOL at both')


def test_settings(start):
    with pytest.raises(ConfigError, match='six'):
        start(CompensationNode, role='follower', arm=ARM, base_frame='base', planes=[0.0, 1.0])
