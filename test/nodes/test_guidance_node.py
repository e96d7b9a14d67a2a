"""guidance_node over topics: distances to a sphere against truth, events, and silence when anything is missing."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, WrenchStamped
from patient_streams import COVARIANCE, MS, PATIENT_T_ANATOMY, TIE_COVARIANCE, TOOL_T_TIP, Streams, tip_at
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.carving_voxels import voxelise
from twin_nodes.core.anatomy.removed import RemovedSender
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.core.geometry.ties import TipShare
from twin_nodes.core.guidance.force_profile import ForceProfile
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.io.force_profiles import write_force_profile
from twin_nodes.nodes.guidance_node import GuidanceNode
from twin_nodes.ros.clouds import CUT, array_from_cloud, surface_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.deformed_surfaces import DEFORMED
from twin_nodes.ros.moved_surface import moved_clouds, numbering
from twin_nodes.ros.qos import SNAPSHOT
from twin_nodes.ros.removed import removed_cloud
from twin_nodes.ros.ties import withdrawal
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_cloud

RADIUS = 0.02
BALLS = {'nerve': np.zeros(3), 'artery': np.array([0.06, 0.0, 0.0])}
CLEAR, NEAR, INSIDE = 0, 1, 2


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp('grids'))


def anatomy(names=('nerve', 'artery'), frame='anatomy'):
    markers = MarkerArray()
    for index, name in enumerate(names):
        vertices, triangles = superellipsoid(BALLS.get(name, np.zeros(3)), np.full(3, RADIUS), exponent=1.0)
        markers.markers.append(surface_marker(1, frame, name, index, vertices, triangles, (1.0, 1.0, 1.0, 1.0)))
    return markers


class Guided:
    """A guidance_node, the streams that feed it and all that it says."""

    def __init__(self, start, probe, cache, *, guard=('nerve', 'artery'), **parameters):
        self.probe, self.streams = probe, Streams(probe)
        self.clouds = probe.listen(PointCloud2, 'guidance/clearance')
        self.tips = probe.listen(PoseWithCovarianceStamped, 'guidance/tip')
        self.events = probe.listen_events('guidance/events')
        self.nerve = probe.listen(Float64, 'guidance/nerve/distance')
        self.node = start(
            GuidanceNode, tool='drill', guard=list(guard), grid_spacing=0.002, cache_dir=cache,
            **({'advisor__stale_after': 0.2} | parameters),
        )  # fmt: skip

    def ready(self, anatomy_T_tip, **say):
        """All ties and the anatomy; says the streams until advice comes."""
        self.streams.say_ties()
        self.probe.say_latched('anatomy/surface', anatomy())
        self.until(lambda: self.clouds, anatomy_T_tip, 'advice', **say)

    def until(self, condition, anatomy_T_tip, what, **say):
        def shown():
            if condition():
                return True
            self.streams.say(anatomy_T_tip, **say)
            return False

        self.probe.until(shown, self.node, what=what)

    def steer(self, anatomy_T_tip):
        """Hold the tip there until the advice is of there; returns its rows by name."""
        wanted = self.streams.stamp_ns + 1
        self.until(lambda: self.newest(self.tips) >= wanted, anatomy_T_tip, 'advice')
        return self.rows()

    @staticmethod
    def newest(messages):
        return stamp_to_ns(messages[-1].header.stamp) if messages else 0

    def rows(self):
        names = {index: name for name, index in self.node._guarded.indices.items()}
        return {names[int(row['structure'])]: row for row in array_from_cloud(self.clouds[-1])}

    def happened(self, structure):
        """The events of a structure as (code, zone) in order."""
        values = [
            {pair.key: pair.value for pair in status.values}
            for message in self.events for status in message.status if status.name == f'guidance: {structure}'
        ]  # fmt: skip
        return [(value['code'], value['zone']) for value in values]


def test_distances_sigma_and_closest_points_are_those_of_the_truth(start, probe, cache):
    # the formula below is that of the links alone: nothing is added for what the patient does between two stamps
    still = {'advisor__pairing__acceleration': 0.0, 'advisor__pairing__angular_acceleration': 0.0}
    guided = Guided(start, probe, cache, **still)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    for tip in ([0.0, 0.032, 0.0], [0.03, 0.0, 0.004], [0.0, 0.0, 0.025], [0.012, 0.01, 0.0]):
        rows = guided.steer(tip_at(*tip))
        for name, centre in BALLS.items():
            away = np.array(tip) - centre
            truth = float(np.linalg.norm(away)) - RADIUS
            if truth > 0.028:  # beyond the grid the distance is a lower bound
                assert rows[name]['distance'] <= truth + 1e-4
                continue
            # the ball is a mesh of facets, so its surface lies a little inside the true one
            assert abs(rows[name]['distance'] - truth) < 3e-4
            point = np.array([rows[name]['x'], rows[name]['y'], rows[name]['z']])
            np.testing.assert_allclose(point, centre + away / np.linalg.norm(away) * RADIUS, atol=8e-4)
    assert guided.clouds[-1].header.frame_id == 'anatomy'
    record = pose_from(guided.tips[-1], frame='anatomy')
    # where a sample of the patient was left out it is interpolated, on a breath of 2 mm in 126 samples
    np.testing.assert_allclose(record.pose, tip_at(0.012, 0.01, 0.0), atol=3e-5)
    assert probe.code('guidance: chain') == 'OK'
    # levers: 153 mm of the tool and the way from the patient's body to the tip, both with 0.35 mrad per axis
    from_patient = (PATIENT_T_ANATOMY @ [0.012, 0.01, 0.0, 1.0])[:3]
    lever = np.linalg.norm(TOOL_T_TIP[:3, 3]) ** 2 + np.linalg.norm(from_patient) ** 2
    variance = 2 * 3 * 4e-9 + 2 * 1.2e-7 * lever + 2 * 3e-8 + 2 * 1e-8 * (0.012**2 + 0.01**2)
    assert np.sqrt(np.trace(record.covariance[:3, :3])) == pytest.approx(np.sqrt(variance), rel=0.02)
    assert 0.1 < float(probe.values('guidance: chain')['tip_sigma_mm']) < 0.5  # told once a second, of an earlier tip
    worst = record.covariance[:3, :3]
    assert np.sqrt(np.linalg.eigvalsh(worst)[0]) * 0.99 <= rows['nerve']['sigma'] < 1e-3


def test_the_approach_is_told_zone_by_zone(start, probe, cache):
    # a machine that stalls for 0.2 s would have the advice withdrawn in between
    guided = Guided(start, probe, cache, advisor__guidance__zones__dwell=0.0, advisor__stale_after=5.0)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    assert guided.rows()['nerve']['zone'] == CLEAR
    assert guided.steer(tip_at(0.0, 0.023, 0.0))['nerve']['zone'] == NEAR
    rows = guided.steer(tip_at(0.0, 0.018, 0.0))
    assert rows['nerve']['zone'] == INSIDE and rows['nerve']['distance'] < 0.0
    assert rows['nerve']['probability'] > 0.99 and rows['artery']['probability'] < 1e-6
    assert guided.steer(tip_at(0.0, 0.03, 0.0))['nerve']['zone'] == CLEAR
    probe.until(lambda: len(guided.happened('nerve')) >= 4, what='all events')
    assert guided.happened('nerve') == [
        ('OK', 'clear'), ('STRUCTURE_NEAR', 'near'), ('STRUCTURE_BREACHED', 'inside'), ('OK', 'clear'),
    ]  # fmt: skip
    assert guided.happened('artery') == [('OK', 'clear')]
    assert min(message.data for message in guided.nerve) == pytest.approx(-0.002, abs=3e-4)


@pytest.mark.parametrize('lost', ['patient', 'tool', 'both'])
def test_advice_is_withdrawn_within_stale_after(start, probe, cache, lost):
    guided = Guided(start, probe, cache)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    guided.steer(tip_at(0.0, 0.03, 0.0))
    said = guided.streams.stamp_ns
    for _ in range(24 if lost != 'both' else 0):  # 240 ms of stamps
        guided.streams.say(tip_at(0.0, 0.03, 0.0), **{lost: False})
    probe.until(
        lambda: guided.happened('nerve')[-1:] == [('GUIDANCE_STALE', 'withdrawn')],
        guided.node, what='the withdrawal',
    )  # fmt: skip
    withdrawn_ns = stamp_to_ns(guided.events[-1].header.stamp)
    # its cloud may come later than its event: they are two topics
    probe.until(lambda: guided.newest(guided.clouds) + 200 * MS == withdrawn_ns, guided.node, what='the last advice')
    assert guided.newest(guided.clouds) <= said
    probe.until(lambda: 'GUIDANCE_STALE' in probe.codes('guidance: chain'), what='the state')
    heard = len(guided.clouds)
    rows = guided.steer(tip_at(0.0, 0.03, 0.0))
    assert len(guided.clouds) > heard and rows['nerve']['zone'] == CLEAR


def test_what_is_missing_is_said_in_turn(start, probe, cache):
    guided = Guided(start, probe, cache)
    tip = tip_at(0.0, 0.03, 0.0)
    guided.until(lambda: probe.code('guidance: chain') == 'NOT_CALIBRATED', tip, 'NOT_CALIBRATED')
    guided.streams.say_ties(registration=False)
    guided.until(lambda: probe.code('guidance: chain') == 'NOT_REGISTERED', tip, 'NOT_REGISTERED')
    guided.streams.say_ties()
    guided.until(lambda: probe.code('guidance: chain') == 'ANATOMY_REFUSED', tip, 'ANATOMY_REFUSED')
    assert not guided.clouds
    probe.say_latched('anatomy/surface', anatomy())  # the anatomy comes late
    guided.until(lambda: probe.code('guidance: chain') == 'OK', tip, 'OK')
    assert guided.rows()['nerve']['distance'] == pytest.approx(0.01, abs=3e-4)


def test_a_guarded_structure_that_is_missing_is_said_and_the_others_are_watched(start, probe, cache):
    guided = Guided(start, probe, cache, guard=('nerve', 'carotid'))
    guided.ready(tip_at(0.0, 0.03, 0.0))
    probe.until_code('guidance: anatomy', 'ANATOMY_REFUSED', guided.node)
    assert 'carotid' in probe.status('guidance: anatomy').message
    assert list(guided.rows()) == ['nerve']


def nan_covariance():
    covariance = COVARIANCE.copy()
    covariance[2, 2] = np.nan
    return covariance


BAD_TOOL_POSES = {
    'frame renamed': (('camera', np.eye(4), COVARIANCE, -1), 'FRAME_MISMATCH'),
    'NaN': (('tracker', tip_at(np.nan, 0.0, 0.0), COVARIANCE, -1), 'NOT_FINITE'),
    'NaN covariance': (('tracker', np.eye(4), nan_covariance(), -1), 'NOT_FINITE'),
    'negative variance': (('tracker', np.eye(4), -COVARIANCE, -1), 'NOT_FINITE'),
    'huge': (('tracker', tip_at(1e200, 0.0, 0.0), COVARIANCE, -1), 'OUT_OF_WORKSPACE'),
    'stamp 0': (('tracker', np.eye(4), COVARIANCE, 0), 'STAMP_ZERO'),
    'future': (('tracker', np.eye(4), COVARIANCE, 2_000_000_000 * 10**9), 'STAMP_FUTURE'),
}


@pytest.mark.parametrize('fault', BAD_TOOL_POSES, ids=str)
@pytest.mark.parametrize('topic', ['drill', 'patient'])
def test_a_bad_pose_is_dropped_and_the_advice_goes_on(start, probe, cache, topic, fault):
    (frame, pose, covariance, stamp_ns), code = BAD_TOOL_POSES[fault]
    guided = Guided(start, probe, cache)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    for _ in range(3):
        given = guided.streams.stamp_ns + 3 * MS if stamp_ns < 0 else stamp_ns
        probe.say(f'{topic}/filtered_cp', pose_with_covariance(given, frame, pose, covariance))
    probe.until(lambda: guided.node.health.counters.get(code, 0) == 3, guided.node, what=f'3 × {code}')
    heard = len(guided.clouds)
    guided.until(lambda: len(guided.clouds) >= heard + 3, tip_at(0.0, 0.03, 0.0), 'advice')
    for cloud in guided.clouds:
        rows = array_from_cloud(cloud)
        assert np.isfinite(rows['distance']).all() and np.isfinite(rows['sigma']).all()
        assert abs(rows['distance'][0] - 0.01) < 3e-4


@pytest.mark.parametrize('topic', ['calibration/drill', 'registration'])
def test_a_bad_tie_is_dropped(start, probe, cache, topic):
    guided = Guided(start, probe, cache)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    probe.say_latched(topic, pose_with_covariance(1, 'camera', tip_at(0.0, 0.0, 0.1), TIE_COVARIANCE))
    probe.until(lambda: guided.node.health.counters.get('FRAME_MISMATCH') == 1, guided.node, what='the refusal')
    assert guided.steer(tip_at(0.0, 0.03, 0.0))['nerve']['distance'] == pytest.approx(0.01, abs=3e-4)


def test_bad_anatomy_is_refused_and_the_node_lives(start, probe, cache):
    guided = Guided(start, probe, cache, guard=())
    twice = anatomy(('nerve', 'nerve'))
    renamed = anatomy(('nerve',), frame='camera')
    broken = anatomy(('artery',))
    broken.markers[0].points[5].x = float('nan')
    for message, check in ((renamed, 'guidance: structure nerve'), (broken, 'guidance: structure artery')):
        probe.say_latched('anatomy/surface', message)
        probe.until_code(check, 'ANATOMY_REFUSED', guided.node)
    probe.say_latched('anatomy/surface', twice)
    probe.until(lambda: guided.node.health.counters.get('ANATOMY_REFUSED', 0) >= 1, guided.node, what='the refusal')
    guided.ready(tip_at(0.0, 0.03, 0.0))
    assert set(guided.rows()) == {'nerve', 'artery'}


def test_anatomy_said_again_and_again_makes_no_new_publishers(start, probe, cache):
    guided = Guided(start, probe, cache)
    guided.ready(tip_at(0.0, 0.03, 0.0))
    count = len(list(guided.node.publishers))
    for _ in range(3):
        heard = len(guided.clouds)
        probe.say_latched('anatomy/surface', anatomy())
        guided.until(lambda heard=heard: len(guided.clouds) > heard + 1, tip_at(0.0, 0.03, 0.0), 'advice')
    assert len(list(guided.node.publishers)) == count


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'guard': ['a'], 'near_distances': [0.1, 0.2]}, 'near_distances has 2 entries for 1 guarded'),
        ({'guard': ['a'], 'plan.structure': 'a'}, 'a plan is to be reached'),
        ({'force.profile': 'p.yaml'}, 'go together: give both'),
        ({'guard': ['a'], 'force.profile': 'p.yaml', 'force.structure': 'b'}, 'none of guard'),
        ({'force.profile': 'no.yaml', 'force.structure': 'b'}, 'cannot be read'),
        ({'near_distances': [-0.1], 'guard': ['a']}, 'below its minimum'),
        ({'advisor.guidance.tool.shaft_length': 0.1}, 'must be a unit vector'),
        ({'grid_spacing': 1e-6}, 'below its minimum'),
        ({'advisor.stale_after': 10.0}, 'above its maximum'),
    ],
    ids=str,
)
def test_a_wrong_configuration_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(GuidanceNode, tool='drill', **settings)


def test_a_withdrawn_registration_ends_the_advice_and_a_new_one_brings_it_back(start, probe, cache):
    guided = Guided(start, probe, cache)
    guided.ready(tip_at(0.0, 0.032, 0.0))
    probe.say_latched('registration', withdrawal(guided.streams.stamp_ns, 'patient'))
    refused = guided.node.health

    def more_refused(count):
        before = refused.counters.get('NOT_REGISTERED', 0)
        guided.until(
            lambda: refused.counters.get('NOT_REGISTERED', 0) > before + count, tip_at(0.0, 0.032, 0.0), 'the refusal'
        )

    more_refused(20)  # advice that was on its way has arrived by then
    told = len(guided.clouds)
    more_refused(10)
    assert len(guided.clouds) == told and probe.code('guidance: chain') in ('NOT_REGISTERED', 'GUIDANCE_STALE')
    guided.streams.say_ties()
    guided.until(lambda: len(guided.clouds) > told, tip_at(0.0, 0.032, 0.0), 'advice again')


def test_a_drift_of_the_registration_is_said_in_the_events(start, probe):
    events = probe.listen_events('guidance/events')
    node = start(GuidanceNode, tool='drill')
    status = DiagnosticStatus(name='registration: drift', level=DiagnosticStatus.ERROR, message='register anew')
    for code in ('REGISTRATION_DRIFTED', 'NO_SUCH_CODE'):
        status.values = [KeyValue(key='code', value=code)]
        node._on_registration_event(DiagnosticArray(status=[status]))
    probe.until(lambda: events, node, what='the event')
    assert events[0].status[0].name == 'guidance: registration'
    assert events[0].status[0].values[0].value == 'REGISTRATION_DRIFTED'
    assert node.health.code('registration') == 'REGISTRATION_DRIFTED' and node.health.counters['PROTOCOL'] == 1


def test_distances_follow_what_the_drill_has_taken(start, probe, cache):
    """A hole in the nerve's ball: the tip in its middle is outside what is left, though inside what there was."""
    guided = Guided(start, probe, cache)
    middle = tip_at(0.0, 0.0, 0.012)
    guided.ready(middle)
    assert guided.steer(middle)['nerve']['distance'] < -0.006
    surface = make_surface('nerve', *superellipsoid(BALLS['nerve'], np.full(3, RADIUS), exponent=1.0))
    volume = CarvedVolume(voxelise([surface], 0.0008))
    sender = RemovedSender(volume, 3)
    probe.say('anatomy/removed/snapshot', removed_cloud(sender.snapshot()[0], 'anatomy'), SNAPSHOT)
    sender.delta(1, volume.ball([0.0, 0.0, 0.012], [0.0, 0.0, 0.025], 0.004))  # lost
    delta = sender.delta(2, volume.ball([0.0, 0.0, 0.012], [0.001, 0.0, 0.012], 0.004))
    probe.until(lambda: probe.code('guidance: removed') == 'OK', guided.node, what='the empty snapshot')
    guided.until(
        lambda: (
            probe.say('anatomy/removed', removed_cloud(delta, 'anatomy'))
            or probe.code('guidance: removed') == 'REMOVED_BEHIND'
        ),
        middle,
        'the gap',
    )
    for chunk in sender.snapshot():
        probe.say('anatomy/removed/snapshot', removed_cloud(chunk, 'anatomy'), SNAPSHOT)
    # 4 mm to the wall, less what a grid of 2 mm rounds off at the middle of a hole
    guided.until(lambda: guided.rows()['nerve']['distance'] > 0.002, middle, 'the distance to what is left')
    probe.until_code('guidance: removed', 'OK', guided.node)
    # what is shown now is open where the drill was: the grid must not begin anew from it
    cut = anatomy()
    cut.markers[0].text = CUT
    del cut.markers[0].points[-300:]
    probe.say_latched('anatomy/surface/original', anatomy())
    probe.say_latched('anatomy/surface', cut)
    wanted = guided.streams.stamp_ns + 200 * MS
    guided.until(lambda: guided.newest(guided.tips) >= wanted, middle, 'more advice')
    assert guided.rows()['nerve']['distance'] > 0.002
    volume.reset()
    sender.restart()
    probe.say('anatomy/removed/snapshot', removed_cloud(sender.snapshot()[0], 'anatomy'), SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] < -0.006, middle, 'the ball as it was')


