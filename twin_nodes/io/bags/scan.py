"""Finds every whole block of messages in an MCAP file, however it was cut or damaged.

The summary at the end is not trusted for finding messages; it is only asked how many there should be.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from twin_nodes.core.errors import InputError
from twin_nodes.io.bags import mcap_parse
from twin_nodes.io.bags import mcap_records as records
from twin_nodes.io.bags.compression import decompress, decompress_cut
from twin_nodes.io.bags.mcap_records import Channel, ChunkRecord, MessageRecord, Schema

_PLAIN_BLOCK_BYTES = 1 << 20
# opcode of a schema, channel, message or chunk, and a length below 2^40
_CANDIDATE = re.compile(rb'[\x03-\x06](?=[\x00-\xff]{5}\x00\x00\x00)')
_SKIPPED = frozenset((records.HEADER, records.METADATA, records.METADATA_INDEX, 0x09, 0x0A))


@dataclass
class Block:
    """A stretch of the file that holds messages: a chunk's payload, or records that lie outside chunks.

    `cut` is said of a chunk whose end is missing: what is left of it is guarded by no checksum.
    """

    start: int
    end: int
    compression: str = ''
    size: int = 0
    count: int = 0
    start_ns: int = 2**63 - 1
    end_ns: int = 0
    cut: bool = False


@dataclass
class Scan:
    """What a file holds.

    Args:
        blocks: Whole blocks, in the order of the file.
        schemas: Types by id.
        channels: Topics by id.
        counts: Messages by channel id, channels without a definition included.
        lost_bytes: Bytes that could not be read as whole records.
        bad_chunks: Chunks whose checksum or content is wrong.
        ended: Whether the end of the data was found.
        promised: How many messages the file says it holds, where it says so.
        chunked: Whether messages lie in chunks; then none is taken from outside, where no checksum guards it.
        unguarded: Whether messages of a chunk that was cut are taken, which no checksum guards.
        doubtful: Schemas and channels found in damaged stretches: used for ids that are defined nowhere else.
    """

    blocks: list[Block] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    lost_bytes: int = 0
    bad_chunks: int = 0
    ended: bool = False
    promised: int | None = None
    chunked: bool = False
    unguarded: bool = False
    doubtful: 'Scan | None' = None

    @property
    def messages(self) -> int:
        """Messages in whole blocks."""
        return sum(self.counts.values())


def scan(data: memoryview | bytes, *, unguarded: bool = False) -> Scan:
    """Go through a file from its start; never raises, whatever the bytes.

    Args:
        data: The whole file, mapped or in memory.
        unguarded: Whether to take the messages of a last chunk that was cut too; no checksum guards them.
    """
    view = memoryview(data)
    found = Scan(promised=_promised(view), unguarded=unguarded, doubtful=Scan())
    at = len(records.MAGIC) if bytes(view[: len(records.MAGIC)]) == records.MAGIC else 0
    while at < len(view) and not found.ended:
        following = _take(view, at, found)
        if following is None:
            following = _next_whole(view, at + 1, found)
            found.lost_bytes += following - at
        at = following
    found.schemas = found.doubtful.schemas | found.schemas
    found.channels = found.doubtful.channels | found.channels
    return found


def messages_of(view: memoryview, block: Block) -> Iterator[MessageRecord]:
    """Yield the messages of a block in the order in which they lie there.

    Raises:
        InputError: The file has changed since it was scanned.
    """
    opened = decompress_cut if block.cut else decompress
    content = opened(block.compression, view[block.start : block.end], block.size)
    for opcode, start, end in _whole_records(content) if block.cut else mcap_parse.walk(content):
        if opcode == records.MESSAGE:
            head = mcap_parse.message_head(content, start, end)
            yield MessageRecord(*head, bytes(content[start + mcap_parse.MESSAGE_HEAD_BYTES : end]))


def _take(view: memoryview, at: int, found: Scan) -> int | None:
    """Take the record at a place; return where the next begins, or None when this one is not whole."""
    if at + records.PREFIX.size > len(view):
        return None
    opcode, length = records.PREFIX.unpack_from(view, at)
    found.chunked |= opcode == records.CHUNK
    start = at + records.PREFIX.size
    end = start + length
    if end > len(view):
        cut = opcode == records.CHUNK and found.unguarded and _use_cut_chunk(view, start, found)
        return len(view) if cut else None
    try:
        return end if _use(view, opcode, start, end, found) else None
    except (ValueError, UnicodeDecodeError):
        return None


def _use(view: memoryview, opcode: int, start: int, end: int, found: Scan) -> bool:
    """Use a record; False or ValueError when its content contradicts its length."""
    body = view[start:end]
    if opcode == records.CHUNK:
        _use_chunk(mcap_parse.parse_chunk(body), end, found)
    elif opcode == records.SCHEMA:
        _use_schema(mcap_parse.parse_schema(body), found)
    elif opcode == records.CHANNEL:
        _use_channel(mcap_parse.parse_channel(body), found)
    elif opcode == records.MESSAGE:
        _use_plain_message(view, start, end, found)
    elif opcode == records.MESSAGE_INDEX:
        mcap_parse.parse_message_index(body)
    elif opcode in (records.DATA_END, records.FOOTER):
        found.ended = len(body) == (4 if opcode == records.DATA_END else 20)
        return found.ended
    else:
        return opcode in _SKIPPED or opcode >= 0x80
    return True


def _use_schema(schema: Schema, found: Scan) -> None:
    if schema.id:
        found.schemas.setdefault(schema.id, schema)


def _use_channel(channel: Channel, found: Scan) -> None:
    found.channels.setdefault(channel.id, channel)


def _use_plain_message(view: memoryview, start: int, end: int, found: Scan) -> None:
    channel_id, _, log_time_ns, _ = mcap_parse.message_head(view, start, end)
    at = start - records.PREFIX.size
    last = found.blocks[-1] if found.blocks else None
    grows = last is not None and not last.compression and last.end == at and last.size < _PLAIN_BLOCK_BYTES
    if not grows:
        last = Block(at, at)
        found.blocks.append(last)
    last.end, last.size = end, end - last.start
    _count(last, channel_id, log_time_ns, found.counts)


def _use_chunk(chunk: ChunkRecord, end: int, found: Scan) -> None:
    """Take a chunk whose frame is whole; a wrong checksum or content loses it alone."""
    block = Block(end - len(chunk.payload), end, chunk.compression, chunk.uncompressed_bytes)
    counts: dict[int, int] = {}
    inner = Scan()
    try:
        content = decompress(chunk.compression, chunk.payload, chunk.uncompressed_bytes)
        if chunk.crc and zlib.crc32(content) != chunk.crc:
            raise InputError('the checksum of a chunk is wrong')
        for opcode, first, last in mcap_parse.walk(content):
            if opcode == records.MESSAGE:
                channel_id, _, log_time_ns, _ = mcap_parse.message_head(content, first, last)
                _count(block, channel_id, log_time_ns, counts)
            elif opcode == records.SCHEMA:
                _use_schema(mcap_parse.parse_schema(content[first:last]), inner)
            elif opcode == records.CHANNEL:
                _use_channel(mcap_parse.parse_channel(content[first:last]), inner)
    except (InputError, ValueError):
        found.bad_chunks += 1
        found.lost_bytes += len(chunk.payload)
        return
    found.blocks.append(block)
    found.schemas = inner.schemas | found.schemas
    found.channels = inner.channels | found.channels
    for channel_id, count in counts.items():
        found.counts[channel_id] = found.counts.get(channel_id, 0) + count


def _use_cut_chunk(view: memoryview, start: int, found: Scan) -> bool:
    """Take the whole messages of a chunk whose end is missing; False where there is none."""
    try:
        chunk = mcap_parse.parse_cut_chunk(view[start:])
        content = decompress_cut(chunk.compression, chunk.payload, chunk.uncompressed_bytes)
        block = Block(len(view) - len(chunk.payload), len(view), chunk.compression, chunk.uncompressed_bytes, cut=True)
        for opcode, first, last in _whole_records(content):
            if opcode == records.MESSAGE:
                channel_id, _, log_time_ns, _ = mcap_parse.message_head(content, first, last)
                _count(block, channel_id, log_time_ns, found.counts)
            elif opcode == records.SCHEMA:
                _use_schema(mcap_parse.parse_schema(content[first:last]), found)
            elif opcode == records.CHANNEL:
                _use_channel(mcap_parse.parse_channel(content[first:last]), found)
    except (InputError, ValueError):
        return False
    if block.count:
        found.blocks.append(block)
    return block.count > 0


def _whole_records(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield the records up to the first that is not whole."""
    try:
        yield from mcap_parse.walk(content)
    except ValueError:
        return


