"""Bench `tracking`: from the last byte of a packet to the filtered pose in another process, beside a pyigtl twin.

Four tools, sent as TRANSFORM messages at 60 and at 400 Hz by one process, taken in by tracker_node, and noted in the
callback of a third process. The peer stands beside it, fed by the same sender, in turns. A packet counts as answered
by the first pose of its tool that is as new as it or newer: pyigtl keeps only the newest message, and a packet that
it leaves out waits for the next.
"""

import os
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from twin_nodes.app.bench.tracking_processes import BenchProcess, environment, module, tracker_node
from twin_nodes.app.bench.tracking_sender import TOOLS
from twin_nodes.core.errors import TwinError

RATES_HZ = (60, 400)
OURS, PEER, START = 'ours', 'pyigtl', 'start'
PEER_WORDS = 'pyigtl, wait_for_message every 10 ms, no filter'
MATCH_S = 20.0
SETTLE_S = 0.3
_PARAMETERS = """/**:
  ros__parameters:
    source: 'openigtlink'
    tracking:
      tools: [{tools}]
      clock:
        mode: 'device'
    openigtlink:
      port: {port}
"""


@dataclass
class Passage:
    """What became of the packets of one twin at one rate.

    Args:
        waits_ms: Time from each packet's last byte to the first pose as new or newer; infinite for none.
        direct_ms: The same, only for packets whose own pose came.
        packets: Packets sent, one per tool and frame.
    """

    waits_ms: list[float] = field(default_factory=list)
    direct_ms: list[float] = field(default_factory=list)
    packets: int = 0

    def add(self, stamps_ns: list[int], sent_ns: list[int], came: dict[int, int]) -> None:
        """Add one tool of one stream.

        Args:
            stamps_ns: Of the packets, rising.
            sent_ns: Monotonic time of their last byte.
            came: Monotonic time of arrival of each pose, by stamp.
        """
        soonest = float('inf')
        waits = []
        for stamp_ns, at_ns in zip(reversed(stamps_ns), reversed(sent_ns), strict=True):
            own_ns = came.get(stamp_ns)
            if own_ns is not None:
                soonest = min(soonest, own_ns)
                self.direct_ms.append((own_ns - at_ns) * 1e-6)
            waits.append((soonest - at_ns) * 1e-6)
        self.waits_ms += reversed(waits)
        self.packets += len(stamps_ns)

    def percentile(self, percent: float) -> float:
        """Return a percentile of the waits [ms]."""
        return _percentile(self.waits_ms, percent)

    @property
    def unanswered(self) -> int:
        """Packets without a pose of their own."""
        return self.packets - len(self.direct_ms)


def _percentile(values: list[float], percent: float) -> float:
    if not values:
        return float('inf')
    return float(np.percentile(values, percent, method='higher'))