def test_no_piece_that_the_drill_took_is_lost_while_the_guidance_is_busy(start, probe, cache):
    guided = Guided(start, probe, cache, guard=['nerve'])
    guided.ready(tip_at(0.0, 0.03, 0.0))
    surface = make_surface('nerve', *superellipsoid(BALLS['nerve'], np.full(3, RADIUS), exponent=1.0))
    volume = CarvedVolume(voxelise([surface], 0.0015))
    sender = RemovedSender(volume, 3)
    probe.say('anatomy/removed/snapshot', removed_cloud(sender.snapshot()[0], 'anatomy'), SNAPSHOT)
    path = [np.array([0.0, 0.018 - 0.0015 * step, 0.0]) for step in range(24)]
    first, *others = [
        removed_cloud(sender.delta(number, volume.ball(place, place, 0.004)), 'anatomy')
        for number, place in enumerate(path, 1)
    ]

    def heard(sequence):
        return probe.values('guidance: removed').get('sequence') == str(sequence)

    guided.until(lambda: heard(1) or probe.say('anatomy/removed', first), tip_at(0.0, 0.03, 0.0), 'the first piece')
    for delta in others:  # all while the node does something else
        probe.say('anatomy/removed', delta)
    guided.until(lambda: heard(24), tip_at(0.0, 0.03, 0.0), 'the last piece')
    assert probe.code('guidance: removed') == 'OK'
    assert int(probe.values('guidance: removed')['voxels_gone']) == volume.removed
    assert 'REMOVED_BEHIND' not in probe.codes('guidance: removed')


