"""Bench `chain`: the tip of a drill in a camera through a chain of ties, each of them calibrated anew in every run.

The room is that of Twin-S with its published geometry. Each run pivots the drill (300 poses), looks at a board from 200
sides for the hand-eye tie, and locates the tip from one measured pose of drill and camera, as Twin-S does. A part of
the runs follows both through the pose filter as well, registers the skull, and locates the tip in it.
"""

import numpy as np
from scipy.stats import chi2

from twin_nodes.core.simulate.twin_s import TwinSNoise
from twin_nodes.core.simulate.twin_s_trial import ChainTrial, Located, run_trial

RUNS = 500
PUBLISHED_MM = 1.39
PEER = 'Twin-S, published 1.39 mm'
PER_AXIS = 0.11e-3 * np.sqrt(3.0)


def _trials(runs: int, noise: TwinSNoise, *, filtered: bool, first_seed: int = 0) -> list[ChainTrial]:
    return [run_trial(np.random.default_rng(first_seed + run), noise, filtered=filtered) for run in range(runs)]


def _millimetres(located: list[Located]) -> np.ndarray:
    return np.array([1e3 * one.distance for one in located])


def _nees(located: list[Located]) -> tuple[float, float, float]:
    """Mean normalised error squared, and its 95 % bounds for 3 degrees of freedom."""
    low, high = np.array(chi2.interval(0.95, 3 * len(located))) / len(located)
    return float(np.mean([one.nees for one in located])), float(low), float(high)


def _shares(located: list[Located]) -> list[dict[str, object]]:
    """Part of each link in the mean variance of the tip."""
    names = [cost.name for cost in located[0].costs]
    variances = np.array([[cost.sigma**2 for cost in one.costs] for one in located]).mean(axis=0)
    return [
        {'figure': f'chain_share_{name.replace(" ", "_").replace("-", "_")}_percent',
         'value': float(100.0 * variance / variances.sum()), 'unit': '%', 'ok': True}
        for name, variance in zip(names, variances, strict=True)
    ]  # fmt: skip


def _figure(name: str, value: float, unit: str, limit: float | None = None) -> dict[str, object]:
    goal = {} if limit is None else {'goal': f'<= {limit:.4g}'}
    return {'figure': name, 'value': value, 'unit': unit, 'ok': limit is None or value <= limit} | goal


def run(quick: bool = False) -> list[dict[str, object]]:
    """Locate a tip through the chain of Twin-S.

    Args:
        quick: Fewer runs through the filters; the chain itself is run 500 times all the same.

    Returns:
        Figures as mappings of figure, value, unit, goal, peer, ratio, ok.
    """
    more = 60 if quick else RUNS
    followed = _trials(more, TwinSNoise(), filtered=True)
    rest = _trials(RUNS - more, TwinSNoise(), filtered=False, first_seed=more)
    camera = [trial.camera for trial in (*followed, *rest)]
    filtered = [trial.camera_filtered for trial in followed if trial.camera_filtered is not None]
    anatomy = [trial.anatomy_filtered for trial in followed if trial.anatomy_filtered is not None]
    noisy = _trials(more, TwinSNoise(sphere=PER_AXIS), filtered=True)
    noisy_single = [trial.camera for trial in noisy]
    noisy_filtered = [trial.camera_filtered for trial in noisy if trial.camera_filtered is not None]
    errors = _millimetres(camera)
    mean = float(errors.mean())
    nees, low, high = _nees(camera)
    figures = [
        _figure('chain_error_mean_mm', mean, 'mm', 0.5) | {'peer': PEER, 'ratio': mean / PUBLISHED_MM},
        _figure('chain_error_p95_mm', float(np.quantile(errors, 0.95)), 'mm'),
        {'figure': 'chain_nees_consistent', 'value': float(low <= nees <= high), 'unit': '', 'goal': '>= 1',
         'ok': low <= nees <= high},
        {'figure': 'chain_nees_mean', 'value': nees, 'unit': '', 'goal': f'>= {low:.3f} and <= {high:.3f}',
         'ok': low <= nees <= high},
        *_shares(camera),
        _figure('chain_per_axis_noise_error_mean_mm', float(_millimetres(noisy_single).mean()), 'mm'),
        _figure('chain_per_axis_noise_filtered_error_mean_mm', float(_millimetres(noisy_filtered).mean()), 'mm', 0.5),
    ]  # fmt: skip
    for name, located in (('chain_filtered', filtered), ('tip_in_anatomy', anatomy)):
        errors = _millimetres(located)
        nees, _, high = _nees(located)
        figures += [
            _figure(f'{name}_error_mean_mm', float(errors.mean()), 'mm', 0.5),
            _figure(f'{name}_error_p95_mm', float(np.quantile(errors, 0.95)), 'mm'),
            # The filter is on the safe side for a body that moves less than a hand may: only too little is wrong.
            _figure(f'{name}_nees_mean', nees, '', high),
        ]
    return figures
