"""calibration_node in the mode robot, and what robot_node makes of it: the base of an arm in a tracker, live."""

import sys
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, random_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.io.results import read_result
from twin_nodes.nodes.calibration_node import CalibrationNode
from twin_nodes.nodes.robot_node import RobotNode
from twin_nodes.nodes.simulated_robot_node import SimulatedRobotNode, placed_at
from twin_nodes.ros.conversions import pose_from, pose_with_covariance
from twin_nodes.ros.crtk import joint_state
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.ties import tie_from, withdrawal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'core' / 'robot'))
from robot_motion import reported, smooth_motion

CHAIN = SerialChain(published_model('psm_classic'))
COVARIANCE = np.diag([4e-8] * 3 + [4e-6] * 3)
DEEP = QoSProfile(depth=1000)
STEP_NS = 40_000_000
QUICK = {
    'mode': 'robot', 'robot__arm': 'PSM1', 'streams__session__clocks_agree': True,
    'streams__session__least': 6.0, 'streams__session__assess': 1.0, 'streams__session__improve': 0.0,
}  # fmt: skip


class Moving:
    """An arm that says its joints, and a tracker that sees a body on its tip: nine seconds, told at once."""

    def __init__(self, probe, node, *, offset=None):
        rng = np.random.default_rng(3)
        self.probe, self.node = probe, node
        self.positions = smooth_motion(CHAIN, rng, 9.0, step=STEP_NS * 1e-9)
        true = self.positions.copy()
        if offset is not None:
            true[:, offset[0]] += offset[1]
        self.base, self.body = random_transform(rng), random_transform(rng, max_distance=0.05)
        self.seen = self.base @ reported(CHAIN, true, rng, position=1e-4, rotation=1e-3) @ self.body
        self.index = 0
        for topic, kind in (('PSM1/measured_js', JointState), ('body/filtered_cp', PoseWithCovarianceStamped)):
            publisher = probe._speakers.setdefault(topic, probe.create_publisher(kind, topic, DEEP))
            probe.until(lambda publisher=publisher: publisher.get_subscription_count() > 0, node, what=topic)
        self.start_ns = node.get_clock().now().nanoseconds - 9_200_000_000

    def say(self):
        if self.index < len(self.positions):
            stamp_ns = self.start_ns + self.index * STEP_NS
            self.probe.say('PSM1/measured_js', joint_state(stamp_ns, '', CHAIN.names, self.positions[self.index]))
            pose = pose_with_covariance(stamp_ns, 'tracker', self.seen[self.index], COVARIANCE)
            self.probe.say('body/filtered_cp', pose)
            self.index += 1

    def until(self, condition, what):
        self.probe.until(condition, self.node, what=what, deadline_s=40.0, say=self.say)


def test_the_base_is_tied_to_the_tracker_with_the_joint_that_is_off(start, probe, tmp_path):
    bases = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/PSM1_base')
    tips = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/body')
    fixed = probe.listen_latched(TFMessage, '/tf_static')
    file = tmp_path / 'psm1.yaml'
    node = start(CalibrationNode, tool='body', result_file=str(file), **QUICK)
    moving = Moving(probe, node, offset=(2, 0.004))
    moving.until(lambda: bases and tips and file.is_file(), 'the base')
    found = tie_from(bases[-1], frame='tracker')
    assert np.linalg.norm(found.pose[:3, 3] - moving.base[:3, 3]) < 1e-3
    assert np.linalg.eigvalsh(found.covariance).min() > 0.0
    assert pose_from(tips[-1], frame='body').pose == pytest.approx(inverse(moving.body), abs=5e-3)
    probe.until_code('calibration: state', 'ROBOT_OFFSET', node)
    assert 'joint 3 (insertion) looks off: it reads 4.' in probe.status('calibration: state').message
    assert float(probe.values('calibration: state')['offset_insertion']) == pytest.approx(0.004, abs=5e-4)
    probe.until(lambda: fixed, node, what='/tf_static')
    edges = {(edge.header.frame_id, edge.child_frame_id) for message in fixed for edge in message.transforms}
    assert {('tracker', 'PSM1_base'), ('body', 'body_tip')} <= edges
    stored = read_result(file, kind='robot_world', parent='PSM1_base', usable=True)
    assert stored.child_frame == 'tracker' and 'insertion' in stored.reasons[0]
    response = node._robot._on_restart(Trigger.Request(), Trigger.Response())
    assert response.success
    probe.until(lambda: tie_from(bases[-1], frame='tracker').withdrawn, node, what='the withdrawal')