def test_the_error_of_the_tip_counts_once_where_the_registration_was_touched_with_it(start, probe, cache):
    still = {'advisor__pairing__acceleration': 0.0, 'advisor__pairing__angular_acceleration': 0.0}
    guided = Guided(start, probe, cache, **still)
    tip = tip_at(0.0, 0.03, 0.0)
    guided.ready(tip)
    guided.steer(tip)
    before = pose_from(guided.tips[-1], frame='anatomy').covariance
    # the tool was held as it is now: what its tip is off by moves the registration just as much
    patient_R_tool = (PATIENT_T_ANATOMY @ tip @ inverse(TOOL_T_TIP))[:3, :3]
    effect = np.vstack([patient_R_tool, np.zeros((3, 3))])
    other = TipShare(1, TOOL_T_TIP[:3, 3] + 1e-4, effect)
    probe.say_latched(TIP_SHARE, tip_share_cloud(other, 'drill'))  # of a tip that was calibrated anew since
    guided.until(lambda: 1 in guided.node._advisor.shares._shares, tip, 'a share')
    guided.steer(tip)
    np.testing.assert_allclose(pose_from(guided.tips[-1], frame='anatomy').covariance, before, rtol=0.02, atol=1e-10)
    share = TipShare(1, TOOL_T_TIP[:3, 3], effect)
    probe.say_latched(TIP_SHARE, tip_share_cloud(share, 'drill'))
    guided.until(lambda: guided.node._advisor.shares._shares[1].tip[0] == TOOL_T_TIP[0, 3], tip, 'the share')
    guided.steer(tip)
    after = pose_from(guided.tips[-1], frame='anatomy').covariance
    expected = np.trace(before[:3, :3]) - 2 * 3 * TIE_COVARIANCE[0, 0]  # neither here nor there
    assert np.trace(after[:3, :3]) == pytest.approx(expected, rel=0.03)


