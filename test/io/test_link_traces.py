"""Measured links as people have them: other names, units, separators, orders; what they cannot be is told."""

import time

import pytest

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.io.link_traces import read_delay_trace, read_opportunities

WAYS = {
    'as published': 'pub_time(ms) sub_time(ms) delay(ms) sinr(db)\n1700000000000 1700000000020 20 9 \n'
    '1700000000010 1700000000032 22 9 \n1700000000030 1700000000055 25 9 \n',
    'out of order': 'pub_time(ms) delay(ms)\n30 25\n0 20\n10 22\n',
    'twice': 'pub_time(ms) delay(ms)\n0 20\n0 20\n10 22\n10 99\n30 25\n',
    'bom and crlf': '\ufeffpub_time(ms) delay(ms)\r\n0 20\r\n10 22\r\n30 25\r\n',
    'no delay': 'pub_time(ms),sub_time(ms)\n0,20\n10,32\n30,55\n',
    'names with units': 'timestamp_ms,rtt_ms\n0,20\n10,22\n30,25\n',
    'other order': 'seq;rsrp;Delay[ms];Time[ms]\n1;-70,5;20;0\n2;-71,0;22;10\n3;;25;30\n',
    'humps': 'sendTime(us),recvTime(us)\n0,20000\n10000,32000\n30000,55000\n',
    'seconds since 1970': 'ts,one_way_delay/ms\n1700000000.00,20\n1700000000.01,22\n1700000000.03,25\n',
    'dates': 'datetime,latency(ms)\n2026-11-21 10:00:00.000,20\n2026-11-21 10:00:00.010,22\n'
    '2026-11-21 10:00:00.030,25\n',
    'dates with a zone': 'timestamp,owd_ms\n2026-11-21T10:00:00Z,20\n2026-11-21T11:00:00.01+01:00,22\n'
    '2026-11-21T10:00:00.03Z,25\n',
    'decimal commas and tabs': 'time(s)\tdelay(ms)\n0,00\t20,0\n0,01\t22,0\n0,03\t25,0\n',
    'decimal commas and blanks': 'time(s) delay(ms)\n0,00 20,0\n0,01 22,0\n0,03 25,0\n',
    'newest first': 'time(ms),delay(ms)\n30,25\n10,22\n0,20\n',
    'spaces in names': 'pub time (ms), delay (ms)\n0, 20\n10, 22\n30, 25\n',
    'quoted': '"Time [s]","Latency [us]"\n"0.00","20000"\n"0.01","22000"\n"0.03","25000"\n',
    'decimal commas': 'time(s);delay(ms)\n0,00;20,0\n0,01;22,0\n0,03;25,0\n',
    'tabs': 'time(ms)\tdelay(ms)\n0\t20\n10\t22\n30\t25\n',
    'without a header': '# seconds\n0.00 0.020\n0.01 0.022\n\n0.03 0.025\n',
}
WRONG = {
    '': 'no rows',
    'pub_time(ms) delay(ms)\n': 'a header and no rows',
    'pub_time(ms) delay(ms)\n1 2\n': 'at least 2',
    'time(ms),delay(ms)\n0,5\n10,x\n': 'row 3: no time and delay',
    'time(ms) delay(ms)\n0 5\n10\n': 'row 3: 1 of 2 columns',
    'time(ms) delay(ms)\n0 5\n\n10 -1\n': 'row 4: delay -0.001 s is negative; bring the clocks together',
    'time(ms) delay(ms)\nnan 5\n10 5\n': 'row 2: no time',
    'time(ms),delay(ms)\n0,5\n10,\n20,nan\n': 'of 3 packets of the trace 1 arrived',
    'time(s) sub_time(ms)\n0 5\n': 'two units',
    'time(ms) jitter(ms)\n0 5\n': 'no column of delays',
    'when(ms) delay(ms)\n0 5\n': 'no column of times',
    'time(ms),delay\n0,5\n10,5\n': r'delay has no unit, while time\(ms\) has',
    'time,delay(ms)\nyesterday,5\n': 'row 2: no time and delay',
    'pub_time delay(ms)\n1721200104086 20\n1721200104096 20\n': 'time 1721200104086 cannot be in seconds',
    '1721200104.1 1721200104.2 0.1\n': 'row 1: 3 columns and no header',
    '1 0.00 0.02\n2 0.01 0.02\n': 'row 1: 3 columns and no header',
    '5\n7\n': 'row 1: 1 columns and no header',
    '0 20\n10 22\n30 25\n': 'milliseconds, say so in a header',
    'time(s) delay(ms)\n0 5\n9 5\n0 7\n9 7\n': 'packet 3 is 9 s before that of the one above it; if these are two',
    '{"intervals": []}': 'is JSON',
    '[{"rtt": 1}]\n': 'is JSON',
    '[ ID] Interval           Transfer\n[  5]   0.00-1.00   sec  112 MBytes\n': 'no column of times|JSON',
    'PING h (1.1.1.1) 56(84) bytes of data.\n64 bytes from h (1.1.1.1): icmp_seq=1 ttl=57 time=9.1 ms\n': 'ping -D',
    'PING h (1.1.1.1) 56(84) bytes of data.\n--- h ping statistics ---\n': '0 answers of ping',
}


