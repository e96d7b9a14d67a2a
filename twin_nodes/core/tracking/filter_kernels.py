"""Compiled kernels of the pose filter: one thread, cached on disk, the GIL released, no fast-math.

The filter is written out in `filter_reference.py`, which reads like the equations and is the oracle of these kernels.
Arrays per history slot: `state` (slots, 6, 30) = position 3, rotation 9 by rows, velocity 3, acceleration 3, tremor 6,
angular velocity 3, angular acceleration 3, for each of five modes and, last, for their mixture; `cov` (slots, 6, 24,
24), position and its kin first, then rotation and its; `sample` (slots, 48) = measured position 3, rotation 9,
covariance 36; `scalar` (slots, 6) = probability of each mode, NIS; `meta` (slots, 4) = stamp [ns], outcome, gated
samples in a row, whether position and rotation are correlated. `order` (slots,) lists the slots by stamp, the free
ones last; `head` (2,) = slots in use, whether older ones were evicted.

Where no measurement ties position to rotation, their cross-covariance is zero and its block is neither computed nor
written: half the work.
"""

# numba infers the types of the arguments
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import numba
import numpy as np

from twin_nodes.core.kernel_start import spare_blas_check

spare_blas_check()

ACCEPTED, GATED, DUPLICATE, TOO_OLD, REINITIALISED, INSERTED_LATE, EMPTY, NOT_FINITE = range(8)
# positions in the vector of settings
(DWELL, GATE, MANOEUVRE, MAX_SPEED, MAX_ACCELERATION, MAX_ANGULAR_RATE, MAX_ANGULAR_ACCELERATION, START_SPEED,
 START_ANGULAR_RATE, START_ACCELERATION, START_ANGULAR_ACCELERATION, MAX_GAP_NS, REGAIN, LAG_NS, MARGIN, MARGIN_ANGULAR,
 TREMOR_RATE, TREMOR_DECAY, ACROSS, PATH_SPEED, JERK) = range(21)  # fmt: skip
MODES = 5  # from JERK on: jerk, angular jerk and tremor of each mode
ANGULAR_JERK, TREMOR = JERK + MODES, JERK + 2 * MODES
SETTINGS = JERK + 3 * MODES
MIXTURE = MODES  # the place behind the modes
# first error state of a kind
P, V, A, S, U, PHI, OMEGA, ALPHA = 0, 3, 6, 9, 12, 15, 18, 21
LINEAR = 15
STATES, NOMINAL, SAMPLE, OUT = 24, 30, 48, 60


def _compile(signature: str) -> Any:
    """Compile for one signature; cached on disk where a cache can be written, in memory elsewhere."""

    def decorate(function: Any) -> Any:
        settings: dict[str, Any] = {'nogil': True, 'error_model': 'numpy'}
        try:
            return numba.njit(signature, cache=True, **settings)(function)
        except (RuntimeError, OSError):  # numba: 'cannot cache function: no locator available'
            return numba.njit(signature, **settings)(function)

    return decorate


# no reference counts: what runs inside borrows its arrays, and counting them takes a third of the time
_inside: dict[str, Any] = {'nogil': True, 'error_model': 'numpy', '_nrt': False}
_inner = numba.njit(**_inside)


@_inner
def _exp(x, y, z, rotation, jacobian):
    """Rotation and left Jacobian of a rotation vector (Barfoot 2017, eq. 7.14 and 7.77)."""
    square = x * x + y * y + z * z
    if square < 2.5e-3:  # the next terms of the series lie below the last bit
        a = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0))
        b = 0.5 - square / 24.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0))
        c = 1.0 / 6.0 - square / 120.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))
    else:
        angle = np.sqrt(square)
        a = np.sin(angle) / angle
        b = (1.0 - np.cos(angle)) / square
        c = (1.0 - a) / square
    u = (x, y, z)
    hat = ((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0))
    for i in range(3):
        for j in range(3):
            outer = u[i] * u[j] - (square if i == j else 0.0)
            unit = 1.0 if i == j else 0.0
            rotation[i, j] = unit + a * hat[i][j] + b * outer
            jacobian[i, j] = unit + b * hat[i][j] + c * outer


@_inner
def _log(r, out):
    """Rotation vector of a rotation matrix by its quaternion (Shepperd 1978)."""
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    if trace > 0.0:
        w = 1.0 + trace
        x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    elif r[0, 0] >= r[1, 1] and r[0, 0] >= r[2, 2]:
        x = 1.0 + 2.0 * r[0, 0] - trace
        y, z, w = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]
    elif r[1, 1] >= r[2, 2]:
        y = 1.0 + 2.0 * r[1, 1] - trace
        x, z, w = r[0, 1] + r[1, 0], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]
    else:
        z = 1.0 + 2.0 * r[2, 2] - trace
        x, y, w = r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[1, 0] - r[0, 1]
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    square = x * x + y * y + z * z
    if square < 1e-4 * w * w:  # the series of the arc tangent, to the last bit
        t = square / (w * w)
        scale = 2.0 / w * (1.0 - t * (1.0 / 3.0 - t * (0.2 - t / 7.0)))
    else:
        sine = np.sqrt(square)
        scale = 2.0 * np.arctan2(sine, w) / sine
    out[0], out[1], out[2] = scale * x, scale * y, scale * z


