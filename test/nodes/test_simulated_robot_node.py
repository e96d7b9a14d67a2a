"""simulated_robot_node: the topics of CRTK, commands, and the peg transfer."""

from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TransformStamped, TwistStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.nodes.simulated_robot_node import SimulatedRobotNode
from twin_nodes.ros.conversions import pose_from, pose_stamped, stamp_to_ns, transform_stamped
from twin_nodes.ros.crtk import joint_state
from twin_nodes.ros.qos import MEASUREMENT

CHAIN = SerialChain(published_model('psm_classic'))
BASE = [0.1, 0.0, 0.2, 0.0, 0.0, 0.0]
PAIR = [0.09, -0.02, 0.15, 0.0, 0.0, 0.0, -0.09, -0.02, 0.15, 0.0, 0.0, 0.0]
DEEP = QoSProfile(depth=1000)
QUIET = {'arm__angle_noise': 0.0, 'arm__length_noise': 0.0, 'arm__wrist_slack': 0.0}


def lone(start, **settings):
    return start(SimulatedRobotNode, arms=['PSM1'], bases=BASE, task='none', **QUIET, **settings)


def test_speaks_crtk(start, probe):
    joints = probe.listen(JointState, 'PSM1/measured_js', DEEP)
    local = probe.listen(PoseStamped, 'PSM1/local/measured_cp', DEEP)
    world = probe.listen(PoseStamped, 'PSM1/measured_cp', DEEP)
    jaw = probe.listen(JointState, 'PSM1/jaw/measured_js', DEEP)
    node = lone(start)
    probe.until(lambda: min(len(heard) for heard in (joints, local, world, jaw)) > 5, node, what='topics')
    stamps = {stamp_to_ns(message.header.stamp): message for message in joints}
    pose = next(message for message in reversed(local) if stamp_to_ns(message.header.stamp) in stamps)
    said = stamps[stamp_to_ns(pose.header.stamp)]
    assert tuple(said.name) == CHAIN.names and not said.effort and len(said.velocity) == 6
    record = pose_from(pose, frame='PSM1_base')
    assert record.pose == pytest.approx(CHAIN.forward(np.array(said.position)), abs=1e-9)
    assert world[-1].header.frame_id == 'world' and list(jaw[-1].name) == ['jaw']


def test_follows_joint_and_pose_commands(start, probe):
    joints = probe.listen(JointState, 'PSM1/measured_js', DEEP)
    node = lone(start)
    goal = np.array([0.1, -0.1, 0.12, 0.2, 0.1, -0.1])

    def near(target):
        return joints and np.abs(np.array(joints[-1].position) - target).max() < 1e-3

    def by_joints():
        probe.say('PSM1/servo_jp', joint_state(node.get_clock().now().nanoseconds, '', CHAIN.names, goal))
        return near(goal)

    probe.until(by_joints, node, what='servo_jp')
    other = goal + np.array([0.05, 0.05, 0.01, 0.0, 0.0, 0.0])
    pose = make_transform(np.eye(3), [0.1, 0.0, 0.2]) @ CHAIN.forward(other)

    def by_pose():
        probe.say('PSM1/servo_cp', pose_stamped(node.get_clock().now().nanoseconds, 'world', pose))
        return near(other)

    probe.until(by_pose, node, what='servo_cp')


def test_follows_poses_of_older_stacks_in_the_base_and_moves_far(start, probe):
    joints = probe.listen(JointState, 'PSM1/measured_js', DEEP)
    goals = probe.listen(JointState, 'PSM1/goal_js', DEEP)
    twists = probe.listen(TwistStamped, 'PSM1/measured_cv', DEEP)
    # one process cannot hold both types on a topic: the old stack is there first
    probe._speakers['PSM1/local/move_cp'] = probe.create_publisher(TransformStamped, 'PSM1/local/move_cp', MEASUREMENT)
    node = lone(start)
    goal = np.array([-0.5, 0.4, 0.2, 1.0, -0.6, 0.7])

    def by_transform():
        now_ns = node.get_clock().now().nanoseconds
        probe.say('PSM1/local/move_cp', transform_stamped(now_ns, 'PSM1_base', 'PSM1', CHAIN.forward(goal[None])[0]))
        return joints and np.abs(np.array(joints[-1].position) - goal).max() < 2e-3

    probe.until(by_transform, node, what='local/move_cp')
    assert np.array(goals[-1].position) == pytest.approx(goal, abs=1e-4)
    speeds = [np.linalg.norm([m.twist.linear.x, m.twist.linear.y, m.twist.linear.z]) for m in twists]
    assert max(speeds) > 0.01 and twists[-1].header.frame_id == 'world'


