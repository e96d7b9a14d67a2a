"""anatomy_node deforming live: tools, sensors and clouds in, the body with its errors out."""

import json
from contextlib import contextmanager
from itertools import count

import numpy as np
import pytest
from geometry_msgs.msg import WrenchStamped
from node_probe import ToldSilence
from patient_streams import (
    COVARIANCE,
    PATIENT_T_ANATOMY,
    TIE_COVARIANCE,
    TOOL_T_TIP,
    TRACKER_T_PATIENT,
    Streams,
    tip_at,
)
from sensor_msgs.msg import FluidPressure, JointState, PointCloud2
from shape_msgs.msg import Plane
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.build import build
from twin_nodes.core.anatomy.elastic import live
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse, make_transform, transform_points
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.core.simulate.organ import organ
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.io.case import read_case
from twin_nodes.io.meshes import write_surface
from twin_nodes.nodes.anatomy_node import AnatomyNode
from twin_nodes.nodes.guidance_node import GuidanceNode
from twin_nodes.ros.anatomy_clouds import targets_from
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array, surface_from_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_stamped, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.deformed_surfaces import DEFORMED
from twin_nodes.ros.moved_surface import moved_from
from twin_nodes.ros.qos import LATCHED, REPLAY_LATCHED, REPLAY_MEASUREMENT, SNAPSHOT
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_cloud

LESION = np.array([0.02, -0.02, 0.01])
Z_TO_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # z becomes x
RECIPE = """
structures:
  - {name: liver, file: liver.ply}
  - {name: lesion, file: lesion.ply}
tets: {count: 1200, structures: [liver]}
materials:
  - {structure: liver, young: 3000.0, poisson: 0.45}
boundary:
  - {name: back, kind: plane, point: [0.0, 0.06, 0.0], normal: [0.0, -1.0, 0.0]}
"""


@pytest.fixture(scope='module')
def case(tmp_path_factory):
    """A liver with a lesion, as `twin build` makes it."""
    folder = tmp_path_factory.mktemp('case')
    write_surface(folder / 'liver.ply', make_surface('liver', *organ(1200)))
    ball = superellipsoid(LESION, np.full(3, 0.008), exponent=1.0)
    write_surface(folder / 'lesion.ply', make_surface('lesion', *ball))
    (folder / 'case.yaml').write_text(RECIPE)
    assert build(folder / 'case.yaml', output=folder / 'case', options={}) == 0
    return folder / 'case'


class Deformed:
    """A node that deforms, the streams that feed it and all that it says."""

    def __init__(self, start, probe, case, **parameters):
        self.probe, self.streams, self.mesh = probe, Streams(probe), read_case(case).tets
        self.nodes = probe.listen(PointCloud2, 'anatomy/nodes', LATCHED)
        self.targets = probe.listen(PointCloud2, 'anatomy/targets', LATCHED)
        self.surfaces = probe.listen(MarkerArray, 'anatomy/surface', LATCHED)
        self.reactions = probe.listen(WrenchStamped, 'anatomy/reaction/drill')
        quick = {'patches': 30, 'inner_patches': 8, 'modes': 30}
        self.node = start(
            AnatomyNode, case=str(case), deforming__enabled=True,
            **({'deforming__tools': ['drill'], 'deforming__target_structures': ['lesion'],
                'deforming__session__tissue__fixed': ['back'], 'deforming__surface_period': 0.1}
               | {f'deforming__session__compliance__{key}': value for key, value in quick.items()} | parameters),
        )  # fmt: skip
        self.others = ()  # nodes that listen to it
        outer = self.mesh.outer_nodes
        self.front = self.mesh.nodes[outer[np.argmin(self.mesh.nodes[outer, 1])]]
        probe.until(lambda: self.nodes and self.targets and self.surfaces, self.node, what='the start')

    def until(self, condition, place, what):
        """Say the tip there until it is so."""
        self.probe.until(condition, self.node, *self.others, what=what, say=lambda: self.streams.say(tip_at(*place)))

    def held(self):
        return int(self.probe.values('anatomy: deforming').get('held_nodes', 0))

    def take_hold(self):
        self.streams.say_ties()
        tries = count()

        def shown():
            if self.node.deforming.session.held.size:
                return True
            self.streams.say(tip_at(*self.front))
            if self.node.deforming.session.stamp_ns:  # jaws that closed while the tip was not seen have to open first
                self.probe.say('drill/grasp', Bool(data=next(tries) % 20 > 0), 1)
            return False

        self.probe.until(shown, self.node, what='the grasp')

    def drag(self, way, steps=12):
        for step in range(1, steps + 1):
            target = self.front + np.asarray(way) * step / steps
            newest = self.streams.stamp_ns
            self.until(
                lambda newest=newest: self.node.deforming.session.stamp_ns > newest, target, f'step {step}'
            )  # fmt: skip
        return self.front + way

    def displacement(self):
        cloud = array_from_cloud(self.nodes[-1])
        return np.stack([cloud[name] for name in ('dx', 'dy', 'dz')], axis=1)

    def felt(self):
        force = self.reactions[-1].wrench.force
        return np.array([force.x, force.y, force.z])

    def cloud(self, points, frame='anatomy'):
        """Say points seen now."""
        packed = np.zeros(len(points), [(name, np.float32) for name in 'xyz'])
        for axis in range(3):
            packed['xyz'[axis]] = points[:, axis]
        self.streams.stamp_ns += self.streams.period_ns
        self.probe.say('anatomy/observed', cloud_from_array(self.streams.stamp_ns, frame, packed))
        return self.streams.stamp_ns

    def scan(self, rng, moved=(0.0, 0.0, 0.0)):
        middles = self.mesh.nodes[self.mesh.outer_faces].mean(axis=1)
        front = self.mesh.outer_faces[middles[:, 1] < np.quantile(middles[:, 1], 0.45)]
        shares = rng.dirichlet(np.ones(3), 800)
        points = np.einsum('ka,kai->ki', shares, self.mesh.nodes[front[rng.integers(len(front), size=800)]])
        return points + rng.normal(0.0, 0.0005, points.shape) + moved


