"""However a bag was cut or damaged, every whole chunk comes back, and the loss is told."""

import random
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from rosbags.highlevel import AnyReader

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.recover import ALL, LOSSY, NOTHING, recover
from twin_nodes.io.bags.scan import scan


def expected_messages(ends: list[tuple[int, int]], size: int) -> int:
    return max((messages for end, messages in ends if end <= size), default=0)


def test_cut_at_every_1000th_byte_gives_every_whole_chunk_and_what_is_left_of_the_last(tmp_path: Path, chunked):
    raw, ends = chunked
    unguarded = 0
    for size in range(0, len(raw), 1000):
        cut = tmp_path / f'{size}.mcap'
        cut.write_bytes(raw[:size])
        report = recover(cut, tmp_path / f'{size}')
        expected = expected_messages(ends, size) + report.unguarded
        assert report.messages == expected and report.unguarded < 10
        with BagReader(cut) as reader:
            assert reader.message_count == expected_messages(ends, size) and not reader.unguarded
        unguarded += report.unguarded
        if not expected:
            assert report.exit_status == NOTHING and not (tmp_path / f'{size}').exists()
            continue
        assert report.exit_status == (LOSSY if report.loss else ALL)
        with AnyReader([tmp_path / f'{size}']) as reader:
            stamps = [stamp for _, stamp, _ in reader.messages()]
        assert stamps == list(range(expected))
        with (tmp_path / f'{size}' / f'{size}_0.mcap').open('rb') as stream:
            assert make_reader(stream, validate_crcs=True).get_summary().statistics.message_count == expected
    assert unguarded > 50


