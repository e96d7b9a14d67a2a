"""Small bags with known content."""

import struct
from pathlib import Path

import pytest

from twin_nodes.io.bags.definitions import definition_text
from twin_nodes.io.bags.mcap_file import McapFile
from twin_nodes.io.bags.mcap_records import MessageRecord
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter

POSE, TEXT, MARKER = 'geometry_msgs/msg/PointStamped', 'std_msgs/msg/String', 'std_msgs/msg/Float64'
LATCHED = OfferedQos(history='unknown', depth=0, durability='transient_local')
BEST_EFFORT = OfferedQos(reliability='best_effort', deadline_ns=50_000_000)


def text_cdr(text: str) -> bytes:
    raw = text.encode() + b'\0'
    return b'\x00\x01\x00\x00' + struct.pack('<I', len(raw)) + raw


def float_cdr(value: float) -> bytes:
    return b'\x00\x01\x00\x00' + struct.pack('<d', value)


@pytest.fixture
def truth() -> list[tuple[str, int, bytes]]:
    """Topic, log time and bytes of 600 messages in the order of log time."""
    rows = [('/map', 1_000_000_000, text_cdr('latched'))]
    for index in range(600):
        stamp_ns = 1_001_000_000 + index * 5_000_000
        rows.append(
            ('/text', stamp_ns, text_cdr(f'message {index}')) if index % 3 else ('/x', stamp_ns, float_cdr(index))
        )
    return rows


@pytest.fixture
def bag(tmp_path: Path, truth) -> Path:
    """A whole bag of the truth."""
    directory = tmp_path / 'bag'
    with BagWriter(directory, chunk_bytes=1024) as writer:
        handles = {
            '/map': writer.add_topic('/map', TEXT, qos=(LATCHED,)),
            '/text': writer.add_topic('/text', TEXT, qos=(OfferedQos(),)),
            '/x': writer.add_topic('/x', MARKER, qos=(BEST_EFFORT, OfferedQos())),
        }
        for topic, stamp_ns, data in truth:
            assert writer.write(handles[topic], stamp_ns, data, publish_time_ns=stamp_ns - 100)
    return directory


@pytest.fixture
def chunked(tmp_path: Path) -> tuple[bytes, list[tuple[int, int]]]:
    """The bytes of a file of 60 uncompressed chunks, and for each whether it is whole: (end, messages up to it)."""
    path = tmp_path / 'chunked.mcap'
    ends = []
    with path.open('wb', buffering=0) as raw:
        file = McapFile(raw)
        schema = file.add_schema(TEXT, 'ros2msg', definition_text(TEXT))
        channel = file.add_channel(schema, '/text', {'offered_qos_profiles': '', 'topic_type_hash': ''})
        for chunk in range(60):
            rows = [
                MessageRecord(channel, 0, chunk * 10 + i, chunk * 10 + i, text_cdr(f'{chunk} {i}')) for i in range(10)
            ]
            file.write_chunk(rows)
            index_bytes = 9 + 2 + 4 + 16 * len(rows)
            ends.append((file.position - index_bytes, (chunk + 1) * 10))
        file.finish()
    return path.read_bytes(), ends
