"""The records of an MCAP file as bytes, after the published format (https://mcap.dev/spec).

Every record is an opcode (1 byte), the length of its body (8 bytes, little endian) and the body. Strings carry a
4-byte length, maps their length in bytes. All functions here are pure; all integers are little endian.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(0x01, 0x09)
METADATA, METADATA_INDEX, STATISTICS, SUMMARY_OFFSET, DATA_END = 0x0C, 0x0D, 0x0B, 0x0E, 0x0F
PREFIX = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<BQHIQQ')
_CHUNK = struct.Struct('<QQQII')
_STATISTICS = struct.Struct('<QHIIIIQQI')
FOOTER_BYTES = PREFIX.size + 20 + len(MAGIC)


class Schema(NamedTuple):
    """A message type: its name `pkg/msg/Type`, and its definition in the named encoding."""

    id: int
    name: str
    encoding: str
    text: str


class Channel(NamedTuple):
    """A topic with its type (by schema id) and what else is known of it."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: Mapping[str, str]


class MessageRecord(NamedTuple):
    """One message; times in nanoseconds."""

    channel_id: int
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: bytes


class ChunkRecord(NamedTuple):
    """The body of a chunk, its payload still compressed."""

    start_ns: int
    end_ns: int
    uncompressed_bytes: int
    crc: int
    compression: str
    payload: memoryview


@dataclass
class Tally:
    """What the statistics record says of a file."""

    messages: int = 0
    chunks: int = 0
    start_ns: int = 0
    end_ns: int = 0
    by_channel: dict[int, int] = field(default_factory=dict)

    def add(self, channel_id: int, log_time_ns: int) -> None:
        """Count one message."""
        self.start_ns = min(self.start_ns, log_time_ns) if self.messages else log_time_ns
        self.end_ns = max(self.end_ns, log_time_ns)
        self.messages += 1
        self.by_channel[channel_id] = self.by_channel.get(channel_id, 0) + 1


def record(opcode: int, body: bytes) -> bytes:
    """Put the opcode and the length before a body."""
    return PREFIX.pack(opcode, len(body)) + body


def _text(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack('<I', len(raw)) + raw


def _text_map(pairs: Mapping[str, str]) -> bytes:
    return _text(b''.join(_text(key) + _text(value) for key, value in pairs.items()))


def _number_map(pairs: Mapping[int, int]) -> bytes:
    return _text(b''.join(struct.pack('<HQ', key, value) for key, value in pairs.items()))


def header_record(profile: str, library: str) -> bytes:
    """Encode the first record of a file."""
    return record(HEADER, _text(profile) + _text(library))


def schema_record(schema: Schema) -> bytes:
    """Encode a message type."""
    return record(
        SCHEMA, struct.pack('<H', schema.id) + _text(schema.name) + _text(schema.encoding) + _text(schema.text)
    )


def channel_record(channel: Channel) -> bytes:
    """Encode a topic."""
    ids = struct.pack('<HH', channel.id, channel.schema_id)
    return record(CHANNEL, ids + _text(channel.topic) + _text(channel.encoding) + _text_map(channel.metadata))


def message_record(message: MessageRecord) -> bytes:
    """Encode a message."""
    channel_id, sequence, log_time_ns, publish_time_ns, data = message
    return _MESSAGE.pack(MESSAGE, 22 + len(data), channel_id, sequence, log_time_ns, publish_time_ns) + data


def chunk_record(content: bytes, *, start_ns: int, end_ns: int, compression: str, payload: bytes) -> bytes:
    """Encode a chunk, with the checksum of its uncompressed content."""
    head = _CHUNK.pack(start_ns, end_ns, len(content), zlib.crc32(content), len(compression)) + compression.encode()
    return record(CHUNK, head + struct.pack('<Q', len(payload)) + payload)


def message_index_record(channel_id: int, entries: Iterable[tuple[int, int]]) -> bytes:
    """Encode where in the uncompressed chunk the messages of a channel lie: (log time, offset) each."""
    packed = b''.join(struct.pack('<QQ', *entry) for entry in entries)
    return record(MESSAGE_INDEX, struct.pack('<H', channel_id) + _text(packed))


def chunk_index_record(
    *,
    times_ns: tuple[int, int],
    offset: int,
    length: int,
    index_offsets: Mapping[int, int],
    index_length: int,
    compression: str,
    sizes: tuple[int, int],
) -> bytes:
    """Encode where in the file a chunk and its message indexes lie; sizes are compressed, uncompressed."""
    body = struct.pack('<QQQQ', *times_ns, offset, length) + _number_map(index_offsets)
    return record(CHUNK_INDEX, body + struct.pack('<Q', index_length) + _text(compression) + struct.pack('<QQ', *sizes))


def metadata_record(name: str, pairs: Mapping[str, str]) -> bytes:
    """Encode a named map of text."""
    return record(METADATA, _text(name) + _text_map(pairs))


def metadata_index_record(offset: int, length: int, name: str) -> bytes:
    """Encode where a metadata record lies."""
    return record(METADATA_INDEX, struct.pack('<QQ', offset, length) + _text(name))


def statistics_record(tally: Tally, *, schemas: int, channels: int, metadata: int) -> bytes:
    """Encode the counts of a file."""
    counts = _number_map(tally.by_channel)
    body = _STATISTICS.pack(
        tally.messages, schemas, channels, 0, metadata, tally.chunks, tally.start_ns, tally.end_ns, len(counts) - 4
    )
    return record(STATISTICS, body + counts[4:])


def file_end(groups: Iterable[tuple[int, bytes]], *, position: int) -> bytes:
    """Encode everything from DataEnd to the closing magic.

    Args:
        groups: The summary: records of one opcode joined, with their opcode. Empty for a file without a summary.
        position: Where in the file the DataEnd record will lie [bytes].
    """
    data_end = record(DATA_END, bytes(4))
    summary_start = position + len(data_end)
    summary, offsets = b'', b''
    for opcode, group in groups:
        if group:
            place = struct.pack('<BQQ', opcode, summary_start + len(summary), len(group))
            offsets += record(SUMMARY_OFFSET, place)
            summary += group
    starts = (summary_start, summary_start + len(summary)) if summary else (0, 0)
    footer = PREFIX.pack(FOOTER, 20) + struct.pack('<QQ', *starts)
    crc = zlib.crc32(summary + offsets + footer)
    return data_end + summary + offsets + footer + struct.pack('<I', crc) + MAGIC
