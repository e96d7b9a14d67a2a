"""Compiled kernels of the pose filter: its history, from sample to sample, one thread and cached on disk.

The filter is written out in `filter_reference.py`, which reads like the equations and is the oracle of these kernels;
`filter_layout` says what the arrays hold.
"""

# numba infers the types of the arguments
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

from twin_nodes.core.tracking.compiling import INSIDE, compile_for
from twin_nodes.core.tracking.filter_layout import (
    ACCEPTED,
    ALPHA,
    DUPLICATE,
    DWELL,
    EMPTY,
    GATE,
    GATED,
    INSERTED_LATE,
    LAG_NS,
    LINEAR,
    MANOEUVRE,
    MARGIN,
    MARGIN_ANGULAR,
    MAX_ACCELERATION,
    MAX_ANGULAR_ACCELERATION,
    MAX_ANGULAR_RATE,
    MAX_GAP_NS,
    MAX_SPEED,
    MIXTURE,
    MODES,
    NOMINAL,
    NOT_FINITE,
    OMEGA,
    PHI,
    REGAIN,
    REINITIALISED,
    START_ACCELERATION,
    START_ANGULAR_ACCELERATION,
    START_ANGULAR_RATE,
    START_SPEED,
    STATES,
    TOO_OLD,
    A,
    S,
    V,
)
from twin_nodes.core.tracking.motion_kernels import predict, relative
from twin_nodes.core.tracking.update_kernels import combine, measured, mix, update, whiten

_inner = njit(**INSIDE)


@_inner
def _start(x, p, z, settings):
    """Begin at the measured pose, at rest, with prior variances for speed and acceleration, and without tremor."""
    for i in range(NOMINAL):
        x[i] = z[i] if i < 12 else 0.0
    for i in range(STATES):
        for c in range(STATES):
            p[i, c] = 0.0
    for i in range(6):
        for c in range(6):
            p[i if i < 3 else LINEAR + i - 3, c if c < 3 else LINEAR + c - 3] = z[12 + 6 * i + c]
    for i in range(3):
        p[V + i, V + i] = settings[START_SPEED] ** 2
        p[A + i, A + i] = settings[START_ACCELERATION] ** 2
        p[OMEGA + i, OMEGA + i] = settings[START_ANGULAR_RATE] ** 2
        p[ALPHA + i, ALPHA + i] = settings[START_ANGULAR_ACCELERATION] ** 2


@_inner
def _distance(a, b):
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@_inner
def _outside(w, before, z, dt, y, coupled, settings, factor, white):
    """Whether a sample is further off than a hand can have moved the tool."""
    reach = settings[MAX_SPEED] * dt + settings[MARGIN]
    if _distance(z, before) > reach:
        return True
    linear = 0.5 * settings[MAX_ACCELERATION] * dt * dt
    angular = 0.5 * settings[MAX_ANGULAR_ACCELERATION] * dt * dt
    nis, _ = whiten(w, z[12:48], y, linear * linear, angular * angular, coupled, factor, white)
    return not 0.0 <= nis <= settings[GATE]


@_inner
def _agrees(z, before, dt, settings, work, turn):
    """Whether two gated samples in a row could be one tool."""
    relative(z[0:12][3:12], before[3:12], work, turn[0])
    angle = np.sqrt(turn[0, 0] ** 2 + turn[0, 1] ** 2 + turn[0, 2] ** 2)
    near = _distance(z, before) <= settings[MAX_SPEED] * dt + settings[MARGIN]
    return near and angle <= settings[MAX_ANGULAR_RATE] * dt + settings[MARGIN_ANGULAR]


@_inner
def _tied(noise):
    """Whether a measured covariance (36,) ties position to rotation."""
    for i in range(3):
        for j in range(3):
            if noise[6 * (3 + i) + j] != 0.0:
                return True
    return False


@_inner
def _restart(state, cov, sample, scalar, meta, cur, settings):
    for mode in range(MODES + 1):
        _start(state[cur, mode], cov[cur, mode], sample[cur], settings)
    for mode in range(MODES):
        scalar[cur, mode] = 1.0 / MODES
    scalar[cur, MODES] = 0.0
    meta[cur, 1] = REINITIALISED
    meta[cur, 2] = 0
    meta[cur, 3] = 1 if _tied(sample[cur, 12:48]) else 0


@_inner
def _advance(state, cov, scalar, prev, cur, dt, coupled, settings, work):
    """Mix and predict all modes from slot prev into slot cur, with their probabilities.

    All changes of mode are equally likely, so that a mode takes in a share of the mixture of all.
    """
    turn, left, delta = work[0, 0:3, 0:3], work[0, 3:6, 0:3], work[0, 6]
    stay = np.exp(-dt / settings[DWELL] * (MODES / (MODES - 1.0)))
    change = (1.0 - stay) / MODES
    for mode in range(MODES):
        ahead = stay * scalar[prev, mode] + change
        scalar[cur, mode] = ahead
        mix(state[prev, mode], cov[prev, mode], state[prev, MIXTURE], cov[prev, MIXTURE], change / ahead, coupled,
             state[cur, mode], cov[cur, mode], delta, turn, left)  # fmt: skip
        predict(state[cur, mode], cov[cur, mode], dt, mode, coupled, settings, turn, left)


