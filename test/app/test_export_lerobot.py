"""`twin export --to lerobot`: read back by pandas, pyarrow and OpenCV, and held against what the bag held."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from geometry_msgs.msg import PoseStamped
from pyarrow import parquet
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, JointState

from twin_nodes.app import cli
from twin_nodes.app.export_lerobot import LerobotConfig, export_lerobot
from twin_nodes.app.export_streams import Stream, is_command
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.conversions import ns_to_stamp, pose_stamped
from twin_nodes.ros.crtk import joint_state

START_NS = 1_750_000_000 * NANOSECONDS
JOINTS, POSE, COMMAND, CAMERA = '/PSM1/measured_js', '/marker/measured_cp', '/PSM1/servo_jp', '/endoscope/image_raw'
NAMES = ('yaw', 'pitch')
TYPES = {
    JOINTS: 'sensor_msgs/msg/JointState',
    COMMAND: 'sensor_msgs/msg/JointState',
    POSE: 'geometry_msgs/msg/PoseStamped',
    CAMERA: 'sensor_msgs/msg/Image',
}


def joints_at(t):
    return np.array([np.sin(t), 0.1 * t])


def pose_at(t):
    return make_transform(Rotation.from_rotvec([0.0, 0.0, 0.3 * t]).as_matrix(), [0.01 * t, 0.0, 0.1])


def picture(brightness):
    message = Image(height=48, width=64, step=192, encoding='rgb8')
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[..., 0] = brightness  # red alone
    message.data = pixels.tobytes()
    return message


def write_bag(folder, *, seconds=3.0, hole=(9.0, 9.0), images=False):
    """Joints at 100 Hz, a marker at 60 Hz that is hidden within the hole, commands at 50 Hz, images at 25 Hz."""
    makers = {
        JOINTS: (100.0, lambda t, ns: joint_state(ns, '', NAMES, joints_at(t))),
        POSE: (60.0, lambda t, ns: pose_stamped(ns, 'tracker', pose_at(t)) if not hole[0] < t < hole[1] else None),
        COMMAND: (50.0, lambda t, ns: joint_state(ns, '', NAMES, joints_at(t + 0.02))),
    }
    if images:
        makers[CAMERA] = (25.0, lambda t, ns: picture(round(80 * t)))
    events = sorted((round(k / rate * NANOSECONDS), topic) for topic, (rate, _) in makers.items()
                    for k in range(round(seconds * rate) + 1))  # fmt: skip
    with BagWriter(folder) as writer:
        handles = {topic: writer.add_topic(topic, TYPES[topic], qos=(OfferedQos(),)) for topic in makers}
        for elapsed_ns, topic in events:
            message = makers[topic][1](elapsed_ns / NANOSECONDS, START_NS + elapsed_ns)
            if message is not None:
                message.header.stamp = ns_to_stamp(START_NS + elapsed_ns)
                stamp_ns = START_NS + elapsed_ns
                writer.write(handles[topic], stamp_ns, serialize_message(message), publish_time_ns=stamp_ns)
    return folder


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lerobot')
    bags = [write_bag(folder / 'one', images=True), write_bag(folder / 'two', hole=(1.2, 1.5), images=True)]
    config = LerobotConfig(fps=30, task='Move to and fro', robot_type='psm')
    assert export_lerobot(bags, folder / 'set', config) == 0
    return folder / 'set'


def table(folder, episode):
    return parquet.read_table(folder / f'data/chunk-000/file-{episode:03d}.parquet')


def test_info_says_what_is_there(data_set):
    info = json.loads((data_set / 'meta/info.json').read_text())
    assert info['codebase_version'] == 'v3.0' and info['fps'] == 30 and info['robot_type'] == 'psm'
    assert info['total_episodes'] == 3  # the second bag falls in two where the marker was hidden
    state = info['features']['observation.state']
    assert state['names'] == [
        'PSM1.measured_js.yaw', 'PSM1.measured_js.pitch', 'marker.measured_cp.x', 'marker.measured_cp.y',
        'marker.measured_cp.z', 'marker.measured_cp.qx', 'marker.measured_cp.qy', 'marker.measured_cp.qz',
        'marker.measured_cp.qw',
    ]  # fmt: skip
    assert info['features']['action']['names'] == ['PSM1.servo_jp.yaw', 'PSM1.servo_jp.pitch']
    rows = sum(table(data_set, episode).num_rows for episode in range(3))
    assert info['total_frames'] == rows
    for key, feature in info['features'].items():
        if feature['dtype'] != 'video':
            assert key in table(data_set, 0).column_names


def test_numbers_are_those_of_the_motion(data_set):
    frame = pd.read_parquet(data_set / 'data/chunk-000/file-000.parquet')
    np.testing.assert_allclose(frame['timestamp'], np.arange(len(frame)) / 30.0, atol=1e-6)
    state, action = np.stack(frame['observation.state']), np.stack(frame['action'])
    t = np.arange(len(frame)) / 30.0
    np.testing.assert_allclose(state[:, :2], np.array([joints_at(s) for s in t]), atol=2e-5)  # linear over 10 ms
    np.testing.assert_allclose(state[:, 2:5], np.array([pose_at(s)[:3, 3] for s in t]), atol=1e-6)
    turned = Rotation.from_quat(state[:, 5:]).as_rotvec()
    np.testing.assert_allclose(turned[:, 2], 0.3 * t, atol=1e-6)
    held = np.floor(t * 50.0 + 1e-6) / 50.0  # a command holds until the next
    np.testing.assert_allclose(action, np.array([joints_at(s + 0.02) for s in held]), atol=1e-6)


def test_a_hole_ends_an_episode(data_set):
    episodes = pd.read_parquet(data_set / 'meta/episodes/chunk-000/file-000.parquet')
    assert list(episodes['length']) == [table(data_set, episode).num_rows for episode in range(3)]
    assert list(episodes['dataset_from_index'])[1:] == list(episodes['dataset_to_index'])[:-1]
    last = np.stack(pd.read_parquet(data_set / 'data/chunk-000/file-001.parquet')['observation.state'])
    first = np.stack(pd.read_parquet(data_set / 'data/chunk-000/file-002.parquet')['observation.state'])
    assert last[-1, 2] <= 0.012 + 1e-6 and first[0, 2] >= 0.015 - 1e-6  # nothing from where nothing was seen


def test_tasks_are_words_by_number(data_set):
    tasks = pd.read_parquet(data_set / 'meta/tasks.parquet')
    assert tasks.loc['Move to and fro'].task_index == 0 and tasks.iloc[0].name == 'Move to and fro'


def test_video_shows_the_last_image_before_each_frame(data_set):
    episodes = pd.read_parquet(data_set / 'meta/episodes/chunk-000/file-000.parquet')
    key = 'observation.images.endoscope'
    video = cv2.VideoCapture(str(data_set / f'videos/{key}/chunk-000/file-000.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == 30.0
    red = []
    while (read := video.read())[0]:
        red.append(read[1][..., 2].mean())
        assert read[1][..., 0].mean() < 12.0
    assert len(red) == episodes['length'][0]
    t = np.arange(len(red)) / 30.0
    np.testing.assert_allclose(red, 80.0 * np.floor(t * 25.0 + 1e-6) / 25.0, atol=8.0)  # what MPEG-4 leaves of it
    assert episodes[f'videos/{key}/to_timestamp'][0] == pytest.approx(len(red) / 30.0)


def test_statistics_are_those_of_all_frames(data_set):
    stats = json.loads((data_set / 'meta/stats.json').read_text())
    frames = pd.concat(pd.read_parquet(path) for path in sorted((data_set / 'data/chunk-000').iterdir()))
    state = np.stack(frames['observation.state'])
    np.testing.assert_allclose(stats['observation.state']['mean'], state.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats['observation.state']['q90'], np.quantile(state, 0.9, axis=0), atol=1e-6)
    assert np.shape(stats['observation.images.endoscope']['mean']) == (3, 1, 1)
    assert stats['observation.images.endoscope']['mean'][0][0][0] > 0.2


def test_from_the_command_line_and_what_it_refuses(tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', seconds=1.5)
    assert cli.main(['export', str(bag), '--format', 'lerobot', '--topic', JOINTS, '--fps', '20']) == 0
    assert 'no action' in capsys.readouterr().out
    assert len(pd.read_parquet(tmp_path / 'lerobot/data/chunk-000/file-000.parquet')) == 31
    assert cli.main(['export', str(bag), '--to', 'lerobot']) == 1
    assert 'is not empty' in capsys.readouterr().err
    with pytest.raises(InputError, match='no numbers or images on /nothing'):
        export_lerobot([bag], tmp_path / 'a', LerobotConfig(), topics=['/nothing'])
    with pytest.raises(InputError, match='allow longer holes with --max-gap'):
        export_lerobot([bag], tmp_path / 'b', LerobotConfig(max_gap=0.005))
    with pytest.raises(ConfigError, match='task is empty'):
        LerobotConfig(task=' ')


def test_bags_that_differ_are_not_joined(tmp_path):
    bags = [write_bag(tmp_path / 'a', seconds=1.5), write_bag(tmp_path / 'b', seconds=1.5, images=True)]
    with pytest.raises(InputError, match='other numbers or cameras'):
        export_lerobot(bags, tmp_path / 'set', LerobotConfig())


def test_messages_without_a_value_are_left_out():
    stream = Stream('/marker/measured_cp', TYPES[POSE])
    good = pose_stamped(1000, 'tracker', pose_at(0.0))
    nan = pose_stamped(2000, 'tracker', pose_at(0.0))
    nan.pose.position.x = float('nan')
    for message in (pose_stamped(0, 'tracker', pose_at(0.0)), good, good, nan, PoseStamped()):
        stream.add(message, 1)
    assert (len(stream.values), stream.left_out) == (1, 4)
    joints = Stream('/arm/measured_js', TYPES[JOINTS])
    for message in (joint_state(1, '', NAMES, (1.0, 2.0)), joint_state(2, '', ('a', 'b'), (1.0, 2.0)), JointState()):
        joints.add(message, 1)
    assert (len(joints.values), joints.left_out) == (1, 2)


def test_commands_are_told_from_measurements():
    assert all(is_command(f'/PSM1/{name}') for name in ('servo_cp', 'setpoint_js', 'jaw/servo_jp', 'move_cp'))
    assert not any(is_command(f'/PSM1/{name}') for name in ('measured_js', 'local/measured_cp', 'rcm'))
