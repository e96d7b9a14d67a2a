"""Key files of the bridge: 32 random bytes in hexadecimal, readable by their owner alone."""

import os
import stat
from pathlib import Path

from twin_nodes.core.errors import ConfigError

BYTES = 32


def make_key(path: Path) -> None:
    """Write a fresh key; never over a file that is there.

    Raises:
        ConfigError: when it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f'{path} is there already; a key is never overwritten: take another name') from None
    except OSError as error:
        raise ConfigError(f'{path} cannot be written: {error.strerror}') from None
    with os.fdopen(descriptor, 'w', encoding='ascii') as file:
        os.fchmod(file.fileno(), 0o600)  # whatever the umask
        file.write(os.urandom(BYTES).hex() + '\n')


def read_key(path: Path) -> bytes:
    """Read a key.

    Raises:
        ConfigError: KEY_FILE when it is missing, open to others, or no key.
    """
    try:
        with path.open('rb') as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(1000)
    except OSError as error:
        mend = f'make one with: twin link key {path}, and copy it to the other site'
        raise ConfigError(f'key {path} cannot be read: {error.strerror}; {mend}', code='KEY_FILE') from None
    if mode & 0o077:
        mend = f'chmod 600 {path}'
        raise ConfigError(f'key {path} has mode {mode:04o}, others may read it; expected 0600: {mend}', code='KEY_FILE')
    try:
        key = bytes.fromhex(content.decode('ascii').strip())
    except (UnicodeDecodeError, ValueError):
        key = b''
    if len(key) != BYTES:
        raise ConfigError(f'key {path} does not hold {BYTES} bytes in hexadecimal; make one with twin link key',
                          code='KEY_FILE')  # fmt: skip
    return key