@_inner
def _relative(first, second, work, out):
    """Rotation vector that takes the second rotation (9,) to the first (9,), in the axes of the parent."""
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += first[3 * i + k] * second[3 * j + k]
            work[i, j] = total
    _log(work, out)


@_inner
def _turn(x, turn):
    """R ← turn R, then one Newton step towards orthonormal rows."""
    for j in range(3):
        a, b, c = x[3 + j], x[6 + j], x[9 + j]
        for i in range(3):
            x[3 + 3 * i + j] = turn[i, 0] * a + turn[i, 1] * b + turn[i, 2] * c
    g00 = 1.5 - 0.5 * (x[3] * x[3] + x[4] * x[4] + x[5] * x[5])
    g11 = 1.5 - 0.5 * (x[6] * x[6] + x[7] * x[7] + x[8] * x[8])
    g22 = 1.5 - 0.5 * (x[9] * x[9] + x[10] * x[10] + x[11] * x[11])
    g01 = -0.5 * (x[3] * x[6] + x[4] * x[7] + x[5] * x[8])
    g02 = -0.5 * (x[3] * x[9] + x[4] * x[10] + x[5] * x[11])
    g12 = -0.5 * (x[6] * x[9] + x[7] * x[10] + x[8] * x[11])
    for j in range(3):
        a, b, c = x[3 + j], x[6 + j], x[9 + j]
        x[3 + j] = g00 * a + g01 * b + g02 * c
        x[6 + j] = g01 * a + g11 * b + g12 * c
        x[9 + j] = g02 * a + g12 * b + g22 * c


@_inner
def _move(x, delta, scale, turn, work):
    """X ← x ⊞ scale·delta."""
    for i in range(3):
        x[i] += scale * delta[i]
        x[24 + i] += scale * delta[OMEGA + i]
        x[27 + i] += scale * delta[ALPHA + i]
    for i in range(12):
        x[12 + i] += scale * delta[V + i]
    _exp(scale * delta[PHI], scale * delta[PHI + 1], scale * delta[PHI + 2], turn, work)
    _turn(x, turn)


@_inner
def _difference(other, x, delta, work):
    """Delta ← other ⊟ x, shape (24,)."""
    for i in range(3):
        delta[i] = other[i] - x[i]
    for i in range(12):
        delta[V + i] = other[12 + i] - x[12 + i]
    _relative(other[3:12], x[3:12], work, delta[PHI:OMEGA])
    for i in range(6):
        delta[OMEGA + i] = other[24 + i] - x[24 + i]


@_inner
def _rows_linear(p, dt, cosine, sine, first, last):
    """Rows of F p for position, velocity, acceleration and tremor, in the columns from first to last."""
    half = 0.5 * dt * dt
    for i in range(3):
        for c in range(first, last):
            p[i, c] += dt * p[V + i, c] + half * p[A + i, c]
        for c in range(first, last):
            p[V + i, c] += dt * p[A + i, c]
        for c in range(first, last):
            s, u = p[S + i, c], p[U + i, c]
            p[S + i, c] = cosine * s + sine * u
            p[U + i, c] = cosine * u - sine * s


@_inner
def _rows_angular(p, dt, turn, left, first, last):
    """Rows of F p for rotation, its velocity and its acceleration, in the columns from first to last."""
    half = 0.5 * dt * dt
    for c in range(first, last):
        a, b, d = p[PHI, c], p[PHI + 1, c], p[PHI + 2, c]
        e = dt * p[OMEGA, c] + half * p[ALPHA, c]
        f = dt * p[OMEGA + 1, c] + half * p[ALPHA + 1, c]
        g = dt * p[OMEGA + 2, c] + half * p[ALPHA + 2, c]
        for i in range(3):
            p[PHI + i, c] = (
                turn[i, 0] * a + turn[i, 1] * b + turn[i, 2] * d + left[i, 0] * e + left[i, 1] * f + left[i, 2] * g
            )
            p[OMEGA + i, c] += dt * p[ALPHA + i, c]


@_inner
def _mirror(p, first, last):
    """Copy the lower triangle of a block to the upper one."""
    for i in range(first, last):
        for j in range(first, i):
            p[j, i] = p[i, j]


