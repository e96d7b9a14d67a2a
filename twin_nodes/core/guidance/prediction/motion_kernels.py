"""Compiled kernels of the prediction: positions at lags, the models and their mean, and what is learned of them."""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.guidance.prediction import spread

SLOW = 2e-4  # m/s, added to the speed
SPEED = 0.03  # m/s, of which the logarithm is zero
DAMPING = 0.35  # s, time constant with which a damped velocity dies
SHARPNESS = 4.0
MOVED = 2e-4  # m over a horizon; less says nothing of the models
MM = 1e3
_BOUND = 1e8  # covariance of the regression above which forgetting has outrun what was seen
_PATIENCE = 60.0  # samples that the losses before the first sample weigh
ALONE = 5  # models of the tool's own motion; the next one follows the set points of a robot, NaN where there are none
STEERED, MEAN, BEST = 5, 6, 7  # MEAN: of those of the tool's own motion, BEST: of that and the steered one


@njit(cache=True)
def lagged(stamps: Any, values: Any, count: int, now_ns: int, lags: Any, found: Any) -> None:
    """Interpolate linearly at now - lag.

    Args:
        stamps: Ascending [ns], shape (capacity,).
        values: Values at the stamps, shape (capacity, 3).
        count: How many of them are filled.
        now_ns: Instant from which the lags count [ns].
        lags: Ascending times back [s], shape (n,).
        found: Written, shape (n, 3).
    """
    right = count - 1
    for n in range(len(lags)):
        wanted = now_ns - np.int64(round(lags[n] * 1e9))
        while right > 0 and stamps[right - 1] >= wanted:
            right -= 1
        if right == 0 or stamps[right] <= wanted:
            found[n] = values[right]
            continue
        share = (wanted - stamps[right - 1]) / (stamps[right] - stamps[right - 1])
        for axis in range(3):
            found[n, axis] = values[right - 1, axis] + share * (values[right, axis] - values[right - 1, axis])


@njit(cache=True)
def features(past: Any, lags: Any) -> Any:
    """Describe a motion by numbers that do not turn with it: its shape along and across the way, and its speed.

    Args:
        past: Changes since the lags [m], shape (n, 3).
        lags: Times back [s], shape (n,).

    Returns:
        Shape (2 n + 1,).
    """
    n = len(lags)
    row = np.empty(2 * n + 1)
    way = 0.5 * (past[2] / lags[2] + past[3] / lags[3])
    speed = math.sqrt(way[0] ** 2 + way[1] ** 2 + way[2] ** 2) + SLOW
    for k in range(n):
        along, squared = 0.0, 0.0
        for axis in range(3):
            along += past[k, axis] * way[axis] / speed
            squared += past[k, axis] ** 2
        across = math.sqrt(max(squared - along * along, 0.0))
        row[k] = 2.0 * math.tanh(0.5 * along / (speed * lags[k]))
        row[n + k] = 2.0 * math.tanh(0.5 * across / (speed * lags[k]))
    row[2 * n] = math.log10(speed / SPEED)
    return row


@njit(cache=True)
def _layer(row: Any, weights: Any, bias: Any) -> Any:
    found = bias.copy()
    for i in range(len(row)):
        for j in range(len(found)):
            found[j] += row[i] * weights[i, j]
    return found


@njit(cache=True)
def forecast(
    past: Any,
    velocity: Any,
    steered: Any,
    layers: Any,
    scale: Any,
    weights: Any,
    losses: Any,
    lags: Any,
    horizons: Any,
    found: Any,
) -> None:
    """Write the changes of all models and, last, their weighted mean.

    Args:
        past: Changes since the lags [m], shape (n, 3).
        velocity: Filtered velocity [m/s], shape (3,).
        steered: Changes that the set points of the robot foretell, NaN where unknown [m], shape (h, 3).
        layers: Weights and biases of the operator model.
        scale: Of its weights, shape (h, n).
        weights: Of the regression, shape (h, n).
        losses: Mean squared errors of the models [m²], shape (h, 7).
        lags: Shape (n,) [s].
        horizons: Shape (h,) [s].
        found: Written, shape (h, 8, 3): hold, constant velocity, damped, operator model, regression, steered, and the
            means without and with the steered one [m].
    """
    n = len(lags)
    first = np.tanh(_layer(features(past, lags), layers[0], layers[1]))
    second = np.tanh(_layer(first, layers[2], layers[3]))
    shares = _layer(second, layers[4], layers[5])
    for h in range(len(horizons)):
        least = losses[h, :ALONE].min()
        total = 0.0
        damped = DAMPING * (1.0 - math.exp(-horizons[h] / DAMPING))
        found[h] = 0.0
        for axis in range(3):
            found[h, 1, axis] = horizons[h] * velocity[axis]
            found[h, 2, axis] = damped * velocity[axis]
            for k in range(n):
                found[h, 3, axis] += shares[h * n + k] * scale[h, k] * past[k, axis]
                found[h, 4, axis] += weights[h, k] * past[k, axis]
        for model in range(ALONE):
            share = math.exp(-SHARPNESS * (losses[h, model] / least - 1.0))
            total += share
            for axis in range(3):
                found[h, MEAN, axis] += share * found[h, model, axis]
        found[h, MEAN] /= total
        found[h, STEERED], found[h, BEST] = steered[h], found[h, MEAN]
        if math.isfinite(steered[h, 0]):
            ratio = losses[h, STEERED] / losses[h, MEAN]
            share = 1.0 / (1.0 + math.exp(SHARPNESS * (max(ratio, 1.0) - max(1.0 / ratio, 1.0))))
            found[h, BEST] += share * (steered[h] - found[h, MEAN])


