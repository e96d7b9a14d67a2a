"""Compiled kernels that weigh the models of all levels, and learn how.

Two layers. The mean of the models, weighed by exp(−8·(L/L_min − 1)), L the mean squared error of each for a hand that
rests or moves (exponential weights with forgetting: Herbster and Warmuth 1998); then a correction of that mean by a
ridge regression on how the models that learn or were trained differ from it (stacking: Breiman 1996). The mean and the
corrected mean are weighed in the same way, more sharply, and what a robot's set points foretell after them. Losses
count from the first sample with guesses of their size, so that nothing is decided by a few.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.guidance.prediction import spread
from twin_nodes.core.guidance.prediction.motion_kernels import (
    KINDS,
    MM,
    NETWORK,
    REGRESSION,
    forecast,
    free_hand,
    lagged,
    regress,
)
from twin_nodes.core.guidance.prediction.smoothing import LEVELS

FREE = KINDS  # column of the model of free hands, the last of the raw level
RAW = KINDS + 1  # models of the raw level
EXPERTS = RAW + KINDS * (LEVELS - 1)
LEARNERS = 2 * LEVELS + 1  # models that learn or were trained
MEAN, CORRECTED, STACKED, STEERED, BEST = range(EXPERTS, EXPERTS + 5)
COLUMNS = EXPERTS + 5  # of the changes of one horizon: those of the experts, and the five above
SHARPNESS = 8.0
_CORRECTED_SHARPNESS = 24.0  # the mean and the corrected one are so alike that a small difference tells
STEERED_SHARPNESS = 4.0
_SMOOTHED = 0.1  # say of a model of a smoothed level before the first sample: most trackers do not need it
MOVED = 2e-4  # m over a horizon; less says nothing of the models to a hand that moves
RIDGE = 300.0  # precision of the correction's weights, in samples of a motion at `_SPEED`
_SPEED = 20.0  # mm/s
_KEEP = 0.9995  # of a sample of the correction after the next one
_EVERY = 8  # samples between two solutions of the correction
_PATIENCE = 60.0  # samples that the losses before the first sample weigh for a hand that moves
_SOON = 10.0  # the same for one that rests
_LEAST = 1e-14  # m²; a smaller loss says no more


@njit(cache=True)
def column(level: int, kind: int) -> int:
    """Column of a kind of model at a level; that of free hands comes after those of the raw level."""
    return kind if level == 0 else RAW + KINDS * (level - 1) + kind


@njit(cache=True)
def learner(n: int) -> int:
    """Column of the n-th model that learns: the operator model or the regression of a level, or that of free hands."""
    return FREE if n == 2 * LEVELS else column(n // 2, NETWORK if n % 2 == 0 else REGRESSION)


@njit(cache=True)
def weighed(changes: Any, losses: Any, sharpness: float, later: float, found: Any) -> None:
    """Write the mean (3,) of changes (n, 3), by their losses (n,); those after the first `RAW` have less say."""
    least = losses.min() + _LEAST
    total = 0.0
    found[:] = 0.0
    for n in range(len(losses)):
        share = math.exp(-sharpness * (losses[n] / least - 1.0))
        if n >= RAW:
            share *= later
        total += share
        for axis in range(3):
            found[axis] += share * changes[n, axis]
    found /= total


@njit(cache=True)
def mix(changes: Any, kind: int, losses: Any, corrections: Any) -> None:
    """Fill the means of one horizon in.

    Args:
        changes: Of the experts and of the set point, NaN where unknown; the others are written, shape (`COLUMNS`, 3).
        kind: 0 for a hand that rests, 1 for one that moves.
        losses: Mean squared errors of such, shape (`COLUMNS` - 1,).
        corrections: Weights of the correction, shape (`LEARNERS`,).
    """
    weighed(changes[:EXPERTS], losses[:EXPERTS], SHARPNESS, 1.0 if kind == 0 else _SMOOTHED, changes[MEAN])
    changes[CORRECTED] = changes[MEAN]
    for n in range(LEARNERS if kind > 0 else 0):
        for axis in range(3):
            changes[CORRECTED, axis] += corrections[n] * (changes[learner(n), axis] - changes[MEAN, axis])
    weighed(changes[MEAN:STACKED], losses[MEAN:STACKED], _CORRECTED_SHARPNESS, 1.0, changes[STACKED])
    changes[BEST] = changes[STACKED]
    if math.isfinite(changes[STEERED, 0]):
        ratio = (losses[STEERED] + _LEAST) / (losses[STACKED] + _LEAST)
        share = 1.0 / (1.0 + math.exp(STEERED_SHARPNESS * (max(ratio, 1.0) - max(1.0 / ratio, 1.0))))
        changes[BEST] += share * (changes[STEERED] - changes[STACKED])


@njit(cache=True)
def foretell(
    past: Any, offsets: Any, velocities: Any, paces: Any, layers: Any, free: Any, scale: Any, weights: Any, lags: Any,
    horizons: Any, losses: Any, corrections: Any, found: Any,
) -> None:  # fmt: skip
    """Fill the changes of all models and means of all horizons in; arguments as of `forecast` and `mix`, per level."""
    own = np.empty((len(horizons), KINDS, 3))
    for level in range(LEVELS):
        forecast(
            past[level],
            offsets[level],
            velocities[level],
            paces[level],
            layers,
            scale,
            weights[level],
            lags,
            horizons,
            own,
        )
        found[:, column(level, 0) : column(level, KINDS)] = own
    change = np.empty((len(horizons), 3))
    free_hand(past[0], free, scale, lags, change)
    found[:, FREE] = change
    kind = min(spread.kind_of(velocities[0]), 1)
    for h in range(len(horizons)):
        mix(found[h], kind, losses[h, kind], corrections[h])


@njit(cache=True)
def correct(stack: Any, changes: Any, change: Any, horizon: float) -> None:
    """Learn the correction of one horizon from what came.

    Args:
        stack: Moments (`LEARNERS`, `LEARNERS`) and (`LEARNERS`,), weights (`LEARNERS`,), count (1,); changed.
        changes: As they were foretold [m], shape (`COLUMNS`, 3).
        change: That came [m], shape (3,).
        horizon: Time ahead [s].
    """
    moments, right, weights, count = stack
    beside = np.empty((LEARNERS, 3))
    for n in range(LEARNERS):
        for axis in range(3):
            beside[n, axis] = MM * (changes[learner(n), axis] - changes[MEAN, axis])
    for n in range(LEARNERS):
        right[n] *= _KEEP
        for axis in range(3):
            right[n] += beside[n, axis] * MM * (change[axis] - changes[MEAN, axis])
        for m in range(n + 1):
            moments[n, m] *= _KEEP
            for axis in range(3):
                moments[n, m] += beside[n, axis] * beside[m, axis]
            moments[m, n] = moments[n, m]
    count[0] += 1.0
    if count[0] % _EVERY:
        return
    weights[:] = np.linalg.solve(moments + RIDGE * (_SPEED * horizon) ** 2 * np.eye(LEARNERS), right)


@njit(cache=True)
def settle(now_ns: int, history: Any, kept: Any, learned: Any, horizons: Any, settings: Any) -> None:
    """Judge, and learn from, the predictions whose instant has come.

    Args:
        now_ns: Newest stamp.
        history: Stamps, measured values, count of the positions.
        kept: Ring of predictions: stamps, starts, changes since the lags at each level, velocities, changes of the
            models; numbers made and settled.
        learned: Losses, judged, weights and covariances of the regressions, stacks, spreads.
        horizons: Times ahead [s].
        settings: keep, forgetting, prior, floor, memory.
    """
    for horizon in range(len(horizons)):
        _settle_one(now_ns, horizon, history, kept, learned, horizons, settings)


@njit(cache=True)
def _settle_one(
    now_ns: int, horizon: int, history: Any, kept: Any, learned: Any, horizons: Any, settings: Any
) -> None:  # fmt: skip
    """Settle the predictions of one horizon; arguments as of `settle`."""
    stamps, starts, pasts, velocities, changes, made, done = kept
    losses, judged, weights, covariances, stacks, spreads = learned
    keep, forgetting, prior, floor, memory = settings
    ahead_ns = np.int64(round(horizons[horizon] * 1e9))
    truth = np.empty((1, 3))
    while done[horizon] < made[0]:
        slot = done[horizon] % len(stamps)
        if stamps[slot] + ahead_ns > now_ns:
            return
        done[horizon] += 1
        lagged(history[0], history[1], history[2], stamps[slot] + ahead_ns, np.zeros(1), truth)
        change, own = truth[0] - starts[slot], changes[slot, horizon]
        steered = 1 if math.isfinite(own[STEERED, 0]) else 0
        kind = min(spread.kind_of(velocities[slot]), 1)
        errors = spreads[steered, horizon]
        spread.learn(errors, change - own[BEST], velocities[slot], horizons[horizon], floor, memory)
        moved = max((change**2).sum(), (own[BEST] ** 2).sum()) > MOVED**2
        if not moved and kind > 0:
            continue
        judged[horizon, kind] += 1.0
        weight = max(keep, 1.0 / (judged[horizon, kind] + (_PATIENCE if kind > 0 else _SOON)))
        for model in range(BEST):
            if model != STEERED or steered:
                losses[horizon, kind, model] += weight * (
                    ((change - own[model]) ** 2).sum() - losses[horizon, kind, model]
                )
        if moved:
            correct(
                (stacks[0][horizon], stacks[1][horizon], stacks[2][horizon], stacks[3][horizon : horizon + 1]),
                own,
                change,
                horizons[horizon],
            )
            for level in range(LEVELS):
                ahead = change - own[column(level, 0)]
                regress(
                    covariances[horizon, level], weights[level, horizon], pasts[slot, level], ahead, forgetting, prior
                )