@_inner
def _transpose(p, first, last):
    """Transpose a block in place."""
    for i in range(first, last):
        for j in range(first, i):
            p[i, j], p[j, i] = p[j, i], p[i, j]


@_inner
def _add_noise(x, p, dt, mode, decay, settings):
    """Add what white jerk, weaker across the path than along it, and the renewal of the tremor do in dt [s]."""
    d1, d2, d3, d4, d5, d6 = dt, dt * dt / 2.0, dt**3 / 3.0, dt**4 / 8.0, dt**5 / 20.0, dt**3 / 6.0
    square = x[12] * x[12] + x[13] * x[13] + x[14] * x[14]
    bend = (1.0 - settings[ACROSS] ** 2) / (square + settings[PATH_SPEED] ** 2)
    jerk = settings[JERK + mode] ** 2
    angular = settings[ANGULAR_JERK + mode] ** 2
    tremor = settings[TREMOR + mode] ** 2 * (1.0 - decay * decay)
    for i in range(3):
        for j in range(3):
            q = jerk * (bend * x[12 + i] * x[12 + j] + (1.0 - bend * square if i == j else 0.0))
            p[i, j] += q * d5
            p[i, V + j] += q * d4
            p[V + i, j] += q * d4
            p[i, A + j] += q * d6
            p[A + i, j] += q * d6
            p[V + i, V + j] += q * d3
            p[V + i, A + j] += q * d2
            p[A + i, V + j] += q * d2
            p[A + i, A + j] += q * d1
        p[S + i, S + i] += tremor
        p[U + i, U + i] += tremor
        a, b, c = PHI + i, OMEGA + i, ALPHA + i
        p[a, a] += angular * d5
        p[a, b] += angular * d4
        p[b, a] += angular * d4
        p[a, c] += angular * d6
        p[c, a] += angular * d6
        p[b, b] += angular * d3
        p[b, c] += angular * d2
        p[c, b] += angular * d2
        p[c, c] += angular * d1


@_inner
def _predict(x, p, dt, mode, coupled, settings, turn, left):
    """Move one mode dt [s] ahead in place: constant acceleration, and a tremor that rings and fades."""
    half = 0.5 * dt * dt
    decay = np.exp(-settings[TREMOR_DECAY] * dt)
    cosine, sine = decay * np.cos(settings[TREMOR_RATE] * dt), decay * np.sin(settings[TREMOR_RATE] * dt)
    _exp(x[24] * dt + x[27] * half, x[25] * dt + x[28] * half, x[26] * dt + x[29] * half, turn, left)
    _turn(x, turn)
    for i in range(3):
        x[i] += dt * x[12 + i] + half * x[15 + i]
        x[12 + i] += dt * x[15 + i]
        s, u = x[18 + i], x[21 + i]
        x[18 + i], x[21 + i] = cosine * s + sine * u, cosine * u - sine * s
        x[24 + i] += dt * x[27 + i]
    if coupled:  # F p Fᵀ = F (F p)ᵀ, as p is symmetric
        _rows_linear(p, dt, cosine, sine, 0, STATES)
        _rows_angular(p, dt, turn, left, 0, STATES)
        _transpose(p, 0, STATES)
        _rows_linear(p, dt, cosine, sine, 0, STATES)
        _rows_angular(p, dt, turn, left, 0, STATES)
        _mirror(p, 0, STATES)
    else:
        _rows_linear(p, dt, cosine, sine, 0, LINEAR)
        _transpose(p, 0, LINEAR)
        _rows_linear(p, dt, cosine, sine, 0, LINEAR)
        _mirror(p, 0, LINEAR)
        _rows_angular(p, dt, turn, left, LINEAR, STATES)
        _transpose(p, LINEAR, STATES)
        _rows_angular(p, dt, turn, left, LINEAR, STATES)
        _mirror(p, LINEAR, STATES)
    _add_noise(x, p, dt, mode, decay, settings)


@_inner
def _measured(p, w, coupled):
    """W ← H p, shape (6, 24): the measured position is the hand's and its tremor."""
    end = STATES if coupled else LINEAR
    for i in range(3):
        for c in range(end):
            w[i, c] = p[i, c] + p[S + i, c]
        for c in range(0 if coupled else LINEAR, STATES):
            w[3 + i, c] = p[PHI + i, c]


@_inner
def _whiten(w, noise, y, extra, extra_angular, coupled, factor, white):
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
def _update(x, p, w, factor, white, coupled, delta, turn, work):
    """Kalman update: x ← x ⊞ Wᵀ L⁻¹ y, P ← P − Wᵀ W, which stays symmetric to the bit."""
    if coupled:
        _gain(p, w, factor, white, delta, 0, 6, 0, STATES)
    else:
        _gain(p, w, factor, white, delta, 0, 3, 0, LINEAR)
        _gain(p, w, factor, white, delta, 3, 6, LINEAR, STATES)
    _move(x, delta, 1.0, turn, work)


