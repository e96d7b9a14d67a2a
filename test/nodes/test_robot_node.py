"""robot_node: joint states in; tf, poses with covariance, the self-check and the remote centre out."""

from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped, TwistStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.nodes.robot_node import RobotNode
from twin_nodes.ros.conversions import pose_from, pose_stamped, stamp_to_ns, transform_stamped
from twin_nodes.ros.crtk import joint_state

CHAIN = SerialChain(published_model('psm_classic'))
QUICK = {
    'mirror__check__rate_hz': 1000.0,
    'mirror__check__block': 0.1,
    'mirror__rcm__samples': 60,
    'mirror__rcm__min_spread': 0.01,
}
BASES = [0.1, 0.0, 0.2, 0.0, 0.0, 0.0]
DEEP = QoSProfile(depth=1000)


class Arm:
    """An arm that says where it is, a little further each time."""

    def __init__(self, probe, node, *, cp=True, kind=PoseStamped, tip=None):
        self.probe, self.node, self.cp, self.kind, self.tip = probe, node, cp, kind, tip
        self.tick, self.truth = 0, {}

    def positions(self):
        t = 0.02 * self.tick
        swing = [0.4 * np.sin(t), 0.3 * np.cos(1.3 * t), 0.12 + 0.03 * np.sin(0.7 * t)]
        return np.array([*swing, 0.8 * np.sin(0.9 * t), 0.6 * np.sin(1.1 * t), 0.6 * np.cos(0.8 * t)])

    def say(self, **changes):
        self.tick += 1
        stamp_ns = self.node.get_clock().now().nanoseconds
        q = self.positions()
        message = joint_state(stamp_ns, '', CHAIN.names, q)
        for key, value in changes.items():
            setattr(message, key, value)
        self.probe.say('PSM1/measured_js', message)
        pose = CHAIN.forward(q)
        pose = pose if self.tip is None else pose @ self.tip
        self.truth[stamp_ns] = CHAIN.forward(q)
        if self.cp and self.kind is PoseStamped:
            self.probe.say('PSM1/local/measured_cp', pose_stamped(stamp_ns, 'PSM1_base', pose))
        elif self.cp:
            self.probe.say('PSM1/local/measured_cp', transform_stamped(stamp_ns, 'PSM1_base', 'PSM1', pose))

    def until(self, condition, *, what, **changes):
        def spoken():
            self.say(**changes)
            return condition()

        self.probe.until(spoken, self.node, what=what)


def test_mirrors_every_link_with_its_error(start, probe):
    poses = probe.listen(PoseWithCovarianceStamped, 'PSM1/filtered_cp', DEEP)
    edges = probe.listen(TFMessage, '/tf', DEEP)
    fixed = probe.listen_latched(TFMessage, '/tf_static')
    models = probe.listen_latched(MarkerArray, 'PSM1/model')
    node = start(RobotNode, arms=['PSM1'], bases=BASES, **QUICK)
    arm = Arm(probe, node)
    arm.until(lambda: len(poses) > 20 and edges and models and fixed, what='poses')
    record = pose_from(poses[-1], frame='world')
    stamp_ns = record.stamp_ns
    assert record.pose == pytest.approx(make_transform(np.eye(3), [0.1, 0.0, 0.2]) @ arm.truth[stamp_ns], abs=1e-9)
    sigma = np.sqrt(np.diagonal(record.covariance))
    assert sigma[:3].min() > 1e-5 and sigma[:3].max() < 1e-3
    names = {edge.child_frame_id for message in edges for edge in message.transforms}
    assert names == {f'PSM1_{joint}' for joint in CHAIN.names}
    still = {(edge.header.frame_id, edge.child_frame_id) for message in fixed for edge in message.transforms}
    assert still == {
        ('world', 'PSM1_base'), ('PSM1_wrist_yaw', 'PSM1_tool'), ('PSM1_tool', 'PSM1_tip'), ('PSM1_tip', 'PSM1'),
    }  # fmt: skip
    assert 'PSM1_jaw' not in names  # the jaw has not been told
    assert {marker.header.frame_id for marker in models[0].markers} >= {'PSM1_roll', 'PSM1_jaw'}
    assert probe.code('robot: arm PSM1') == 'OK'


def test_shows_the_jaw_once_it_is_told(start, probe):
    edges = probe.listen(TFMessage, '/tf', DEEP)
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node)

    def told():
        probe.say('PSM1/jaw/measured_js', joint_state(node.get_clock().now().nanoseconds, '', ('jaw',), [0.4]))
        return any(edge.child_frame_id == 'PSM1_jaw_left' for message in edges for edge in message.transforms)

    arm.until(told, what='the jaw')


@pytest.mark.parametrize('kind', [PoseStamped, TransformStamped])
def test_self_check_names_the_offset_of_the_control_point(start, probe, kind):
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node, kind=kind, tip=make_transform(np.eye(3), [0.0, 0.0, -0.0102]))

    def named():  # the first word of a busy machine, on few blocks, may be less exact
        status = probe.status('robot: self-check PSM1')
        return status is not None and 'exactly the 10.2 mm control-point offset' in status.message

    arm.until(named, what='the control-point offset')
    assert probe.code('robot: self-check PSM1') == 'ROBOT_OFFSET'


