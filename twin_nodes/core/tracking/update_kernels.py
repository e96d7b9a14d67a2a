"""How the pose filter takes a measurement in, and how its modes are mixed into one; compiled.

Where no measurement ties position to rotation, their cross-covariance is zero and its block is neither computed nor
written: half the work.
"""

# numba infers the types of the arguments
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

from twin_nodes.core.tracking.compiling import INSIDE
from twin_nodes.core.tracking.filter_layout import LINEAR, MIXTURE, MODES, NOMINAL, PHI, STATES, S
from twin_nodes.core.tracking.motion_kernels import difference, move

_inner = njit(**INSIDE)


@_inner
def measured(p, w, coupled):
    """W ← H p, shape (6, 24): the measured position is the hand's and its tremor."""
    end = STATES if coupled else LINEAR
    for i in range(3):
        for c in range(end):
            w[i, c] = p[i, c] + p[S + i, c]
        for c in range(0 if coupled else LINEAR, STATES):
            w[3 + i, c] = p[PHI + i, c]


@_inner
def whiten(w, noise, y, extra, extra_angular, coupled, factor, white):
    """Cholesky factor of H w Hᵀ + noise + extra, L⁻¹ y; returns NIS and log det (negative NIS: not definite)."""
    log_det = 0.0
    nis = 0.0
    for i in range(6):
        total = y[i]
        for j in range(i + 1):
            if not coupled and i >= 3 and j < 3:
                factor[i, j] = 0.0
                continue
            s = noise[6 * i + j] + (w[i, j] + w[i, S + j] if j < 3 else w[i, LINEAR + j - 3])
            if i == j:
                s += extra if i < 3 else extra_angular
            for k in range(j):
                s -= factor[i, k] * factor[j, k]
            if i == j:
                if not s > 0.0:
                    return -1.0, 0.0
                factor[i, i] = np.sqrt(s)
                log_det += np.log(s)
            else:
                factor[i, j] = s / factor[j, j]
                total -= factor[i, j] * white[j]
        white[i] = total / factor[i, i]
        nis += white[i] * white[i]
    return nis, log_det


@_inner
def _gain(p, w, factor, white, delta, top, bottom, first, last):
    """Rows top to bottom of W = L⁻¹ H P, then delta = Wᵀ L⁻¹ y and P ← P − Wᵀ W, for the states from first to last."""
    for c in range(first, last):
        delta[c] = 0.0
    for i in range(top, bottom):
        for k in range(top, i):
            f = factor[i, k]
            for c in range(first, last):
                w[i, c] -= f * w[k, c]
        f = 1.0 / factor[i, i]
        for c in range(first, last):
            w[i, c] *= f
        f = white[i]
        for c in range(first, last):
            delta[c] += f * w[i, c]
    for i in range(first, last):
        for k in range(top, bottom):
            f = w[k, i]
            for c in range(first, last):
                p[i, c] -= f * w[k, c]


@_inner
def update(x, p, w, factor, white, coupled, delta, turn, work):
    """Kalman update: x ← x ⊞ Wᵀ L⁻¹ y, P ← P − Wᵀ W, which stays symmetric to the bit."""
    if coupled:
        _gain(p, w, factor, white, delta, 0, 6, 0, STATES)
    else:
        _gain(p, w, factor, white, delta, 0, 3, 0, LINEAR)
        _gain(p, w, factor, white, delta, 3, 6, LINEAR, STATES)
    move(x, delta, 1.0, turn, work)


@_inner
def _blend(p, cov_other, weight, spread, delta, po, first, last):
    for i in range(first, last):
        f = spread * delta[i]
        for c in range(first, last):
            po[i, c] = (1.0 - weight) * p[i, c] + weight * cov_other[i, c] + f * delta[c]


@_inner
def mix(x, p, other, cov_other, weight, coupled, xo, po, delta, turn, work):
    """Moment-matched mixture of an estimate (x, p) and another one with its weight (Bar-Shalom 2001, 11.6.6)."""
    difference(other, x, delta, work)
    for i in range(NOMINAL):
        xo[i] = x[i]
    spread = weight * (1.0 - weight)
    if coupled:
        _blend(p, cov_other, weight, spread, delta, po, 0, STATES)
    else:
        _blend(p, cov_other, weight, spread, delta, po, 0, LINEAR)
        _blend(p, cov_other, weight, spread, delta, po, LINEAR, STATES)
    move(xo, delta, weight, turn, work)


@_inner
def _gather(p, mode, weight, delta, first, last):
    """Add the share of one mode to the covariance behind the modes; the first mode overwrites what was there."""
    keep = 0.0 if mode == 0 else 1.0
    for i in range(first, last):
        f = weight * delta[i]
        for c in range(first, last):
            p[MIXTURE, i, c] = keep * p[MIXTURE, i, c] + (weight * p[mode, i, c] + f * delta[c])


@_inner
def combine(x, p, probability, coupled, deltas, turn, work):
    """Write the moment-matched mixture of all modes behind them."""
    likely = 0
    for mode in range(1, MODES):
        if probability[mode] > probability[likely]:
            likely = mode
    mean = deltas[MODES]
    for i in range(STATES):
        mean[i] = 0.0
    for mode in range(MODES):
        difference(x[mode], x[likely], deltas[mode], work)
        for i in range(STATES):
            mean[i] += probability[mode] * deltas[mode, i]
    for mode in range(MODES):
        for i in range(STATES):
            deltas[mode, i] -= mean[i]
        if coupled:
            _gather(p, mode, probability[mode], deltas[mode], 0, STATES)
        else:
            _gather(p, mode, probability[mode], deltas[mode], 0, LINEAR)
            _gather(p, mode, probability[mode], deltas[mode], LINEAR, STATES)
    for i in range(NOMINAL):
        x[MIXTURE, i] = x[likely, i]
    move(x[MIXTURE], mean, 1.0, turn, work)
