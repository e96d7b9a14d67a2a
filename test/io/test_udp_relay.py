"""The relay gives each datagram the fate of the pure function; keys are kept from others; traces are read."""

import socket
import time

import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.link_key import make_key, read_key
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.io.link_traces import read_delay_trace, read_opportunities
from twin_nodes.io.udp_relay import RelayLog, UdpRelay

DEADLINE_S = 30.0


@pytest.fixture
def udp():
    made = []

    def socket_():
        each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        each.bind(('127.0.0.1', 0))
        each.settimeout(0.02)
        made.append(each)
        return each

    yield socket_
    for each in made:
        each.close()


@pytest.mark.parametrize('name', ['N9', 'N20', 'N2'])
def test_the_relay_has_the_fates_of_the_pure_function(name, udp, in_thread):
    log = RelayLog()
    near, far = udp(), udp()
    relay = UdpRelay(load_scenario(name).link(7), follower=far.getsockname(), log=log)
    in_thread(relay.run)
    got, count, end = [], 120, time.monotonic() + DEADLINE_S
    for number in range(count):
        near.sendto(number.to_bytes(2, 'big') * 20, ('127.0.0.1', relay.ports[0]))
    while time.monotonic() < end:
        try:
            got.append(int.from_bytes(far.recv(100)[:2], 'big'))
        except TimeoutError:
            if len(log.sent_ns[0]) == count and len(got) == sum(map(len, log.arrivals_ns[0])):
                break
    relay.stop()
    fates = load_scenario(name).link(7).forward.fates(log.sent_ns[0], log.sizes[0])
    assert [arrivals[0] if arrivals else -1 for arrivals in log.arrivals_ns[0]] == fates.arrival_ns.tolist()
    both = (*enumerate(fates.arrival_ns.tolist()), *enumerate(fates.second_ns.tolist()))
    assert got == [index for arrival, index in sorted((at, index) for index, at in both) if arrival >= 0]


def test_answers_find_their_way_back(udp, in_thread):
    relay = UdpRelay(load_scenario('lan').link(1))
    in_thread(relay.run)
    leader, follower = udp(), udp()
    heard, end = b'', time.monotonic() + DEADLINE_S
    while heard != b'answer' and time.monotonic() < end:
        follower.sendto(b'answer', ('127.0.0.1', relay.ports[1]))
        leader.sendto(b'question', ('127.0.0.1', relay.ports[0]))
        try:
            heard = leader.recv(100)
        except TimeoutError:
            continue
    relay.stop()
    assert heard == b'answer'


def test_a_taken_port_is_said(udp):
    taken = udp().getsockname()[1]
    with pytest.raises(ConfigError, match=f'{taken} cannot be listened on'):
        UdpRelay(load_scenario('lan').link(1), ports=(taken, 0))


def test_key_files(tmp_path):
    path = tmp_path / 'wan.key'
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key(path)) == 32
    with pytest.raises(ConfigError, match='never overwritten'):
        make_key(path)
    with pytest.raises(ConfigError, match='twin link key'):
        read_key(tmp_path / 'none.key')
    path.chmod(0o640)
    with pytest.raises(ConfigError, match='0640'):
        read_key(path)
    path.chmod(0o600)
    path.write_text('abc')
    with pytest.raises(ConfigError, match='32 bytes'):
        read_key(path)


def test_delay_tables(tmp_path):
    path = tmp_path / 'trace.txt'
    path.write_text('pub_time(ms) sub_time(ms) delay(ms) cellid(db)\n1000 1030 30 A\n1100 1110 10 A\n1050 1070 20 B\n')
    trace = read_delay_trace(path)
    assert [trace.at(t) for t in (0.0, 0.06, 0.11)] == [0.03, 0.02, 0.01], 'rows are brought into order'
    path.write_text('0.0, 0.1\n1.0, 0.2\n')
    assert read_delay_trace(path).at(1.5) == 0.2
    path.write_text('\ufefftime [s];rtt [ms]\n0;100\n1;200\n', encoding='utf-8')
    for text, match in (
        ('time(ms) delay(ms)\n1 x\n', 'row 2'),
        ('time(ms) speed\n1 2\n', 'no column of delays'),
        ('0 0.1\n', 'at least 2'),
        ('0 -0.1\n1 0.1\n', 'negative'),
        ('0 nan\n1 0.1\n', 'of 2 packets of the trace 1 arrived'),
        ('', 'no rows'),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_delay_trace(path)
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match='no text'):
        read_delay_trace(path)


def test_mahimahi_files(tmp_path):
    path = tmp_path / 'up.trace'
    path.write_text('1\n1\n\n10\n')
    found = read_opportunities(path)
    assert [found.time_ns(number) for number in range(4)] == [1_000_000, 1_000_000, 10_000_000, 11_000_000]
    for text, match in (('5\n3\n', 'must not fall'), ('1\nx\n', 'row 2'), ('', 'needs stamps')):
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            read_opportunities(path)


def test_own_scenario_file_with_a_trace_beside_it(tmp_path):
    (tmp_path / 'd.csv').write_text('time(s),delay(ms)\n0,40\n1,40\n')
    path = tmp_path / 'mine.yaml'
    path.write_text('name: X\nboth:\n  delay: {law: trace, trace_file: d.csv, trace_scale: 0.5}\n')
    assert load_scenario(str(path)).link(1).forward.fates([0]).arrival_ns.tolist() == [20_000_000]
    path.write_text('forward: {dellay: {base: 0.1}}\n')
    with pytest.raises(ConfigError, match=r'forward\.dellay'):
        load_scenario(str(path))


def test_cicv_recordings(shared_data):
    files = sorted((shared_data / 'net_5g_cicv').rglob('*_run*.txt'))
    assert files
    traces = [read_delay_trace(path) for path in files]
    medians = [np.median([trace.at(t) for t in np.arange(0.0, 50.0, 0.05)]) for trace in traces]
    assert all(0.010 < median < 0.030 for median in medians)  # published: 15 to 18 ms of round trip
