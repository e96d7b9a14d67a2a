"""The bridge on the wire: two wan_bridge nodes with a relay between them.

This process gives commands at 200 Hz and takes what comes, each site has its bridge, the relay emulates the link
between their sockets. What stock DDS makes of the same link is measured by `link_dds`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import yaml

from twin_nodes.app.bench.flood import Flood
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.telesurgery.link.scenario import Scenario
from twin_nodes.io.link_key import make_key

RATE_HZ = 200.0
SETTLE_S = 6.0
DEADLINE_S = 30.0
SLEEPER = """
import signal, time
late, on = [], [True]
signal.signal(signal.SIGINT, lambda *_: on.clear())
while on:
    end = time.monotonic() + 0.005
    time.sleep(0.005)
    late.append(time.monotonic() - end)
print(1e3 * sorted(late)[int(0.99 * len(late))])
"""


@dataclass
class _Heard:
    """What came of each command, by its number."""

    sent: dict[int, float] = field(default_factory=dict)
    bridged: dict[int, float] = field(default_factory=dict)


def wire_figures(scenario: Scenario, seconds: float) -> Iterator[Figure]:
    """Run the nodes for some time, then again under a flood, and yield the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_key(folder / 'wan.key')
        link = folder / 'link.yaml'
        link.write_text(yaml.safe_dump(_plain(scenario)), encoding='utf-8')
        ports = [_free_port() for _ in range(3)]
        processes = _start(folder, link, ports)
        try:
            calm, flood, usage = _measure(processes, seconds, ports[0])
        finally:
            said = _stop(processes)
    yield from _figures(calm, flood, usage, said, scenario)


def _plain(scenario: Scenario) -> dict[str, object]:
    forward = scenario.config.forward
    loss = {'good_to_bad': forward.loss.good_to_bad, 'bad_to_good': forward.loss.bad_to_good}
    return {'name': 'bench', 'both': {'delay': {'base': forward.delay.base}, 'loss': loss}}


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def _start(folder: Path, link: Path, ports: list[int]) -> dict[str, subprocess.Popen[str]]:
    follower, at_leader, at_follower = ports

    def node(module: str, namespace: str, **values: object) -> subprocess.Popen[str]:
        words = [word for key, value in values.items() for word in ('-p', f'{key.replace("__", ".")}:={value}')]
        command = [sys.executable, '-m', f'twin_nodes.nodes.{module}', '--ros-args', '-r', f'__ns:={namespace}', *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)

    site = {'key_file': folder / 'wan.key', 'bind_host': '127.0.0.1'}
    out, back = '[PSM1/servo_cp]', '[PSM1/measured_cp]'
    to_leader = {'bridge__role': 'leader', 'peer_host': '127.0.0.1', 'peer_port': at_leader}
    to_follower = {'bridge__role': 'follower', 'bind_port': follower}
    relay = [sys.executable, '-m', 'twin_nodes', 'link', 'relay', str(link), '--json', '--seed', '3']
    relay += ['--leader-port', str(at_leader), '--follower-port', str(at_follower), '--to', f'127.0.0.1:{follower}']
    return {
        'relay': subprocess.Popen(relay, stdout=subprocess.PIPE, text=True),
        'follower': node('wan_bridge_node', '/robot', **site, **to_follower, send=back, receive=out),
        'leader': node('wan_bridge_node', '/console', **site, **to_leader, send=out, receive=back),
        'sleeper': subprocess.Popen([sys.executable, '-c', SLEEPER], stdout=subprocess.PIPE, text=True),
    }