@_inner
def _step(state, cov, sample, scalar, meta, prev, cur, settings, work):
    """Fill slot cur from its sample and from slot prev: depends on nothing else, so order of arrival cannot matter."""
    gap = meta[cur, 0] - meta[prev, 0]
    if gap > settings[MAX_GAP_NS]:
        _restart(state, cov, sample, scalar, meta, cur, settings)
        return
    dt = gap * 1e-9
    z, noise = sample[cur], sample[cur, 12:48]
    tied = _tied(noise)
    if tied and meta[prev, 3] == 0:
        for mode in range(MODES + 1):
            for i in range(LINEAR):
                for c in range(LINEAR, STATES):
                    cov[prev, mode, i, c] = 0.0
                    cov[prev, mode, c, i] = 0.0
    coupled = tied or meta[prev, 3] == 1
    meta[cur, 3] = 1 if coupled else 0
    _advance(state, cov, scalar, prev, cur, dt, coupled, settings, work)
    turn, left, delta, before = work[0, 0:3, 0:3], work[0, 3:6, 0:3], work[0, 6], work[0, 7]
    y, white, nis, log_det = work[1, 0:MODES], work[1, MODES : 2 * MODES], work[1, 10], work[1, 11]
    near = 0
    for mode in range(MODES):
        x, w, factor = state[cur, mode], work[2 + mode], work[2 + mode, 6:12]
        for i in range(3):
            y[mode, i] = z[i] - x[i] - x[18 + i]
        relative(z[3:12], x[3:12], left, y[mode, 3:6])
        measured(cov[cur, mode], w, coupled)
        nis[mode], log_det[mode] = whiten(w, noise, y[mode], 0.0, 0.0, coupled, factor, white[mode])
        if nis[mode] < nis[near]:
            near = mode
    least = nis[near]
    scalar[cur, MODES] = least
    if not 0.0 <= least <= settings[MANOEUVRE]:
        for i in range(3):
            before[i] = state[prev, MIXTURE, i] + state[prev, MIXTURE, 18 + i]
        if _outside(work[2 + near], before, z, dt, y[near], coupled, settings, work[2 + near, 12:18], delta):
            same = meta[prev, 2] > 0 and _agrees(z, sample[prev], dt, settings, left, turn)
            meta[cur, 1] = GATED
            meta[cur, 2] = meta[prev, 2] + 1 if same else 1
            if meta[cur, 2] >= settings[REGAIN]:
                _restart(state, cov, sample, scalar, meta, cur, settings)
            else:
                combine(state[cur], cov[cur], scalar[cur], coupled, work[1], turn, left)
            return
        fade = least / 6.0  # a manoeuvre the modes do not hold: widen until the innovation is an ordinary one
        for mode in range(MODES):
            for i in range(STATES):
                for c in range(STATES):
                    cov[cur, mode, i, c] *= fade
            measured(cov[cur, mode], work[2 + mode], coupled)
            nis[mode], log_det[mode] = whiten(
                work[2 + mode], noise, y[mode], 0.0, 0.0, coupled, work[2 + mode, 6:12], white[mode]
            )
    best = -np.inf
    for mode in range(MODES):
        w, factor = work[2 + mode], work[2 + mode, 6:12]
        update(state[cur, mode], cov[cur, mode], w, factor, white[mode], coupled, delta, turn, left)
        log_det[mode] = -0.5 * (nis[mode] + log_det[mode])
        best = max(best, log_det[mode])
    total = 0.0
    for mode in range(MODES):
        scalar[cur, mode] *= np.exp(log_det[mode] - best)
        total += scalar[cur, mode]
    for mode in range(MODES):
        scalar[cur, mode] /= total
    meta[cur, 1] = ACCEPTED
    meta[cur, 2] = 0
    combine(state[cur], cov[cur], scalar[cur], coupled, work[1], turn, left)


@_inner
def _write(x, p, coupled, out):
    """Write an estimate to out: pose 4×4, pose covariance 6×6, twist 6."""
    for i in range(3):
        for j in range(3):
            out[4 * i + j] = x[3 + 3 * i + j]
            out[16 + 6 * i + j] = p[i, j] + p[i, S + j] + p[S + i, j] + p[S + i, S + j]
            cross = p[i, PHI + j] + p[S + i, PHI + j] if coupled else 0.0
            out[16 + 6 * i + 3 + j] = cross
            out[16 + 6 * (3 + j) + i] = cross
            out[16 + 6 * (3 + i) + 3 + j] = p[PHI + i, PHI + j]
        out[4 * i + 3] = x[i] + x[18 + i]
        out[12 + i] = 0.0
        out[52 + i] = x[12 + i]
        out[55 + i] = x[24 + i]
    out[15] = 1.0


