"""Fields that all messages share: stamps, names, text and metadata."""

import struct
from collections.abc import Mapping

from twin_nodes.core.errors import InputError

NS_PER_S = 1_000_000_000
STAMP_LIMIT_NS = (1 << 32) * NS_PER_S
_ASCII, _LATIN_1, _UTF_8 = 3, 4, 106
_COUNT = struct.Struct('>H')
_ENTRY = struct.Struct('>HHI')


def ns_from_wire(stamp: int) -> int:
    """Seconds in 32.32 fixed point to nanoseconds, rounded to the nearest."""
    return (stamp >> 32) * NS_PER_S + (((stamp & 0xFFFFFFFF) * NS_PER_S + (1 << 31)) >> 32)


def wire_from_ns(stamp_ns: int) -> int:
    """Nanoseconds to seconds in 32.32 fixed point; `ns_from_wire` gives back the very same nanoseconds.

    Raises:
        InputError: for a negative stamp or one that 32 bits of seconds do not hold.
    """
    if not 0 <= stamp_ns < STAMP_LIMIT_NS:
        raise InputError(f'stamp_ns={stamp_ns} must be within 0 … 2^32 s to be sent', code='PROTOCOL')
    seconds, rest = divmod(stamp_ns, NS_PER_S)
    return (seconds << 32) | (((rest << 32) + NS_PER_S // 2) // NS_PER_S)


def name_from_wire(field: bytes) -> str:
    r"""Text up to the first NUL; bytes that are not UTF-8 appear as \xNN, so that no name is an error."""
    return field.partition(b'\0')[0].decode('utf-8', 'backslashreplace')


def name_to_wire(name: str, width: int, *, what: str = 'device name') -> bytes:
    """Encode a name for a field of fixed width.

    Raises:
        InputError: when it is longer than the field, which every receiver would cut, or holds a NUL.
    """
    encoded = name.encode('utf-8', 'backslashreplace')
    if len(encoded) > width or b'\0' in encoded:
        raise InputError(
            f'{what} {name!r}: {len(encoded)} bytes, at most {width} without NUL; use a shorter name', code='PROTOCOL'
        )
    return encoded


def text_from_wire(content: bytes, encoding: int) -> str:
    """Decode text by its IANA character set number; unreadable bytes appear as escapes."""
    return content.decode('latin-1' if encoding == _LATIN_1 else 'utf-8', 'backslashreplace')


def text_to_wire(text: str) -> tuple[bytes, int]:
    """Encode text as ASCII where possible, else UTF-8; returns it with its IANA number."""
    encoded = text.encode('utf-8', 'backslashreplace')
    return encoded, _ASCII if text.isascii() else _UTF_8


def pack_metadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return the index and the text of the metadata."""
    index, content = [_COUNT.pack(len(metadata))], []
    for key, value in metadata.items():
        key_bytes = key.encode('utf-8', 'backslashreplace')
        value_bytes, encoding = text_to_wire(value)
        if len(key_bytes) > 0xFFFF:
            raise InputError(f'metadata key of {len(key_bytes)} bytes, at most 65535', code='PROTOCOL')
        index.append(_ENTRY.pack(len(key_bytes), encoding, len(value_bytes)))
        content += [key_bytes, value_bytes]
    return b''.join(index), b''.join(content)


def unpack_metadata(index: bytes, content: bytes) -> dict[str, str]:
    """Read the metadata.

    Raises:
        InputError: when index and content do not agree.
    """
    if not index:
        return {}
    if len(index) < _COUNT.size or len(index) != _COUNT.size + _COUNT.unpack_from(index)[0] * _ENTRY.size:
        raise InputError(f'metadata index of {len(index)} bytes does not hold the entries it counts', code='PROTOCOL')
    metadata, at = {}, 0
    for key_size, encoding, value_size in _ENTRY.iter_unpack(index[_COUNT.size :]):
        middle, end = at + key_size, at + key_size + value_size
        metadata[text_from_wire(content[at:middle], _UTF_8)] = text_from_wire(content[middle:end], encoding)
        at = end
    if at != len(content):
        raise InputError(f'metadata text has {len(content)} bytes, its index counts {at}', code='PROTOCOL')
    return metadata
