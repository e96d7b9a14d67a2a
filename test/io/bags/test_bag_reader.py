"""Bags of others are read, in order of log time, and what is no bag is refused in words."""

from pathlib import Path

import pytest
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag2 import Writer as RosbagsWriter
from rosbags.typesys import Stores, get_typestore

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.writer import BagWriter

TEXT = 'std_msgs/msg/String'


def test_directory_file_and_bag_without_metadata_read_the_same(bag: Path, truth):
    expected = [(topic, stamp, data) for topic, stamp, data in truth]
    for path in (bag, bag / 'bag_0.mcap'):
        with BagReader(path) as reader:
            assert [(row.topic, row.log_time_ns, row.data) for row in reader.messages()] == expected
            assert (reader.start_ns, reader.end_ns) == (truth[0][1], truth[-1][1])
            assert reader.topics['/map'].qos[0].latched and not reader.loss
    (bag / 'metadata.yaml').write_text('[broken')
    with BagReader(bag) as reader:
        assert reader.message_count == len(truth)
        assert {row.publish_time_ns - row.log_time_ns for row in reader.messages()} == {-100}
        assert {row.topic for row in reader.messages(['/x'])} == {'/x'}


def test_a_span_is_the_same_as_what_is_left_of_all(bag: Path, truth):
    spans = [(truth[0][1], truth[0][1]), (1_500_000_000, 2_100_000_000), (0, 1_001_000_000), (9 * 10**18, 2**63 - 1)]
    with BagReader(bag) as reader:
        for since_ns, until_ns in spans:
            rows = [(row.topic, row.log_time_ns) for row in reader.messages(since_ns=since_ns, until_ns=until_ns)]
            assert rows == [(topic, stamp) for topic, stamp, _ in truth if since_ns <= stamp <= until_ns]


def test_equal_times_keep_the_order_of_writing_though_a_later_chunk_begins_earlier(tmp_path: Path, truth):
    with BagWriter(tmp_path / 'bag', chunk_bytes=1024) as writer:
        first, second = writer.add_topic('/a', TEXT), writer.add_topic('/b', TEXT)
        for index in range(300):
            writer.write(first, 1000, truth[index][2])
            writer.write(second, 999 - index, truth[index][2])
    with BagReader(tmp_path / 'bag') as reader:
        assert [row.data for row in reader.messages(['/a'])] == [data for _, _, data in truth[:300]]
        assert [row.data for row in reader.messages(['/b'])] == [data for _, _, data in truth[299::-1]]


def test_order_is_log_time_then_order_of_writing(tmp_path: Path, truth):
    stamps = [50, 10, 10, 40, 5, 10, 90, 1]
    with BagWriter(tmp_path / 'bag', chunk_bytes=1024) as writer:
        first, second = writer.add_topic('/a', TEXT), writer.add_topic('/b', TEXT)
        for index, stamp in enumerate(stamps * 40):
            writer.write((first, second)[index % 2], stamp, truth[index][2])
    with BagReader(tmp_path / 'bag') as reader:
        rows = [(row.log_time_ns, row.data) for row in reader.messages()]
    expected = sorted(((stamp, truth[index][2]) for index, stamp in enumerate(stamps * 40)), key=lambda row: row[0])
    assert rows == expected


@pytest.mark.parametrize('chunking', [True, False])
@pytest.mark.parametrize('compression', [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_reads_files_of_the_mcap_library(tmp_path: Path, truth, chunking: bool, compression: CompressionType):
    path = tmp_path / 'other.mcap'
    writer = Writer(
        str(path), use_chunking=chunking, compression=compression, index_types=IndexType.NONE, chunk_size=500
    )
    writer.start('ros2')
    schema = writer.register_schema(TEXT, 'ros2msg', b'string data\n')
    channel = writer.register_channel('/map', 'cdr', schema)
    for index in range(100):
        writer.add_message(channel, index, truth[0][2], index)
    writer.finish()
    with BagReader(path) as reader:
        rows = list(reader.messages())
        assert [row.log_time_ns for row in rows] == list(range(100)) and not reader.loss
        assert reader.decode(rows[0]).data == 'latched'


@pytest.mark.parametrize('version', [8, 9])
def test_reads_bags_of_rosbags(tmp_path: Path, truth, version: int):
    from rosbags.rosbag2 import StoragePlugin

    store = get_typestore(Stores.LATEST)
    with RosbagsWriter(tmp_path / 'bag', version=version, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/map', TEXT, typestore=store)
        writer.write(connection, 7, truth[0][2])
    with BagReader(tmp_path / 'bag') as reader:
        (row,) = reader.messages()
    assert (row.topic, row.type_name, row.log_time_ns, row.data) == ('/map', TEXT, 7, truth[0][2])


def test_bag_of_two_files_is_one(tmp_path: Path, bag: Path, truth):
    with BagWriter(tmp_path / 'second') as writer:
        handle = writer.add_topic('/late', TEXT)
        writer.write(handle, truth[300][1], truth[0][2])
    (tmp_path / 'second' / 'second_0.mcap').rename(bag / 'bag_1.mcap')
    (bag / 'metadata.yaml').unlink()
    with BagReader(bag) as reader:
        rows = list(reader.messages())
    assert [row.log_time_ns for row in rows] == sorted(row.log_time_ns for row in rows)
    assert len(rows) == len(truth) + 1 and rows[300].log_time_ns == rows[301].log_time_ns


def test_refuses_what_is_no_bag_or_another_kind(tmp_path: Path):
    with pytest.raises(InputError, match='no bag at'):
        BagReader(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match=r'no \.mcap and no \.db3 file'):
        BagReader(tmp_path / 'empty')
    (tmp_path / 'text.mcap').write_text('this is a text about tracking')
    with pytest.raises(InputError, match='does not begin like'):
        BagReader(tmp_path / 'text.mcap')
    for entry, reason in (
        ('storage_identifier: plain_cdr', 'rosbags-convert'),
        ('storage_identifier: mcap, compression_format: lz4', 'rosbags-convert'),
        ('storage_identifier: sqlite3, relative_file_paths: [a_0.db3]', r'though metadata\.yaml names a_0\.db3'),
    ):
        (tmp_path / 'empty' / 'metadata.yaml').write_text(f'rosbag2_bagfile_information: {{version: 5, {entry}}}')
        with pytest.raises(InputError, match=reason):
            BagReader(tmp_path / 'empty')


def test_wrong_schema_is_an_input_error_on_decoding_and_not_before(tmp_path: Path, truth):
    with BagWriter(tmp_path / 'bag') as writer:
        handle = writer.add_topic('/map', 'geometry_msgs/msg/PoseStamped')
        writer.write(handle, 1, truth[0][2])
    with BagReader(tmp_path / 'bag') as reader:
        (row,) = reader.messages()
        with pytest.raises(InputError, match='PoseStamped'):
            reader.decode(row)