def ball_at(shift, sigma, *, stamp_ns, beyond=None):
    """What `anatomy/surface/moved` says of the nerve when it has gone that way."""
    vertices, triangles = superellipsoid(BALLS['nerve'], np.full(3, RADIUS), exponent=1.0)
    surface = make_surface('nerve', vertices, triangles)
    places = surface.vertices[numbering(surface)] + shift
    said = [(0, places, np.full(len(places), sigma))]
    return moved_clouds(stamp_ns, 'anatomy', said, {} if beyond is None else {0: beyond(places)})


def test_distances_follow_a_structure_that_deforms_with_the_error_of_its_place(start, probe, cache):
    guided = Guided(start, probe, cache)
    outside = tip_at(0.0, 0.03, 0.0)
    guided.ready(outside)
    before = guided.steer(outside)['nerve']
    probe.say_latched('anatomy/surface/original', anatomy())
    for cloud in ball_at(0.0, 0.0, stamp_ns=0):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.node._guarded.moved.is_alive, outside, 'the body at rest')
    # near by, distances are to the triangles: nothing is rounded off, and the zone goes on
    assert guided.steer(outside)['nerve']['distance'] == pytest.approx(0.01, abs=1e-4)
    shown = anatomy()  # what is shown is coarse, deformed, and not measured to
    shown.markers[0].text = DEFORMED
    del shown.markers[0].points[300:]
    probe.say_latched('anatomy/surface', shown)
    for cloud in ball_at([0.0, 0.006, 0.0], 0.0015, stamp_ns=guided.streams.stamp_ns):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] < 0.005, outside, 'the nerve that came nearer')
    row = guided.steer(outside)['nerve']
    assert row['distance'] == pytest.approx(0.004, abs=1e-4) and row['zone'] == NEAR
    assert row['sigma'] == pytest.approx(np.hypot(before['sigma'], 0.0015), rel=0.1)
    assert (row['x'], row['y']) == pytest.approx((0.0, 0.026), abs=1e-3)
    broken = ball_at([0.0, 0.006, np.nan], 0.0, stamp_ns=guided.streams.stamp_ns)
    probe.say('anatomy/surface/moved', broken[0], SNAPSHOT)
    probe.until(lambda: guided.node.health.counters.get('NOT_FINITE') == 1, guided.node, what='the refusal')
    assert guided.steer(outside)['nerve']['distance'] == pytest.approx(0.004, abs=1e-4)


