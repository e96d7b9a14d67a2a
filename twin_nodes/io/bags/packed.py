"""Bags that rosbag2 compressed with zstd: each file as a whole, or each message."""

import tempfile
from pathlib import Path
from typing import Any

from twin_nodes.core.errors import InputError

MAGIC = b'\x28\xb5\x2f\xfd'  # a serialized message begins with its encapsulation, 00 00 to 00 0b, and never so
ENDINGS = ('.zstd', '.zst')
LARGEST_FILE = 1 << 36
LARGEST_MESSAGE = 1 << 30
_STEP = 1 << 22


def unpacked(path: Path) -> Any:
    """Return a named temporary file with the content of a compressed one; it is gone when it is closed.

    Raises:
        InputError: Not of zstd, or above 64 GiB, or more than the disk takes.
    """
    import zstandard

    file = tempfile.NamedTemporaryFile(prefix='twin_bag_')  # noqa: SIM115 - closed by who reads it
    size = 0
    try:
        with path.open('rb') as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            while block := stream.read(_STEP):
                size += len(block)
                if size > LARGEST_FILE:
                    raise InputError(f"'{path.name}' holds more than {LARGEST_FILE >> 30} GiB")
                file.write(block)
        file.flush()
    except zstandard.ZstdError as error:
        if not size:
            file.close()
            raise InputError(f"'{path.name}' cannot be decompressed: {error}") from None
        file.flush()  # damaged further on: what came before may be whole
    except OSError as error:
        file.close()
        raise InputError(
            f"'{path.name}' cannot be decompressed into {tempfile.gettempdir()} ({error.strerror or error}): free some "
            'space there, or set TMPDIR'
        ) from None
    return file


def message_of(data: bytes, topic: str) -> bytes:
    """Return the bytes of a message that was compressed by itself.

    Raises:
        InputError: Not of zstd, or above 1 GiB.
    """
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as stream:
            content = stream.read(LARGEST_MESSAGE + 1)
    except zstandard.ZstdError as error:
        raise InputError(f'{topic}: a compressed message cannot be read: {error}') from None
    if len(content) > LARGEST_MESSAGE:
        raise InputError(f'{topic}: a compressed message holds more than {LARGEST_MESSAGE >> 30} GiB')
    return content
