import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from igtl_samples import messages, pose_at, same

from twin_nodes.core.errors import InputError
from twin_nodes.io.openigtlink.codec import HEADER_BYTES, Decoder, encode
from twin_nodes.io.openigtlink.crc64 import crc64
from twin_nodes.io.openigtlink.fields import ns_from_wire, wire_from_ns
from twin_nodes.io.openigtlink.messages import (
    Fault,
    GetMessage,
    Position,
    ReadyMessage,
    StartMessage,
    Status,
    String,
    TData,
    TElement,
    Transform,
    Unknown,
)

STAMP_NS = 1_700_000_000_123_456_789


def raw(type_name=b'TRANSFORM', body=b'', *, version=1, device=b'Stylus', length=None, crc=None):
    length = len(body) if length is None else length
    crc = crc64(body) if crc is None else crc
    return struct.pack('>H12s20sQQQ', version, type_name, device, 0, length, crc) + body


def good(x=0.1):
    return encode(Transform('Stylus', pose_at(x), stamp_ns=STAMP_NS))


def decode_one(data):
    (message,) = Decoder().feed(data)
    return message


@given(messages())
def test_round_trip_of_every_message(message):
    decoder = Decoder()
    (back,) = decoder.feed(encode(message))
    assert same(back, message)
    assert decoder.buffered == 0


@given(st.integers(0, (1 << 32) * 10**9 - 1))
def test_stamp_survives_the_wire_to_the_nanosecond(stamp_ns):
    assert ns_from_wire(wire_from_ns(stamp_ns)) == stamp_ns


def test_stamp_is_seconds_in_32_32_fixed_point():
    assert wire_from_ns(1_500_000_000) == (1 << 32) | (1 << 31)
    assert ns_from_wire(0xFFFFFFFF) == 10**9  # 1 - 2^-32 s, to the nearest ns


def test_transform_layout_is_columns_in_millimetres():
    data = encode(Transform('StylusToTracker', pose_at(0.1), stamp_ns=STAMP_NS))
    assert len(data) == HEADER_BYTES + 48
    assert data[2:14] == b'TRANSFORM\0\0\0'
    assert data[14:34] == b'StylusToTracker\0\0\0\0\0'
    assert struct.unpack('>12f', data[58:]) == (0, 1, 0, -1, 0, 0, 0, 0, 1, 100, 200, 300)


def test_element_sizes_are_those_of_the_specification():
    tools = tuple(TElement(f'Tool{i}', 2, pose_at(0.1 * i)) for i in range(4))
    assert len(encode(TData('Tracker', tools))) == HEADER_BYTES + 4 * 70
    assert len(encode(StartMessage('', target='TDATA', resolution_ms=10))) == HEADER_BYTES + 36
    assert len(encode(Status('', code=1))) == HEADER_BYTES + 31


def test_query_for_transform_is_cut_to_twelve_characters_and_read_back():
    data = encode(GetMessage('Stylus', target='TRANSFORM'))
    assert data[2:14] == b'GET_TRANSFOR'
    assert decode_one(data).target == 'TRANSFORM'


@pytest.mark.parametrize('quat', [(), (0.0, 0.6, 0.0), (0.0, 0.6, 0.0, 0.8)])
def test_position_comes_in_three_sizes(quat):
    body = struct.pack(f'>{3 + len(quat)}f', 100, 200, 300, *quat)
    message = decode_one(raw(b'POSITION', body))
    np.testing.assert_allclose(message.position, (0.1, 0.2, 0.3), atol=1e-12)
    if quat:
        np.testing.assert_allclose(message.quat_xyzw, (0.0, 0.6, 0.0, 0.8), atol=1e-6)  # float32
    else:
        assert message.quat_xyzw is None


def test_position_with_an_impossible_quaternion_part_is_a_fault():
    body = struct.pack('>6f', 0, 0, 0, 1, 1, 0)
    assert isinstance(decode_one(raw(b'POSITION', body)), Fault)
    nan = struct.pack('>6f', 0, 0, 0, float('nan'), 0, 0)
    assert isinstance(decode_one(raw(b'POSITION', nan)), Fault)


def test_nan_is_passed_on_for_the_pipeline_to_judge():
    body = struct.pack('>12f', *[float('nan')] * 12)
    assert np.isnan(decode_one(raw(body=body)).pose[:3]).all()


def test_wrong_crc_drops_the_message_and_the_stream_goes_on():
    bad = bytearray(good())
    bad[60] ^= 1
    decoder = Decoder()
    fault, message = decoder.feed(bytes(bad) + good())
    assert fault.code == 'CRC_WRONG' and not fault.fatal
    assert isinstance(message, Transform)
    assert decoder.counters['CRC_WRONG'] == 1


