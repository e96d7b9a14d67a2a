"""The profiles meet: what we offer is taken by those who ask for less and for what DESIGN section 5 says."""

import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, ReliabilityPolicy, qos_check_compatible

from twin_nodes.ros import qos


@pytest.mark.parametrize('replay', [False, True])
def test_our_measurements_reach_our_subscribers(replay):
    compatible, reason = qos_check_compatible(qos.MEASUREMENT, qos.measurement_subscription(replay=replay))
    assert compatible != QoSCompatibility.ERROR, reason


def test_live_takes_the_newest_and_replay_loses_nothing():
    live, replay = qos.measurement_subscription(replay=False), qos.measurement_subscription(replay=True)
    assert (live.reliability, live.depth) == (ReliabilityPolicy.BEST_EFFORT, 5)
    assert replay.reliability == ReliabilityPolicy.RELIABLE and replay.depth >= 1000


def test_state_is_latched_and_events_keep_fifty():
    assert (qos.LATCHED.durability, qos.LATCHED.depth) == (DurabilityPolicy.TRANSIENT_LOCAL, 1)
    assert (qos.EVENTS.durability, qos.EVENTS.depth) == (DurabilityPolicy.TRANSIENT_LOCAL, 50)


@pytest.mark.parametrize('profile', [qos.MEASUREMENT, qos.LATCHED, qos.EVENTS, qos.DIAGNOSTICS])
def test_tools_that_ask_for_reliable_match_every_publisher(profile):
    """`ros2 topic echo`, RViz and rosbag2 ask for what a publisher offers, Foxglove for RELIABLE VOLATILE."""
    asked = qos.DIAGNOSTICS
    compatible, reason = qos_check_compatible(profile, asked)
    assert compatible != QoSCompatibility.ERROR, reason


def test_a_command_expires_with_its_deadline():
    profile = qos.command(0.005)
    assert (profile.depth, profile.reliability) == (1, ReliabilityPolicy.RELIABLE)
    assert profile.deadline.nanoseconds == profile.lifespan.nanoseconds == 10_000_000


def test_a_latched_message_reaches_who_comes_late(ros_context, spin):
    early = Node('early', context=ros_context)
    publisher = early.create_publisher(PoseStamped, 'state', qos.LATCHED)
    for x in (1.0, 2.0):
        message = PoseStamped()
        message.pose.position.x = x
        publisher.publish(message)
    late, got = Node('late', context=ros_context), []
    late.create_subscription(PoseStamped, 'state', got.append, qos.LATCHED)
    spin(lambda: bool(got), early, late, what='the latched message')
    assert [message.pose.position.x for message in got] == [2.0]
    early.destroy_node()
    late.destroy_node()
