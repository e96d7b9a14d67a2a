"""Bench `telesurgery_live`: chosen links in real time, through the real nodes, bridges and emulator over UDP.

A simulated hand goes round at 200 Hz; each link runs for some time. Where the link is lost, the surgeon goes on in his
twin, or asks for the robot to come to him when it is back. On the first link a flood of forged datagrams then meets the
follower's bridge while commands go on.
"""

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.telesurgery_judge import begun_ns, holds, path_error, residual_loss, returns
from twin_nodes.app.telesurgery_sites import WITHOUT_ANATOMY, TelesurgerySites
from twin_nodes.app.telesurgery_watch import TelesurgeryWatch
from twin_nodes.core.errors import ConfigError

BURST = {
    'name': 'burst', 'title': 'burst', 'both': {
        'delay': {'base': 0.05}, 'loss': {'good_to_bad': 0.107143, 'bad_to_good': 0.25},
    },
}  # 30 % loss in bursts of 4, as the residual losses are measured  # fmt: skip
LINKS = ('lan', 'geo', 'burst', 'jhu', 'reorder-dup')
# at any delay with at most 3 % of loss, and at 30 %
LIMITS_MM = {'lan': 0.1, 'geo': 0.1, 'burst': 0.3, 'jhu': 0.3, 'reorder-dup': 0.1}
SETTINGS = {
    'console': {'task': 'circle', 'rounds': 4000, 'operator.near': 0.004, 'operator.max_speed': 0.04, 'touch': []},
    'simulated_robot': {'task': 'none'},
    'compensation': WITHOUT_ANATOMY,
}
ARGUMENTS = {'resume': 'discard', 'through_outages': 'false'}
FLOOD_HZ = 4000


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Run the links one after the other.

    Args:
        quick: Ten seconds each on fewer links, instead of a minute each.

    Yields:
        Figures as mappings.
    """
    names = ('geo', 'jhu') if quick else LINKS
    for figure in live_figures(names, 10.0 if quick else 60.0):
        yield vars(figure)


def live_figures(names: tuple[str, ...], seconds: float) -> Iterator[Figure]:
    """Yield the figures of each link, and those of the flood on the first."""
    with tempfile.TemporaryDirectory(prefix='twin_live_') as name:
        burst = Path(name) / 'burst.yaml'
        burst.write_text(yaml.safe_dump(BURST), encoding='utf-8')
        for number, link in enumerate(names):
            try:
                yield from _one(link, str(burst) if link == 'burst' else link, seconds, flood=number == 0)
            except ConfigError as error:
                yield judge(f'live_{_word(link)}_followed', 0.0, '', at_least=1.0, peer=str(error).splitlines()[0])


def _word(link: str) -> str:
    return link.replace('-', '_')


def _one(link: str, scenario: str, seconds: float, *, flood: bool) -> Iterator[Figure]:
    with TelesurgerySites(scenario, SETTINGS, ARGUMENTS) as sites:
        sites.connect()
        sites.spin(seconds)
        watch = sites.watch
        yield from _judged(link, watch)
        if flood:
            yield from _flooded(sites, min(seconds, 20.0))


def _judged(link: str, watch: TelesurgeryWatch) -> Iterator[Figure]:
    word = _word(link)
    rms, worst = path_error(watch)
    yield judge(f'live_{word}_path_error_rms_mm', 1e3 * rms, 'mm', at_most=LIMITS_MM.get(link))
    yield judge(f'live_{word}_path_error_max_mm', 1e3 * worst, 'mm', at_most=0.5 if link != 'burst' else None)
    yield judge(f'live_{word}_commands_lost_percent', 100.0 * residual_loss(watch), '%')
    yield judge(f'live_{word}_command_age_p50_ms', 1e3 * float(np.median(watch.transits)), 'ms')
    yield judge(f'live_{word}_command_age_p99_ms', 1e3 * float(np.percentile(watch.transits, 99)), 'ms')
    if watch.seen_ages:
        yield judge(f'live_{word}_picture_age_p50_ms', 1e3 * float(np.median(watch.seen_ages)), 'ms')
    stopped, back = holds(watch), returns(watch)[1:]
    yield judge(f'live_{word}_outages', float(len(stopped)), '')
    if stopped:
        yield judge(f'live_{word}_hold_worst_ms', 1e3 * max(stopped), 'ms', at_most=100.0)
    if back:
        yield judge(f'live_{word}_reconnect_step_mm', 1e3 * max(one.step for one in back), 'mm', at_most=0.5)
        yield judge(f'live_{word}_reconnect_speed_mm_s', 1e3 * max(one.speed for one in back), 'mm/s', at_most=20.0)
    yield judge(f'live_{word}_moved_without_request_mm', 1e3 * crept(watch), 'mm', at_most=0.05)


def crept(watch: TelesurgeryWatch) -> float:
    """Return the farthest that the set point moved while the robot was to stand [m]: from hold until the request."""
    worst = 0.0
    start = begun_ns(watch)
    for (at, mode), (end, _) in zip(watch.modes, watch.modes[1:], strict=False):
        if mode != 'hold' or at < start:
            continue
        times, points = watch.told.since(at)
        inside = times < (end - at) * 1e-9 - 0.002  # a mode is said just after the set point of its tick
        if inside.sum() > 1:
            worst = max(worst, float(np.linalg.norm(points[inside] - points[inside][0], axis=1).max()))
    return worst


def _flooded(sites: TelesurgerySites, seconds: float) -> Iterator[Figure]:
    """Send forged datagrams to the follower's bridge and look at the age of the commands beside it."""
    watch = sites.watch
    calm = np.array(watch.transits)[-2000:]
    first = len(watch.transits)
    flood = _Flood(sites.follower_port)
    sites.spin(seconds)
    sent = flood.stop()
    loud = np.array(watch.transits)[first:]
    rise = float(np.percentile(loud, 99) - np.median(calm)) if len(loud) and len(calm) else float('nan')
    yield judge('live_flood_command_p99_ms', 1e3 * rise, 'ms', at_most=10.0, peer='median without a flood')
    yield judge('live_calm_command_p99_ms', 1e3 * float(np.percentile(calm, 99) - np.median(calm)), 'ms')
    yield judge('live_flood_hz', sent / seconds, 'Hz')
    refused = sites.watch.checks.get('follower/wan_bridge: counters')
    if refused is not None:
        total = sum(float(value) for key, value in refused.values.items() if value.isdigit())
        yield judge('live_flood_refused', total, '', at_least=1.0)


class _Flood:
    """Sends garbage to a port, half of it with the head of the bridge's own datagrams."""

    def __init__(self, port: int) -> None:
        self._stopped, self._sent = threading.Event(), 0
        self._thread = threading.Thread(target=self._run, args=(port,), daemon=True)
        self._thread.start()

    def _run(self, port: int) -> None:
        rng = np.random.default_rng(0)
        garbage = [(b'TW1\x03' if number % 2 else b'') + rng.bytes(200) for number in range(64)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not self._stopped.wait(0.01):
                for _ in range(FLOOD_HZ // 100):
                    out.sendto(garbage[self._sent % 64], ('127.0.0.1', port))
                    self._sent += 1

    def stop(self) -> int:
        """End, and return how many were sent."""
        self._stopped.set()
        self._thread.join()
        return self._sent
