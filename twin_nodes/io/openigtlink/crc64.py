"""CRC-64/ECMA-182: polynomial 0x42F0E1EBA9EA3693, initial value 0, no reflection, no final XOR.

A CRC with initial value 0 is linear, so the CRC of a block is the XOR of one table entry per byte, chosen by the
byte and its distance from the end: one gather and one reduction instead of a loop. The state that a block leaves
behind enters the next one as an XOR onto its first eight bytes.
"""

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x42F0E1EBA9EA3693
BLOCK = 512
_STATE_BYTES = 8


def _byte_table() -> NDArray[np.uint64]:
    """CRC of each single byte, shape (256,)."""
    crc = np.arange(256, dtype=np.uint64) << np.uint64(56)
    for _ in range(8):
        top = (crc >> np.uint64(63)).astype(bool)
        crc = (crc << np.uint64(1)) ^ np.where(top, np.uint64(POLYNOMIAL), np.uint64(0))
    return crc


def _position_tables() -> NDArray[np.uint64]:
    """CRC of byte b followed by BLOCK - 1 - i zero bytes, at index 256 i + b; shape (256 BLOCK,)."""
    byte_table = _byte_table()
    tables = np.empty((BLOCK, 256), dtype=np.uint64)
    tables[BLOCK - 1] = byte_table
    for row in range(BLOCK - 2, -1, -1):
        after = tables[row + 1]
        tables[row] = (after << np.uint64(8)) ^ byte_table[(after >> np.uint64(56)).astype(np.intp)]
    return tables.reshape(-1)


_TABLES = _position_tables()
_ROWS = np.arange(BLOCK) * 256


def _crc_of_block(block: NDArray[np.uint8]) -> int:
    """CRC of at most BLOCK bytes."""
    return int(np.bitwise_xor.reduce(_TABLES[block + _ROWS[BLOCK - block.size :]]))


def crc64(data: bytes | bytearray | memoryview) -> int:
    """Return the CRC of a message body, as an OpenIGTLink header carries it."""
    values = np.frombuffer(data, dtype=np.uint8)
    if values.size <= BLOCK:
        return _crc_of_block(values)
    # The short block goes first: leading zeros do not change a CRC that starts from 0, so it may have any length.
    head = values.size % BLOCK
    crc = _crc_of_block(values[:head])
    for start in range(head, values.size, BLOCK):
        block = values[start : start + BLOCK].copy()
        block[:_STATE_BYTES] ^= np.frombuffer(crc.to_bytes(_STATE_BYTES, 'big'), dtype=np.uint8)
        crc = _crc_of_block(block)
    return crc