@njit(cache=True)
def regress(covariance: Any, weights: Any, past: Any, ahead: Any, forgetting: float, prior: float) -> None:
    """Take one motion into a least squares fit whose weights all axes share (Haykin 2002, table 9.1), in place.

    Args:
        covariance: Inverse of the information of the weights, shape (n, n).
        weights: Shape (n,).
        past: Changes since the lags [m], shape (n, 3).
        ahead: The change that followed [m], shape (3,).
        forgetting: Weight of what was known, for each axis.
        prior: Precision of a weight, to which the covariance returns when forgetting has outrun what was seen.
    """
    n = len(weights)
    gain = np.empty(n)
    trace = 0.0
    for axis in range(3):
        total, error = forgetting, MM * ahead[axis]
        for i in range(n):
            gain[i] = 0.0
            for j in range(n):
                gain[i] += covariance[i, j] * MM * past[j, axis]
            total += MM * past[i, axis] * gain[i]
            error -= MM * past[i, axis] * weights[i]
        trace = 0.0
        for i in range(n):
            weights[i] += gain[i] * error / total
            for j in range(i, n):
                value = (covariance[i, j] - gain[i] * gain[j] / total) / forgetting
                covariance[i, j] = value
                covariance[j, i] = value
            trace += covariance[i, i]
    if trace > _BOUND:
        covariance[:] = np.eye(n) / prior


@njit(cache=True)
def settle(now_ns: int, horizon: int, history: Any, kept: Any, learned: Any, horizons: Any, settings: Any) -> None:
    """Judge, and learn from, the predictions of one horizon whose instant has come.

    Args:
        now_ns: Newest stamp.
        horizon: Index of the horizon.
        history: Stamps, values, count of the positions.
        kept: Ring of predictions: stamps, starts, pasts, velocities, changes of the models; numbers made and settled.
        learned: Losses, judged, weights, covariances of the regression, spreads.
        horizons: Times ahead [s].
        settings: keep, forgetting, prior, floor, memory.
    """
    stamps, starts, pasts, velocities, changes, made, done = kept
    losses, judged, weights, covariances, spreads = learned
    keep, forgetting, prior, floor, memory = settings
    ahead_ns = np.int64(round(horizons[horizon] * 1e9))
    truth = np.empty((1, 3))
    while done[horizon] < made[0]:
        slot = done[horizon] % len(stamps)
        if stamps[slot] + ahead_ns > now_ns:
            return
        done[horizon] += 1
        lagged(history[0], history[1], history[2], stamps[slot] + ahead_ns, np.zeros(1), truth)
        change = truth[0] - starts[slot]
        own = changes[slot, horizon]
        is_steered = math.isfinite(own[STEERED, 0])
        errors = spreads[1 if is_steered else 0, horizon]
        spread.learn(errors, change - own[BEST], velocities[slot], horizons[horizon], floor, memory)
        if max((change**2).sum(), (own[BEST] ** 2).sum()) < MOVED**2:
            continue
        judged[horizon] += 1.0
        weight = max(keep, 1.0 / (judged[horizon] + _PATIENCE))
        for model in range(MEAN + 1):
            if model != STEERED or is_steered:
                losses[horizon, model] += weight * (((change - own[model]) ** 2).sum() - losses[horizon, model])
        regress(covariances[horizon], weights[horizon], pasts[slot], change, forgetting, prior)
