"""calibration_node: the spin after the pivot, to the whole frame of the tip."""

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from patient_streams import COVARIANCE, MS
from std_srvs.srv import Trigger

from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp
from twin_nodes.io.results import read_result
from twin_nodes.nodes.calibration_node import CalibrationNode
from twin_nodes.ros.conversions import pose_from, pose_with_covariance

START_NS = 1_700_000_000 * 1000 * MS
TIP = np.array([-0.018, 0.011, -0.152])
AXIS = -TIP / np.linalg.norm(TIP)


class Tool:
    """A drill that is tilted about its tip while the node wants a pivot, and spun when it asks for that."""

    def __init__(self, node, probe):
        self.node, self.probe, self.count = node, probe, 0
        self._rng = np.random.default_rng(3)

    def say(self, spin_deg=320.0):
        self.count += 1
        time_s = 0.02 * self.count
        if self.node._spin is None:
            turned = rotation_exp([0.6 * np.cos(2.4 * time_s), 0.6 * np.sin(2.4 * time_s), 0.0])
            turned = turned @ rotation_exp([0.0, 0.0, 0.5 * np.sin(time_s)])
        else:
            turned = rotation_exp(np.radians(spin_deg) / 2.0 * np.sin(1.3 * time_s) * AXIS)
        turned = turned @ rotation_exp(self._rng.normal(0.0, 5e-4, 3))
        pose = make_transform(turned, [0.03, -0.05, 0.1]) @ inverse(make_transform(np.eye(3), TIP))
        pose[:3, 3] += self._rng.normal(0.0, 6e-5, 3)
        stamp_ns = START_NS + 20 * MS * self.count
        self.probe.say('drill/filtered_cp', pose_with_covariance(stamp_ns, 'tracker', pose, COVARIANCE))

    def until(self, condition, what, **say):
        self.probe.until(condition, self.node, what=what, say=lambda: self.say(**say))


def test_a_spin_after_the_pivot_gives_the_whole_frame(start, probe, tmp_path):
    file = tmp_path / 'tip.yaml'
    latched = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/drill')
    node = start(CalibrationNode, tool='drill', spin=True, session__improve=0.5, spinning__improve=0.5,
                 result_file=str(file))  # fmt: skip
    tool = Tool(node, probe)
    tool.until(lambda: node._spin is not None, 'the pivot')
    assert not file.exists()
    probe.until(lambda: 'turn the tool about its shaft' in probe.status('calibration: state').message, what='the words')
    tool.until(file.is_file, 'the result')
    stored = read_result(file, kind='tool_tip', parent='drill', usable=True)

    def same():  # the frame was improved while it was said
        return latched and np.allclose(pose_from(latched[-1], frame='drill').pose, stored.parent_T_child, atol=1e-9)

    probe.until(same, what='the frame')
    record = pose_from(latched[-1], frame='drill')
    np.testing.assert_allclose(record.pose[:3, 2], AXIS, atol=1e-3)  # z from the tip up the shaft
    np.testing.assert_allclose(record.pose[:3, 3], TIP, atol=2e-4)
    assert 0.0 < np.trace(record.covariance[3:, 3:]) < 1e-5
    assert stored.errors['axis_sigma_rad'] > 0.0 and stored.errors['tip_sigma_m'] > 0.0


def test_too_little_spin_is_said_and_restart_begins_with_the_pivot(start, probe):
    node = start(CalibrationNode, tool='drill', spin=True, session__improve=0.2)
    tool = Tool(node, probe)
    tool.until(lambda: node._spin is not None, 'the pivot')
    words = lambda: getattr(probe.status('calibration: state'), 'message', '')  # noqa: E731
    tool.until(lambda: 'of 120°' in words(), 'the advice', spin_deg=60.0)
    assert probe.code('calibration: state') == 'CALIBRATING'
    client = probe.create_client(Trigger, '/calibration/restart')
    probe.until(client.service_is_ready, what='the service')
    answer = client.call_async(Trigger.Request())
    probe.until(answer.done, node, what='the answer')
    assert node._spin is None and not node._finished
