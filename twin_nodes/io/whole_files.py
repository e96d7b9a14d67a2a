"""Small files, read and written as a whole: bounded when read, and there whole or not at all when written."""

import os
import tempfile
from pathlib import Path

from twin_nodes.core.errors import ConfigError

MAX_FILE_BYTES = 1 << 20


def read_bytes_whole(path: Path | str, what: str, *, most: int = MAX_FILE_BYTES) -> bytes:
    """Read a file that somebody named in a configuration.

    Args:
        path: The file.
        what: What it should be, for the error.
        most: Its largest size [bytes].

    Raises:
        ConfigError: It cannot be read, or is larger.
    """
    try:
        with Path(path).open('rb') as stream:
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with NUL in it
        raise ConfigError(f'{path}: cannot be read: {getattr(error, "strerror", None) or error}') from None
    if len(data) > most:
        raise ConfigError(f'{path} is above {most >> 20} MiB: no {what}')
    return data


def read_text_whole(path: Path | str, what: str, *, most: int = MAX_FILE_BYTES) -> str:
    """Read a file of UTF-8 text, with a byte order mark or without.

    Raises:
        ConfigError: As `read_bytes_whole`, or it is no text.
    """
    try:
        return read_bytes_whole(path, what, most=most).decode('utf-8-sig')
    except UnicodeDecodeError:
        raise ConfigError(f'{path} is no text: expected a {what}') from None


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all; its folder is made.

    Raises:
        ConfigError: It cannot be written.
    """
    write_bytes_whole(path, text.encode('utf-8'))


def write_bytes_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears whole or not at all; its folder is made.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be written: {error.strerror or error}') from None


def _replace(path: Path, data: bytes | memoryview) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, 'wb') as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