@_inner
def _blend(p, cov_other, weight, spread, delta, po, first, last):
    for i in range(first, last):
        f = spread * delta[i]
        for c in range(first, last):
            po[i, c] = (1.0 - weight) * p[i, c] + weight * cov_other[i, c] + f * delta[c]


@_inner
def _mix(x, p, other, cov_other, weight, coupled, xo, po, delta, turn, work):
    """Moment-matched mixture of an estimate (x, p) and another one with its weight (Bar-Shalom 2001, 11.6.6)."""
    _difference(other, x, delta, work)
    for i in range(NOMINAL):
        xo[i] = x[i]
    spread = weight * (1.0 - weight)
    if coupled:
        _blend(p, cov_other, weight, spread, delta, po, 0, STATES)
    else:
        _blend(p, cov_other, weight, spread, delta, po, 0, LINEAR)
        _blend(p, cov_other, weight, spread, delta, po, LINEAR, STATES)
    _move(xo, delta, weight, turn, work)


@_inner
def _gather(p, mode, weight, delta, first, last):
    """Add the share of one mode to the covariance behind the modes; the first mode overwrites what was there."""
    keep = 0.0 if mode == 0 else 1.0
    for i in range(first, last):
        f = weight * delta[i]
        for c in range(first, last):
            p[MIXTURE, i, c] = keep * p[MIXTURE, i, c] + (weight * p[mode, i, c] + f * delta[c])


@_inner
def _combine(x, p, probability, coupled, deltas, turn, work):
    """Write the moment-matched mixture of all modes behind them."""
    likely = 0
    for mode in range(1, MODES):
        if probability[mode] > probability[likely]:
            likely = mode
    mean = deltas[MODES]
    for i in range(STATES):
        mean[i] = 0.0
    for mode in range(MODES):
        _difference(x[mode], x[likely], deltas[mode], work)
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
    _move(x[MIXTURE], mean, 1.0, turn, work)


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
    nis, _ = _whiten(w, z[12:48], y, linear * linear, angular * angular, coupled, factor, white)
    return not 0.0 <= nis <= settings[GATE]


@_inner
def _agrees(z, before, dt, settings, work, turn):
    """Whether two gated samples in a row could be one tool."""
    _relative(z[0:12][3:12], before[3:12], work, turn[0])
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
        _mix(state[prev, mode], cov[prev, mode], state[prev, MIXTURE], cov[prev, MIXTURE], change / ahead, coupled,
             state[cur, mode], cov[cur, mode], delta, turn, left)  # fmt: skip
        _predict(state[cur, mode], cov[cur, mode], dt, mode, coupled, settings, turn, left)


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
        _relative(z[3:12], x[3:12], left, y[mode, 3:6])
        _measured(cov[cur, mode], w, coupled)
        nis[mode], log_det[mode] = _whiten(w, noise, y[mode], 0.0, 0.0, coupled, factor, white[mode])
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
                _combine(state[cur], cov[cur], scalar[cur], coupled, work[1], turn, left)
            return
        fade = least / 6.0  # a manoeuvre the modes do not hold: widen until the innovation is an ordinary one
        for mode in range(MODES):
            for i in range(STATES):
                for c in range(STATES):
                    cov[cur, mode, i, c] *= fade
            _measured(cov[cur, mode], work[2 + mode], coupled)
            nis[mode], log_det[mode] = _whiten(
                work[2 + mode], noise, y[mode], 0.0, 0.0, coupled, work[2 + mode, 6:12], white[mode]
            )
    best = -np.inf
    for mode in range(MODES):
        w, factor = work[2 + mode], work[2 + mode, 6:12]
        _update(state[cur, mode], cov[cur, mode], w, factor, white[mode], coupled, delta, turn, left)
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
    _combine(state[cur], cov[cur], scalar[cur], coupled, work[1], turn, left)


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


@_compile(f'UniTuple(int64, 2)({_STORE}, float64[::1], int64, float64[:,::1], float64[:,::1], float64[::1])')
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


@_compile(f'int64({_STORE}, float64[::1], int64, float64[::1])')
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
        _combine(ahead_state[1], ahead_cov[1], ahead_scalar[1], coupled, work[1], work[0, 0:3, 0:3], work[0, 3:6, 0:3])
        _write(ahead_state[1, MIXTURE], ahead_cov[1, MIXTURE], coupled, out)
    else:
        _write(state[slot, MIXTURE], cov[slot, MIXTURE], coupled, out)
    out[58] = 0.0
    return ACCEPTED
