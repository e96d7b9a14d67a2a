"""Compiled kernels of the pose filter: one thread, cached on disk, the GIL released, no fast-math.

The filter is written out in `filter_reference.py`, which reads like the equations and is the oracle of these kernels.
Arrays per history slot: `state` (slots, 2, 24) = position 3, rotation 9 by rows, linear and angular velocity 6,
linear and angular acceleration 6, for the calm and the brisk mode; `cov` (slots, 2, 18, 18); `sample` (slots, 48) =
measured position 3, rotation 9, covariance 36; `scalar` (slots, 2) = probability of the brisk mode, NIS; `meta`
(slots, 3) = stamp [ns], outcome, gated samples in a row. `order` (slots,) lists the slots by stamp, the free ones
last; `head` (2,) = slots in use, whether older ones were evicted.
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
(CALM, BRISK, CALM_ANGULAR, BRISK_ANGULAR, DWELL, GATE, MANOEUVRE, MAX_SPEED, MAX_ACCELERATION, MAX_ANGULAR_RATE,
 MAX_ANGULAR_ACCELERATION, START_SPEED, START_ANGULAR_RATE, START_ACCELERATION, START_ANGULAR_ACCELERATION,
 MAX_GAP_NS, REGAIN, LAG_NS, MARGIN, MARGIN_ANGULAR, SETTINGS) = range(21)  # fmt: skip
STATES, NOMINAL, SAMPLE, OUT = 18, 24, 48, 60


def _compile(signature: str) -> Any:
    """Compile for one signature; cached on disk where a cache can be written, in memory elsewhere."""

    def decorate(function: Any) -> Any:
        settings: dict[str, Any] = {'nogil': True, 'error_model': 'numpy'}
        try:
            return numba.njit(signature, cache=True, **settings)(function)
        except (RuntimeError, OSError):  # numba: 'cannot cache function: no locator available'
            return numba.njit(signature, **settings)(function)

    return decorate


_inner = numba.njit(nogil=True, error_model='numpy')


@_inner
def _exp(x, y, z, rotation, jacobian):
    """Rotation and left Jacobian of a rotation vector (Barfoot 2017, eq. 7.14 and 7.77)."""
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    if angle < 1e-4:
        a, b, c = 1.0 - square / 6.0, 0.5 - square / 24.0, 1.0 / 6.0 - square / 120.0
    else:
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
    sine = np.sqrt(x * x + y * y + z * z)
    scale = 2.0 / w if sine < 1e-12 * w else 2.0 * np.arctan2(sine, w) / sine
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
    for i in range(12):
        x[12 + i] += scale * delta[6 + i]
    _exp(scale * delta[3], scale * delta[4], scale * delta[5], turn, work)
    _turn(x, turn)


@_inner
def _difference(other, x, delta, work):
    """Delta ← other ⊟ x, shape (18,)."""
    for i in range(3):
        delta[i] = other[i] - x[i]
    _relative(other[3:12], x[3:12], work, delta[3:6])
    for i in range(12):
        delta[6 + i] = other[12 + i] - x[12 + i]


@_inner
def _predict(x, p, dt, jerk, angular_jerk, m, turn, left):
    """Move one mode dt [s] ahead in place: constant acceleration driven by white jerk."""
    half = 0.5 * dt * dt
    _exp(x[15] * dt + x[21] * half, x[16] * dt + x[22] * half, x[17] * dt + x[23] * half, turn, left)
    for i in range(3):
        x[i] += dt * x[12 + i] + half * x[18 + i]
    _turn(x, turn)
    for i in range(6):
        x[12 + i] += dt * x[18 + i]
    for i in range(3):  # m = F p
        for c in range(18):
            m[i, c] = p[i, c] + dt * p[6 + i, c] + half * p[12 + i, c]
        for c in range(18):
            total = turn[i, 0] * p[3, c] + turn[i, 1] * p[4, c] + turn[i, 2] * p[5, c]
            for k in range(3):
                total += left[i, k] * (dt * p[9 + k, c] + half * p[15 + k, c])
            m[3 + i, c] = total
    for i in range(6):
        for c in range(18):
            m[6 + i, c] = p[6 + i, c] + dt * p[12 + i, c]
            m[12 + i, c] = p[12 + i, c]
    for r in range(18):  # p = m Fᵀ, the lower triangle by blocks, then mirrored
        for i in range(3):
            p[r, i] = m[r, i] + dt * m[r, 6 + i] + half * m[r, 12 + i]
        a, b, c = m[r, 3], m[r, 4], m[r, 5]
        d = dt * m[r, 9] + half * m[r, 15]
        e = dt * m[r, 10] + half * m[r, 16]
        f = dt * m[r, 11] + half * m[r, 17]
        for i in range(3):
            p[r, 3 + i] = (
                turn[i, 0] * a + turn[i, 1] * b + turn[i, 2] * c + left[i, 0] * d + left[i, 1] * e + left[i, 2] * f
            )
    for r in range(6, 18):
        for i in range(6):
            p[r, 6 + i] = m[r, 6 + i] + dt * m[r, 12 + i]
    for i in range(18):
        for j in range(i):
            p[j, i] = p[i, j]
    d2, d3, d4, d5 = dt * dt / 2.0, dt**3, dt**4 / 8.0, dt**5 / 20.0
    for i in range(6):
        q = jerk * jerk if i < 3 else angular_jerk * angular_jerk
        p[i, i] += q * d5
        p[6 + i, 6 + i] += q * d3 / 3.0
        p[12 + i, 12 + i] += q * dt
        p[i, 6 + i] += q * d4
        p[6 + i, i] += q * d4
        p[i, 12 + i] += q * d3 / 6.0
        p[12 + i, i] += q * d3 / 6.0
        p[6 + i, 12 + i] += q * d2
        p[12 + i, 6 + i] += q * d2


@_inner
def _whiten(p, noise, y, extra, extra_angular, factor, white):
    """Cholesky factor of S = p_pose + noise + extra, L⁻¹ y; returns NIS and log det S (negative NIS: not definite)."""
    log_det = 0.0
    nis = 0.0
    for i in range(6):
        total = y[i]
        for j in range(i + 1):
            s = p[i, j] + noise[6 * i + j]
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
def _update(x, p, factor, white, w, delta, turn, work):
    """Kalman update with W = L⁻¹ H P: x ← x ⊞ Wᵀ L⁻¹ y, P ← P − Wᵀ W, which stays symmetric to the bit."""
    for i in range(6):
        for c in range(18):
            w[i, c] = p[i, c]
        for k in range(i):
            f = factor[i, k]
            for c in range(18):
                w[i, c] -= f * w[k, c]
        f = 1.0 / factor[i, i]
        for c in range(18):
            w[i, c] *= f
    for c in range(18):
        delta[c] = 0.0
    for k in range(6):
        for c in range(18):
            delta[c] += w[k, c] * white[k]
    for i in range(18):
        for k in range(6):
            f = w[k, i]
            for c in range(18):
                p[i, c] -= f * w[k, c]
    _move(x, delta, 1.0, turn, work)


@_inner
def _mix(x, p, other, cov_other, weight, xo, po, delta, turn, work):
    """Moment-matched mixture of mode (x, p) and the other mode with its weight (Bar-Shalom 2001, 11.6.6)."""
    _difference(other, x, delta, work)
    for i in range(24):
        xo[i] = x[i]
    spread = weight * (1.0 - weight)
    for i in range(18):
        f = spread * delta[i]
        for c in range(18):
            po[i, c] = (1.0 - weight) * p[i, c] + weight * cov_other[i, c] + f * delta[c]
    _move(xo, delta, weight, turn, work)


@_inner
def _start(x, p, z, settings):
    """Begin at the measured pose, at rest, with prior variances for speed and acceleration."""
    for i in range(12):
        x[i] = z[i]
        x[12 + i] = 0.0
    for i in range(18):
        for c in range(18):
            p[i, c] = z[12 + 6 * i + c] if i < 6 and c < 6 else 0.0
    for i in range(3):
        p[6 + i, 6 + i] = settings[START_SPEED] ** 2
        p[9 + i, 9 + i] = settings[START_ANGULAR_RATE] ** 2
        p[12 + i, 12 + i] = settings[START_ACCELERATION] ** 2
        p[15 + i, 15 + i] = settings[START_ANGULAR_ACCELERATION] ** 2


@_inner
def _distance(a, b):
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@_inner
def _outside(x, p, before, z, dt, y, settings, factor, white):
    """Whether a sample is further off than a hand can have moved the tool."""
    reach = settings[MAX_SPEED] * dt + settings[MARGIN]
    if _distance(z, before) > reach:
        return True
    linear = 0.5 * settings[MAX_ACCELERATION] * dt * dt
    angular = 0.5 * settings[MAX_ANGULAR_ACCELERATION] * dt * dt
    nis, _ = _whiten(p, z[12:48], y, linear * linear, angular * angular, factor, white)
    return not 0.0 <= nis <= settings[GATE]


@_inner
def _agrees(z, before, dt, settings, work, turn):
    """Whether two gated samples in a row could be one tool."""
    _relative(z[0:12][3:12], before[3:12], work, turn[0])
    angle = np.sqrt(turn[0, 0] ** 2 + turn[0, 1] ** 2 + turn[0, 2] ** 2)
    near = _distance(z, before) <= settings[MAX_SPEED] * dt + settings[MARGIN]
    return near and angle <= settings[MAX_ANGULAR_RATE] * dt + settings[MARGIN_ANGULAR]


@_inner
def _restart(state, cov, sample, scalar, meta, cur, settings):
    for mode in range(2):
        _start(state[cur, mode], cov[cur, mode], sample[cur], settings)
    scalar[cur, 0] = 0.5
    scalar[cur, 1] = 0.0
    meta[cur, 1] = REINITIALISED
    meta[cur, 2] = 0


@_inner
def _advance(state, cov, scalar, prev, cur, dt, settings, work):
    """Mix and predict both modes from slot prev into slot cur; returns the predicted probability of brisk."""
    m, turn, left, delta = work[0], work[1, 0:3, 0:3], work[1, 3:6, 0:3], work[1, 6]
    brisk = scalar[prev, 0]
    switch = 0.5 * (1.0 - np.exp(-2.0 * dt / settings[DWELL]))
    ahead = brisk * (1.0 - switch) + (1.0 - brisk) * switch
    for mode in range(2):
        of_mode = ahead if mode == 1 else 1.0 - ahead
        from_other = (1.0 - brisk if mode == 1 else brisk) * switch
        _mix(state[prev, mode], cov[prev, mode], state[prev, 1 - mode], cov[prev, 1 - mode], from_other / of_mode,
             state[cur, mode], cov[cur, mode], delta, turn, left)  # fmt: skip
        jerk = settings[BRISK] if mode == 1 else settings[CALM]
        angular = settings[BRISK_ANGULAR] if mode == 1 else settings[CALM_ANGULAR]
        _predict(state[cur, mode], cov[cur, mode], dt, jerk, angular, m, turn, left)
    return ahead


@_inner
def _step(state, cov, sample, scalar, meta, prev, cur, settings, work):
    """Fill slot cur from its sample and from slot prev: depends on nothing else, so order of arrival cannot matter."""
    gap = meta[cur, 0] - meta[prev, 0]
    if gap > settings[MAX_GAP_NS]:
        _restart(state, cov, sample, scalar, meta, cur, settings)
        return
    dt = gap * 1e-9
    before = 1 if scalar[prev, 0] > 0.5 else 0
    brisk = _advance(state, cov, scalar, prev, cur, dt, settings, work)
    turn, left, delta = work[1, 0:3, 0:3], work[1, 3:6, 0:3], work[1, 6]
    w, z, noise = work[2], sample[cur], sample[cur, 12:48]
    factor, y, white = work[3, 0:12, 0:6], work[3, 12:14], work[3, 14:16]
    nis, log_det = np.empty(2), np.empty(2)
    for mode in range(2):
        x = state[cur, mode]
        for i in range(3):
            y[mode, i] = z[i] - x[i]
        _relative(z[3:12], x[3:12], left, y[mode, 3:6])
        nis[mode], log_det[mode] = _whiten(
            cov[cur, mode], noise, y[mode], 0.0, 0.0, factor[6 * mode : 6 * mode + 6], white[mode]
        )
    least = min(nis[0], nis[1])
    scalar[cur, 0], scalar[cur, 1] = brisk, least
    if not 0.0 <= least <= settings[MANOEUVRE]:
        near = 0 if nis[0] <= nis[1] else 1
        if _outside(state[cur, near], cov[cur, near], state[prev, before], z, dt, y[near], settings, w, delta):
            same = meta[prev, 2] > 0 and _agrees(z, sample[prev], dt, settings, left, turn)
            meta[cur, 1] = GATED
            meta[cur, 2] = meta[prev, 2] + 1 if same else 1
            if meta[cur, 2] >= settings[REGAIN]:
                _restart(state, cov, sample, scalar, meta, cur, settings)
            return
        for mode in range(2):  # a manoeuvre the modes do not hold: widen until the innovation is an ordinary one
            fade = max(nis[mode] / 6.0, 1.0)
            for i in range(18):
                for c in range(18):
                    cov[cur, mode, i, c] *= fade
            nis[mode], log_det[mode] = _whiten(
                cov[cur, mode], noise, y[mode], 0.0, 0.0, factor[6 * mode : 6 * mode + 6], white[mode]
            )
    for mode in range(2):
        _update(state[cur, mode], cov[cur, mode], factor[6 * mode : 6 * mode + 6], white[mode], w, delta, turn, left)
    ratio = np.exp(min(max(0.5 * (nis[1] - nis[0] + log_det[1] - log_det[0]), -50.0), 50.0))
    scalar[cur, 0] = brisk / (brisk + (1.0 - brisk) * ratio)
    meta[cur, 1] = ACCEPTED
    meta[cur, 2] = 0


@_inner
def _write(state, cov, scalar, slot, out, work):
    """Combine the modes into out: pose 4×4, pose covariance 6×6, twist 6."""
    delta, turn, left, x = work[1, 6], work[1, 0:3, 0:3], work[1, 3:6, 0:3], work[4, 0:2].reshape(36)
    likely = 1 if scalar[slot, 0] > 0.5 else 0
    weight = 1.0 - scalar[slot, 0] if likely == 1 else scalar[slot, 0]
    p, other = cov[slot, likely], cov[slot, 1 - likely]
    _difference(state[slot, 1 - likely], state[slot, likely], delta, left)
    for i in range(24):
        x[i] = state[slot, likely, i]
    spread = weight * (1.0 - weight)
    for i in range(6):
        for j in range(6):
            out[16 + 6 * i + j] = (1.0 - weight) * p[i, j] + weight * other[i, j] + spread * delta[i] * delta[j]
    _move(x, delta, weight, turn, left)
    for i in range(3):
        for j in range(3):
            out[4 * i + j] = x[3 + 3 * i + j]
        out[4 * i + 3] = x[i]
        out[12 + i] = 0.0
    out[15] = 1.0
    for i in range(6):
        out[52 + i] = x[12 + i]


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
    work = np.empty((5, 18, 18))
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
        _write(state, cov, scalar, order[count - 1], out, work)
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
    _write(state, cov, scalar, newest, out, work)
    out[58] = scalar[slot, 1]
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
    work = np.empty((5, 18, 18))
    slot = order[place]
    ahead_state, ahead_cov, ahead_scalar = np.empty((2, 2, 24)), np.empty((2, 2, 18, 18)), np.empty((2, 2))
    ahead_state[0], ahead_cov[0], ahead_scalar[0] = state[slot], cov[slot], scalar[slot]
    newest = 0
    dt = (stamp - meta[slot, 0]) * 1e-9
    if dt > 0.0:
        ahead_scalar[1, 0] = _advance(ahead_state, ahead_cov, ahead_scalar, 0, 1, dt, settings, work)
        newest = 1
    _write(ahead_state, ahead_cov, ahead_scalar, newest, out, work)
    out[58] = 0.0
    return ACCEPTED