@dataclass
class Room:
    """The processes of the bench and what they share.

    Args:
        folder: For logs and parameter files.
        domain: ROS domain.
    """

    folder: Path
    domain: int

    def __post_init__(self) -> None:
        self.environment = environment(self.domain, self.folder)
        self.sender = self._helper('tracking_sender', '3')
        try:
            self.ports = self.sender.answer(MATCH_S)['ports']
            self.receiver = self._helper('tracking_receiver', OURS, PEER, START)
            self.receiver.answer(MATCH_S)
        except TwinError:
            self.close()
            raise

    def _helper(self, name: str, *arguments: str) -> BenchProcess:
        return BenchProcess(module(name, *arguments), self.environment, self.folder / f'{name}.log', asked=True)

    def node(self, namespace: str, index: int) -> BenchProcess:
        """Start a tracker_node on port `index` of the sender."""
        parameters = self.folder / f'{namespace}.yaml'
        parameters.write_text(_PARAMETERS.format(tools=', '.join(TOOLS), port=self.ports[index]), encoding='utf-8')
        return BenchProcess(tracker_node(namespace, parameters), self.environment, self.folder / f'{namespace}.log')

    def peer(self) -> BenchProcess:
        """Start the pyigtl twin on port 1 of the sender."""
        command = module('tracking_peer', str(self.ports[1]), '--ros-args', '-r', f'__ns:=/{PEER}')
        return BenchProcess(command, self.environment, self.folder / 'pyigtl.log')

    def stream(self, index: int, rate_hz: float, seconds: float) -> dict[str, Any]:
        """Stream to a twin for some seconds and wait until all has come."""
        command = {'index': index, 'rate_hz': rate_hz, 'seconds': seconds}
        sent = self.sender.ask(command, seconds + MATCH_S)
        time.sleep(SETTLE_S)
        return sent

    def take(self) -> dict[tuple[str, str], dict[int, int]]:
        """Return arrival by stamp for each namespace and tool since the last call."""
        found: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        for namespace, tool, stamp_ns, at_ns in self.receiver.ask({}, MATCH_S)['arrivals']:
            found[namespace, tool].setdefault(stamp_ns, at_ns)
        return found

    def close(self) -> None:
        """End the processes."""
        for name in ('receiver', 'sender'):
            process = getattr(self, name, None)
            if process is not None:
                process.stop()

    def __enter__(self) -> 'Room':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_room(folder: str) -> Room:
    """Start sender and receiver in a ROS domain that follows from the process id."""
    return Room(Path(folder), 1 + os.getpid() % 100)


def wait_for_match(room: Room, namespace: str, index: int) -> None:
    """Stream until poses of all tools come through: discovery may take seconds and is not what is measured.

    Raises:
        TwinError: when they do not in time.
    """
    end = time.monotonic() + MATCH_S
    while time.monotonic() < end:
        sent = room.stream(index, 60, 0.5)
        arrivals = room.take()
        if all(arrivals[namespace, tool].get(sent['stamps_ns'][-1]) for tool in TOOLS):
            return
    log = room.folder / f'{namespace}.log'
    raise TwinError(f'no pose from {namespace} within {MATCH_S:g} s: {log.read_text(errors="replace")[-500:]}')


def measure(room: Room, namespace: str, index: int, rate_hz: float, seconds: float, passage: Passage) -> None:
    """Stream once to a twin and add what came of it."""
    room.take()
    sent = room.stream(index, rate_hz, seconds)
    arrivals = room.take()
    for tool in TOOLS:
        passage.add(sent['stamps_ns'], sent['sent_ns'], arrivals[namespace, tool])


def compare(room: Room, *, rounds: int, seconds: float) -> tuple[dict[tuple[str, int], Passage], float]:
    """Let both twins pass packets in turns; returns the passages and the CPU share [%] of ours at the highest rate."""
    passages: dict[tuple[str, int], Passage] = defaultdict(Passage)
    cpu_s = wall_s = 0.0
    with room.node(OURS, 0) as node, room.peer() as _peer:
        wait_for_match(room, OURS, 0)
        wait_for_match(room, PEER, 1)
        for _ in range(rounds):
            for rate_hz in RATES_HZ:
                begin_s, cpu_begin_s = time.monotonic(), node.cpu_s()
                measure(room, OURS, 0, rate_hz, seconds, passages[OURS, rate_hz])
                if rate_hz == max(RATES_HZ):
                    cpu_s += node.cpu_s() - cpu_begin_s
                    wall_s += time.monotonic() - begin_s - SETTLE_S
                measure(room, PEER, 1, rate_hz, seconds, passages[PEER, rate_hz])
    return dict(passages), 100.0 * cpu_s / wall_s


