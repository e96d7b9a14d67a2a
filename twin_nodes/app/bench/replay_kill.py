"""How much a recording loses when its process is killed: real DDS, 200 Hz, SIGKILL at a random moment."""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it

import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions

from twin_nodes.core.errors import TwinError
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.bags.recover import recover
from twin_nodes.io.bags.scan import scan
from twin_nodes.ros.conversions import ns_to_stamp, stamp_to_ns

GOAL_MS = 100.0
RATE_HZ = 200
KILLS = {True: 3, False: 20}
MATCH_S = 20.0
_RECORD = 'import sys; from twin_nodes.app.record import record; sys.exit(record([sys.argv[1]], output=sys.argv[2]))'


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Kill recorders and return the worst loss.

    Args:
        quick: 3 kills instead of 20.

    Returns:
        One figure, `lost_on_kill_ms`: the time from the last message published before the kill back to the last one
        that `recover` finds, the worst of all kills [ms].
    """
    moments = random.Random(2)
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('replay_kill_bench', context=context, start_parameter_services=False, enable_rosout=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            lost_ms = [
                lost_on_kill_ms(node, Path(folder) / f'bag_{index}', run_s=moments.uniform(0.3, 1.0))
                for index in range(KILLS[quick])
            ]
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    worst = max(lost_ms)
    figure = {'figure': 'lost_on_kill_ms', 'value': round(worst, 3), 'unit': 'ms', 'goal': f'<= {GOAL_MS:g}'}
    return [{**figure, 'peer': None, 'ratio': None, 'ok': worst <= GOAL_MS}]


def lost_on_kill_ms(node: Node, bag: Path, *, run_s: float) -> float:
    """Record in a process of its own, kill it after a time, recover, and return what is missing at the end.

    Args:
        node: Publishes, on a topic of the bag's name: a killed subscriber of an earlier one stays known for a while.
        bag: Where the recorder writes; the recovered bag goes beside it.
        run_s: Time from the first recorded message to the kill [s].

    Raises:
        TwinError: The recorder did not begin to record, or nothing of it was recovered.
    """
    publisher = node.create_publisher(PointStamped, f'/replay_kill/{bag.name}', 100)
    process = subprocess.Popen(
        [sys.executable, '-c', _RECORD, publisher.topic_name, str(bag)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _publish_until_recorded(publisher, bag, process)
        last_ns = _publish_for(publisher, run_s)
    finally:
        process.kill()
        process.wait()
        node.destroy_publisher(publisher)
    recovered = bag.with_name(f'{bag.name}_recovered')
    report = recover(bag, recovered)
    if not report.messages:
        raise TwinError(f'nothing was recovered from {bag}, though messages were in it before the kill')
    with BagReader(recovered) as reader:
        last_kept_ns = max(_stamp_ns(reader.decode(message)) for message in reader.messages())
    return (last_ns - last_kept_ns) * 1e-6


def _publish_until_recorded(publisher: Publisher, bag: Path, process: 'subprocess.Popen[bytes]') -> None:
    """Publish until the bag holds a message: discovery may take seconds, and is not what is measured here."""
    end = time.monotonic() + MATCH_S
    pause = threading.Event()
    while not _holds_messages(bag):
        if process.poll() is not None or time.monotonic() > end:
            raise TwinError(f'the recorder did not record {publisher.topic_name} within {MATCH_S} s')
        if publisher.get_subscription_count():
            publisher.publish(_stamped(time.time_ns()))
        pause.wait(0.02)


def _holds_messages(bag: Path) -> bool:
    return any(scan(path.read_bytes()).messages for path in bag.glob('*.mcap'))


def _publish_for(publisher: Publisher, run_s: float) -> int:
    """Publish at RATE_HZ, each message stamped with the time of its sending; return the last stamp [ns]."""
    pause = threading.Event()
    begun = time.monotonic()
    now_ns = 0
    for index in range(max(1, round(run_s * RATE_HZ))):
        pause.wait(max(0.0, begun + index / RATE_HZ - time.monotonic()))
        now_ns = time.time_ns()
        publisher.publish(_stamped(now_ns))
    return now_ns


def _stamped(now_ns: int) -> PointStamped:
    message = PointStamped()
    message.header.stamp = ns_to_stamp(now_ns)
    return message


def _stamp_ns(message: PointStamped) -> int:
    return stamp_to_ns(message.header.stamp)
