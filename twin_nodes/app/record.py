"""Records topics into a rosbag2 directory until told to stop; `twin record`."""

import datetime
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from twin_nodes.app import standing
from twin_nodes.app.launch.environment import complete_environment
from twin_nodes.app.recorder import RecorderNode, compiled_pattern
from twin_nodes.core.errors import TwinError
from twin_nodes.io.bags.mcap_file import BagWriteError
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.topic_names import checked_topic

STATUS_PERIOD_S = 1.0

README = """A recording of ROS 2 topics by twin_nodes (rosbag2 format, MCAP storage).

begun    {begun}
topics   {topics}
command  twin {command}
version  {version}

Play it       twin play {name}            or  ros2 bag play {name}
Look inside   twin check {name}           or  ros2 bag info {name}
After a crash twin recover {name}
Foxglove, Lichtblick and PlotJuggler open the .mcap file directly.
"""


def record(
    topics: Sequence[str] | None = None,
    *,
    output: Path | str | None = None,
    duration_s: float = 0.0,
    exclude: str = '',
    compression: str = 'zstd',
    use_sim_time: bool = False,
    quiet: bool = False,
    stop: threading.Event | None = None,
) -> int:
    """Record until Ctrl-C, SIGTERM, the duration or the event; then close the bag.

    Args:
        topics: Names to record; None for all that are not hidden.
        output: Folder to make; a dated one in the current folder when None.
        duration_s: How long to record [s]; 0 for until stopped.
        exclude: Regular expression of topics to leave out.
        compression: '' for none, 'zstd' or 'lz4'.
        use_sim_time: Whether log times follow /clock.
        quiet: Whether to print nothing but errors.
        stop: Ends the recording when set, for callers in other threads.

    Returns:
        0 after a whole recording, 1 for a wrong setting, 3 when messages were lost to a slow or full disk.
    """
    stop = stop or threading.Event()
    directory = Path(output) if output is not None else Path(f'bag_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}')
    context = Context()
    try:
        complete_environment()
        compiled_pattern(exclude)
        for topic in topics or ():
            checked_topic(topic)
        writer = BagWriter(directory, compression=compression)
    except (TwinError, OSError) as error:
        print(f'configuration: {error}', file=sys.stderr, flush=True)
        return 1
    _write_readme(directory, topics)
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    parameters = [Parameter('use_sim_time', value=use_sim_time)]
    try:
        with ended_by_signals(stop):
            node = RecorderNode(writer, topics=topics, exclude=exclude, context=context, parameter_overrides=parameters)
            _spin(node, writer, context, stop=stop, duration_s=duration_s, quiet=quiet)
    except TwinError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
    finally:
        rclpy.try_shutdown(context=context)
    return _close(writer, quiet=quiet)


def _spin(
    node: RecorderNode, writer: BagWriter, context: Context, *, stop: threading.Event, duration_s: float, quiet: bool
) -> None:
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    begun = time.monotonic()
    next_status = begun
    try:
        while not stop.is_set() and context.ok():
            executor.spin_once(timeout_sec=0.1)
            now = time.monotonic()
            if now >= next_status:
                next_status = now + STATUS_PERIOD_S
                _status(writer, now - begun, quiet=quiet)
                if writer.error is not None:
                    raise writer.error
            if 0.0 < duration_s <= now - begun:
                break
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()


@contextmanager
def ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set the event on Ctrl-C and SIGTERM; only where signals can be had, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, lambda *_: stop.set()) for number in wanted
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(writer: BagWriter, elapsed_s: float, *, quiet: bool) -> None:
    if quiet or not sys.stdout.isatty():
        return
    counts = writer.counts
    text = f'recording {writer.directory}: {elapsed_s:.0f} s, {len(counts)} topics, {sum(counts.values())} messages'
    print(f'\r{text}, {writer.size_bytes / 1e6:.1f} MB, {sum(writer.dropped.values())} dropped ', end='', flush=True)


def _close(writer: BagWriter, *, quiet: bool) -> int:
    try:
        writer.close()
    except BagWriteError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
    counts, dropped = writer.counts, writer.dropped
    if not quiet:
        start = '\n' if sys.stdout.isatty() else ''
        print(
            f'{start}recorded {sum(counts.values())} messages on {len(counts)} topics, '
            f'{writer.size_bytes / 1e6:.1f} MB, into {writer.directory}',
            flush=True,
        )
    if dropped:
        print(f'RECORDER_BEHIND: dropped {dropped}: the disk was too slow or full', file=sys.stderr, flush=True)
    return 3 if dropped or writer.error is not None else 0


def _write_readme(directory: Path, topics: Sequence[str] | None) -> None:
    begun = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    text = README.format(
        begun=begun,
        topics=' '.join(topics) if topics else 'all',
        name=directory.name,
        command=shlex.join(sys.argv[1:]),
        version=standing.version(),
    )
    (directory / 'README.txt').write_text(text, encoding='utf-8')