def test_crc_zero_is_taken_with_one_warning_and_counted():
    data = raw(body=good()[HEADER_BYTES:], crc=0)
    decoder = Decoder()
    found = decoder.feed(data * 3)
    assert [type(item) for item in found] == [Fault, Transform, Transform, Transform]
    assert found[0].code == 'CRC_MISSING'
    assert decoder.counters['CRC_MISSING'] == 3


def test_crc_zero_of_an_empty_body_is_right():
    assert isinstance(decode_one(raw(b'GET_TDATA')), GetMessage)


@pytest.mark.parametrize('length', [(64 << 20) + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize('type_name', [b'TRANSFORM', b'IMAGE'])
def test_impossible_length_breaks_the_stream_and_holds_nothing(type_name, length):
    decoder = Decoder()
    (fault,) = decoder.feed(raw(type_name, length=length) + bytes(1000))
    assert fault.code == 'PROTOCOL' and fault.fatal
    assert decoder.broken and decoder.buffered == 0
    assert decoder.feed(good()) == []
    assert decoder.buffered == 0


def test_large_body_of_a_readable_type_is_skipped_not_held():
    decoder = Decoder()
    assert decoder.feed(raw(length=2 << 20))[0].code == 'PROTOCOL'
    for _ in range(32):
        assert decoder.feed(bytes(64 << 10)) == []
        assert decoder.buffered == 0
    assert isinstance(decoder.feed(good())[0], Transform)


def test_unknown_type_is_skipped_in_pieces():
    decoder = Decoder()
    found = decoder.feed(raw(b'IMAGE', length=1_000_000))
    assert same(found, [Unknown('Stylus', type_name='IMAGE', body_length=1_000_000)])
    for _ in range(100):
        assert decoder.feed(bytes(10_000)) == []
        assert decoder.buffered == 0
    assert isinstance(decoder.feed(good())[0], Transform)


@pytest.mark.parametrize('version', [0, 3, 0x4745])  # the last is how "GET / HTTP/1.1" begins
def test_bad_version_is_seen_from_two_bytes(version):
    decoder = Decoder()
    (fault,) = decoder.feed(struct.pack('>H', version))
    assert fault.fatal and 'not an OpenIGTLink stream' in fault.message


@pytest.mark.parametrize(
    ('type_name', 'size'),
    [
        (b'TRANSFORM', 0),
        (b'TRANSFORM', 47),
        (b'TRANSFORM', 49),
        (b'POSITION', 16),
        (b'TDATA', 71),
        (b'QTDATA', 49),
        (b'STATUS', 29),
        (b'STRING', 3),
        (b'STRING', 40),
        (b'POINT', 135),
        (b'CAPABIL', 11),
        (b'GET_STATUS', 1),
        (b'STT_TDATA', 35),
        (b'STP_TDATA', 2),
        (b'RTS_TDATA', 0),
    ],
)
def test_wrong_body_size_is_a_fault_and_the_stream_goes_on(type_name, size):
    fault, message = Decoder().feed(raw(type_name, b'\1' * size) + good())
    assert fault.code == 'PROTOCOL' and str(size) in fault.message
    assert isinstance(message, Transform)


def test_empty_tracking_data_means_that_nothing_is_seen():
    assert decode_one(raw(b'TDATA')).elements == ()
    assert decode_one(raw(b'QTDATA')).elements == ()


@pytest.mark.parametrize(
    'extended',
    [
        b'',
        bytes(11),
        struct.pack('>HHII', 11, 0, 0, 0),
        struct.pack('>HHII', 12, 0, 1, 0),
        struct.pack('>HHII', 0xFFFF, 0, 0, 0),
        struct.pack('>HHII', 12, 2, 0, 0) + struct.pack('>H', 1),
        struct.pack('>HHII', 12, 10, 3, 0) + struct.pack('>HHHI', 1, 1, 3, 1) + b'abc',
        struct.pack('>HHII', 12, 10, 1, 0) + struct.pack('>HHHI', 1, 1, 3, 0xFFFFFFFF) + b'a',
    ],
)
def test_extended_header_that_lies_is_a_fault(extended):
    fault, message = Decoder().feed(raw(b'GET_STATUS', extended, version=2) + good())
    assert fault.code == 'PROTOCOL'
    assert isinstance(message, Transform)


def test_odd_names_are_not_errors():
    assert decode_one(raw(b'GET_STATUS', device=b'\xff\xfe\0junk')).device == '\\xff\\xfe'
    assert decode_one(raw(b'GET_STATUS', device='Nadel-ä'.encode())).device == 'Nadel-ä'
    assert decode_one(raw(b'GET_STATUS', device=b'x' * 20)).device == 'x' * 20
    assert isinstance(decode_one(raw(b'\xff' * 12)), Unknown)
    assert isinstance(decode_one(raw(b'')), Unknown)


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (Transform('x' * 21, pose_at(0.1)), 'at most 20'),
        (Transform('a\0b', pose_at(0.1)), 'without NUL'),
        (Transform('x', pose_at(1e37)), 'does not fit'),
        (Transform('x', pose_at(0.1), stamp_ns=-1), 'stamp_ns=-1'),
        (Transform('x', pose_at(0.1), metadata={'a': 'b'}), 'needs version 2'),
        (Transform('x', pose_at(0.1), version=3), 'version 3'),
        (String('x', text='a' * 65536), 'at most 65535'),
        (ReadyMessage('x', target='TDATA', status=256), 'does not fit'),
        (Unknown('x', type_name='IMAGE', body_length=0), 'not encodable'),
    ],
)
def test_what_the_wire_does_not_hold_is_refused(message, words):
    with pytest.raises(InputError, match=words):
        encode(message)