_STORE = 'float64[:,:,::1], float64[:,:,:,::1], float64[:,::1], float64[:,::1], int64[:,::1], int64[::1], int64[::1]'


@compile_for(f'UniTuple(int64, 2)({_STORE}, float64[::1], int64, float64[:,::1], float64[:,::1], float64[::1])')
def feed(state, cov, sample, scalar, meta, order, head, settings, stamp, pose, noise, out):
    """Place one sample by its stamp, run the filter from there to the newest, write the newest pose to out (60,).

    Returns:
        The outcome of this sample, whose NIS is in out[58], and the newest stamp [ns].
    """
    total = 0.0
    for i in range(4):
        for j in range(4):
            total += pose[i, j]
    for i in range(6):
        for j in range(6):
            total += noise[i, j]
    if not np.isfinite(total):
        return NOT_FINITE, 0
    work = np.empty((2 + MODES, STATES, STATES))
    count = head[0]
    place = count
    outcome = ACCEPTED
    if count > 0:
        if stamp < meta[order[count - 1], 0] - settings[LAG_NS] or (head[1] == 1 and stamp < meta[order[0], 0]):
            outcome = TOO_OLD
        while place > 0 and meta[order[place - 1], 0] >= stamp:
            place -= 1
        if place < count and meta[order[place], 0] == stamp:
            outcome = DUPLICATE
    if outcome != ACCEPTED:
        newest = order[count - 1]
        _write(state[newest, MIXTURE], cov[newest, MIXTURE], meta[newest, 3] == 1, out)
        out[58] = 0.0
        return outcome, meta[order[count - 1], 0]
    slots = order.shape[0]
    if count == slots:
        first = order[0]
        for i in range(count - 1):
            order[i] = order[i + 1]
        order[count - 1] = first
        head[1] = 1
        count -= 1
        place -= 1
    slot = order[count]
    for i in range(count, place, -1):
        order[i] = order[i - 1]
    order[place] = slot
    count += 1
    meta[slot, 0] = stamp
    for i in range(3):
        sample[slot, i] = pose[i, 3]
        for j in range(3):
            sample[slot, 3 + 3 * i + j] = pose[i, j]
    for i in range(6):
        for j in range(6):
            sample[slot, 12 + 6 * i + j] = noise[i, j]
    late = place < count - 1
    for i in range(place, count):
        if i == 0:
            _restart(state, cov, sample, scalar, meta, order[0], settings)
        else:
            _step(state, cov, sample, scalar, meta, order[i - 1], order[i], settings, work)
    newest = order[count - 1]
    horizon = meta[newest, 0] - settings[LAG_NS]
    gone = 0
    while gone < count - 1 and meta[order[gone + 1], 0] < horizon:
        gone += 1
    if gone > 0:
        free = order[:gone].copy()
        for i in range(gone, slots):
            order[i - gone] = order[i]
        for i in range(gone):
            order[slots - gone + i] = free[i]
        head[1] = 1
    head[0] = count - gone
    _write(state[newest, MIXTURE], cov[newest, MIXTURE], meta[newest, 3] == 1, out)
    out[58] = scalar[slot, MODES]
    if late and meta[slot, 1] == ACCEPTED:
        return INSERTED_LATE, meta[newest, 0]
    return meta[slot, 1], meta[newest, 0]


@compile_for(f'int64({_STORE}, float64[::1], int64, float64[::1])')
def look(state, cov, sample, scalar, meta, order, head, settings, stamp, out):
    """Write the pose at a stamp to out (60,) from the newest slot not later than it, changing nothing that is kept."""
    place = head[0] - 1
    while place >= 0 and meta[order[place], 0] > stamp:
        place -= 1
    if place < 0:
        return EMPTY if head[0] == 0 else TOO_OLD
    work = np.empty((2 + MODES, STATES, STATES))
    slot = order[place]
    coupled = meta[slot, 3] == 1
    dt = (stamp - meta[slot, 0]) * 1e-9
    if dt > 0.0:
        ahead_state, ahead_cov = np.empty((2, MODES + 1, NOMINAL)), np.zeros((2, MODES + 1, STATES, STATES))
        ahead_scalar = np.empty((2, MODES + 1))
        ahead_state[0], ahead_cov[0], ahead_scalar[0] = state[slot], cov[slot], scalar[slot]
        _advance(ahead_state, ahead_cov, ahead_scalar, 0, 1, dt, coupled, settings, work)
        combine(ahead_state[1], ahead_cov[1], ahead_scalar[1], coupled, work[1], work[0, 0:3, 0:3], work[0, 3:6, 0:3])
        _write(ahead_state[1, MIXTURE], ahead_cov[1, MIXTURE], coupled, out)
    else:
        _write(state[slot, MIXTURE], cov[slot, MIXTURE], coupled, out)
    out[58] = 0.0
    return ACCEPTED
