import random

import crcmod
import pytest

from twin_nodes.io.openigtlink.crc64 import BLOCK, crc64

REFERENCE = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, rev=False, initCrc=0)


def test_published_check_value():
    assert crc64(b'123456789') == 0x6C40DF5F0B497347


@pytest.mark.parametrize('size', [0, 1, 7, 8, 9, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 7, 3 * BLOCK, 5 * BLOCK + 311])
def test_agrees_with_an_independent_implementation(size):
    data = random.Random(size).randbytes(size)
    assert crc64(data) == REFERENCE(data)
    assert crc64(memoryview(data)) == REFERENCE(data)


def test_any_single_bit_error_is_seen():
    data = bytearray(random.Random(1).randbytes(280))
    right = crc64(data)
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        assert crc64(data) != right
        data[bit // 8] ^= 1 << bit % 8
