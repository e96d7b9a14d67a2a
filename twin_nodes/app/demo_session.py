"""What every demo does: a dated folder, the exact configuration, the launch, the bag, and a clean end."""

import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from twin_nodes.app.launch.environment import child_environment
from twin_nodes.app.launch.packages import find_share
from twin_nodes.app.launch.session import LaunchSession
from twin_nodes.app.observer import Observations, Observer
from twin_nodes.core.errors import ConfigError
from twin_nodes.ros.event_loop import EventLoop, WaitSet

BAG_END_S = 5.0
LOOK_S = 0.05


def new_folder(out: Path | None, name: str) -> Path:
    """Make the folder for what a demo writes."""
    folder = out or Path('output') / f'{name}_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}'
    (folder / 'config').mkdir(parents=True, exist_ok=True)
    return folder


def view_port(port: int) -> int:
    """Return the port for the live view; 0 takes a free one.

    Raises:
        ConfigError: when the port is taken.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            raise ConfigError(f'port {port} on 127.0.0.1 is taken; type `twin demo --port 0` for a free one') from None
    return port


def free_port() -> int:
    """Return a TCP port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class DemoSession:
    """A launched scene with its observer and its bag; a context manager that ends all of it.

    Args:
        folder: Where everything is written.
        launch_file: Name of the launch file in launch/.
        arguments: Launch arguments besides `config`.
        configs: YAML text by file name, written into the folder.
        tools: Names of the tools.
        tool: The guided one.
        bag: Whether to record a bag.
        view_url: Address of the live view, said when the page is served; '' for no view.
        quiet: Whether to keep silent about what the nodes say.
    """

    def __init__(
        self,
        folder: Path,
        launch_file: str,
        arguments: Mapping[str, str],
        configs: Mapping[str, str],
        *,
        tools: tuple[str, ...],
        tool: str,
        bag: bool,
        view_url: str = '',
        quiet: bool = False,
    ) -> None:
        self._view_url = view_url
        self._quiet = quiet
        self._said = 0
        self._next_look = 0.0
        self._started = time.monotonic()
        self.folder = folder
        for name, text in configs.items():
            (folder / 'config' / name).write_text(text, encoding='utf-8')
        self._log = (folder / 'log.txt').open('w', encoding='utf-8')
        arguments = {'config': str((folder / 'config').resolve()), **arguments}
        path = find_share('twin_nodes', child_environment(os.environ)) / 'launch' / launch_file
        self.launch = LaunchSession(path, arguments, on_line=self._on_line)
        self._tools, self._tool = tools, tool
        self._with_bag = bag
        self._bag: subprocess.Popen[bytes] | None = None
        self._stop = False

    def _on_line(self, label: str, line: str) -> None:
        self._log.write(f'[{label}] {line}\n')
        self._log.flush()

    def __enter__(self) -> 'DemoSession':
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.observer = Observer(self._tools, self._tool)
        self._loop = EventLoop(self.observer) if EventLoop.serves(self.observer) else WaitSet(self.observer)
        if self._with_bag:
            command = [sys.executable, '-m', 'twin_nodes', 'record', '-q', '-o', str(self.folder / 'bag')]
            self._bag = subprocess.Popen(command, env=child_environment(os.environ), start_new_session=True)
        self.launch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bag is not None:
            self._bag.send_signal(signal.SIGINT)
        self.launch.stop()
        if self._bag is not None:
            try:
                self._bag.wait(BAG_END_S)
            except subprocess.TimeoutExpired:
                self._bag.kill()
        self._loop.shutdown()
        self.observer.destroy_node()
        rclpy.try_shutdown()
        self._log.close()

    def join(self, node: Node) -> None:
        """Let another node of this process listen too; the caller destroys it."""
        self._loop.add_node(node)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop = True

    @property
    def seen(self) -> Observations:
        """What the observer has heard."""
        return self.observer.seen

    def spin_until(self, done: Callable[[], bool], *, seconds: float | None) -> None:
        """Listen until `done`, the time [s] is over, Ctrl-C, or all nodes have ended."""
        end = None if seconds is None else time.monotonic() + seconds
        look = 0.0
        while not self._stop:
            if time.monotonic() >= look:  # not after each of thousands of messages a second
                look = time.monotonic() + LOOK_S
                if done() or (end is not None and time.monotonic() > end) or not self.launch.alive():
                    return
            try:
                self._loop.spin_once(timeout_sec=LOOK_S)
            except ExternalShutdownException:
                return
            self._say()
            self._refuse_company()

    def _refuse_company(self) -> None:
        """Refuse a second twin in the same ROS domain: its poses would mix with ours.

        Raises:
            ConfigError: naming the topic and the mend.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + 1.0
        topic = f'{self._tool}/filtered_cp'
        if self.observer.count_publishers(topic) > 1:
            domain = os.environ.get('ROS_DOMAIN_ID', '0')
            raise ConfigError(
                f'another node publishes {topic} in ROS domain {domain}: stop that twin, or type '
                f'`ROS_DOMAIN_ID={(int(domain) + 1) % 100} twin demo`'
            )

    def _say(self) -> None:
        """Print what changed since the last time, one line each."""
        changes = self.seen.changes[self._said :]
        self._said += len(changes)
        for change in changes:
            if self._view_url and change.name == 'view: page' and change.code == 'OK':
                print(self._view_url, flush=True, file=sys.stderr if self._quiet else sys.stdout)
            if not self._quiet and not change.name.endswith(': counters'):
                code = '' if change.code == 'OK' else f' [{change.code}]'
                print(f'{time.monotonic() - self._started:6.1f} s  {change.name}: {change.message}{code}', flush=True)

    def listened_to(self, tools: tuple[str, ...], listeners: int) -> bool:
        """Whether the poses of some tool have this many subscribers besides the observer."""
        return max(self.observer.count_subscribers(f'{tool}/filtered_cp') for tool in tools) > listeners

    def failures(self) -> list[str]:
        """Name the nodes that ended by an error, with their last lines."""
        return [
            f'{process.plan.label} {process.ending}\n    ' + '\n    '.join(process.tail)
            for process in self.launch.processes
            if process.failed and process.started and not process.running and process.returncode not in (-2, -15)
        ]
