"""anatomy_node learns stiffness from what it sees and feels, says it, writes it, and starts from it."""

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from liver_case import build_liver
from patient_streams import Streams, tip_at
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.reduced_patch import patch_forces
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.case import read_case
from twin_nodes.nodes.anatomy_node import AnatomyNode
from twin_nodes.ros.clouds import cloud_from_array
from twin_nodes.ros.conversions import stamp_to_ns, wrench_stamped
from twin_nodes.ros.qos import LATCHED

FACTOR, NOISE = 1.7, 0.0006
QUICK = {
    'deforming__enabled': True,
    'deforming__tools': ['drill'],
    'deforming__session__tissue__fixed': ['back'],
    'deforming__session__compliance__patches': 30,
    'deforming__session__compliance__inner_patches': 8,
    'deforming__session__compliance__modes': 30,
    'deforming__max_age': 60.0,
}


@pytest.fixture
def case(tmp_path):
    return build_liver(tmp_path, 1000)


class Learning:
    """A node that learns, and an organ stiffer than it assumes."""

    def __init__(self, start, probe, case, **parameters):
        self.probe, self.streams, self.rng = probe, Streams(probe), np.random.default_rng(4)
        self.said = probe.listen(DiagnosticArray, 'anatomy/stiffness', LATCHED)
        self.values = probe.listen(Float64MultiArray, 'anatomy/stiffness/values', LATCHED)
        learning = {'enabled': True, 'use': True, 'forces': ['drill'], 'lag': 0.5, 'window': 0.2} | parameters
        named = {f'deforming__learning__{key}': value for key, value in learning.items()}
        self.node = start(AnatomyNode, case=str(case), **QUICK, **named)
        self.session = self.node.deforming.session
        self.model = self.session.body.model
        outer = self.model.mesh.outer_nodes
        self.front = self.model.rest[outer[np.argmin(self.model.rest[outer, 1])]]
        self.streams.say_ties()

    def until(self, condition, place, what, force=None, deadline_s=30.0):
        def say():
            stamp = self.streams.say(tip_at(*place))
            if force is not None:
                felt = -force + self.rng.normal(0.0, 0.02, 3)  # on the tool
                self.probe.say('drill/measured_cf', wrench_stamped(stamp, 'drill_tip', felt, np.zeros(3)))

        self.probe.until(condition, self.node, what=what, deadline_s=deadline_s, say=say)

    def look(self, x, place):
        """Say clouds of the organ until one was used."""
        mesh, seen_ns = self.model.mesh, self.session.seen_ns
        middles = mesh.nodes[mesh.outer_faces].mean(axis=1)
        faces = mesh.outer_faces[middles[:, 1] < np.quantile(middles[:, 1], 0.5)]
        points = np.einsum(
            'ka,kai->ki', self.rng.dirichlet(np.ones(3), 600), x[faces[self.rng.integers(len(faces), size=600)]]
        )
        points += self.rng.normal(0.0, NOISE, points.shape)
        packed = np.zeros(len(points), [(name, np.float32) for name in ('x', 'y', 'z', 'sigma')])
        for axis in range(3):
            packed['xyz'[axis]] = points[:, axis]
        packed['sigma'] = NOISE
        self.probe.say('anatomy/observed', cloud_from_array(self.streams.stamp_ns, 'anatomy', packed))
        self.until(lambda: self.session.seen_ns > seen_ns, place, 'the cloud')

    def pull(self, way):
        self.until(lambda: self.session.stamp_ns, self.front, 'the tip')
        self.probe.say('drill/grasp', Bool(data=True), 1)
        self.until(lambda: self.session.held.size, self.front, 'the grasp')
        nodes, truth = self.session.held, self.model.with_materials(NeoHookean(FACTOR * 3000.0, 0.45))
        loads = Loads(nodes, self.model.rest[nodes] + way)
        solution = truth.solve(loads)
        force = patch_forces(truth, loads, solution.positions).sum(axis=0)
        for step in range(1, 11):
            newest = self.session.stamp_ns
            place = self.front + np.asarray(way) * step / 10
            self.until(lambda newest=newest: self.session.stamp_ns > newest, place, 'a step', force)
        end, there = self.front + way, self.streams.stamp_ns
        self.until(lambda: self.session.stamp_ns > there + 400_000_000, end, 'still', force)
        self.look(solution.positions, end)
        return end, force


