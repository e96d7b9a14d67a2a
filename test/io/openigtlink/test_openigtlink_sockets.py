import socket
import threading
import time

import numpy as np
import pytest
from igtl_room import DEADLINE_S, SourceThread
from igtl_samples import pose_at

from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.tracking.reading import ToolStatus
from twin_nodes.io.openigtlink.client import OpenIGTLinkSource, OpenIGTLinkSourceConfig
from twin_nodes.io.openigtlink.codec import encode
from twin_nodes.io.openigtlink.messages import (
    Capability,
    GetMessage,
    ReadyMessage,
    StartMessage,
    Status,
    StopMessage,
    String,
    TData,
    Transform,
)


@pytest.fixture
def listener():
    """A bare TCP server, for what a good one would not send."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(DEADLINE_S)
        yield server


def test_auto_takes_the_stream_and_absence_means_lost(room):
    server = room.serve()
    source = room.listen(server.port)
    server.wait_for_streams('TDATA')
    server.send(1000, A=pose_at(0.1), B=pose_at(0.2))
    server.send(1000 + 10**8, A=pose_at(0.3), B=None)
    source.wait_for_frames(2)
    first, second = source.frames
    assert first.complete and first.device_stamp_ns == 1000
    assert [r.device for r in first.readings] == ['A', 'B']
    assert [r.device for r in second.readings] == ['A']
    np.testing.assert_allclose(second.readings[0].tracker_T_tool, pose_at(0.3), atol=1e-7)  # float32 of 300 mm
    assert source.events[0].code == 'OK' and source.events[0].healthy


def test_qtdata_gives_the_same_pose(room):
    server = room.serve()
    source = room.listen(server.port, stream='qtdata')
    server.wait_for_streams('QTDATA')
    server.send(1000, A=pose_at(0.1))
    source.wait_for_frames(1)
    np.testing.assert_allclose(source.frames[0].readings[0].tracker_T_tool, pose_at(0.1), atol=1e-6)  # float32


def test_push_says_lost_within_one_frame(room):
    server = room.serve()
    source = room.listen(server.port, stream='push')
    server.wait(lambda s: s.clients, 'client')
    server.send(1000, A=pose_at(0.1), B=pose_at(0.2))
    server.send(2000, A=pose_at(0.1), B=None)
    server.send(3000, A=pose_at(0.1), B=pose_at(0.2))
    source.wait_for_readings(6)
    lost = [(f.device_stamp_ns, r.device) for f in source.frames for r in f.readings if r.status is ToolStatus.LOST]
    assert lost == [(2000, 'B')]


def test_push_of_version_2_says_lost_at_once_and_sends_no_pose(room):
    server = room.serve(version=2)
    source = room.listen(server.port, stream='push', version=2)
    server.wait(lambda s: s.clients, 'client')
    server.send(1000, A=None)
    source.wait_for_frames(1)
    (reading,) = source.frames[0].readings
    assert (reading.status, reading.reason, reading.tracker_T_tool) == (ToolStatus.LOST, 'INVALID', None)


def test_arrival_is_read_once_per_packet(room, listener):
    ticks = iter(range(100, 200))
    source = room.listen(listener.getsockname()[1], now_ns=lambda: next(ticks), stream='push')
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b''.join(encode(Transform(name, pose_at(0.1), stamp_ns=5)) for name in 'ABC'))
        source.wait_for_readings(3)
    assert {frame.arrival_ns for frame in source.frames} == {100}


def test_comes_back_when_the_server_does(room):
    server = room.serve()
    source = room.listen(server.port)
    server.wait_for_streams('TDATA')
    server.send(1000, A=pose_at(0.1))
    source.wait_for_frames(1)
    server.close()
    source.wait_for_event('SOURCE_DISCONNECTED')
    again = room.serve(port=server.port)
    again.wait_for_streams('TDATA')
    again.send(500, A=pose_at(0.1))
    source.wait_for_frames(2)
    assert source.source.counters['connections'] == 2


def test_a_server_that_is_not_there_is_told_once(room):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    source = room.listen(port)
    source.wait_for_event('SOURCE_DISCONNECTED')
    end = time.monotonic() + DEADLINE_S
    while source.source.counters['attempts'] < 4:
        assert time.monotonic() < end
        threading.Event().wait(0.005)
    assert [event.code for event in source.events] == ['SOURCE_DISCONNECTED']
    assert 'refused' in source.events[0].message


@pytest.mark.parametrize('connected', [True, False])
def test_stop_returns_promptly(room, connected):
    server = room.serve()
    port = server.port
    if not connected:
        server.close()
    source = SourceThread(port, reconnect_min_s=5.0, reconnect_max_s=5.0)
    source.wait_for_event('OK' if connected else 'SOURCE_DISCONNECTED')
    assert source.stop() < 1.0
    if connected:
        server.wait(lambda s: not s.clients, 'client gone')


def test_stop_before_run_returns_at_once():
    source = OpenIGTLinkSource(OpenIGTLinkSourceConfig(port=1), lambda: 0)
    source.stop()
    source.run(lambda frame: None, lambda event: None)


def test_an_error_of_the_receiver_comes_out_of_run(room):
    server = room.serve()
    source = OpenIGTLinkSource(OpenIGTLinkSourceConfig(port=server.port), lambda: 0)
    source_thread = threading.Thread(
        target=lambda: (server.wait_for_streams('TDATA'), server.send(1000, A=pose_at(0.1))), daemon=True
    )
    source_thread.start()

    def broken(frame):
        raise KeyError('receiver')

    with pytest.raises(KeyError, match='receiver'):
        source.run(broken, lambda event: None)
    source_thread.join(DEADLINE_S)


def test_wrong_crc_is_an_event_and_the_next_message_is_taken(room, listener):
    source = room.listen(listener.getsockname()[1], stream='push')
    connection, _ = listener.accept()
    with connection:
        good = encode(Transform('A', pose_at(0.1), stamp_ns=5))
        bad = bytearray(good)
        bad[60] ^= 1
        connection.sendall(bytes(bad) * 50 + good)
        source.wait_for_frames(1)
    assert source.source.counters['CRC_WRONG'] == 50
    assert sum(event.code == 'CRC_WRONG' for event in source.events) == 1  # throttled, counted


def test_a_wrong_port_is_said_and_left(room, listener):
    source = room.listen(listener.getsockname()[1])
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')
        source.wait_for_event('SOURCE_DISCONNECTED')
    codes = [event.code for event in source.events]
    assert codes[:3] == ['OK', 'PROTOCOL', 'SOURCE_DISCONNECTED']
    assert 'header version' in source.events[2].message


def test_refused_stream_falls_back_to_pushed_poses(room, listener):
    source = room.listen(listener.getsockname()[1])
    connection, _ = listener.accept()
    with connection:
        connection.sendall(encode(ReadyMessage('', target='TDATA', status=1)))
        connection.sendall(encode(Transform('A', pose_at(0.1), stamp_ns=5)))
        source.wait_for_frames(1)
    assert not source.frames[0].complete


def test_device_status_is_passed_on(room):
    server = room.serve()
    source = room.listen(server.port)
    server.wait_for_streams('TDATA')
    server.call(server.server.send_status, 13, text='warming up')
    source.wait_for_event('DEVICE_STATUS')
    assert 'not ready' in source.events[-1].message and 'warming up' in source.events[-1].message


def test_a_device_that_fails_recovers_and_fails_again_is_followed(room, listener):
    source = room.listen(listener.getsockname()[1], stream='push', now_ns=lambda: 0)
    connection, _ = listener.accept()
    with connection:
        codes = (18, 18, 18, 1, 1, 18, 1)
        connection.sendall(b''.join(encode(Status('NDI', code=code)) for code in codes))
        connection.sendall(encode(Transform('A', pose_at(0.1))))
        source.wait_for_frames(1)
    assert [e.healthy for e in source.events[1:5]] == [False, True, False, True]
    assert source.source.counters['events_held_back'] == 2


def test_two_clients_each_get_what_they_asked_for(room):
    server = room.serve()
    pushed, streamed = room.connect(server.port), room.connect(server.port)
    streamed.send(encode(StartMessage('', target='TDATA', resolution_ms=100)))
    assert streamed.next().status == 0
    server.wait_for_streams('TDATA', 'TRANSFORM')
    for step in range(4):
        server.send((step + 1) * 50_000_000, A=pose_at(0.1), B=None)
    assert [pushed.next().stamp_ns for _ in range(4)] == [50_000_000, 100_000_000, 150_000_000, 200_000_000]
    found = [streamed.next() for _ in range(2)]
    assert [message.stamp_ns for message in found] == [50_000_000, 150_000_000]
    assert all(isinstance(message, TData) and len(message.elements) == 1 for message in found)


def test_stop_request_ends_the_stream(room):
    server = room.serve()
    client = room.connect(server.port)
    client.send(encode(StartMessage('', target='TDATA')) + encode(StopMessage('', target='TDATA')))
    assert [client.next().target for _ in range(2)] == ['TDATA', 'TDATA']
    server.send(1000, A=pose_at(0.1))
    server.call(server.server.send_string, 'note', 'after')
    assert isinstance(client.next(), String)


def test_requests_are_answered(room):
    server = room.serve()
    client = room.connect(server.port)

    def ask(target, device=''):
        client.send(encode(GetMessage(device, target=target)))
        return client.next()

    assert ask('TDATA').code == 13
    assert 'TDATA' in ask('CAPABIL').types
    assert isinstance(ask('STATUS'), Status) and ask('STATUS').code == 1
    client.send(encode(StopMessage('', target='TRANSFORM')))
    assert isinstance(client.next(), ReadyMessage)
    server.send(1000, A=pose_at(0.1), B=None)
    assert ask('TDATA').elements[0].name == 'A'
    assert ask('TRANSFORM', 'A').device == 'A'
    assert ask('TRANSFORM', 'B').code == 16
    assert ask('TRANSFORM', 'C').code == 4
    assert ask('POINT').code == 12
    client.send(encode(StartMessage('', target='POINT')))
    assert client.next().status == 1


def test_an_unknown_stream_is_refused_by_name(room):
    server = room.serve()
    client = room.connect(server.port)
    data = bytearray(encode(StartMessage('', target='TDATA')))
    data[2:14] = b'STT_VIDEO\0\0\0'
    client.send(bytes(data))
    answer = client.next()
    assert (answer.type_name, answer.body_length) == ('RTS_VIDEO', 1)


def test_the_server_receives_too(room):
    received = []
    arrived = threading.Event()

    def on_message(peer, message):
        received.append(message)
        arrived.set()

    server = room.serve(on_message=on_message)
    client = room.connect(server.port)
    client.send(encode(Transform('FromSlicer', pose_at(0.1))))
    assert arrived.wait(DEADLINE_S)
    assert received[0].device == 'FromSlicer'
    client.send(b'\xff\xff not OpenIGTLink')
    with pytest.raises((EOFError, ConnectionResetError)):
        client.next()
    server.wait(lambda s: not s.clients, 'client gone')
    assert server.server.counters['PROTOCOL'] == 1


def test_a_slow_client_loses_old_frames_and_delays_nobody(room):
    server = room.serve(max_queued=4, stall_limit_s=60.0)
    slow = room.connect(server.port)
    fast = room.connect(server.port)
    server.wait(lambda s: len(s.clients) == 2, 'two clients')
    poses = {f'tool{i}': pose_at(0.1) for i in range(300)}  # 32 kB per frame
    stamp = 0
    while server.server.counters['frames_dropped'] < 5:
        stamp += 1
        assert stamp < 2000
        server.call(server.server.send_frame, stamp, poses)
        assert [fast.next().stamp_ns for _ in range(300)] == [stamp] * 300
    slow_stamps = []
    while not slow_stamps or slow_stamps[-1] < stamp:
        slow_stamps.append([slow.next().stamp_ns for _ in range(300)][-1])
    assert slow_stamps[-4:] == list(range(stamp - 3, stamp + 1))  # the newest were kept
    assert len(slow_stamps) == stamp - server.server.counters['frames_dropped']


def test_a_client_that_never_reads_is_disconnected(room):
    server = room.serve(max_queued=1, stall_limit_s=0.05)
    room.connect(server.port)
    server.wait(lambda s: s.clients, 'client')
    poses = {f'tool{i}': pose_at(0.1) for i in range(300)}
    stamp = 0
    while not server.server.counters['stalled_clients']:
        stamp += 1
        assert stamp < 5000
        server.call(server.server.send_frame, stamp, poses)
    server.wait(lambda s: not s.clients, 'client gone')


def test_names_are_cut_to_the_wire_unless_they_become_the_same(room):
    server = room.serve()
    client = room.connect(server.port)
    server.wait(lambda s: s.clients, 'client')
    server.send(1000, StylusTipToReferenceBody=pose_at(0.1))
    assert client.next().device == 'StylusTipToReference'
    assert server.server.shortened_names == {'StylusTipToReferenceBody': 'StylusTipToReference'}
    with pytest.raises(InputError, match='rename one'):
        server.send(2000, StylusTipToReferenceFrame=pose_at(0.1))
    with pytest.raises(InputError, match='above 0'):
        server.send(0, StylusTipToReferenceBody=pose_at(0.1))


def test_server_answers_with_bytes_that_capability_lists(room):
    server = room.serve()
    client = room.connect(server.port)
    client.send(encode(GetMessage('', target='CAPABIL')))
    answer = client.next()
    assert isinstance(answer, Capability)
    assert all(len(name) <= 12 for name in answer.types)


def test_config_is_checked():
    assert build_config(OpenIGTLinkSourceConfig, {}).port == 18944
    with pytest.raises(ConfigError, match='did you mean'):
        build_config(OpenIGTLinkSourceConfig, {'stream': 'tdat'})
    with pytest.raises(ConfigError, match='reconnect_max_s'):
        build_config(OpenIGTLinkSourceConfig, {'reconnect_min_s': 2.0, 'reconnect_max_s': 1.0})