@pytest.mark.parametrize(
    ('topic', 'make', 'code'),
    [
        ('servo_cp', lambda now: pose_stamped(now - 10**10, 'world', np.eye(4)), 'STAMP_STALE'),
        ('servo_cp', lambda now: pose_stamped(0, 'world', np.eye(4)), 'STAMP_ZERO'),
        ('interpolate_jp', lambda now: joint_state(now, '', CHAIN.names, [float('nan')] * 6), 'NOT_FINITE'),
        ('move_jp', lambda now: joint_state(now, 'PSM2_base', CHAIN.names, CHAIN.middle), 'WRONG_ARM'),
        ('servo_jp', lambda now: joint_state(now, '', CHAIN.names, [9.0] * 6), 'JOINT_LIMIT'),
        ('servo_jp', lambda now: joint_state(now - 10**10, '', CHAIN.names, CHAIN.middle), 'STAMP_STALE'),
        ('servo_cp', lambda now: pose_stamped(now, 'world', np.eye(4)), 'UNREACHABLE'),
        ('servo_cp', lambda now: pose_stamped(now, 'ECM', np.eye(4)), 'FRAME_MISMATCH'),
        ('jaw/servo_jp', lambda now: joint_state(now, '', (), ()), 'JOINTS_WRONG'),
    ],
)
def test_refuses_commands_with_the_reason(start, probe, topic, make, code):
    node = lone(start)

    def refused():
        probe.say(f'PSM1/{topic}', make(node.get_clock().now().nanoseconds))
        return node.health.counters.get(code, 0) > 0

    probe.until(refused, node, what=code)


def test_moves_the_first_ring(start, probe):
    models = probe.listen_latched(MarkerArray, 'task/model')
    node = start(SimulatedRobotNode, arms=['PSM1', 'PSM2'], bases=PAIR, rings=1, speed=3.0, patience=0.0)
    probe.until(lambda: node.board.transferred() == 1, node, what='a ring on the other side', deadline_s=60.0)
    assert node.board.dropped == 0 and models
    assert {marker.ns for marker in models[0].markers} == {'board', 'pegs', 'rings'}


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'arms': ['PSM1'], 'bases': BASE}, 'needs two arms'),
        ({'arms': ['PSM1', 'PSM2'], 'bases': BASE}, 'expected 6 for each of 2 arms'),
        ({'arms': ['PSM1', 'PSM2'], 'bases': PAIR, 'model': 'psm'}, 'neither a file nor'),
    ],
)
def test_refuses_a_configuration_that_cannot_be(start, settings, text):
    with pytest.raises(ConfigError, match=text):
        start(SimulatedRobotNode, **settings)


class Operating:
    """Stands in for crtk_msgs/OperatingState, which no wheel brings: the same fields, sent as one word."""

    sent: list = []  # noqa: RUF012

    def __init__(self, state, is_homed, is_busy):
        self.state, self.is_homed, self.is_busy = state, is_homed, is_busy
        Operating.sent.append((state, is_homed))


def test_says_each_change_of_the_operating_state(start, probe):
    Operating.sent.clear()
    node = lone(start)
    arm = node.arms[0]
    arm._messages = SimpleNamespace(OperatingState=Operating)
    arm._operating = SimpleNamespace(publish=lambda message: None)
    for word in ('', 'pause', 'resume', 'unhome', 'home', 'disable'):
        if word:
            arm.simulated.command(word)
        arm.publish(node.get_clock().now().nanoseconds)
        arm.publish(node.get_clock().now().nanoseconds)
    states = [('ENABLED', True), ('PAUSED', True), ('ENABLED', True), ('ENABLED', False), ('ENABLED', True)]
    assert Operating.sent == [*states, ('DISABLED', True)]