def stream():
    bad = bytearray(good())
    bad[70] ^= 4
    return b''.join(
        [
            good(0.1),
            raw(b'IMAGE', bytes(300)),
            encode(Position('P', np.zeros(3), np.array([0, 0, 0, 1.0])), 2),
            bytes(bad),
            raw(b'STATUS', bytes(5)),
            raw(length=(1 << 20) + 1)[:58] + bytes((1 << 20) + 1),
            encode(TData('T', (TElement('A', 1, pose_at(0.3)),), version=2, metadata={'k': 'v'})),
            good(0.2),
        ]
    )


def test_cut_at_every_byte_gives_the_same_messages():
    data = good(0.1) + raw(b'IMAGE', bytes(30)) + encode(Status('S', code=13, text='not ready'), 2) + good(0.2)
    whole = Decoder().feed(data)
    assert len(whole) == 4
    for cut in range(len(data) + 1):
        decoder = Decoder()
        assert same(decoder.feed(data[:cut]) + decoder.feed(memoryview(data)[cut:]), whole)
    decoder = Decoder()
    assert same([item for i in range(len(data)) for item in decoder.feed(data[i : i + 1])], whole)


def test_a_stream_that_ends_anywhere_gives_only_whole_messages():
    data = good(0.1) + good(0.2)
    for cut in range(len(data)):
        decoder = Decoder()
        assert len(decoder.feed(data[:cut])) == cut // len(good())
        assert decoder.buffered == cut % len(good())


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(stream())), max_size=12))
def test_split_anywhere_gives_the_same_messages(cuts):
    data = stream()
    decoder, found, start = Decoder(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += decoder.feed(data[start:cut])
        start = cut
    assert same(found, Decoder().feed(data))
    assert [type(item) for item in found] == [Transform, Unknown, Position, Fault, Fault, Fault, TData, Transform]


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_arbitrary_bytes_never_raise(chunks):
    decoder = Decoder(max_kept_body=256)
    for chunk in chunks:
        decoder.feed(chunk)
        assert decoder.buffered <= HEADER_BYTES + 256


@settings(max_examples=200)
@given(st.lists(messages(), min_size=1, max_size=3), st.data())
def test_mutated_streams_never_raise(items, data):
    wire = bytearray(b''.join(encode(item) for item in items))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire) - 1))
        wire[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # give the first message a right CRC, so that the content is looked at
        length = min(int.from_bytes(wire[42:50], 'big'), len(wire))
        wire[50:58] = crc64(wire[58 : 58 + length]).to_bytes(8, 'big')
    cut = data.draw(st.integers(0, len(wire)))
    decoder = Decoder(max_kept_body=1024)
    for chunk in (bytes(wire[:cut]), bytes(wire[cut:])):
        decoder.feed(chunk)
        assert decoder.buffered <= HEADER_BYTES + 1024


@pytest.mark.parametrize('type_name', [b'TRANSFORM', b'STRING', b'IMAGE'])
def test_a_body_of_64_mib_costs_no_memory(type_name):
    decoder, chunk = Decoder(), bytes(1 << 20)
    tracemalloc.start()
    decoder.feed(raw(type_name, length=64 << 20))
    for _ in range(64):
        decoder.feed(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
    assert isinstance(decoder.feed(good())[0], Transform)