@pytest.mark.parametrize('compression', [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_a_file_of_one_chunk_that_was_cut_is_not_lost(tmp_path: Path, compression: CompressionType):
    """As other recorders write short bags: nothing is whole, and no message of it may be half."""
    path = tmp_path / 'one.mcap'
    writer = Writer(str(path), compression=compression, chunk_size=1 << 22)
    writer.start('ros2')
    channel = writer.register_channel(
        '/a', 'cdr', writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data\n')
    )
    rng = random.Random(1)
    texts = [rng.randbytes(300).hex().encode() + b'\0' for _ in range(1000)]
    sent = [b'\x00\x01\x00\x00' + struct.pack('<I', len(text)) + text for text in texts]
    for index, data in enumerate(sent):
        writer.add_message(channel, index, data, index)
    writer.finish()
    raw = path.read_bytes()
    cut = raw[: len(raw) // 2]
    for name, data in (('cut', cut), ('zeros', cut + bytes(len(raw) // 4))):
        (tmp_path / f'{name}.mcap').write_bytes(data)
        with BagReader(tmp_path / f'{name}.mcap') as reader:
            assert reader.message_count == 0 and reader.loss
        report = recover(tmp_path / f'{name}.mcap', tmp_path / name)
        with BagReader(tmp_path / name) as reader:
            found = [row.data for row in reader.messages()]
        assert report.exit_status == LOSSY and report.unguarded == len(found)
        assert 200 < len(found) < 600 and found == sent[: len(found)]


def test_cut_at_every_single_byte_of_some_chunks_raises_nothing(chunked):
    raw, ends = chunked
    for size in range(ends[5][0] - 400, ends[7][0] + 1):
        found = scan(raw[:size])
        assert found.messages == expected_messages(ends, size) and not found.ended


def test_whole_bag_is_recovered_with_topics_qos_and_bytes(tmp_path: Path, bag: Path, truth):
    report = recover(bag, tmp_path / 'out')
    assert report.exit_status == ALL and report.bytes_lost == 0
    assert report.counts == {'/map': 1, '/text': 400, '/x': 200}
    with BagReader(bag) as old, BagReader(tmp_path / 'out') as new:
        assert list(new.messages()) == list(old.messages())
        assert new.topics == old.topics and new.definitions == old.definitions


def test_cut_bag_needs_no_metadata(tmp_path: Path, bag: Path, truth):
    file = bag / 'bag_0.mcap'
    raw = file.read_bytes()
    file.write_bytes(raw[: scan(raw).blocks[-2].end - 10])
    (bag / 'metadata.yaml').unlink()
    report = recover(bag, tmp_path / 'out')
    assert report.exit_status == LOSSY and report.loss.open_end
    with BagReader(tmp_path / 'out') as reader:
        rows = [(row.topic, row.log_time_ns, row.data) for row in reader.messages()]
        assert reader.topics['/map'].qos[0].latched
    assert rows == truth[: len(rows)] and len(rows) > 300


def test_flipped_byte_costs_its_chunk_alone_and_is_counted(tmp_path: Path, chunked):
    raw, ends = chunked
    for chunk in (0, 7, 30, 59):
        damaged = bytearray(raw)
        damaged[ends[chunk][0] - 40] ^= 0x10  # inside the text of a message
        path = tmp_path / f'flip{chunk}.mcap'
        path.write_bytes(damaged)
        report = recover(path, tmp_path / f'flip{chunk}')
        assert report.messages == ends[-1][1] - 10
        assert report.loss.bad_chunks == 1 and report.loss.missing_messages == 10
        assert report.exit_status == LOSSY


def test_destroyed_length_or_opcode_is_passed_over(tmp_path: Path, chunked):
    raw, ends = chunked
    start = raw.index(b'\x06', ends[20][0] + 175)  # the chunk after the 21st's index (9 + 6 + 160 bytes)
    for offset, value in ((0, 0x07), (0, 0x44), (0, 0x00), (1, 0xFF), (3, 0x02), (8, 0xFF)):
        damaged = bytearray(raw)
        damaged[start + offset] = value
        found = scan(bytes(damaged))
        assert ends[-1][1] - 10 <= found.messages < ends[-1][1]
        assert found.lost_bytes > 0


def test_damage_outside_chunks_costs_the_messages_it_touches(tmp_path: Path):
    path = tmp_path / 'plain.mcap'
    writer = Writer(str(path), use_chunking=False)
    writer.start('ros2')
    channel = writer.register_channel(
        '/text', 'cdr', writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
    )
    for index in range(100):
        writer.add_message(channel, index, b'\x00\x01\x00\x00\x02\x00\x00\x00a\x00', index)
    writer.finish()
    raw = bytearray(path.read_bytes())
    raw[2000] = raw[2001] = raw[2002] = 0xFF
    raw[1980:1990] = bytes(10)
    found = scan(bytes(raw))
    assert 97 <= found.messages <= 99 and found.promised == 100 and found.lost_bytes > 0


def test_destroyed_beginning_still_gives_the_messages(tmp_path: Path, chunked):
    raw, ends = chunked
    damaged = bytes(200) + raw[200:]
    (tmp_path / 'head.mcap').write_bytes(damaged)
    report = recover(tmp_path / 'head.mcap', tmp_path / 'out')
    assert report.messages == ends[-1][1] and report.exit_status == LOSSY


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32 - 1), flips=st.integers(1, 40))
def test_random_damage_raises_nothing_and_invents_nothing(chunked, seed: int, flips: int):
    raw, ends = chunked
    dice, damaged = random.Random(seed), bytearray(raw)
    for _ in range(flips):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    found = scan(bytes(damaged[: dice.randrange(len(damaged))]))
    assert found.messages <= ends[-1][1]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_garbage_raises_nothing(data: bytes):
    assert scan(data).messages == 0
    scan(b'\x89MCAP0\r\n' + data)


def test_chunk_that_promises_too_much_takes_no_memory(chunked):
    import struct

    raw, ends = chunked
    start = raw.index(b'\x06', ends[20][0] + 175)
    damaged = bytearray(raw)
    struct.pack_into('<Q', damaged, start + 9 + 16, 1 << 62)
    found = scan(bytes(damaged))
    assert found.bad_chunks == 1 and found.messages == ends[-1][1] - 10


def test_nothing_there_and_output_in_use(tmp_path: Path, bag: Path):
    (tmp_path / 'empty.mcap').touch()
    assert recover(tmp_path / 'empty.mcap', tmp_path / 'out').exit_status == NOTHING
    with pytest.raises(InputError, match='no bag'):
        recover(tmp_path / 'absent', tmp_path / 'out')
    shutil.copytree(bag, tmp_path / 'used')
    with pytest.raises(ConfigError, match='exists already'):
        recover(bag, tmp_path / 'used')
