"""`twin igtl live`: what the twin says now, as an OpenIGTLink server that a stock 3D Slicer connects to.

`<Tool>ToTracker` is the filtered pose of a marker body in the tracker, `TipToRas` the guided tip in the image, in the
RAS axes of Slicer. Poses of one instant go out together; a tool that falls silent is left out, never repeated.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.openigtlink.server import OpenIGTLinkServer
from twin_nodes.ros.conversions import pose_from
from twin_nodes.ros.qos import MEASUREMENT_SUBSCRIPTION

TIP = 'TipToRas'
RAS_T_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PERIOD_S = 0.05  # how often silence is looked for, and how long a frame waits for its last pose
SILENT_NS = 300_000_000
JUMP_NS = 1_000_000_000  # time that runs back further begins anew, as when a bag loops
ENDING = '/filtered_cp'

Send = Callable[[int, Mapping[str, Array | None]], None]


class LiveFrames:
    """Gathers the poses of one instant and says when a name has fallen silent; told the time.

    Args:
        send: Gets stamp and poses of a frame; None for a name that has fallen silent.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._heard_ns: dict[str, int] = {}
        self._groups: dict[int, dict[str, Array]] = {}
        self._begun_ns: dict[int, int] = {}
        self._sent_ns = 0

    def take(self, name: str, stamp_ns: int, pose: Array, now_ns: int) -> None:
        """Take in a pose; the frame goes out when all names that are heard are in it."""
        self._heard_ns[name] = now_ns
        if stamp_ns < self._sent_ns - JUMP_NS:
            self._groups.clear()
            self._begun_ns.clear()
            self._sent_ns = 0
        if stamp_ns <= self._sent_ns:
            return  # its frame went out without it: an older one now would look like time going back
        self._groups.setdefault(stamp_ns, {})[name] = pose
        self._begun_ns.setdefault(stamp_ns, now_ns)
        if self._groups[stamp_ns].keys() >= self._heard_ns.keys():
            self._flush(stamp_ns)

    def look(self, now_ns: int) -> None:
        """Send what has waited long enough, and say which names are silent."""
        waited = [stamp for stamp, begun in self._begun_ns.items() if now_ns - begun >= PERIOD_S * NANOSECONDS]
        if waited:
            self._flush(max(waited))
        silent = [name for name, heard in self._heard_ns.items() if now_ns - heard > SILENT_NS]
        for name in silent:
            del self._heard_ns[name]
        if silent and self._sent_ns:
            self._send(self._sent_ns, dict.fromkeys(silent))

    def _flush(self, newest_ns: int) -> None:
        for stamp_ns in sorted(stamp for stamp in self._groups if stamp <= newest_ns):
            self._sent_ns = max(self._sent_ns, stamp_ns)
            del self._begun_ns[stamp_ns]
            self._send(stamp_ns, self._groups.pop(stamp_ns))


class LiveNode(Node):
    """Listens to the poses of the twin, of all tools or of those that are named."""

    def __init__(self, frames: LiveFrames, tools: tuple[str, ...], **kwargs: object) -> None:
        super().__init__('igtl_live', start_parameter_services=False, **kwargs)
        self._frames = frames
        self._all = not tools
        self._listening: set[str] = set()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        for tool in tools:
            self._listen(f'{tool}{ENDING}', f'{tool[:1].upper()}{tool[1:]}ToTracker')
        self._listen('guidance/tip', TIP)
        self.create_timer(PERIOD_S, self._on_timer, clock=self._steady)

    def _listen(self, topic: str, name: str) -> None:
        if name not in self._listening:
            self._listening.add(name)
            callback = partial(self._on_pose, name)
            self.create_subscription(PoseWithCovarianceStamped, topic, callback, MEASUREMENT_SUBSCRIPTION)

    def _on_pose(self, name: str, message: PoseWithCovarianceStamped) -> None:
        try:
            record = pose_from(message, frame=None)
        except InputError as error:
            self.get_logger().warning(f'{name}: {error}', throttle_duration_sec=5.0)
            return
        pose = RAS_T_LPS @ record.pose if name == TIP else record.pose
        self._frames.take(name, record.stamp_ns, pose, self._steady.now().nanoseconds)

    def _on_timer(self) -> None:
        self._frames.look(self._steady.now().nanoseconds)
        if self._all:
            for topic, _ in self.get_topic_names_and_types():
                if topic.endswith(ENDING):
                    tool = topic.removesuffix(ENDING).rsplit('/', 1)[-1]
                    self._listen(topic, f'{tool[:1].upper()}{tool[1:]}ToTracker')


class LoopServer:
    """An OpenIGTLink server in a thread and loop of its own; a context manager.

    Args:
        host: Address to listen on.
        port: TCP port; 0 for any.
        version: OpenIGTLink header version, 1 or 2.

    Raises:
        ConfigError: for a port that cannot be listened on.
    """

    def __init__(self, host: str, port: int, version: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = OpenIGTLinkServer(version=version)
        try:
            self.port = asyncio.run_coroutine_threadsafe(self._server.start(host, port), self._loop).result()
        except OSError as error:
            self._stop_loop()
            raise ConfigError(f'{host}:{port} cannot be listened on: {error.strerror}; give another --port') from None

    def send(self, stamp_ns: int, poses: Mapping[str, Array | None]) -> None:
        """Send a frame to all clients, from any thread."""
        self._loop.call_soon_threadsafe(self._server.send_frame, stamp_ns, poses)

    def __enter__(self) -> 'LoopServer':
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def live(tools: tuple[str, ...] = (), *, host: str = '127.0.0.1', port: int = 18944, version: int = 1) -> int:
    """Serve until Ctrl-C.

    Args:
        tools: Whose poses are sent; all that are published when empty.
        host: Address to listen on.
        port: TCP port; 0 for any.
        version: OpenIGTLink header version, 1 or 2; 2 says that a tool is lost.

    Raises:
        ConfigError: for a port that cannot be listened on.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    with LoopServer(host, port, version) as server:
        node = LiveNode(LiveFrames(server.send), tools)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        print(f'OpenIGTLink on {host}:{server.port}: {", ".join(tools) or "all tools"} and {TIP}', file=sys.stderr)
        try:
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            pass
        executor.shutdown()
        node.destroy_node()
    rclpy.try_shutdown()
    return 0
