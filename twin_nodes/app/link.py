"""`twin link`: list the scenarios, look at one, run it as a UDP relay, make a key for the bridge."""

import json as json_text
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.link.losses import mean_runs
from twin_nodes.core.telesurgery.link.scenario import Link, Scenario
from twin_nodes.io.link_key import make_key
from twin_nodes.io.link_scenarios import all_scenarios, load_scenario
from twin_nodes.io.precise_wait import ALLOW, sharpened
from twin_nodes.io.udp_relay import Address, UdpRelay

HOLD_MS = 100.0  # a robot stands after this long without a command


def list_scenarios(*, json: bool = False) -> int:
    """Print the scenarios of the package."""
    for scenario in all_scenarios():
        config = scenario.config
        if json:
            print(json_text.dumps({'name': config.name, 'title': config.title, 'source': config.source}))
        else:
            print(f'{config.name:5} {config.title:18} {config.source}')
    return 0


def show(name: str, *, seconds: float, rate_hz: float, size: int, seed: int, json: bool) -> int:
    """Print what a scenario does to packets, per direction."""
    scenario = load_scenario(name)
    for direction in ('forward', 'backward'):
        figures = _figures(scenario, direction, seconds=seconds, rate_hz=rate_hz, size=size, seed=seed)
        figures |= _clocks(scenario.link(seed), seconds)
        if json:
            print(json_text.dumps({'name': scenario.config.name, 'direction': direction} | figures))
            continue
        print(f'{scenario.config.name} {scenario.config.title}, {direction}, {rate_hz:g} Hz of {size} B, seed {seed}:')
        for key, value in figures.items():
            print(f'  {key:26} {value:.4g}')
    return 0


def _figures(
    scenario: Scenario, direction: str, *, seconds: float, rate_hz: float, size: int, seed: int
) -> dict[str, float]:
    times = np.round(np.arange(max(int(seconds * rate_hz), 2)) * NANOSECONDS / rate_hz).astype(np.int64)
    fates = getattr(scenario.link(seed), direction).fates(times, size)
    arrived = fates.arrival_ns[~fates.lost]
    figures = {
        'loss_percent': 100.0 * float(fates.lost.mean()),
        'mean_burst_packets': mean_runs(fates.lost),
        'reordered_percent': 100.0 * float(np.mean(np.diff(arrived) < 0)) if len(arrived) > 1 else 0.0,
    }
    if len(arrived):
        delay_ms = 1e3 * fates.delay_s
        figures |= {
            'delay_mean_ms': float(delay_ms.mean()),
            'delay_sd_ms': float(delay_ms.std()),
            **{f'delay_p{p}_ms': float(np.percentile(delay_ms, p)) for p in (50, 95, 99)},
            'delay_max_ms': float(delay_ms.max()),
            **_silences(arrived),
        }
    attack = scenario.config.attack
    shares = {name: getattr(attack, name) for name in ('flip', 'truncate', 'replay', 'forge')}
    figures |= {f'attack_{name}_percent': 100.0 * share for name, share in shares.items() if share}
    return figures | ({'attack_flood_per_packet': float(attack.flood)} if attack.flood else {})


def _silences(arrived: NDArray[np.int64]) -> dict[str, float]:
    """Return the longest silence, and the share of time more than 0.1 s after the last packet, when a robot stands."""
    gaps_ms = 1e-6 * np.diff(np.sort(arrived)).astype(float)
    if not len(gaps_ms):
        return {}
    standing = np.maximum(gaps_ms - HOLD_MS, 0.0).sum() / gaps_ms.sum() if gaps_ms.sum() > 0.0 else 0.0
    return {'silence_max_ms': float(gaps_ms.max()), 'silent_over_100_ms_percent': 100.0 * float(standing)}


def _clocks(link: Link, seconds: float) -> dict[str, float]:
    """Return how far the clocks of the sites come apart, looked at each second; nothing where they do not."""
    leader, follower = link.leader_clock, link.follower_clock
    times = [second * NANOSECONDS for second in range(int(seconds) + 1)]
    apart = {
        'steady_clocks_apart_max_ms': max(abs(leader.monotonic_ns(t) - follower.monotonic_ns(t)) for t in times),
        'wall_clocks_apart_max_ms': max(abs(leader.wall_ns(t) - follower.wall_ns(t)) for t in times),
    }
    return {name: 1e-6 * value for name, value in apart.items()} if any(apart.values()) else {}


def relay(
    name: str, *, host: str, leader_port: int, follower_port: int, to: str, seed: int, seconds: float, json: bool
) -> int:
    """Relay UDP datagrams until Ctrl-C, or for some time."""
    scenario = load_scenario(name)
    made = UdpRelay(
        scenario.link(seed), host=host, ports=(leader_port, follower_port), follower=_address(to) if to else None
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: made.stop())
    where = f'answers to {to}' if to else f'follower to {host}:{made.ports[1]}'
    if not json:
        print(f'{scenario.config.name} {scenario.config.title}: leader to {host}:{made.ports[0]}, {where}', flush=True)
    looks = [0]

    def look() -> None:
        looks[0] += 1
        if seconds and looks[0] >= seconds:
            made.stop()

    with sharpened() as scheduler:
        if scheduler == 'fair' and not json:
            print(f'scheduler: fair, so that busy cores make the relay some milliseconds late; {ALLOW}', flush=True)
        made.run(on_look=look)
    late_ms = np.array(made.lateness_ns) * 1e-6 if made.lateness_ns else np.zeros(1)
    figures = {
        'forward': made.counts[0],
        'backward': made.counts[1],
        'lateness_p50_ms': float(np.percentile(late_ms, 50)),
        'lateness_p99_ms': float(np.percentile(late_ms, 99)),
        'no_peer': made.no_peer,
        'scheduler': scheduler,
    }
    if json:
        print(json_text.dumps(figures))
    else:
        for direction in ('forward', 'backward'):
            print(
                f'{direction}: '
                + ', '.join(f'{key} {value}' for key, value in made.counts[direction == 'backward'].items())
            )
        p50, p99 = figures['lateness_p50_ms'], figures['lateness_p99_ms']
        print(f'left {p50:.3f} ms late (p50), {p99:.3f} ms (p99); scheduler {scheduler}')
    return 0


def key(path: Path) -> int:
    """Make a key file."""
    make_key(path)
    print(f'{path}: 32 random bytes, mode 0600; copy it to the other site over a safe way, and name it as key_file')
    return 0


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(':')
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f'{text!r}: expected HOST:PORT, such as 127.0.0.1:47800')
    return host, int(port)
