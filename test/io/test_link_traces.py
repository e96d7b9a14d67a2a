"""Measured links as people have them: other names, units, separators, orders; what they cannot be is told."""

import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.link_traces import read_delay_trace, read_opportunities

WAYS = {
    'as published': 'pub_time(ms) sub_time(ms) delay(ms) sinr(db)\n1700000000000 1700000000020 20 9 \n'
    '1700000000010 1700000000032 22 9 \n1700000000030 1700000000055 25 9 \n',
    'out of order': 'pub_time(ms) delay(ms)\n30 25\n0 20\n10 22\n',
    'twice': 'pub_time(ms) delay(ms)\n0 20\n0 20\n10 22\n10 99\n30 25\n',
    'bom and crlf': '\ufeffpub_time(ms) delay(ms)\r\n0 20\r\n10 22\r\n30 25\r\n',
    'no delay': 'pub_time(ms),sub_time(ms)\n0,20\n10,32\n30,55\n',
    'names with units': 'timestamp_ms,rtt_ms\n0,20\n10,22\n30,25\n',
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
    'time(ms),delay(ms)\n0,5\n10,\n': 'row 3: no time and delay',
    'time(ms) delay(ms)\n0 5\n10 nan\n': 'row 3: NaN',
    'time(ms) delay(ms)\n0 5\n\n10 -1\n': 'row 4: delay -1 is negative; leave out',
    'time(s) sub_time(ms)\n0 5\n': 'two units',
    'time(ms) jitter(ms)\n0 5\n': 'no column of delays',
    'when(ms) delay(ms)\n0 5\n': 'no column of times',
    'time,delay(ms)\n2024-01-01 10:00:00,5\n': 'row 2: no time and delay',
    '0 20\n10 22\n30 25\n': 'milliseconds, say so in a header',
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
    assert found.mean_bps == pytest.approx(3 * 12_000 / 0.005)