def _measure(
    processes: dict[str, subprocess.Popen[str]], seconds: float, port: int
) -> tuple[_Heard, _Heard, dict[str, float]]:
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from rclpy.executors import SingleThreadedExecutor

    from twin_nodes.ros.qos import COMMAND_SUBSCRIPTION, command

    rclpy.init()
    node = rclpy.create_node('bench_link')
    heard = _Heard()
    bridge = node.create_publisher(PoseStamped, '/console/PSM1/servo_cp', command(1.0 / RATE_HZ * 10.0))

    def keep(message: PoseStamped) -> None:
        heard.bridged.setdefault(int(message.pose.position.x), time.monotonic())

    node.create_subscription(PoseStamped, '/robot/PSM1/servo_cp', keep, COMMAND_SUBSCRIPTION)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    number = [0]

    def give(until: float, enough: object = None) -> None:
        due = time.monotonic()
        while time.monotonic() < until and not (callable(enough) and enough()):
            message = PoseStamped()
            message.header.stamp = node.get_clock().now().to_msg()
            message.header.frame_id = 'PSM1_base'
            message.pose.position.x, message.pose.orientation.w = float(number[0]), 1.0
            heard.sent[number[0]] = time.monotonic()
            bridge.publish(message)
            number[0] += 1
            due += 1.0 / RATE_HZ
            while (left := due - time.monotonic()) > 0.0:
                executor.spin_once(timeout_sec=left)

    try:
        give(time.monotonic() + DEADLINE_S, lambda: len(heard.bridged) > 50)
        give(time.monotonic() + SETTLE_S)
        before = {name: _usage(process.pid) for name, process in processes.items()}
        start, first = time.monotonic(), number[0]
        give(start + seconds)
        used = {name: _usage(process.pid) for name, process in processes.items()}
        span, last = time.monotonic() - start, number[0]
        give(time.monotonic() + 0.5)
        calm = _between(heard, first, last)
        flooder = Flood(port)
        first = number[0]
        give(time.monotonic() + seconds / 2.0)
        last, sent = number[0], flooder.stop()
        give(time.monotonic() + 0.5)
        usage = {f'{name}_cpu': 100.0 * (used[name][0] - before[name][0]) / span for name in processes}
        usage |= {f'{name}_rss': used[name][1] / 2**20 for name in processes}
        return calm, _between(heard, first, last), usage | {'flood': sent / (seconds / 2.0)}
    finally:
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


def _usage(pid: int) -> tuple[float, float]:
    """CPU time [s] and resident memory [B]."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return times.user + times.system, float(process.memory_info().rss)


def _between(heard: _Heard, first: int, last: int) -> _Heard:
    def cut(times: dict[int, float]) -> dict[int, float]:
        return {number: at for number, at in times.items() if first <= number < last}

    return _Heard(cut(heard.sent), cut(heard.bridged))


def _stop(processes: dict[str, subprocess.Popen[str]]) -> dict[str, float]:
    """Stop all and return what the relay said."""
    for process in processes.values():
        process.send_signal(signal.SIGINT)
    said = processes['relay'].communicate(timeout=10.0)[0]
    for process in processes.values():
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    sleeper = processes['sleeper'].communicate(timeout=5.0)[0]
    lines = [line for line in said.splitlines() if line.startswith('{')]
    return {**(json.loads(lines[-1]) if lines else {}), 'sleeper_p99_ms': float(sleeper or 'nan')}


def _figures(
    calm: _Heard, flood: _Heard, usage: dict[str, float], said: dict[str, float], scenario: Scenario
) -> Iterator[Figure]:
    bridged = 100.0 * (1.0 - len(calm.bridged) / len(calm.sent))
    # a run of this length holds too few long bursts for a promise of 0.05 %: the ratio is what it can show
    yield judge('wire_residual_loss_at_10_percent', bridged, '%')
    quiet = _latencies_ms(calm)
    if len(quiet):
        base = 1e3 * scenario.config.forward.delay.base
        yield judge('wire_added_delay_p50_ms', float(np.median(quiet)) - base, 'ms')
        yield judge('wire_spread_p99_ms', float(np.percentile(quiet, 99) - np.median(quiet)), 'ms')
        loud = _latencies_ms(flood)
        rise = float(np.percentile(loud, 99) - np.median(quiet)) if len(loud) else float('nan')
        yield judge('flood_p99_ms', rise, 'ms', at_most=10.0, peer='without a flood')
        yield judge('flood_rate_hz', usage['flood'], 'Hz')
    late, sleeper = said.get('lateness_p99_ms'), said['sleeper_p99_ms']
    yield judge('relay_lateness_p99_ms', late, 'ms', at_most=1.0, peer='a thread that only sleeps, beside it',
                ratio=late / sleeper if late is not None else None)  # fmt: skip
    yield judge('sleeper_lateness_p99_ms', sleeper, 'ms')
    yield judge('relay_lateness_p50_ms', said.get('lateness_p50_ms'), 'ms')
    yield judge('leader_cpu_percent', usage['leader_cpu'], '%', at_most=60.0)
    yield judge('follower_cpu_percent', usage['follower_cpu'], '%', at_most=60.0)
    yield judge('follower_memory_mb', usage['follower_rss'], 'MB')


def _latencies_ms(heard: _Heard) -> 'np.ndarray[tuple[int], np.dtype[np.float64]]':
    return 1e3 * np.array([at - heard.sent[number] for number, at in sorted(heard.bridged.items())])
