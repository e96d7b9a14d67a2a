"""OpenIGTLink bytes to messages and back, without sockets: cut anywhere, bounded in memory, never raising."""

import struct
from collections import Counter

from twin_nodes.core.errors import InputError
from twin_nodes.io.openigtlink.bodies import PACKERS, UNPACKERS, query_type
from twin_nodes.io.openigtlink.crc64 import crc64
from twin_nodes.io.openigtlink.fields import (
    name_from_wire,
    name_to_wire,
    ns_from_wire,
    pack_metadata,
    unpack_metadata,
    wire_from_ns,
)
from twin_nodes.io.openigtlink.messages import Fault, Message, Unknown

HEADER_BYTES = 58
DEVICE_BYTES = 20
MAX_BODY = 64 << 20
MAX_KEPT_BODY = 1 << 20
VERSIONS = (1, 2)
_HEADER = struct.Struct('>H12s20sQQQ')
_VERSION = struct.Struct('>H')
_EXTENDED = struct.Struct('>HHII')


def encode(message: Message, version: int | None = None) -> bytes:
    """Encode one message.

    Args:
        message: Any message but `Unknown`.
        version: Header version 1 or 2; the message's own by default.

    Raises:
        InputError: for a value that does not fit the wire: a long name, a huge number, metadata in version 1.
    """
    version = message.version if version is None else version
    if version not in VERSIONS or type(message) not in PACKERS:
        raise InputError(f'{type(message).__name__} in version {version}: not encodable', code='PROTOCOL')
    if version == 1 and message.metadata:
        raise InputError(f'metadata of {message.device!r} needs version 2, not 1', code='PROTOCOL')
    type_name, pack = PACKERS[type(message)]
    if type_name.endswith('_'):
        type_name = query_type(type_name, message.target)  # type: ignore[attr-defined]
    body = pack(message)
    if version == 2:
        index, text = pack_metadata(message.metadata)
        if len(index) > 0xFFFF or not 0 <= message.message_id < 1 << 32:
            raise InputError(f'{message.device!r}: metadata index or message id too large', code='PROTOCOL')
        extended = _EXTENDED.pack(_EXTENDED.size, len(index), len(text), message.message_id)
        body = b''.join((extended, body, index, text))
    name = name_to_wire(message.device, DEVICE_BYTES)
    header = _HEADER.pack(version, type_name.encode(), name, wire_from_ns(message.stamp_ns), len(body), crc64(body))
    return header + body


def _split_body(body: bytes) -> tuple[bytes, int, dict[str, str]]:
    """Split a version 2 body into content, message id and metadata."""
    if len(body) < _EXTENDED.size:
        raise InputError(f'extended header cut: body of {len(body)} bytes, at least 12 needed', code='PROTOCOL')
    extended, index, text, message_id = _EXTENDED.unpack_from(body)
    end = len(body) - index - text
    if extended < _EXTENDED.size or end < extended:
        raise InputError(
            f'extended header {extended} + metadata {index} + {text} bytes do not fit a body of {len(body)}',
            code='PROTOCOL',
        )
    return body[extended:end], message_id, unpack_metadata(body[end : end + index], body[end + index :])