def _count(block: Block, channel_id: int, log_time_ns: int, counts: dict[int, int]) -> None:
    block.count += 1
    block.start_ns = min(block.start_ns, log_time_ns)
    block.end_ns = max(block.end_ns, log_time_ns)
    counts[channel_id] = counts.get(channel_id, 0) + 1


def _next_whole(view: memoryview, at: int, found: Scan) -> int:
    """Return where the next chunk begins that is whole, or the end of the file.

    Schemas and channels on the way are kept as doubtful. Where messages lie outside chunks, the next message counts.
    """
    for match in _CANDIDATE.finditer(view, at):
        place = match.start()
        opcode, length = records.PREFIX.unpack_from(view, place)
        start = place + records.PREFIX.size
        if start + length > len(view):
            continue
        try:
            if _begins_again(view, opcode, start, start + length, found):
                return place
        except (ValueError, UnicodeDecodeError):
            continue
    return len(view)


def _begins_again(view: memoryview, opcode: int, start: int, end: int, found: Scan) -> bool:
    body = view[start:end]
    if opcode == records.CHUNK:
        return mcap_parse.parse_chunk(body).compression in ('', 'zstd', 'lz4')
    if opcode == records.MESSAGE:
        known = mcap_parse.message_head(view, start, end)[0] in found.channels
        return known and not found.chunked and _record_follows(view, end)
    if opcode == records.SCHEMA and (schema := mcap_parse.parse_schema(body)).encoding in ('ros2msg', 'ros2idl'):
        _use_schema(schema, found.doubtful)
    if opcode == records.CHANNEL and (channel := mcap_parse.parse_channel(body)).encoding == 'cdr':
        _use_channel(channel, found.doubtful)
    return False


