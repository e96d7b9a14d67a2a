"""What `robot_node` costs at 1 kHz: one arm in a process of its own, fed over DDS; processor time, not time."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from twin_nodes.app.bench.domain import take_domain
from twin_nodes.app.bench.tracking_processes import BenchProcess
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.launch.environment import child_environment, complete_environment
from twin_nodes.core.errors import TwinError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import published_model

ARM, MODEL, RATE_HZ = 'PSM1', 'psm_classic', 1000.0
START_S = 40.0
WARM_S = 1.0
TABLE = 1000  # joint states of one turn of the motion


def mirror_cost(seconds: float) -> Iterator[Figure]:
    """Yield the processor time of the node for each joint state, and how many a second it had.

    Args:
        seconds: How long it is measured [s].

    Raises:
        TwinError: The node said nothing.
    """
    import rclpy
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import JointState

    from twin_nodes.ros.qos import MEASUREMENT, MEASUREMENT_SUBSCRIPTION

    domain, _held = take_domain()
    environment = child_environment({**os.environ, 'ROS_DOMAIN_ID': str(domain)})
    complete_environment()
    settings = (f"arms:=['{ARM}']", f"models:=['{MODEL}']", f'bases:={[0.0] * 6}', 'measured_cp:=robot')
    options = [word for setting in settings for word in ('-p', setting)]
    command = [sys.executable, '-m', 'twin_nodes.nodes.robot_node', '--ros-args', *options]
    context, heard = Context(), [0]
    rclpy.init(context=context, args=[], domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('robot_bench', context=context, start_parameter_services=False, enable_rosout=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def hear(_: PoseWithCovarianceStamped) -> None:
        heard[0] += 1

    node.create_subscription(PoseWithCovarianceStamped, f'{ARM}/filtered_cp', hear, MEASUREMENT_SUBSCRIPTION)
    publisher = node.create_publisher(JointState, f'{ARM}/measured_js', MEASUREMENT)
    chain = SerialChain(published_model(MODEL))
    states, message, sent = _states(chain), JointState(name=list(chain.names)), 0

    def send_for(span: float, *, until_heard: bool = False) -> int:
        nonlocal sent
        begun, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - begun) < span and not (until_heard and heard[0]):
            if passed * RATE_HZ < count:
                executor.spin_once(timeout_sec=0.0002)
                continue
            now_ns = time.time_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
            message.position = states[sent % TABLE]
            publisher.publish(message)
            count, sent = count + 1, sent + 1
        return count

    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            BenchProcess(command, environment, Path(folder) / 'robot_node.txt') as process,
        ):
            send_for(START_S, until_heard=True)
            if not heard[0]:
                raise TwinError(f'robot_node mirrored nothing: {process.last_words()}')
            send_for(WARM_S)
            before = process.cpu_s()
            count = send_for(seconds)
            spent = process.cpu_s() - before
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    yield judge('mirror_cpu_us_per_message', 1e6 * spent / count, 'us', at_most=500.0)
    yield judge('mirror_sent_hz', count / seconds, 'Hz')


def _states(chain: SerialChain) -> list[list[float]]:
    """Return the joints of a motion that ends where it begins."""
    turn = 2.0 * np.pi * np.arange(TABLE)[:, None] / TABLE
    sway = np.where(chain.is_prismatic, 0.01, 0.05) * np.sin(turn + np.arange(len(chain)))
    return [row.tolist() for row in chain.middle + sway]
