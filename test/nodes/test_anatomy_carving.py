"""anatomy_node carving live: what the drill covers goes, is said once, and comes back on request."""

import nrrd
import numpy as np
import pytest
from node_probe import Published, ToldSilence
from patient_streams import (
    COVARIANCE,
    MS,
    PATIENT_T_ANATOMY,
    TIE_COVARIANCE,
    TOOL_T_TIP,
    TRACKER_T_PATIENT,
    Streams,
    tip_at,
)
from sensor_msgs.msg import Joy, PointCloud2, TimeReference
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.anatomy.removed_receiver import RemovedReceiver, State
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.core.stamps import ALL_NS
from twin_nodes.nodes.anatomy_node import AnatomyNode
from twin_nodes.ros.clouds import CUT, array_from_cloud, surface_from_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.qos import LATCHED, MEASUREMENT, REPLAY_LATCHED, SNAPSHOT
from twin_nodes.ros.removed import removed_cloud, removed_from
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_cloud

RADIUS = 0.001


@pytest.fixture
def volume(tmp_path):
    """Bone with a nerve in it, voxels of 0.5 mm, 20 mm about the origin."""
    labels = np.zeros((44, 44, 44), np.uint8)
    labels[2:42, 2:42, 2:42] = 3
    labels[2:42, 18:24, 6:12] = 5
    path = tmp_path / 'labels.nrrd'
    header = {
        'space': 'left-posterior-superior',
        'space directions': np.eye(3) * 0.5,
        'space origin': [-10.75] * 3,
    }
    nrrd.write(str(path), labels, header)
    return str(path)


class Drilled:
    """An anatomy_node that carves, the streams that feed it and all that it says."""

    def __init__(self, start, probe, volume, **parameters):
        self.probe, self.streams, self.receiver = probe, Streams(probe), RemovedReceiver()
        self.deltas = probe.listen(PointCloud2, 'anatomy/removed', MEASUREMENT)
        self.snapshots = probe.listen(PointCloud2, 'anatomy/removed/snapshot', SNAPSHOT)
        self.patches = probe.listen(PointCloud2, 'anatomy/surface/delta', MEASUREMENT)
        self.surfaces = probe.listen_latched(MarkerArray, 'anatomy/surface')
        self.originals = probe.listen_latched(MarkerArray, 'anatomy/surface/original')
        self.node = start(
            AnatomyNode, structures=['bone', 'nerve'], files=[volume] * 2, labels=[3, 5], carving__enabled=True,
            carving__carver__burr__radius=RADIUS, carving__protected=['nerve'],
            **({'carving__surface_period': 0.2, 'carving__snapshot_period': 0.2} | parameters),
        )  # fmt: skip
        self.volume = self.node.carving.carver.volume

    def until(self, condition, tip, what):
        """Say the tip there until it is so."""
        self.probe.until(condition, self.node, what=what, say=lambda: self.streams.say(tip))

    def follow(self):
        """Take all that was heard, snapshots first where they are older, as a receiver would."""
        messages = [removed_from(cloud, frame='anatomy') for cloud in (*self.snapshots, *self.deltas)]
        for message in sorted(messages, key=lambda m: (m.session, m.sequence, not m.is_delta)):
            self.receiver.take(message)
        return self.receiver


def test_what_the_drill_covers_is_said_and_a_receiver_ends_identical(start, probe, volume):
    drilled = Drilled(start, probe, volume)
    probe.until(lambda: drilled.snapshots and drilled.surfaces and drilled.originals, drilled.node, what='the start')
    drilled.streams.say_ties()
    drilled.until(lambda: drilled.deltas, tip_at(0.0, 0.0, 0.006), 'a delta')
    for step in range(12):
        sequence, z = drilled.node.carving._output._sender.sequence, 0.006 - 0.0003 * (step + 1)
        drilled.until(lambda n=sequence: drilled.node.carving._output._sender.sequence > n, tip_at(0.0, 0.0, z), 'more')
    last = tip_at(0.0, 0.0, z)
    drilled.until(
        lambda: drilled.follow().state is State.CURRENT and drilled.receiver.total == drilled.volume.removed, last,
        'the same voxels',
    )  # fmt: skip
    np.testing.assert_array_equal(drilled.receiver.removed_indices, drilled.volume.removed_indices())
    np.testing.assert_allclose(
        removed_from(drilled.snapshots[-1], frame='anatomy').anatomy_T_index, drilled.volume.anatomy_T_index, atol=1e-8
    )

    def bottom_is_shown():
        marker = drilled.surfaces[-1].markers[0]
        vertices, _ = surface_from_marker(marker)
        depth = vertices[np.linalg.norm(vertices[:, :2], axis=1) < 0.0003][:, 2]
        return marker.text == CUT and np.abs(depth - (z - RADIUS)).min() < 1e-4

    drilled.until(bottom_is_shown, last, 'the bottom of the hole')
    assert drilled.surfaces[-1].markers[1].text == ''
    patch = array_from_cloud(drilled.patches[0])
    assert len(patch) % 3 == 0 and set(patch['structure']) == {0}
    mm3 = drilled.volume.removed * 0.125
    drilled.until(
        lambda: probe.values('anatomy: carving').get('removed_bone_mm3') == f'{mm3:.6g}', last, 'the removed volume'
    )
    # the nerve's upper face: voxel 11 at -10.75 + 0.5 · 11 mm, and half a voxel
    ahead = (z - RADIUS) * 1e3 - (-10.75 + 5.75)
    drilled.until(
        lambda: abs(float(probe.values('anatomy: carving').get('ahead_nerve_mm', 0)) - ahead) < 0.05, last, 'the depth'
    )