def test_it_is_learned_said_written_and_started_from(start, probe, case):
    learning = Learning(start, probe, case)
    learning.until(lambda: learning.session.stamp_ns, learning.front, 'the tip')
    refused = learning.node.deforming.learning._on_write(Trigger.Request(), Trigger.Response())
    assert not refused.success and refused.message.startswith('STIFFNESS_UNSEEN')
    learning.look(learning.model.rest, learning.front)
    end, force = learning.pull(np.array([0.0, -0.013, 0.0]))
    job_ns = learning.session.seen_ns
    learning.until(lambda: learning.said, end, 'the estimate', force, deadline_s=90.0)  # a process starts, niced
    rows = {status.name: {pair.key: pair.value for pair in status.values} for status in learning.said[-1].status}
    assert rows['estimate']['absolute'] == 'true' and int(rows['estimate']['seen_stamp_ns']) == job_ns
    assert stamp_to_ns(learning.said[-1].header.stamp) >= job_ns + 500_000_000  # it counts by the stamps
    liver = rows['liver']
    assert liver['code'] == 'OK' and liver['used'] == 'true'
    assert float(liver['factor_low']) < FACTOR < float(liver['factor_high'])
    assert float(liver['young_pa']) == pytest.approx(3000.0 * float(liver['factor']), rel=1e-4)
    learning.until(lambda: learning.values, end, 'the numbers')
    dims = learning.values[-1].layout.dim
    assert dims[0].label == 'liver,boundary' and len(learning.values[-1].data) == 2 * dims[1].size
    assert learning.values[-1].data[0] == pytest.approx(float(liver['factor']), rel=1e-5)
    assert learning.session.body.model.shear.mean() > 1.2 * learning.model.shear.mean()  # the running model has it
    learning.until(lambda: probe.status('anatomy: stiffness'), end, 'the health')
    client = probe.create_client(Trigger, 'anatomy/write_stiffness')
    probe.until(client.service_is_ready, learning.node, what='the service')
    answer = client.call_async(Trigger.Request())
    probe.until(answer.done, learning.node, what='the file')
    assert answer.result().success, answer.result().message
    stored = yaml.safe_load((case / 'stiffness.yaml').read_text())
    assert stored['kind'] == 'stiffness' and stored['recipe'] == 'anatomy_node' and stored['absolute']
    read_case(case)  # the case is as good as before
    node = start(AnatomyNode, case=str(case), deforming__stiffness=str(case / 'stiffness.yaml'), **QUICK)
    assert node.deforming.session.body.model.shear.mean() == pytest.approx(
        stored['stiffness'][0]['factor'] * learning.model.shear.mean()
    )


def test_forces_of_other_frames_are_dropped(start, probe, case):
    learning = Learning(start, probe, case)
    for force, frame in (([1.0, 0.0, 0.0], 'robot_base'), ([np.nan, 0.0, 0.0], 'anatomy')):
        message = wrench_stamped(learning.streams.stamp_ns, frame, np.array(force), np.zeros(3))
        code = 'NOT_FINITE' if frame == 'anatomy' else 'FRAME_MISMATCH'

        def dropped(message=message, code=code):
            probe.say('drill/measured_cf', message)
            return learning.node.health.counters.get(code)

        probe.until(dropped, learning.node, what=code)


def test_a_file_of_another_case_or_none_is_refused(start, case, tmp_path):
    good = {
        'format': 1, 'kind': 'stiffness', 'case': 'case', 'absolute': True,
        'stiffness': [{'name': 'liver', 'factor': 2.0, 'learned': True}],
    }  # fmt: skip
    for change, said in (
        ({'case': 'other'}, 'learned of the case'),
        ({'kind': 'material'}, 'format'),
        ({'stiffness': [{'name': 'spleen', 'factor': 2.0, 'learned': True}]}, 'no structure'),
        ({'stiffness': [{'name': 'liver', 'factor': 1e9, 'learned': True}]}, 'factor'),
        ({'stiffness': 7}, 'no result'),
    ):
        path = tmp_path / 'stiffness.yaml'
        path.write_text(yaml.safe_dump(good | change))
        with pytest.raises(ConfigError, match=said):
            start(AnatomyNode, case=str(case), deforming__stiffness=str(path), **QUICK)
    with pytest.raises(ConfigError, match='No such file'):
        start(AnatomyNode, case=str(case), deforming__stiffness=str(tmp_path / 'none.yaml'), **QUICK)
