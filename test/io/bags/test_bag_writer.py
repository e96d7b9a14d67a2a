"""A bag that we write is what ROS 2 tools expect, and whole whatever the disk does."""

import errno
import threading
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.definitions import definition_text, type_hash
from twin_nodes.io.bags.mcap_file import BagWriteError
from twin_nodes.io.bags.qos import OfferedQos, parse_qos, qos_text
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.scan import scan
from twin_nodes.io.bags.writer import BagWriter

TEXT = 'std_msgs/msg/String'


def test_rosbags_reads_types_qos_hashes_counts_and_bytes(bag: Path, truth):
    with AnyReader([bag]) as reader:
        rows = [(connection.topic, stamp, bytes(data)) for connection, stamp, data in reader.messages()]
        by_topic = {connection.topic: connection for connection in reader.connections}
    assert rows == truth
    assert by_topic['/x'].msgtype == 'std_msgs/msg/Float64'
    assert by_topic['/x'].digest == get_typestore(Stores.LATEST).hash_rihs01('std_msgs/msg/Float64')
    qos = by_topic['/map'].ext.offered_qos_profiles
    assert [profile.durability for profile in qos] == [QosDurability.TRANSIENT_LOCAL]
    assert [profile.reliability for profile in by_topic['/x'].ext.offered_qos_profiles] == [
        QosReliability.BEST_EFFORT,
        QosReliability.RELIABLE,
    ]
    assert by_topic['/text'].msgcount == 400


def test_mcap_reads_profile_summary_indexes_and_metadata(bag: Path, truth):
    with (bag / 'bag_0.mcap').open('rb') as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        rows = [(channel.topic, message.log_time, message.data) for _, channel, message in reader.iter_messages()]
        summary = reader.get_summary()
        (inner,) = [record for record in reader.iter_metadata() if record.name == 'rosbag2']
    assert rows == truth
    assert summary.statistics.message_count == len(truth)
    assert len(summary.chunk_indexes) == summary.statistics.chunk_count > 5
    assert {schema.encoding for schema in summary.schemas.values()} == {'ros2msg'}
    assert {channel.message_encoding for channel in summary.channels.values()} == {'cdr'}
    outer = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert yaml.safe_load(inner.metadata['serialized_metadata']) == outer


def test_metadata_is_version_9_with_named_policies(bag: Path, truth):
    entries = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert entries['version'] == 9 and entries['storage_identifier'] == 'mcap'
    assert entries['message_count'] == len(truth)
    assert entries['starting_time']['nanoseconds_since_epoch'] == truth[0][1]
    assert entries['duration']['nanoseconds'] == truth[-1][1] - truth[0][1]
    topics = {
        entry['topic_metadata']['name']: entry['topic_metadata'] for entry in entries['topics_with_message_count']
    }
    (latched,) = topics['/map']['offered_qos_profiles']
    assert latched['durability'] == 'transient_local' and latched['history'] == 'unknown'
    assert latched['lifespan'] == {'sec': 9223372036, 'nsec': 854775807}
    assert topics['/x']['offered_qos_profiles'][0]['deadline'] == {'sec': 0, 'nsec': 50_000_000}


def test_what_was_handed_over_is_in_the_file_without_closing(tmp_path: Path, truth):
    writer = BagWriter(tmp_path / 'bag')
    handle = writer.add_topic('/text', TEXT)
    writer.write(handle, 5, truth[0][2])
    pause = threading.Event()
    for _ in range(1000):
        found = scan(writer.path.read_bytes())
        entries = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
        if (found.messages and entries['topics_with_message_count']) or pause.wait(0.01):
            break
    assert found.messages == 1 and not found.ended
    assert entries['version'] == 9 and entries['topics_with_message_count'][0]['topic_metadata']['name'] == '/text'
    writer.close()


@pytest.mark.parametrize('compression', ['', 'zstd', 'lz4'])
def test_every_compression_is_read_back(tmp_path: Path, truth, compression: str):
    with BagWriter(tmp_path / 'bag', compression=compression) as writer:
        handle = writer.add_topic('/map', TEXT)
        for index in range(200):
            writer.write(handle, index, truth[0][2])
    with AnyReader([tmp_path / 'bag']) as reader:
        assert sum(1 for _ in reader.messages()) == 200
    with BagReader(tmp_path / 'bag') as reader:
        assert reader.message_count == 200 and not reader.loss