def test_a_protected_structure_that_is_cut_raises_an_alarm_and_reset_brings_it_back(start, probe, volume):
    drilled = Drilled(start, probe, volume)
    drilled.streams.say_ties()
    drilled.until(lambda: drilled.volume.counts[2] > 0, tip_at(0.0, 0.0, -0.0065), 'the nerve to be cut')
    probe.until_code('anatomy: cut nerve', 'STRUCTURE_CUT', drilled.node)
    session = drilled.node.carving._output._sender.session
    client = probe.create_client(Trigger, 'anatomy/reset_carving')
    probe.until(client.service_is_ready, drilled.node, what='the service')
    future = client.call_async(Trigger.Request())
    probe.until(future.done, drilled.node, what='the reset')
    assert future.result().success and 'mm³' in future.result().message
    assert drilled.volume.removed == 0

    def reset_heard():
        heard = [removed_from(cloud, frame='anatomy') for cloud in drilled.snapshots]
        return any(message.session == session + 1 and message.total == 0 for message in heard)

    probe.until(reset_heard, drilled.node, what='the empty snapshot')
    probe.until(lambda: drilled.surfaces[-1].markers[0].text == '', drilled.node, what='the surface as it was')


def test_it_cuts_only_while_it_is_switched_on(start, probe, volume):
    drilled = Drilled(start, probe, volume, carving__drill_switch=True)
    drilled.streams.say_ties()
    deep = tip_at(0.0, 0.0, 0.006)
    drilled.until(lambda: drilled.node.carving._newest is not None, deep, 'poses')
    assert drilled.volume.removed == 0
    probe.say('drill/drilling', Bool(data=True))
    drilled.until(lambda: probe.say('drill/drilling', Bool(data=True)) or drilled.volume.removed, deep, 'cutting')
    probe.say('drill/drilling', Bool(data=False))
    off = tip_at(0.004, 0.0, 0.006)
    drilled.until(lambda: probe.say('drill/drilling', Bool(data=False)) or not drilled.node.carving._on, deep, 'off')
    before, newest = drilled.volume.hash, drilled.streams.stamp_ns
    drilled.until(lambda: drilled.node.carving._newest.stamp_ns > newest, off, 'poses beside')
    assert drilled.volume.hash == before


def held_as_at_the_landmarks(stamp_ns):
    """The share of the tip in a registration for which the tool was held as it is in these tests."""
    effect = np.vstack([(PATIENT_T_ANATOMY @ inverse(TOOL_T_TIP))[:3, :3], np.zeros((3, 3))])
    return tip_share_cloud(TipShare(stamp_ns, TOOL_T_TIP[:3, 3], effect), 'drill')


# the errors of tip and registration are 0.17 mm each as independent ones, and cancel where they are the same; with all
# that tracking adds σ is 0.31 or 0.18 mm
UNSURE_ALONE = {
    'carving__carver__max_sigma': 0.00025, 'carving__pairing__acceleration': 0.0,
    'carving__pairing__angular_acceleration': 0.0,
}  # fmt: skip


