"""`twin view`: the page of a bag with a scrubber, or of the twin that runs now."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

from twin_nodes.app.config_files import load
from twin_nodes.app.launch.environment import complete_environment
from twin_nodes.app.record import ended_by_signals
from twin_nodes.app.view.bag_feed import BagFeed
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.foreign import foreign_tools
from twin_nodes.app.view.page import ViserView
from twin_nodes.app.view.playback import Playback
from twin_nodes.app.view.records import Event
from twin_nodes.app.view.replay_panel import HEIGHT, ReplayPanel
from twin_nodes.app.view.timeline import Extent
from twin_nodes.core.config import build_config
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.bags.reader import BagReader

CONFIG_FILE = 'view.yaml'
DISCOVERY_S = 5.0
SETTLE_S = 1.0
_SAMPLE = '/filtered_cp'


def view_bag(
    source: Path,
    *,
    port: int = 8080,
    rate: float = 1.0,
    start_s: float = 0.0,
    paused: bool = False,
    config: Path | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Serve the page of a bag until Ctrl-C.

    Args:
        source: A bag, or the folder of a demo.
        port: TCP port on 127.0.0.1; 0 takes the first free one.
        rate: Speed relative to the recording.
        start_s: Where to begin [s].
        paused: Whether to begin paused.
        config: A view.yaml; the one beside the bag, or what the bag's topics say, when None.
        stop: Ends it when set.

    Raises:
        InputError: nothing in the bag can be shown.
        ConfigError: the port is taken, or a setting is wrong.
    """
    complete_environment()
    bag = source / 'bag' if (source / 'bag').is_dir() else source
    with BagReader(bag) as reader:
        page = BagPage(reader, config_of(reader, bag, config, port=port), rate=rate, start_s=start_s, paused=paused)
        print(f'{page.url}  {bag}: {page.playback.duration_s:.1f} s, {reader.message_count} messages', flush=True)
        stop = stop or threading.Event()
        try:
            with ended_by_signals(stop):
                page.run(stop)
        finally:
            page.stop()
    return 0


def view_live(*, port: int = 8080, config: Path | None = None, namespace: str = '/') -> int:
    """Serve the page of the twin that runs now in this ROS domain, until Ctrl-C.

    Args:
        port: TCP port on 127.0.0.1; 0 takes the first free one.
        config: A view.yaml, or the folder of one; what the topics say when None.
        namespace: Namespace of the twin.

    Raises:
        ConfigError: nothing that can be shown is published.
    """
    complete_environment()
    from twin_nodes.nodes.view_node import ViewNode
    from twin_nodes.ros.run import run_node

    arguments = ['--ros-args', '-r', f'__ns:={namespace}', '-p', f'port:={port}']
    if config is not None:
        file = config / CONFIG_FILE if config.is_dir() else config
        if not file.is_file():
            raise ConfigError(f'{file}: there is no such file')
        return run_node(ViewNode, [*arguments[:3], '--params-file', str(file), *arguments[3:]])
    topics = _live_topics()
    tools = guess_tools(topics)
    if not tools:
        raise ConfigError(
            f'nothing publishes <tool>{_SAMPLE} in ROS domain {os.environ.get("ROS_DOMAIN_ID", "0")}: start a twin '
            '(`twin demo`, `twin launch twin.launch.xml`), or name a bag: `twin view BAG`'
        )
    models = [name for name in sorted(topics) if name.endswith('/model')]
    arguments += ['-p', f'tools:={tools}'] + (['-p', f'models:={models}', '-p', 'tracking:=false'] if models else [])
    return run_node(ViewNode, arguments)


def _live_topics() -> set[str]:
    """Names of the topics that are published, once one of a tool is among them, or the wait is over."""
    import rclpy
    from rclpy.context import Context
    from rclpy.node import Node

    context = Context()
    rclpy.init(context=context, args=[])
    node = Node('twin_view_probe', context=context, start_parameter_services=False, enable_rosout=False)
    end, found, settled = time.monotonic() + DISCOVERY_S, set[str](), 0.0
    try:
        while time.monotonic() < end:
            found = {name for name, _ in node.get_topic_names_and_types() if node.count_publishers(name)}
            if guess_tools(found):
                settled = settled or time.monotonic() + SETTLE_S
                if time.monotonic() > settled:
                    break
            threading.Event().wait(0.05)
        return found
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


