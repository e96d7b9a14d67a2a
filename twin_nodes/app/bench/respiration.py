"""Bench `respiration`: how far ahead a breath can be told, and whether the band holds.

Each trace is fed sample by sample; a prediction uses nothing after its own stamp. Peers in the same run: the last
position held, linear extrapolation, and normalised least mean squares on the same lags (its step size the best of
three). With the recordings of `resp_extmarker` beside the repository these are measured, else simulated breathing.
`skill` is 1 − RMSE / RMSE of hold-last over all traces.
"""

import sys
from collections.abc import Iterator

import numpy as np
from scipy.stats import chi2

from twin_nodes.app.bench.recordings import recordings
from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.guidance.respiration.config import BreathingConfig, RespirationConfig
from twin_nodes.core.guidance.respiration.session import RespirationSession
from twin_nodes.core.guidance.respiration.trial import Errors, follow, position_at
from twin_nodes.core.simulate.breathing import breathing_trace
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.recordings.breathing import read_breathing

FOLDER = 'resp_extmarker'
ENDINGS = ('.csv', '.txt', '.tsv', '.hea', '.edf')


def run(quick: bool = False) -> list[dict[str, object]]:
    """Measure the prediction of breathing.

    Args:
        quick: Fewer traces, the same figures.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    config = BreathingConfig()
    errors = [Errors() for _ in config.horizons]
    source = 'simulated'
    for source, times, positions in _traces(quick):  # noqa: B007
        follow(config, times, positions, errors)
    if not all(error.hits for error in errors):
        raise InputError(f'no trace of {source} is long enough to be predicted over {config.horizons[-1]:g} s')
    figures = [
        figure for horizon, error in zip(config.horizons, errors, strict=True) for figure in _judged(horizon, error)
    ]
    hits = float(np.mean([np.mean(error.hits) for error in errors]))
    figures += [
        judge('coverage95', hits, '', at_least=0.93, at_most=0.97, peer=source),
        judge('coverage95_axis', float(np.mean([np.mean(error.axis_hits) for error in errors])), '', at_least=0.93,
              at_most=0.97),
        *_target(2 if quick else 10),
    ]  # fmt: skip
    return [vars(figure) for figure in figures]


def _judged(horizon: float, error: Errors) -> Iterator[Figure]:
    name = f'{round(1e3 * horizon)}ms'
    own, hold = error.rmse('own'), error.rmse('hold-last')
    lms = error.least_mean_squares
    yield judge(f'skill_{name}', 1.0 - own / hold, '', at_least=0.0, peer='hold-last', ratio=own / hold)
    yield judge(f'rmse_{name}_mm', 1e3 * own, 'mm', peer='least mean squares', ratio=own / lms)
    yield judge(
        f'rmse_{name}_linear_mm', 1e3 * error.rmse('linear'), 'mm', peer='ours', ratio=error.rmse('linear') / own
    )
    yield judge(f'coverage95_{name}', float(np.mean(error.hits)), '', at_least=0.93, at_most=0.97)


def _traces(quick: bool) -> Iterator[tuple[str, Array, Array]]:
    folder = recordings(FOLDER)
    if folder:
        paths = [path for path in sorted(folder.rglob('*')) if path.suffix.lower() in ENDINGS]
        seen = False
        for path in paths[:: 4 if quick else 1]:
            try:
                trace = read_breathing(path)
            except InputError as error:
                print(f'left out: {error}', file=sys.stderr)
                continue
            seen = True
            yield FOLDER, trace.stamps_ns / NANOSECONDS, trace.positions
        if seen:
            return
    for seed in range(3 if quick else 15):
        simulated = breathing_trace(np.random.default_rng(seed), markers=1)
        yield 'simulated', simulated.times, simulated.markers[:, 0]


def _target(runs: int) -> list[Figure]:
    """Error of a hidden target 0.5 s ahead, a fix every 5 s, skin markers with hysteresis; and its 95 % region."""
    config = RespirationConfig()
    ahead = 1 + list(config.breathing.horizons).index(0.5)
    misses, held, hits = [], [], []
    for seed in range(runs):
        rng = np.random.default_rng(1000 + seed)
        trace = breathing_trace(rng)
        session = RespirationSession(config, tuple(f'm{i}' for i in range(trace.markers.shape[1])))
        fix = trace.target[0]
        for index, time in enumerate(trace.times):
            for marker, position in enumerate(trace.markers[index]):
                session.add_marker(f'm{marker}', round(time * NANOSECONDS), position)
            if index > 50 and index % 50 == 0:
                fix = trace.target[index] + rng.normal(0.0, config.correlation.noise, 3)
                session.add_fix(round(time * NANOSECONDS), fix)
            forecast = session.forecast()
            if forecast is None or time + 0.5 > trace.times[-1]:
                continue
            truth = position_at(trace.times, trace.target, time + 0.5)
            miss = truth - forecast.positions[ahead]
            misses.append(miss @ miss)
            held.append((truth - fix) @ (truth - fix))
            hits.append(miss @ np.linalg.solve(forecast.covariances[ahead], miss) <= chi2.ppf(0.95, 3))
    own, last = np.sqrt(np.mean(misses)), np.sqrt(np.mean(held))
    return [
        judge('target_500ms_rmse_mm', 1e3 * float(own), 'mm', peer='last fix', ratio=float(own / last)),
        judge('target_coverage95', float(np.mean(hits)), ''),
    ]