def first_pose(room: Room) -> tuple[float, float]:
    """Start a node; returns the time [s] to its connection to the tracker and to its first pose received elsewhere."""
    room.take()
    room.sender.tell({'index': 2, 'rate_hz': 60, 'seconds': MATCH_S, 'fresh': True})
    end = time.monotonic() + MATCH_S
    came: list[int] = []
    with room.node(START, 2) as node:
        while not came and time.monotonic() < end:
            time.sleep(0.1)
            arrivals = room.take()
            came = [at for (name, _), poses in arrivals.items() if name == START for at in poses.values()]
        started_ns = node.started_ns
    sent = room.sender.answer(MATCH_S + 5.0)
    if not came:
        raise TwinError(f'no first pose within {MATCH_S:g} s')
    return (sent['accepted_ns'] - started_ns) * 1e-9, (min(came) - started_ns) * 1e-9


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure the way of a packet, the start of the node and the filter.

    Args:
        quick: Smaller samples, the same figures.

    Raises:
        TwinError: when a process of the bench fails, or pyigtl is not installed.
    """
    from twin_nodes.app.bench import filter as filter_bench

    if find_spec('pyigtl') is None:
        raise TwinError('the peer of bench tracking is not installed: pip install pyigtl')
    rounds, seconds, starts = (2, 2.0, 3) if quick else (4, 5.0, 9)
    with tempfile.TemporaryDirectory() as folder, open_room(folder) as room:
        passages, cpu_percent = compare(room, rounds=rounds, seconds=seconds)
        times = [first_pose(room) for _ in range(starts)]
    connected_s, first_s = (statistics.median(column) for column in zip(*times, strict=True))
    figures = [
        *_passage_figures(passages, max(RATES_HZ), ''),
        _figure('cpu_percent', cpu_percent, '%', at_most=60.0),
        _figure('first_pose_s', first_s, 's', at_most=0.8),
        _figure('first_pose_connected_s', connected_s, 's'),
        _figure('first_pose_slowest_s', max(first for _, first in times), 's'),
        *_passage_figures(passages, min(RATES_HZ), f'_{min(RATES_HZ)}hz'),
    ]
    return figures + filter_bench.run(quick)


def _passage_figures(passages: dict[tuple[str, int], Passage], rate_hz: int, suffix: str) -> list[dict[str, object]]:
    ours, peer = passages[OURS, rate_hz], passages[PEER, rate_hz]
    p50, peer_p50 = ours.percentile(50.0), peer.percentile(50.0)
    ratio = p50 / peer_p50
    direct = _percentile(peer.direct_ms, 50.0)
    name = 'packet_to_pose'
    return [
        _figure(f'{name}_p50{suffix}_ms', p50, 'ms', peer=PEER_WORDS, ratio=ratio),
        _figure(f'{name}_p50_ratio_to_pyigtl{suffix}', ratio, '', at_most=0.125, peer=PEER_WORDS, ratio=ratio),
        _figure(f'{name}_p99{suffix}_ms', ours.percentile(99.0), 'ms', at_most=5.0),
        _figure(f'{name}_max{suffix}_ms', max(ours.waits_ms), 'ms'),
        _figure(f'{name}_left_out{suffix}_percent', 100.0 * ours.unanswered / ours.packets, '%'),
        _figure(f'pyigtl_{name}_p50{suffix}_ms', peer_p50, 'ms'),
        _figure(f'pyigtl_{name}_p99{suffix}_ms', peer.percentile(99.0), 'ms'),
        _figure(f'pyigtl_{name}_left_out{suffix}_percent', 100.0 * peer.unanswered / peer.packets, '%'),
        _figure(f'pyigtl_{name}_p50_without_left_out{suffix}_ms', direct, 'ms'),
    ]


def _figure(
    name: str, value: float, unit: str, *, at_most: float | None = None, peer: str = '', ratio: float | None = None
) -> dict[str, object]:
    goal = '' if at_most is None else f'<= {at_most:g}'
    ok = at_most is None or value <= at_most
    return {'figure': name, 'value': value, 'unit': unit, 'goal': goal, 'peer': peer, 'ratio': ratio, 'ok': ok}
