"""`twin register robot`: from a bag to a base that robot_node takes."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from typer.testing import CliRunner

from twin_nodes.app.cli import app
from twin_nodes.app.offline_robot import register_robot
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.nodes.robot_node import RobotNodeConfig, base_of
from twin_nodes.ros.conversions import pose_stamped
from twin_nodes.ros.crtk import joint_state

CHAIN = SerialChain(published_model('psm_classic'))
START_NS = 1_700_000_000 * 10**9
JOINTS, POSES = 'sensor_msgs/msg/JointState', 'geometry_msgs/msg/PoseStamped'


@pytest.fixture(scope='module')
def truth():
    return random_transform(np.random.default_rng(1))


def positions_at(t):
    swing = [0.5 * np.sin(0.5 * t), 0.4 * np.cos(0.37 * t), 0.12 + 0.06 * np.sin(0.29 * t)]
    return np.array([*swing, 1.2 * np.sin(0.41 * t), 0.8 * np.sin(0.53 * t), 0.8 * np.cos(0.61 * t)])


@pytest.fixture(scope='module')
def bag(tmp_path_factory, truth):
    """30 s of joints at 100 Hz with a bad one now and then, and of marker poses at 31 Hz between them."""
    folder = tmp_path_factory.mktemp('bags') / 'robot'
    rng = np.random.default_rng(2)
    marker = random_transform(rng, max_distance=0.03)
    with BagWriter(folder) as writer:
        joints = writer.add_topic('/PSM1/measured_js', JOINTS, qos=(OfferedQos(),))
        poses = writer.add_topic('/body/measured_cp', POSES, qos=(OfferedQos(),))
        for tick in range(3000):
            stamp_ns = START_NS + tick * 10**7
            names = CHAIN.names if tick % 500 else CHAIN.names[:5]
            q = positions_at(tick * 0.01)[: len(names)]
            writer.write(joints, stamp_ns, serialize_message(joint_state(stamp_ns, '', names, q)))
        for tick in range(930):
            stamp_ns = START_NS + round(tick * 1e9 / 31.0) + 3_000_000
            true = CHAIN.forward(positions_at((stamp_ns - START_NS) * 1e-9) + np.array([0, 0, 0.004, 0, 0, 0]))
            pose = truth @ true @ marker
            pose[:3, 3] += rng.normal(0.0, 1e-4, 3)
            writer.write(poses, stamp_ns, serialize_message(pose_stamped(stamp_ns, 'tracker', pose)))
    return folder


def test_finds_base_and_offset_and_feeds_the_node(bag, truth, tmp_path):
    file = tmp_path / 'base.yaml'
    report = register_robot(bag, arm='PSM1', topic='body/measured_cp', output=file)
    assert np.linalg.norm(report.result.reference_T_base[:3, 3] - truth[:3, 3]) < 3e-4
    assert [offset.name for offset in report.result.offsets] == ['insertion']
    assert 'joint 3 (insertion) looks off: it reads 4.0' in report.text
    assert '6 joint states left out' in report.text
    base = base_of(RobotNodeConfig(('PSM1',), base_files=(str(file),), reference_frame='tracker'), 0)
    assert base[0] == pytest.approx(report.result.reference_T_base, abs=1e-9)
    assert base[1] == pytest.approx(report.result.covariance, rel=1e-6, abs=1e-18)
    with pytest.raises(ConfigError, match='expected PSM2_base and world'):
        base_of(RobotNodeConfig(('PSM2',), base_files=(str(file),)), 0)


def test_command(bag, tmp_path):
    words = ['register', 'robot', str(bag), '--arm', 'PSM1', '--topic', 'body/measured_cp']
    result = CliRunner().invoke(app, [*words, '-o', str(tmp_path / 'base.yaml')])
    assert result.exit_code == 0, result.output
    assert 'verdict: warn' in result.output and 'base_files' in result.output


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'topic': 'bodi/measured_cp'}, 'did you mean'),
        ({'topic': 'PSM1/measured_js'}, 'carries sensor_msgs/msg/JointState, expected'),
        ({'arm': 'PSM2'}, "no topic 'PSM2/measured_js'"),
        ({'model': 'mtmr'}, "'outer_yaw' is missing|'yaw' is missing|is missing"),
    ],
)
def test_says_what_is_wrong(bag, settings, text):
    with pytest.raises(InputError, match=text):
        register_robot(bag, **{'arm': 'PSM1', 'topic': 'body/measured_cp', **settings})
