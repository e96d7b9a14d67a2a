import json
import math
import sys
import types

import pytest

from twin_nodes.app.bench import runner, tracking, tracking_room
from twin_nodes.app.bench.tracking_processes import BenchProcess, environment
from twin_nodes.app.bench.tracking_sender import TOOLS, Sender, packets
from twin_nodes.core.errors import ConfigError, TwinError
from twin_nodes.io.openigtlink.codec import Decoder

GOOD = {'figure': 'rate_hz', 'value': 60.0, 'unit': 'Hz', 'goal': '>= 50', 'peer': 'x', 'ratio': 2.0, 'ok': True}
BAD = GOOD | {'figure': 'lag_ms', 'value': 9.0, 'ok': False}
UNMEASURED = {'figure': 'first_s', 'value': math.inf, 'unit': 's', 'goal': '<= 1', 'ok': False}


@pytest.fixture
def fake(monkeypatch):
    """Puts a bench of given figures in place of all; returns what each run was told."""

    def place(**benches):
        told = []
        monkeypatch.setattr(runner, 'BENCHES', {name: f'fake_bench_{name}' for name in benches})
        monkeypatch.setattr(runner, '_HOLDS', {})
        for name, figures in benches.items():
            module = types.ModuleType(f'fake_bench_{name}')
            module.run = lambda quick=False, name=name, figures=figures: told.append((name, quick)) or figures
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return told

    return place


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no bench 'traking'; nearest is 'tracking'; there are: tracking, tf"):
        runner.run(['tf', 'traking'], quick=True, json=True)


def test_nothing_runs_when_one_name_is_unknown(fake):
    told = fake(good=[GOOD])
    with pytest.raises(ConfigError):
        runner.run(['good', 'bad'], quick=True, json=True)
    assert told == []


def test_json_lines_parse_and_kept_promises_end_with_0(fake, capsys):
    told = fake(good=[GOOD], other=[GOOD | {'figure': 'n'}])
    assert runner.run([], quick=True, json=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['figure'] for line in lines] == ['rate_hz', 'n']
    assert lines[0] == GOOD
    assert told == [('good', True), ('other', True)]


def test_a_broken_promise_ends_with_1_and_the_rest_still_runs(fake, capsys):
    told = fake(bad=[BAD, UNMEASURED], good=[GOOD])
    assert runner.run(['bad', 'good', 'bad'], quick=False, json=True) == 1
    values = {line['figure']: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert values['first_s']['value'] is None and not values['lag_ms']['ok']
    assert told == [('bad', False), ('good', False)]


def test_table_marks_what_is_broken(fake, capsys):
    fake(bad=[BAD], good=[GOOD])
    runner.run([], quick=True, json=False)
    broken, good = capsys.readouterr().out.splitlines()
    assert broken.startswith('BROKEN lag_ms') and good.startswith('ok     rate_hz')


def test_every_bench_can_be_found():
    from importlib.util import find_spec

    assert all(find_spec(module) for module in runner.BENCHES.values())
    assert 'filter' not in runner._all() and 'tracking' in runner._all()


def test_a_packet_left_out_waits_for_the_next_pose():
    passage = tracking.Passage()
    passage.add([10, 20, 30, 40], [1_000_000, 2_000_000, 3_000_000, 4_000_000], {20: 5_000_000, 30: 6_000_000})
    assert passage.waits_ms == [4.0, 3.0, 3.0, math.inf]
    assert passage.direct_ms == [3.0, 3.0] and passage.left_out_percent == 50.0


def test_a_late_pose_that_was_overtaken_answers_by_the_newer_one():
    passage = tracking.Passage()
    passage.add([10, 20], [0, 0], {10: 9_000_000, 20: 2_000_000})
    assert passage.waits_ms == [2.0, 2.0]


def test_packets_are_whole_messages_of_all_tools():
    frames = packets(60)
    assert len(frames) == 120
    messages = Decoder().feed(bytes(frames[7]))
    assert tuple(message.device for message in messages) == TOOLS


def test_sender_without_receiver_gives_up(monkeypatch):
    monkeypatch.setattr('twin_nodes.app.bench.tracking_sender.ACCEPT_S', 0.05)
    with pytest.raises(OSError):
        Sender(1).stream(0, 60, 0.1)


def ask(tmp_path, code):
    command = [sys.executable, '-c', code]
    return BenchProcess(command, environment(1, tmp_path), tmp_path / 'helper.log', asked=True)


def test_a_process_that_ends_is_said_with_its_last_words(tmp_path):
    with (
        ask(tmp_path, 'raise SystemExit("no such port")') as process,
        pytest.raises(TwinError, match=r'helper\.log: the process has ended: no such port'),
    ):
        process.ask({}, 20.0)


def test_a_silent_process_meets_the_deadline_and_is_ended(tmp_path):
    process = ask(tmp_path, 'input()')
    with pytest.raises(TwinError, match=r'no answer within 0\.05 s'):
        process.answer(0.05)
    process.stop()
    assert process._process.poll() is not None


def test_poses_pass_through_the_real_node(tmp_path):
    with tracking_room.open_room(str(tmp_path)) as room, room.node(tracking_room.OURS, 0) as node:
        twin = tracking_room.Twin(tracking_room.OURS, node, room.sender, {'index': 0})
        tracking_room.wait_for_match(room, twin)
        passage = tracking.measure(room, twin, 60, 0.5)
    assert passage.packets == 4 * 30
    assert passage.left_out_percent < 5.0
    assert 0.0 < passage.percentile(50.0) < 1000.0
    assert passage.cpu_s > 0.0