def test_simulated_arm_tracker_calibration_and_mirror_find_the_base_together(start, probe):
    bases = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/PSM1_base')
    poses = probe.listen(PoseWithCovarianceStamped, 'PSM1/filtered_cp', DEEP)
    arms = start(
        SimulatedRobotNode, arms=['PSM1'], bases=[0.09, -0.02, 0.15, 0.0, 0.0, 0.0], task='sweep', bodies=['marker'],
        rate_hz=50.0, speed=2.0, arm__joint_offsets=[0.0, 0.0, 0.004, 0.0, 0.0, 0.0], arm__wrist_slack=0.0,
    )  # fmt: skip
    calibration = start(
        CalibrationNode, mode='robot', tool='marker', robot__arm='PSM1', robot__body_topic='measured_cp',
        robot__body_type='PoseStamped', streams__session__clocks_agree=True, streams__session__least=6.0,
    )  # fmt: skip
    nodes = (arms, calibration, start(RobotNode, arms=['PSM1']))

    def placed():
        return poses and poses[-1].header.frame_id == 'tracker'

    probe.until(placed, *nodes, what='the tip in the tracker', deadline_s=60.0)
    base = inverse(placed_at(arms.config.tracker)) @ arms.arms[0].base
    assert tie_from(bases[-1], frame='tracker').pose[:3, 3] == pytest.approx(base[:3, 3], abs=5e-4)
    probe.until_code('calibration: state', 'ROBOT_OFFSET', *nodes)
    assert 'joint 3 (insertion) looks off' in probe.status('calibration: state').message

    def told():
        status = probe.status('robot: base PSM1')
        return status is not None and status.message.startswith('placed in tracker')

    probe.until(told, *nodes, what='the arm that says where it is placed')
    assert not calibration.health.counters


def test_robot_node_takes_the_place_of_the_base_and_gives_it_up(start, probe):
    poses = probe.listen(PoseWithCovarianceStamped, 'PSM1/filtered_cp', DEEP)
    node = start(RobotNode, arms=['PSM1'])
    base = make_transform(np.eye(3), [0.3, 0.0, 0.1])
    frames = lambda: {message.header.frame_id for message in poses[-1:]}  # noqa: E731

    def told():
        stamp_ns = node.get_clock().now().nanoseconds
        probe.say('PSM1/measured_js', joint_state(stamp_ns, '', CHAIN.names, CHAIN.middle))

    def heard(frame):
        told()
        return frames() == {frame}

    probe.until(lambda: heard('PSM1_base'), node, what='poses in the base')
    tie = pose_with_covariance(node.get_clock().now().nanoseconds, 'tracker', base, COVARIANCE)
    probe.say('calibration/PSM1_base', tie, LATCHED)
    probe.until(lambda: heard('tracker'), node, what='poses in the tracker')
    record = pose_from(poses[-1], frame='tracker')
    assert record.pose == pytest.approx(base @ CHAIN.forward(CHAIN.middle[None])[0], abs=1e-9)
    assert record.covariance[0, 0] > COVARIANCE[0, 0]
    probe.until_code('robot: base PSM1', 'OK', node)
    probe.say('calibration/PSM1_base', withdrawal(node.get_clock().now().nanoseconds, 'tracker'), LATCHED)
    probe.until(lambda: heard('PSM1_base'), node, what='poses in the base again')


def test_refuses_a_configuration_that_cannot_be(start):
    with pytest.raises(ConfigError, match=r'robot\.arm'):
        start(CalibrationNode, tool='body', mode='robot')
    with pytest.raises(ConfigError, match=r"did you mean 'psm_classic'"):
        start(CalibrationNode, tool='body', mode='robot', robot__arm='PSM1', robot__model='psm_clasic')
