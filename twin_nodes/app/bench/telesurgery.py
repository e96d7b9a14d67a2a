"""Bench `telesurgery`: people's times, the path, the reconnection and the hold, in simulated time, bit-repeatable.

The simulated operator is first held against the published study, row by row; only what he does on a bad link with and
without the twin is compared. `direct` is the console as in the study (increments, no compensation); it is also what
`disabled in outage` means: what the hand does while the link is down moves nothing, and he goes on when it is back.
The full run adds every scenario in every mode and writes one table, telesurgery.html, into the present folder.
"""

from collections.abc import Iterator

import numpy as np

from twin_nodes.app.bench.telesurgery_safety import BRIDGED, figures, worst_of
from twin_nodes.app.bench.telesurgery_table import write_table
from twin_nodes.app.bench.telesurgery_trials import (
    BURST,
    LONG,
    Job,
    kills,
    loss_percent,
    study,
    trials,
)
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.telesurgery.operator.forgeries import forged_applied
from twin_nodes.core.telesurgery.operator.study import FitRow, same_rank, worst_percent
from twin_nodes.core.telesurgery.operator.trial import MODES, TrialResult
from twin_nodes.io.link_scenarios import scenario_names

DIRECT = 'direct'
OUTAGES = ('N14', 'N15', 'N16', 'N19')


