"""Runs one node in this process: one clear line and exit 1 for a wrong configuration, a clean end on Ctrl-C."""

import contextlib
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from twin_nodes.core.errors import ConfigError, TwinError
from twin_nodes.ros.event_loop import EventLoop, WaitSet
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.prompt_process import favour_process


def run_node(factory: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Create the node and spin it until Ctrl-C, SIGTERM or shutdown.

    An exception from a callback is logged, counted as CALLBACK_FAILED, and the node lives on.

    A node whose config has `realtime` set runs with SCHED_FIFO where that is allowed, but not in a replay: nobody waits
    there, and the nodes that feed it must have their turn. It runs in the `EventLoop`, and so does a node that has
    `hears_much`: that costs half the processor time.

    Args:
        factory: Makes the node after rclpy has been initialised.
        args: Command line; sys.argv by default.

    Returns:
        The exit status: 0 after a normal end, 1 after a ConfigError or arguments that ROS cannot read.
    """
    try:
        rclpy.init(args=list(args) if args is not None else None)
    except RuntimeError as error:  # rclpy's errors of the command line share no other base
        print(f'configuration: {_plain(error)}', file=sys.stderr, flush=True)  # noqa: T201
        return 1
    node: Node | None = None
    loop: EventLoop | WaitSet | None = None
    executor = SingleThreadedExecutor()  # before a signal may come: without a context none can be made
    try:
        node = factory()
        prompt = getattr(getattr(node, 'config', None), 'realtime', False) and not is_replay(node)
        on_error = partial(_tell, node)
        events = prompt or getattr(node, 'hears_much', False)
        loop = EventLoop(node, on_error) if events and EventLoop.serves(node) else WaitSet(node, executor)
        if isinstance(loop, EventLoop):
            loop.end_on_interrupt()
        if prompt:
            node.get_logger().info(f'scheduled {favour_process()}')  # its threads are all there by now
        gc.freeze()  # what the start has loaded stays: looking through it again costs tens of milliseconds
        while rclpy.ok():
            _spin_once(loop, on_error)
    except TwinError as error:
        kind = 'configuration' if isinstance(error, ConfigError) else 'error'
        print(f'{kind}: {error}', file=sys.stderr, flush=True)  # noqa: T201
        return 1
    except NameValidationException as error:
        text = ' '.join(str(error).split())
        print(f'configuration: a name in the settings is no ROS name: {text}', file=sys.stderr, flush=True)  # noqa: T201
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:  # what is made after a signal has no context any more: that is no failure
        if rclpy.ok():
            raise
    finally:
        if loop is not None:
            loop.shutdown()
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        # rclpy destroys a node whose constructor failed, which may lack what its destructor stops: the reason was said
        with contextlib.suppress(AttributeError) if node is None else contextlib.nullcontext():
            rclpy.try_shutdown()
    return 0


def _plain(error: RuntimeError) -> str:
    """Take the places in the source of rcl out of its message; keep the file of parameters and the line in it."""
    text = re.sub(r', at /\S+\.c(pp)?:\d+', '', ' '.join(str(error).split()))
    return text.removeprefix('failed to initialize rcl: ').replace("'--params-file ", "'")


def _spin_once(loop: EventLoop | WaitSet, on_error: Callable[[Exception], None]) -> None:
    try:
        loop.spin_once()
    except (KeyboardInterrupt, ExternalShutdownException):
        raise
    except Exception as error:
        on_error(error)


def _tell(node: Node, error: Exception) -> None:
    """Log and count an exception of a callback."""
    if not rclpy.ok():
        return
    health = getattr(node, 'health', None)
    if health is not None:
        health.count('CALLBACK_FAILED')
    text = ''.join(traceback.format_exception(error))
    node.get_logger().error(f'CALLBACK_FAILED: {error!r}\n{text}', throttle_duration_sec=1.0)