def lowest(marker):
    return surface_from_marker(marker)[0][:, 1].min()


def test_a_grasp_moves_the_tissue_the_lesion_and_the_surfaces(start, probe, case):
    deformed = Deformed(start, probe, case)
    ids, places, covariances = targets_from(deformed.targets[0])
    np.testing.assert_array_equal(ids, [0])
    np.testing.assert_allclose(places[0], LESION, atol=1e-4)
    assert stamp_to_ns(deformed.targets[0].header.stamp) == 0 and deformed.targets[0].header.frame_id == 'anatomy'
    assert not deformed.displacement().any()
    assert {marker.ns: marker.text for marker in deformed.surfaces[0].markers} == {'liver': '', 'lesion': ''}
    deformed.take_hold()
    end = deformed.drag([0.0, -0.015, 0.0])
    deformed.until(lambda: np.abs(deformed.displacement()).max() > 0.0149, end, 'the drag')
    deformed.until(lambda: lowest(deformed.surfaces[-1].markers[0]) < deformed.front[1] - 0.005, end, 'the surface')
    assert {marker.text for marker in deformed.surfaces[-1].markers} == {DEFORMED}
    deformed.until(lambda: targets_from(deformed.targets[-1])[1][0, 1] < LESION[1] - 3e-4, end, 'the lesion')
    assert np.trace(targets_from(deformed.targets[-1])[2][0]) < np.trace(covariances[0])
    pulled = deformed.displacement()
    assert np.linalg.norm(pulled, axis=1).max() == pytest.approx(0.015, rel=1e-3)
    assert stamp_to_ns(deformed.nodes[-1].header.stamp) <= deformed.streams.stamp_ns
    deformed.until(lambda: deformed.held() >= 4, end, 'the diagnostics')
    values = probe.values('anatomy: deforming')
    assert {'status', 'ms', 'ms_median', 'residual', 'iterations', 'volume_change_percent'} <= values.keys()
    nodes, model = deformed.node.deforming.session.held, deformed.node.deforming.session.body.model
    exact = model.solve(Loads(nodes, deformed.mesh.nodes[nodes] + [0.0, -0.015, 0.0]))
    force = model.force(exact.positions)[nodes].sum(axis=0)  # the tissue pulls back
    assert force[1] > 0.1
    deformed.until(
        lambda: deformed.reactions and np.linalg.norm(deformed.felt() - force) < 0.03 * np.linalg.norm(force),
        end,
        'the force of the tissue',
    )
    assert deformed.reactions[-1].header.frame_id == 'anatomy'
    probe.say('drill/grasp', Bool(data=False), 1)
    deformed.until(lambda: np.abs(deformed.displacement()).max() < 1e-4, end, 'the return')
    deformed.until(lambda: not deformed.felt().any(), end, 'no force')


def test_the_error_of_the_tip_counts_once_in_what_a_tool_holds(start, probe, case):
    still = {'deforming__pairing__acceleration': 0.0, 'deforming__pairing__angular_acceleration': 0.0}
    deformed = Deformed(start, probe, case, **still)
    deformed.streams.say_ties()

    def variance():
        tool = deformed.node.deforming.session._tools._tools.get('drill')
        return tool.variance if tool is not None else 0.0

    deformed.until(variance, deformed.front, 'the tip')
    alone = variance()
    effect = np.vstack([(PATIENT_T_ANATOMY @ inverse(TOOL_T_TIP))[:3, :3], np.zeros((3, 3))])
    share = tip_share_cloud(TipShare(1, TOOL_T_TIP[:3, 3], effect), 'drill')
    probe.say_latched(TIP_SHARE, share)
    deformed.until(lambda: variance() < 0.6 * alone, deformed.front, 'the error that counts once')
    assert variance() == pytest.approx(alone - 2 * TIE_COVARIANCE[0, 0], rel=0.05)
    share.header.frame_id = 'stylus'  # touched with another tool: it is in both again, as two errors
    probe.say_latched(TIP_SHARE, share)
    deformed.until(lambda: variance() == pytest.approx(alone, rel=0.05), deformed.front, 'independent errors')


