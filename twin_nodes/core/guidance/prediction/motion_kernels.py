"""Compiled kernels of the prediction: positions at lags, the models at each level, and the regression's learning."""

import math
from typing import Any

import numpy as np
from numba import njit

SLOW = 2e-4  # m/s, added to the speed
SPEED = 0.03  # m/s, of which the logarithm is zero
DAMPING = 0.35  # s, time constant with which a damped velocity dies
MM = 1e3
KINDS = 5  # models of each level: still, velocity, damped velocity, operator model, regression
NETWORK, REGRESSION = 3, 4
_BOUND = 1e8  # covariance of the regression above which forgetting has outrun what was seen


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
def changes(stamps: Any, values: Any, count: int, lags: Any, found: Any) -> None:
    """Write the changes since the lags up to the newest value of each level, (levels, n, 3); others as of `lagged`."""
    for level in range(len(values)):
        lagged(stamps, values[level], count, stamps[count - 1], lags, found[level])
        found[level] = values[level, count - 1] - found[level]


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
def network(row: Any, layers: Any) -> Any:
    """Weights that a network of two layers of tanh gives to the changes since the lags at each horizon, (h n,)."""
    first = np.tanh(_layer(row, layers[0], layers[1]))
    second = np.tanh(_layer(first, layers[2], layers[3]))
    return _layer(second, layers[4], layers[5])


@njit(cache=True)
def free_hand(past: Any, layers: Any, scale: Any, lags: Any, found: Any) -> None:
    """Write the changes (h, 3) [m] that the model of free hands foretells; arguments as of `forecast`."""
    shares, n = network(features(past, lags), layers), len(lags)
    found[:] = 0.0
    for h in range(len(found)):
        for k in range(n):
            for axis in range(3):
                found[h, axis] += shares[h * n + k] * scale[h, k] * past[k, axis]


@njit(cache=True)
def forecast(
    past: Any, offset: Any, velocity: Any, pace: float, layers: Any, scale: Any, weights: Any, lags: Any, horizons: Any,
    found: Any,
) -> None:  # fmt: skip
    """Write the changes that the models of one level foretell.

    Args:
        past: Changes of the smoothed position since the lags [m], shape (n, 3).
        offset: Smoothed less measured position [m], shape (3,).
        velocity: Filtered velocity [m/s], shape (3,).
        pace: What the operator model is told of the level, `operator_model.PACES`.
        layers: Weights and biases of the operator model.
        scale: Of its weights, shape (h, n).
        weights: Of the regression, shape (h, n).
        lags: Shape (n,) [s].
        horizons: Shape (h,) [s].
        found: Written, shape (h, `KINDS`, 3): changes of the measured position [m].
    """
    n = len(lags)
    row = np.empty(2 * n + 2)
    row[: 2 * n + 1], row[2 * n + 1] = features(past, lags), pace
    shares = network(row, layers)
    for h in range(len(horizons)):
        damped = DAMPING * (1.0 - math.exp(-horizons[h] / DAMPING))
        for axis in range(3):
            found[h, :, axis] = offset[axis]
            found[h, 1, axis] += horizons[h] * velocity[axis]
            found[h, 2, axis] += damped * velocity[axis]
            for k in range(n):
                found[h, NETWORK, axis] += shares[h * n + k] * scale[h, k] * past[k, axis]
                found[h, REGRESSION, axis] += weights[h, k] * past[k, axis]


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
