"""wan_bridge_node: two sites over loopback UDP; link_node: an emulated link between two topics."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from twin_nodes.core.errors import ConfigError
from twin_nodes.io.link_key import make_key
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.nodes.link_node import LinkNode
from twin_nodes.nodes.wan_bridge_node import WanBridgeNode
from twin_nodes.ros.conversions import ns_to_stamp, stamp_to_ns
from twin_nodes.ros.link_state import MODES
from twin_nodes.ros.qos import MEASUREMENT


def node(kind, context, namespace, **parameters):
    from rclpy.parameter import Parameter

    overrides = [Parameter(key.replace('__', '.'), value=value) for key, value in parameters.items()]
    return kind(context=context, parameter_overrides=overrides, namespace=namespace)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / 'wan.key'
    make_key(path)
    return str(path)


@pytest.fixture
def sites(ros_context, key_file):
    follower = node(
        WanBridgeNode, ros_context, '/robot', key_file=key_file, bridge__role='follower', bind_host='127.0.0.1',
        send=['PSM1/measured_cp'], receive=['PSM1/servo_cp', 'PSM1/servo_jp'],
    )  # fmt: skip
    leader = node(
        WanBridgeNode, ros_context, '/console', key_file=key_file, bridge__role='leader', bind_host='127.0.0.1',
        peer_host='127.0.0.1', peer_port=follower.port, send=['PSM1/servo_cp', 'PSM1/servo_jp'],
        receive=['PSM1/measured_cp'],
    )  # fmt: skip
    yield leader, follower
    leader.destroy_node()
    follower.destroy_node()


def pose(probe, x, ahead_ns=0):
    message = PoseStamped()
    message.header.stamp = ns_to_stamp(probe.get_clock().now().nanoseconds + ahead_ns)
    message.header.frame_id = 'PSM1_base'
    message.pose.position.x = float(x)
    message.pose.orientation.w = 1.0
    return message


def modes(array):
    return {value.value for status in array.status for value in status.values if value.key == 'mode'}


def interval_ms(array):
    said = [
        value.value for status in array.status for value in status.values if value.key == 'clock_offset_interval_ms'
    ]
    return float(said[0]) if said and said[0] else np.inf


def code_of(status):
    return next(value.value for value in status.values if value.key == 'code')


def test_commands_cross_with_their_stamp_and_frame_and_the_state_is_said(sites, probe, spin):
    heard = probe.listen(PoseStamped, '/robot/PSM1/servo_cp')
    from diagnostic_msgs.msg import DiagnosticArray

    states = probe.listen(DiagnosticArray, '/robot/link/state')
    given = {}

    def say():
        message = pose(probe, len(given))
        given[float(len(given))] = stamp_to_ns(message.header.stamp)
        probe.say('/console/PSM1/servo_cp', message)

    def clock_is_known():
        return any(interval_ms(state) < 10.0 for state in states)

    probe.create_timer(0.005, say)  # as a console would: said as fast as a loop runs, all may pass before the session
    spin(clock_is_known, probe, *sites, what='the clock of the other site to be known within 10 ms')
    heard.clear()
    spin(lambda: len(heard) > 50, probe, *sites, what='50 commands at the other site')
    assert 'connected' in modes(states[-1])
    xs = [message.pose.position.x for message in heard]
    assert xs == sorted(set(xs)), 'in order, none twice'
    assert {message.header.frame_id for message in heard} == {'PSM1_base'}
    late = [stamp_to_ns(message.header.stamp) - given[message.pose.position.x] for message in heard]
    # one process, one clock: the mapped stamp is off by half the interval and the wait in the executor
    assert np.median(np.abs(late)) < 20e6


def test_joint_states_cross_whole(sites, probe, spin):
    heard = probe.listen(JointState, '/robot/PSM1/servo_jp')

    def say_and_look():
        message = JointState(name=['yaw', 'pitch'], position=[0.1, -0.2], effort=[1.0, 2.0])
        message.header.stamp = ns_to_stamp(probe.get_clock().now().nanoseconds)
        probe.say('/console/PSM1/servo_jp', message)
        return bool(heard)

    spin(say_and_look, probe, *sites, what='a joint state at the other site')
    assert heard[0].name == ['yaw', 'pitch']
    assert list(heard[0].position) == [0.1, -0.2]
    assert (list(heard[0].velocity), list(heard[0].effort)) == ([], [1.0, 2.0])


def test_stamps_from_the_future_and_broken_poses_are_dropped_and_counted(sites, probe, spin):
    leader, follower = sites
    heard = probe.listen(PoseStamped, '/robot/PSM1/servo_cp')

    def say_and_look():
        probe.say('/console/PSM1/servo_cp', pose(probe, 1.0, ahead_ns=10**10))
        probe.say('/console/PSM1/servo_cp', pose(probe, np.nan))
        counters = leader.health.counters
        return counters.get('STAMP_FUTURE', 0) > 3 and counters.get('NOT_FINITE', 0) > 3

    spin(say_and_look, probe, leader, follower, what='both to be counted')
    assert heard == []


def test_hold_and_outage_are_said_when_the_other_site_dies(sites, probe, spin):
    leader, follower = sites
    from diagnostic_msgs.msg import DiagnosticArray

    states = probe.listen(DiagnosticArray, '/robot/link/state')
    count = [0]

    def playing():
        count[0] += 1
        probe.say('/console/PSM1/servo_cp', pose(probe, count[0]))
        return any(code_of(status) == 'OK' for state in states for status in state.status if 'servo_cp' in status.name)

    spin(playing, probe, leader, follower, what='commands to be played')
    leader._wan.stop()
    states.clear()

    def said(name):
        return {code_of(status) for state in states for status in state.status if status.name == f'wan_bridge: {name}'}

    # the channel first plays what waits in its buffer, so its hold may come after the outage of the link
    spin(
        lambda: 'LINK_OUTAGE' in said('link') and 'LINK_HOLD' in said('PSM1/servo_cp'),
        probe, follower, what='the outage and the hold to be said',
    )  # fmt: skip


def test_a_key_that_others_may_read_is_refused(ros_context, tmp_path):
    path = tmp_path / 'open.key'
    make_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match='chmod 600'):
        node(WanBridgeNode, ros_context, '/x', key_file=str(path), bridge__role='follower', send=[], receive=[])


@pytest.mark.parametrize(
    ('given', 'match'),
    [
        ({'send': ['a/cloud']}, 'no CRTK topic'),
        ({'send': ['a_cp'], 'receive': ['a_cp']}, 'twice'),
        ({'bridge__role': 'leader'}, 'peer_host'),
    ],
)
def test_refuses_settings_that_cannot_work(ros_context, key_file, given, match):
    values = {'key_file': key_file, 'bridge__role': 'follower', 'send': [], 'receive': []} | given
    with pytest.raises(ConfigError, match=match):
        node(WanBridgeNode, ros_context, '/x', **values)


def test_every_mode_has_a_code_that_explain_knows():
    from twin_nodes.core.codes import CODES

    assert all(code in CODES for _, code, _ in MODES.values())


def test_link_node_gives_each_message_the_fate_of_the_pure_function(ros_context, probe, spin):
    link = node(
        LinkNode, ros_context, '/', input='near', output='far', type='geometry_msgs/msg/PoseStamped', scenario='N9',
        seed=5,
    )  # fmt: skip
    heard = probe.listen(PoseStamped, 'far', MEASUREMENT)
    sent = [0]

    def say_and_look():
        sent[0] += 1
        probe.say('near', pose(probe, sent[0]))
        return len(link.log) >= 150 and len(heard) > 40

    spin(say_and_look, probe, link, what='messages through the link')
    stamps, sizes = zip(*link.log, strict=True)
    fates = load_scenario('N9').link(5).forward.fates(stamps, sizes)
    assert int((~fates.lost).sum()) == link.direction.counts['arrived']
    assert 0.1 < fates.lost.mean() < 0.5
    link.destroy_node()
