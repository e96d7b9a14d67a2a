"""Bags that others recorded: /tf and /joint_states alone, stamps of 0, poses under names of their own, transcripts."""

import csv
import json

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage

from twin_nodes.app.bag_joints import joints_of
from twin_nodes.app.check import inspect
from twin_nodes.app.export import export
from twin_nodes.app.metrics import measure_bag, print_metrics
from twin_nodes.app.report.page import as_html
from twin_nodes.app.report.run import make_report
from twin_nodes.app.view.bag_feed import BagFeed
from twin_nodes.app.view.run import config_of
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.io.recordings.gestures import read_gestures
from twin_nodes.ros.conversions import ns_to_stamp, transform_stamped

WALL_NS, SIM_NS, STEP_NS, COUNT = 1_763_000_000_000_000_000, 5_000_000_000, 10_000_000, 500
POSE, TREE, JOINTS, STATUS = (
    'geometry_msgs/msg/PoseStamped', 'tf2_msgs/msg/TFMessage', 'sensor_msgs/msg/JointState',
    'diagnostic_msgs/msg/DiagnosticArray',
)  # fmt: skip
CHAIN = SerialChain(published_model('psm_classic'))


def place(tick: int) -> np.ndarray:
    return np.array([0.1 * np.sin(0.01 * tick), 0.05 * np.cos(0.02 * tick), 0.1])


def joints(tick: int) -> np.ndarray:
    return np.array([0.2 * np.sin(0.01 * tick), 0.1, 0.12 + 0.02 * np.sin(0.02 * tick), 0.0, 0.0, 0.0])


def edge(stamp_ns: int, parent: str, child: str, position: np.ndarray) -> TransformStamped:
    pose = np.eye(4)
    pose[:3, 3] = position
    return transform_stamped(stamp_ns, parent, child, pose)