@pytest.mark.parametrize('frame', ['anatomy', 'patient', 'tracker'])
def test_a_cloud_in_each_frame_moves_the_organ_to_where_it_was_seen(start, probe, case, frame):
    deformed = Deformed(start, probe, case, deforming__session__tissue__fixed=[])
    deformed.streams.say_ties()
    points = deformed.scan(np.random.default_rng(1), [0.003, 0.0, -0.002])
    ways = {
        'anatomy': np.eye(4),
        'patient': PATIENT_T_ANATOMY,
        'tracker': TRACKER_T_PATIENT @ PATIENT_T_ANATOMY,
    }

    def said():
        if probe.code('anatomy: observed') == 'OK' and deformed.node.deforming.session.seen_ns:
            return True
        stamp = deformed.cloud(transform_points(ways[frame], points), frame)
        for shift in (-5_000_000, 5_000_000):  # the patient lies still about the instant of the cloud
            pose = pose_with_covariance(stamp + shift, 'tracker', TRACKER_T_PATIENT, COVARIANCE)
            probe.say('patient/filtered_cp', pose)
        return False

    probe.until(said, deformed.node, what='the cloud')
    probe.until(
        lambda: targets_from(deformed.targets[-1])[1][0, 0] > LESION[0] + 0.001, deformed.node, what='the lesion'
    )
    _, places, covariances = targets_from(deformed.targets[-1])
    missed = places[0] - LESION - [0.003, 0.0, -0.002]
    assert missed @ np.linalg.inv(covariances[0]) @ missed < 16.3 and np.linalg.norm(missed) < 0.003


def test_bad_clouds_are_refused_with_code_and_reason(start, probe, case):
    deformed = Deformed(start, probe, case)
    good = deformed.scan(np.random.default_rng(1))
    bad = {
        'UNIT_SUSPECT': (good * 1e3, 'anatomy', 'millimetres'),
        'OBSERVED_REFUSED': (good + 0.2, 'anatomy', 'mm from the organ'),
        'FRAME_MISMATCH': (good, 'camera', "frame is 'camera'"),
        'NOT_FINITE': (np.where(good > 0.05, np.nan, good), 'anatomy', 'NaN'),
        'NOT_REGISTERED': (good, 'patient', 'not tied'),
    }
    for code, (points, frame, words) in bad.items():

        def said(code=code, points=points, frame=frame):
            if probe.code('anatomy: observed') == code:
                return True
            deformed.cloud(points, frame)
            return False

        probe.until(said, deformed.node, what=code)
        assert words in probe.status('anatomy: observed').message
        assert deformed.node.health.counters[code] >= 1
    assert not deformed.displacement().any() and not deformed.node.deforming.session.seen_ns


def test_a_tool_that_is_not_seen_any_more_lets_go_and_it_is_said(start, probe, case):
    deformed = Deformed(start, probe, case, deforming__max_age=0.2)
    deformed.take_hold()
    probe.until_code('anatomy: grasp drill', 'GRASP_LOST', deformed.node)
    assert not deformed.node.deforming.session.held.size


def test_jaws_with_stamps_and_a_sensor(start, probe, case):
    deformed = Deformed(
        start, probe, case, deforming__grip='jaw', deforming__sensors=['coil'],
        deforming__sensor_places=LESION.tolist(),
    )  # fmt: skip
    deformed.streams.say_ties()
    anatomy_T_coil = make_transform(np.eye(3), LESION + np.array([0.0, 0.0, 0.002]))

    def said():
        if deformed.node.deforming.session.held.size and deformed.node.deforming.session._sensors.seen:
            return True
        stamp = deformed.streams.say(tip_at(*deformed.front))
        pose = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ anatomy_T_coil
        probe.say('coil/filtered_cp', pose_with_covariance(stamp, 'tracker', pose, COVARIANCE))
        jaw = JointState(position=[0.0])
        jaw.header.stamp = ns_to_stamp(stamp)
        probe.say('drill/jaw/measured_js', jaw)
        return False

    probe.until(said, deformed.node, what='jaws and coil')

    def moved():
        said_once = targets_from(deformed.targets[-1])[1][0, 2] > LESION[2] + 5e-4
        if not said_once:
            deformed.streams.say(tip_at(*deformed.front))
        return said_once

    probe.until(moved, deformed.node, what='the lesion with the coil')
    probe.say('drill/jaw/measured_js', JointState(position=[1.0]))  # stamp 0: invalid, so nothing opens
    probe.until(lambda: deformed.node.health.counters.get('STAMP_ZERO'), deformed.node, what='the refusal')
    assert deformed.node.deforming.session.held.size


