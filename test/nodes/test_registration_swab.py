"""registration_node beyond landmarks: a swabbed surface, clouds of other sensors, targets, and the watch for drift."""

import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from patient_streams import COVARIANCE, PATIENT_T_ANATOMY, TIE_COVARIANCE, TOOL_T_TIP, TRACKER_T_PATIENT
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse, make_transform, rotation_exp, transform_points
from twin_nodes.core.simulate.organ import organ, organ_points, sample_organ
from twin_nodes.io.landmarks import write_landmarks
from twin_nodes.io.results import read_result
from twin_nodes.nodes.registration_node import RegistrationNode
from twin_nodes.ros.clouds import array_from_cloud, cloud_from_array, surface_marker
from twin_nodes.ros.conversions import pose_from, pose_with_covariance

MS = 1_000_000
DIRECTIONS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.1, 0.0], [0.0, -1.0, 0.2]])
PLACES = organ_points(DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1)[:, None])
NAMES = ('hilum', 'dome', 'apex', 'lobe', 'edge')
TARGETS = {'tumour': np.array([0.01, 0.0, 0.02]), 'vessel': np.array([-0.03, 0.01, 0.0])}
NOISE = 0.2e-3


class Room:
    """A node that is fed in its own process: no message is on its way, so that no test waits."""

    def __init__(self, start, tmp_path, *, landmarks=True, **parameters):
        self.rng = np.random.default_rng(3)
        write_landmarks(tmp_path / 'landmarks.yaml', dict(zip(NAMES, PLACES, strict=True)))
        write_landmarks(tmp_path / 'targets.yaml', TARGETS)
        if landmarks:
            parameters['landmarks_file'] = str(tmp_path / 'landmarks.yaml')
        self.node = start(
            RegistrationNode, tool='drill', structure='liver', targets_file=str(tmp_path / 'targets.yaml'),
            session__dwell__min_duration_s=0.6, **parameters,
        )  # fmt: skip
        self.stamp_ns = time.time_ns() - 3600 * 1000 * MS
        self.moved = np.eye(4)
        vertices, triangles = organ(3000)
        marker = surface_marker(0, 'anatomy', 'liver', 0, vertices, triangles, (1.0, 1.0, 1.0, 1.0))
        self.node._swab_input._on_surface(MarkerArray(markers=[marker]))
        self.node._on_calibration(pose_with_covariance(1, 'drill', TOOL_T_TIP, TIE_COVARIANCE))

    def say(self, tip_anatomy, step_ms=20):
        self.stamp_ns += step_ms * MS
        turn = rotation_exp(0.2 * self.rng.normal(size=3))
        patient_T_tip = self.moved @ PATIENT_T_ANATOMY @ make_transform(turn, tip_anatomy)
        tracker_T_tool = TRACKER_T_PATIENT @ patient_T_tip @ inverse(TOOL_T_TIP)
        streams = self.node._streams
        patient = pose_with_covariance(self.stamp_ns, 'tracker', TRACKER_T_PATIENT, COVARIANCE)
        streams.add_reference('patient/filtered_cp', patient)
        streams.add_sample(pose_with_covariance(self.stamp_ns, 'tracker', tracker_T_tool, COVARIANCE))

    def touch(self, *indices):
        for index in indices:
            for _ in range(50):
                self.say(PLACES[index] + self.rng.normal(0.0, NOISE / 3.0, 3))
            for _ in range(12):
                self.say(PLACES[index] * 1.3)

    def swab(self, count=300, view=(0.3, 1.0, 0.5)):
        self.call_swab(True)
        points = sample_organ(count, self.rng, view=np.array(view))
        for point in points[np.argsort(points[:, 0])]:
            self.say(point + self.rng.normal(0.0, NOISE, 3), step_ms=1000)
        return self.call_swab(False)

    def call_swab(self, data):
        return self.node._on_swab(SetBool.Request(data=data), SetBool.Response())

    @property
    def state(self):
        return self.node.health._checks['state']

    @property
    def code(self):
        return self.node.health.code('state')


