"""The records of an MCAP file read back; every length inside a record is held against the record's own."""

import struct
from collections.abc import Iterator

from twin_nodes.io.bags.mcap_records import PREFIX, Channel, ChunkRecord, Schema

_MESSAGE_BODY = struct.Struct('<HIQQ')
MESSAGE_HEAD_BYTES = _MESSAGE_BODY.size


class _Cursor:
    """Reads fields one after another; ValueError where the body is shorter than its fields."""

    def __init__(self, body: memoryview) -> None:
        self.body = body
        self.at = 0

    def take(self, count: int) -> memoryview:
        if self.at + count > len(self.body):
            raise ValueError('record shorter than its fields')
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), 'little')

    def text(self) -> str:
        return bytes(self.take(self.number(4))).decode()

    def text_map(self) -> dict[str, str]:
        inner = _Cursor(self.take(self.number(4)))
        pairs = {}
        while inner.at < len(inner.body):
            key = inner.text()
            pairs[key] = inner.text()
        return pairs

    def done(self) -> None:
        if self.at != len(self.body):
            raise ValueError('record longer than its fields')


def parse_schema(body: memoryview) -> Schema:
    """Decode a schema; ValueError when the lengths inside contradict the body."""
    cursor = _Cursor(body)
    schema = Schema(cursor.number(2), cursor.text(), cursor.text(), cursor.text())
    cursor.done()
    return schema


def parse_channel(body: memoryview) -> Channel:
    """Decode a channel; ValueError when the lengths inside contradict the body."""
    cursor = _Cursor(body)
    channel = Channel(cursor.number(2), cursor.number(2), cursor.text(), cursor.text(), cursor.text_map())
    cursor.done()
    return channel


def parse_chunk(body: memoryview) -> ChunkRecord:
    """Decode the frame of a chunk; ValueError when the lengths inside contradict the body."""
    cursor = _Cursor(body)
    numbers = cursor.number(8), cursor.number(8), cursor.number(8), cursor.number(4)
    compression = cursor.text()
    payload = cursor.take(cursor.number(8))
    cursor.done()
    return ChunkRecord(*numbers, compression, payload)


def parse_cut_chunk(body: memoryview) -> ChunkRecord:
    """Decode the frame of a chunk whose end is missing; its payload is what is left of it."""
    cursor = _Cursor(body)
    numbers = cursor.number(8), cursor.number(8), cursor.number(8), cursor.number(4)
    compression = cursor.text()
    cursor.number(8)
    return ChunkRecord(*numbers, compression, body[cursor.at :])


def parse_message_index(body: memoryview) -> int:
    """Check a message index and return its count of entries; ValueError when the lengths contradict the body."""
    cursor = _Cursor(body)
    cursor.number(2)
    entries = cursor.take(cursor.number(4))
    cursor.done()
    if len(entries) % 16:
        raise ValueError('message index of a broken length')
    return len(entries) // 16


def parse_message_count(body: memoryview) -> int:
    """Return the number of messages that a statistics record tells."""
    return _Cursor(body).number(8)


def walk(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, start and end of the body of each record; ValueError where the content is cut or broken."""
    at, size = 0, len(content)
    while at < size:
        if at + PREFIX.size > size:
            raise ValueError('cut record')
        opcode, length = PREFIX.unpack_from(content, at)
        start = at + PREFIX.size
        if length > size - start or opcode == 0:
            raise ValueError('cut or broken record')
        yield opcode, start, start + length
        at = start + length


def message_head(content: memoryview, start: int, end: int) -> tuple[int, int, int, int]:
    """Return channel id, sequence, log time and publish time of the message body at start:end; its data follow."""
    if end - start < _MESSAGE_BODY.size:
        raise ValueError('message record shorter than its head')
    return _MESSAGE_BODY.unpack_from(content, start)