def write(folder, *, poses=True, sim=False, zero=False, task=()):
    """Write a bag as the recorder of another stack would; header stamps on the wall clock, of a simulator, or 0."""
    with BagWriter(folder) as writer:
        add = {
            name: writer.add_topic(name, kind, qos=(OfferedQos(),))
            for name, kind in (
                ('/tf', TREE),
                ('/joint_states', JOINTS),
                ('/mir/ee_pose', POSE),
                ('/guidance/task', STATUS),
            )
        }
        for tick in range(COUNT):
            log_ns = WALL_NS + tick * STEP_NS
            stamp_ns = 0 if zero else SIM_NS + tick * STEP_NS if sim else log_ns
            said = {'/tf': TFMessage(transforms=[
                edge(stamp_ns, 'tracker', 'pointer', place(tick)), edge(stamp_ns, 'base', 'tool0', 2.0 * place(tick)),
            ])}  # fmt: skip
            order = np.roll(np.arange(6), tick % 3)  # whoever publishes in an order of its own
            said['/joint_states'] = JointState(
                name=[CHAIN.names[at] for at in order], position=joints(tick)[order].tolist()
            )
            if poses:
                said['/mir/ee_pose'] = PoseStamped()
                said['/mir/ee_pose'].header.frame_id = 'base'
                said['/mir/ee_pose'].pose.orientation.w = 1.0
                point = said['/mir/ee_pose'].pose.position
                point.x, point.y, point.z = place(tick).tolist()
            if task and tick % 10 == 0:
                said['/guidance/task'] = DiagnosticArray(
                    status=[DiagnosticStatus(message=task[tick * len(task) // COUNT], level=b'\0')]
                )
            for name, message in said.items():
                if name != '/tf':
                    message.header.stamp = ns_to_stamp(stamp_ns)
                writer.write(add[name], log_ns, serialize_message(message), publish_time_ns=log_ns)
    return folder


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('foreign')
    return {
        'tree': write(folder / 'tree', poses=False),
        'zero': write(folder / 'zero', zero=True),
        'sim': write(folder / 'sim', sim=True, task=('reach', 'grasp')),
    }


def truth() -> float:
    return float(np.linalg.norm(np.diff([place(tick) for tick in range(COUNT)], axis=0), axis=1).sum())


def test_measures_the_frames_on_tf_where_nothing_else_has_poses(bags):
    trial = measure_bag(bags['tree'], models=('psm_classic',))
    assert set(trial.motions) == {'/joint_states', '/tf#pointer', '/tf#tool0'}
    assert trial.motions['/tf#pointer'].path_length == pytest.approx(truth(), rel=0.01)
    tips = CHAIN.forward(np.array([joints(tick) for tick in range(COUNT)]))[:, :3, 3]
    walked = float(np.linalg.norm(np.diff(tips, axis=0), axis=1).sum())
    assert trial.motions['/joint_states'].path_length == pytest.approx(walked, rel=0.01)
    assert set(measure_bag(bags['tree'], topics=('/tf#tool0',)).motions) == {'/tf#tool0'}
    with pytest.raises(InputError, match="no frame 'saw' on /tf"):
        measure_bag(bags['tree'], topics=('/tf#saw',))
    assert set(measure_bag(bags['sim']).motions) == {'/mir/ee_pose'}  # poses are told there: tf is not asked


def test_stamps_of_zero_are_said_and_times_of_recording_taken_on_request(bags):
    trial = measure_bag(bags['zero'])
    assert not trial.motions and '500 of 500 messages have stamp 0' in trial.left_out['/mir/ee_pose']
    assert '--receive-times' in trial.left_out['/mir/ee_pose']
    found = measure_bag(bags['zero'], receive_times=True).motions['/mir/ee_pose']
    assert found.path_length == pytest.approx(truth(), rel=0.01) and found.time == pytest.approx(4.99)


def test_exports_frames_and_joints(bags, tmp_path, capsys):
    export(bags['tree'], 'csv', output=tmp_path / 'csv')
    assert {file.name for file in (tmp_path / 'csv').iterdir()} == {
        'tf_pointer.csv',
        'tf_tool0.csv',
        'joint_states.csv',
    }
    with (tmp_path / 'csv' / 'joint_states.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(rows[7][name]) for name in CHAIN.names] == joints(7).tolist()
    export(bags['zero'], 'tum', output=tmp_path / 'zero')
    assert '500 of 500 messages have stamp 0' in capsys.readouterr().err
    export(bags['zero'], 'tum', output=tmp_path / 'zero', receive_times=True)
    lines = (tmp_path / 'zero' / 'mir_ee_pose.tum').read_text().splitlines()
    assert len(lines) == COUNT + 1 and lines[1].startswith('1763000000.000000000 0.0 0.05 0.1')
    export(bags['sim'], 'tum', topics=('/tf',), output=tmp_path / 'tree')
    assert (tmp_path / 'tree' / 'tf_pointer.tum').read_text().splitlines()[1].startswith('5.000000000 ')


def test_gestures_of_a_bag_are_measured_and_held_against_the_recogniser(bags, tmp_path, capsys):
    (tmp_path / 'labels.txt').write_text('start end label\n0.0 2.0 reach\n2.0;4.9;grasp\n')
    assert print_metrics([bags['sim']], gestures=tmp_path / 'labels.txt', as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told['gestures']['/mir/ee_pose']) == ['reach', 'grasp']
    assert told['states']['reach'] == {'reach': 1.0}
    assert told['states']['grasp'] == {'grasp': pytest.approx(0.8, abs=0.05), 'reach': pytest.approx(0.2, abs=0.05)}
    assert told['state_agreement'] == pytest.approx((2.0 + 0.8 * 2.9) / 4.9, abs=0.04)


@pytest.fixture
def trial_of_jigsaws(tmp_path):
    """One trial as the set lays it out: 30 Hz, 76 columns; every tool slow for 10 s, then fast, then slow."""
    kinematics = tmp_path / 'Suturing' / 'kinematics' / 'AllGestures' / 'Suturing_B001.txt'
    transcript = tmp_path / 'Suturing' / 'transcriptions' / 'Suturing_B001.txt'
    for file in (kinematics, transcript):
        file.parent.mkdir(parents=True)
    speed = np.where((np.arange(900) // 300) == 1, 0.06, 0.02)
    way = np.cumsum(speed) / 30.0
    tool = np.column_stack([way, np.zeros((900, 2)), np.tile(np.eye(3).ravel(), (900, 1)), np.zeros((900, 7))])
    np.savetxt(kinematics, np.tile(tool, 4), fmt='% .6f', delimiter='    ', newline='\r\n')
    transcript.write_text('1 300 G1 \n301 600 G3 \n601 900 G1 \n')
    return kinematics, transcript


def test_gestures_of_jigsaws_are_found_beside_the_trial(trial_of_jigsaws):
    kinematics, _ = trial_of_jigsaws
    trial = measure_bag(kinematics)
    assert set(trial.gestures) == {'master_left', 'master_right', 'slave_left', 'slave_right'}
    slow, fast = trial.gestures['slave_left']['G1'], trial.gestures['slave_left']['G3']
    assert (slow.count, slow.measured, fast.count) == (2, 2, 1)
    assert slow.time == pytest.approx(299 / 30) and slow.mean_speed == pytest.approx(0.02, rel=0.02)
    assert fast.mean_speed == pytest.approx(0.06, rel=0.02) and fast.path_length == pytest.approx(0.6, rel=0.02)


def test_a_transcript_of_another_trial_or_form_is_refused(trial_of_jigsaws, tmp_path, bags):
    kinematics, transcript = trial_of_jigsaws
    assert '3 gestures (G1, G3)' in inspect(transcript)
    with pytest.raises(InputError, match=r'the recording to 30\.0 s: another trial, or --gesture-rate'):
        measure_bag(kinematics, gestures=transcript, gesture_rate_hz=0.0)
    for text, reason in (
        ('', 'holds no gesture'),
        ('1 20 G1\n10 30 G2\n', 'line 2: G2 begins at 10 s, before G1 ends at 20 s'),
        ('1 20 G1\n30 20 G2\n', "line 2 is '30 20 G2', expected `start end LABEL`"),
        ('1 20 G1\nnan 20 G2\n', 'line 2'),
        ('1 20 3\n1 2 4\n', 'line 2'),
    ):
        (tmp_path / 'bad.txt').write_text(text)
        with pytest.raises(InputError, match=reason):
            read_gestures(tmp_path / 'bad.txt')
    with pytest.raises(InputError, match='cannot be read'):
        measure_bag(bags['sim'], gestures=tmp_path / 'nothing.txt')


def test_a_report_tells_of_what_others_recorded(bags):
    page = as_html(make_report(bags['tree']))
    assert '/tf#pointer' in page and 'sensor_msgs/msg/JointState' in page and page.count('/tf#tool0') >= 2
    assert '/mir/ee_pose' in as_html(make_report(bags['sim']))
    empty = write_nothing(bags['tree'].parent / 'empty')
    with pytest.raises(InputError, match='holds no message'):
        make_report(empty)


def write_nothing(folder):
    if not folder.exists():
        with BagWriter(folder) as writer:
            writer.add_topic('/tf', TREE, qos=(OfferedQos(),))
    return folder


def test_the_view_shows_what_moves(bags, capsys):
    for name, tool, frame in (('sim', 'mir/ee_pose', 'base'), ('tree', 'pointer', 'tracker')):
        with BagReader(bags[name]) as reader:
            config = config_of(reader, bags[name], None, port=0)
            assert (config.tools, config.fixed_frame) == ((tool,), frame)
            feed = BagFeed(reader, config)
            feed.advance(reader.start_ns + 2 * 10**9, budget_s=30.0)
            shown = feed.picture().tools[0]
            assert shown.live and shown.fixed_T_tool[:3, 3] == pytest.approx(place(200), abs=2e-3)
    assert 'not tool0, which no frame ties to it' in capsys.readouterr().out
    with BagReader(bags['zero']) as reader, pytest.raises(ConfigError, match='no moving frame with a stamp'):
        config_of(reader, bags['zero'], None, port=0)


def test_joints_that_come_in_parts_are_measured_whole(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        topic = writer.add_topic('/joint_states', JOINTS, qos=(OfferedQos(),))
        for tick in range(COUNT):
            for shift_ns, part in ((0, slice(0, 4)), (4_000_000, slice(4, 6)), (1, None)):
                stamp_ns = WALL_NS + tick * STEP_NS + shift_ns
                message = JointState(name=['gripper_finger'], position=[0.1])
                if part is not None:
                    message = JointState(name=list(CHAIN.names[part]), position=joints(tick)[part].tolist())
                message.header.stamp = ns_to_stamp(stamp_ns)
                writer.write(topic, stamp_ns, serialize_message(message), publish_time_ns=stamp_ns)
    tips = CHAIN.forward(np.array([joints(tick) for tick in range(COUNT)]))[:, :3, 3]
    walked = float(np.linalg.norm(np.diff(tips, axis=0), axis=1).sum())
    found = measure_bag(tmp_path / 'bag', models=('psm_classic',)).motions['/joint_states']
    assert found.path_length == pytest.approx(walked, rel=0.01) and found.gaps == 0
    with BagReader(tmp_path / 'bag') as reader:
        assert joints_of(reader, '/joint_states', CHAIN, 'robot').dropped < 5  # until the joints are complete
