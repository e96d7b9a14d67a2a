"""simulated_liver_node: what it says of tools, ties, clouds and truth."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, transform_points
from twin_nodes.core.simulate.liver_scene import GRASPER, LESIONS, PROBE, tool_T_tip
from twin_nodes.nodes.simulated_liver_node import TRUTH, SimulatedLiverNode
from twin_nodes.ros.anatomy_clouds import observed_points, targets_from
from twin_nodes.ros.conversions import pose_from, stamp_to_ns
from twin_nodes.ros.qos import LATCHED
from twin_nodes.ros.ties import tie_from


def test_it_plays_the_scene_and_says_the_truth(start, probe):
    truth = probe.listen(PointCloud2, TRUTH)
    clouds = probe.listen(PointCloud2, 'anatomy/observed')
    poses = {name: probe.listen(PoseWithCovarianceStamped, f'{name}/filtered_cp') for name in ('patient', PROBE)}
    ties = {
        topic: probe.listen_latched(PoseWithCovarianceStamped, topic)
        for topic in ('registration', f'calibration/{PROBE}')
    }
    begun = probe.listen(Header, 'liver/start', LATCHED)
    node = start(SimulatedLiverNode, patient='patient', scene__tets=600, scene__points=300)
    probe.until(lambda: begun and truth and clouds and all(poses.values()), node, what='the scene', deadline_s=60.0)
    probe.until(lambda: all(ties.values()), node, what='the ties')
    registered = tie_from(ties['registration'][0], frame='patient')
    np.testing.assert_allclose(registered.pose, node.scene.registration, atol=1e-9)
    np.testing.assert_allclose(tie_from(ties[f'calibration/{PROBE}'][0], frame=PROBE).pose, tool_T_tip(), atol=1e-9)
    places = targets_from(truth[0])[1]
    at_rest = transform_points(node.scene.patient_T_anatomy, np.array(list(LESIONS.values())))
    np.testing.assert_allclose(places, at_rest, atol=1e-5)
    assert truth[0].header.frame_id == 'patient'
    points, _ = observed_points(clouds[0], 0.001)
    assert clouds[0].header.frame_id == 'tracker' and len(points) == 300
    stamps = {stamp_to_ns(message.header.stamp) for message in truth}
    shared = [message for message in poses[PROBE] if stamp_to_ns(message.header.stamp) in stamps]
    tip = inverse(node.scene.tracker_T_patient) @ pose_from(shared[0], frame='tracker').pose @ tool_T_tip()
    assert np.linalg.norm(tip[:3, 3]) < 0.3
    probe.until(lambda: probe.values('simulated_liver: scene').get('wrong_clouds') == '1', node, what='the count')


def test_a_patient_with_the_name_of_a_tool_is_refused(start):
    with pytest.raises(ConfigError, match='is the name of a tool'):
        start(SimulatedLiverNode, patient=GRASPER)
