"""registration_node: landmarks touched by a known tip tie patient and anatomy; what is missing is said by name."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from patient_streams import COVARIANCE, PATIENT_T_ANATOMY, Streams
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.covariance import point_covariance, pose_error
from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.io.landmarks import write_landmarks
from twin_nodes.io.results import read_result
from twin_nodes.nodes.registration_node import RegistrationNode
from twin_nodes.ros.conversions import pose_from, pose_with_covariance, stamp_to_ns
from twin_nodes.ros.ties import tie_from
from twin_nodes.ros.tip_share import TIP_SHARE, tip_share_from

LANDMARKS = {
    'mastoid': np.array([0.03, 0.0, 0.0]),
    'zygoma': np.array([-0.02, 0.041, 0.005]),
    'notch': np.array([0.0, -0.035, 0.02]),
    'vertex': np.array([0.012, 0.015, 0.052]),
    'canal': np.array([-0.04, -0.012, 0.031]),
}
NERVE = np.array([0.0, 0.0, 0.08])
NOISE = 0.0001
STEP_MS = 20


class Touching:
    """A registration_node and a hand that touches landmarks."""

    def __init__(self, start, probe, tmp_path, **parameters):
        self.probe, self.streams = probe, Streams(probe, period_ms=STEP_MS)
        path = tmp_path / 'landmarks.yaml'
        write_landmarks(path, LANDMARKS)
        self.latched = probe.listen_latched(PoseWithCovarianceStamped, 'registration')
        self.node = start(
            RegistrationNode, tool='drill', landmarks_file=str(path), session__dwell__min_duration_s=0.6, **parameters
        )
        self._rng = np.random.default_rng(8)
        self._hand = np.array([0.1, 0.1, 0.1])

    def calibrate(self):
        self.streams.say_ties(registration=False)
        self.probe.until_code('registration: state', 'NOT_REGISTERED', self.node)
        self.match()

    def match(self):
        """Say a first sample until it is taken: before the match nothing arrives."""

        def taken():
            self.streams.say(make_transform(np.eye(3), self._hand))
            return self.node._streams.newest_ns('patient/filtered_cp') is not None

        self.probe.until(taken, self.node, what='the match')

    def move(self, position, *, rest_ms=1000):
        """Go there in 0.3 s and rest; each sample is taken before the next is said."""
        for fraction in np.linspace(0.0, 1.0, 15):
            self._say(self._hand + fraction * (position - self._hand))
        for _ in range(rest_ms // STEP_MS):
            self._say(position)
        self._hand = np.array(position)

    def _say(self, position):
        tilt = rotation_exp(0.2 * self._rng.normal(size=3))
        self.streams.say(make_transform(tilt, position + NOISE * self._rng.normal(size=3) / np.sqrt(3.0)))
        node, stamp_ns = self.node, self.streams.stamp_ns
        self.probe.until(lambda: node._streams.newest_ns('patient/filtered_cp') == stamp_ns, node, what='the sample')

    def touch(self, *names):
        for name in names:
            self.move(LANDMARKS[name])
        self.move(np.array([0.1, 0.1, 0.1]), rest_ms=100)

    def values(self):
        return self.probe.values('registration: state')

    def assert_true(self):
        record = pose_from(self.latched[-1], frame='patient')
        error = pose_error(record.pose, PATIENT_T_ANATOMY)
        assert np.linalg.norm(error[:3]) < 5e-4
        assert error @ np.linalg.solve(record.covariance, error) < 360.0  # 6 F(6, 9): one in a million


def test_all_landmarks_in_any_order_give_the_truth(start, probe, tmp_path):
    file = tmp_path / 'registration.yaml'
    targets = tmp_path / 'targets.yaml'
    write_landmarks(targets, {'nerve': NERVE})
    touching = Touching(start, probe, tmp_path, result_file=str(file), targets_file=str(targets))
    assert touching.node.health.status('state').values[0].value == 'NOT_CALIBRATED'
    touching.calibrate()
    touching.touch('vertex', 'mastoid', 'canal', 'zygoma')
    probe.until(lambda: touching.values().get('landmarks_found') == '4', touching.node, what='four')
    assert 'notch' in probe.status('registration: state').message
    probe.until(lambda: touching.latched, what='a first registration')
    touching.assert_true()
    touching.touch('notch')
    probe.until_code('registration: state', 'OK', touching.node)
    probe.until(lambda: touching.values().get('landmarks_found') == '5', touching.node, what='five')
    assert float(touching.values()['fre_mm']) < 0.3
    assert 0.0 < float(touching.values()['tre nerve mm']) < 0.5
    probe.until(file.is_file, what='the result')
    stored = read_result(file, kind='registration')
    expected = np.trace(point_covariance(stored.parent_T_child, stored.covariance, NERVE)) ** 0.5
    assert stored.errors['tre_nerve_m'] == pytest.approx(expected, rel=1e-6)

    def is_published():
        return np.allclose(stored.parent_T_child, pose_from(touching.latched[-1], frame='patient').pose, atol=1e-9)

    probe.until(is_published, touching.node, what='what was written')
    touching.assert_true()
    heard = probe.listen_latched(PointCloud2, TIP_SHARE)
    again = start(RegistrationNode, tool='drill', registration_file=str(file))
    assert again.health.status('state').values[0].value == 'OK'
    # the error of the tip counts once where the file is used, too
    probe.until(lambda: any(stamp_to_ns(one.header.stamp) == 0 for one in heard), again, what='the share of the file')
    share = tip_share_from(next(one for one in heard if stamp_to_ns(one.header.stamp) == 0))
    np.testing.assert_array_equal(share.tip, stored.tip_share.tip)
    np.testing.assert_array_equal(share.effect, stored.tip_share.effect)
    assert stored.tool == 'drill' and np.abs(share.effect).max() > 0.1


def test_nothing_is_collected_without_a_tip(start, probe, tmp_path):
    touching = Touching(start, probe, tmp_path)
    touching.match()
    touching.touch('vertex', 'mastoid')
    assert touching.node._session.dwells == () and not touching.latched
    assert probe.code('registration: state') == 'NOT_CALIBRATED'


def test_touching_beside_the_landmarks_registers_nothing(start, probe, tmp_path):
    touching = Touching(start, probe, tmp_path)
    touching.calibrate()
    for position in ([0.05, 0.05, 0.0], [0.0, 0.09, -0.02], [-0.08, 0.0, 0.04], [0.0, -0.07, 0.09]):
        touching.move(np.array(position))
    touching.move(np.array([0.1, 0.1, 0.1]), rest_ms=100)
    probe.until(lambda: touching.node._session.dwells, touching.node, what='dwells')
    assert not touching.latched
    assert probe.code('registration: state') in ('NOT_REGISTERED', 'REGISTRATION_REFUSED')


def test_reset_starts_again(start, probe, tmp_path):
    touching = Touching(start, probe, tmp_path)
    touching.calibrate()
    touching.touch('vertex', 'mastoid')
    probe.until(lambda: touching.node._session.dwells, touching.node, what='dwells')
    client = probe.create_client(Trigger, '/registration/reset')
    probe.until(client.service_is_ready, what='the service')
    answer = client.call_async(Trigger.Request())
    probe.until(answer.done, what='the answer')
    assert answer.result().success and touching.node._session.dwells == ()
    probe.until(lambda: touching.latched, what='the withdrawal')
    assert tie_from(touching.latched[-1], frame='patient').withdrawn


@pytest.mark.parametrize('topic', ['calibration/drill', 'patient/filtered_cp', 'drill/filtered_cp'])
def test_bad_poses_are_counted(start, probe, tmp_path, topic):
    touching = Touching(start, probe, tmp_path)
    bad = pose_with_covariance(touching.streams.stamp_ns, 'camera', np.eye(4), COVARIANCE)
    broken = pose_with_covariance(touching.streams.stamp_ns, 'tracker', make_transform(np.eye(3), [np.nan] * 3),
                                  COVARIANCE)  # fmt: skip
    broken.header.frame_id = 'drill' if topic.startswith('calibration') else 'tracker'
    say = probe.say_latched if topic.startswith('calibration') else probe.say
    for message, code in ((bad, 'FRAME_MISMATCH'), (broken, 'NOT_FINITE')):

        def refused(message=message, code=code):
            say(topic, message)
            return touching.node.health.counters.get(code, 0) >= 2

        probe.until(refused, touching.node, what=code)
    assert not touching.latched


def bad_landmarks(folder):
    texts = {
        'two': 'landmarks: {a: [0, 0, 0], b: [0.1, 0, 0]}',
        'nan': 'landmarks: {a: [.nan, 0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}',
        'mm': 'landmarks: {a: [100, 0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}',
        'none': 'points: []',
    }
    for name, text in texts.items():
        path = folder / f'{name}.yaml'
        path.write_text(text)
        yield path
    yield folder / 'nowhere.yaml'


def test_landmarks_that_are_none_do_not_start(start, tmp_path):
    for path in bad_landmarks(tmp_path):
        with pytest.raises(ConfigError, match=path.name):
            start(RegistrationNode, tool='drill', landmarks_file=str(path))


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({}, 'give landmarks_file to register live, or registration_file'),
        ({'landmarks_file': 'room', 'session.minimum': 40}, 'above their number'),
        ({'landmarks_file': 'room', 'session.dwell.exit_radius': 0.001}, 'must not be below radius'),
        ({'registration_file': 'nowhere.yaml'}, r'nowhere\.yaml'),
    ],
    ids=str,
)
def test_a_wrong_configuration_does_not_start(start, settings, match):
    with pytest.raises(ConfigError, match=match):
        start(RegistrationNode, tool='drill', **settings)
