"""The simulated arm, commanded as crtk_python_client does: QoS by depth, positions and poses with nothing else."""

import numpy as np
import pytest
from rclpy.qos import HistoryPolicy, QoSProfile
from sensor_msgs.msg import JointState

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.nodes.simulated_robot_node import SimulatedRobotNode
from twin_nodes.ros.conversions import pose_stamped

CHAIN = SerialChain(published_model('psm_classic'))
BASE = [0.1, 0.0, 0.2, 0.0, 0.0, 0.0]
QUIET = {'arm__angle_noise': 0.0, 'arm__length_noise': 0.0, 'arm__wrist_slack': 0.0}
CLIENT_QOS = QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST)  # what its ral.publisher and ral.subscriber ask for
GOAL = np.array([0.1, -0.1, 0.12, 0.2, 0.1, -0.1])


@pytest.fixture
def arm(start):
    return start(SimulatedRobotNode, arms=['PSM1'], bases=BASE, task='none', **QUIET)


def stamped(message, node):
    message.header.stamp = node.get_clock().now().to_msg()
    return message


@pytest.mark.parametrize('command', ['servo_jp', 'move_jp'])
def test_positions_without_names_are_those_of_measured_js(arm, probe, command):
    heard = probe.listen(JointState, 'PSM1/measured_js', CLIENT_QOS)

    def there():
        probe.say(f'PSM1/{command}', stamped(JointState(position=GOAL.tolist()), arm), CLIENT_QOS)
        return heard and np.abs(np.array(heard[-1].position) - GOAL).max() < 1e-3

    probe.until(there, arm, what=command)


@pytest.mark.parametrize(('command', 'frame'), [('servo_cp', BASE), ('local/servo_cp', [0.0] * 6)])
def test_a_pose_without_a_frame_is_in_that_of_the_topic(arm, probe, command, frame):
    heard = probe.listen(JointState, 'PSM1/measured_js', CLIENT_QOS)
    pose = make_transform(np.eye(3), frame[:3]) @ CHAIN.forward(GOAL)

    def there():
        message = pose_stamped(1, '', pose)
        probe.say(f'PSM1/{command}', stamped(message, arm), CLIENT_QOS)
        return heard and np.abs(np.array(heard[-1].position) - GOAL).max() < 1e-3

    probe.until(there, arm, what=command)


def test_too_few_positions_without_names_are_refused(arm, probe):
    heard = probe.listen(JointState, 'PSM1/setpoint_js', CLIENT_QOS)

    def refused():
        probe.say('PSM1/servo_jp', stamped(JointState(position=[0.1, 0.2]), arm), CLIENT_QOS)
        return heard and 'JOINTS_WRONG' in probe.codes('simulated_robot: arm PSM1')

    start = arm.arms[0].simulated.setpoint.copy()
    probe.until(refused, arm, what='a refusal')
    np.testing.assert_array_equal(arm.arms[0].simulated.setpoint, start)
