"""Bench `link`: what the bridge loses, adds and refuses, and what the emulator's relay is late by.

Residual loss is counted on simulated packets (millions; a real hour has too few long bursts): a command is lost when
none of the datagrams that carry it comes within the span that is waited for. That this is what the bridge does is
checked in the same run, command by command, on the bridge itself with its bytes, seals and jitter buffer. The rest is
measured on the real nodes over UDP by `link_wire`; what stock DDS makes of the same link, its repairs crossing it too,
by `link_dds`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from twin_nodes.app.bench.link_attacks import forged_applied
from twin_nodes.app.bench.link_dds import dds_figures
from twin_nodes.app.bench.link_wire import wire_figures
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.telesurgery.bridge.config import BridgeConfig
from twin_nodes.core.telesurgery.bridge.trial import TrialResult, run_trial
from twin_nodes.core.telesurgery.link.config import gilbert_elliott
from twin_nodes.core.telesurgery.link.losses import mean_runs
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config

RATE_HZ = 200.0
BURST = 4.0
DELAY_S = 0.025
SETTLE_S = 8.0
ALONE = 'the same packets with one command each'


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Measure the link and the bridge.

    Args:
        quick: Smaller samples, the same figures.

    Yields:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    figures = [*_losses(1_000_000 if quick else 10_000_000, 25.0 if quick else 240.0), *_emulator()]
    yield from (vars(figure) for figure in figures)
    applied, datagrams, seen = forged_applied(100_000, seed=1)
    yield vars(judge('forged_applied', applied, '', at_most=0.0))
    yield vars(judge('forged_datagrams', datagrams, '', at_least=100_000))
    yield vars(judge('forged_refusals_counted_share', seen, '', at_least=1.0))
    yield from (vars(figure) for figure in wire_figures(burst_loss(0.1), 10.0 if quick else 60.0))
    yield from (vars(figure) for figure in dds_figures(burst_loss(0.1), 8.0 if quick else 60.0, percent=10))


def burst_loss(loss: float) -> Scenario:
    """Return 25 ms with this loss in bursts of 4 packets on average at 200 Hz."""
    p, r = gilbert_elliott(loss, BURST)
    values = {'delay': {'base': DELAY_S}, 'loss': {'good_to_bad': p, 'bad_to_good': r}}
    return Scenario(link_config({'name': f'{100 * loss:g} %', 'both': values}))


def _losses(packets: int, seconds: float) -> Iterator[Figure]:
    copies = BridgeConfig('leader').redundancy.max_copies
    agrees, added = [], []
    for percent, limit in ((10, 0.05), (30, 0.2)):
        scenario = burst_loss(percent / 100.0)
        times = np.round(np.arange(packets) * 1e9 / RATE_HZ).astype(np.int64)
        lost = scenario.link(percent).forward.fates(times).lost
        residual = 100.0 * float(_never(lost, copies).mean())
        network = 100.0 * float(lost.mean())
        yield judge(
            f'residual_loss_at_{percent}_percent', residual, '%', at_most=limit, peer=ALONE, ratio=residual / network
        )
        yield judge(f'mean_burst_at_{percent}_percent_packets', mean_runs(lost), '')
        trial = run_trial(scenario.link(percent), seconds=seconds)
        agrees.append(_agrees(trial, scenario.link(percent).forward.fates(trial.sent_ns).lost, copies))
        added.append(1e3 * float(trial.added_delay_s(after_s=SETTLE_S).max()))
    yield judge('bridge_agrees_with_prediction', float(all(agrees)), '', at_least=1.0)
    yield judge('added_delay_ms', max(added), 'ms', at_most=100.0)
    growth = _held_after(2.0 * seconds) / _held_after(seconds)
    yield judge('held_objects_growth_ratio', growth, '', at_most=1.1)


def _never(lost: NDArray[np.bool_], copies: int) -> NDArray[np.bool_]:
    """Which commands are in no datagram that comes: that of their own and the next copies - 1 are all lost."""
    total = np.concatenate([[0], np.cumsum(lost)])
    return np.asarray(total[copies:] - total[:-copies] == copies)


def _agrees(trial: TrialResult, lost: NDArray[np.bool_], copies: int) -> bool:
    """Whether the bridge played exactly the commands that the copies can bring, once it had settled."""
    never = _never(lost, copies)
    start = int(SETTLE_S * RATE_HZ)
    played = trial.played_ns[: len(never)] >= 0
    return bool((played[start:] == ~never[start:]).all()) and trial.order_kept


def _emulator() -> Iterator[Figure]:
    """The published laws that the emulator must have."""
    from twin_nodes.io.link_scenarios import load_scenario

    times = np.arange(300_000) * 5_000_000
    for name, mean in (('N11', 100.0), ('N12', 299.2), ('N13', 500.1)):
        delay = 1e3 * float(load_scenario(name).link(1).forward.fates(times[:100_000]).delay_s.mean())
        yield judge(f'netfi_delay_{mean:.0f}_ms', delay, 'ms', at_least=0.99 * mean, at_most=1.01 * mean)
    for name, loss in (('N8', 9.8), ('N9', 30.4), ('N10', 50.4)):
        percent = 100.0 * float(load_scenario(name).link(1).forward.fates(times).lost.mean())
        yield judge(f'netfi_loss_{loss:.0f}_percent', percent, '%', at_least=loss - 0.5, at_most=loss + 0.5)
    slow = np.arange(200_000) * 20_000_000
    for name, share in (('N14', 15.0), ('N15', 100.0 / 3.0), ('N16', 50.0), ('N17', 20.0)):
        percent = 100.0 * float(load_scenario(name).link(1).forward.fates(slow).lost.mean())
        title = load_scenario(name).config.title.replace('-', '_')
        yield judge(f'outage_share_{title}_percent', percent, '%', at_least=share - 1.5, at_most=share + 1.5)


def _held_after(seconds: float) -> float:
    trial = run_trial(burst_loss(0.1).link(3), seconds=seconds)
    return float(_held(trial.leader) + _held(trial.follower))


def _held(thing: object, seen: set[int] | None = None) -> int:
    """Count what an object keeps, containers and their elements: flat when nothing grows with time."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None))):
        return 1
    seen.add(id(thing))
    if isinstance(thing, dict):
        return 1 + sum(_held(value, seen) for value in thing.values())
    if isinstance(thing, (list, tuple, set)) or type(thing).__name__ == 'deque':
        return 1 + sum(_held(value, seen) for value in thing)  # type: ignore[attr-defined]
    return 1 + (
        _held(vars(thing), seen)
        if type(thing).__module__.startswith('twin_nodes') and hasattr(thing, '__dict__')
        else 0
    )