def test_a_new_registration_and_a_call_begin_anew(start, probe, case):
    deformed = Deformed(start, probe, case)
    deformed.take_hold()
    end = deformed.drag([0.0, -0.01, 0.0], steps=6)
    deformed.until(lambda: np.abs(deformed.displacement()).max() > 0.009, end, 'the drag')
    client = probe.create_client(Trigger, 'anatomy/reset_deformation')
    probe.until(client.service_is_ready, deformed.node, what='the service')
    future = client.call_async(Trigger.Request())
    probe.until(future.done, deformed.node, what='the answer')
    assert future.result().success
    probe.until(lambda: not deformed.displacement().any(), deformed.node, what='the scan')
    deformed.take_hold()
    pose = make_transform(np.eye(3), [0.001, 0.0, 0.0]) @ PATIENT_T_ANATOMY
    probe.say_latched('registration', pose_with_covariance(2, 'patient', pose, TIE_COVARIANCE))

    def anew():
        status = probe.status('anatomy: observed')
        return status is not None and 'registered anew' in status.message

    deformed.until(anew, deformed.front, 'anew')


def test_a_tool_that_holds_nothing_pushes(start, probe, case):
    deformed = Deformed(
        start, probe, case, deforming__pushers=['drill'], deforming__session__contact__radius=0.006,
        deforming__session__contact__shaft_direction=[0.0, -1.0, 0.0], deforming__session__contact__shaft_length=0.02,
    )  # fmt: skip
    deformed.streams.say_ties()
    deformed.until(lambda: deformed.node.deforming.session.stamp_ns, deformed.front - [0.0, 0.002, 0.0], 'the tip')
    end = deformed.drag([0.0, 0.008, 0.0])
    deformed.until(lambda: deformed.displacement()[:, 1].max() > 0.006, end, 'the dent')
    deformed.until(lambda: 'drill_newton' in probe.values('anatomy: deforming'), end, 'the force')
    values = probe.values('anatomy: deforming')
    assert float(values['drill_newton']) > 0.01 and int(values['drill_contacts']) >= 1
    assert int(values['held_nodes']) == 0
    deformed.until(
        lambda: np.abs(deformed.displacement()).max() < 1e-4, deformed.front - [0.0, 0.01, 0.0], 'the return'
    )  # fmt: skip


def test_pressure_presses(start, probe, case):
    deformed = Deformed(start, probe, case)

    def say(topic, message, stamp_ns):
        message.header.stamp = ns_to_stamp(stamp_ns)
        probe.say(topic, message)
        return False

    def pressed(pascal):
        deformed.streams.stamp_ns += deformed.streams.period_ns
        return say('anatomy/pressure', FluidPressure(fluid_pressure=pascal), deformed.streams.stamp_ns)

    values = lambda: probe.values('anatomy: deforming')  # noqa: E731
    probe.until(
        lambda: float(values().get('volume_change_percent', 0)) < -2.0 or pressed(1600.0), deformed.node, what='it'
    )
    probe.until(lambda: probe.code('anatomy: pressure') or pressed(101_325.0), deformed.node, what='the refusal')
    assert probe.code('anatomy: pressure') == 'LOADS_REFUSED'
    # a cut while it presses: what is left is compressed as before, and is not pushed away
    plane = Plane(coef=[1.0, 0.0, 0.0, 0.0])
    said = lambda: probe.code('anatomy: resection') in ('OK', 'RESECTION_REFUSED')  # noqa: E731
    probe.until(lambda: said() or probe.say('anatomy/resect', plane, 10), deformed.node, what='the cut')
    session = deformed.node.deforming.session
    probe.until(
        lambda: probe.code('anatomy: deforming') == 'OK' or pressed(1600.0), deformed.node, what='rest after the cut'
    )
    assert not session.left.is_whole and session._pressing() is not None
    alive = np.unique(session.body.model.tets[session.left.alive])
    assert np.abs(session.positions - session.body.model.rest)[alive].max() < 0.02
    assert float(values()['volume_change_percent']) < -2.0 and float(values()['min_volume_ratio']) > 0.5


