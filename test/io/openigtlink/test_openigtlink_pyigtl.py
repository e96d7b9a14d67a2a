"""pyigtl, an independent implementation, as the oracle in both directions."""

import socket
import time

import numpy as np
import pyigtl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from igtl_room import DEADLINE_S
from igtl_samples import names, pose_at, poses
from pyigtl.messages import MessageBase

from twin_nodes.io.openigtlink.codec import HEADER_BYTES, Decoder, encode
from twin_nodes.io.openigtlink.messages import String, Transform

STAMP_NS = 1_700_000_000_250_000_000


def read_by_pyigtl(data):
    fields = MessageBase.parse_header(data[:HEADER_BYTES])
    message = MessageBase.create_message(fields['message_type'])
    message.unpack(fields, data[HEADER_BYTES:])
    return message


@settings(max_examples=40)
@given(poses(), st.sampled_from((1, 2)), st.dictionaries(names(20), names(20), max_size=3))
def test_pyigtl_reads_our_transform(pose, version, metadata):
    metadata = {key: value for key, value in metadata.items() if version == 2 and value.isascii()}
    ours = Transform('StylusToTracker', pose, stamp_ns=STAMP_NS, version=version, metadata=metadata)
    theirs = read_by_pyigtl(encode(ours))
    assert theirs.device_name == 'StylusToTracker'
    assert theirs.metadata == metadata
    np.testing.assert_allclose(theirs.matrix[:3, :3], pose[:3, :3], atol=0)
    np.testing.assert_allclose(theirs.matrix[:3, 3], 1000.0 * pose[:3, 3], rtol=1e-15)
    # pyigtl halves 1e9 ns with rounding 32 times: its fraction is good to 16 ns.
    assert theirs.timestamp == pytest.approx(STAMP_NS * 1e-9, abs=3e-7)  # double seconds since 1970


@settings(max_examples=40)
@given(poses(), st.sampled_from((1, 2)))
def test_we_read_the_transform_of_pyigtl(pose, version):
    in_mm = pose * np.array([[1, 1, 1, 1000.0]] * 3 + [[1, 1, 1, 1]])
    theirs = pyigtl.TransformMessage(in_mm, device_name='StylusToTracker', timestamp=STAMP_NS * 1e-9)
    theirs.header_version, theirs.metadata = version, {'TransformStatus': 'OK'} if version == 2 else {}
    (ours,) = Decoder().feed(theirs.pack())
    assert ours.device == 'StylusToTracker' and ours.version == version and ours.metadata == theirs.metadata
    np.testing.assert_allclose(ours.pose, pose, rtol=1e-7, atol=1e-12)
    assert abs(ours.stamp_ns - STAMP_NS) <= 300  # double seconds since 1970, and the halving above


@settings(max_examples=30)
@given(st.text(st.characters(max_codepoint=127), max_size=50), st.sampled_from((1, 2)))
def test_strings_both_ways(text, version):
    assert read_by_pyigtl(encode(String('S', text=text, version=version))).string == text
    theirs = pyigtl.StringMessage(text, device_name='S')
    theirs.header_version = version
    (ours,) = Decoder().feed(theirs.pack())
    assert ours.text == text


def test_pyigtl_client_reads_our_server(room):
    server = room.serve()
    client = pyigtl.OpenIGTLinkClient('127.0.0.1', server.port)
    try:
        server.wait(lambda s: s.clients, 'pyigtl client')
        server.send(STAMP_NS, StylusToTracker=pose_at(0.1))
        message = client.wait_for_message('StylusToTracker', timeout=DEADLINE_S)
        np.testing.assert_allclose(message.matrix[:3, 3], (100.0, 200.0, 300.0), rtol=1e-6)
        client.send_message(pyigtl.StringMessage('hello', device_name='S'))
    finally:
        client.stop()


def test_our_source_reads_a_pyigtl_server(room):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    server = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
    try:
        source = room.listen(port, stream='push')
        source.wait_for_event('OK')
        end = time.monotonic() + DEADLINE_S
        while not source.frames and time.monotonic() < end:
            matrix = pose_at(0.1) * np.array([[1, 1, 1, 1000.0]] * 3 + [[1, 1, 1, 1]])
            server.send_message(pyigtl.TransformMessage(matrix, device_name='StylusToTracker'), wait=True)
        source.wait_for_frames(1)
        reading = source.frames[0].readings[0]
        assert reading.device == 'StylusToTracker'
        np.testing.assert_allclose(reading.tracker_T_tool, pose_at(0.1), atol=1e-7)
    finally:
        source.stop()
        server.stop()
