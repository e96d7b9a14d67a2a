"""run_node in processes of its own: one line for a wrong configuration, a clean end for every signal."""

import os
import signal
import subprocess
import sys
import threading

import pytest

BOILER_PLATE = """
import sys
from rclpy.node import Node
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.ros.health import Health
from twin_nodes.ros.run import run_node

class Sample(Node):
    def __init__(self, **kwargs):
        super().__init__('sample', **kwargs)
        {start}
        print('ready', flush=True)

    def fail(self):
        {fail}

sys.exit(run_node(Sample))
"""


class Process:
    """A process whose lines are read in a thread, so that waiting has a deadline."""

    def __init__(self, *command):
        self.lines, self._changed = [], threading.Condition()
        self.child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )
        self._readers = [threading.Thread(target=self._read, args=(stream,)) for stream in
                         (self.child.stdout, self.child.stderr)]  # fmt: skip
        for reader in self._readers:
            reader.start()

    def _read(self, stream):
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip('\n'))
                self._changed.notify_all()

    def wait_for(self, text, count=1, deadline_s=30.0):
        with self._changed:
            found = self._changed.wait_for(lambda: sum(text in line for line in self.lines) >= count, deadline_s)
        assert found, f'{text!r} never said: {self.lines}'

    def end(self, deadline_s=30.0):
        """Wait for the end; returns the exit status."""
        status = self.child.wait(deadline_s)
        for reader in self._readers:
            reader.join(5.0)
        return status

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
        self.end()


@pytest.fixture
def start():
    running = []

    def run(start_line='pass', fail_line='pass'):
        code = BOILER_PLATE.format(start=start_line, fail=fail_line)
        running.append(Process(sys.executable, '-c', code))
        return running[-1]

    yield run
    for process in running:
        process.close()


def test_a_config_error_is_one_line_and_exit_1(start):
    process = start("raise ConfigError('tracker.yaml: rate=7 Hz is above its maximum 5 Hz')")
    assert process.end() == 1
    assert process.lines == ['configuration: tracker.yaml: rate=7 Hz is above its maximum 5 Hz']


def test_an_input_error_at_the_start_is_one_line_and_exit_1(start):
    process = start("raise InputError('mesh.ply has NaN')")
    assert process.end() == 1
    assert process.lines == ['error: mesh.ply has NaN']


def test_a_name_that_ros_refuses_is_a_configuration_error(start):
    process = start("from std_msgs.msg import String; self.create_publisher(String, 'my drill/measured_cp', 1)")
    assert process.end() == 1
    assert len(process.lines) == 1, process.lines
    assert process.lines[0].startswith('configuration: ') and "'my drill/measured_cp'" in process.lines[0]


def test_a_failing_callback_is_counted_and_the_node_lives(start):
    process = start(
        'self.health = Health(self); self.calls = 0; self.create_timer(0.02, self.fail)',
        "self.calls += 1; print('call', self.calls, self.health.counters.get('CALLBACK_FAILED'), flush=True); 1 / 0",
    )
    process.wait_for('call 5 4')
    assert any('CALLBACK_FAILED: ZeroDivisionError' in line for line in process.lines)
    process.child.send_signal(signal.SIGINT)
    assert process.end() == 0


PROMPT = "self.config = type('Config', (), {'realtime': True})()"


def test_a_prompt_node_lives_on_and_serves_what_came_beside_a_failure(start):
    """The events of rclpy hold several messages each: one that fails must not leave the others in the queue."""
    process = start(
        f'{PROMPT}; self.health = Health(self); self.calls = 0; from std_msgs.msg import Int64; self.kind = Int64; '
        "self.out = self.create_publisher(Int64, 'x', 10); self.create_subscription(Int64, 'x', self.take, 10); "
        'self.create_timer(0.02, self.fail)',
        'self.out.publish(self.kind(data=self.calls)); self.out.publish(self.kind(data=self.calls + 1)); '
        'self.calls += 2\n\n    def take(self, message):\n        '
        "print('took', message.data, self.health.counters.get('CALLBACK_FAILED'), flush=True)\n        "
        'if message.data % 4 == 0: 1 / 0',
    )
    process.wait_for('took 21')
    took = [line.split()[1:] for line in process.lines if line.startswith('took')]
    numbers = [int(number) for number, _ in took]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    failed = sum(number % 4 == 0 for number in numbers[:-1])
    assert int(took[-1][1]) == failed
    assert any('CALLBACK_FAILED: ZeroDivisionError' in line for line in process.lines)


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_prompt_node_as_well(start, sent):
    process = start(f'{PROMPT}; self.create_timer(0.005, self.fail)')
    process.wait_for('scheduled')
    process.child.send_signal(sent)
    assert process.end() == 0
    assert len(process.lines) == 2, process.lines


def test_bad_input_that_escapes_a_callback_does_not_end_the_node(start):
    """A ConfigError from a message cannot be mended by a restart: what came over the wire must not stop a node."""
    process = start(
        'self.health = Health(self); self.calls = 0; self.create_timer(0.02, self.fail)',
        "self.calls += 1; print('call', self.calls, flush=True); raise ConfigError('two structures of one name')",
    )
    process.wait_for('call 3')
    assert process.child.poll() is None


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('node', ['', PROMPT])
def test_a_signal_before_the_node_is_made_ends_it_with_0(start, sent, node):
    process = start(f'import os; os.kill(os.getpid(), {int(sent)}); {node or "pass"}')
    assert process.end() == 0
    assert not any('Traceback' in line for line in process.lines), process.lines


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(start, sent):
    process = start()
    process.wait_for('ready')
    process.child.send_signal(sent)
    assert process.end() == 0
    assert process.lines == ['ready']