class BagPage:
    """The page of a bag: feed, playback, scrubber.

    Args:
        reader: The bag.
        config: What is shown, and where it is served.
        rate: Speed relative to the recording.
        start_s: Where to begin [s].
        paused: Whether to begin paused.
    """

    def __init__(
        self, reader: BagReader, config: ViewConfig, *, rate: float = 1.0, start_s: float = 0.0, paused: bool = False
    ) -> None:
        self.playback = Playback(reader.start_ns, reader.end_ns, rate=rate, playing=not paused)
        self.feed = BagFeed(reader, config)
        if not self.feed.topics:
            raise InputError(
                f'{reader.path.name} holds none of the topics that are shown, such as {config.tools[0]}{_SAMPLE}; '
                f'it holds {", ".join(sorted(reader.topics)[:8]) or "nothing"}'
            )
        self._period_s = 1.0 / config.update_rate_hz
        self._view = ViserView(config, covered_px=HEIGHT)
        self._panel = ReplayPanel(self._view.server.gui, self.playback)
        self._events: tuple[Event, ...] = ()
        if start_s:
            self.feed.seek(self.playback.seek(start_s))

    @property
    def url(self) -> str:
        """Address to open in a browser."""
        return self._view.url

    def run(self, stop: threading.Event) -> None:
        """Play until the event is set."""
        self._draw(time.monotonic_ns())
        gather = threading.Thread(target=self._gather_events, args=(stop,))
        gather.start()
        last_ns = time.monotonic_ns()
        while not stop.is_set():
            now_ns = time.monotonic_ns()
            self.step(now_ns, now_ns - last_ns)
            last_ns = now_ns
            stop.wait(max(0.0, self._period_s - (time.monotonic_ns() - now_ns) * 1e-9))
        gather.join()

    def _gather_events(self, stop: threading.Event) -> None:
        """Read the alarms of the whole bag, which takes a while for a long one."""
        events = self.feed.all_events(stop)
        self._panel.set_events(events, self.feed.ros_ns(self.playback.start_ns))
        self._events = events

    def step(self, now_ns: int, elapsed_ns: int) -> None:
        """Do what was asked for, move on, and draw."""
        jumped = self._panel.apply(now_ns)
        position_ns = self.playback.position_ns if jumped else self.playback.advance(elapsed_ns)
        if jumped:
            self.feed.seek(position_ns)
        else:
            self.playback.hold(self.feed.advance(position_ns))
        self._draw(now_ns)

    def stop(self) -> None:
        """Stop serving."""
        self._view.stop()

    def _draw(self, now_ns: int) -> None:
        ros_ns = self.feed.ros_ns
        playback = self.playback
        extent = Extent(ros_ns(playback.start_ns), ros_ns(playback.end_ns), ros_ns(playback.position_ns), recorded=True)
        self._view.render(self.feed.picture(), now_ns=now_ns, extent=extent, events=self._events)
        self._panel.show(self._events, extent, now_ns)


def config_of(reader: BagReader, bag: Path, path: Path | None, *, port: int) -> ViewConfig:
    """Return the configuration for a bag: from a file, from the one beside it, or from its topics.

    Raises:
        ConfigError: the file is wrong, or no tool is known.
    """
    beside = bag.resolve().parent / 'config' / CONFIG_FILE
    path = path if path is not None else beside if beside.is_file() else None
    values: dict[str, Any]
    if path is not None:
        file = path / CONFIG_FILE if path.is_dir() else path
        values = load(file)[1]
    else:
        values = {'tools': guess_tools(reader.topics), 'models': _models(reader)}
        if not values['tools']:
            found = foreign_tools(reader)
            if not found.tools:
                raise ConfigError(
                    f'{bag.name} holds no <tool>{_SAMPLE}, no pose and no moving frame with a stamp, and there is no '
                    f'config/{CONFIG_FILE} beside it: name one with `--config FILE`'
                )
            frame = found.fixed_frame
            values |= {'tools': list(found.tools), 'fixed_frame': frame, 'tracker_frame': frame}
            print(
                f'no <tool>{_SAMPLE} in it: {", ".join(found.tools)} in {frame} are shown{found.left_out}', flush=True
            )
    return build_config(ViewConfig, values | {'port': port}, source=str(path or bag))


def guess_tools(topics: Any, *, patient: str = 'patient') -> list[str]:
    """Names of the tools by their topics, those with a calibration first; the patient is none."""
    found = [name.removesuffix(_SAMPLE).rsplit('/', 1)[-1] for name in sorted(topics) if name.endswith(_SAMPLE)]
    calibrated = [name for name in found if any(topic.endswith(f'calibration/{name}') for topic in topics)]
    others = [name for name in found if name not in calibrated and name not in (patient, 'reference')]
    return list(dict.fromkeys((*calibrated, *others)))


def _models(reader: BagReader) -> list[str]:
    kind = 'visualization_msgs/msg/MarkerArray'
    return [
        name for name, topic in sorted(reader.topics.items()) if name.endswith('/model') and topic.type_name == kind
    ]
