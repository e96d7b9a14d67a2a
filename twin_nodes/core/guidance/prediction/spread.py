"""How wrong a prediction is likely to be, learned from how wrong the last ones were.

Errors grow with the speed and are larger along the way than across it, so they are kept in parts of the expected size,
for a hand that rests, that moves slowly and that moves fast. The scale follows hits and misses (Gibbs and Candès 2021,
adaptive conformal inference), so that the 95 % region holds 95 % whatever the distribution of the errors.

The state of one horizon is an array (3, 4): for each speed the mean squares along and across, the scale, the count.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from twin_nodes.core.geometry.se3 import Array

REGION = 7.814727903251179  # squared Mahalanobis distance that holds 95 % of a normal distribution in three dimensions
SHARE = 0.95
_SLOW, _FAST = 0.002, 0.03  # m/s, between resting, slow and fast
_GROWTH = 0.25  # of the way over the horizon: the size that errors are measured in
_STILL = 1e-6  # m/s; less has no direction
_RATE = 0.04
_RIM = 0.05  # of the region, over which a hit becomes a miss: what rounding moves decides nothing
_LEAST, _MOST = 0.3, 12.0
_FIRST = 10.0


def new_spreads(count: int) -> Array:
    """State of the spread of `count` horizons before the first error, shape (count, 3, 4)."""
    return np.tile(np.array([0.5, 0.15, 1.2, 0.0]), (count, 3, 1))


@njit(cache=True)
def kind_of(velocity: Any) -> int:
    """Return 0 for a hand that rests, 1 for one that moves slowly, 2 for a fast one; velocity [m/s], shape (3,)."""
    speed = math.sqrt(velocity[0] ** 2 + velocity[1] ** 2 + velocity[2] ** 2)
    return 0 if speed <= _SLOW else (1 if speed <= _FAST else 2)


@njit(cache=True)
def _frame(velocity: Any, horizon: float, floor: float) -> Any:
    """Speed class, expected size of an error [m], and the unit way, zero where there is none."""
    speed = math.sqrt(velocity[0] ** 2 + velocity[1] ** 2 + velocity[2] ** 2)
    size = math.sqrt((_GROWTH * horizon * speed) ** 2 + floor * floor)
    way = velocity / speed if speed > _STILL else np.zeros(3)
    return kind_of(velocity), size, way


@njit(cache=True)
def variances(state: Any, velocity: Any, horizon: float, floor: float) -> Any:
    """Variance along and across the way [m²], and the way."""
    kind, size, way = _frame(velocity, horizon, floor)
    scale, along, across = (state[kind, 2] * size) ** 2, state[kind, 0], state[kind, 1]
    if way[0] == way[1] == way[2] == 0.0:  # alike in all directions
        along = across = (along + 2.0 * across) / 3.0
    return scale * along + floor * floor, scale * across + floor * floor, way


@njit(cache=True)
def covariance(state: Any, velocity: Any, horizon: float, floor: float, found: Any) -> None:
    """Write the covariance of the predicted position [m²], shape (3, 3)."""
    along, across, way = variances(state, velocity, horizon, floor)
    for i in range(3):
        for j in range(3):
            found[i, j] = (along - across) * way[i] * way[j] + (across if i == j else 0.0)


@njit(cache=True)
def learn(state: Any, error: Any, velocity: Any, horizon: float, floor: float, memory: float) -> None:
    """Take in the error of a prediction [m], shape (3,), that was made at a velocity [m/s], shape (3,)."""
    kind, size, way = _frame(velocity, horizon, floor)
    forward = error[0] * way[0] + error[1] * way[1] + error[2] * way[2]
    total = error[0] ** 2 + error[1] ** 2 + error[2] ** 2
    if way[0] == way[1] == way[2] == 0.0:  # alike in all directions
        forward = math.sqrt(total / 3.0)
    sideways = max(total - forward * forward, 0.0)
    if state[kind, 3] >= _FIRST:
        along, across, _ = variances(state, velocity, horizon, floor)
        beyond = (forward * forward / along + sideways / across) / REGION - 1.0
        missed = 1.0 / (1.0 + math.exp(-min(max(beyond / _RIM, -40.0), 40.0)))
        step = math.exp(_RATE * (missed - (1.0 - SHARE)) / SHARE)
        state[kind, 2] = min(max(state[kind, 2] * step, _LEAST), _MOST)
    state[kind, 3] += 1.0
    weight = max(1.0 / memory, 1.0 / (state[kind, 3] + _FIRST))
    state[kind, 0] += weight * (forward * forward / (size * size) - state[kind, 0])
    state[kind, 1] += weight * (0.5 * sideways / (size * size) - state[kind, 1])
