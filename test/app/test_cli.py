"""The command's doors: quick help, one-line errors, what stands where."""

import os
import subprocess
import sys
import time

import pytest

from twin_nodes.app import cli, standing
from twin_nodes.app.frames import Tree
from twin_nodes.core.codes import CODES

COMMANDS = (
    'demo',
    'launch',
    'doctor',
    'check',
    'why',
    'explain',
    'completion',
    'frames',
    'record',
    'play',
    'view',
    'recover',
    'breathing',
    'build',
    'reduce',
    'track',
    'report',
    'export',
    'metrics',
    'bench',
    'igtl',
)


def run(capsys, *words):
    code = cli.main(list(words))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_help_lists_all_commands():
    done = subprocess.run([sys.executable, '-m', 'twin_nodes', '--help'], capture_output=True, text=True, timeout=60)
    assert all(command in done.stdout for command in COMMANDS)


def test_help_imports_nothing_heavy():
    text = (
        'import sys; from twin_nodes.app import cli; cli.main(["--help"]); '
        'heavy = {"numpy", "scipy", "rclpy", "numba", "yaml", "rich"} & set(sys.modules); print("HEAVY", sorted(heavy))'
    )
    done = subprocess.run([sys.executable, '-c', text], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith('HEAVY []\n')


@pytest.mark.parametrize('command', [(name,) for name in COMMANDS] + [('igtl', 'serve'), ('calibrate',), ('register',)])
def test_each_command_has_help(capsys, command):
    code, out, _ = run(capsys, *command, '--help')
    assert code == 0
    assert 'Usage: twin' in out


def test_without_a_command_it_says_where_you_stand(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert 'ROS 2' in out
    assert 'Next: ' in out


def test_it_names_the_newest_output_and_what_to_do_with_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(standing, 'running_nodes', list)
    for name in ('demo_2026-01-02_10-00-00', 'robot_2026-03-01_09-00-00', 'demo_2026-02-01_10-00-00'):
        (tmp_path / 'output' / name).mkdir(parents=True)
        (tmp_path / 'output' / name / 'README.txt').touch()
    (tmp_path / 'output' / 'demo_2027-01-01_00-00-00').mkdir()  # nothing was finished in it
    assert 'twin report output/robot_2026-03-01_09-00-00' in run(capsys)[1]


def test_version(capsys):
    assert run(capsys, '--version') == (0, standing.version() + '\n', '')


def test_our_errors_are_one_line_without_traceback(capsys):
    code, out, err = run(capsys, 'launch', 'no_such.launch.xml')
    assert code == 1
    assert out == ''
    assert err.startswith("twin: no launch file 'no_such.launch.xml'")
    assert err.count('\n') == 1


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match='no launch file'):
        cli.main(['--debug', 'launch', 'no_such.launch.xml'])


def test_unknown_command_is_a_usage_error(capsys):
    code, _, err = run(capsys, 'lanch')
    assert code == 2
    assert 'lanch' in err


def test_explain_knows_every_code_and_the_nearest(capsys):
    listed = run(capsys, 'explain')[1]
    assert all(code in listed for code in CODES)
    code, out, _ = run(capsys, 'explain', 'tool-lost')
    assert code == 0
    assert CODES['TOOL_LOST'].mend in out
    code, _, err = run(capsys, 'explain', 'TOOL_LSOT')
    assert code == 1
    assert "did you mean 'TOOL_LOST'" in err


def test_launch_prints_commands_and_arguments(capsys, tmp_path):
    file = tmp_path / 'x.launch.xml'
    file.write_text(
        '<launch><arg name="t" default="a b" description="Text."/><executable cmd="echo $(var t)"/></launch>'
    )
    code, out, _ = run(capsys, 'launch', str(file), '--print')
    assert (code, out.split('] ')[1].split(' ', 1)[1]) == (0, "'a b'\n")
    code, out, _ = run(capsys, 'launch', str(file), '--show-args')
    assert (code, out) == (0, "t: Text. (default: 'a b')\n")
    code, out, _ = run(capsys, 'launch', str(file), 't:=hello')
    assert code == 0
    assert '[echo-1] hello\n' in out
    assert run(capsys, 'launch', str(file), 'u:=1')[0] == 1
    assert run(capsys, 'launch')[0] == 0


def test_launch_stops_after_the_given_seconds(capsys, tmp_path):
    file = tmp_path / 'x.launch.xml'
    file.write_text('<launch><executable cmd="sleep 1000"/></launch>')
    assert run(capsys, 'launch', str(file), '--seconds', '0.2')[0] == 0


def test_a_failing_process_makes_the_launch_fail(capsys, tmp_path):
    file = tmp_path / 'x.launch.xml'
    file.write_text('<launch><executable cmd="sh -c \'echo why; exit 4\'" name="bad"/></launch>')
    code, _, err = run(capsys, 'launch', str(file))
    assert code == 1
    assert 'bad-1' in err
    assert 'exit code 4\n    why' in err


def test_play_refuses_a_wrong_remap(capsys):
    code, _, err = run(capsys, 'play', 'bag', '--remap', 'a=b')
    assert code == 1
    assert "'a=b': expected old:=new" in err


def test_running_nodes_are_seen():
    words = [sys.executable, '-c', 'import time; time.sleep(60)', 'pretended_node', '--ros-args']
    with subprocess.Popen(words) as child:
        end = time.monotonic() + 30.0
        while 'pretended_node' not in standing.running_nodes() and time.monotonic() < end:
            os.sched_yield()
        seen = standing.running_nodes()
        child.kill()
    assert 'pretended_node' in seen


class Stamp:
    def __init__(self, ns):
        self.sec, self.nanosec = divmod(ns, 1_000_000_000)


class Message:
    """A TFMessage without ROS: (parent, child, stamp [ns]) each."""

    def __init__(self, *links):
        self.transforms = [self._one(*link) for link in links]

    @staticmethod
    def _one(parent, child, stamp):
        header = type('Header', (), {'frame_id': parent, 'stamp': Stamp(stamp)})
        return type('Transform', (), {'header': header, 'child_frame_id': child})


def test_tree_of_frames_with_rate_and_age():
    tree = Tree()
    for i in range(11):
        tree.add(Message(('world', 'tracker', i * 10_000_000)), static=False, now_ns=i * 10_000_000 + 2_000_000)
    tree.add(Message(('tracker', 'camera', 0)), static=True, now_ns=5)
    tree.add(Message(('map', 'odom', 0)), static=True, now_ns=5)
    lines = tree.text().split('\n')
    assert lines == [
        'map',
        '  odom  (fixed)',
        'world',
        '  tracker  (100.0 Hz, age 2.0 ms, oldest 2.0 ms)',
        '    camera  (fixed)',
    ]
    assert tree.root('camera') == 'world'
    assert tree.root('nowhere') == 'nowhere'


def test_tree_survives_a_loop_and_tells_a_changed_parent():
    tree = Tree()
    tree.add(Message(('a', 'b', 0), ('b', 'a', 0)), static=False, now_ns=1)
    assert tree.root('a') in ('a', 'b')
    assert 'a loop' in tree.text()
    tree.add(Message(('c', 'b', 1)), static=False, now_ns=2)
    assert 'PARENT CHANGED 1 times' in tree.text()
