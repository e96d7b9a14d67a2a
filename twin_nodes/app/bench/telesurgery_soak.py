"""Bench `telesurgery_soak`: what both sites cost at 200 Hz, and whether their memory stays as it is.

A surgeon goes round and round over the link for an hour (`--quick`: half a minute, too short for a slope). Per site the
bridge and the compensation are counted; the simulated hand, robot and network are not part of the product. Each minute
is told on stderr, so that an hour that is cut short is not lost.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.telesurgery_sites import WITHOUT_ANATOMY, TelesurgerySites

SITES = {
    'leader': ('leader_bridge', 'leader_compensation'),
    'follower': ('follower_bridge', 'follower_compensation'),
}
LINK = 'intercontinental'
EVERY_S = 5.0
WARM_S = 180.0  # buffers of a minute are full, allocators have settled
SETTINGS = {'console': {'task': 'circle', 'rounds': 4000, 'operator.near': 0.004, 'touch': []}}
RATE = 200.0
CURVE_MIN = (5.0, 15.0, 30.0, 45.0, 60.0)
ARGUMENTS = {'resume': 'discard', 'through_outages': 'false'}


@dataclass
class Sample:
    """Processor time [s] and anonymous memory [B] of a process at a time [s].

    What belongs to a process alone (USS) would not do: it changes by megabytes when another process that maps the same
    libraries begins or ends.
    """

    time: float
    cpu: float
    memory: float


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Run both sites for an hour, or half a minute.

    Args:
        quick: Whether for half a minute.

    Yields:
        Figures as mappings.
    """
    for figure in soak_figures(30.0 if quick else 3600.0, on_sample=_MinuteLog()):
        yield vars(figure)


class _MinuteLog:
    """Prints the memory of each process once a minute."""

    def __init__(self) -> None:
        self._next = 60.0

    def __call__(self, elapsed: float, newest: dict[str, Sample]) -> None:
        if elapsed < self._next:
            return
        self._next += 60.0
        memory = ', '.join(f'{name} {sample.memory / 2**20:.2f}' for name, sample in newest.items())
        print(f'{elapsed / 60.0:.0f} min [MB]: {memory}', file=sys.stderr, flush=True)


def soak_figures(
    seconds: float, *, realtime: bool = True, on_sample: Callable[[float, dict[str, Sample]], None] | None = None
) -> Iterator[Figure]:
    """Run for some time and yield what was measured.

    Args:
        seconds: How long.
        realtime: Whether the nodes ask for SCHED_FIFO.
        on_sample: Called with the time since the start [s] and the newest sample of each process.
    """
    nodes = ('console', 'compensation', 'wan_bridge', 'relay', 'simulated_robot')
    settings = {name: {**SETTINGS.get(name, {}), 'realtime': realtime} for name in nodes}
    settings['compensation'] |= {**WITHOUT_ANATOMY, 'rate': RATE}
    settings['console']['rate'] = RATE
    with TelesurgerySites(LINK, settings, ARGUMENTS, keep=2000) as sites:
        sites.connect()
        samples = {name: _watch(sites, name) for names in SITES.values() for name in names}
        start, commands = time.monotonic(), 0
        newest = time.time_ns()
        while (now := time.monotonic()) - start < seconds:
            sites.spin(min(EVERY_S, seconds / 10.0))
            fresh = [at for at in sites.watch.told.times if at > newest]
            commands += len(fresh)
            newest = fresh[-1] if fresh else newest
            for name, kept in samples.items():
                kept.append(_sample(sites, name))
            if on_sample is not None:
                on_sample(time.monotonic() - start, {name: kept[-1] for name, kept in samples.items()})
        rate = commands / (now - start)
        follows = sum(mode == 'outage' for _, mode in sites.watch.modes)
    yield judge('set_points_per_second', rate, 'Hz', at_least=190.0)
    yield judge('soak_outages', float(follows), '')
    for site, names in SITES.items():
        yield judge(f'{site}_site_cpu_percent', sum(_cpu(samples[name]) for name in names), '%', at_most=100.0)
    for site, names in SITES.items():
        yield judge(f'{site}_site_memory_mb', sum(samples[name][-1].memory for name in names) / 2**20, 'MB')
        if seconds > 2.0 * WARM_S:
            slope = sum(memory_slope(samples[name]) for name in names)
            yield judge(f'{site}_site_memory_slope_mb_per_hour', slope, 'MB/h', at_most=1.0)
    for name, kept in samples.items():
        for minutes, memory in memory_curve(kept):
            yield judge(f'{name}_memory_at_{minutes:g}_min_mb', memory / 2**20, 'MB')
    yield judge('soak_minutes', seconds / 60.0, 'min')


def _watch(sites: TelesurgerySites, name: str) -> list[Sample]:
    return [_sample(sites, name)]


def _sample(sites: TelesurgerySites, name: str) -> Sample:
    process = psutil.Process(sites.process(name).pid)
    times = process.cpu_times()
    return Sample(time.monotonic(), times.user + times.system, anonymous_memory(process.pid))


def anonymous_memory(pid: int) -> float:
    """Return the memory of a process that no file backs [B], from RssAnon of /proc.

    Raises:
        ProcessLookupError: it is gone, or is no process with memory.
    """
    for line in Path(f'/proc/{pid}/status').read_text(encoding='ascii', errors='replace').splitlines():
        if line.startswith('RssAnon:'):
            return 1024.0 * float(line.split()[1])
    raise ProcessLookupError(f'process {pid} has no memory')


def _cpu(samples: list[Sample]) -> float:
    span = samples[-1].time - samples[0].time
    return 100.0 * (samples[-1].cpu - samples[0].cpu) / span if span > 0.0 else 0.0


def memory_slope(samples: list[Sample], *, warm: float = WARM_S) -> float:
    """Return the growth of the memory [MB/h]: the median of the slopes of all pairs (Sen 1968), the start left out."""
    kept = [sample for sample in samples if sample.time - samples[0].time >= warm]
    times = np.array([sample.time for sample in kept])
    memory = np.array([sample.memory for sample in kept])
    first, second = np.triu_indices(len(kept), k=1)
    if not len(first):
        return 0.0
    slopes = (memory[second] - memory[first]) / (times[second] - times[first])
    return float(np.median(slopes)) * 3600.0 / 2**20


def memory_curve(samples: Sequence[Sample], minutes: Sequence[float] = CURVE_MIN) -> list[tuple[float, float]]:
    """Return the memory [B] at some minutes after the start, those only that were reached."""
    curve = []
    for minute in minutes:
        reached = [one for one in samples if one.time - samples[0].time <= 60.0 * minute + EVERY_S]
        if reached and reached[-1].time - samples[0].time >= 60.0 * minute - EVERY_S:
            curve.append((minute, reached[-1].memory))
    return curve