def test_what_is_carved_of_a_structure_that_deforms_is_left_out_where_it_is_now(start, probe, cache):
    guided = Guided(start, probe, cache)
    motion = np.array([0.0, 0.006, 0.0])
    place = np.array([0.0, 0.0, 0.017])
    middle = tip_at(*(motion + place))  # in the hole, where the tissue is now
    guided.ready(middle)
    probe.say_latched('anatomy/surface/original', anatomy())
    for cloud in ball_at(0.0, 0.0, stamp_ns=0):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.node._guarded.moved.is_alive, middle, 'the body at rest')
    for cloud in ball_at(motion, 0.0, stamp_ns=guided.streams.stamp_ns):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] < -0.0025, middle, 'the ball that moved')
    surface = make_surface('nerve', *superellipsoid(BALLS['nerve'], np.full(3, RADIUS), exponent=1.0))
    volume = CarvedVolume(voxelise([surface], 0.0008))
    sender = RemovedSender(volume, 3)
    volume.ball([0.0, 0.0, 0.025], [0.0, 0.0, 0.016], 0.005)  # in the scan
    for chunk in sender.snapshot():
        probe.say('anatomy/removed/snapshot', removed_cloud(chunk, 'anatomy'), SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] > 0.003, middle, 'the hole where it is now')
    assert guided.steer(middle)['nerve']['distance'] < 0.0055
    # the next motion takes the hole along
    for cloud in ball_at(2.0 * motion, 0.0, stamp_ns=guided.streams.stamp_ns):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] < 0.0, middle, 'tissue beside the hole')
    there = tip_at(*(2.0 * motion + place))
    guided.until(lambda: guided.rows()['nerve']['distance'] > 0.003, there, 'the hole that went along')
    volume.reset()
    sender.restart()
    probe.say('anatomy/removed/snapshot', removed_cloud(sender.snapshot()[0], 'anatomy'), SNAPSHOT)
    guided.until(lambda: guided.rows()['nerve']['distance'] < -0.0025, there, 'the ball as it was')


