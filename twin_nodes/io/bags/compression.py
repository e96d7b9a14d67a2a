"""Compression of chunks: none, zstd and lz4, each imported when first needed."""

from collections.abc import Callable

from twin_nodes.core.errors import ConfigError, InputError

LARGEST_CHUNK = 1 << 30


def compressor(name: str) -> Callable[[bytes], bytes]:
    """Return the function that compresses a chunk.

    Args:
        name: '' for none, 'zstd' or 'lz4'.

    Raises:
        ConfigError: The name is none of them.
    """
    if name == '':
        return bytes
    if name == 'zstd':
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress
    if name == 'lz4':
        import lz4.frame

        return lz4.frame.compress
    raise ConfigError(f"compression='{name}' is not known: use '' (none), 'zstd' or 'lz4'")


def decompress(name: str, payload: memoryview, size: int) -> memoryview:
    """Return the content of a chunk.

    Args:
        name: The compression that the chunk names.
        payload: The compressed bytes.
        size: The size that the chunk promises [bytes]; memory for more is never taken.

    Raises:
        InputError: Unknown compression, broken payload or a size that does not fit.
    """
    if size > LARGEST_CHUNK:
        raise InputError(f'a chunk promises {size} bytes, above the limit of {LARGEST_CHUNK}: the bag is damaged here')
    try:
        content = payload if name == '' else memoryview(_expand(name, payload, size))
    except InputError:
        raise
    except Exception as error:  # each library raises errors of its own
        raise InputError(f'a {name} chunk cannot be decompressed: {error}') from error
    if len(content) != size:
        raise InputError(f'a chunk holds {len(content)} bytes where it promises {size}: the bag is damaged here')
    return content


def decompress_cut(name: str, payload: memoryview, size: int) -> memoryview:
    """Return what is left of the content of a chunk that was cut: whole bytes, which no checksum guards.

    Args:
        name: The compression that the chunk names.
        payload: The compressed bytes up to the cut.
        size: The size that the whole chunk promises [bytes]; memory for more is never taken.

    Raises:
        InputError: As `decompress`; no bytes at all.
    """
    if size > LARGEST_CHUNK:
        raise InputError(f'a chunk promises {size} bytes, above the limit of {LARGEST_CHUNK}: the bag is damaged here')
    try:
        # zeros at the end are what a file system leaves that was told of the length and not of the content
        left = bytes(payload).rstrip(b'\0')
        content = left if name == '' else _expand(name, memoryview(left), size)
    except InputError:
        raise
    except Exception as error:  # each library raises errors of its own
        raise InputError(f'a {name} chunk that was cut cannot be decompressed: {error}') from error
    return memoryview(content[:size])


def _expand(name: str, payload: memoryview, size: int) -> bytes:
    if name == 'zstd':
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(payload) as stream:
            return stream.read(size + 1)
    if name == 'lz4':
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor().decompress(bytes(payload), max_length=size + 1)
    raise InputError(f"a chunk names the compression '{name}': only '', zstd and lz4 are known")
