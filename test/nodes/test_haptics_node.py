"""haptics_node: the reduced model for each pose of a grasp, the full model's last frame where it has no answer."""

import numpy as np
import pytest
from geometry_msgs.msg import WrenchStamped
from liver_case import build_liver
from patient_streams import Streams, tip_at
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool

from twin_nodes.app.reduce import reduce_case
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.reduced_patch import PatchConfig, patch_forces
from twin_nodes.core.anatomy.session_body import make_model
from twin_nodes.core.anatomy.session_config import GraspConfig, TissueConfig
from twin_nodes.core.anatomy.session_grasp import take
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.case import read_case
from twin_nodes.nodes.haptics_node import HapticsNode
from twin_nodes.ros.anatomy_clouds import nodes_clouds
from twin_nodes.ros.clouds import array_from_cloud
from twin_nodes.ros.conversions import stamp_to_ns, wrench_stamped
from twin_nodes.ros.qos import LATCHED

MS = 1_000_000
TISSUE = TissueConfig(fixed=('back',))


@pytest.fixture(scope='module')
def learned(tmp_path_factory):
    """A case with a patch that was drawn by up to 8 mm; the case, its body, and where the patch is."""
    folder = tmp_path_factory.mktemp('haptics')
    build_liver(folder, 1000)
    case = read_case(folder / 'case')
    model, held, _ = make_model(case.tets, case.materials, case.regions, TISSUE)
    outer = case.tets.outer_nodes
    front = case.tets.nodes[outer[np.argmin(case.tets.nodes[outer, 1])]]
    config = PatchConfig(reach=0.008, turn=0.05, drags=14, steps=3, modes=12)
    report = reduce_case(folder / 'case', tuple(front), 'front', config, fixed=('back',))
    assert 'reduced_error_percent' in {figure.figure for figure in report.figures}
    nodes = take(model.rest, outer, tip_at(*front), held, GraspConfig()).nodes
    return folder / 'case', model, nodes, model.rest[nodes].mean(axis=0)


class Hand:
    """The node, the streams of a tool that holds tissue, and all that it says."""

    def __init__(self, start, probe, learned, **parameters):
        self.probe, self.streams = probe, Streams(probe, period_ms=2)
        case, self.model, self.nodes, self.middle = learned
        self.wrenches = probe.listen(WrenchStamped, 'haptics/drill/reaction')
        self.touched = probe.listen(PointCloud2, 'haptics/drill/touched')
        self.in_span = probe.listen(Bool, 'haptics/drill/in_span', LATCHED)
        self.node = start(
            HapticsNode, case=str(case), tool='drill', tissue__fixed=['back'], max_age=60.0, **parameters
        )  # fmt: skip
        self.streams.say_ties()

    def until(self, condition, place, what):
        self.probe.until(condition, self.node, what=what, say=lambda: self.streams.say(tip_at(*place)))

    def close_at(self, place):
        self.until(lambda: self.wrenches, place, 'open jaws')
        self.probe.say('drill/grasp', Bool(data=True), 1)
        self.until(lambda: self.node.session._closed, place, 'the jaws')

    def pull(self, shift, steps=8):
        for step in range(1, steps + 1):
            count = self.node.output._count
            place = self.middle + np.asarray(shift) * step / steps
            self.until(lambda count=count: self.node.output._count > count, place, 'a step')

    def full(self, shift):
        """The force on the tool by the full model."""
        loads = Loads(self.nodes, self.model.rest[self.nodes] + shift)
        solution = self.model.solve(loads)
        return -patch_forces(self.model, loads, solution.positions).sum(axis=0), solution.displacement


def force_of(message):
    return np.array([message.wrench.force.x, message.wrench.force.y, message.wrench.force.z])


def test_force_and_tissue_are_those_of_the_full_model_at_the_stamp_of_the_pose(start, probe, learned):
    hand = Hand(start, probe, learned)
    hand.close_at(hand.middle)
    shift = np.array([0.001, -0.006, 0.002])
    hand.pull(shift)
    end, displaced = hand.middle + shift, hand.full(shift)
    hand.until(lambda: np.abs(force_of(hand.wrenches[-1]) - displaced[0]).max() < 0.05 * np.abs(displaced[0]).max(),
               end, 'the force')  # fmt: skip
    error = force_of(hand.wrenches[-1]) - displaced[0]
    # the patient breathes 0.1 mm between its pose and the tool's at most
    assert np.linalg.norm(error) < 0.03 * np.linalg.norm(displaced[0])
    assert hand.wrenches[-1].header.frame_id == 'anatomy'
    assert stamp_to_ns(hand.wrenches[-1].header.stamp) <= hand.streams.stamp_ns
    there_ns = hand.streams.stamp_ns
    hand.until(lambda: stamp_to_ns(hand.touched[-1].header.stamp) > there_ns, end, 'the tissue')
    points = array_from_cloud(hand.touched[-1])
    moved = np.stack([points[name] for name in ('dx', 'dy', 'dz')], axis=1)
    assert points['in_span'].all() and set(hand.nodes) <= set(points['node'])
    np.testing.assert_allclose(moved, displaced[1][points['node']], atol=2e-4)
    assert hand.in_span[-1].data
    hand.until(lambda: probe.values('haptics: haptics').get('state') == 'reduced', end, 'the health')
    assert probe.code('haptics: haptics') == 'OK'
    probe.say('drill/grasp', Bool(data=False), 1)
    hand.until(lambda: not force_of(hand.wrenches[-1]).any(), end, 'open jaws')