def assert_true(message, limit=0.5e-3):
    record = pose_from(message, frame='patient', timeless=True)
    error = pose_error(record.pose, PATIENT_T_ANATOMY)
    assert np.linalg.norm(error[:3]) < limit
    assert error @ np.linalg.solve(record.covariance, error) < 60.0


@pytest.fixture
def heard(probe):
    return probe.listen_latched(PoseWithCovarianceStamped, 'registration')


def test_landmarks_then_surface(start, probe, heard, tmp_path):
    file = tmp_path / 'registration.yaml'
    targets = probe.listen_latched(PointCloud2, 'registration/targets')
    field = probe.listen_latched(PointCloud2, 'registration/tre')
    room = Room(start, tmp_path, result_file=str(file))
    room.touch(0, 1, 2, 3, 4)
    assert room.code == 'OK'
    probe.until(lambda: heard and targets and field, room.node, what='the registration by landmarks')
    before = np.trace(np.array(heard[-1].pose.covariance).reshape(6, 6)[:3, :3])
    answer = room.swab()
    assert answer.success, answer.message
    probe.until(lambda: heard[-1].header.stamp.nanosec + heard[-1].header.stamp.sec * 10**9 == room.stamp_ns, room.node,
                what='the registration by the surface')  # fmt: skip
    assert_true(heard[-1])
    assert np.trace(np.array(heard[-1].pose.covariance).reshape(6, 6)[:3, :3]) < before
    stored = read_result(file, kind='registration', usable=True)
    assert stored.errors['points_count'] > 200 and 0.0 < stored.errors['tre_tumour_m'] < 1e-3
    probe.until(lambda: len(array_from_cloud(targets[-1])) == 2, room.node, what='the targets')
    rows = array_from_cloud(targets[-1])
    expected = transform_points(PATIENT_T_ANATOMY, np.array(list(TARGETS.values())))
    np.testing.assert_allclose(np.stack([rows[axis] for axis in 'xyz'], axis=1), expected, atol=0.5e-3)
    rms = np.sqrt(rows['cov_xx'] + rows['cov_yy'] + rows['cov_zz'])
    assert rms[0] == pytest.approx(stored.errors['tre_tumour_m'], rel=0.3)
    rows = array_from_cloud(field[-1])
    assert len(rows) == 2892 and field[-1].header.frame_id == 'anatomy'
    assert 0.0 < rows['tre'].min() < rows['tre'].max() < 1e-3


def test_a_swab_alone_from_nothing(start, probe, heard, tmp_path):
    room = Room(start, tmp_path, landmarks=False)
    assert room.code == 'NOT_REGISTERED' and 'slide the tip over liver' in room.state.message
    answer = room.swab(400)
    assert answer.success, answer.message
    probe.until(lambda: heard, room.node, what='the registration')
    assert_true(heard[-1])


def test_a_swab_of_something_else_is_refused_with_words(start, heard, tmp_path):
    room = Room(start, tmp_path)
    room.touch(0, 1, 2, 3, 4)
    room.call_swab(True)
    for point in sample_organ(300, room.rng):
        room.say(point * [1.0, 1.0, 0.8], step_ms=1000)
    answer = room.call_swab(False)
    assert not answer.success and 'axis z of the swab looks a fifth too short' in answer.message
    assert room.code == 'REGISTRATION_REFUSED'
    assert not room.call_swab(False).success
    room.call_swab(True)
    answer = room.call_swab(False)
    assert not answer.success and 'nothing was swabbed' in answer.message


