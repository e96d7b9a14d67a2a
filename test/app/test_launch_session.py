"""The supervisor with real processes: respawn, endings, prefixes, no orphans; every wait has a deadline."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from twin_nodes.app.launch import LaunchSession
from twin_nodes.app.launch import session as launch_session

DEADLINE_S = 30.0


class Lines:
    """Collects output; waits for a line with a deadline."""

    def __init__(self):
        self.lines = []
        self._changed = threading.Condition()

    def __call__(self, label, line):
        with self._changed:
            self.lines.append((label, line))
            self._changed.notify_all()

    def wait_for(self, text, count=1):
        def there():
            return sum(text in line for _, line in self.lines) >= count

        with self._changed:
            if not self._changed.wait_for(there, DEADLINE_S):
                pytest.fail(f'{text!r} was not seen {count} time(s) in {self.lines}')


@pytest.fixture
def script(tmp_path):
    """Write a Python program and return the `cmd` that runs it."""

    def write(name, text):
        file = tmp_path / name
        file.write_text(text)
        return f'{sys.executable} {file}'

    return write


@pytest.fixture
def session(tmp_path):
    made = []

    def make(body, **kwargs):
        file = tmp_path / 's.launch.xml'
        file.write_text(f'<launch>{body}</launch>')
        lines = Lines()
        made.append(LaunchSession(file, on_line=lines, **kwargs))
        return made[-1], lines

    yield make
    for item in made:
        item.stop()


WAITS = 'import time\nprint("ready", flush=True)\ntime.sleep(60)\n'
DEAF = 'import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n' + WAITS
TELLS = 'import os, time\nprint(os.getpid(), "pid", flush=True)\ntime.sleep(60)\n'


def test_output_is_labelled_and_a_clean_end_is_success(session, script):
    s, lines = session(
        f'<executable cmd="{script("a.py", "print(1)")}" name="one"/><executable cmd="echo two" name="b"/>'
    )
    s.start()
    assert s.wait(DEADLINE_S)
    assert ('one-1', '1') in lines.lines
    assert ('b-2', 'two') in lines.lines
    assert s.exit_code == 0
    assert not s.alive()
    assert s.report() == ''


def wait_long_before_harder_signals(monkeypatch):
    for name in ('TERMINATE_AFTER_S', 'KILL_AFTER_S', 'GIVE_UP_AFTER_S'):
        monkeypatch.setattr(launch_session, name, 10.0 * DEADLINE_S)


def test_stop_ends_even_deaf_processes(session, script):
    s, lines = session(
        f'<executable cmd="{script("w.py", WAITS)}" name="w"/><executable cmd="{script("d.py", DEAF)}" name="d"/>'
    )
    s.start()
    lines.wait_for('ready', 2)
    pids = [process.pid for process in s.processes]
    assert launch_session.KILL_AFTER_S < 1.0
    assert s.stop() == 0  # ended by us is no failure
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_second_request_kills_at_once(session, script, monkeypatch):
    wait_long_before_harder_signals(monkeypatch)
    s, lines = session(f'<executable cmd="{script("d.py", DEAF)}" name="d"/>')
    s.start()
    lines.wait_for('ready')
    s.request_stop()
    s.request_stop()
    assert s.wait(DEADLINE_S)


def test_failure_is_reported_with_its_last_lines(session, script):
    s, _ = session(f'<executable cmd="{script("f.py", "print(5); raise SystemExit(3)")}" name="bad"/>')
    s.start()
    assert s.wait(DEADLINE_S)
    assert s.exit_code == 1
    assert 'bad-1' in s.report()
    assert 'exit code 3' in s.report()
    assert s.report().endswith('\n    5')


def test_death_by_signal_is_named(session):
    s, _ = session("<executable cmd=\"sh -c 'kill -SEGV $$$$'\" name='crash'/>".replace('$$$$', '$$'))
    s.start()
    assert s.wait(DEADLINE_S)
    assert 'was ended by SIGSEGV' in s.report()


def test_respawn_until_the_retries_are_used_up(session):
    s, lines = session(
        '<executable cmd="sh -c \'echo once; exit 2\'" name="r" respawn="true" respawn_delay="0.05" '
        'respawn_max_retries="2"/>'
    )
    begun = time.monotonic()
    s.start()
    assert s.wait(DEADLINE_S)
    assert time.monotonic() - begun >= 0.1
    assert sum(line == 'once' for _, line in lines.lines) == 3
    assert s.processes[0].restarts == 2
    assert s.exit_code == 1


def test_stop_ends_a_pause_before_respawn(session):
    s, lines = session('<executable cmd="sh -c \'exit 2\'" name="r" respawn="true" respawn_delay="50"/>')
    s.start()
    lines.wait_for('starts again')
    assert s.alive()
    assert s.stop() == 0
    assert not s.alive()


def test_end_of_a_required_process_ends_all(session, script):
    s, lines = session(
        f'<executable cmd="{script("w.py", WAITS)}" name="w"/><executable cmd="true" name="must" on_exit="shutdown"/>'
    )
    s.start()
    assert s.wait(DEADLINE_S)
    lines.wait_for('it was required')
    assert s.exit_code == 0


def test_program_that_cannot_start_is_a_failure(session, tmp_path):
    broken = tmp_path / 'broken'
    broken.write_text('#!/no/such/interpreter\n')
    broken.chmod(0o755)
    s, _ = session(f'<executable cmd="{broken}" name="x"/>')
    s.start()
    assert s.wait(DEADLINE_S)
    assert s.exit_code == 1
    assert 'could not be started' in s.report()


def test_long_and_binary_output_passes(session, script):
    text = 'import sys\nsys.stdout.buffer.write(b"x" * 200_000 + b"\\xff\\n")\n'
    s, lines = session(f'<executable cmd="{script("b.py", text)}" name="b"/>')
    s.start()
    assert s.wait(DEADLINE_S)
    assert sum(len(line) for label, line in lines.lines if label == 'b-1') == 200_001


def test_children_of_a_process_end_with_it(session, script):
    text = (
        'import subprocess, sys\nc = subprocess.Popen(["sleep", "60"])\nprint("child", c.pid, flush=True)\nc.wait()\n'
    )
    s, lines = session(f'<executable cmd="{script("p.py", text)}" name="p"/>')
    s.start()
    lines.wait_for('child')
    pid = next(int(line.split()[1]) for _, line in lines.lines if line.startswith('child'))
    s.stop()
    assert _gone(pid)


def _gone(pid):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        os.sched_yield()
    return False


@pytest.fixture
def supervisor(tmp_path, script):
    """Run `twin launch` in a process of its own with two children; give it and their pids."""
    body = ''.join(f'<executable cmd="{script(f"{name}.py", TELLS)}" name="{name}"/>' for name in ('a', 'b'))
    file = tmp_path / 'two.launch.xml'
    file.write_text(f'<launch>{body}</launch>')
    process = subprocess.Popen(
        [sys.executable, '-m', 'twin_nodes', 'launch', str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    pids = []
    watchdog = threading.Timer(DEADLINE_S, process.kill)
    watchdog.start()
    for line in process.stdout:
        if line.endswith('pid\n') and line.startswith(('[a-1]', '[b-2]')):
            pids.append(int(line.split()[1]))
        if len(pids) == 2:
            break
    yield process, pids
    watchdog.cancel()
    if process.poll() is None:
        process.kill()
    process.stdout.close()
    process.wait()


def test_ctrl_c_ends_all(supervisor):
    process, pids = supervisor
    assert len(pids) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    assert all(_gone(pid) for pid in pids)


def test_no_orphan_survives_a_killed_supervisor(supervisor):
    process, pids = supervisor
    assert len(pids) == 2
    process.kill()
    process.wait(DEADLINE_S)
    assert all(_gone(pid) for pid in pids)


ECHO = """
import rclpy
from rclpy.node import Node
rclpy.init()
node = Node('unnamed', automatically_declare_parameters_from_overrides=True)
topic = node.resolve_topic_name('in')
values = {n: node.get_parameter(n).value for n in ('f', 'i', 's', 'flag', 'lst', 'grp.k', 'file_value')}
def say_once():
    timer.cancel()
    print('NODE', node.get_fully_qualified_name(), topic, values, flush=True)
