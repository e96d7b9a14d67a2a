"""Bags as `ros2 bag record` of others writes them: sqlite3, split, compressed by file or message, cut."""

import sqlite3
from pathlib import Path

import pytest
import zstandard
from mcap.writer import Writer

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.metadata import write_metadata
from twin_nodes.io.bags.reader import BagReader, files_of, is_bag
from twin_nodes.io.bags.recover import recover

TEXT, NUMBER = 'std_msgs/msg/String', 'std_msgs/msg/Float64'
LATCHED = '- history: 3\n  depth: 0\n  reliability: 1\n  durability: 1\n'
TYPES = {'/map': TEXT, '/text': TEXT, '/x': NUMBER}


def write_sqlite(path: Path, rows, *, pack=bytes, iron: bool = True) -> None:
    """Write messages as the sqlite3 plug-in of rosbag2 does, that of Iron or that of Humble."""
    database = sqlite3.connect(path)
    new = ', type_description_hash TEXT NOT NULL' if iron else ''
    database.executescript(
        'CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);'
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT '
        f'NOT NULL, offered_qos_profiles TEXT NOT NULL{new});'
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data '
        'BLOB NOT NULL);CREATE INDEX timestamp_idx ON messages (timestamp ASC);'
    )
    if iron:
        database.execute(
            'CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT, '
            'encoded_message_definition TEXT, type_description_hash TEXT)'
        )
        database.execute(
            "INSERT INTO message_definitions VALUES(1, 'std_msgs/msg/String', 'ros2msg', 'string data', '')"
        )
    for at, (name, kind) in enumerate(TYPES.items(), start=1):
        row = (at, name, kind, 'cdr', LATCHED if name == '/map' else '', *(('',) if iron else ()))
        database.execute(f'INSERT INTO topics VALUES({",".join("?" * len(row))})', row)
    database.executemany(
        'INSERT INTO messages (topic_id, timestamp, data) VALUES(?, ?, ?)',
        [(1 + list(TYPES).index(topic), stamp, pack(data)) for topic, stamp, data in rows],
    )
    database.commit()
    database.close()


def read(path: Path) -> list[tuple[str, int, bytes]]:
    with BagReader(path) as reader:
        assert not reader.loss
        return [(row.topic, row.log_time_ns, row.data) for row in reader.messages()]


@pytest.mark.parametrize('iron', [True, False])
def test_sqlite_reads_the_same_as_mcap(tmp_path: Path, bag: Path, truth, iron: bool):
    write_sqlite(tmp_path / 'a_0.db3', truth[::-1], iron=iron)
    assert read(tmp_path / 'a_0.db3') == read(bag)
    with BagReader(tmp_path / 'a_0.db3') as reader, BagReader(bag) as other:
        assert (reader.start_ns, reader.end_ns, reader.counts) == (other.start_ns, other.end_ns, other.counts)
        assert reader.topics['/map'].qos[0].latched and reader.topics['/x'].type_name == NUMBER
        span = (1_500_000_000, 2_100_000_000)
        rows = [row.data for row in reader.messages({'/x'}, since_ns=span[0], until_ns=span[1])]
        assert rows == [data for topic, stamp, data in truth if topic == '/x' and span[0] <= stamp <= span[1]]
        assert reader.decode(next(reader.messages({'/text'}))).data == 'message 1'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a_0.db3', 'bag']  # nothing is left beside it


