"""relay_node cuts its cable on request; console_node works by what it is shown and asks for resumption."""

import socket

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Bool, String

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.nodes.console_node import ConsoleNode
from twin_nodes.nodes.relay_node import RelayNode
from twin_nodes.ros.conversions import pose_stamped


@pytest.fixture
def follower():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(('127.0.0.1', 0))
        made.setblocking(False)
        yield made


def heard(sock):
    count = 0
    while True:
        try:
            sock.recvfrom(65535)
        except BlockingIOError:
            return count
        count += 1


def test_cuts_and_mends_the_cable(start, probe, follower):
    node = start(RelayNode, scenario='lan', leader_port=0, to_port=follower.getsockname()[1])
    address = ('127.0.0.1', node.relay.ports[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as leader:

        def passes():
            leader.sendto(b'x', address)
            return heard(follower) > 0

        probe.until(passes, node, what='a datagram')
        probe.say_latched('relay/cut', Bool(data=True))
        probe.until(lambda: node.relay.cut, node, what='the cut')
        heard(follower)

        def lost():
            leader.sendto(b'x', address)
            return node.relay.lost_to_cut > 20

        probe.until(lost, node, what='lost datagrams')
        assert heard(follower) <= 1  # one may have been on its last step
        probe.until_code('relay: link', 'LINK_CUT', node)
        probe.say_latched('relay/cut', Bool(data=False))
        probe.until(passes, node, what='a datagram again')


def test_refuses_a_scenario_that_is_none(start):
    with pytest.raises(ConfigError, match='nearest'):
        start(RelayNode, scenario='goe')
    with pytest.raises(ConfigError, match='itself'):
        start(RelayNode, scenario='lan', leader_port=47800)


def test_the_hand_works_once_the_robot_follows_and_asks_when_it_holds(start, probe):
    node = start(ConsoleNode, arm='PSM1', rate=50.0, decide=0.05)
    hands = probe.listen(PoseStamped, 'MTM/measured_cp')
    asked = probe.listen(String, 'PSM1/compensation/resume')
    tip = [0.0, -0.02, 0.046]

    def spin(mode, condition, what):
        probe.say_latched('PSM1/compensation/mode', String(data=mode))

        def said():
            now_ns = probe.get_clock().now().nanoseconds
            probe.say('PSM1/predicted_cp', pose_stamped(now_ns, 'world', make_transform(np.eye(3), tip)))
            return condition()

        probe.until(said, node, what=what)

    spin('hold', lambda: asked and asked[-1].data == 'discard', 'the first request')
    assert all(abs(hand.pose.position.x) < 1e-9 for hand in hands), 'it does not move before the robot follows'
    spin('connected', lambda: abs(hands[-1].pose.position.x) > 0.005, 'motion')
    count = len(asked)
    spin('hold', lambda: len(asked) > count, 'a request after an outage')
    assert asked[-1].data == 'replay'