def test_an_empty_bag_opens_everywhere(tmp_path: Path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/text', TEXT)
    with AnyReader([tmp_path / 'bag']) as reader:
        assert list(reader.messages()) == []
    with BagReader(tmp_path / 'bag') as reader:
        assert list(reader.messages()) == [] and '/text' in reader.topics and not reader.loss


@pytest.mark.parametrize(
    'type_name',
    [
        'geometry_msgs/msg/PoseWithCovarianceStamped',
        'sensor_msgs/msg/PointCloud2',
        'sensor_msgs/msg/JointState',
        'visualization_msgs/msg/MarkerArray',
        'diagnostic_msgs/msg/DiagnosticArray',
        'shape_msgs/msg/SolidPrimitive',
        'rcl_interfaces/msg/Log',
    ],
)
def test_definition_is_complete_and_has_the_official_hash(type_name: str):
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition_text(type_name), type_name))
    assert store.hash_rihs01(type_name) == type_hash(type_name)


def test_type_that_is_not_installed_comes_from_rosbags(monkeypatch: pytest.MonkeyPatch):
    from twin_nodes.io.bags import definitions

    monkeypatch.setattr(definitions, '_definition_path', lambda name: None)
    text = definitions.definition_text.__wrapped__('tf2_msgs/msg/TFMessage')
    assert 'MSG: geometry_msgs/' in text
    official = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    assert definitions.type_hash.__wrapped__('tf2_msgs/msg/TFMessage') == official


def test_qos_survives_text_and_the_numbers_of_old_bags():
    profiles = (OfferedQos(durability='transient_local', depth=1, lifespan_ns=7), OfferedQos(reliability='best_effort'))
    assert parse_qos(qos_text(profiles)) == profiles
    endless = {'sec': 2147483647, 'nsec': 4294967295}
    old = {'history': 1, 'depth': 5, 'reliability': 2, 'durability': 1, 'deadline': endless, 'liveliness': 1}
    (read,) = parse_qos([old])
    assert (read.history, read.reliability, read.durability) == ('keep_last', 'best_effort', 'transient_local')
    assert parse_qos('][') == () and parse_qos([{'history': 1}]) == ()


def test_refuses_folder_in_use_unknown_type_and_topic_twice(tmp_path: Path):
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'file').touch()
    with pytest.raises(ConfigError, match='exists already'):
        BagWriter(tmp_path / 'used')
    with pytest.raises(ConfigError, match='compression'):
        BagWriter(tmp_path / 'new', compression='rar')
    with pytest.raises(ConfigError, match='flush_period_s'):
        BagWriter(tmp_path / 'new', flush_period_s=1.0)
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/text', TEXT)
        with pytest.raises(InputError, match='announced'):
            writer.add_topic('/text', TEXT)
        with pytest.raises(InputError, match='none_msgs/msg/None'):
            writer.add_topic('/other', 'none_msgs/msg/None')
        with pytest.raises(InputError, match='not the name'):
            writer.add_topic('/other', '../../etc/passwd')


class FullDisk:
    """A file on a disk with room for a given number of bytes; the last write is taken in part."""

    def __init__(self, path: Path, room: int) -> None:
        self.file = path.open('wb', buffering=0)
        self.room = room

    def write(self, data) -> int:
        left = self.room - self.file.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return self.file.write(bytes(data)[:left])

    def truncate(self, size: int) -> int:
        return self.file.truncate(size)

    def seek(self, offset: int) -> int:
        return self.file.seek(offset)


@pytest.mark.parametrize('room', [7_000, 10_000, 10_077, 20_001])
def test_full_disk_stops_once_and_leaves_a_whole_file(tmp_path: Path, truth, room: int):
    writer = BagWriter(tmp_path / 'bag', compression='', chunk_bytes=1024, open_raw=lambda path: FullDisk(path, room))
    handle = writer.add_topic('/text', TEXT)
    told = 0
    for index in range(3000):
        try:
            writer.write(handle, index, truth[index % 600][2])
        except BagWriteError as error:
            told += 1
            assert error.code == 'DISK_FULL' and 'whole' in str(error)
    try:
        writer.close()
    except BagWriteError:
        told += 1
    assert told == 1
    written = writer.counts['/text']
    assert written + writer.dropped['/text'] == 3000
    found = scan(writer.path.read_bytes())
    assert found.messages == written > 0 and found.lost_bytes == 0
    assert writer.path.stat().st_size <= room


def test_slow_disk_drops_and_counts_but_never_holds_up(tmp_path: Path, truth):
    gate = threading.Event()

    class SlowDisk(FullDisk):
        def write(self, data) -> int:
            if self.file.tell() > 2000:
                assert gate.wait(20.0)
            return super().write(data)

    writer = BagWriter(
        tmp_path / 'bag',
        chunk_bytes=1024,
        queue_bytes=4096,
        compression='',
        open_raw=lambda path: SlowDisk(path, 10**9),
    )
    handle = writer.add_topic('/text', TEXT)
    taken = sum(writer.write(handle, index, truth[0][2]) for index in range(5000))  # returns though the disk stands
    assert 0 < taken < 5000
    gate.set()
    writer.close()
    assert writer.counts['/text'] == taken and writer.dropped['/text'] == 5000 - taken
