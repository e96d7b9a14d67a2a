"""simulated_robot_node: the topics of CRTK, commands, and the peg transfer."""

from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TransformStamped, TwistStamped, WrenchStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty, Float64, Float64MultiArray
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.nodes.simulated_robot_node import SimulatedRobotNode
from twin_nodes.ros.conversions import pose_from, pose_stamped, stamp_to_ns, transform_stamped
from twin_nodes.ros.crtk import joint_state, six_stamped
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
    assert tuple(said.name) == CHAIN.names and len(said.effort) == len(said.velocity) == 6
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


RATES = [0.05, -0.05, 0.004, 0.0, 0.0, 0.0]
BENT = np.array([0.3, -0.2, 0.12, 0.7, 0.4, -0.3])


def bent(start, **settings):
    node = lone(start, **settings)
    arm = node.arms[0].simulated
    arm.servo_jp(BENT)
    for _ in range(200):
        arm.step(0.02)
    return node, arm


@pytest.mark.parametrize(
    ('topic', 'make', 'wanted'),
    [
        ('servo_jv', lambda now: joint_state(now, '', (), (), RATES), [0.05, -0.05, 0.004, 0.0, 0.0, 0.0]),
        ('servo_jf', lambda now: joint_state(now, '', (), (), (), [0.01, 0.0, 0.2, 0.0, 0.0, 0.0]), None),
        ('servo_cv', lambda now: six_stamped(TwistStamped, now, 'world', np.array([0.01, 0, 0, 0, 0, 0])), None),
        ('body/servo_cv', lambda now: six_stamped(TwistStamped, now, '', np.array([0.01, 0, 0, 0, 0, 0])), None),
        ('spatial/servo_cf', lambda now: six_stamped(WrenchStamped, now, 'PSM1_base', np.full(6, 0.02)), None),
        ('servo_jr', lambda now: joint_state(now, '', (), [0.002, 0.0, 0.0, 0.0, 0.0, 0.0]), None),
        ('local/servo_cr', lambda now: pose_stamped(now, 'PSM1_base', make_transform(np.eye(3), [0, 0, 5e-4])), None),
    ],
)
def test_takes_velocities_forces_and_steps(start, probe, topic, make, wanted):
    setpoints = probe.listen(JointState, 'PSM1/setpoint_js', DEEP)
    node, _ = bent(start)

    def moves():
        probe.say(f'PSM1/{topic}', make(node.get_clock().now().nanoseconds))
        now = setpoints and np.array(setpoints[-1].velocity)
        return len(setpoints) > 5 and (np.abs(now).max() > 1e-3 if wanted is None else np.allclose(now, wanted))

    probe.until(moves, node, what=topic)
    probe.say('PSM1/hold', Empty())
    probe.until(lambda: np.abs(setpoints[-1].velocity).max() < 1e-9, node, what='standing')
    assert not node.health.counters