def _record_follows(view: memoryview, at: int) -> bool:
    if at + records.PREFIX.size > len(view):
        return at == len(view)
    opcode, length = records.PREFIX.unpack_from(view, at)
    return 0 < opcode <= records.DATA_END and at + records.PREFIX.size + length <= len(view)


def _promised(view: memoryview) -> int | None:
    """Return the number of messages that the summary tells, where there is one that passes its checksum."""
    foot = len(view) - records.FOOTER_BYTES
    if foot < len(records.MAGIC) or bytes(view[-len(records.MAGIC) :]) != records.MAGIC:
        return None
    opcode, length = records.PREFIX.unpack_from(view, foot)
    start, crc = (
        int.from_bytes(view[foot + 9 : foot + 17], 'little'),
        int.from_bytes(view[foot + 25 : foot + 29], 'little'),
    )
    if (opcode, length) != (records.FOOTER, 20) or not 0 < start <= foot:
        return None
    if crc and zlib.crc32(view[start : foot + 25]) != crc:
        return None
    try:
        summary = view[start:foot]
        bodies = ((opcode, summary[first:last]) for opcode, first, last in mcap_parse.walk(summary))
        return next(
            (mcap_parse.parse_message_count(body) for opcode, body in bodies if opcode == records.STATISTICS), None
        )
    except ValueError:
        return None
