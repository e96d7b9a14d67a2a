"""Runs the trials of bench `telesurgery` on all cores; the result depends on nothing but the seeds."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from twin_nodes.core.errors import ConfigError
from twin_nodes.core.telesurgery.link.config import gilbert_elliott
from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
from twin_nodes.core.telesurgery.operator.config import STEP, OperatorConfig, TaskConfig
from twin_nodes.core.telesurgery.operator.direct import STEP_NS, Transfer, arrival_steps, operator_noise
from twin_nodes.core.telesurgery.operator.kills import Kill, kill
from twin_nodes.core.telesurgery.operator.study import ROWS, FitRow, fit_row, study_transfers
from twin_nodes.core.telesurgery.operator.trial import TrialConfig, TrialResult, run_trial
from twin_nodes.io.link_scenarios import load_scenario

R = TypeVar('R')
STEPS = 24_000  # 120 s: a transfer that takes longer has failed
BURST = 'GE30'  # 30 % loss in bursts of 4
LONG = 'OUT8'  # outages of 5 to 11 s
KILL_LINKS = ('N0', 'N3', 'N5', 'N7')


class Job(NamedTuple):
    """One cell: a scenario, a mode, whether the picture comes back without the link, whether the robot completes."""

    scenario: str
    mode: str
    forward_only: bool = False
    assisted: bool = False


@cache
def _scenario(name: str) -> Scenario:
    if name == BURST:
        p, r = gilbert_elliott(0.3, 4.0)
        both: dict[str, object] = {'delay': {'base': 0.025}, 'loss': {'good_to_bad': p, 'bad_to_good': r}}
    elif name == LONG:
        both = {
            'delay': {'base': 0.025},
            'outage': {
                'down': {'law': 'uniform', 'mean': 8.0, 'spread': 3.0},
                'up': {'law': 'uniform', 'mean': 6.0, 'spread': 3.0},
            },
        }
    else:
        return load_scenario(name)
    return Scenario(link_config({'name': name, 'both': both}))


def loss_percent(name: str) -> float:
    """Return the loss of the scenario's forward direction at the rate of commands over a minute [%]."""
    times = np.arange(round(60.0 / STEP), dtype=np.int64) * STEP_NS
    return 100.0 * float(_scenario(name).link(0).forward.fates(times).lost.mean())


def _spread(work: Callable[[Any], R], items: Sequence[Any]) -> list[R]:
    """Work on the items on all cores, or on the cluster that DASK_SCHEDULER_ADDRESS names; results in their order."""
    address = os.environ.get('DASK_SCHEDULER_ADDRESS')
    if address:
        return _on_cluster(address, work, items)
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or len(items) < 2:
        return [work(item) for item in items]
    context = multiprocessing.get_context('forkserver')
    with ProcessPoolExecutor(min(cores, len(items)), mp_context=context) as pool:
        return list(pool.map(work, items))


def _on_cluster(address: str, work: Callable[[Any], R], items: Sequence[Any]) -> list[R]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            f'DASK_SCHEDULER_ADDRESS={address} asks for Dask, which is missing: pip install distributed, or unset it'
        ) from None
    with Client(address) as client:
        return list(client.gather(client.map(work, items, pure=False)))


def _study_row(item: tuple[str, int]) -> tuple[Transfer, ...]:
    name, count = item
    seeds = list(range(count))
    forward = [arrival_steps(_scenario(name).link(seed).forward if name else None, STEPS) for seed in seeds]
    return study_transfers(OperatorConfig(), TaskConfig(), forward, seeds)


def study(count: int) -> list[FitRow]:
    """Run the rows of the study, normal first, so many transfers each."""
    names = ['', *ROWS]
    found = _spread(_study_row, [(name, count) for name in names])
    return [fit_row(name, transfers, found[0]) for name, transfers in zip(names, found, strict=True)]


def _trial(item: tuple[Job, int]) -> TrialResult:
    job, seed = item
    noise = operator_noise(seed, STEPS)
    config = TrialConfig(assisted=job.assisted)
    return run_trial(config, _scenario(job.scenario).link(seed), job.mode, noise, forward_only=job.forward_only)


def trials(jobs: Sequence[Job], count: int) -> list[list[TrialResult]]:
    """Run so many transfers of each job."""
    items = [(job, seed) for job in jobs for seed in range(count)]
    found = _spread(_trial, items)
    return [found[at : at + count] for at in range(0, len(items), count)]


def _kill(seed: int) -> Kill:
    return kill(_scenario(KILL_LINKS[seed % len(KILL_LINKS)]).link(seed), seed)


def kills(count: int) -> list[Kill]:
    """Kill so many times."""
    return _spread(_kill, range(count))