def test_self_check_is_content_and_the_centre_is_found(start, probe):
    deviations = probe.listen(Float64, 'PSM1/rcm_deviation', DEEP)
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node)
    arm.until(
        lambda: probe.code('robot: self-check PSM1') == 'OK' and deviations,
        what='the self-check and the remote centre',
    )
    assert max(message.data for message in deviations) < 1e-9


def test_tells_measured_cp_where_the_robot_has_none(start, probe):
    poses = probe.listen(PoseStamped, 'PSM1/measured_cp', DEEP)
    node = start(RobotNode, arms=['PSM1'], bases=BASES, **QUICK)
    arm = Arm(probe, node, cp=False)
    arm.until(lambda: len(poses) > 3, what='measured_cp of ours')
    record = pose_from(poses[-1], frame='world')
    assert record.pose[:3, 3] == pytest.approx(arm.truth[record.stamp_ns][:3, 3] + [0.1, 0.0, 0.2], abs=1e-9)


def test_falls_silent_when_the_robot_speaks(start, probe):
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node, cp=False)
    output = node.arms[0]._told._outputs['local/measured_cp']
    arm.until(lambda: output.is_ours, what='a pose of ours')
    arm.cp = True
    arm.until(lambda: not output.is_ours, what='silence')


@pytest.mark.parametrize(('who', 'ours'), [('robot', False), ('model', True)])
def test_who_tells_measured_cp_can_be_settled(start, probe, who, ours):
    node = start(RobotNode, arms=['PSM1'], measured_cp=who, **QUICK)
    told = node.arms[0]._told
    assert (told is not None) is ours and (told is None or all(output.is_ours for output in told._outputs.values()))


def test_tells_set_point_velocity_and_jacobian_where_the_robot_tells_none(start, probe):
    setpoints = probe.listen(PoseStamped, 'PSM1/local/setpoint_cp', DEEP)
    twists = probe.listen(TwistStamped, 'PSM1/measured_cv', DEEP)
    jacobians = probe.listen(Float64MultiArray, 'PSM1/body/jacobian', DEEP)
    node = start(RobotNode, arms=['PSM1'], bases=[0.1, 0.0, 0.2, 0.0, 0.0, np.pi / 2], measured_cp='model', **QUICK)
    arm, rates = Arm(probe, node, cp=False), [0.1, -0.2, 0.01, 0.3, 0.0, 0.1]
    goal = np.array([0.1, -0.1, 0.12, 0.2, 0.1, -0.1])

    def told():
        arm.say(velocity=rates)
        probe.say('PSM1/setpoint_js', joint_state(node.get_clock().now().nanoseconds, '', CHAIN.names, goal))
        return setpoints and twists and jacobians

    probe.until(told, node, what='what the model tells')
    assert pose_from(setpoints[-1], frame='PSM1_base').pose == pytest.approx(CHAIN.forward(goal), abs=1e-9)
    said = twists[-1]
    pose = arm.truth[stamp_to_ns(said.header.stamp)]
    jacobian = CHAIN.jacobian(CHAIN.inverse(pose, arm.positions()).positions)
    x, y, z = (jacobian @ rates)[:3]
    assert said.header.frame_id == 'world'  # a quarter turn about z from the base
    linear = said.twist.linear
    assert [linear.x, linear.y, linear.z] == pytest.approx([-y, x, z], abs=1e-5)
    assert len(jacobians[-1].data) == 36


@pytest.mark.parametrize(
    ('state', 'homed', 'code'),
    [('ENABLED', True, 'OK'), ('PAUSED', True, 'ROBOT_STATE'), ('ENABLED', False, 'ROBOT_STATE')],
)
def test_says_the_operating_state_of_the_robot(start, state, homed, code):
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    node.arms[0]._operating.take(SimpleNamespace(state=state, is_homed=homed, is_busy=False))
    assert node.health.code('operating state PSM1') == code


def test_a_camera_pose_is_not_taken_for_one_in_the_base(start, probe):
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node, cp=False)

    def told():
        stamp_ns = max(arm.truth, default=0)
        if stamp_ns:
            pose = make_transform(np.eye(3), [0.5, 0.0, 0.0]) @ arm.truth[stamp_ns]
            probe.say('PSM1/measured_cp', pose_stamped(stamp_ns, 'ECM', pose))
        status = probe.status('robot: self-check PSM1')
        return status is not None and "'ECM'" in status.message

    arm.until(told, what='the camera frame')
    assert probe.code('robot: self-check PSM1') == 'SELF_CHECK_WAITS'


NAN = [float('nan')] * 6
BAD = [
    ({'name': list(CHAIN.names[:5]), 'position': [0.0] * 5}, 'JOINTS_WRONG'),
    ({'name': [*CHAIN.names[:5], 'roll']}, 'JOINTS_WRONG'),
    ({'position': NAN}, 'NOT_FINITE'),
    ({'position': [9.0] * 6}, 'JOINT_LIMIT'),
    ({'effort': [1.0]}, 'JOINTS_WRONG'),
]