def test_a_plane_takes_away_what_lies_beyond(start, probe, case):
    deformed = Deformed(start, probe, case)
    moved = probe.listen(PointCloud2, 'anatomy/surface/moved', SNAPSHOT)
    middle, whole = float(LESION[0]) - 0.02, len(deformed.surfaces[-1].markers[0].points)
    plane = Plane(coef=[1.0, 0.0, 0.0, -middle])

    def cut():
        # two may be on their way before the first is told of: the second finds nothing left
        if probe.code('anatomy: resection') not in ('OK', 'RESECTION_REFUSED'):
            probe.say('anatomy/resect', plane, 10)
        return not len(targets_from(deformed.targets[-1])[0])

    probe.until(cut, deformed.node, what='the cut')
    probe.until(
        lambda: probe.status('anatomy: targets') and 'taken away: lesion' in probe.status('anatomy: targets').message,
        deformed.node,
        what='so said',
    )
    probe.until(lambda: len(deformed.surfaces[-1].markers[0].points) != whole, deformed.node, what='the surface')

    def settled():
        corners = surface_from_marker(deformed.surfaces[-1].markers[0])[0]
        return corners[:, 0].max() < middle + 0.03  # by one tetrahedron at most

    probe.until(settled, deformed.node, what='the shape of what is left')

    def said():  # what the guidance goes by
        parts = {part.structure: part for part in moved_from(moved[-1], frame='anatomy')} if moved else {}
        return parts if parts and all(part.beyond is not None for part in parts.values()) else {}

    probe.until(lambda: bool(said()), deformed.node, what='what was cut off')
    liver, lesion = (said()[number].beyond for number in (0, 1))
    assert (liver > 0.0).any() and (liver < 0.0).any() and (lesion > 0.0).all()
    probe.until(
        lambda: probe.code('anatomy: resection') == 'RESECTION_REFUSED' or probe.say('anatomy/resect', plane, 10),
        deformed.node, what='nothing left to cut',
    )  # fmt: skip


def test_a_drill_in_tissue_that_moved_takes_what_it_meets_there(start, probe, case, tmp_path):
    """And the guidance measures to what is left, where it is now."""
    deformed = Deformed(
        start, probe, case, deforming__session__tissue__fixed=[], deforming__tools=[], carving__enabled=True,
        carving__voxel_size=0.002, carving__carver__burr__radius=0.008, carving__tissue_sigma=0.03,
        carving__surface_period=0.2, carving__snapshot_period=0.2,
    )  # fmt: skip
    deformed.streams.say_ties()
    guided = probe.listen(PointCloud2, 'guidance/clearance')
    guidance = start(
        GuidanceNode, tool='drill', guard=['liver'], grid_spacing=0.004, cache_dir=str(tmp_path),
        advisor__stale_after=5.0,
    )  # fmt: skip
    deformed.others = (guidance,)
    shift = np.array([0.006, 0.0, 0.0])
    points = deformed.scan(np.random.default_rng(1), shift)
    probe.until(
        lambda: deformed.node.deforming.session.seen_ns or not deformed.cloud(points), deformed.node, what='the cloud'
    )
    volume, body = deformed.node.carving.carver.volume, deformed.node.deforming.session
    there = deformed.front + shift
    deformed.until(lambda: volume.removed > 20, there, 'the hole')
    centres = volume.anatomy_T_index[:3, :3] @ np.array(np.unravel_index(volume.removed_indices(), volume.voxels.shape))
    middle = centres.mean(axis=1) + volume.anatomy_T_index[:3, 3]
    found = middle - deformed.front
    assert abs(found[0]) < 0.003 and 0.0 < found[1] < 0.008  # in the scan: not 6 mm beside
    deformed.until(lambda: body.left.share.min() < 0.95, there, 'weaker tissue')

    def shown():
        marker = deformed.surfaces[-1].markers[0]
        corners = surface_from_marker(marker)[0]
        hole = np.linalg.norm(corners - there, axis=1) < 0.0095
        return marker.text == DEFORMED and hole.sum() > 20 and corners[hole, 1].max() > there[1] + 0.003

    deformed.until(shown, there, 'the hole in the surface that moved')
    # the tip is 8 mm from the wall by the burr; voxels of 2 mm and the motion between the vertices take their part
    deformed.until(lambda: guided and array_from_cloud(guided[-1])[0]['distance'] > 0.003, there, 'the guidance')
    assert array_from_cloud(guided[-1])[0]['distance'] < 0.012
    deformed.others = ()
    carving = deformed.node.carving
    away = there - [0.0, 0.06, 0.0]  # else poses that are still under way would carve again after the reset
    deformed.until(lambda: carving._newest.tip.start_T_end[1, 3] < there[1] - 0.03, away, 'the drill away')
    client = probe.create_client(Trigger, 'anatomy/reset_carving')
    probe.until(client.service_is_ready, deformed.node, what='the service')
    future = client.call_async(Trigger.Request())
    probe.until(future.done, deformed.node, what='the answer')
    assert volume.removed == 0 and body.left.is_whole