@pytest.mark.parametrize('text', WAYS.values(), ids=WAYS)
def test_one_link_written_in_many_ways_is_one_link(text, tmp_path):
    path = tmp_path / 'trace.txt'
    path.write_bytes(text.encode())
    trace = read_delay_trace(path)
    assert [trace.at(t) for t in (0.0, 0.005, 0.0101, 0.0299, 0.0301)] == pytest.approx(
        [0.02, 0.02, 0.022, 0.022, 0.025]
    )
    assert trace.at(trace.duration + 0.0101) == pytest.approx(0.022), 'repeated from the start'


@pytest.mark.parametrize(('text', 'told'), WRONG.items(), ids=WRONG.values())
def test_what_is_no_trace_is_told_with_its_row(text, told, tmp_path):
    path = tmp_path / 'trace.txt'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(InputError, match=told):
        read_delay_trace(path)


@pytest.mark.parametrize('content', [b'\xff\xfe\x00t', bytes(range(128, 256))])
def test_no_text_is_told(content, tmp_path):
    path = tmp_path / 'trace.txt'
    path.write_bytes(content)
    for read in (read_delay_trace, read_opportunities):
        with pytest.raises(InputError, match='no text'):
            read(path)


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('', 'above 0'), ('0\n0\n', 'above 0'), ('5\n3\n', 'must not fall'), ('1.5\n', 'row 1'), ('-1\n3\n', 'row 1'),
        ('1\n²\n', 'row 2'), ('# 1\n', 'row 1'), ('1\n99999999999999999999\n', 'eleven days'), ('1 2\n', 'row 1'),
    ],
)  # fmt: skip
def test_what_is_no_mahimahi_trace_is_told(text, told, tmp_path):
    path = tmp_path / 'up'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(InputError, match=told):
        read_opportunities(path)