def test_the_error_of_the_tip_counts_once_in_what_the_drill_may(start, probe, volume):
    drilled = Drilled(start, probe, volume, **UNSURE_ALONE)
    drilled.streams.say_ties()
    deep = tip_at(0.0, 0.0, 0.006)
    drilled.until(lambda: drilled.node.health.counters.get('CARVE_UNSURE', 0) > 5, deep, 'poses that are too unsure')
    assert not drilled.volume.removed
    probe.say_latched(TIP_SHARE, held_as_at_the_landmarks(1))
    drilled.until(lambda: drilled.volume.removed, deep, 'the cut')


def test_in_a_replay_the_drill_waits_for_the_share_of_the_tip(start, probe, volume):
    node = start(
        AnatomyNode, structures=['bone', 'nerve'], files=[volume] * 2, labels=[3, 5], carving__enabled=True,
        carving__carver__burr__radius=RADIUS, use_sim_time=True, **UNSURE_ALONE,
    )  # fmt: skip
    carving, progress = node.carving, TimeReference()
    probe.say(f'{TIP_SHARE}/progress', progress, LATCHED)
    probe.until(lambda: not carving._tips.shares.settled(1), node, what='that there is one who makes shares')
    carving._on_calibration(pose_with_covariance(0, 'drill', TOOL_T_TIP, TIE_COVARIANCE))
    carving._on_registration(pose_with_covariance(5 * MS, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE))
    tool = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ tip_at(0.0, 0.0, 0.006) @ inverse(TOOL_T_TIP)
    for ms in range(10, 100, 10):
        carving._on_patient(pose_with_covariance(ms * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
        carving._on_tool(pose_with_covariance(ms * MS, 'tracker', tool, COVARIANCE))
    assert not carving.carver.volume.removed
    progress.header.stamp, progress.time_ref = ns_to_stamp(90 * MS), ns_to_stamp(5 * MS)
    probe.say(f'{TIP_SHARE}/progress', progress, LATCHED)
    probe.say(TIP_SHARE, held_as_at_the_landmarks(5 * MS), REPLAY_LATCHED)
    probe.until(lambda: carving._newest is not None and carving._newest.stamp_ns == 90 * MS, node, what='all poses')
    assert carving.carver.volume.removed and 'CARVE_UNSURE' not in node.health.counters


def joy(stamp_ns, *buttons):
    message = Joy(buttons=buttons)
    message.header.stamp = ns_to_stamp(stamp_ns)
    return message


def test_a_switch_with_a_stamp_cuts_with_the_same_poses_in_each_replay(start, volume):
    runs, begin = [], 10_000_000_000
    for late in (-150, 0, 90):  # ms by which the words of the switch are heard after their stamps
        node = start(
            AnatomyNode, structures=['bone', 'nerve'], files=[volume] * 2, labels=[3, 5], carving__enabled=True,
            carving__carver__burr__radius=RADIUS, use_sim_time=True, carving__drill_switch=True,
            carving__switch_stamped=True, carving__switch_wait=0.1,
        )  # fmt: skip
        carving = node.carving
        carving._on_calibration(pose_with_covariance(0, 'drill', TOOL_T_TIP, TIE_COVARIANCE))
        carving._on_registration(pose_with_covariance(0, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE))
        words = {205: 1, 405: 0}
        for ms in range(0, 800, 5):
            for stamp, on in words.items():
                if ms == stamp + late:
                    carving._on_joy(joy(begin + stamp * MS, on))
            if ms % 10:
                continue
            tool = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ tip_at(0.0, 0.0, 0.0102 - 0.00001 * ms) @ inverse(TOOL_T_TIP)
            carving._on_patient(pose_with_covariance(begin + ms * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
            carving._on_tool(pose_with_covariance(begin + ms * MS, 'tracker', tool, COVARIANCE))
        assert carving.carver.volume.removed > 10 and 'REPLAY_LATE' not in node.health.counters and not carving._on
        carving._on_joy(joy(begin + 300 * MS, 1))
        assert node.health.counters['REPLAY_LATE'] == 1
        carving._on_joy(joy(begin + 900 * MS))
        assert node.health.counters['DRILL_SWITCH_EMPTY'] == 1
        runs.append(carving.carver.volume.removed_indices().tobytes())
        node.destroy_node()
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize('stop', [0, 120, 430, 790])
def test_a_registration_that_is_late_does_not_end_the_replay_for_the_drill(start, volume, stop):
    """The poses wait for what a slow registration says of their stamps, silent as the streams may be meanwhile."""
    runs = []
    for stops in ((), (stop,)):  # ms up to which it has come when all is silent
        node = start(
            AnatomyNode, structures=['bone', 'nerve'], files=[volume] * 2, labels=[3, 5], carving__enabled=True,
            carving__carver__burr__radius=RADIUS, carving__surface_period=0.2, use_sim_time=True,
        )  # fmt: skip
        carving = node.carving
        carving._silence = silence = ToldSilence()
        carving._output._surface, carving._progress._publisher = surfaces, said = Published(), Published()
        carving._on_calibration(pose_with_covariance(0, 'drill', TOOL_T_TIP, TIE_COVARIANCE))
        carving._on_registration(pose_with_covariance(0, 'patient', PATIENT_T_ANATOMY, TIE_COVARIANCE))
        carving._on_registration_progress(0, 0)
        for ms in range(10, 810, 10):
            tool = TRACKER_T_PATIENT @ PATIENT_T_ANATOMY @ tip_at(0.0, 0.0, 0.0102 - 0.00001 * ms) @ inverse(TOOL_T_TIP)
            carving._on_patient(pose_with_covariance(ms * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
            carving._on_tool(pose_with_covariance(ms * MS, 'tracker', tool, COVARIANCE))
        for come in stops:
            carving._on_registration_progress(come * MS, 0)
            silence.has_ended = True
            carving._on_timer()
            assert [stamp_to_ns(message.header.stamp) for message in said[-1:]] in ([], [come * MS])
        carving._on_registration_progress(ALL_NS, 0)
        carving._on_timer()
        assert carving._newest is not None, 'that it has come further is no silence'
        silence.has_ended = True
        carving._on_timer()
        assert stamp_to_ns(said[-1].header.stamp) == ALL_NS and carving._newest is None
        runs.append((list(surfaces), carving.carver.volume.removed_indices().tobytes()))
        node.destroy_node()
    assert len(runs[0][0]) == 5 and runs[0] == runs[1]


def test_a_registration_that_ended_long_ago_holds_nothing_back(start, volume):
    node = start(
        AnatomyNode, structures=['bone', 'nerve'], files=[volume] * 2, labels=[3, 5], carving__enabled=True,
        use_sim_time=True,
    )  # fmt: skip
    carving = node.carving
    carving._progress._publisher = said = Published()
    carving._on_registration_progress(5 * MS, 0)
    carving._on_patient(pose_with_covariance(10 * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
    carving._on_tool(pose_with_covariance(10 * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE))
    for is_long in (False, True):
        carving._silence = ToldSilence(has_ended=True, is_long=is_long)
        carving._on_timer()
        assert bool(said) is is_long


def test_a_gap_is_not_bridged_and_is_said(start, probe, volume):
    drilled = Drilled(start, probe, volume)
    drilled.streams.say_ties()
    drilled.until(lambda: drilled.volume.removed, tip_at(-0.006, 0.0, 0.004), 'a first hole')
    drilled.streams.stamp_ns += 500 * MS
    before = drilled.volume.removed
    drilled.until(lambda: drilled.volume.removed > before, tip_at(0.002, 0.0, 0.004), 'a second hole')
    assert drilled.node.health.counters['CARVE_PATH_BROKEN'] >= 1
    index = tuple(np.round(drilled.volume.local([-0.002, 0.0, 0.004]) / drilled.volume.spacing).astype(int))
    assert drilled.volume.voxels[index] < 128


def test_the_message_is_the_same_after_the_wire_and_a_broken_one_is_refused(start, probe, volume):
    drilled = Drilled(start, probe, volume)
    drilled.volume.ball(np.zeros(3), np.zeros(3), RADIUS)
    (message,) = drilled.node.carving._output._sender.snapshot()
    cloud = removed_cloud(message, 'anatomy')
    back = removed_from(cloud, frame='anatomy')
    for name in ('session', 'sequence', 'chunk', 'chunks', 'total', 'hash', 'shape'):
        assert getattr(back, name) == getattr(message, name)
    for name in ('starts', 'lengths', 'structures'):
        np.testing.assert_array_equal(getattr(back, name), getattr(message, name))
    with pytest.raises(ValueError, match='frame'):
        removed_from(cloud, frame='patient')
    cloud.width, cloud.row_step, cloud.data = 3, 96, cloud.data[:96]
    with pytest.raises(ValueError, match='expected 4 points'):
        removed_from(cloud, frame='anatomy')


def test_a_protected_structure_must_be_one(start, volume):
    with pytest.raises(ConfigError, match=r'carving\.protected: brain'):
        start(AnatomyNode, structures=['bone'], files=[volume], labels=[3], carving__protected=['brain'])