timer = node.create_timer(0.01, say_once)  # once it spins: what ends it before is another matter
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
print('bye', flush=True)
"""


def test_a_real_node_gets_name_namespace_parameters_and_remaps(session, tmp_path, monkeypatch):
    wait_long_before_harder_signals(monkeypatch)  # SIGINT is to be enough
    program = tmp_path / 'lib' / 'demo_pkg' / 'echo'
    program.parent.mkdir(parents=True)
    program.write_text(f'#!{sys.executable}\n{ECHO}')
    program.chmod(0o755)
    (tmp_path / 'p.yaml').write_text('/or1/room/echo:\n  ros__parameters:\n    file_value: 4\n    i: 1\n')
    body = """<group><push-ros-namespace namespace="or1"/>
      <node pkg="demo_pkg" exec="echo" name="echo" namespace="room">
        <param from="$(dirname)/p.yaml"/>
        <param name="f" value="1.0"/><param name="i" value="2"/><param name="s" value="10" type="str"/>
        <param name="flag" value="true"/><param name="lst" value="[1.0, 2.0]"/>
        <param name="grp"><param name="k" value="v"/></param>
        <remap from="in" to="/else/where"/>
      </node></group>"""
    s, lines = session(body, env={**os.environ, 'AMENT_PREFIX_PATH': f'{tmp_path}:{sys.prefix}'})
    s.start()
    lines.wait_for('NODE')
    said = next(line for _, line in lines.lines if line.startswith('NODE'))
    assert said.startswith('NODE /or1/room/echo /else/where ')
    values = eval(said[said.index('{') :], {'array': lambda kind, items: items})
    assert values == {'f': 1.0, 'i': 2, 's': '10', 'flag': True, 'lst': [1.0, 2.0], 'grp.k': 'v', 'file_value': 4}
    assert s.stop() == 0
    assert any(line == 'bye' for _, line in lines.lines), lines.lines
