"""Both sites of a telesurgery on this machine, with the emulator between them: launched, watched, ended."""

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String

from twin_nodes.app.launch.environment import child_environment, complete_environment
from twin_nodes.app.launch.packages import find_share
from twin_nodes.app.launch.session import LaunchedProcess, LaunchSession
from twin_nodes.app.scenes import TELESURGERY, files_of
from twin_nodes.app.telesurgery_watch import KEEP, TelesurgeryWatch
from twin_nodes.core.errors import ConfigError
from twin_nodes.io.link_key import make_key
from twin_nodes.ros.event_loop import EventLoop, WaitSet
from twin_nodes.ros.prompt_process import favour_process
from twin_nodes.ros.qos import LATCHED, MEASUREMENT

START_S = 60.0
# the processes that a fault may hit, by name, with the namespace and the node of each
PROCESSES = {
    'console': '/leader/console',
    'leader_compensation': '/leader/compensation',
    'leader_bridge': '/leader/wan_bridge',
    'emulator': '/relay',
    'follower_bridge': '/follower/wan_bridge',
    'follower_compensation': '/follower/compensation',
    'robot': '/follower/simulated_robot',
}


def free_udp_ports(count: int) -> list[int]:
    """Return UDP ports on loopback that are free now."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(('127.0.0.1', 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


WITHOUT_ANATOMY = {'anatomy.guard': [], 'anatomy.enabled': False}


def telesurgery_configs(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the YAML text of each node by file name, with some values changed."""
    scene = {name: {**values, **changes.get(name, {})} for name, values in TELESURGERY.items()}
    return files_of(scene)


class TelesurgerySites:
    """A context manager that runs `telesurgery_demo.launch.xml` without view and anatomy, for benches and tests.

    Args:
        link: Scenario of the emulator.
        changes: Settings that differ from the scene's, by node.
        arguments: Launch arguments that differ.
        keep: How many messages of each kind are kept.
    """

    def __init__(
        self,
        link: str,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        arguments: Mapping[str, str] | None = None,
        *,
        keep: int = KEEP,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix='twin_sites_')
        folder = Path(self._folder.name)
        for name, text in telesurgery_configs(changes or {}).items():
            (folder / name).write_text(text, encoding='utf-8')
        make_key(folder / 'wan.key')
        leader_port, self.follower_port = free_udp_ports(2)
        given = {
            'config': str(folder), 'key': str(folder / 'wan.key'), 'link': link, 'leader_port': str(leader_port),
            'follower_port': str(self.follower_port), 'anatomy': 'false', 'mirror': 'false', 'view': 'false',
        } | dict(arguments or {})  # fmt: skip
        path = find_share('twin_nodes', child_environment(os.environ)) / 'launch' / 'telesurgery_demo.launch.xml'
        self.lines: list[str] = []
        self.launch = LaunchSession(path, given, on_line=lambda label, line: self.lines.append(f'[{label}] {line}'))
        self._keep = keep

    def __enter__(self) -> 'TelesurgerySites':
        complete_environment()  # DDS as at the sites: by itself it asks for what was lost after 3 s, not 0.05
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.watch = TelesurgeryWatch(keep=self._keep)
        self._cut = self.watch.create_publisher(Bool, '/relay/cut', LATCHED)
        self._resume: Publisher = self.watch.create_publisher(String, '/leader/PSM1/compensation/resume', MEASUREMENT)
        self._loop = EventLoop(self.watch) if EventLoop.serves(self.watch) else WaitSet(self.watch)
        favour_process()  # what judges must not be late itself
        self.launch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.launch.processes:
            self.signal(process, signal.SIGCONT)
        self.launch.stop()
        self._loop.shutdown()
        self.watch.destroy_node()
        rclpy.try_shutdown()
        self._folder.cleanup()

    def process(self, name: str) -> LaunchedProcess:
        """Return a process by its name in PROCESSES."""
        return next(one for one in self.launch.processes if one.plan.node == PROCESSES[name])

    @staticmethod
    def signal(process: LaunchedProcess, which: signal.Signals) -> int:
        """Send a signal to a process and return when that was [ns]."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, which)
        return time.time_ns()

    def cut(self, cut: bool) -> int:
        """Cut the emulated cable, or mend it, and return when that was [ns]."""
        self._cut.publish(Bool(data=cut))
        return time.time_ns()

    def ask(self, action: str) -> None:
        """Ask the follower for something, as the operator does."""
        self._resume.publish(String(data=action))

    def spin(self, seconds: float) -> None:
        """Listen for some time."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Listen until something holds, or the time is over; returns whether it holds."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            if not self.launch.alive():
                raise ConfigError('all nodes have ended:\n' + '\n'.join(self.lines[-20:]))
            self._loop.spin_once(timeout_sec=0.02)
        return True

    def connect(self, seconds: float = START_S) -> None:
        """Wait until the robot follows.

        Raises:
            ConfigError: it did not; with what the nodes said last.
        """
        if not self.spin_until(lambda: self.watch.mode == 'connected', seconds):
            tail = '\n'.join(self.lines[-20:])
            raise ConfigError(f'the robot did not follow within {seconds:g} s (mode {self.watch.mode!r}):\n{tail}')
