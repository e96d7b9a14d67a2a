"""Reads as many bytes as a header announces, and never believes the header before the bytes are there."""

import bz2
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from twin_nodes.core.anatomy.refusal import refusal

MAX_RATIO = {'raw': 1, 'gzip': 1032, 'bzip2': 100_000}  # no stream of DEFLATE or bzip2 unpacks to more than this
_CHUNK = 1 << 20


def read_payload(path: Path, offset: int, count: int, encoding: str, *, exact: bool = False) -> bytes:
    """Return exactly `count` bytes of data; memory stays bounded by what the file really holds.

    Args:
        path: The file.
        offset: Where the data begin.
        count: Bytes after decompression that the header announces.
        encoding: raw, gzip or bzip2.
        exact: Whether more bytes than announced are refused too.

    Raises:
        InputError: ANATOMY_REFUSED when the file holds fewer bytes or its compression is broken.
    """
    if offset < 0:
        raise refusal(path, f'the voxels would begin {-offset} bytes before the file')
    held = path.stat().st_size - offset
    most = max(held, 0) * MAX_RATIO[encoding]
    if count > most:
        raise refusal(path, f'the header announces {count} bytes, the file can hold at most {most}')
    with path.open('rb') as stream:
        stream.seek(offset)
        try:
            wanted = count + exact
            data = stream.read(wanted) if encoding == 'raw' else _unpack(stream, wanted, encoding)
        except (zlib.error, OSError, ValueError) as error:
            raise refusal(path, f'broken compression ({error})') from None
    if len(data) < count:
        raise refusal(path, f'the header announces {count} bytes, the file holds {len(data)}')
    if len(data) > count:
        raise refusal(
            path, f'the header announces {count} bytes, the file holds more: where the voxels begin is not sure'
        )
    return data


def _unpack(stream: BinaryIO, count: int, encoding: str) -> bytes:
    """Unpack up to `count` bytes from one or several members, a piece at a time."""
    data = bytearray()
    inflate = _unpacker(encoding)
    waiting = b''
    while len(data) < count:
        feed = waiting or (stream.read(_CHUNK) if getattr(inflate, 'needs_input', True) else b'')
        piece = inflate.decompress(feed, min(8 * _CHUNK, count - len(data)))
        data += piece
        waiting = getattr(inflate, 'unconsumed_tail', b'')
        if inflate.eof:
            waiting, inflate = inflate.unused_data, _unpacker(encoding)
        elif not piece and not feed:
            break
    return bytes(data)


def _unpacker(encoding: str) -> Any:
    return zlib.decompressobj(wbits=47) if encoding == 'gzip' else bz2.BZ2Decompressor()