def test_what_a_plane_cut_off_is_guarded_no_more(start, probe, cache):
    guided = Guided(start, probe, cache)
    outside = tip_at(0.0, 0.03, 0.0)
    guided.ready(outside)
    probe.say_latched('anatomy/surface/original', anatomy())
    for cloud in ball_at(0.0, 0.0, stamp_ns=0):
        probe.say('anatomy/surface/moved', cloud, SNAPSHOT)
    guided.until(lambda: guided.node._guarded.moved.is_alive, outside, 'the body at rest')
    assert guided.steer(outside)['nerve']['distance'] == pytest.approx(0.01, abs=1e-4)

    def said(beyond):
        for cloud in ball_at(0.0, 0.0, stamp_ns=guided.streams.stamp_ns, beyond=beyond):
            probe.say('anatomy/surface/moved', cloud, SNAPSHOT)

    said(lambda places: places[:, 1] - 0.005)
    guided.until(lambda: guided.rows()['nerve']['distance'] > 0.02, outside, 'the cut face')
    row = guided.steer(outside)['nerve']
    assert row['distance'] == pytest.approx(0.025, abs=5e-4) and row['y'] == pytest.approx(0.005, abs=5e-4)
    said(lambda places: places[:, 1] + 1.0)
    guided.until(lambda: guided.rows()['nerve']['distance'] > 1.0, outside, 'nothing left to guard')
    assert 'cut off' in guided.node.health.status('moved nerve').message
    said(None)
    guided.until(lambda: guided.rows()['nerve']['distance'] < 0.011, outside, 'all of it again')


def test_a_deforming_surface_that_is_only_shown_is_followed_too(start, probe, cache):
    guided = Guided(start, probe, cache)
    outside = tip_at(0.0, 0.03, 0.0)
    guided.ready(outside)
    for shift in (0.002, 0.005):
        shown = anatomy()
        for marker in shown.markers:
            marker.text = DEFORMED
        for point in shown.markers[0].points:
            point.y += shift
        probe.say_latched('anatomy/surface', shown)
        guided.until(
            lambda shift=shift: guided.rows()['nerve']['distance'] == pytest.approx(0.01 - shift, abs=2e-4),
            outside, 'the nerve where it is shown',
        )  # fmt: skip
    assert probe.code('guidance: moved nerve') in ('', 'OK')
    field = guided.node._guarded._shown[0].surface  # it was moved, not made anew
    assert any(structure.grid is field for structure in guided.node._advisor._monitor.structures)
    assert guided.node._guarded._others == {0: 1, 1: 1}