def test_a_solver_that_fails_is_said_and_nothing_new_is_sent(start, probe, case, monkeypatch):
    deformed = Deformed(start, probe, case)
    deformed.take_hold()
    end = deformed.drag([0.0, -0.004, 0.0], steps=3)
    deformed.until(lambda: np.abs(deformed.displacement()).max() > 0.0039, end, 'the drag')
    monkeypatch.setattr(live, 'fault', lambda *_: '3 tetrahedra would be turned inside out')
    deformed.until(
        lambda: probe.code('anatomy: deforming') == 'DEFORM_FAILED', end - [0.0, 0.004, 0.0], 'the failure'
    )  # fmt: skip
    count, stamp = len(deformed.nodes), stamp_to_ns(deformed.nodes[-1].header.stamp)
    assert int(probe.values('anatomy: deforming')['last_good_stamp_ns']) == stamp
    failed = deformed.node.health.counters['DEFORM_FAILED']
    deformed.until(
        lambda: deformed.node.health.counters['DEFORM_FAILED'] > failed + 2, end - [0.0, 0.003, 0.0], 'more of it'
    )  # fmt: skip
    assert len(deformed.nodes) == count
    assert 'turned inside out' in probe.status('anatomy: deforming').message
    monkeypatch.undo()
    deformed.until(lambda: len(deformed.nodes) > count, end, 'a state that is one')


def test_when_time_is_up_the_best_answer_so_far_is_sent_and_it_is_said(start, probe, case):
    deformed = Deformed(start, probe, case, deforming__budget=0.001, deforming__session__solver__tolerance=1e-8)
    deformed.take_hold()
    place = deformed.front.copy()

    def late():
        place[1] -= 0.0005
        deformed.streams.say(tip_at(*place))
        return probe.code('anatomy: deforming') == 'DEFORM_LATE'

    probe.until(late, deformed.node, what='a late frame')
    assert probe.values('anatomy: deforming')['status'] == 'out_of_time'
    assert 'best answer so far' in probe.status('anatomy: deforming').message
    assert deformed.node.health.counters['DEFORM_LATE'] >= 1
    probe.until(lambda: np.abs(deformed.displacement()).max() > 2e-4, deformed.node, what='what was found so far')