def run(quick: bool = False) -> Iterator[dict[str, object]]:
    """Measure the compensation.

    Args:
        quick: Smaller samples, the same figures.

    Yields:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    for figure in _figures(quick):
        yield vars(figure)


def _figures(quick: bool) -> Iterator[Figure]:
    rows = study(36 if quick else 100)
    worst = worst_percent(rows[1:])
    yield judge('operator_fit_worst_percent', worst, '%', at_most=15.0, peer='UVA study, 9 rows')
    yield judge('operator_fit_same_rank', float(same_rank(rows[1:])), '', at_least=1.0, peer='UVA study, 9 rows')
    yield judge('operator_normal_s', float(np.mean([t.seconds for t in rows[0].transfers])), 's', peer='people 22.1 s')
    for row in rows[1:]:
        yield judge(f'operator_{row.scenario.lower()}_ratio', row.simulated, '', peer=f'people {row.published:.2f}',
                    ratio=row.simulated / row.published)  # fmt: skip
    yield from _tasks(4 if quick else 20)
    yield from _safety(quick)
    if not quick:
        yield from _matrix(6, rows)


def _tasks(count: int) -> Iterator[Figure]:
    jobs = [
        Job('N0', DIRECT), Job('N13', DIRECT, forward_only=True), Job('N13', 'twin', forward_only=True),
        Job('N11', DIRECT, forward_only=True), Job('N17', DIRECT), Job('N17', 'twin'), Job('N17', 'bridge'),
        Job('N7', 'twin'), Job('N9', 'twin'), Job(BURST, 'twin'),
        Job(LONG, 'prediction'), Job(LONG, 'prediction', assisted=True),
        *[Job(name, 'twin') for name in OUTAGES],
    ]  # fmt: skip
    found = dict(zip(jobs, trials(jobs, count), strict=True))
    normal, slow, twin, short, disabled, replayed, held = (found[job] for job in jobs[:7])
    base, people = _mean(normal), _mean(slow)
    yield judge('time_ratio_500ms', _mean(twin) / base, '', at_most=1.5, peer='direct', ratio=_mean(twin) / people)
    yield judge(
        'collisions_500ms', _collisions(twin), '1/transfer', at_most=_collisions(short), peer='direct at 100 ms'
    )
    ratio = _mean(replayed) / _mean(disabled)
    yield judge('time_ratio_jhu_to_disabled', ratio, '', at_most=0.7, peer='direct', ratio=ratio)
    yield judge('time_ratio_jhu_to_hold', _mean(replayed) / _mean(held), '', peer='hold, then resume by the operator')
    waits, helped = found[Job(LONG, 'prediction')], found[Job(LONG, 'prediction', assisted=True)]
    yield judge('time_ratio_8_s_outages_assisted_to_waiting', _mean(helped) / _mean(waits), '', peer='waits in outages')
    yield judge('assisted_completions', float(np.mean([r.completed for r in helped])), '1/transfer')
    geo = found[Job('N7', 'twin')]
    yield judge('path_error_geo_rms_mm', _rms(geo), 'mm', at_most=0.1, peer='published 0.32 mm')
    yield judge('path_error_geo_max_mm', 1e3 * max(r.path_max for r in geo), 'mm', at_most=0.5)
    lossy = max(_rms(found[Job('N9', 'twin')]), _rms(found[Job(BURST, 'twin')]))
    yield judge('path_error_30_percent_rms_mm', lossy, 'mm', at_most=0.3)
    everything = [result for job in jobs if job.mode != DIRECT for result in found[job]]
    yield judge('reconnect_step_mm', 1e3 * max(r.reconnect_step for r in everything), 'mm', at_most=0.5)
    yield judge('reconnect_speed_mm_s', 1e3 * max(r.reconnect_speed for r in everything), 'mm/s', at_most=20.0)
    yield judge('passivity_lowest_energy_uj', 1e6 * min(r.lowest_energy for r in everything), 'uJ', at_least=-1.0)
    yield judge('transfers_failed', float(sum(not r.transfer.success for r in everything)), '', at_most=0.0)


def _safety(quick: bool) -> Iterator[Figure]:
    found = kills(200 if quick else 1000)
    holds = [1e3 * kill.hold_seconds for kill in found]
    yield judge('hold_p999_ms', float(np.percentile(holds, 99.9)), 'ms', at_most=100.0)
    yield judge('hold_late', float(sum(hold > 100.0 for hold in holds)), '', at_most=0.0)
    yield judge('moved_without_request', float(sum(kill.moved_after for kill in found)), '', at_most=0.0)
    passed, refused = forged_applied(100_000, 0)
    yield judge('forged_applied', float(passed), '', at_most=0.0)
    yield judge('good_refused', float(refused), '', at_most=0.0)


def _matrix(count: int, rows: list[FitRow]) -> Iterator[Figure]:
    names = scenario_names()
    jobs = [Job(name, mode) for name in names for mode in MODES]
    found = dict(zip(jobs, trials(jobs, count), strict=True))
    base = found[Job('N0', DIRECT)]
    for job in jobs:
        name = f'{job.scenario.lower()}_{job.mode}_time_ratio'
        yield judge(name, _mean(found[job]) / _mean(base), '', peer='N0 direct')
    worst = {
        name: worst_of([result for mode in BRIDGED for result in found[Job(name, mode)]], loss_percent(name))
        for name in names
    }
    promises = [*figures(names, worst, found), _most_collisions(names, found)]
    yield from promises
    write_table(names, found, base, rows, promises, worst)


def _most_collisions(names: list[str], found: dict[Job, list[TrialResult]]) -> Figure:
    """Return the collisions of the full twin where they are most, held against the console of the study at 100 ms."""
    most = max(names, key=lambda name: _collisions(found[Job(name, 'twin')]))
    return judge(
        'all_twin_collisions', _collisions(found[Job(most, 'twin')]), '1/transfer',
        at_most=max(_collisions(found[Job('N11', mode)]) for mode in (DIRECT, 'bridge')), peer=f'{most}; limit N11',
    )  # fmt: skip


def _mean(results: list[TrialResult]) -> float:
    return float(np.mean([result.transfer.seconds for result in results]))


def _collisions(results: list[TrialResult]) -> float:
    return float(np.mean([result.transfer.collisions for result in results]))


def _rms(results: list[TrialResult]) -> float:
    return 1e3 * float(np.sqrt(np.mean([result.path_rms**2 for result in results])))