def test_the_depth_to_a_planned_surface_and_what_was_cut_beyond_it_are_told(start, probe, cache):
    guided = Guided(start, probe, cache, guard=('nerve',), plan__structure='artery', plan__depth__close=0.004,
                    advisor__stale_after=5.0)  # fmt: skip
    depths = probe.listen(PointCloud2, 'guidance/depth')
    far, near = tip_at(0.06, 0.03, 0.0), tip_at(0.06, 0.0235, 0.0)
    guided.ready(far)
    assert list(guided.rows()) == ['nerve']  # the plan is to be reached, not guarded
    guided.until(lambda: depths, far, 'the depth')
    row = array_from_cloud(depths[-1])[0]
    assert row['depth'] == pytest.approx(0.01, abs=3e-4) and row['band'] == 0 and row['overcut_mm3'] == 0.0
    guided.until(lambda: array_from_cloud(depths[-1])[0]['band'] == 1, near, 'the band')
    probe.until(lambda: any(code == 'PLAN_CLOSE' for code, _ in plan_events(guided)), guided.node, what='the event')
    surface = make_surface('artery', *superellipsoid(BALLS['artery'], np.full(3, RADIUS), exponent=1.0))
    volume = CarvedVolume(voxelise([surface], 0.0008))
    sender = RemovedSender(volume, 3, [1])
    sender.delta(1, volume.ball([0.06, 0.0, 0.03], [0.06, 0.0, 0.018], 0.004))
    for chunk in sender.snapshot():
        probe.say('anatomy/removed/snapshot', removed_cloud(chunk, 'anatomy'), SNAPSHOT)
    expected = 1e9 * volume.removed * volume.voxel_volume  # all of what could be cut lies beyond the plan
    guided.until(lambda: array_from_cloud(depths[-1])[0]['overcut_mm3'] > 0.0, near, 'the cut')
    assert array_from_cloud(depths[-1])[0]['overcut_mm3'] == pytest.approx(expected, rel=0.15)


def test_the_step_of_a_task_is_told_and_weighs_the_fixtures(start, probe, cache):
    guided = Guided(start, probe, cache, task__enabled=True, advisor__stale_after=5.0, task__recogniser__dwell=0.1)
    tasks = probe.listen(DiagnosticArray, 'guidance/task')
    away, there = tip_at(0.0, 0.06, 0.0), tip_at(0.0, 0.04, 0.0)
    guided.ready(away)

    def say(jaw):
        objects = PoseArray(poses=[Pose()])
        objects.header.stamp, objects.header.frame_id = ns_to_stamp(guided.streams.stamp_ns), 'anatomy'
        objects.poses[0].position.y = 0.04
        probe.say('task/objects', objects)
        joint = JointState(position=[jaw])
        joint.header.stamp = objects.header.stamp
        probe.say('drill/jaw/measured_js', joint)

    def state():
        return tasks[-1].status[0].message if tasks else ''

    guided.until(lambda: say(1.0) or state() == 'reach', away, 'the reach')
    guided.until(lambda: say(0.0) or state() in ('grasp', 'transport'), there, 'the grasp')
    values = {pair.key: float(pair.value) for pair in tasks[-1].status[0].values if pair.key.startswith('p_')}
    assert sum(values.values()) == pytest.approx(1.0, abs=0.01) and len(values) == 5
    probe.say('drill/jaw/measured_js', JointState(position=[float('nan')]))
    probe.until(lambda: guided.node.health.counters.get('STAMP_ZERO', 0) >= 1, guided.node, what='the refusal')


def plan_events(guided):
    values = [
        {pair.key: pair.value for pair in status.values}
        for message in guided.events for status in message.status if status.name == 'guidance: plan'
    ]  # fmt: skip
    return [(value['code'], value['band']) for value in values]


def force_of(message):
    return np.array([message.wrench.force.x, message.wrench.force.y, message.wrench.force.z])


def test_a_fixture_pushes_the_tip_out_and_lets_go_when_the_advice_is_withdrawn(start, probe, cache):
    guided = Guided(start, probe, cache, fixtures__safe_distance=0.004, fixtures__slow_distance=0.02)
    wrenches = probe.listen(WrenchStamped, 'guidance/fixture')
    scales = probe.listen(Float64, 'guidance/velocity_scale')
    guided.ready(tip_at(0.0, 0.03, 0.0))
    heights = iter(np.linspace(0.03, 0.0222, 60))  # slowly, so that the hand loads the spring

    def pushed():
        if wrenches and force_of(wrenches[-1])[1] > 0.3:
            return True
        guided.streams.say(tip_at(0.0, next(heights, 0.0222), 0.0))
        return False

    probe.until(pushed, guided.node, what='a force away from the nerve')
    force = force_of(wrenches[-1])
    assert wrenches[-1].header.frame_id == 'anatomy'
    assert abs(force[0]) < 0.2 * force[1] and abs(force[2]) < 0.2 * force[1]
    assert 0.0 <= min(message.data for message in scales) <= 1.0
    probe.until(lambda: not force_of(wrenches[-1]).any(), guided.node, what='no force without poses')