@pytest.mark.parametrize('text', ['1\n1\n5\n', '1\r\n1\r\n5\r\n', '\ufeff1\n\n1\n5\n'])
def test_mahimahi_stamps_are_read(text, tmp_path):
    path = tmp_path / 'up'
    path.write_bytes(text.encode())
    found = read_opportunities(path)
    assert [found.time_ns(i) // 1_000_000 for i in range(6)] == [1, 1, 5, 6, 6, 10]
    assert found.first_at(2_000_000) == 2


@pytest.mark.parametrize('mark', ['', 'nan', 'NaN', '-', 'lost', 'null', 'inf', '*'])
def test_what_never_arrived_is_lost_in_the_link_too(mark, tmp_path):
    path = tmp_path / 'trace.csv'
    path.write_text(f'seq,time(ms),delay(ms)\n1,0,{mark}\n2,10,20\n3,20,{mark}\n4,30,25\n', encoding='utf-8')
    trace = read_delay_trace(path)
    assert trace.loss == 0.5
    assert [trace.loses(t) for t in (0.005, 0.015, 0.025, 0.035, 0.045)] == [True, False, True, False, True]
    (tmp_path / 'mine.yaml').write_text('forward: {delay: {law: trace, trace_file: trace.csv}}\n')
    link = load_scenario(str(tmp_path / 'mine.yaml')).link(1)
    fates = link.forward.fates([t * 1_000_000 for t in range(0, 40, 5)])
    assert fates.arrival_ns.tolist() == [-1, -1, 30_000_000, 35_000_000, -1, -1, 55_000_000, 60_000_000]
    assert (link.forward.counts['loss'], link.backward.counts['loss']) == (4, 0)


def test_dates_without_a_zone_do_not_jump_with_summer_time(tmp_path, monkeypatch):
    monkeypatch.setenv('TZ', 'Europe/Berlin')
    time.tzset()
    path = tmp_path / 'trace.csv'
    path.write_text('timestamp,delay(ms)\n2026-03-29 01:59:59,20\n2026-03-29 03:00:00,30\n')
    try:
        assert read_delay_trace(path).at(3600.5) == pytest.approx(0.02)
        assert read_delay_trace(path).at(3601.5) == pytest.approx(0.03)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_packet_without_a_time_of_receiving_is_lost(tmp_path):
    path = tmp_path / 'capture.csv'
    path.write_text('"tx_time(s)","rx_time(s)","len"\n"0.00","0.02","98"\n"0.01","","98"\n"0.02","0.05","98"\n')
    trace = read_delay_trace(path)
    assert [trace.loses(t) for t in (0.0, 0.01, 0.02)] == [False, True, False]
    assert trace.at(0.02) == pytest.approx(0.03)


PING = """PING example.org (93.184.216.34) 56(84) bytes of data.
[1700000000.030] 64 bytes from 93.184.216.34: icmp_seq=1 ttl=56 time=30.0 ms
[1700000000.060] 64 bytes from 93.184.216.34: icmp_seq=2 ttl=56 time=40.0 ms
no answer yet for icmp_seq=3
[1700000000.110] 64 bytes from 93.184.216.34: icmp_seq=4 ttl=56 time=50 ms
[1700000000.111] 64 bytes from 93.184.216.34: icmp_seq=4 ttl=56 time=51 ms (DUP!)

--- example.org ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 60ms
rtt min/avg/max/mdev = 30.0/40.0/50.0/8.2 ms
"""


@pytest.mark.parametrize('host', ['93.184.216.34', 'edge-1.example.org (93.184.216.34)'])
def test_ping_is_read_as_round_trips_with_their_losses(host, tmp_path):
    path = tmp_path / 'ping.log'
    path.write_text(PING.replace('from 93.184.216.34', f'from {host}'))
    trace = read_delay_trace(path)
    assert [trace.at(t) for t in (0.0, 0.0201, 0.0601)] == pytest.approx([0.03, 0.04, 0.05])
    assert [trace.loses(t) for t in (0.0, 0.0201, 0.0401, 0.0601)] == [False, False, True, False]
    assert trace.round_trip


def test_a_round_trip_on_both_ways_is_refused(tmp_path):
    (tmp_path / 'ping.log').write_text(PING)
    path = tmp_path / 'mine.yaml'
    path.write_text('both: {delay: {law: trace, trace_file: ping.log}}\n')
    with pytest.raises(ConfigError, match=r'mine\.yaml: ping\.log holds round trips.*trace_scale: 0\.5'):
        load_scenario(str(path))
    for fine in ('both: {delay: {law: trace, trace_file: ping.log, trace_scale: 0.5}}\n',
                 'forward: {delay: {law: trace, trace_file: ping.log}}\n'):  # fmt: skip
        path.write_text(fine)
        assert load_scenario(str(path)).config.name == 'mine'


def test_a_trace_in_place_of_a_scenario_is_told_how_to_be_named(tmp_path):
    path = tmp_path / 'ping.log'
    path.write_text(PING)
    with pytest.raises(ConfigError, match=r'is no scenario; name a trace in one.*trace_file: ping\.log'):
        load_scenario(str(path))


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('seed: 3\nboth: {delay: {base: 0.05}}\n', 'has no seed; it is given with the run'),
        ('both: {delay: 0.05}\n', r'both\.delay=0\.05: expected keys under it, such as law, base'),
        ('both: [1]\n', r'both=\[1\]: expected keys such as delay'),
        ('forward: 3\n', 'forward=3: expected keys'),
        ('both: {delay: {base: 50ms}}\n', "base='50ms': expected float.*write a number of s, without the unit"),
        ('both: {delay: {base: 5e-2}}\n', "base='5e-2': expected float, got str; write 0.05"),
        ('both: {delay: {base: 0.05, sigma: 0.01}}\n', 'sigma=0.01 does nothing with law=constant; it b'),
        ('both: {delay: {law: normal, base: 0.1}}\n', 'law=normal needs sigma above 0'),
        ('both: {outage: {down: {law: uniform, mean: 1, spread: 2}, up: {law: constant, mean: 1}}}\n', 'above mean'),
        ('both: {bandwidth: {rate_bps: 1000000, trace_file: synthetic}}\n', 'give one of both'),
        ('both: {delay: {law: trace, trace_file: no.txt}}\n', r'mine\.yaml: both\.delay\.trace_file: .*no\.txt'),
        ('both: {bandwidth: {trace_file: no.up}}\n', r'mine\.yaml: both\.bandwidth\.trace_file: .*no\.up cannot'),
        ('both: {delay: {law: trace}}\nbackward: {delay: {trace_file: no.txt}}\nforward: {delay: {law: constant}}\n',
         r'mine\.yaml: backward\.delay\.trace_file: .*no\.txt'),
        ('both: {delay: {bas: 0.1}}\n', r"unknown key 'both\.delay\.bas'; did you mean 'both\.delay\.base'"),
        ('both: {delay: {base: 50.0}}\n', r'mine\.yaml: both\.delay\.base=50\.0 s is above its maximum 10\.0 s'),
        ('both: {delay: {weights: 0.5}}\n', r'mine\.yaml: both\.delay\.weights=0\.5: expected a list'),
        ('both: {delay: {base: 0.1}}\nforward: {loss: {probability: 2}}\n', r'forward\.loss\.probability=2 is above'),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_scenario_is_told_with_its_mend(text, told, tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises((ConfigError, InputError), match=told):
        load_scenario(str(path))