class Decoder:
    """Turns a byte stream into messages and faults, however it is cut.

    Bodies above `max_kept_body` are skipped, never held, so `buffered` stays below that plus one header. A body
    announced above `max_body`, or an unknown header version, means that this is no OpenIGTLink stream: the decoder
    is then `broken`, says so once and ignores the rest.

    Args:
        max_body: Largest body length believed [bytes].
        max_kept_body: Largest body of a readable type that is held and read [bytes].
    """

    def __init__(self, *, max_body: int = MAX_BODY, max_kept_body: int = MAX_KEPT_BODY) -> None:
        self._max_body = max_body
        self._max_kept_body = max_kept_body
        self._pending = bytearray()
        self._skip = 0
        self.broken = False
        self.counters: Counter[str] = Counter()

    @property
    def buffered(self) -> int:
        """Bytes held of a message that is not complete yet."""
        return len(self._pending)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message | Fault]:
        """Take the next bytes and return what they complete, in order."""
        if self.broken:
            return []
        found: list[Message | Fault] = []
        if self._pending:
            self._pending += data
            used = self._take(self._pending, found)
            del self._pending[:used]
        else:
            used = self._take(data, found)
            self._pending += data[used:]
        if self.broken:
            self._pending.clear()
        return found

    def _take(self, data: bytes | bytearray | memoryview, found: list[Message | Fault]) -> int:
        """Read all that is complete; returns the number of bytes used."""
        at, size = min(self._skip, len(data)), len(data)
        self._skip -= at
        while size - at >= _VERSION.size:
            version = _VERSION.unpack_from(data, at)[0]
            if version not in VERSIONS:
                self._break(f'header version {version}, expected 1 or 2: not an OpenIGTLink stream', found)
                return size
            if size - at < HEADER_BYTES:
                return at
            _, type_field, device_field, stamp, length, crc = _HEADER.unpack_from(data, at)
            if length > self._max_body:
                self._break(f'body of {length} bytes announced, limit {self._max_body}', found)
                return size
            type_key = type_field.partition(b'\0')[0].rstrip(b' ')
            if type_key not in UNPACKERS or length > self._max_kept_body:
                found.append(self._unread(version, type_field, device_field, stamp, length))
                self._skip = length
                at += HEADER_BYTES
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            end = at + HEADER_BYTES + length
            if size < end:
                return at
            body = bytes(data[at + HEADER_BYTES : end])
            self._read(version, type_key, device_field, stamp, crc, body, found)
            at = end
        return at

    def _break(self, reason: str, found: list[Message | Fault]) -> None:
        self.broken = True
        self.counters['PROTOCOL'] += 1
        found.append(Fault('PROTOCOL', reason, fatal=True))

    def _unread(self, version: int, type_field: bytes, device_field: bytes, stamp: int, length: int) -> Message | Fault:
        type_name, device = name_from_wire(type_field), name_from_wire(device_field)
        if type_field.partition(b'\0')[0].rstrip(b' ') in UNPACKERS:
            self.counters['PROTOCOL'] += 1
            limit = self._max_kept_body
            return Fault('PROTOCOL', f'{type_name} {device!r}: body of {length} bytes, limit {limit}; skipped')
        self.counters['unknown_type'] += 1
        return Unknown(device, type_name=type_name, body_length=length, version=version, stamp_ns=ns_from_wire(stamp))

    def _read(
        self,
        version: int,
        type_key: bytes,
        device_field: bytes,
        stamp: int,
        crc: int,
        body: bytes,
        found: list[Message | Fault],
    ) -> None:
        """Check one whole message and read it."""
        device = name_from_wire(device_field)
        computed = crc64(body)
        if crc != computed:
            if crc != 0:
                self.counters['CRC_WRONG'] += 1
                what = f'{type_key.decode()} {device!r}: CRC {crc:016x}, computed {computed:016x}; dropped'
                found.append(Fault('CRC_WRONG', what))
                return
            self.counters['CRC_MISSING'] += 1
            if self.counters['CRC_MISSING'] == 1:
                found.append(Fault('CRC_MISSING', f'{device!r} sends CRC 0: errors on the wire cannot be seen'))
        header = {'device': device, 'stamp_ns': ns_from_wire(stamp), 'version': version}
        try:
            if version == 2:
                body, header['message_id'], header['metadata'] = _split_body(body)
            found.append(UNPACKERS[type_key](body, header))
        except InputError as error:
            self.counters['PROTOCOL'] += 1
            found.append(Fault('PROTOCOL', f'{device!r}: {error}'))
        else:
            self.counters['messages'] += 1