def test_the_measured_force_is_held_against_its_profile(start, probe, cache, tmp_path):
    depths = np.linspace(0.0, 0.02, 21)
    table = 500.0 * depths[:, None]
    write_force_profile(tmp_path / 'p.yaml', ForceProfile(depths, np.array([0.01]), table, table))
    guided = Guided(
        start, probe, cache, force__profile=str(tmp_path / 'p.yaml'), force__structure='nerve',
        force__limits__dwell=0.02, advisor__stale_after=5.0,
    )  # fmt: skip
    expected = probe.listen(WrenchStamped, 'guidance/force/expected')
    residual = probe.listen(WrenchStamped, 'guidance/force/residual')
    there = tip_at(0.0, 0.016, 0.0)  # 4 mm deep
    guided.ready(there)
    guided.until(lambda: expected and abs(force_of(expected[-1])[1] - 2.0) < 0.2, there, 'the expected force')

    def feel(newton, frame='anatomy'):
        message = WrenchStamped()
        message.header.stamp, message.header.frame_id = ns_to_stamp(guided.streams.stamp_ns), frame
        message.wrench.force.y = newton
        probe.say('drill/measured_cf', message)

    def codes():
        values = [{pair.key: pair.value for pair in status.values} for message in guided.events
                  for status in message.status if status.name == 'guidance: force']  # fmt: skip
        return [value['code'] for value in values]

    guided.until(lambda: feel(2.1) or len(residual) > 5, there, 'forces beside the profile')
    assert abs(force_of(residual[-1])[1] - 0.1) < 0.2 and residual[-1].header.frame_id == 'anatomy'
    assert codes() == []
    guided.until(lambda: feel(6.0) or 'FORCE_OFF_PROFILE' in codes(), there, 'the force that is off')
    guided.until(lambda: feel(2.0) or codes()[-1] == 'OK', there, 'the force that is back')
    guided.until(lambda: feel(20.0) or 'FORCE_HIGH' in codes(), there, 'too much force')
    feel(2.0, frame='somewhere')
    probe.until(lambda: guided.node.health.counters.get('FRAME_MISMATCH', 0), guided.node, what='the refusal')


def test_what_is_forbidden_is_shown_as_it_is_now(start, probe, cache):
    shown = probe.listen_latched(MarkerArray, 'guidance/regions')
    guided = Guided(start, probe, cache, fixtures__planes=[0.0, 0.0, -0.03, 0.0, 0.0, 1.0])

    def told():
        return {marker.text: marker for marker in shown[-1].markers[1:]} if shown else {}

    probe.until(lambda: set(told()) == {'plane 0'}, guided.node, what='the plane of the settings')
    probe.say_latched('anatomy/surface', anatomy())
    radius = guided.node.config.advisor.guidance.tool.tip_radius
    text = f'nerve + {1e3 * (0.002 + radius):.1f} mm'
    probe.until(lambda: text in told(), guided.node, what='the structures')
    assert told()[text].scale.x == pytest.approx(0.002 + radius) and len(told()) == 3
    assert told()[text].id == guided.node._guarded.indices['nerve']
    two = PoseArray(poses=[Pose(), Pose()])
    two.header.frame_id = 'anatomy'
    probe.say_latched('guidance/planes', two)
    probe.until(lambda: 'plane 1' in told() and text in told(), guided.node, what='the planes that came')
    two.header.frame_id = 'world'
    probe.say_latched('guidance/planes', two)
    probe.until(lambda: 'plane 0' not in told(), guided.node, what='that refused planes are gone')


def test_the_chosen_route_draws_the_tip_back_and_a_route_of_another_frame_is_refused(start, probe, cache):
    guided = Guided(start, probe, cache)
    wrenches = probe.listen(WrenchStamped, 'guidance/fixture')
    guided.ready(tip_at(0.0, 0.03, 0.0))

    def route(frame):
        message = PoseArray()
        message.header.frame_id = frame
        for x in (-0.1, 0.1):
            pose = Pose()
            pose.position.x, pose.position.y = x, 0.035
            message.poses.append(pose)
        return message

    probe.say_latched('guidance/route', route('anatomy'))
    guided.until(lambda: wrenches and force_of(wrenches[-1])[1] > 0.1, tip_at(0.0, 0.03, 0.0), 'a force to the route')
    probe.say_latched('guidance/route', route('world'))
    guided.until(
        lambda: not force_of(wrenches[-1]).any() and 'PROTOCOL' in probe.values('guidance: counters'),
        tip_at(0.0, 0.03, 0.0), 'no force without a route',
    )  # fmt: skip