@pytest.mark.parametrize('realtime', [True, False])
def test_a_frame_goes_before_other_work_if_asked(start, probe, case, monkeypatch, realtime):
    hurries, steps = [], []

    @contextmanager
    def hurried():
        hurries.append('begun')
        yield True
        hurries.append('ended')

    monkeypatch.setattr('twin_nodes.ros.deforming.hurried', hurried)
    step = AnatomySession.step
    monkeypatch.setattr(AnatomySession, 'step', lambda *given: steps.append(hurries[-1:]) or step(*given))
    deformed = Deformed(start, probe, case, deforming__realtime=realtime)
    deformed.take_hold()
    steps.clear()  # the first state is worked out at the start
    deformed.until(lambda: len(steps) > 2, deformed.front - [0.0, 0.005, 0.0], 'frames')
    assert steps[:2] == [['begun'] if realtime else []] * 2


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'deforming__session__tissue__fixed': ['front']}, "no region 'front' in the case, there are: back"),
        ({'deforming__target_structures': ['gall']}, "no structure 'gall'"),
        ({'deforming__targets': ['t'], 'deforming__target_places': [1.0, 0.0, 0.0]}, 'outside the mesh'),
        ({'structures': ['spleen']}, 'no structure could be read'),
    ],
    ids=['region', 'structure', 'place', 'surface'],
)
def test_settings_that_do_not_fit_the_case_do_not_start(start, case, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(AnatomyNode, case=str(case), deforming__enabled=True, **settings)


def test_a_case_that_was_changed_does_not_start(start, case, tmp_path):
    import shutil

    shutil.copytree(case, tmp_path / 'case')
    manifest = json.loads((case / 'manifest.json').read_text())
    name = sorted(manifest['files'])[0]
    content = bytearray((tmp_path / 'case' / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / 'case' / name).write_bytes(content)
    with pytest.raises(ConfigError, match='is not what was built'):
        start(AnatomyNode, case=str(tmp_path / 'case'))


def test_a_case_shows_its_structures_and_can_be_carved(start, probe, case):
    latched = probe.listen_latched(MarkerArray, 'anatomy/surface')
    node = start(AnatomyNode, case=str(case))
    probe.until(lambda: latched, node, what='the surfaces')
    assert [marker.ns for marker in latched[0].markers] == ['liver', 'lesion']
    carved = start(AnatomyNode, case=str(case), structures=['lesion'], carving__enabled=True, carving__voxel_size=0.001)
    assert carved.carving.carver.volume.voxel_volume == pytest.approx(1e-9)


def test_the_tie_of_a_tool_is_that_of_its_tip(start, probe, case):
    """What is held follows the calibrated tip, not the marker body."""
    deformed = Deformed(start, probe, case)
    deformed.take_hold()
    nodes = deformed.node.deforming.session.held
    away = np.linalg.norm(deformed.mesh.nodes[nodes] - deformed.front, axis=1)
    assert away.min() < 1e-6 and np.linalg.norm(TOOL_T_TIP[:3, 3]) > 0.1


class Replayed:
    """A node in replay that is given one recording, its topics in any order, and the frames that it makes of it."""

    STEPS = 40
    TOPICS = ('patient/filtered_cp', 'drill/filtered_cp', 'drill/jaw/measured_js', 'anatomy/observed')

    def __init__(self, start, probe, case, **parameters):
        self.probe, self.frames = probe, {}
        self.mesh = read_case(case).tets
        self.node = start(
            AnatomyNode, case=str(case), use_sim_time=True, deforming__enabled=True, deforming__tools=['drill'],
            deforming__grip='jaw', deforming__event_wait=0.05, deforming__target_structures=['lesion'],
            deforming__session__tissue__fixed=['back'], deforming__session__compliance__patches=20,
            deforming__session__compliance__inner_patches=4, deforming__session__compliance__modes=20, **parameters,
        )  # fmt: skip
        self.messages = probe.listen(PointCloud2, 'anatomy/nodes', REPLAY_LATCHED)

    def play(self, recording, order, *, late=(), at_end=None):
        self.probe.say_latched('calibration/drill', pose_with_covariance(0, 'drill', TOOL_T_TIP, TIE_COVARIANCE))
        if 'burr/filtered_cp' in order:
            self.probe.say_latched('calibration/burr', pose_with_covariance(0, 'burr', TOOL_T_TIP, TIE_COVARIANCE))
        self.probe.say_latched('registration', pose_with_covariance(0, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE))
        for topic in order:
            self.probe._speakers.setdefault(
                topic, self.probe.create_publisher(type(recording[topic][0]), topic, REPLAY_MEASUREMENT)
            )
        ready = self.probe._speakers
        self.probe.until(
            lambda: all(ready[topic].get_subscription_count() for topic in order)
            and self.node.deforming.input._registration.at(1) is not None,
            self.node, what='the streams',
        )  # fmt: skip
        end = stamp_to_ns(recording['drill/filtered_cp'][-1].header.stamp)
        for topic in (*(topic for topic in order if topic not in late), *late):
            if topic in late:  # all others are there
                self.probe.until(
                    lambda: self.node.deforming.input._newest_ns >= end, self.node, what='the tool'
                )  # fmt: skip
            for message in recording[topic]:
                self.probe.say(topic, message, REPLAY_MEASUREMENT)
        if at_end is not None:
            at_end(self.node, self.probe)
        last = end - 40_000_000
        self.probe.until(
            lambda: self.messages and stamp_to_ns(self.messages[-1].header.stamp) >= last, self.node, what='the end'
        )
        return {stamp_to_ns(message.header.stamp): bytes(message.data) for message in self.messages}


def recording_of(mesh):
    """A tool that closes on the tissue, draws it along, and a cloud of it as it was."""
    outer = mesh.outer_nodes
    front = mesh.nodes[outer[np.argmin(mesh.nodes[outer, 1])]]
    found = {topic: [] for topic in Replayed.TOPICS}
    for step in range(Replayed.STEPS):
        stamp = 1_000_000_000 + step * 10_000_000
        anatomy_T_tip = tip_at(*(front - [0.0, 0.0004 * step, 0.0]))
        tool = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ anatomy_T_tip @ inverse(TOOL_T_TIP)
        found['patient/filtered_cp'].append(pose_with_covariance(stamp, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
        found['drill/filtered_cp'].append(pose_with_covariance(stamp, 'tracker', tool, COVARIANCE))
        jaw = JointState(position=[0.0 if step > 3 else 1.0])
        jaw.header.stamp = ns_to_stamp(stamp)
        found['drill/jaw/measured_js'].append(jaw)
    packed = np.zeros(len(outer), [(name, np.float32) for name in 'xyz'])
    for axis in range(3):
        packed['xyz'[axis]] = mesh.nodes[outer, axis]
    found['anatomy/observed'] += [
        cloud_from_array(stamp, 'anatomy', packed) for stamp in (1_050_000_000, 1_150_000_000)
    ]
    return found


def test_a_replay_gives_the_same_nodes_bit_for_bit(start, probe, case):
    runs = []
    for order in (Replayed.TOPICS, Replayed.TOPICS[::-1]):
        replayed = Replayed(start, probe, case)
        events_first = sorted(order, key=lambda topic: topic.endswith('filtered_cp'))
        runs.append(replayed.play(recording_of(replayed.mesh), events_first))
        replayed.node.destroy_node()
        replayed.messages.clear()
    first, second = runs
    assert len(first) > 8 and first == second
    assert len(set(first.values())) > 5


def test_a_plane_with_a_stamp_cuts_the_same_in_each_replay(start, probe, case):
    stamped, runs = 'anatomy/resect/stamped', []
    for first in (True, False):  # whether the plane is heard before all others, or just before the tool
        replayed = Replayed(start, probe, case)
        recording = recording_of(replayed.mesh)
        # beyond x = 10 mm goes, while the tissue is drawn along
        recording[stamped] = [pose_stamped(1_200_000_000, 'anatomy', make_transform(Z_TO_X, [0.01, 0.0, 0.0]))]
        others = [topic for topic in Replayed.TOPICS if topic != 'drill/filtered_cp']
        order = [stamped, *others] if first else [*others, stamped]
        nodes = replayed.play(recording, [*order, 'drill/filtered_cp'])
        probe.until(lambda: replayed.node.deforming.session.left.volume, replayed.node, what='the cut')  # noqa: B023
        left = replayed.node.deforming.session.left
        runs.append((nodes, left.share.tobytes()))
        assert 0.0 < left.volume < 1e-3
        replayed.node.destroy_node()
        replayed.messages.clear()
    common = runs[0][0].keys() & runs[1][0].keys()
    assert len(common) > 8 and all(runs[0][0][stamp] == runs[1][0][stamp] for stamp in common)
    assert runs[0][1] == runs[1][1]


def the_drill_looks_first(node, probe):
    """Have the drill's part see first that the streams have ended, while its last poses wait for the tissue."""
    carving = node.carving
    probe.until(lambda: carving._turns and carving._newest is not None, node, what='poses that wait')
    silence, carving._silence = carving._silence, ToldSilence(has_ended=True)
    carving._on_timer()
    assert carving._newest is not None, 'what is still due comes after the last pose'
    carving._silence = silence


def test_a_replay_of_a_drill_in_tissue_that_moves_gives_the_same_bits(start, probe, case):
    runs = []
    for late in ((), ('burr/filtered_cp',)):  # whether the drill is heard among the others or after them
        replayed = Replayed(
            start, probe, case, carving__enabled=True, carving__tool='burr', carving__tissue_sigma=0.05,
            carving__voxel_size=0.002, carving__carver__burr__radius=0.006,
        )  # fmt: skip
        recording = recording_of(replayed.mesh)
        outer = replayed.mesh.nodes[replayed.mesh.outer_nodes]
        beside = outer[np.argmin(outer[:, 1])] + [0.012, -0.012, 0.0]  # into what the grasp draws along
        recording['burr/filtered_cp'] = [
            pose_with_covariance(
                1_000_000_000 + step * 10_000_000 + 3_000_000,  # between the others
                'tracker',
                TRACKER_T_PATIENT
                @ PATIENT_T_ANATOMY
                @ tip_at(*(beside + np.array([0.0, 0.001 * step, 0.0])))
                @ inverse(TOOL_T_TIP),
                COVARIANCE,
            )
            for step in range(Replayed.STEPS)
        ]
        order = sorted((*Replayed.TOPICS, 'burr/filtered_cp'), key=lambda topic: topic.endswith('filtered_cp'))
        nodes = replayed.play(recording, order, late=late, at_end=the_drill_looks_first if late else None)
        carving = replayed.node.carving
        probe.until(
            lambda carving=carving, feed=replayed.node.deforming.feed: (
                carving.carver.volume.removed and not feed.waits and carving._newest is None  # the last is worked in
            ),
            replayed.node, what='the last of the burr',
        )  # fmt: skip
        volume = carving.carver.volume
        runs.append((nodes, volume.removed_indices().tobytes(), replayed.node.deforming.session.left.share.tobytes()))
        assert volume.removed > 100 and len(nodes) > 8
        replayed.node.destroy_node()
        replayed.messages.clear()
    common = runs[0][0].keys() & runs[1][0].keys()
    assert len(common) > 8 and all(runs[0][0][stamp] == runs[1][0][stamp] for stamp in common)
    assert runs[0][1:] == runs[1][1:]


def test_tissue_that_nobody_saw_is_cut_where_it_is_predicted_only_if_that_is_allowed(start, probe, case):
    for allowed in (False, True):
        deformed = Deformed(
            start, probe, case, deforming__tools=[], carving__enabled=True, carving__voxel_size=0.002,
            carving__carver__burr__radius=0.008, **({'carving__tissue_sigma': 0.03} if allowed else {}),
        )  # fmt: skip
        deformed.streams.say_ties()
        volume = deformed.node.carving.carver.volume
        if allowed:
            deformed.until(lambda volume=volume: volume.removed > 20, deformed.front, 'the hole')
            deformed.until(
                lambda: float(probe.values('anatomy: carving').get('tissue_sigma_mm', 0.0)) > 2.0, deformed.front, 'σ'
            )
        else:
            deformed.until(lambda: probe.code('anatomy: carving') == 'CARVE_UNSURE', deformed.front, 'the refusal')
            assert not volume.removed and 'tissue_sigma' in probe.status('anatomy: carving').message
        deformed.node.destroy_node()