@pytest.mark.parametrize('frame', ['patient', 'tracker'])
def test_clouds_of_another_sensor(start, probe, heard, tmp_path, frame):
    room = Room(start, tmp_path, cloud_topic='stereo/points')
    room.touch(0, 1, 2, 3, 4)
    entry = room.node._swab_input

    def cloud(points, name):
        rows = np.zeros(len(points), np.dtype([(axis, np.float32) for axis in 'xyz']))
        for column, axis in enumerate('xyz'):
            rows[axis] = points[:, column]
        return cloud_from_array(room.stamp_ns, name, rows)

    points = transform_points(PATIENT_T_ANATOMY, sample_organ(500, room.rng)) + room.rng.normal(0.0, NOISE, (500, 3))
    points[7] = np.nan
    entry.on_cloud(cloud(points, frame))  # no swab is open
    room.call_swab(True)
    entry.on_cloud(cloud(points, 'elsewhere'))
    assert room.node.health.counters['FRAME_MISMATCH'] == 1
    entry.on_cloud(cloud(points if frame == 'patient' else transform_points(TRACKER_T_PATIENT, points), frame))
    if frame == 'tracker':
        for shift in (-10, 10):
            entry._on_patient(
                pose_with_covariance(room.stamp_ns + shift * MS, 'tracker', TRACKER_T_PATIENT, COVARIANCE)
            )
    answer = room.call_swab(False)
    assert answer.success, answer.message
    probe.until(lambda: heard, room.node, what='the registration')
    assert_true(heard[-1])


def test_a_bumped_reference_body_is_noticed_and_nothing_is_changed(start, probe, heard, tmp_path):
    events = probe.listen_events('registration/events')
    room = Room(start, tmp_path)
    room.touch(0, 1, 2, 3, 4)
    probe.until(lambda: heard, room.node, what='the registration')
    room.touch(1, 3)
    assert room.node.health.code('drift') == 'OK'
    room.moved[:3, 3] = [0.0, 0.002, 0.0]
    said = []
    for index in (0, 2, 4, 1):
        room.touch(index)
        said.append(room.node.health.code('drift'))
    assert said[-1] == 'REGISTRATION_DRIFTED'
    assert 'register anew' in room.node.health._checks['drift'].message
    probe.until(lambda: len(events) > 0 and events[-1].status[0].values[0].value == 'REGISTRATION_DRIFTED', room.node,
                what='the event')  # fmt: skip
    answer = room.node._on_reset(Trigger.Request(), Trigger.Response())
    assert answer.success and room.node.health.code('drift') == ''
    room.touch(0, 1, 2, 3, 4)
    assert room.code == 'OK'


def test_a_swab_after_a_swab_is_a_check(start, tmp_path):
    room = Room(start, tmp_path)
    room.touch(0, 1, 2, 3, 4)
    assert room.swab().success
    assert room.swab(200, view=(-1.0, 0.2, 0.4)).success
    room.moved[:3, 3] = [0.0025, 0.0, 0.0015]
    answers = [room.swab(200, view=view) for view in ((1.0, 0.0, 0.3), (0.0, 0.4, 1.0), (-0.2, 1.0, 0.0))]
    assert room.node.health.code('drift') == 'REGISTRATION_DRIFTED', [answer.message for answer in answers]
    assert not answers[-1].success


def test_a_registration_from_a_file_is_watched(start, tmp_path):
    file = tmp_path / 'registration.yaml'
    first = Room(start, tmp_path, result_file=str(file))
    first.touch(0, 1, 2, 3, 4)
    second = Room(start, tmp_path, registration_file=str(file))
    assert second.code == 'OK'
    second.touch(0, 1)
    assert second.node.health.code('drift') == 'OK'
    second.moved[:3, 3] = [0.003, 0.0, 0.0]
    second.touch(2, 3, 4, 0)
    assert second.node.health.code('drift') == 'REGISTRATION_DRIFTED'


def test_settings_that_do_not_go_together(start):
    with pytest.raises(ConfigError, match='needs the structure'):
        start(RegistrationNode, tool='drill', landmarks_file='room', cloud_topic='points')