def test_beyond_its_span_the_last_frame_of_the_full_model_counts_and_it_is_said(start, probe, learned):
    hand = Hand(start, probe, learned)
    hand.close_at(hand.middle)
    hand.pull([0.0, -0.004, 0.0], 4)
    full_ns = hand.streams.stamp_ns
    force = np.array([0.1, -2.5, 0.3])
    far = hand.middle + np.array([0.0, -0.014, 0.0])

    def told():
        probe.say('anatomy/reaction/drill', wrench_stamped(full_ns, 'anatomy', force, np.zeros(3)))
        return hand.wrenches and np.array_equal(force_of(hand.wrenches[-1]), force)

    hand.pull([0.0, -0.014, 0.0], 4)
    hand.until(told, far, 'the full model')
    assert stamp_to_ns(hand.wrenches[-1].header.stamp) == full_ns  # its own stamp: nothing old passed off as new
    hand.until(lambda: probe.code('haptics: haptics') == 'REDUCED_OUTSIDE', far, 'the code')
    hand.until(lambda: not hand.in_span[-1].data, far, 'the flag')
    near = hand.middle + np.array([0.0, -0.003, 0.0])
    hand.until(lambda: hand.in_span[-1].data, near, 'the way back')
    assert stamp_to_ns(hand.wrenches[-1].header.stamp) > full_ns


def test_jaws_elsewhere_and_tissue_elsewhere_are_said(start, probe, learned):
    hand = Hand(start, probe, learned)
    hand.close_at(hand.middle + np.array([0.01, 0.0, 0.0]))
    hand.until(lambda: probe.code('haptics: haptics') == 'REDUCED_ELSEWHERE', hand.middle, 'elsewhere')
    assert int(probe.values('haptics: haptics')['full_stamp_ns']) == 0
    assert 'there is none' in probe.status('haptics: haptics').message
    hand.until(lambda: hand.node.health.counters.get('REDUCED_NO_FRAME'), hand.middle, 'the count')
    probe.say('drill/grasp', Bool(data=False), 1)
    hand.until(lambda: not hand.node.session._closed, hand.middle, 'open jaws')
    rest, moved = hand.model.rest, np.full_like(hand.model.rest, 0.003)

    def shifted():
        for cloud in nodes_clouds(hand.streams.stamp_ns, 'anatomy', rest + moved, moved, np.zeros(len(rest))):
            probe.say('anatomy/nodes', cloud, LATCHED)
        return hand.node.session.apart > 0.004

    hand.until(shifted, hand.middle, 'a frame of an organ that was pushed aside')
    probe.say('drill/grasp', Bool(data=True), 1)
    hand.until(lambda: probe.code('haptics: haptics') == 'REDUCED_APART', hand.middle, 'apart')
    hand.until(lambda: not hand.in_span[-1].data, hand.middle, 'the flag')


def test_a_model_of_another_body_is_refused(start, learned):
    for parameters in ({'tissue__support': 25.0}, {'tissue__fixed': []}, {'models': ['back']}):
        values = {'tissue__fixed': ['back']} | parameters
        with pytest.raises(ConfigError) as caught:
            start(HapticsNode, case=str(learned[0]), tool='drill', **values)
        assert caught.value.code == 'REDUCED_REFUSED'


def test_without_the_patient_there_is_no_answer(start, probe, learned):
    hand = Hand(start, probe, learned, patient_age=0.05)
    hand.until(lambda: hand.wrenches, hand.middle, 'open jaws')
    hand.streams.stamp_ns += 1000 * MS
    from_ns = hand.streams.stamp_ns

    def unseen():
        hand.streams.say(tip_at(*hand.middle), patient=False)
        return hand.node.health.counters.get('NO_TRANSFORM', 0) > 10

    probe.until(unseen, hand.node, what='poses without a patient')
    assert max(stamp_to_ns(message.header.stamp) for message in hand.wrenches) <= from_ns