@pytest.mark.parametrize(('changes', 'code'), BAD)
def test_drops_and_counts_what_is_wrong(start, probe, changes, code):
    poses = probe.listen(PoseWithCovarianceStamped, 'PSM1/filtered_cp', DEEP)
    node = start(RobotNode, arms=['PSM1'], **QUICK)
    arm = Arm(probe, node)
    arm.until(lambda: node.health.counters.get(code, 0) > 0, what=code, **changes)
    assert not poses
    arm.until(lambda: probe.code('robot: arm PSM1') == code, what='the reason', **changes)
    arm.until(lambda: poses, what='recovery')


@pytest.mark.parametrize(
    ('changes', 'code'), [*BAD, ({'velocity': [float('inf')] * 6}, 'NOT_FINITE'), ({'name': []}, 'JOINTS_WRONG')]
)
def test_an_arm_whose_states_turn_bad_says_why_and_not_that_it_is_silent(start, probe, changes, code):
    node = start(RobotNode, arms=['PSM1'], silent_after=0.2, **QUICK)
    arm = Arm(probe, node)
    arm.until(lambda: probe.code('robot: arm PSM1') == 'OK', what='OK')
    arm.until(lambda: probe.code('robot: arm PSM1') not in ('', 'OK'), what='the reason', **changes)
    assert probe.code('robot: arm PSM1') == code


def test_a_state_of_another_arm_is_refused_and_any_order_of_joints_taken(start, probe):
    poses = probe.listen(PoseWithCovarianceStamped, 'PSM1/filtered_cp', DEEP)
    node = start(RobotNode, arms=['PSM1'], **QUICK)

    def told(order, frame=''):
        q = CHAIN.middle + 0.01 * np.arange(6)
        names = tuple(CHAIN.names[index] for index in order)
        probe.say('PSM1/measured_js', joint_state(node.get_clock().now().nanoseconds, frame, names, q[order]))
        return q

    probe.until(lambda: told([3, 1, 5, 0, 2, 4]) is not None and bool(poses), node, what='a pose')
    expected = CHAIN.forward((CHAIN.middle + 0.01 * np.arange(6))[None])[0]
    assert pose_from(poses[-1], frame='PSM1_base').pose == pytest.approx(expected, abs=1e-9)

    def refused():
        told([0, 1, 2, 3, 4, 5], 'PSM2_base')
        return node.health.counters.get('WRONG_ARM', 0) > 0

    probe.until(refused, node, what='WRONG_ARM')


@pytest.mark.parametrize(
    ('stamp', 'code'), [(-(10**10), 'STAMP_STALE'), (10**10, 'STAMP_FUTURE'), ('same', 'STAMP_DUPLICATE')]
)
def test_drops_bad_stamps(start, probe, stamp, code):
    node = start(RobotNode, arms=['PSM1'], mirror__joints__max_age=5.0, **QUICK)
    first_ns = node.get_clock().now().nanoseconds

    def told():
        stamp_ns = first_ns if stamp == 'same' else node.get_clock().now().nanoseconds + stamp
        probe.say('PSM1/measured_js', joint_state(stamp_ns, '', CHAIN.names, CHAIN.middle))
        return node.health.counters.get(code, 0) > 0

    probe.until(told, node, what=code)


def test_silence_and_invalid_states_are_said(start, probe):
    node = start(RobotNode, arms=['PSM1'], silent_after=0.2, **QUICK)
    arm = Arm(probe, node)
    arm.until(lambda: probe.code('robot: arm PSM1') == 'OK', what='OK')

    def invalid():
        probe.say('PSM1/measured_js', JointState(name=list(CHAIN.names), position=[0.0] * 6))
        return probe.code('robot: arm PSM1') == 'ROBOT_INVALID'

    probe.until(invalid, node, what='ROBOT_INVALID')
    probe.until(lambda: probe.code('robot: arm PSM1') == 'ROBOT_SILENT', node, what='ROBOT_SILENT')


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'arms': []}, 'at least one'),
        ({'arms': ['PSM1', 'PSM1']}, 'each arm once'),
        ({'arms': ['PSM 1']}, 'topic name'),
        ({'arms': ['PSM1'], 'models': ['psm_clasic']}, "did you mean 'psm_classic'"),
        ({'arms': ['PSM1'], 'tips': ['nose']}, "no link 'nose'"),
        ({'arms': ['PSM1'], 'bases': [0.0]}, 'expected 6 for each of 1 arms'),
        ({'arms': ['PSM1'], 'mirror__joints__names': ['a']}, '1 entries, the chain has 6'),
        ({'arms': ['PSM1'], 'mirror__shaft_link': 'jaw'}, 'does not lie on the way'),
        ({}, 'arms'),
    ],
)
def test_refuses_a_configuration_that_cannot_be(start, settings, text):
    with pytest.raises(ConfigError, match=text):
        start(RobotNode, **settings)