@pytest.mark.parametrize('kind', ['.db3', '.db3.zstd', '.mcap.zstd', 'message'])
def test_split_and_compressed_bags_with_and_without_metadata(tmp_path: Path, bag: Path, truth, kind: str):
    folder = tmp_path / 'split'
    folder.mkdir()
    pack = zstandard.ZstdCompressor().compress
    if kind == '.mcap.zstd':
        (folder / 'run_0.mcap.zstd').write_bytes(pack((bag / 'bag_0.mcap').read_bytes()))
    else:
        for index in range(12):  # run_10 comes after run_9
            part = truth[index * 50 : (index + 1) * 50] if index < 11 else truth[550:]
            write_sqlite(folder / f'run_{index}.db3', part, pack=pack if kind == 'message' else bytes)
    if kind == '.db3.zstd':
        for file in list(folder.iterdir()):
            (folder / f'{file.name}.zstd').write_bytes(pack(file.read_bytes()))
            file.unlink()
    assert is_bag(folder) and read(folder) == truth
    names = [file.name for file in files_of(folder)]
    write_metadata(
        folder,
        {
            'version': 5, 'storage_identifier': 'mcap' if 'mcap' in kind else 'sqlite3', 'message_count': len(truth),
            'compression_format': 'zstd', 'compression_mode': 'FILE' if 'zstd' in kind else 'MESSAGE',
            'relative_file_paths': [f'split/{name}' for name in names],  # as Foxy wrote them
        },
    )  # fmt: skip
    assert read(folder) == truth
    if len(names) > 1:
        (folder / names[3]).unlink()
        with BagReader(folder) as reader:
            assert reader.loss.missing_messages == 50 and reader.message_count == len(truth) - 50


def test_a_damaged_sqlite_bag_is_read_from_both_ends_and_recovered(tmp_path: Path, truth):
    write_sqlite(tmp_path / 'a.db3', truth)
    whole = (tmp_path / 'a.db3').read_bytes()
    hole = bytearray(whole)
    page = len(hole) // 8192 * 4096
    hole[page : page + 4096] = b'\xff' * 4096
    for name, data in (('hole.db3', bytes(hole)), ('cut.db3', whole[: 2 * len(whole) // 3])):
        (tmp_path / name).write_bytes(data)
        with BagReader(tmp_path / name) as reader:
            rows = [(row.topic, row.log_time_ns, row.data) for row in reader.messages()]
            assert reader.loss.open_end and reader.message_count == len(rows)
            assert 100 < len(rows) < len(truth) and set(rows) <= set(truth) and rows == sorted(rows, key=lambda r: r[1])
        report = recover(tmp_path / name, tmp_path / f'{name}_new')
        assert report.messages == len(rows) == len(read(tmp_path / f'{name}_new'))


def test_a_cut_compressed_file_gives_what_is_whole(tmp_path: Path, bag: Path, truth):
    data = zstandard.ZstdCompressor().compress((bag / 'bag_0.mcap').read_bytes())
    (tmp_path / 'cut.mcap.zstd').write_bytes(data[: len(data) // 2])
    with BagReader(tmp_path / 'cut.mcap.zstd') as reader:
        assert 0 <= reader.message_count < len(truth) and reader.loss


def test_what_only_looks_like_a_bag_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / 'short.db3').write_bytes(b'SQLite format 3\0' + bytes(50))
    sqlite3.connect(tmp_path / 'photos.db3').execute('CREATE TABLE photos(id INTEGER)').connection.close()
    (tmp_path / 'a.mcap.zstd').write_bytes(b'\x28\xb5\x2f\xfd' + b'\xff' * 40)
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\n' + bytes(99))
    with (tmp_path / 'fox.mcap').open('wb') as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema('foxglove.PoseInFrame', 'protobuf', b'')
        writer.add_message(writer.register_channel('/pose', 'protobuf', schema), 1, b'abc', 1)
        writer.finish()
    for name, reason in (
        ('short.db3', "'short.db3' is stored as sqlite3, but"),
        ('photos.db3', 'photos.db3.*it has photos'),
        ('a.mcap.zstd', "'a.mcap.zstd' cannot be decompressed"),
        ('old.bag', 'a bag of ROS 1: convert it with `rosbags-convert'),
        ('fox.mcap', r'encoded as protobuf; only those of ROS 2 \(cdr\)'),
    ):
        with pytest.raises(InputError, match=reason):
            BagReader(tmp_path / name)
