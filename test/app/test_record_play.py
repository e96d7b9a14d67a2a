"""Record, kill, recover and play over real DDS."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64, String

from twin_nodes.app.bench.replay_kill import lost_on_kill_ms
from twin_nodes.app.play import PlayConfig, Player, play, publisher_qos
from twin_nodes.app.record import record
from twin_nodes.app.recorder import RecorderNode, asked_qos
from twin_nodes.app.recover import recover
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.bags.definitions import type_hash
from twin_nodes.io.bags.fields import decoded_fields
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter

DEADLINE_S = 30.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(autouse=True)
def _domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'ros_log'))


def point(index: int) -> PointStamped:
    message = PointStamped()
    message.header.frame_id = 'tracker' + 'x' * (index % 4)  # lengths that need padding
    message.header.stamp.sec, message.header.stamp.nanosec = index, 7
    message.point.x, message.point.y = index * 0.1, -0.0
    return message


def wait_for(condition, what: str) -> None:
    end, pause = time.monotonic() + DEADLINE_S, threading.Event()
    while not condition():
        assert time.monotonic() < end, f'{what} did not come true within {DEADLINE_S} s'
        pause.wait(0.01)


def make_bag(directory: Path, count: int = 50, step_ns: int = 4_000_000) -> list[tuple]:
    """Write a bag of points and a latched text without DDS; return the fields of the points."""
    from rclpy.serialization import serialize_message

    with BagWriter(directory) as writer:
        text = writer.add_topic('/text', 'std_msgs/msg/String', qos=(OfferedQos(durability='transient_local'),))
        points = writer.add_topic('/point', 'geometry_msgs/msg/PointStamped', qos=(OfferedQos(),))
        hidden = writer.add_topic('/x', 'std_msgs/msg/Float64', qos=(OfferedQos(reliability='best_effort'),))
        writer.write(text, 10**9, serialize_message(String(data='once')))
        for index in range(count):
            writer.write(points, 10**9 + index * step_ns, serialize_message(point(index)))
            writer.write(hidden, 10**9 + index * step_ns, serialize_message(Float64(data=float(index))))
    return [decoded_fields(point(index)) for index in range(count)]


def listen(spin, context, directory: Path, in_thread, config: PlayConfig, count: int) -> dict[str, list]:
    """Play a bag in a thread and return what arrived, by topic."""
    node = Node('listener', context=context)
    got: dict[str, list] = {'/point': [], '/text': [], '/clock': []}
    node.create_subscription(PointStamped, '/point', got['/point'].append, 100)
    node.create_subscription(String, '/text', got['/text'].append, LATCHED)
    node.create_subscription(Clock, '/clock', got['/clock'].append, 100)
    status: list[int] = []
    in_thread(lambda: status.append(play(directory, config=config, quiet=True)))
    spin(lambda: len(got['/point']) >= count and got['/text'] and bool(status), node, what='the replay')
    assert status == [0]
    return got


def test_recorded_bag_holds_every_message_latched_ones_and_qos(ros_context, in_thread, tmp_path: Path):
    node = Node('source', context=ros_context)
    latched = node.create_publisher(String, '/map', LATCHED)
    latched.publish(String(data='before'))
    fast = node.create_publisher(PointStamped, '/point', QoSProfile(depth=100))
    best_effort = node.create_publisher(Float64, '/x', QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
    hidden = node.create_publisher(Float64, '/_hidden', 10)
    left_out = node.create_publisher(Float64, '/debug/x', 10)
    stop, status = threading.Event(), []
    bag = tmp_path / 'bag'
    in_thread(lambda: status.append(record(output=bag, exclude='^/debug', quiet=True, stop=stop)))
    wait_for(lambda: fast.get_subscription_count() and latched.get_subscription_count(), 'the recorder')
    wait_for(best_effort.get_subscription_count, 'the recorder')
    late = node.create_publisher(Float64, '/late', 10)
    for index in range(200):
        fast.publish(point(index))
    best_effort.publish(Float64(data=1.0))
    wait_for(late.get_subscription_count, 'the new topic')
    late.publish(Float64(data=2.0))
    late.wait_for_all_acked(rclpy.duration.Duration(seconds=5))
    fast.wait_for_all_acked(rclpy.duration.Duration(seconds=5))
    with_all = lambda: b'/late' in (bag / 'bag_0.mcap').read_bytes()  # noqa: E731
    wait_for(with_all, 'the late topic in the file')
    pause = threading.Event()
    for _ in range(200):  # the last messages lie in the queue of the executor
        with BagReader(bag) as reader:
            if reader.counts.get('/point') == 200 and reader.counts.get('/late') == 1:
                break
        pause.wait(0.02)
    stop.set()
    wait_for(lambda: status, 'the end of the recording')
    assert status == [0]
    assert hidden.get_subscription_count() == left_out.get_subscription_count() == 0
    with BagReader(bag) as reader:
        assert not reader.loss
        rows = list(reader.messages())
        assert [decoded_fields(reader.decode(row)) for row in rows if row.topic == '/point'] == [
            decoded_fields(point(index)) for index in range(200)
        ]
        assert [reader.decode(row).data for row in rows if row.topic == '/map'] == ['before']
        assert reader.topics['/map'].qos[0].latched
        assert reader.topics['/point'].type_hash == type_hash('geometry_msgs/msg/PointStamped')
        assert reader.topics['/point'].qos == (OfferedQos(history='unknown', depth=0),)
        assert reader.topics['/x'].qos[0].reliability == 'best_effort'
        assert not {'/_hidden', '/debug/x'} & reader.topics.keys()
        assert all(0 <= row.log_time_ns - row.publish_time_ns < 10**9 for row in rows if row.topic == '/point')
    with AnyReader([bag]) as reader:
        assert {c.topic: c.msgcount for c in reader.connections}['/point'] == 200
    assert 'twin play bag' in (bag / 'README.txt').read_text()
    node.destroy_node()


def test_kill_loses_at_most_100_ms(ros_context, tmp_path: Path):
    node = Node('source', context=ros_context)
    assert lost_on_kill_ms(node, tmp_path / 'killed', run_s=0.4) <= 100.0
    with AnyReader([tmp_path / 'killed_recovered']) as reader:
        assert reader.message_count > 20
    assert recover(tmp_path / 'killed', output=tmp_path / 'again') == 3
    node.destroy_node()


def test_sigterm_closes_the_bag(tmp_path: Path):
    code = 'import sys; from twin_nodes.app.record import record; sys.exit(record(output=sys.argv[1]))'
    process = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'bag')], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: any(b'/rosout' in path.read_bytes() for path in tmp_path.glob('bag/*.mcap')), 'a topic')
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and output.startswith('recorded ')
    with BagReader(tmp_path / 'bag') as reader:
        assert not reader.loss


def test_played_fields_are_the_recorded_ones_bit_for_bit_and_clock_runs(spin, ros_context, in_thread, tmp_path: Path):
    truth = make_bag(tmp_path / 'bag')
    config = PlayConfig(topics=('/point', '/text'), wait_for_subscribers_s=DEADLINE_S)
    for _ in range(2):
        got = listen(spin, ros_context, tmp_path / 'bag', in_thread, config, len(truth))
        assert [decoded_fields(message) for message in got['/point']] == truth
        assert [message.data for message in got['/text']] == ['once']
        stamps = [message.clock.sec * 10**9 + message.clock.nanosec for message in got['/clock']]
        assert stamps == sorted(stamps) and stamps[-1] <= 10**9 + 49 * 4_000_000
        assert len(stamps) > 30


def test_offset_sends_latched_messages_and_leaves_the_others_out(spin, ros_context, in_thread, tmp_path: Path):
    truth = make_bag(tmp_path / 'bag')
    config = PlayConfig(start_offset_s=0.1, topics=('/point', '/text'), clock=False, wait_for_subscribers_s=DEADLINE_S)
    got = listen(spin, ros_context, tmp_path / 'bag', in_thread, config, 25)
    assert [decoded_fields(message) for message in got['/point']] == truth[25:]
    assert [message.data for message in got['/text']] == ['once'] and not got['/clock']


def player_of(reader: BagReader, context: Context, **settings) -> Player:
    return Player(reader, Node('player', context=context), PlayConfig(**settings))


@pytest.mark.parametrize('rate', [1.0, 4.0])
def test_pace_is_absolute_and_follows_the_rate(ros_context, tmp_path: Path, monkeypatch, rate: float):
    make_bag(tmp_path / 'bag', count=100)

    class Late:
        """A clock, and a stop that is waited for by it; each wait takes a little longer than asked for."""

        now_ns = 5 * 10**9
        monotonic_ns = classmethod(lambda cls: cls.now_ns)

        def is_set(self):
            return False

        def wait(self, seconds):
            Late.now_ns += round(seconds * 1e9) + 300_000
            return False

    begun_ns = Late.now_ns
    with BagReader(tmp_path / 'bag') as reader:
        player = player_of(reader, ros_context, rate=rate)
        monkeypatch.setattr('twin_nodes.app.play.time', Late)
        player.play(Late())
    took_ns = Late.now_ns - begun_ns
    assert player.published == 201
    assert 0 <= took_ns - 99 * 4_000_000 / rate <= 300_001, 'what one wait was late is not added to the next'


def test_stop_ends_at_once_and_loop_begins_again(ros_context, tmp_path: Path):
    make_bag(tmp_path / 'bag', count=20, step_ns=10**9)
    with BagReader(tmp_path / 'bag') as reader:
        player = player_of(reader, ros_context)
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        player.play(stop)
        assert 2 <= player.published < 20, 'of 41 in 19 s'
        again = player_of(reader, ros_context, rate=1e6)
        again.play(threading.Event())
        again.play(threading.Event())
        assert again.published == 2 * 41


def test_remapped_and_excluded_topics(ros_context, spin, tmp_path: Path):
    make_bag(tmp_path / 'bag', count=2)
    node, got = Node('listener', context=ros_context), []
    node.create_subscription(PointStamped, '/renamed', got.append, 10)
    with BagReader(tmp_path / 'bag') as reader:
        player = player_of(
            reader, ros_context, exclude=('/x', '/text'), remap={'/point': '/renamed'}, wait_for_subscribers_s=9.0
        )
        assert player.wait_for_subscribers(threading.Event()) == []
        player.play(threading.Event())
        spin(lambda: len(got) == 2, node, what='both points')
    assert player.published == 2


def test_wrong_settings_are_said_in_words(ros_context, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_bag(tmp_path / 'bag', count=1)
    with pytest.raises(ConfigError, match='rate=0'):
        PlayConfig(rate=0.0)
    with pytest.raises(ConfigError, match='start_offset'):
        PlayConfig(start_offset_s=float('nan'))
    assert play(tmp_path / 'bag', config=PlayConfig(topics=('/none',))) == 1
    assert play(tmp_path / 'bag', config=PlayConfig(remap={'/point': 'a b'})) == 1
    assert play(tmp_path / 'absent') == 1
    assert record(output=tmp_path / 'bag') == 1
    assert record(output=tmp_path / 'new', exclude='(') == 1
    assert record(['a b'], output=tmp_path / 'new') == 1
    assert not (tmp_path / 'new').exists()
    assert recover(tmp_path / 'absent') == 1
    errors = capsys.readouterr().err
    assert '/none: not in the bag, which holds /point, /text, /x' in errors
    assert errors.count("'a b' is no name of a topic") == 2
    assert 'no bag at' in errors and 'exists already' in errors and 'regular expression' in errors


def test_subscription_matches_every_publisher_and_player_every_subscriber():
    reliable, best_effort = QoSProfile(depth=1), QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    assert asked_qos([LATCHED]).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert asked_qos([LATCHED, reliable]).durability == DurabilityPolicy.VOLATILE
    assert asked_qos([reliable, best_effort]).reliability == ReliabilityPolicy.BEST_EFFORT
    offered = (OfferedQos(reliability='best_effort', deadline_ns=5), OfferedQos(durability='transient_local'))
    played = publisher_qos(offered)
    assert played.reliability == ReliabilityPolicy.RELIABLE and played.deadline.nanoseconds == 5
    assert played.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert publisher_qos(()).reliability == ReliabilityPolicy.RELIABLE


def test_unknown_type_is_refused_once_and_the_rest_recorded(ros_context, tmp_path: Path, monkeypatch):
    from twin_nodes.app import recorder as module

    known = module.message_class
    monkeypatch.setattr(module, 'message_class', lambda name: None if name.endswith('String') else known(name))
    source = Node('source', context=ros_context)
    source.create_publisher(String, '/text', 10)
    source.create_publisher(Float64, '/x', 10)
    with BagWriter(tmp_path / 'bag') as writer:
        node = RecorderNode(writer, topics=['/text', '/x'], context=ros_context)

        def seen() -> bool:
            node.discover()
            return bool(node.recorded) and '/text' in node._refused

        wait_for(seen, 'discovery')
        assert node.recorded == ('/x',)
        node.destroy_node()
    source.destroy_node()
