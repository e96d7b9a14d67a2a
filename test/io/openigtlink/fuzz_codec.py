"""Coverage-guided fuzzing of the OpenIGTLink decoder: `python fuzz_codec.py -runs=10000000 [corpus folder]`.

Looks for exceptions, memory beyond the bound, and results that depend on where the stream is cut.
"""

import struct
import sys

import atheris

with atheris.instrument_imports(include=['twin_nodes.io.openigtlink']):
    from twin_nodes.io.openigtlink.codec import HEADER_BYTES, Decoder
    from twin_nodes.io.openigtlink.crc64 import crc64

KEPT = 512
TYPES = (b'TRANSFORM', b'POSITION', b'TDATA', b'QTDATA', b'STATUS', b'STRING', b'POINT', b'CAPABIL', b'STT_TDATA', b'X')


def wire(data: bytes) -> bytes:
    """Half of the inputs as they are; the others become messages with right lengths and checksums."""
    source = atheris.FuzzedDataProvider(data)
    if source.ConsumeBool():
        return source.ConsumeBytes(len(data))
    found = b''
    while source.remaining_bytes() > 0 and len(found) < 4096:
        type_name = TYPES[source.ConsumeIntInRange(0, len(TYPES) - 1)]
        version = source.ConsumeIntInRange(1, 2)
        body = source.ConsumeBytes(source.ConsumeIntInRange(0, 2 * KEPT))
        stamp = source.ConsumeInt(8) & (2**64 - 1)
        found += struct.pack('>H12s20sQQQ', version, type_name, b'D', stamp, len(body), crc64(body)) + body
    return found


def summary(found: list) -> list:
    return [(type(item).__name__, getattr(item, 'device', None), getattr(item, 'code', None)) for item in found]


def test_one_input(data: bytes) -> None:
    stream = wire(data)
    whole = Decoder(max_kept_body=KEPT)
    expected = summary(whole.feed(stream))
    decoder, found = Decoder(max_kept_body=KEPT), []
    step = 1 + len(data) % 97
    for start in range(0, len(stream), step):
        found += decoder.feed(stream[start : start + step])
        if decoder.buffered > HEADER_BYTES + KEPT:
            raise AssertionError(f'{decoder.buffered} bytes held, limit {HEADER_BYTES + KEPT}')
    if summary(found) != expected or decoder.broken != whole.broken:
        raise AssertionError(f'cut every {step} bytes: {summary(found)}, whole: {expected}')


if __name__ == '__main__':
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
