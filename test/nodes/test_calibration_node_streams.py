"""calibration_node in the modes hand_eye and time: two streams with clocks of their own, live."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from patient_streams import COVARIANCE
from std_srvs.srv import Trigger

from twin_nodes.core.calibration.temporal_trial import RigidMotion, StreamNoise, rigid_trial
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.covariance import pose_error
from twin_nodes.core.geometry.se3 import inverse
from twin_nodes.io.results import read_result
from twin_nodes.io.time_offsets import read_offset
from twin_nodes.nodes.calibration_node import CalibrationNode
from twin_nodes.ros.conversions import ns_to_stamp, pose_from, pose_with_covariance

QUICK = {'streams__session__least': 5.0, 'streams__session__improve': 0.0, 'streams__session__assess': 2.5}


def stamped(stamp_ns, frame, pose):
    message = PoseStamped(pose=pose_with_covariance(stamp_ns, frame, pose, COVARIANCE).pose.pose)
    message.header.frame_id, message.header.stamp = frame, ns_to_stamp(stamp_ns)
    return message


class Streams:
    """Says both streams of a trial in the order of time; the camera's poses as PoseStamped."""

    def __init__(self, probe, node, trial, *, inverted=False):
        self.probe, self.node = probe, node
        events = [(stamp, 'hand', pose) for stamp, pose in zip(trial.first.stamps_ns, trial.first.poses, strict=True)]
        poses = inverse(trial.second.poses) if inverted else trial.second.poses
        events += [
            (stamp + trial.offset_ns, 'eye', (stamp, pose))
            for stamp, pose in zip(trial.second.stamps_ns, poses, strict=True)
        ]
        self.events = sorted(events, key=lambda event: event[0])

    def say(self):
        for stamp, who, what in self.events[:1]:  # one sample for each turn of the executor
            if who == 'hand':
                message = pose_with_covariance(int(stamp), 'tracker', what, COVARIANCE)
                self.probe.say('camera/filtered_cp', message)
            else:
                self.probe.say('board/measured_cp', stamped(int(what[0]), 'board', what[1]))
        del self.events[:1]

    def until(self, condition, what):
        def shown():
            if not condition():
                self.say()
            return condition()

        self.probe.until(shown, self.node, what=what, deadline_s=60.0)


def matched(probe, *topics):
    """Wait until the node hears what the probe says: the first samples of a recording count."""
    for topic, kind in topics:
        publisher = probe._speakers.setdefault(topic, probe.create_publisher(kind, topic, 10))
        probe.until(lambda publisher=publisher: publisher.get_subscription_count() > 0, what=topic)


def launched(start, probe, **parameters):
    settings = QUICK | {
        'streams__eye': 'board',
        'streams__eye_topic': 'measured_cp',
        'streams__eye_type': 'PoseStamped',
    }
    node = start(CalibrationNode, tool='camera', **(settings | parameters))
    matched(probe, ('camera/filtered_cp', PoseWithCovarianceStamped), ('board/measured_cp', PoseStamped))
    return node


@pytest.mark.parametrize('inverted', [False, True])
def test_hand_and_eye_are_tied_with_the_offset_of_their_clocks(start, probe, tmp_path, inverted):
    trial = rigid_trial(np.random.default_rng(2), offset=7200.037, seconds=40.0, rates_hz=(50.0, 30.0))
    files = {name: str(tmp_path / f'{name}.yaml') for name in ('result', 'target', 'offset')}
    node = launched(start, probe, mode='hand_eye', result_file=files['result'], streams__target_file=files['target'],
                    streams__offset_file=files['offset'], streams__inverted=inverted)  # fmt: skip
    ties = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/camera')
    targets = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/camera/target')
    Streams(probe, node, trial, inverted=inverted).until(lambda: node._streams._finished, 'the ties')
    probe.until(lambda: ties and targets, what='the messages')
    for message, frame, truth in (
        (ties[-1], 'camera', trial.hand_T_eye),
        (targets[-1], 'tracker', trial.base_T_target),
    ):
        record = pose_from(message, frame=frame)
        error = pose_error(record.pose, truth)
        assert error @ np.linalg.solve(record.covariance, error) < 30.0  # χ² of 6: 99.996 %
        assert np.linalg.norm(error[:3]) < 1e-3
    probe.until_code('calibration: clock', 'OK')
    values = probe.values('calibration: clock')
    assert float(values['offset_ms']) == pytest.approx(7200037.0, abs=1.0)
    assert float(values['low_ms']) < float(values['offset_ms']) < float(values['high_ms'])
    stored = read_result(files['result'], kind='hand_eye', parent='camera', usable=True)
    assert stored.child_frame == 'camera_optical' and len(stored.data_sha256) == 64
    assert read_result(files['target'], kind='robot_world').parent_frame == 'tracker'
    offset = read_offset(files['offset'])
    assert (offset.first, offset.second) == ('camera', 'board') and abs(offset.offset_ns - trial.offset_ns) < 1_000_000


def test_the_offset_of_two_clocks_alone(start, probe, tmp_path):
    file = tmp_path / 'offset.yaml'
    trial = rigid_trial(np.random.default_rng(3), offset=0.037, seconds=30.0)
    node = launched(start, probe, mode='time', streams__offset_file=str(file))
    Streams(probe, node, trial).until(file.is_file, 'the offset')
    assert abs(read_offset(file).offset_ns - 37_000_000) < 1_000_000
    assert not [name for name, _ in node.get_topic_names_and_types() if name == '/calibration/camera']


def test_turns_about_one_axis_are_refused_with_what_to_move(start, probe):
    rng = np.random.default_rng(4)
    motion = RigidMotion(rng, turn=np.array([0.5, 0.0, 0.0]))
    trial = rigid_trial(rng, seconds=30.0, motion=motion)
    node = launched(start, probe, mode='hand_eye')
    words = lambda: getattr(probe.status('calibration: state'), 'message', '')  # noqa: E731
    Streams(probe, node, trial).until(lambda: 'second axis' in words(), 'the advice')
    assert float(probe.values('calibration: state')['turn_deg']) > 20.0
    assert probe.status('calibration: state').level == DiagnosticStatus.WARN


def test_a_person_accepts_what_is_doubtful_but_not_what_is_not_there(start, probe):
    noise = StreamNoise(2e-3, 6e-3)
    trial = rigid_trial(np.random.default_rng(5), seconds=40.0, rates_hz=(30.0, 15.0), noises=(noise, noise))
    node = launched(start, probe, mode='hand_eye', streams__session__hand_eye__warn_position_sigma=1e-5)
    latched = probe.listen_latched(PoseWithCovarianceStamped, 'calibration/camera')
    client = probe.create_client(Trigger, '/calibration/accept')
    probe.until(client.service_is_ready, what='the service')

    def accept():
        answer = client.call_async(Trigger.Request())
        probe.until(answer.done, node, what='the answer')
        return answer.result()

    assert not accept().success
    streams = Streams(probe, node, trial)
    streams.until(lambda: node._streams._session.update.ties is not None, 'a doubtful result')
    assert not latched
    assert accept().success
    probe.until(lambda: latched, node, what='the tie')
    assert node._streams._finished


@pytest.mark.parametrize(('eye', 'words'), [('', 'streams.eye must be given'), ('camera', 'is the tool itself')])
def test_streams_that_are_not_two_do_not_start(start, eye, words):
    with pytest.raises(ConfigError, match=words):
        start(CalibrationNode, tool='camera', mode='time', streams__eye=eye)
