"""Bench `tracking`: from the last byte of a packet to the filtered pose in another process, beside a pyigtl twin.

Four tools, sent as TRANSFORM messages at 60 and at 400 Hz by one process, taken in by tracker_node, and noted in the
callback of a third process. The peer stands beside it, fed by the same sender, in turns. A packet counts as answered
by the first pose of its tool that is as new as it or newer: pyigtl keeps only the newest message, and a packet that
it leaves out waits for the next. Percentiles are taken per round and the median round counts: what else runs on the
machine spoils rounds, not the bench. `bare_hop` is an rclpy publisher with nothing before it, in the same turns: the
part of the time that belongs to the middleware and to waking an idle core. At 60 Hz that part alone is about a tenth of
pyigtl's time, so the ratio there is told without a promise.
"""

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from twin_nodes.app.bench.tracking_room import (
    HOP,
    OURS,
    PEER,
    SETTLE_S,
    TWINS,
    Room,
    Twin,
    first_pose,
    open_room,
    wait_for_match,
)
from twin_nodes.app.bench.tracking_sender import TOOLS
from twin_nodes.core.errors import TwinError

RATES_HZ = (60, 400)
RATIO_LIMIT = 0.125
PEER_WORDS = 'pyigtl, wait_for_message every 10 ms, no filter'


@dataclass
class Passage:
    """What became of the packets of one twin at one rate in one round.

    Args:
        waits_ms: Time from each packet's last byte to the first pose as new or newer; infinite for none.
        direct_ms: The same, only for packets whose own pose came.
        packets: Packets sent, one per tool and frame.
        cpu_s: Processor time of the twin meanwhile.
        wall_s: How long that was.
    """

    waits_ms: list[float] = field(default_factory=list)
    direct_ms: list[float] = field(default_factory=list)
    packets: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0

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
    def left_out_percent(self) -> float:
        """Packets without a pose of their own [%]."""
        return 100.0 * (1.0 - len(self.direct_ms) / self.packets)

    @property
    def cpu_percent(self) -> float:
        """Share of one core [%]."""
        return 100.0 * self.cpu_s / self.wall_s


def _percentile(values: list[float], percent: float) -> float:
    if not values:
        return float('inf')
    return float(np.percentile(values, percent, method='higher'))


# the rounds of each twin, by namespace and rate
Passages = dict[tuple[str, int], list[Passage]]


def measure(room: Room, twin: Twin, rate_hz: float, seconds: float) -> Passage:
    """Stream once to a twin and return what came of it."""
    passage = Passage()
    room.take()
    cpu_s, begin_s = twin.process.cpu_s(), time.monotonic()
    sent = room.stream(twin.source, seconds, twin.command | {'rate_hz': rate_hz})
    passage.cpu_s = twin.process.cpu_s() - cpu_s
    passage.wall_s = time.monotonic() - begin_s - SETTLE_S
    arrivals = room.take()
    for tool in TOOLS:
        passage.add(sent['stamps_ns'], sent['sent_ns'], arrivals[twin.name, tool])
    return passage


def compare(room: Room, *, rounds: int, seconds: float) -> Passages:
    """Let the twins pass packets in turns; returns what came of each round."""
    passages: Passages = defaultdict(list)
    with room.node(OURS, 0) as node, room.peer() as peer, room.hop() as hop:
        twins = [
            Twin(OURS, node, room.sender, {'index': 0}),
            Twin(PEER, peer, room.sender, {'index': 1}),
            Twin(HOP, hop, hop, {}),
        ]
        for twin in twins:
            wait_for_match(room, twin)
        for _ in range(rounds):
            for rate_hz in RATES_HZ:
                for twin in twins:
                    passages[twin.name, rate_hz].append(measure(room, twin, rate_hz, seconds))
    return dict(passages)


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
    rounds, seconds, starts = (3, 1.0, 3) if quick else (5, 4.0, 9)
    with tempfile.TemporaryDirectory() as folder, open_room(folder) as room:
        passages = compare(room, rounds=rounds, seconds=seconds)
        times = [first_pose(room) for _ in range(starts)]
    connected_s, first_s, cpu_s = (statistics.median(column) for column in zip(*times, strict=True))
    cpu_percent = _median(passage.cpu_percent for passage in passages[OURS, max(RATES_HZ)])
    figures = [
        *_passage_figures(passages, max(RATES_HZ), ''),
        _figure('cpu_percent', cpu_percent, '%', at_most=60.0),
        _figure('first_pose_s', first_s, 's', at_most=0.8),
        _figure('first_pose_connected_s', connected_s, 's'),
        _figure('first_pose_slowest_s', max(first for _, first, _ in times), 's'),
        _figure('first_pose_cpu_s', cpu_s, 's'),
        *_passage_figures(passages, min(RATES_HZ), f'_{min(RATES_HZ)}hz'),
    ]
    return figures + filter_bench.run(quick)


def _passage_figures(passages: Passages, rate_hz: int, suffix: str) -> list[dict[str, object]]:
    ours, peer, hop = (passages[name, rate_hz] for name in TWINS)
    p50, peer_p50 = _round(ours, 50.0), _round(peer, 50.0)
    ratio = _median(a.percentile(50.0) / b.percentile(50.0) for a, b in zip(ours, peer, strict=True))
    limit = RATIO_LIMIT if rate_hz == max(RATES_HZ) else None
    name = 'packet_to_pose'
    return [
        _figure(f'{name}_p50{suffix}_ms', p50, 'ms', peer=PEER_WORDS, ratio=ratio),
        _figure(f'{name}_p50_ratio_to_pyigtl{suffix}', ratio, '', at_most=limit, peer=PEER_WORDS, ratio=ratio),
        _figure(f'{name}_p99{suffix}_ms', _round(ours, 99.0), 'ms', at_most=5.0),
        _figure(f'{name}_max{suffix}_ms', max(max(passage.waits_ms) for passage in ours), 'ms'),
        _figure(f'{name}_left_out{suffix}_percent', _median(passage.left_out_percent for passage in ours), '%'),
        _figure(f'bare_hop_p50{suffix}_ms', _round(hop, 50.0), 'ms'),
        _figure(f'pyigtl_{name}_p50{suffix}_ms', peer_p50, 'ms'),
        _figure(f'pyigtl_{name}_p99{suffix}_ms', _round(peer, 99.0), 'ms'),
        _figure(f'pyigtl_{name}_left_out{suffix}_percent', _median(passage.left_out_percent for passage in peer), '%'),
        _figure(
            f'pyigtl_{name}_p50_without_left_out{suffix}_ms',
            _median(_percentile(passage.direct_ms, 50.0) for passage in peer),
            'ms',
        ),
    ]


def _round(passages: list[Passage], percent: float) -> float:
    return _median(passage.percentile(percent) for passage in passages)


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def _figure(
    name: str, value: float, unit: str, *, at_most: float | None = None, peer: str = '', ratio: float | None = None
) -> dict[str, object]:
    goal = '' if at_most is None else f'<= {at_most:g}'
    ok = at_most is None or value <= at_most
    return {'figure': name, 'value': value, 'unit': unit, 'goal': goal, 'peer': peer, 'ratio': ratio, 'ok': ok}
