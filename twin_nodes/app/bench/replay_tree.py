"""One replay through the real nodes: a process per node, a recorder, and a player, in a DDS domain of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import TimeReference

from twin_nodes.app.bench.domain import take_domain
from twin_nodes.app.launch.environment import child_environment, complete_environment
from twin_nodes.app.launch.packages import find_share
from twin_nodes.app.launch.session import LaunchSession
from twin_nodes.app.play import PlayConfig, Player
from twin_nodes.app.scenes import PATIENT, ROOM, TOOL, files_of
from twin_nodes.core.errors import TwinError
from twin_nodes.core.stamps import ALL_NS
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.qos import DIAGNOSTICS, REPLAY_LATCHED, REPLAY_SUBSCRIPTION

TOOLS = (PATIENT, TOOL)
STRUCTURES = ('nerve', 'artery')
TOPICS = (
    *(f'/{tool}/{kind}_cp' for tool in TOOLS for kind in ('measured', 'filtered')),
    '/tf',
    '/tf_static',
    f'/calibration/{TOOL}',
    '/registration',
    '/anatomy/surface',
    '/guidance/clearance',
    '/guidance/tip',
    *(f'/guidance/{name}/distance' for name in STRUCTURES),
    '/guidance/events',
)
MEASURED_LISTENERS = 2  # recorder, this one
FILTERED_LISTENERS = 5  # calibration, registration, anatomy, guidance, recorder
READY_S = 60.0
QUIET_S = 5.0  # more than the guidance waits, once the anatomy has come to its end, before it says its last
DRAIN_S = 60.0
END_S = 5.0


class ReplayTree:
    """The nodes of the room fed from a bag, and a recorder of what they say; a context manager that ends all of it.

    Args:
        folder: Where configuration, log and the recorded bag `out` go; made here.
        cache: Folder of the distance grids.

    Raises:
        TwinError: The nodes were not ready in time.
    """

    def __init__(self, folder: Path, *, cache: Path) -> None:
        self.folder = folder
        self.bag = folder / 'out'
        (folder / 'config').mkdir(parents=True)
        scene = {**ROOM, 'guidance': {**ROOM['guidance'], 'cache_dir': str(cache)}}
        for name, text in files_of(scene).items():
            (folder / 'config' / name).write_text(text, encoding='utf-8')
        self._domain, self._domain_lock = take_domain()
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(self._domain), 'ROS_LOG_DIR': str(folder / 'log')}
        self._environment = child_environment(environment)
        complete_environment()  # the player is in this process
        launch_file = find_share('twin_nodes', self._environment) / 'launch' / 'replay.launch.xml'
        arguments = {'config': str(folder / 'config')}
        self._log = (folder / 'log.txt').open('w', encoding='utf-8')
        self._launch = LaunchSession(launch_file, arguments, env=self._environment, on_line=self._on_line)
        self._checks: dict[str, dict[str, str]] = {}

    def _on_line(self, label: str, line: str) -> None:
        self._log.write(f'[{label}] {line}\n')
        self._log.flush()

    def __enter__(self) -> 'ReplayTree':
        self._context = Context()
        rclpy.init(
            context=self._context, args=[], domain_id=self._domain, signal_handler_options=SignalHandlerOptions.NO
        )
        self._node = Node('replay', context=self._context, start_parameter_services=False, enable_rosout=False)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, DIAGNOSTICS)
        self._passed_on: dict[str, int] = {}
        for tool in TOOLS:
            self._node.create_subscription(
                PoseStamped, f'/{tool}/measured_cp', partial(self._on_measured, tool), REPLAY_SUBSCRIPTION
            )
        self._anatomy_worked = self._anatomy_ended = False
        every_step = REPLAY_LATCHED  # the newest alone does not tell whether it is of this pass
        self._node.create_subscription(TimeReference, '/anatomy/removed/progress', self._on_progress, every_step)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        command = [sys.executable, '-m', 'twin_nodes', 'record', '-q', '-o', str(self.bag), *TOPICS]
        self._recorder = subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self._launch.start()
        try:
            self._spin(self._is_ready, READY_S, 'the nodes')
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launch.stop()
        self._recorder.send_signal(signal.SIGINT)
        try:
            self._recorder.wait(END_S)
        except subprocess.TimeoutExpired:
            self._recorder.kill()
            self._recorder.wait()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._log.close()
        if self._domain_lock is not None:
            self._domain_lock.close()

    def play(self, bag: Path, *, rate: float, passes: int = 1) -> None:
        """Play the poses of a bag through the nodes, and wait until nothing more comes out.

        Args:
            bag: With `/<tool>/measured_cp` of both tools.
            rate: Speed.
            passes: How often; the clock jumps back between them.
        """
        names = [f'/{tool}/measured_cp' for tool in TOOLS]
        config = PlayConfig(
            rate=rate, topics=names, remap={name: f'/input{name}' for name in names}, wait_for_subscribers_s=READY_S
        )
        stop = threading.Event()
        with BagReader(bag) as reader:
            player = Player(reader, self._node, config)
            last = {tool: _last_stamp_ns(reader, name) for tool, name in zip(TOOLS, names, strict=True)}
            missing = player.wait_for_subscribers(stop)
            if missing:
                raise TwinError(f'nobody takes in {", ".join(missing)}: see {self.folder / "log.txt"}')
            for index in range(passes):
                if index:
                    player.rewind(stop)
                self._passed_on.clear()
                self._anatomy_worked = False
                player.play(stop)
                player.wait_until_delivered()
                self._spin(lambda: self._passed_on == last, DRAIN_S, 'the last poses from the tracker')
                self._spin(lambda: self._anatomy_worked and self._anatomy_ended, DRAIN_S, 'the end of the anatomy')
                self._wait_until_quiet()

    def _on_measured(self, tool: str, message: PoseStamped) -> None:
        self._passed_on[tool] = stamp_to_ns(message.header.stamp)

    def _on_progress(self, message: TimeReference) -> None:
        done_ns = stamp_to_ns(message.header.stamp)
        self._anatomy_ended = done_ns == ALL_NS
        self._anatomy_worked |= 0 < done_ns < ALL_NS

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._checks[status.name] = {item.key: item.value for item in status.values}

    def _is_ready(self) -> bool:
        """Whether the anatomy is loaded and each pose reaches all its subscribers.

        The match that counts is the one that the tracker itself sees: what it sends before is lost to that subscriber.
        """
        if self._launch.culprits:
            raise TwinError(self._launch.report())
        if self._recorder.poll() is not None:
            raise TwinError(f'the recorder has ended: see {self.folder / "log.txt"}')
        listeners = [self._checks.get(f'tracker: tool {tool}', {}).get('listeners', '0 0').split() for tool in TOOLS]
        matched = all(
            int(measured) >= MEASURED_LISTENERS and int(filtered) >= FILTERED_LISTENERS
            for measured, filtered in listeners
        )
        anatomy = self._checks.get('guidance: anatomy', {}).get('code') == 'OK'
        made = all(self._node.count_subscribers(topic) for topic in TOPICS)
        return matched and anatomy and made

    def _wait_until_quiet(self) -> None:
        """Wait until the recorder has written nothing for QUIET_S."""
        size, since = -1, time.monotonic()

        def quiet() -> bool:
            nonlocal size, since
            now, found = time.monotonic(), sum(path.stat().st_size for path in self.bag.glob('*.mcap'))
            if found != size:
                size, since = found, now
            return now - since > QUIET_S

        self._spin(quiet, DRAIN_S, 'the end of the output')

    def _spin(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise TwinError(f'{what} did not come within {seconds:g} s: see {self.folder / "log.txt"}')
            self._executor.spin_once(timeout_sec=0.1)


def _last_stamp_ns(reader: BagReader, topic: str) -> int:
    """Return the stamp of the last pose of a topic."""
    *_, last = reader.messages({topic})
    return stamp_to_ns(reader.decode(last).header.stamp)