def test_tells_velocity_force_and_jacobian_of_the_tip_in_each_space(start, probe):
    twists = {
        space: probe.listen(TwistStamped, f'PSM1/{space}measured_cv', DEEP) for space in ('', 'body/', 'spatial/')
    }
    forces = probe.listen(WrenchStamped, 'PSM1/body/measured_cf', DEEP)
    jacobians = probe.listen(Float64MultiArray, 'PSM1/body/jacobian', DEEP)
    joints = probe.listen(JointState, 'PSM1/measured_js', DEEP)
    node, _ = bent(start, arm__lag=0.0, rate_hz=50.0)

    def told():
        probe.say('PSM1/servo_jv', joint_state(node.get_clock().now().nanoseconds, '', (), (), RATES))
        moving = [
            {stamp_to_ns(m.header.stamp) for m in heard if numbers(m).any()} for heard in (*twists.values(), forces)
        ]
        return jacobians and set.intersection(*moving, {stamp_to_ns(m.header.stamp) for m in joints})

    probe.until(told, node, what='twists of one instant')
    stamp_ns = max(told())
    at = {space: next(m for m in heard if stamp_to_ns(m.header.stamp) == stamp_ns) for space, heard in twists.items()}
    said = next(m for m in joints if stamp_to_ns(m.header.stamp) == stamp_ns)
    shape = [dim.size for dim in jacobians[-1].layout.dim]
    assert shape == [6, 6] and (at['body/'].header.frame_id, at[''].header.frame_id) == ('PSM1', 'world')
    jacobian, pose = CHAIN.jacobian(np.array(said.position)), CHAIN.forward(np.array(said.position))
    tip = jacobian @ np.array(said.velocity)
    assert numbers(at['']) == pytest.approx(tip, abs=1e-9)
    assert numbers(at['body/'])[:3] == pytest.approx(pose[:3, :3].T @ tip[:3], abs=1e-9)
    assert numbers(at['spatial/'])[:3] == pytest.approx(tip[:3] - np.cross(tip[3:], pose[:3, 3]), abs=1e-9)
    force = numbers(next(m for m in forces if stamp_to_ns(m.header.stamp) == stamp_ns))
    turn = np.kron(np.eye(2), pose[:3, :3])
    assert jacobian.T @ turn @ force == pytest.approx(np.array(said.effort), abs=1e-9)


def numbers(message):
    parts = [message.twist.linear, message.twist.angular] if isinstance(message, TwistStamped) else None
    parts = parts or [message.wrench.force, message.wrench.torque]
    return np.array([value for part in parts for value in (part.x, part.y, part.z)])


def test_takes_commands_without_stamps_only_where_asked(start, probe):
    node, arm = bent(start, unstamped_commands=True)
    goal = BENT + np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.0])

    def moved():
        probe.say('PSM1/trajectory_j/set_ratio', Float64(data=0.5))
        probe.say('PSM1/move_jp', JointState(position=goal.tolist()))
        return np.abs(arm.setpoint - goal).max() < 1e-6 and arm.ratio == 0.5

    probe.until(moved, node, what='a move without a stamp')


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
        ('servo_jv', lambda now: joint_state(now, '', (), (), [0.1, 0.1]), 'JOINTS_WRONG'),
        ('servo_jv', lambda now: joint_state(now, '', (), (), [90.0] * 6), 'COMMAND_SPEED'),
        ('servo_cv', lambda now: six_stamped(TwistStamped, now, 'ECM', np.zeros(6)), 'FRAME_MISMATCH'),
        ('body/servo_cf', lambda now: six_stamped(WrenchStamped, now, '', np.full(6, np.nan)), 'NOT_FINITE'),
        ('local/servo_cv', lambda now: six_stamped(TwistStamped, now - 10**10, '', np.zeros(6)), 'STAMP_STALE'),
        ('servo_cf', lambda now: six_stamped(WrenchStamped, 0, '', np.zeros(6)), 'STAMP_ZERO'),
        ('servo_jr', lambda now: joint_state(now, '', (), [9.0] * 6), 'JOINT_LIMIT'),
        ('trajectory_j/set_ratio', lambda now: Float64(data=2.0), 'COMMAND_SPEED'),
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
    now_ns = node.get_clock().now().nanoseconds
    for word in ('', 'pause', 'resume', 'unhome', 'home', 'home', 'disable'):
        if word:
            arm._on_state_command(SimpleNamespace(string=word))
        arm.publish(now_ns)
        arm.publish(now_ns + 10**8)
    states = [('ENABLED', True), ('PAUSED', True), ('ENABLED', True), ('ENABLED', False), ('ENABLED', True)]
    told = [*states, ('ENABLED', True), ('DISABLED', True)]  # a client waits for an answer to each command
    assert Operating.sent == told
    arm.publish(now_ns + 2 * 10**9)  # and one that comes late hears it within a second
    assert Operating.sent == [*told, ('DISABLED', True)]
