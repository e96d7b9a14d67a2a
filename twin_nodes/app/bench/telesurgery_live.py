"""Bench `telesurgery_live`: chosen links in real time, through the real nodes, bridges and emulator over UDP.

A simulated hand goes round at 200 Hz; each of sixteen links runs for twelve seconds. Where the link is lost, the
robot stands until the surgeon asks for it to come to him. Once he asks for `follow` instead, so that the robot goes on
by itself after each of a row of outages. Then, on a good link, a flood of forged datagrams meets the follower's bridge,
and meshes cross by the bulk flow, one end of which is killed, while commands go on.
"""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import yaml
from rclpy.publisher import Publisher
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from twin_nodes.app.bench.flood import Flood
from twin_nodes.app.demo_session import free_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.telesurgery_judge import begun_ns, holds, path_error, residual_loss, returns
from twin_nodes.app.telesurgery_sites import WITHOUT_ANATOMY, TelesurgerySites
from twin_nodes.app.telesurgery_watch import TelesurgeryWatch
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.ros.clouds import surface_marker
from twin_nodes.ros.marker_bytes import marker_array_bytes
from twin_nodes.ros.qos import LATCHED, MEASUREMENT

BURST = {
    'name': 'burst', 'title': 'burst', 'both': {
        'delay': {'base': 0.05}, 'loss': {'good_to_bad': 0.107143, 'bad_to_good': 0.25},
    },
}  # 30 % loss in bursts of 4, as the residual losses are measured  # fmt: skip
# near, far, jittering, lossy, cut off, out of order, changing, with clocks apart, under attack
LINKS = (
    'lan', 'metro-vpn', '4g', 'intercontinental', 'leo', 'geo', 'netfi-plm2', 'netfi-dlm1', 'netfi-clm2', 'burst',
    'jhu', 'reorder-dup', 'asym', 'step', 'clock', 'hostile',
)  # fmt: skip
LOSSY = ('netfi-plm2', 'netfi-clm2', 'burst', 'jhu', 'leo')  # those that lose more than 3 %, if only at times
LIMIT_MM, LOSSY_LIMIT_MM = 0.1, 0.3
LIMIT_MAX_MM = 0.5
SETTINGS = {
    'console': {'task': 'circle', 'rounds': 4000, 'operator.near': 0.004, 'operator.max_speed': 0.04, 'touch': [],
                'rate': 200.0},
    'simulated_robot': {'task': 'none'},
    'compensation': {**WITHOUT_ANATOMY, 'rate': 200.0},
}  # fmt: skip
ARGUMENTS = {'resume': 'discard', 'through_outages': 'false'}


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Run the links one after the other.

    Args:
        quick: Ten seconds each on two links.

    Yields:
        Figures as mappings.
    """
    names = ('geo', 'jhu') if quick else LINKS
    seconds = 10.0 if quick else 12.0
    for figure in live_figures(names, seconds):
        yield vars(figure)
    if not quick:
        for figure in follow_figures(2.5 * seconds):
            yield vars(figure)
    for figure in beside_figures(seconds):
        yield vars(figure)


def live_figures(names: tuple[str, ...], seconds: float) -> Iterator[Figure]:
    """Yield the figures of each link."""
    with tempfile.TemporaryDirectory(prefix='twin_live_') as name:
        burst = Path(name) / 'burst.yaml'
        burst.write_text(yaml.safe_dump(BURST), encoding='utf-8')
        for link in names:
            try:
                yield from _one(link, str(burst) if link == 'burst' else link, seconds)
            except ConfigError as error:
                yield judge(f'live_{_word(link)}_followed', 0.0, '', at_least=1.0, peer=str(error).splitlines()[0])


def _word(link: str) -> str:
    return link.replace('-', '_')


def _one(link: str, scenario: str, seconds: float) -> Iterator[Figure]:
    with TelesurgerySites(scenario, SETTINGS, ARGUMENTS) as sites:
        sites.connect()
        sites.spin(seconds)
        watch = sites.watch
    yield from _judged(link, watch)


def _judged(link: str, watch: TelesurgeryWatch) -> Iterator[Figure]:
    word = _word(link)
    rms, worst = path_error(watch)
    lossy = link in LOSSY
    limit = LOSSY_LIMIT_MM if lossy else LIMIT_MM
    yield judge(f'live_{word}_path_error_rms_mm', 1e3 * rms, 'mm', at_most=limit)
    yield judge(f'live_{word}_path_error_max_mm', 1e3 * worst, 'mm', at_most=None if lossy else LIMIT_MAX_MM)
    yield judge(f'live_{word}_set_points_hz', _rate(watch), 'Hz', at_least=190.0)
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


def _rate(watch: TelesurgeryWatch) -> float:
    times = watch.told.times
    return (len(times) - 1) / ((times[-1] - times[0]) * 1e-9) if len(times) > 1 else 0.0


def crept(watch: TelesurgeryWatch) -> float:
    """Return the farthest that the set point moved while the robot was to stand [m]: from hold until the request."""
    worst = 0.0
    start = begun_ns(watch)
    for (at, mode), (end, _) in zip(watch.modes, watch.modes[1:], strict=False):
        if mode != 'hold' or at < start:
            continue
        times, points = watch.told.since(at)
        inside = (
            times < (end - at) * 1e-9 - 0.02
        )  # a mode is said in its tick, whose set point has the stamp of the tick
        if inside.sum() > 1:
            worst = max(worst, float(np.linalg.norm(points[inside] - points[inside][0], axis=1).max()))
    return worst


def follow_figures(seconds: float) -> Iterator[Figure]:
    """Yield the figures of a standing resume: the surgeon goes on through outages of the JHU law (0.8 s in 4 s)."""
    with TelesurgerySites('jhu', SETTINGS, {**ARGUMENTS, 'resume': 'follow', 'through_outages': 'true'}) as sites:
        apart = sites.watch.create_publisher(Float64, '/follower/PSM1/compensation/divergence', MEASUREMENT)
        sites.connect()
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # nothing is replayed where nobody says that twin and reality agree
            apart.publish(Float64(data=0.0001))
            sites.spin(0.1)
        watch = sites.watch
    yield from followed(watch)


def followed(watch: TelesurgeryWatch) -> Iterator[Figure]:
    """Judge a run in which the surgeon asked for `follow`."""
    requests = [at for at, action in watch.asked if action == 'follow']
    first = requests[0] if requests else 1 << 62
    served = sum(mode == 'catch-up' and at > first for at, mode in watch.modes)
    stopped, back = holds(watch), returns(watch)[1:]
    rms, worst = path_error(watch)
    share = served / len(requests) if requests else 0.0
    yield judge('live_follow_returns_per_request', share, '', at_least=2.0)
    yield judge('live_follow_path_error_rms_mm', 1e3 * rms, 'mm', at_most=LOSSY_LIMIT_MM)
    yield judge('live_follow_path_error_max_mm', 1e3 * worst, 'mm')
    yield judge('live_follow_hold_worst_ms', 1e3 * max(stopped, default=0.0), 'ms', at_most=100.0)
    yield judge('live_follow_reconnect_step_mm', 1e3 * max((one.step for one in back), default=0.0), 'mm', at_most=0.5)
    speed = max((one.speed for one in back), default=0.0)
    yield judge('live_follow_reconnect_speed_mm_s', 1e3 * speed, 'mm/s', at_most=20.0)
    yield judge('live_follow_moved_without_request_mm', 1e3 * crept(watch), 'mm', at_most=0.05)


def beside_figures(seconds: float) -> Iterator[Figure]:
    """Look at the age of commands on a good link alone, under a flood, beside bulk, and while bulk is killed."""
    has_bulk = find_spec('zenoh') is not None
    arguments = {**ARGUMENTS, 'bulk': str(has_bulk).lower(), 'bulk_port': str(free_port())}
    with TelesurgerySites('lan', SETTINGS, arguments) as sites:
        sites.connect()
        sites.spin(1.0)
        calm = _ages(sites, lambda: sites.spin(seconds))
        flood = Flood(sites.follower_port)
        flooded = _ages(sites, lambda: sites.spin(seconds))
        sent = flood.stop() / seconds
        refused = sites.watch.checks.get('follower/wan_bridge: counters')
        if has_bulk:
            got, loud, cut, back = _bulk(sites, seconds)
    middle = float(np.median(calm))
    yield judge('live_command_p99_alone_ms', _late(calm, middle), 'ms')
    yield judge('live_flood_command_p99_ms', _late(flooded, middle), 'ms', at_most=10.0, peer='median alone')
    yield judge('live_flood_hz', sent, 'Hz')
    total = sum(float(value) for value in refused.values.values() if value.isdigit()) if refused else 0.0
    yield judge('live_flood_refused', total, '', at_least=1.0)
    if not has_bulk:
        yield judge('live_bulk_received', None, '', peer='the extra `wan` is not installed')
        return
    yield judge('live_bulk_received', float(got), '', at_least=1.0)
    yield judge('live_command_p99_beside_bulk_ms', _late(loud, middle), 'ms', at_most=10.0, peer='median alone')
    yield judge('live_command_p99_bulk_killed_ms', _late(cut, middle), 'ms', at_most=10.0, peer='median alone')
    yield judge('live_bulk_came_back', float(back), '', at_least=1.0)


def _late(ages: Array, middle: float) -> float:
    return 1e3 * (float(np.percentile(ages, 99)) - middle) if len(ages) else float('nan')


def _ages(sites: TelesurgerySites, act: Callable[[], None]) -> Array:
    """Return the ages of the commands [s] (n,) that came while something was done."""
    first = len(sites.watch.transits)
    act()
    return np.array(sites.watch.transits)[first:]


def _bulk(sites: TelesurgerySites, seconds: float) -> tuple[int, Array, Array, bool]:
    """Send meshes beside the commands, kill the receiving process, and wait for what it gets when it is back."""
    watch, got = sites.watch, []
    out = watch.create_publisher(MarkerArray, '/follower/anatomy/surface', LATCHED)
    topic = '/leader/anatomy/surface'
    heard = watch.create_subscription(MarkerArray, topic, lambda data: got.append(len(data)), LATCHED, raw=True)
    loud = _ages(sites, lambda: _send(sites, out, seconds))
    sites.spin_until(lambda: bool(got), 30.0)
    before = len(got)
    receiver = next(one for one in sites.launch.processes if one.plan.node == '/leader/wan_bulk')
    sites.signal(receiver, signal.SIGKILL)
    cut = _ages(sites, lambda: _send(sites, out, 0.5 * seconds))
    back = sites.spin_until(lambda: len(got) > before, 60.0)
    watch.destroy_subscription(heard)
    return before, loud, cut, back


def _send(sites: TelesurgerySites, out: Publisher, seconds: float) -> None:
    vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.05), exponent=1.0, rings=48)
    marker = surface_marker(1, 'anatomy', 'organ', 0, vertices[:0], triangles[:0], (1.0, 1.0, 1.0, 1.0))
    corners = vertices[triangles.ravel()]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        out.publish(marker_array_bytes([(marker, corners * (1.0 + 1e-6 * (end - time.monotonic())))]))
        sites.spin(0.5)
